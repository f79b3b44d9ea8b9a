//! A string value too large to live inside its entry: shared bytes, changed in place while nobody else holds them.
//!
//! One allocation, one thin pointer. A clone counts a reference; the first change of a shared text copies all of it.

use super::thin::{Growth, ThinBytes};

/// Bytes with O(1) clone, amortised append and in-place overwriting. At most 4 GiB.
#[derive(Clone)]
pub struct SharedText {
    bytes: ThinBytes,
}

/// How many zeros a gap is filled with at a time.
const ZEROS: [u8; 4096] = [0; 4096];

impl SharedText {
    /// Copies `bytes` into one allocation of their size.
    pub fn new(bytes: &[u8]) -> Self {
        let mut buffer = ThinBytes::with_capacity(bytes.len());
        buffer.splice(0, 0, &[bytes], Growth::Tight);
        Self { bytes: buffer }
    }

    /// The whole text.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there is not a single byte.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// Adds `bytes` at the end; repeated appending costs amortised O(bytes).
    pub fn append(&mut self, bytes: &[u8]) {
        self.bytes
            .splice(self.len(), 0, &[bytes], Growth::Amortised);
    }

    /// Overwrites from `offset` on, growing the text as needed; a gap is filled with zeros. No bytes, no change.
    pub fn set_range(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        while self.len() < offset {
            let gap = (offset - self.len()).min(ZEROS.len());
            self.append(&ZEROS[..gap]);
        }
        let replaced = bytes.len().min(self.len() - offset);
        self.bytes
            .splice(offset, replaced, &[bytes], Growth::Amortised);
    }

    /// Heap bytes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_range_overwrites_extends_and_fills() {
        let cases = [
            ("hello", 0, "J", "Jello"),
            ("hello", 3, "p me", "help me"),
            ("hello", 5, "!", "hello!"),
            ("hi", 4, "x", "hi\0\0x"),
            ("", 2, "y", "\0\0y"),
            ("hi", 9, "", "hi"),
            ("", 0, "", ""),
        ];
        for (before, offset, bytes, after) in cases {
            let mut text = SharedText::new(before.as_bytes());
            let clone = text.clone();
            text.set_range(offset, bytes.as_bytes());
            assert_eq!(text.as_bytes(), after.as_bytes());
            assert_eq!(clone.as_bytes(), before.as_bytes());
        }
        let mut text = SharedText::new(b"");
        text.set_range(10_000, b"end");
        assert_eq!(text.len(), 10_003);
        assert!(text.as_bytes()[..10_000].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn append_grows_by_half_so_that_few_appends_move_the_text() {
        let mut text = SharedText::new(b"");
        let mut moves = 0;
        let mut place = text.memory_bytes();
        for _ in 0..100_000 {
            text.append(b"0123456789");
            moves += usize::from(place != text.memory_bytes());
            place = text.memory_bytes();
        }
        assert_eq!(text.len(), 1_000_000);
        assert!(moves < 40, "{moves} reallocations");
    }
}
