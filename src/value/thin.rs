//! One reference-counted byte buffer in one allocation, behind one thin pointer.
//!
//! `Arc<Vec<u8>>` would be two allocations and `Arc<[u8]>` a fat pointer that cannot grow in place. Most values of a
//! cache are small, so the 16 bytes of header here instead of about 60 decide how many fit. The owner gets four bytes
//! of the header for its own notes. Cloning counts a reference; the first change of a shared buffer copies it.
//!
//! This module and `compact` are the only ones of `value` that contain `unsafe`.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering, fence};

/// Bytes in front of the content.
pub(super) const HEADER_BYTES: usize = size_of::<Header>();

/// More references than this is a leak; counting on would wrap around and free memory in use.
const MAX_REFERENCES: u32 = i32::MAX as u32;

#[repr(C, align(8))]
struct Header {
    references: AtomicU32,
    notes: [u8; 4],
    length: u32,
    capacity: u32,
}

/// A growable byte buffer with O(1) clone.
///
/// Invariant: `header` points to a live allocation of `layout(capacity)`, whose first `length` content bytes are
/// initialised, and this value owns one of its `references`. Content and header are only written while
/// `references` is 1.
#[repr(transparent)]
pub(super) struct ThinBytes {
    header: NonNull<Header>,
}

/// How far a buffer that must grow grows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// To the next size that the allocator has anyway.
    Tight,
    /// By half, for buffers that are appended to again and again.
    Amortised,
}

/// The size that a general-purpose allocator with four classes for each doubling really hands out for `bytes`.
pub(super) fn good_size(bytes: usize) -> usize {
    let step = if bytes <= 128 {
        16
    } else {
        bytes.next_power_of_two() / 8
    };
    bytes.next_multiple_of(step)
}

/// Makes room for `additional` bytes without the doubling of `Vec`: a segment lives long and rarely grows.
pub(super) fn reserve_tight<T>(vec: &mut Vec<T>, additional: usize) {
    let needed = vec.len() + additional;
    if needed > vec.capacity() {
        let wanted = good_size(needed * size_of::<T>()) / size_of::<T>();
        vec.reserve_exact(wanted - vec.len());
    }
}

fn layout(capacity: usize) -> Layout {
    Layout::from_size_align(HEADER_BYTES + capacity, align_of::<Header>())
        .expect("capacity fits u32")
}

fn rounded_capacity(needed: usize) -> usize {
    let capacity = good_size(HEADER_BYTES + needed) - HEADER_BYTES;
    assert!(
        u32::try_from(capacity).is_ok(),
        "a value of more than 4 GiB in one buffer"
    );
    capacity
}

impl ThinBytes {
    /// An empty buffer with room for at least `needed` bytes.
    pub(super) fn with_capacity(needed: usize) -> Self {
        let capacity = rounded_capacity(needed);
        let layout = layout(capacity);
        // SAFETY: the layout is never of size zero, because it contains the header.
        let raw = unsafe { alloc(layout) }.cast::<Header>();
        let Some(header) = NonNull::new(raw) else {
            handle_alloc_error(layout)
        };
        let fresh = Header {
            references: AtomicU32::new(1),
            notes: [0; 4],
            length: 0,
            capacity: capacity as u32,
        };
        // SAFETY: freshly allocated with the size and alignment of a header, and owned by nobody else.
        unsafe { header.write(fresh) };
        Self { header }
    }

    fn header(&self) -> &Header {
        // SAFETY: the type's invariant; nobody writes the header while it is shared.
        unsafe { self.header.as_ref() }
    }

    /// The header for writing. The caller must have made sure that the buffer is unique.
    fn header_mut(&mut self) -> &mut Header {
        debug_assert!(self.is_unique());
        // SAFETY: the type's invariant, `&mut self`, and no other reference to the allocation exists.
        unsafe { self.header.as_mut() }
    }

    fn content(&self) -> *mut u8 {
        // SAFETY: the content starts directly behind the header, inside (or at the end of) the allocation.
        unsafe { self.header.as_ptr().cast::<u8>().add(HEADER_BYTES) }
    }

    /// The initialised bytes.
    pub(super) fn as_slice(&self) -> &[u8] {
        // SAFETY: `length` bytes behind the header are initialised, and not written while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.content(), self.header().length as usize) }
    }

    /// The owner's four bytes.
    pub(super) fn notes(&self) -> [u8; 4] {
        self.header().notes
    }

    /// Replaces the owner's four bytes; copies the buffer first if it is shared.
    pub(super) fn set_notes(&mut self, notes: [u8; 4]) {
        self.make_room(self.header().length as usize, Growth::Tight);
        self.header_mut().notes = notes;
    }

    /// Bytes of the whole allocation.
    pub(super) fn memory_bytes(&self) -> usize {
        HEADER_BYTES + self.header().capacity as usize
    }

    fn is_unique(&self) -> bool {
        // Acquire: whatever former owners did with the content happens before what we do to it now.
        self.header().references.load(Ordering::Acquire) == 1
    }

    /// Makes the buffer unique with room for `needed` bytes of content in all.
    fn make_room(&mut self, needed: usize, growth: Growth) {
        let capacity = self.header().capacity as usize;
        let target = match growth {
            _ if needed <= capacity => needed,
            Growth::Tight => needed,
            Growth::Amortised => needed.max(capacity + capacity / 2),
        };
        if !self.is_unique() {
            self.copy_out(target);
        } else if needed > capacity {
            self.reallocate(target);
        }
    }

