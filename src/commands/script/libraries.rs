//! Libraries of functions: what FUNCTION LOAD registered, for all threads.

use super::shebang::ScriptFlags;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One function of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionInfo {
    /// By which FCALL finds it.
    pub name: Vec<u8>,
    /// What the author says of it.
    pub description: Option<Vec<u8>>,
    /// What it declared.
    pub flags: ScriptFlags,
}

/// A library.
#[derive(Debug)]
pub struct Library {
    /// Its name.
    pub name: String,
    /// The text, shebang included.
    pub text: Vec<u8>,
    /// In the order of their registration.
    pub functions: Vec<FunctionInfo>,
}

/// All libraries; replaced as a whole when one changes.
#[derive(Clone, Debug, Default)]
pub struct LibrarySet {
    libraries: BTreeMap<String, Arc<Library>>,
    /// By name in lower case: functions are found in any case.
    by_function: BTreeMap<Vec<u8>, (Arc<Library>, usize)>,
}

impl LibrarySet {
    /// Adds a library, in the place of one of the same name.
    ///
    /// # Errors
    /// The name of a function that another library has.
    pub fn insert(&mut self, library: Arc<Library>) -> Result<(), Vec<u8>> {
        let taken = |name: &[u8]| {
            self.by_function
                .get(&name.to_ascii_lowercase())
                .is_some_and(|(other, _)| other.name != library.name)
        };
        if let Some(function) = library
            .functions
            .iter()
            .find(|function| taken(&function.name))
        {
            return Err(function.name.clone());
        }
        self.remove(&library.name);
        for (index, function) in library.functions.iter().enumerate() {
            self.by_function.insert(
                function.name.to_ascii_lowercase(),
                (Arc::clone(&library), index),
            );
        }
        self.libraries.insert(library.name.clone(), library);
        Ok(())
    }

    /// Removes a library; false if there is none of that name.
    pub fn remove(&mut self, name: &str) -> bool {
        let removed = self.libraries.remove(name);
        self.by_function
            .retain(|_, (library, _)| library.name != name);
        removed.is_some()
    }

    /// The library of a name.
    pub fn get(&self, name: &str) -> Option<&Arc<Library>> {
        self.libraries.get(name)
    }

    /// The library that has a function, and its number there.
    pub fn function(&self, name: &[u8]) -> Option<(Arc<Library>, usize)> {
        self.by_function.get(&name.to_ascii_lowercase()).cloned()
    }

    /// All libraries, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Library>> {
        self.libraries.values()
    }

    /// Number of functions.
    pub fn functions(&self) -> usize {
        self.by_function.len()
    }
}
