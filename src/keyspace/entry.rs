//! One key and its value in one allocation.
//!
//! Why by hand: a key of 16 bytes with a value of 10 should cost little more than those bytes. A struct
//! with two vectors costs 24 bytes a vector and two allocations more; the layout below costs 14 bytes and
//! one allocation, and a look-up touches one cache line.
//!
//! ```text
//! offset  0  u64  bits 0..48 LSN, bits 48..56 kind, bits 56..64 flags
//!         8  u32  access: seconds << 8 | frequency counter
//! text:  12  u8 key length, u8 text length       or, with WIDE, u32 and u32
//!            [u64 deadline, with DEADLINE] key, text
//! other: 12  u32 key length
//!        16  Value (16 bytes)                     only with BOXED
//!            [u64 deadline, with DEADLINE] key
//! ```
//!
//! A tombstone is an entry of the second form without a `Value`. Texts longer than [`INLINE_TEXT_MAX`] are
//! boxed, so that a snapshot can share them instead of copying.
//!
//! Allocation sizes are rounded up to size classes, so that a text can be overwritten in place as long as
//! its class stays the same. All unsafe code of the keyspace is in this file.

use crate::value::Value;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, size_of};
use std::ptr::NonNull;
use storage_format::ValueKind;

/// The longest text that lives inside its entry, in bytes.
pub const INLINE_TEXT_MAX: usize = 4096;
/// The LSN of an entry whose change has not reached the log yet; newer than every real one.
pub const PENDING_LSN: u64 = (1 << 48) - 1;

const LSN_MASK: u64 = (1 << 48) - 1;
const OFFSET_ACCESS: usize = 8;
const OFFSET_LENGTHS: usize = 12;
const OFFSET_NARROW_BODY: usize = 14;
const OFFSET_WIDE_BODY: usize = 20;
const OFFSET_VALUE: usize = 16;

const FLAG_DEADLINE: u8 = 1;
const FLAG_BOXED: u8 = 2;
const FLAG_WIDE: u8 = 4;
const FLAG_REFERENCED: u8 = 8;
const FLAG_COLD: u8 = 16;
const FLAG_CLEAN: u8 = 32;
const FLAG_RAW_TEXT: u8 = 64;

/// What an entry holds, as its readers see it.
pub enum Body<'a> {
    /// The key was deleted; its cold record is not removed yet.
    Tombstone,
    /// A text inside the entry.
    Text(&'a [u8]),
    /// A longer text or a collection.
    Boxed(&'a Value),
}

/// What a new entry is made from.
pub enum NewBody<'a> {
    /// See [`Body::Tombstone`].
    Tombstone,
    /// A text; it is boxed if it is longer than [`INLINE_TEXT_MAX`].
    Text(&'a [u8]),
    /// A value that the entry takes over.
    Boxed(Value),
}

/// The owner of one entry's allocation. Not `Copy`: whoever holds it frees it by dropping.
pub struct Entry {
    base: NonNull<u8>,
}

// SAFETY: an `Entry` owns its allocation exclusively, and everything in it (bytes and a `Value`) is `Send`.
unsafe impl Send for Entry {}
// SAFETY: shared access only reads.
unsafe impl Sync for Entry {}

fn size_class(size: usize) -> usize {
    if size <= 128 {
        return size.max(16).next_multiple_of(16);
    }
    let step = (size - 1).ilog2() - 2;
    size.next_multiple_of(1 << step)
}

/// The shape that decides offsets and size: what the header says, as plain numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    kind: u8,
    flags: u8,
    key_length: usize,
    text_length: usize,
}