    fn copy_out(&mut self, needed: usize) {
        let source = self.as_slice();
        let mut copy = Self::with_capacity(needed.max(source.len()));
        // SAFETY: the copy is fresh, so the regions do not overlap, and it has room for the whole source.
        unsafe {
            copy.content()
                .copy_from_nonoverlapping(source.as_ptr(), source.len())
        };
        let (notes, length) = (self.header().notes, self.header().length);
        let header = copy.header_mut();
        (header.notes, header.length) = (notes, length);
        *self = copy;
    }

    fn reallocate(&mut self, needed: usize) {
        let capacity = rounded_capacity(needed);
        let old = layout(self.header().capacity as usize);
        let new = layout(capacity);
        // SAFETY: the buffer is unique and was allocated with `old`; the new size is not zero.
        let raw = unsafe { realloc(self.header.as_ptr().cast(), old, new.size()) }.cast::<Header>();
        let Some(header) = NonNull::new(raw) else {
            handle_alloc_error(new)
        };
        self.header = header;
        self.header_mut().capacity = capacity as u32;
    }

    /// Replaces the `removed` bytes at `at` by the concatenated `inserted`.
    ///
    /// # Panics
    /// If `at + removed` lies beyond the end, or the result exceeds 4 GiB.
    pub(super) fn splice(&mut self, at: usize, removed: usize, inserted: &[&[u8]], growth: Growth) {
        let old_length = self.header().length as usize;
        assert!(
            at <= old_length && removed <= old_length - at,
            "splice beyond the end"
        );
        let added: usize = inserted.iter().map(|part| part.len()).sum();
        let length = old_length - removed + added;
        self.make_room(length, growth);
        let mut target = self.content().wrapping_add(at);
        // SAFETY: there is room for `length` bytes; the tail of `old_length - at - removed` initialised bytes moves to
        // `at + added`, ending at `length`; the parts fill exactly the `added` bytes between, and cannot overlap the
        // buffer because it is borrowed mutably.
        unsafe {
            target
                .add(removed)
                .copy_to(target.add(added), old_length - at - removed);
            for part in inserted {
                target.copy_from_nonoverlapping(part.as_ptr(), part.len());
                target = target.add(part.len());
            }
        }
        self.header_mut().length = length as u32;
        let capacity = self.header().capacity as usize;
        if removed > added && capacity > 64 && length < capacity / 4 {
            self.reallocate(length);
        }
    }
}

impl Clone for ThinBytes {
    fn clone(&self) -> Self {
        let before = self.header().references.fetch_add(1, Ordering::Relaxed);
        if before > MAX_REFERENCES {
            std::process::abort();
        }
        Self {
            header: self.header,
        }
    }
}

impl Drop for ThinBytes {
    fn drop(&mut self) {
        if self.header().references.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        fence(Ordering::Acquire);
        let layout = layout(self.header().capacity as usize);
        // SAFETY: the last reference is gone, and the allocation was made with this layout.
        unsafe { dealloc(self.header.as_ptr().cast(), layout) };
    }
}

// SAFETY: the content is plain bytes, written only while unique; the count is atomic.
unsafe impl Send for ThinBytes {}
// SAFETY: as above; `&ThinBytes` allows only reading and counting.
unsafe impl Sync for ThinBytes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splice_matches_vec() {
        let cases: [(usize, usize, &[&[u8]]); 7] = [
            (0, 0, &[b"hello ", b"world"]),
            (6, 5, &[b"everyone"]),
            (0, 6, &[]),
            (8, 0, &[b"!".as_slice(); 100]),
            (4, 4, &[b"", b"x"]),
            (2, 90, &[b"ab"]),
            (0, 17, &[]),
        ];
        let mut thin = ThinBytes::with_capacity(0);
        let mut model = Vec::new();
        let mut kept = Vec::new();
        for (at, removed, inserted) in cases {
            kept.push((thin.clone(), model.clone()));
            thin.splice(at, removed, inserted, Growth::Tight);
            model.splice(at..at + removed, inserted.concat());
            assert_eq!(thin.as_slice(), model);
        }
        for (old, expected) in kept {
            assert_eq!(old.as_slice(), expected);
        }
    }

    #[test]
    fn unshared_change_stays_in_place_and_shared_change_copies() {
        let mut thin = ThinBytes::with_capacity(100);
        thin.splice(0, 0, &[b"abc"], Growth::Tight);
        thin.set_notes([1, 2, 3, 4]);
        let place = thin.as_slice().as_ptr();
        thin.splice(3, 0, &[b"def"], Growth::Tight);
        assert_eq!(thin.as_slice().as_ptr(), place);
        let copy = thin.clone();
        thin.set_notes([9; 4]);
        assert_ne!(thin.as_slice().as_ptr(), place);
        assert_eq!(
            (copy.as_slice(), copy.notes()),
            (&b"abcdef"[..], [1, 2, 3, 4])
        );
        assert_eq!((thin.as_slice(), thin.notes()), (&b"abcdef"[..], [9; 4]));
    }

    #[test]
    fn good_size_never_shrinks_and_wastes_at_most_a_fifth_of_large_sizes() {
        for bytes in 1..20_000 {
            let good = good_size(bytes);
            assert!(good >= bytes);
            assert!(
                bytes <= 128 || good - bytes <= bytes / 4,
                "{bytes} -> {good}"
            );
            assert_eq!(good_size(good), good);
        }
    }
}
