//! What jemalloc says of the process's memory, and how it is told to give pages back.

use tikv_jemalloc_ctl::{arenas, epoch, raw, stats};

/// One measurement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Bytes handed out.
    pub allocated_bytes: u64,
    /// Bytes in physical memory, as far as the allocator knows.
    pub resident_bytes: u64,
}

/// Measures now. All zero if jemalloc was built without statistics.
pub fn usage() -> Usage {
    if epoch::advance().is_err() {
        return Usage::default();
    }
    let read = |value: tikv_jemalloc_ctl::Result<usize>| value.unwrap_or(0) as u64;
    Usage {
        allocated_bytes: read(stats::allocated::read()),
        resident_bytes: read(stats::resident::read()),
    }
}

/// Gives all free pages back to the system. Takes up to some milliseconds.
pub fn purge() {
    let arenas = arenas::narenas::read().unwrap_or(0);
    for arena in 0..arenas {
        let name = format!("arena.{arena}.dirty_decay_ms\0");
        let decay_ms = read_decay_ms(&name);
        // An arena that was never used refuses; it has no pages to give back.
        if let Some(decay_ms) = decay_ms {
            write_decay_ms(&name, 0);
            write_decay_ms(&name, decay_ms);
        }
    }
}

fn read_decay_ms(name: &str) -> Option<isize> {
    // SAFETY: `arena.<i>.dirty_decay_ms` is an ssize_t, and the name ends with a zero.
    unsafe { raw::read::<isize>(name.as_bytes()) }.ok()
}

fn write_decay_ms(name: &str, decay_ms: isize) {
    // SAFETY: as above. 0 has jemalloc purge the arena before the call returns.
    let written = unsafe { raw::write::<isize>(name.as_bytes(), decay_ms) };
    if let Err(error) = written {
        tracing::debug!(%error, name, "jemalloc refused");
    }
}

/// Has jemalloc give free pages back within a second instead of ten, so that the resident size follows what is in use.
pub fn decay_quickly() {
    const DECAY_MS: isize = 1000;
    write_decay_ms("arenas.dirty_decay_ms\0", DECAY_MS);
    for arena in 0..arenas::narenas::read().unwrap_or(0) {
        let name = format!("arena.{arena}.dirty_decay_ms\0");
        if read_decay_ms(&name).is_some() {
            write_decay_ms(&name, DECAY_MS);
        }
    }
}
