//! The libraries of functions in the data directory: one small file, replaced as a whole.
//!
//! FUNCTION LOAD is acknowledged when the file is on the disk. It holds what FUNCTION DUMP gives, checksum included. It does
//! not go through the log: libraries are no keys, change rarely, and are few.

use crate::commands::script::dump;
use crate::commands::script::engine;
use crate::commands::script::libraries::LibrarySet;
use crate::error::InternalError;
use std::path::Path;
use std::sync::Arc;
use storage_format::durable;

/// Name of the file in the data directory.
pub const FILE_NAME: &str = "FUNCTIONS";

/// Replaces the file.
///
/// # Errors
/// I/O; the former file stands.
pub fn write(path: &Path, encoded: &[u8]) -> Result<(), InternalError> {
    durable::replace_file(path, encoded).map_err(InternalError::io("write", path))
}

/// Reads the file and loads every library; none if there is no file.
///
/// # Errors
/// I/O, damage, or a library that does not load: to serve without functions would be to lose them silently.
pub fn read(path: &Path) -> Result<LibrarySet, InternalError> {
    let payload = match std::fs::read(path) {
        Ok(payload) => payload,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(LibrarySet::default());
        }
        Err(error) => return Err(InternalError::io("read", path)(error)),
    };
    let damaged = |what: &str| {
        InternalError::Other(format!(
            "{}: the functions cannot be loaded: {what}; move the file away to start without them",
            path.display()
        ))
    };
    let texts = dump::decode(&payload).map_err(|error| damaged(error.text()))?;
    let mut libraries = LibrarySet::default();
    for text in texts {
        let library = engine::load_library(&text).map_err(|error| damaged(error.text()))?;
        libraries
            .insert(Arc::new(library))
            .map_err(|name| damaged(&format!("two libraries have {}", name.escape_ascii())))?;
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_come_back_from_their_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(FILE_NAME);
        assert_eq!(read(&path).expect("no file is no library").functions(), 0);
        let text = b"#!lua name=lib\nredis.register_function('f', function() return 1 end)";
        let library = engine::load_library(text).expect("it loads");
        let mut libraries = LibrarySet::default();
        libraries.insert(Arc::new(library)).expect("no collision");
        write(&path, &dump::encode(&libraries)).expect("it is written");
        let found = read(&path).expect("it is read");
        assert_eq!(
            found.get("lib").map(|library| library.text.clone()),
            Some(text.to_vec())
        );
        let mut payload = std::fs::read(&path).expect("it is there");
        payload[5] ^= 1;
        std::fs::write(&path, payload).expect("it can be written");
        assert!(read(&path).is_err_and(|error| error.to_string().contains("FUNCTIONS")));
    }
}
