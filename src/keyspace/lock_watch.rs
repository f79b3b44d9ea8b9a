//! Who holds which shard: the rules about locks, checked wherever one is taken, in builds with debug assertions.
//!
//! 1. A thread that waits for a shard's lock holds none with the same or a higher number, so that no two threads wait for each
//!    other. A lock that is taken without waiting may have any number.
//! 2. Under a shard's lock nobody waits for the disk, for a sync, or for a lock that others hold while they do. The few places
//!    where a read of the disk under one lock is right say so: [`may_wait`].
//!
//! So every test of the server checks both, whatever it is about. In a release build there is nothing of this.

use super::shard::Shard;
use parking_lot::MutexGuard;
use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};

thread_local! {
    /// Numbers of the shards that this thread holds.
    static HELD: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    /// How many [`may_wait`] this thread is in.
    static EXCEPTIONS: Cell<usize> = const { Cell::new(0) };
}

/// A locked shard.
pub struct ShardGuard<'a> {
    guard: MutexGuard<'a, Shard>,
    _held: Held,
}

/// Ends with the lock.
struct Held {
    #[cfg(debug_assertions)]
    number: usize,
}

impl<'a> ShardGuard<'a> {
    /// Notes that this thread has locked a shard.
    #[inline]
    pub(super) fn new(number: usize, guard: MutexGuard<'a, Shard>) -> ShardGuard<'a> {
        ShardGuard {
            guard,
            _held: Held::note(number),
        }
    }
}

impl Deref for ShardGuard<'_> {
    type Target = Shard;

    #[inline]
    fn deref(&self) -> &Shard {
        &self.guard
    }
}

impl DerefMut for ShardGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Shard {
        &mut self.guard
    }
}

impl Held {
    #[cfg(debug_assertions)]
    fn note(number: usize) -> Held {
        HELD.with_borrow_mut(|held| held.push(number));
        Held { number }
    }

    #[cfg(not(debug_assertions))]
    #[inline]
    fn note(_: usize) -> Held {
        Held {}
    }
}

#[cfg(debug_assertions)]
impl Drop for Held {
    fn drop(&mut self) {
        // A guard that is dropped while its thread ends finds no list any more.
        let _ = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            if let Some(place) = held.iter().rposition(|number| *number == self.number) {
                held.swap_remove(place);
            }
        });
    }
}

/// This thread is about to wait for a shard's lock.
#[inline]
pub(super) fn waits_for_shard(number: usize) {
    if cfg!(debug_assertions) {
        HELD.with_borrow(|held| {
            let later = held.iter().find(|held| **held >= number);
            assert!(later.is_none(), "shard {number} is locked after {later:?}");
        });
    }
}

/// This thread is about to wait for `what`: the disk, a sync.
#[inline]
pub fn waits(what: &str) {
    if cfg!(debug_assertions) && EXCEPTIONS.get() == 0 {
        holds_none(what);
    }
}

/// This thread is about to take a lock that others hold while they wait for the disk. There is no exception.
#[inline]
pub fn holds_none(what: &str) {
    if cfg!(debug_assertions) {
        HELD.with_borrow(|held| assert!(held.is_empty(), "{what} is waited for under {held:?}"));
    }
}

/// Does something that may wait for the disk under a shard's lock. Where this stands, the reason stands beside it.
#[inline]
pub fn may_wait<R>(work: impl FnOnce() -> R) -> R {
    /// Ends the exception also when the work panics.
    struct Exception;
    impl Drop for Exception {
        fn drop(&mut self) {
            EXCEPTIONS.set(EXCEPTIONS.get() - 1);
        }
    }
    if cfg!(debug_assertions) {
        EXCEPTIONS.set(EXCEPTIONS.get() + 1);
        let _exception = Exception;
        return work();
    }
    work()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{Keyspace, Placement};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn is_refused(work: impl FnOnce()) -> bool {
        catch_unwind(AssertUnwindSafe(work)).is_err()
    }

    #[test]
    fn shards_are_locked_in_the_order_of_their_numbers() {
        let keyspace = Keyspace::new(1, Placement::new(1));
        let cases = [
            (&[1, 2, 200][..], true),
            (&[2, 1], false),
            (&[5, 5], false),
            (&[0, 100, 99], false),
        ];
        for (numbers, is_right) in cases {
            let refused = is_refused(|| {
                let mut held = Vec::new();
                for number in numbers {
                    held.push(keyspace.lock(*number));
                }
            });
            assert_eq!(refused, !is_right, "{numbers:?}");
        }
        let third = keyspace.lock(3);
        assert!(
            keyspace.try_lock(1).is_some(),
            "without waiting, in any order"
        );
        assert!(is_refused(|| drop(keyspace.lock_unless(1, &|| false))));
        drop(third);
        drop(keyspace.lock(1));
    }

    #[test]
    fn nobody_waits_for_the_disk_under_a_lock() {
        let keyspace = Keyspace::new(1, Placement::new(1));
        waits("the disk");
        let shard = keyspace.lock(3);
        assert!(is_refused(|| waits("the disk")));
        may_wait(|| waits("the disk"));
        assert!(is_refused(|| may_wait(|| holds_none("a lock"))));
        assert!(is_refused(|| waits("the disk")), "the exception is over");
        std::thread::scope(|scope| {
            let other = scope.spawn(|| waits("the disk"));
            other.join().expect("this thread holds nothing");
        });
        drop(shard);
        waits("the disk");
    }
}