impl Shape {
    fn is_text(self) -> bool {
        self.kind == ValueKind::String as u8 && self.flags & FLAG_BOXED == 0
    }
    fn body_offset(self) -> usize {
        if self.is_text() {
            if self.flags & FLAG_WIDE != 0 {
                OFFSET_WIDE_BODY
            } else {
                OFFSET_NARROW_BODY
            }
        } else if self.flags & FLAG_BOXED != 0 {
            OFFSET_VALUE + size_of::<Value>()
        } else {
            OFFSET_VALUE
        }
    }
    fn key_offset(self) -> usize {
        self.body_offset()
            + if self.flags & FLAG_DEADLINE != 0 {
                8
            } else {
                0
            }
    }
    fn text_offset(self) -> usize {
        self.key_offset() + self.key_length
    }
    fn size(self) -> usize {
        self.text_offset() + self.text_length
    }
    fn layout(self) -> Layout {
        Layout::from_size_align(size_class(self.size()), 8)
            .expect("an entry is smaller than isize::MAX")
    }
}

impl Entry {
    /// A new entry, dirty and not pending: its LSN is 0 until [`Entry::set_lsn`].
    pub fn new(key: &[u8], body: NewBody<'_>, deadline_ms: Option<u64>) -> Entry {
        let body = match body {
            NewBody::Text(text)
                if text.len() > INLINE_TEXT_MAX || key.len() > u32::MAX as usize =>
            {
                NewBody::Boxed(Value::from_text(text))
            }
            other => other,
        };
        let mut shape = Shape {
            kind: 0,
            flags: 0,
            key_length: key.len(),
            text_length: 0,
        };
        if deadline_ms.is_some() {
            shape.flags |= FLAG_DEADLINE;
        }
        match &body {
            NewBody::Tombstone => {}
            NewBody::Text(text) => {
                shape.kind = ValueKind::String as u8;
                shape.text_length = text.len();
                if key.len() > 255 || text.len() > 255 {
                    shape.flags |= FLAG_WIDE;
                }
            }
            NewBody::Boxed(value) => {
                shape.kind = value.kind() as u8;
                shape.flags |= FLAG_BOXED;
            }
        }
        let entry = Entry::allocate(shape);
        // SAFETY: `allocate` gave a block of `shape.layout()`; every write below is inside the offsets that
        // `shape` defines, and no reference to the block exists yet. `Value` is written at an offset of 16,
        // which its alignment of 8 divides.
        unsafe {
            let base = entry.base.as_ptr();
            base.add(shape.key_offset())
                .copy_from_nonoverlapping(key.as_ptr(), key.len());
            match body {
                NewBody::Tombstone => {}
                NewBody::Text(text) => {
                    base.add(shape.text_offset())
                        .copy_from_nonoverlapping(text.as_ptr(), text.len());
                }
                NewBody::Boxed(value) => base.add(OFFSET_VALUE).cast::<Value>().write(value),
            }
        }
        if let Some(deadline_ms) = deadline_ms {
            entry.write_deadline(shape, deadline_ms);
        }
        entry
    }

    fn allocate(shape: Shape) -> Entry {
        let layout = shape.layout();
        // SAFETY: the layout's size is at least 16.
        let block = unsafe { alloc(layout) };
        let Some(base) = NonNull::new(block) else {
            handle_alloc_error(layout)
        };
        let entry = Entry { base };
        entry.write_header(shape.kind, shape.flags);
        // SAFETY: a fresh block of at least 16 bytes, aligned to 8; the length fields of `shape`'s form lie
        // in front of its body.
        unsafe {
            base.add(OFFSET_ACCESS).cast::<u32>().write(0);
            if shape.is_text() && shape.flags & FLAG_WIDE == 0 {
                base.add(OFFSET_LENGTHS).write(shape.key_length as u8);
                base.add(OFFSET_LENGTHS + 1).write(shape.text_length as u8);
            } else {
                base.add(OFFSET_LENGTHS)
                    .cast::<u32>()
                    .write(shape.key_length as u32);
                if shape.is_text() {
                    base.add(OFFSET_LENGTHS + 4)
                        .cast::<u32>()
                        .write(shape.text_length as u32);
                }
            }
        }
        entry
    }

    fn write_header(&self, kind: u8, flags: u8) {
        // SAFETY: the first 8 bytes of every block are the header; the caller owns the entry exclusively or
        // has just allocated it.
        unsafe {
            self.base
                .cast::<u64>()
                .write(u64::from(kind) << 48 | u64::from(flags) << 56)
        };
    }

