//! Eight bytes that are either a packed buffer or a reference to a large structure.
//!
//! Every collection has two forms. A Rust enum of the two would be 16 bytes and `Value` around it 24; the lowest bit of
//! the pointer (both allocations are aligned to 8) tells them apart for nothing.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

use super::packed::Packed;

const LARGE_TAG: usize = 1;

/// What a [`Compact`] holds.
pub(super) enum Form<'a, T> {
    Packed(&'a Packed),
    Large(&'a T),
}

/// What a [`Compact`] holds, for changing it.
pub(super) enum FormMut<'a, T> {
    Packed(&'a mut Packed),
    Large(&'a mut T),
}

/// Either a `Packed` or an `Arc<T>`.
///
/// Invariant: without the tag, `pointer` is a `Packed` (which is one pointer aligned to 8, owned); with it, the
/// rest is what `Arc::<T>::into_raw` gave, owned. `T` is aligned to more than one byte (checked when one is stored).
pub(super) struct Compact<T> {
    pointer: NonNull<()>,
    owned: PhantomData<Arc<T>>,
}

impl<T: Clone> Compact<T> {
    pub(super) fn packed(packed: Packed) -> Self {
        const { assert!(size_of::<Packed>() == size_of::<NonNull<()>>()) };
        // SAFETY: `Packed` is a transparent wrapper around one non-null pointer, and ownership moves.
        let pointer = unsafe { std::mem::transmute::<Packed, NonNull<()>>(packed) };
        Self {
            pointer,
            owned: PhantomData,
        }
    }

    pub(super) fn large(large: T) -> Self {
        Self {
            pointer: Self::tagged(Arc::new(large)),
            owned: PhantomData,
        }
    }

    fn tagged(arc: Arc<T>) -> NonNull<()> {
        const { assert!(align_of::<T>() > LARGE_TAG) };
        let raw = Arc::into_raw(arc)
            .cast_mut()
            .cast::<()>()
            .map_addr(|address| address | LARGE_TAG);
        // SAFETY: an address with a bit set is not null.
        unsafe { NonNull::new_unchecked(raw) }
    }

    fn large_pointer(&self) -> Option<*const T> {
        let raw = self.pointer.as_ptr();
        (raw.addr() & LARGE_TAG != 0).then(|| {
            raw.map_addr(|address| address & !LARGE_TAG)
                .cast_const()
                .cast()
        })
    }

    pub(super) fn form(&self) -> Form<'_, T> {
        match self.large_pointer() {
            // SAFETY: the invariant; the reference that this value owns keeps it alive.
            Some(large) => Form::Large(unsafe { &*large }),
            // SAFETY: without the tag, the field's bits are a `Packed`, of the same size and alignment.
            None => Form::Packed(unsafe { &*(&raw const self.pointer).cast::<Packed>() }),
        }
    }

    /// The content for changing it; a large structure that is shared is cloned first, which is O(1) for all `T` here.
    pub(super) fn form_mut(&mut self) -> FormMut<'_, T> {
        match self.large_pointer() {
            Some(large) => {
                // SAFETY: the reference comes from `Arc::into_raw`. It is not dropped here even if the clone panics.
                let mut arc = ManuallyDrop::new(unsafe { Arc::from_raw(large) });
                let content: *mut T = Arc::make_mut(&mut arc);
                self.pointer = Self::tagged(ManuallyDrop::into_inner(arc));
                // SAFETY: `make_mut` made it unique, and `&mut self` is borrowed for as long as the result.
                FormMut::Large(unsafe { &mut *content })
            }
            // SAFETY: as in `form`, and `&mut self` makes it exclusive.
            None => FormMut::Packed(unsafe { &mut *(&raw mut self.pointer).cast::<Packed>() }),
        }
    }
}

impl<T: Clone> Clone for Compact<T> {
    fn clone(&self) -> Self {
        match self.form() {
            Form::Packed(packed) => Self::packed(packed.clone()),
            Form::Large(large) => {
                // SAFETY: `large` comes from `Arc::into_raw`, and the Arc is alive. The added reference is owned by
                // the copy of the pointer.
                unsafe { Arc::increment_strong_count(std::ptr::from_ref(large)) };
                Self {
                    pointer: self.pointer,
                    owned: PhantomData,
                }
            }
        }
    }
}

impl<T> Drop for Compact<T> {
    fn drop(&mut self) {
        let raw = self.pointer.as_ptr();
        if raw.addr() & LARGE_TAG != 0 {
            let large = raw
                .map_addr(|address| address & !LARGE_TAG)
                .cast_const()
                .cast::<T>();
            // SAFETY: the invariant: this value owns one reference from `Arc::into_raw`.
            drop(unsafe { Arc::from_raw(large) });
        } else {
            // SAFETY: the invariant: without the tag, the field's bits are an owned `Packed`.
            drop(unsafe { std::mem::transmute::<NonNull<()>, Packed>(self.pointer) });
        }
    }
}

// SAFETY: a `Compact<T>` is a `Packed` (Send + Sync) or an `Arc<T>`, which needs both from `T`.
unsafe impl<T: Send + Sync> Send for Compact<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Compact<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Big {
        _watched: Arc<()>,
        number: u64,
    }

    #[test]
    fn both_forms_are_shared_changed_apart_and_freed() {
        let watched = Arc::new(());
        let mut first = Compact::large(Big {
            _watched: watched.clone(),
            number: 1,
        });
        let second = first.clone();
        assert_eq!(Arc::strong_count(&watched), 2, "a clone shares");
        let FormMut::Large(big) = first.form_mut() else {
            panic!("was large")
        };
        big.number = 2;
        assert_eq!(Arc::strong_count(&watched), 3, "a change unshares");
        let Form::Large(Big { number, .. }) = second.form() else {
            panic!("was large")
        };
        assert_eq!(*number, 1);
        drop((first, second));
        assert_eq!(Arc::strong_count(&watched), 1, "all freed");

        let packed = Compact::<Big>::packed(Packed::new());
        let mut copy = packed.clone();
        let FormMut::Packed(content) = copy.form_mut() else {
            panic!("was packed")
        };
        content.insert(0, &[b"x"], 1);
        let Form::Packed(content) = packed.form() else {
            panic!("was packed")
        };
        assert_eq!(content.count(), 0);
    }
}
