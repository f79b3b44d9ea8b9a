//! What all threads know of scripts: the texts by digest, the libraries of functions, and the script that runs.
//!
//! Compiled code belongs to the Lua state of one thread; here is only what it is compiled from. A thread that meets a digest
//! for the first time takes the text from here, once. SCRIPT FLUSH and changes of libraries raise a number that every
//! thread compares before it runs anything.

use super::libraries::{Library, LibrarySet};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use sha1::{Digest as _, Sha1};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// SHA-1 of a script's text.
pub type Digest = [u8; 20];

/// So many scripts are kept that only EVAL brought. Clients that put values into their scripts' texts make a new one with every
/// call; those that mean to use a script again by its digest load it, or soon use it.
pub const EVAL_SCRIPTS_MAX: usize = 500;

/// What brought a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadedBy {
    /// EVAL: it may be forgotten.
    Eval,
    /// SCRIPT LOAD: it stays until SCRIPT FLUSH.
    Command,
}

/// A script's text.
#[derive(Debug)]
pub struct Script {
    /// As it was given.
    pub text: Box<[u8]>,
    is_loaded: AtomicBool,
    /// Used since it was last considered.
    is_used: AtomicBool,
    is_gone: AtomicBool,
}

impl Script {
    /// Notes a use; false if the script was forgotten.
    pub fn use_it(&self) -> bool {
        if !self.is_used.load(Ordering::Relaxed) {
            self.is_used.store(true, Ordering::Relaxed);
        }
        !self.is_gone()
    }

    /// True if it was forgotten.
    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }
}

/// The scripts by digest, and those that only EVAL brought in the order in which they came.
#[derive(Default)]
struct Scripts {
    by_digest: HashMap<Digest, Arc<Script>>,
    from_eval: VecDeque<Digest>,
}

impl Scripts {
    /// Forgets scripts of EVAL that are too many: the oldest that were not used since they were last considered.
    fn shrink(&mut self) {
        while self.from_eval.len() > EVAL_SCRIPTS_MAX {
            let Some(digest) = self.from_eval.pop_front() else {
                return;
            };
            let Some(script) = self.by_digest.get(&digest) else {
                continue;
            };
            if script.is_loaded.load(Ordering::Relaxed) {
                continue;
            }
            if script.is_used.swap(false, Ordering::Relaxed) {
                self.from_eval.push_back(digest);
                continue;
            }
            script.is_gone.store(true, Ordering::Relaxed);
            self.by_digest.remove(&digest);
        }
    }
}

/// See the module's comment.
#[derive(Default)]
pub struct ScriptStore {
    texts: RwLock<Scripts>,
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
    pub fn insert(&self, digest: Digest, text: &[u8], by: LoadedBy) -> Arc<Script> {
        let mut scripts = self.texts.write();
        let is_loaded = by == LoadedBy::Command;
        if let Some(known) = scripts.by_digest.get(&digest) {
            known.is_loaded.fetch_or(is_loaded, Ordering::Relaxed);
            return Arc::clone(known);
        }
        let script = Arc::new(Script {
            text: text.into(),
            is_loaded: AtomicBool::new(is_loaded),
            is_used: AtomicBool::new(false),
            is_gone: AtomicBool::new(false),
        });
        scripts.by_digest.insert(digest, Arc::clone(&script));
        if !is_loaded {
            scripts.from_eval.push_back(digest);
            scripts.shrink();
        }
        script
    }

    /// The script of a digest.
    pub fn script(&self, digest: &Digest) -> Option<Arc<Script>> {
        self.texts.read().by_digest.get(digest).cloned()
    }

    /// Forgets all texts; every thread starts over with a fresh Lua state.
    pub fn flush(&self) {
        let mut texts = self.texts.write();
        *texts = Scripts::default();
        self.flushes.fetch_add(1, Ordering::Release);
    }

    /// How often texts were flushed.
    pub fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Acquire)
    }

    /// Number of texts, and their bytes.
    pub fn usage(&self) -> (usize, usize) {
        let texts = self.texts.read();
        let bytes = texts.by_digest.values().map(|script| script.text.len());
        (texts.by_digest.len(), bytes.sum())
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

/// What each byte is as a hexadecimal digit; more than 15 if it is none.
const DIGIT_VALUES: [u8; 256] = {
    let mut values = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        let digit = b"0123456789abcdef"[value];
        values[digit as usize] = value as u8;
        values[digit.to_ascii_uppercase() as usize] = value as u8;
        value += 1;
    }
    values
};

/// Reads a digest as EVALSHA gives it: 40 hexadecimal digits.
pub fn parse_digest(text: &[u8]) -> Option<Digest> {
    let mut digest = Digest::default();
    if text.len() != digest.len() * 2 {
        return None;
    }
    let mut seen = 0;
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        let high = DIGIT_VALUES[usize::from(pair[0])];
        let low = DIGIT_VALUES[usize::from(pair[1])];
        seen |= high | low;
        *byte = high << 4 | low;
    }
    (seen < 16).then_some(digest)
}

/// Finds digests by their first bytes, which are as good as any hash of the whole.
#[derive(Default)]
pub struct DigestHasher(u64);

/// A table by digest.
pub type ByDigest<T> = HashMap<Digest, T, std::hash::BuildHasherDefault<DigestHasher>>;

impl std::hash::Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    /// The length of a digest is always the same.
    fn write_usize(&mut self, _: usize) {}
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_in_both_cases_and_nothing_else_is() {
        let digest = ScriptStore::digest(b"return 1");
        let text = show_digest(&digest);
        assert_eq!(parse_digest(text.as_bytes()), Some(digest));
        assert_eq!(parse_digest(text.to_uppercase().as_bytes()), Some(digest));
        for place in 0..text.len() {
            for bad in [b'g', b'/', b':', b'@', b'`', 0, 0xff] {
                let mut text = text.clone().into_bytes();
                text[place] = bad;
                assert_eq!(parse_digest(&text), None);
            }
        }
        assert_eq!(parse_digest(&text.as_bytes()[..39]), None);
        let mut known = ByDigest::default();
        (0..1000u32).for_each(|number| {
            known.insert(ScriptStore::digest(&number.to_le_bytes()), number);
        });
        for number in 0..1000u32 {
            let digest = ScriptStore::digest(&number.to_le_bytes());
            assert_eq!(known.get(&digest), Some(&number));
        }
    }

    #[test]
    fn scripts_of_eval_are_forgotten_and_others_stay() {
        let store = ScriptStore::default();
        let insert = |number: usize, by| {
            let text = format!("return {number}");
            store.insert(ScriptStore::digest(text.as_bytes()), text.as_bytes(), by)
        };
        let (loaded, used) = (insert(0, LoadedBy::Command), insert(1, LoadedBy::Eval));
        let first = insert(2, LoadedBy::Eval);
        for number in 3..100_000 {
            insert(number, LoadedBy::Eval);
            assert!(used.use_it() && loaded.use_it());
        }
        assert!(first.is_gone());
        assert_eq!(store.usage().0, EVAL_SCRIPTS_MAX + 1);
        insert(1, LoadedBy::Command);
        (100_000..101_000).for_each(|number| drop(insert(number, LoadedBy::Eval)));
        assert!(
            !used.is_gone(),
            "it was loaded by its own command meanwhile"
        );
    }
}