    fn header(&self) -> u64 {
        // SAFETY: the first 8 bytes are the header, always initialised, aligned to 8.
        unsafe { self.base.cast::<u64>().read() }
    }

    fn set_header(&mut self, header: u64) {
        // SAFETY: as above, and `&mut self` is exclusive.
        unsafe { self.base.cast::<u64>().write(header) };
    }

    fn flags(&self) -> u8 {
        (self.header() >> 56) as u8
    }

    fn set_flag(&mut self, flag: u8, on: bool) {
        let bit = u64::from(flag) << 56;
        let header = self.header();
        let changed = if on { header | bit } else { header & !bit };
        if changed != header {
            self.set_header(changed);
        }
    }

    fn shape(&self) -> Shape {
        let header = self.header();
        let (kind, flags) = ((header >> 48) as u8, (header >> 56) as u8);
        let mut shape = Shape {
            kind,
            flags,
            key_length: 0,
            text_length: 0,
        };
        // SAFETY: the length fields were initialised by `allocate` in the form that kind and flags name.
        unsafe {
            if shape.is_text() && flags & FLAG_WIDE == 0 {
                shape.key_length = usize::from(self.base.add(OFFSET_LENGTHS).read());
                shape.text_length = usize::from(self.base.add(OFFSET_LENGTHS + 1).read());
            } else {
                shape.key_length = self.base.add(OFFSET_LENGTHS).cast::<u32>().read() as usize;
                if shape.is_text() {
                    shape.text_length =
                        self.base.add(OFFSET_LENGTHS + 4).cast::<u32>().read() as usize;
                }
            }
        }
        shape
    }

    fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        // SAFETY: callers pass ranges of `shape()`, which are inside the block and initialised by `new`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(offset), length) }
    }

    fn write_deadline(&self, shape: Shape, deadline_ms: u64) {
        // SAFETY: with DEADLINE in its flags the shape has 8 bytes at its body's start; they may be
        // unaligned. Callers are exclusive owners.
        unsafe {
            self.base
                .add(shape.body_offset())
                .cast::<u64>()
                .write_unaligned(deadline_ms)
        };
    }

    /// The key.
    pub fn key(&self) -> &[u8] {
        let shape = self.shape();
        self.bytes(shape.key_offset(), shape.key_length)
    }

    /// What the entry holds.
    pub fn body(&self) -> Body<'_> {
        let shape = self.shape();
        if shape.is_text() {
            Body::Text(self.bytes(shape.text_offset(), shape.text_length))
        } else if shape.flags & FLAG_BOXED != 0 {
            // SAFETY: BOXED says that `new` wrote a `Value` there, aligned, and it lives as long as the entry.
            Body::Boxed(unsafe { self.base.add(OFFSET_VALUE).cast::<Value>().as_ref() })
        } else {
            Body::Tombstone
        }
    }

    /// The boxed value for changing in place; `None` for inline texts and tombstones.
    pub fn value_mut(&mut self) -> Option<&mut Value> {
        if self.flags() & FLAG_BOXED == 0 {
            return None;
        }
        // SAFETY: as in `body`, and `&mut self` is exclusive.
        Some(unsafe { self.base.add(OFFSET_VALUE).cast::<Value>().as_mut() })
    }

    /// A value of the entry that shares or copies (short texts) what it holds; `None` for a tombstone.
    pub fn to_value(&self) -> Option<Value> {
        match self.body() {
            Body::Tombstone => None,
            Body::Text(text) => Some(Value::from_text(text)),
            Body::Boxed(value) => Some(value.clone()),
        }
    }

    /// True if [`Entry::overwrite_text`] with a text of this length would work.
    pub fn can_overwrite_text(&self, length: usize, deadline_ms: Option<u64>) -> bool {
        let old = self.shape();
        let new = Shape {
            text_length: length,
            ..old
        };
        old.is_text()
            && length <= INLINE_TEXT_MAX
            && deadline_ms.is_some() == (old.flags & FLAG_DEADLINE != 0)
            && (length == old.text_length
                || (length <= 255 || old.flags & FLAG_WIDE != 0) && new.layout() == old.layout())
    }

    /// Overwrites the text in place if its size class stays what it is. The deadline is kept as `deadline_ms`
    /// says. Returns false, and changes nothing, where a new entry is needed.
    pub fn overwrite_text(&mut self, text: &[u8], deadline_ms: Option<u64>) -> bool {
        if !self.can_overwrite_text(text.len(), deadline_ms) {
            return false;
        }
        let old = self.shape();
        let new = Shape {
            text_length: text.len(),
            ..old
        };
        // SAFETY: same size class, so the new text is inside the block; `text` cannot overlap it, because
        // `&mut self` is exclusive.
        unsafe {
            let base = self.base.as_ptr();
            if old.flags & FLAG_WIDE == 0 {
                base.add(OFFSET_LENGTHS + 1).write(text.len() as u8);
            } else {
                base.add(OFFSET_LENGTHS + 4)
                    .cast::<u32>()
                    .write(text.len() as u32);
            }
            base.add(new.text_offset())
                .copy_from_nonoverlapping(text.as_ptr(), text.len());
        }
        if let Some(deadline_ms) = deadline_ms {
            self.write_deadline(new, deadline_ms);
        }
        true
    }

    /// When the key expires, in Unix milliseconds. For a tombstone: the deadline that its cold record has.
    pub fn deadline_ms(&self) -> Option<u64> {
        let shape = self.shape();
        if shape.flags & FLAG_DEADLINE == 0 {
            return None;
        }
        // SAFETY: with DEADLINE the 8 bytes at the body's start are initialised; they may be unaligned.
        Some(unsafe {
            self.base
                .add(shape.body_offset())
                .cast::<u64>()
                .read_unaligned()
        })
    }

    /// Changes a deadline that is there already; false if the entry has no room for one.
    pub fn overwrite_deadline(&mut self, deadline_ms: u64) -> bool {
        let shape = self.shape();
        if shape.flags & FLAG_DEADLINE == 0 {
            return false;
        }
        self.write_deadline(shape, deadline_ms);
        true
    }

    /// The same key and value in a new entry with another deadline; marks, access and LSN go along.
    pub fn with_deadline(mut self, deadline_ms: Option<u64>) -> Entry {
        let marks = self.flags() & (FLAG_REFERENCED | FLAG_COLD | FLAG_CLEAN | FLAG_RAW_TEXT);
        let (lsn, access) = (self.lsn(), self.access());
        let mut new = if self.flags() & FLAG_BOXED != 0 {
            let value = self.value_mut().map(std::mem::take).unwrap_or_default();
            Entry::new(self.key(), NewBody::Boxed(value), deadline_ms)
        } else if let Body::Text(text) = self.body() {
            Entry::new(self.key(), NewBody::Text(text), deadline_ms)
        } else {
            Entry::new(self.key(), NewBody::Tombstone, deadline_ms)
        };
        new.set_flag(marks, true);
        new.set_lsn(lsn);
        new.set_access(access);
        new
    }

    /// The LSN of the newest change, or [`PENDING_LSN`].
    pub fn lsn(&self) -> u64 {
        self.header() & LSN_MASK
    }

    /// Sets the LSN (48 bits).
    pub fn set_lsn(&mut self, lsn: u64) {
        self.set_header(self.header() & !LSN_MASK | lsn & LSN_MASK);
    }

    /// The kind of the value; `None` for a tombstone.
    pub fn kind(&self) -> Option<ValueKind> {
        ValueKind::from_byte((self.header() >> 48) as u8)
    }

    /// True for a live entry that no deadline can change: it has none, and is no hash, whose fields may have some.
    #[inline]
    pub fn has_no_deadline(&self) -> bool {
        let header = self.header();
        let (kind, flags) = ((header >> 48) as u8, (header >> 56) as u8);
        flags & FLAG_DEADLINE == 0 && kind != 0 && kind != ValueKind::Hash as u8
    }

    /// True for a key that is deleted, its cold record not yet removed.
    pub fn is_tombstone(&self) -> bool {
        (self.header() >> 48) as u8 == 0
    }

    /// Seconds << 8 | frequency counter of the last use.
    pub fn access(&self) -> u32 {
        // SAFETY: the access word is initialised by `allocate` and aligned to 4.
        unsafe { self.base.add(OFFSET_ACCESS).cast::<u32>().read() }
    }

    /// Sets the access word.
    pub fn set_access(&mut self, access: u32) {
        // SAFETY: as above, exclusive.
        unsafe { self.base.add(OFFSET_ACCESS).cast::<u32>().write(access) };
    }

    /// True if it was used since the clock hand last cleared the mark.
    pub fn is_referenced(&self) -> bool {
        self.flags() & FLAG_REFERENCED != 0
    }
    /// Sets or clears the clock hand's mark.
    pub fn set_referenced(&mut self, on: bool) {
        self.set_flag(FLAG_REFERENCED, on);
    }
    /// True if a cold record of this key exists, of whatever version.
    pub fn has_cold_record(&self) -> bool {
        self.flags() & FLAG_COLD != 0
    }
    /// Notes whether a cold record exists.
    pub fn set_cold_record(&mut self, on: bool) {
        self.set_flag(FLAG_COLD, on);
    }
    /// True if the cold record is this very version.
    pub fn is_clean(&self) -> bool {
        self.flags() & FLAG_CLEAN != 0
    }
    /// Notes whether the cold record is this very version.
    pub fn set_clean(&mut self, on: bool) {
        self.set_flag(FLAG_CLEAN, on);
    }
    /// True for a text that APPEND, SETRANGE or SETBIT made (OBJECT ENCODING says `raw`).
    pub fn is_raw_text(&self) -> bool {
        self.flags() & FLAG_RAW_TEXT != 0
    }
    /// Sets the mark that OBJECT ENCODING reads.
    pub fn set_raw_text(&mut self, on: bool) {
        self.set_flag(FLAG_RAW_TEXT, on);
    }

    /// Bytes of the allocation itself, without what a boxed value holds elsewhere.
    pub fn allocated_bytes(&self) -> usize {
        self.shape().layout().size()
    }

    /// A view of this entry.
    pub fn view(&self) -> EntryRef<'_> {
        EntryRef {
            entry: ManuallyDrop::new(Entry { base: self.base }),
            owner: PhantomData,
        }
    }

    /// Gives up ownership: the address, which fits in 48 bits.
    pub fn into_address(self) -> u64 {
        let address = self.base.as_ptr().expose_provenance() as u64;
        std::mem::forget(self);
        address
    }

    /// Takes ownership back.
    ///
    /// # Safety
    /// `address` came from [`Entry::into_address`] and is given back once only.
    pub unsafe fn from_address(address: u64) -> Entry {
        let pointer = std::ptr::with_exposed_provenance_mut::<u8>(address as usize);
        // SAFETY: `into_address` never gives 0.
        let base = unsafe { NonNull::new_unchecked(pointer) };
        Entry { base }
    }
}

