//! Small collections: all elements behind one another in one allocation.
//!
//! An entry is its length, its bytes, and the length of both again for walking backwards (both lengths as variable
//! integers, the last one reversed). Two bytes of overhead for entries below 63 bytes; looking something up walks the
//! whole buffer, which at most 128 elements and 4 KiB make cheaper than any index. The chunks of a large list are in
//! the same format.
//!
//! The four notes of the buffer hold: the number of elements, the largest number there ever was, and the largest
//! element that there ever was (15 bits) with one flag for the owner. The "ever" figures keep OBJECT ENCODING from
//! flipping back, as in Redis.

use super::peaks::Peaks;
use super::thin::{Growth, ThinBytes};

/// Most elements (pairs count once) of a packed collection.
pub(super) const MAX_ELEMENTS: usize = 128;
/// Most bytes of a packed collection's buffer.
pub(super) const MAX_BYTES: usize = 4096;
/// Longest byte string inside a packed collection.
pub(super) const MAX_PIECE_BYTES: usize = 512;

/// A variable-length integer with its bytes in a fixed place, so that it can be one of the parts of a splice.
#[derive(Clone, Copy)]
pub(super) struct VarInt {
    bytes: [u8; 5],
    length: u8,
}

impl VarInt {
    /// Little-endian groups of 7 bits, the high bit saying that another follows.
    pub(super) fn new(mut value: usize) -> Self {
        let mut result = Self {
            bytes: [0; 5],
            length: 0,
        };
        loop {
            let more = u8::from(value > 0x7f) << 7;
            result.bytes[usize::from(result.length)] = (value & 0x7f) as u8 | more;
            result.length += 1;
            value >>= 7;
            if more == 0 {
                return result;
            }
        }
    }

    /// The same with its bytes in reverse order, to be read from its end.
    fn reversed(value: usize) -> Self {
        let mut result = Self::new(value);
        result.bytes[..usize::from(result.length)].reverse();
        result
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Reads a [`VarInt`] at `at`: the value and the offset behind it.
pub(super) fn read_varint(bytes: &[u8], mut at: usize) -> (usize, usize) {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[at];
        at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return (value, at);
        }
        shift += 7;
    }
}

/// The lengths in front of and behind an entry's bytes.
pub(super) struct Frame {
    pub(super) head: VarInt,
    pub(super) tail: VarInt,
}

impl Frame {
    pub(super) fn new(length: usize) -> Self {
        let head = VarInt::new(length);
        let tail = VarInt::reversed(usize::from(head.length) + length);
        Self { head, tail }
    }

    /// Bytes of the whole entry whose content has `length` bytes.
    pub(super) fn entry_bytes(length: usize) -> usize {
        let frame = Self::new(length);
        usize::from(frame.head.length) + length + usize::from(frame.tail.length)
    }
}

/// The entry at `at`: its content and where the next one starts.
pub(super) fn entry_at(bytes: &[u8], at: usize) -> (&[u8], usize) {
    let (length, start) = read_varint(bytes, at);
    let end = start + length;
    let tail_bytes = match end - at {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => 5,
    };
    (&bytes[start..end], end + tail_bytes)
}

/// The entry that ends at `end`: its content and where it starts.
pub(super) fn entry_before(bytes: &[u8], end: usize) -> (&[u8], usize) {
    let (mut length, mut shift, mut at) = (0, 0, end);
    loop {
        at -= 1;
        let byte = bytes[at];
        length |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
        shift += 7;
    }
    let start = at - length;
    let (content_bytes, content) = read_varint(bytes, start);
    (&bytes[content..content + content_bytes], start)
}

/// A small collection's buffer. What its entries mean is up to the collection.
#[derive(Clone)]
#[repr(transparent)]
pub(super) struct Packed {
    bytes: ThinBytes,
}

impl Packed {
    pub(super) fn new() -> Self {
        Self::with_capacity(0)
    }

