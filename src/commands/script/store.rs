//! What all threads know of scripts: the texts by digest, the libraries of functions, and the script that runs.
//!
//! Compiled code belongs to the Lua state of one thread; here is only what it is compiled from. A thread that meets a digest
//! for the first time takes the text from here, once. SCRIPT FLUSH and changes of libraries raise a number that every
//! thread compares before it runs anything.

use super::libraries::{Library, LibrarySet};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use sha1::{Digest as _, Sha1};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// SHA-1 of a script's text.
pub type Digest = [u8; 20];

/// See the module's comment.
#[derive(Default)]
pub struct ScriptStore {
    texts: RwLock<HashMap<Digest, Arc<[u8]>>>,
    flushes: AtomicU64,
    libraries: RwLock<Arc<LibrarySet>>,
    library_changes: AtomicU64,
    /// DEBUG SET-DISABLE-DENY-SCRIPTS: scripts may call commands for administrators, as far as these run at once.
    pub allows_administration: AtomicBool,
    /// Scripts that run for too long.
    pub slow: super::slow::SlowScripts,
    /// Held while the libraries are replaced and written to disk, so that the file follows the order of changes.
    pub changing_libraries: Mutex<()>,
}

impl ScriptStore {
    /// The digest of a text.
    pub fn digest(text: &[u8]) -> Digest {
        Sha1::digest(text).into()
    }

    /// Keeps a text.
    pub fn insert(&self, digest: Digest, text: &[u8]) {
        self.texts
            .write()
            .entry(digest)
            .or_insert_with(|| text.into());
    }

    /// The text of a digest.
    pub fn text(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        self.texts.read().get(digest).cloned()
    }

    /// Forgets all texts; every thread starts over with a fresh Lua state.
    pub fn flush(&self) {
        let mut texts = self.texts.write();
        texts.clear();
        self.flushes.fetch_add(1, Ordering::Release);
    }

    /// How often texts were flushed.
    pub fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Acquire)
    }

    /// Number of texts, and their bytes.
    pub fn usage(&self) -> (usize, usize) {
        let texts = self.texts.read();
        (texts.len(), texts.values().map(|text| text.len()).sum())
    }

    /// The libraries as they are.
    pub fn libraries(&self) -> Arc<LibrarySet> {
        Arc::clone(&self.libraries.read())
    }

    /// Replaces the libraries.
    pub fn set_libraries(&self, libraries: LibrarySet) {
        *self.libraries.write() = Arc::new(libraries);
        self.library_changes.fetch_add(1, Ordering::Release);
    }

    /// How often the libraries changed.
    pub fn library_changes(&self) -> u64 {
        self.library_changes.load(Ordering::Acquire)
    }

    /// The library that has a function, and the number of that function in it.
    pub fn function(&self, name: &[u8]) -> Option<(Arc<Library>, usize)> {
        self.libraries.read().function(name)
    }
}

/// Reads a digest as EVALSHA gives it: 40 hexadecimal digits.
pub fn parse_digest(text: &[u8]) -> Option<Digest> {
    let mut digest = Digest::default();
    if text.len() != digest.len() * 2 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high << 4 | low) as u8;
    }
    Some(digest)
}

/// 40 hexadecimal digits.
pub fn show_digest(digest: &Digest) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(digest.len() * 2);
    for byte in digest {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