/// The access word after one more use: the counter decays by one a minute and grows with a probability that
/// falls with its height and `log_factor`, as Redis's LFU does (a new key starts at 5).
pub fn count_use(now: u32, former: u32, log_factor: u32, random: u64) -> u32 {
    const COUNTER_START: u32 = 5;
    let idle_minutes = ((now >> 8).wrapping_sub(former >> 8) & 0x00ff_ffff) / 60;
    let counter = (former & 0xff).saturating_sub(idle_minutes);
    let chance =
        1.0 / (f64::from(counter.saturating_sub(COUNTER_START)) * f64::from(log_factor) + 1.0);
    let dice = (random.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1u64 << 53) as f64;
    now & !0xff
        | if counter < 255 && dice < chance {
            counter + 1
        } else {
            counter
        }
}

/// A view of an entry that somebody else owns: a slot of a segment.
pub struct EntryRef<'a> {
    entry: ManuallyDrop<Entry>,
    owner: PhantomData<&'a Entry>,
}

impl<'a> EntryRef<'a> {
    /// A view of the entry at `address`.
    ///
    /// # Safety
    /// `address` came from [`Entry::into_address`], and the entry is neither freed nor changed during `'a`.
    pub unsafe fn at(address: u64) -> EntryRef<'a> {
        // SAFETY: the caller vouches for the address; `ManuallyDrop` keeps this view from freeing the entry.
        let entry = ManuallyDrop::new(unsafe { Entry::from_address(address) });
        EntryRef {
            entry,
            owner: PhantomData,
        }
    }

    /// As [`Entry::key`], for as long as the owner is borrowed.
    pub fn key(&self) -> &'a [u8] {
        // SAFETY: the bytes belong to the block, not to this view, and the block stays for `'a`.
        unsafe { &*std::ptr::from_ref(self.entry.key()) }
    }

    /// As [`Entry::body`], for as long as the owner is borrowed.
    pub fn body(&self) -> Body<'a> {
        // SAFETY: as in `key`.
        unsafe { std::mem::transmute::<Body<'_>, Body<'a>>(self.entry.body()) }
    }
}

