//! What the process's memory amounts to, and how jemalloc and the kernel are told to keep it small.

use tikv_jemalloc_ctl::{arenas, epoch, raw, stats};

/// One measurement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Bytes that the allocator has handed out.
    pub allocated_bytes: u64,
    /// Bytes of the process in physical memory, without mapped files: those are the page cache's and can be dropped.
    pub resident_bytes: u64,
}

/// Measures now. All zero if jemalloc was built without statistics.
pub fn usage() -> Usage {
    if epoch::advance().is_err() {
        return Usage::default();
    }
    let read = |value: tikv_jemalloc_ctl::Result<usize>| value.unwrap_or(0) as u64;
    // jemalloc does not know which of its pages the kernel has backed by huge ones, so the kernel is asked.
    let resident_bytes =
        anonymous_resident_bytes().unwrap_or_else(|| read(stats::resident::read()));
    Usage {
        allocated_bytes: read(stats::allocated::read()),
        resident_bytes,
    }
}

/// Resident less shared (file-backed) pages; `None` where there is no `/proc`.
pub(super) fn anonymous_resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = text
        .split_ascii_whitespace()
        .skip(1)
        .map(|field| field.parse::<u64>().ok());
    let (resident, shared) = (pages.next()??, pages.next()??);
    Some(resident.saturating_sub(shared) * page_bytes())
}

fn page_bytes() -> u64 {
    // SAFETY: `sysconf` only reads.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

/// Has the kernel back new memory of this process by small pages only, if its limit is small. To be called before
/// much is allocated. Huge pages make look-ups faster, but with eight arenas they hold some 30 MB that are not in use.
pub fn avoid_huge_pages_if_small(maxmemory_bytes: u64) {
    const SMALL_LIMIT_BYTES: u64 = 512 << 20;
    if !(1..SMALL_LIMIT_BYTES).contains(&maxmemory_bytes) {
        return;
    }
    // SAFETY: this option takes plain numbers and changes nothing but how later page faults are served.
    let result = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    if result != 0 {
        tracing::debug!(
            "huge pages cannot be turned off: {}",
            std::io::Error::last_os_error()
        );
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