    /// An empty one with room for entries of so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: ThinBytes::with_capacity(bytes),
        }
    }

    /// All entries.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// Number of elements.
    pub(super) fn count(&self) -> usize {
        usize::from(self.bytes.notes()[0])
    }

    /// The most and the largest elements that there ever were (sizes up to 32 KiB).
    pub(super) fn peaks(&self) -> Peaks {
        let notes = self.bytes.notes();
        let element_bytes = u16::from_le_bytes([notes[2], notes[3]]) & 0x7fff;
        Peaks {
            count: usize::from(notes[1]),
            element_bytes: usize::from(element_bytes),
        }
    }

    /// The owner's flag.
    pub(super) fn flag(&self) -> bool {
        self.bytes.notes()[3] & 0x80 != 0
    }

    /// Sets the owner's flag.
    pub(super) fn raise_flag(&mut self) {
        if !self.flag() {
            let mut notes = self.bytes.notes();
            notes[3] |= 0x80;
            self.bytes.set_notes(notes);
        }
    }

    /// Whether an element made of byte strings of these lengths may come in addition.
    pub(super) fn has_room(&self, lengths: &[usize]) -> bool {
        let added: usize = lengths
            .iter()
            .map(|length| Frame::entry_bytes(*length))
            .sum();
        self.count() < MAX_ELEMENTS
            && self.bytes().len() + added <= MAX_BYTES
            && lengths.iter().all(|length| *length <= MAX_PIECE_BYTES)
    }

    /// Whether any element may be replaced by one byte string of `length` without looking at what it replaces.
    pub(super) fn has_room_for_replacement(&self, length: usize) -> bool {
        length <= MAX_PIECE_BYTES && self.bytes().len() + Frame::entry_bytes(length) <= MAX_BYTES
    }

    /// Notes that `added` elements came (or, negative, went), the largest having `element_bytes`.
    pub(super) fn note(&mut self, added: i32, element_bytes: usize) {
        let count = self
            .count()
            .saturating_add_signed(added as isize)
            .min(MAX_ELEMENTS) as u8;
        let peak = self.bytes.notes()[1].max(count);
        let largest = self.peaks().element_bytes.max(element_bytes.min(0x7fff)) as u16;
        let [low, high] = (largest | u16::from(self.flag()) << 15).to_le_bytes();
        let notes = [count, peak, low, high];
        if notes != self.bytes.notes() {
            self.bytes.set_notes(notes);
        }
    }

    /// Puts one entry, the concatenation of `parts`, at offset `at`; `element_bytes` is what is noted as its size.
    pub(super) fn insert(&mut self, at: usize, parts: &[&[u8]], element_bytes: usize) {
        self.replace_entries(at, at, parts);
        self.note(1, element_bytes);
    }

    /// Replaces the bytes from `at` to `end` by one entry, the concatenation of at most two `parts`. Notes nothing.
    pub(super) fn replace_entries(&mut self, at: usize, end: usize, parts: &[&[u8]]) {
        let frame = Frame::new(parts.iter().map(|part| part.len()).sum());
        let (first, second) = (parts[0], parts.get(1).copied().unwrap_or_default());
        let inserted = [frame.head.as_slice(), first, second, frame.tail.as_slice()];
        self.bytes.splice(at, end - at, &inserted, Growth::Tight);
    }

    /// Takes away the bytes from `at` to `end`, which hold `count` elements.
    pub(super) fn remove(&mut self, at: usize, end: usize, count: usize) {
        self.bytes.splice(at, end - at, &[], Growth::Tight);
        self.note(-(count as i32), 0);
    }

    /// Looks for the element of `entries_per_element` entries whose first one is `key`: where it starts and ends.
    pub(super) fn find_range(
        &self,
        entries_per_element: usize,
        key: &[u8],
    ) -> Option<(usize, usize)> {
        let mut entries = self.entries();
        loop {
            let start = entries.front;
            let found = entries.next()? == key;
            for _ in 1..entries_per_element {
                entries.next()?;
            }
            if found {
                return Some((start, entries.front));
            }
        }
    }

    /// The bytes that `count` elements made of byte strings of these lengths take together, unless that is too much.
    pub(super) fn bytes_for(
        count: usize,
        mut lengths: impl Iterator<Item = usize>,
    ) -> Option<usize> {
        let mut total = 0;
        let fit = count <= MAX_ELEMENTS
            && lengths.all(|length| {
                total += Frame::entry_bytes(length);
                length <= MAX_PIECE_BYTES && total <= MAX_BYTES
            });
        fit.then_some(total)
    }

    /// All entries in order.
    pub(super) fn entries(&self) -> Entries<'_> {
        Entries {
            bytes: self.bytes(),
            front: 0,
            back: self.bytes().len(),
        }
    }

    /// Bytes of the allocation.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.memory_bytes()
    }
}

/// Iterates over packed entries from both ends.
#[derive(Clone)]
pub(super) struct Entries<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) front: usize,
    pub(super) back: usize,
}

impl<'a> Iterator for Entries<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.front >= self.back {
            return None;
        }
        let (content, next) = entry_at(self.bytes, self.front);
        self.front = next;
        Some(content)
    }
}

impl DoubleEndedIterator for Entries<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        let (content, start) = entry_before(self.bytes, self.back);
        self.back = start;
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_every_length_class_walk_both_ways() {
        let lengths = [0, 1, 62, 63, 125, 126, 127, 128, 129, 300, 511, 512];
        let mut packed = Packed::new();
        for length in lengths {
            packed.insert(
                packed.bytes().len(),
                &[&vec![b'a'; length / 2], &vec![b'b'; length - length / 2]],
                length,
            );
        }
        let forwards: Vec<usize> = packed.entries().map(<[u8]>::len).collect();
        assert_eq!(forwards, lengths);
        let mut backwards: Vec<usize> = packed.entries().rev().map(<[u8]>::len).collect();
        backwards.reverse();
        assert_eq!(backwards, lengths);
        assert_eq!((packed.count(), packed.peaks().element_bytes), (12, 512));
        let total: usize = lengths
            .iter()
            .map(|length| Frame::entry_bytes(*length))
            .sum();
        assert_eq!(packed.bytes().len(), total);
    }

    #[test]
    fn frames_of_long_entries_agree_with_reading() {
        for length in [
            0x3ffa, 0x3ffd, 0x3fff, 0x4000, 0x1f_fffb, 0x1f_ffff, 0x20_0000,
        ] {
            let frame = Frame::new(length);
            let bytes = [
                frame.head.as_slice(),
                &vec![7; length],
                frame.tail.as_slice(),
            ]
            .concat();
            assert_eq!(entry_at(&bytes, 0), (&vec![7; length][..], bytes.len()));
            assert_eq!(entry_before(&bytes, bytes.len()), (&vec![7; length][..], 0));
        }
    }

    #[test]
    fn notes_keep_peaks_and_flag() {
        let mut packed = Packed::new();
        packed.insert(0, &[b"abc"], 3);
        packed.raise_flag();
        packed.insert(0, &[b"de"], 2);
        packed.remove(0, packed.bytes().len(), 2);
        assert_eq!(
            (
                packed.count(),
                packed.peaks().count,
                packed.peaks().element_bytes
            ),
            (0, 2, 3)
        );
        assert!(packed.flag());
    }
}
