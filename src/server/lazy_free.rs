//! Freeing what is large on a thread of its own: values that UNLINK removed, databases that FLUSHALL ASYNC emptied.
//!
//! Giving back the chunks of a set of a million members takes tens of milliseconds, which nobody should wait for under a lock. The
//! thread is started by the first piece of garbage. Cost until then: none; afterwards one sleeping thread.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, mpsc};

/// Something to be dropped, and how many objects it counts for.
struct Garbage {
    objects: u64,
    what: Box<dyn Any + Send>,
}

#[derive(Default)]
struct Counts {
    pending: AtomicU64,
    freed: AtomicU64,
}

impl Counts {
    fn free(&self, garbage: Garbage) {
        drop(garbage.what);
        self.freed.fetch_add(garbage.objects, Relaxed);
        self.pending.fetch_sub(garbage.objects, Relaxed);
    }
}

/// See the module's comment.
#[derive(Default)]
pub struct LazyFree {
    counts: Arc<Counts>,
    /// `None` inside: the thread could not be started.
    queue: OnceLock<Option<mpsc::Sender<Garbage>>>,
}

impl LazyFree {
    /// Drops this in the background; at once if there is no thread for it. It counts as so many objects.
    pub fn free(&self, objects: u64, what: impl Any + Send) {
        self.counts.pending.fetch_add(objects, Relaxed);
        let garbage = Garbage {
            objects,
            what: Box::new(what),
        };
        let refused = match self.queue.get_or_init(|| self.start()) {
            Some(queue) => queue.send(garbage).err().map(|error| error.0),
            None => Some(garbage),
        };
        if let Some(garbage) = refused {
            self.counts.free(garbage);
        }
    }

    fn start(&self) -> Option<mpsc::Sender<Garbage>> {
        let (sender, receiver) = mpsc::channel::<Garbage>();
        let counts = Arc::clone(&self.counts);
        let work = move || {
            receiver
                .into_iter()
                .for_each(|garbage| counts.free(garbage))
        };
        let thread = std::thread::Builder::new().name("larder-free".into());
        match thread.spawn(work) {
            Ok(_) => Some(sender),
            Err(error) => {
                tracing::warn!(%error, "no thread to free large values on");
                None
            }
        }
    }

    /// Objects that wait to be freed.
    pub fn pending(&self) -> u64 {
        self.counts.pending.load(Relaxed)
    }

    /// Objects freed so far, or since [`LazyFree::reset`].
    pub fn freed(&self) -> u64 {
        self.counts.freed.load(Relaxed)
    }

    /// CONFIG RESETSTAT.
    pub fn reset(&self) {
        self.counts.freed.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Told(mpsc::Sender<std::thread::ThreadId>);

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(std::thread::current().id());
        }
    }

    #[test]
    fn garbage_is_dropped_on_another_thread_and_counted() {
        let lazy_free = LazyFree::default();
        let (sender, receiver) = mpsc::channel();
        lazy_free.free(3, Told(sender.clone()));
        assert_ne!(receiver.recv().unwrap(), std::thread::current().id());
        // The count follows the drop; the next one shows that it has.
        lazy_free.free(1, Told(sender));
        receiver.recv().unwrap();
        assert!(lazy_free.freed() >= 3);
        lazy_free.reset();
        assert!(lazy_free.freed() <= 1 && lazy_free.pending() <= 1);
    }
}
