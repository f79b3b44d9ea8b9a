//! Error replies by their first word, for INFO errorstats.

use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Codes that are told apart; what comes after them is not counted by code, because a client may invent codes.
const CODES_MAX: usize = 128;

/// See the module's comment.
#[derive(Default)]
pub struct ErrorCounts {
    counts: Mutex<BTreeMap<String, u64>>,
}

impl ErrorCounts {
    /// Counts an error reply.
    pub fn note(&self, text: &str) {
        let code = text.split(' ').next().unwrap_or_default();
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(code) {
            *count += 1;
        } else if counts.len() < CODES_MAX {
            counts.insert(code.to_owned(), 1);
        }
    }

    /// All codes and how often each occurred.
    pub fn all(&self) -> Vec<(String, u64)> {
        let counts = self.counts.lock();
        counts
            .iter()
            .map(|(code, count)| (code.clone(), *count))
            .collect()
    }

    /// Forgets everything.
    pub fn reset(&self) {
        self.counts.lock().clear();
    }
}