impl std::ops::Deref for EntryRef<'_> {
    type Target = Entry;
    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let layout = self.shape().layout();
        // SAFETY: BOXED says that a `Value` is there; it is dropped once, here. The block was allocated with
        // this very layout: `overwrite_text` keeps the size class, nothing else changes the lengths.
        unsafe {
            if self.flags() & FLAG_BOXED != 0 {
                self.base.add(OFFSET_VALUE).cast::<Value>().drop_in_place();
            }
            dealloc(self.base.as_ptr(), layout);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(entry: &Entry) -> Vec<u8> {
        match entry.to_value() {
            Some(value) => value.as_text().expect("a text").to_vec(),
            None => panic!("a tombstone"),
        }
    }

    #[test]
    fn a_small_key_costs_48_bytes() {
        let entry = Entry::new(&[b'k'; 16], NewBody::Text(&[b'v'; 10]), None);
        assert_eq!(entry.allocated_bytes(), 48);
    }

    #[test]
    fn every_length_comes_back() {
        for key_length in [0, 1, 16, 255, 256, 5000] {
            for text_length in [0, 1, 10, 255, 256, 4096, 4097, 100_000] {
                for deadline in [None, Some(1), Some(u64::MAX)] {
                    let (key, value) = (vec![b'k'; key_length], vec![b'v'; text_length]);
                    let mut entry = Entry::new(&key, NewBody::Text(&value), deadline);
                    entry.set_lsn(77);
                    entry.set_access(5);
                    entry.set_cold_record(true);
                    assert_eq!(entry.key(), key);
                    assert_eq!(text(&entry), value);
                    assert_eq!(entry.deadline_ms(), deadline);
                    let other = entry.with_deadline(Some(9));
                    assert_eq!((other.key(), text(&other)), (&key[..], value));
                    assert_eq!(
                        (other.deadline_ms(), other.lsn(), other.access()),
                        (Some(9), 77, 5)
                    );
                    assert!(other.has_cold_record() && !other.is_clean());
                }
            }
        }
    }

    #[test]
    fn overwriting_in_place_keeps_the_class() {
        let mut entry = Entry::new(b"key", NewBody::Text(b"0123456789"), None);
        assert!(entry.overwrite_text(b"abc", None));
        assert_eq!(text(&entry), b"abc");
        assert!(
            !entry.overwrite_text(&[b'x'; 100], None),
            "another size class"
        );
        assert!(
            !entry.overwrite_text(b"abc", Some(1)),
            "no room for a deadline"
        );
        assert_eq!(text(&entry), b"abc");
    }

    #[test]
    fn an_address_gives_the_entry_back() {
        let address = Entry::new(b"key", NewBody::Tombstone, Some(3)).into_address();
        assert_eq!(address >> 48, 0);
        // SAFETY: from `into_address`, once.
        let entry = unsafe { Entry::from_address(address) };
        assert!(entry.is_tombstone());
        assert_eq!(entry.deadline_ms(), Some(3));
    }
}
