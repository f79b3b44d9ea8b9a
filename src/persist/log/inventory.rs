//! All files of the log's directory: the spare, the closed segments that a recovery still needs, the pool of those that it
//! does not.
//!
//! One spare is always prepared ahead, by a thread of its own, so that appending waits for no file. A full disk therefore shows
//! while there is still a whole segment of room: preparing fails, writes near the end are refused, and preparing is tried
//! again every second.

use super::LogOptions;
use super::segment::{LOG_EXTENSION, POOL_EXTENSION, Segment, path_of};
use crate::error::InternalError;
use crate::keyspace::lock_watch;
use memmap2::MmapMut;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How often preparing a spare is tried again while the disk is full.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A file that is not written any more.
#[derive(Clone, Debug)]
pub struct IdleFile {
    /// Its number; in the pool: the one it had.
    pub number: u64,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: usize,
}

/// What is there; see the module's comment.
#[derive(Default)]
struct State {
    spare: Option<Segment>,
    preparing: bool,
    next_number: u64,
    active_bytes: usize,
    /// The segment that was active before, until it is among the closed ones.
    retiring_bytes: usize,
    closed: Vec<IdleFile>,
    pool: Vec<IdleFile>,
    retired_maps: Vec<MmapMut>,
    stopped: bool,
}

/// See the module's comment.
pub struct Inventory {
    options: LogOptions,
    state: Mutex<State>,
    changed: Condvar,
    /// Bytes of the spare; 0 while there is none.
    spare_bytes: AtomicUsize,
    /// The last attempt to prepare a spare failed.
    is_full: AtomicBool,
}

impl Inventory {
    /// The inventory of a directory in which `next_number` was never used.
    pub fn new(
        options: LogOptions,
        next_number: u64,
        closed: Vec<IdleFile>,
        pool: Vec<IdleFile>,
    ) -> Inventory {
        let state = State {
            next_number,
            closed,
            pool,
            ..State::default()
        };
        Inventory {
            options,
            state: Mutex::new(state),
            changed: Condvar::new(),
            spare_bytes: AtomicUsize::new(0),
            is_full: AtomicBool::new(false),
        }
    }

    /// Bytes of the spare; 0 while there is none.
    pub fn spare_bytes(&self) -> usize {
        self.spare_bytes.load(Ordering::Relaxed)
    }

    /// True while no spare can be prepared.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// The spare becomes the active segment; the next one is prepared from now on.
    pub fn take_spare(&self) -> Option<Segment> {
        let mut state = self.state.lock();
        let spare = state.spare.take()?;
        self.spare_bytes.store(0, Ordering::Relaxed);
        state.retiring_bytes += state.active_bytes;
        state.active_bytes = spare.capacity();
        self.changed.notify_all();
        Some(spare)
    }

    /// A segment is active that was no spare before.
    pub fn note_active(&self, segment: &Segment) {
        self.state.lock().active_bytes = segment.capacity();
    }

    /// The active segment is written no more.
    pub fn retire(&self, segment: Segment) {
        let file = IdleFile {
            number: segment.file.number,
            path: segment.file.path.clone(),
            bytes: segment.capacity(),
        };
        let mut state = self.state.lock();
        state.retiring_bytes -= file.bytes;
        state.closed.push(file);
        state.retired_maps.push(segment.into_map());
        self.changed.notify_all();
    }

    /// Makes sure that there is a spare of at least `bytes`. Blocks while a file is written (64 MiB: about 50 ms).
    ///
    /// # Errors
    /// The disk is full, or another I/O error.
    pub fn prepare(&self, bytes: usize) -> Result<(), InternalError> {
        lock_watch::waits("a file of the log");
        let mut state = self.state.lock();
        while state.preparing {
            self.changed.wait(&mut state);
        }
        if state
            .spare
            .as_ref()
            .is_some_and(|spare| spare.capacity() >= bytes)
        {
            return Ok(());
        }
        state.preparing = true;
        let number = state.next_number;
        state.next_number += 1;
        let bytes = bytes.max(self.options.segment_bytes);
        let reused = if bytes == self.options.segment_bytes {
            state.pool.pop()
        } else {
            None
        };
        let taken_bytes = total_bytes(&state);
        let made =
            MutexGuard::unlocked(&mut state, || self.make(number, bytes, reused, taken_bytes));
        state.preparing = false;
        self.changed.notify_all();
        let spare = match made {
            Ok(spare) => spare,
            Err(error) => {
                if state.spare.is_none() && !self.is_full.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "the log cannot grow: writes are refused until there is space");
                }
                return Err(error);
            }
        };
        if self.is_full.swap(false, Ordering::Relaxed) {
            tracing::info!("the log can grow again");
        }
        self.spare_bytes.store(spare.capacity(), Ordering::Relaxed);
        if let Some(former) = state.spare.replace(spare) {
            let file = IdleFile {
                number: former.file.number,
                path: former.file.path.clone(),
                bytes: former.capacity(),
            };
            state.retired_maps.push(former.into_map());
            self.pool_or_delete(&mut state, file);
        }
        Ok(())
    }

    fn make(
        &self,
        number: u64,
        bytes: usize,
        reused: Option<IdleFile>,
        taken_bytes: u64,
    ) -> Result<Segment, InternalError> {
        let directory = &self.options.directory;
        if let Some(file) = reused {
            match Segment::recycle(&file.path, directory, number) {
                Ok(segment) => return Ok(segment),
                Err(error) => {
                    tracing::warn!(%error, "a log file cannot be used again and is removed");
                    drop(std::fs::remove_file(&file.path));
                }
            }
        }
        if taken_bytes + bytes as u64 > self.options.quota_bytes {
            let error = io::Error::new(io::ErrorKind::StorageFull, "the log's quota is used up");
            return Err(InternalError::io("prepare log segment in", directory)(
                error,
            ));
        }
        let segment = Segment::create(directory, number, bytes)?;
        segment.sync_prepared()?;
        Ok(segment)
    }

    /// The number of a new segment, for one that is made without being a spare first.
    pub fn take_number(&self) -> u64 {
        let mut state = self.state.lock();
        state.next_number += 1;
        state.next_number - 1
    }

    /// Removes the closed segments with numbers below `number`: into the pool, or for good. Returns how many.
    pub fn remove_before(&self, number: u64) -> usize {
        let mut state = self.state.lock();
        let (removed, kept) = std::mem::take(&mut state.closed)
            .into_iter()
            .partition(|file| file.number < number);
        state.closed = kept;
        let removed: Vec<IdleFile> = removed;
        let count = removed.len();
        for file in removed {
            self.pool_or_delete(&mut state, file);
        }
        count
    }

    /// Takes files that never were, or are no longer, part of the log out of it.
    pub fn discard(&self, files: Vec<IdleFile>) {
        let mut state = self.state.lock();
        for file in files {
            self.pool_or_delete(&mut state, file);
        }
    }

    fn pool_or_delete(&self, state: &mut State, file: IdleFile) {
        let wanted = file.bytes == self.options.segment_bytes
            && state.pool.len() < self.options.pool_segments;
        let pooled = path_of(&self.options.directory, file.number, POOL_EXTENSION);
        let result = if wanted {
            std::fs::rename(&file.path, &pooled).map(|()| {
                state.pool.push(IdleFile {
                    path: pooled,
                    ..file.clone()
                })
            })
        } else {
            std::fs::remove_file(&file.path)
        };
        if let Err(error) = result {
            tracing::warn!(%error, path = %file.path.display(), "an old log segment cannot be removed");
        }
    }

    /// Closed segments, oldest first, and the bytes of all files.
    pub fn usage(&self) -> (Vec<IdleFile>, u64) {
        let state = self.state.lock();
        (state.closed.clone(), total_bytes(&state))
    }

    /// Keeps a spare prepared until [`Inventory::stop`]; the body of a thread.
    pub fn keep_prepared(&self) {
        loop {
            let mut state = self.state.lock();
            while !state.stopped && state.spare.is_some() && state.retired_maps.is_empty() {
                self.changed.wait(&mut state);
            }
            if state.stopped {
                return;
            }
            let retired = std::mem::take(&mut state.retired_maps);
            drop(state);
            drop(retired);
            if self.prepare(self.options.segment_bytes).is_err() {
                let mut state = self.state.lock();
                if !state.stopped {
                    self.changed.wait_for(&mut state, RETRY_INTERVAL);
                }
            }
        }
    }

    /// Ends [`Inventory::keep_prepared`].
    pub fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }
}

fn total_bytes(state: &State) -> u64 {
    let spare = state.spare.as_ref().map_or(0, Segment::capacity);
    let idle: usize = state
        .closed
        .iter()
        .chain(&state.pool)
        .map(|file| file.bytes)
        .sum();
    (spare + state.active_bytes + state.retiring_bytes + idle) as u64
}

/// What the files of a log's directory are.
#[derive(Default)]
pub struct Listing {
    /// Segments and spares, in the order of their numbers.
    pub segments: Vec<IdleFile>,
    /// Files for reuse.
    pub pool: Vec<IdleFile>,
}

/// Lists a log's directory. Files that were being prepared when the process ended are removed.
///
/// # Errors
/// Any I/O error.
pub fn list(directory: &std::path::Path) -> Result<Listing, InternalError> {
    let mut listing = Listing::default();
    let io_error = || InternalError::io("list", directory);
    for item in std::fs::read_dir(directory).map_err(io_error())? {
        let item = item.map_err(io_error())?;
        let path = item.path();
        let bytes = item.metadata().map_err(io_error())?.len() as usize;
        if let Some(number) = super::segment::number_of(&path, LOG_EXTENSION) {
            listing.segments.push(IdleFile {
                number,
                path,
                bytes,
            });
        } else if let Some(number) = super::segment::number_of(&path, POOL_EXTENSION) {
            listing.pool.push(IdleFile {
                number,
                path,
                bytes,
            });
        } else if path.extension().is_some_and(|extension| extension == "new") {
            std::fs::remove_file(&path).map_err(InternalError::io("remove", &path))?;
        }
    }
    listing.segments.sort_by_key(|file| file.number);
    Ok(listing)
}

/// Removes all files of a log that is not in use whose segments have numbers below `number`.
///
/// # Errors
/// Any I/O error.
pub fn remove_files_before(directory: &std::path::Path, number: u64) -> Result<(), InternalError> {
    let listing = list(directory)?;
    let is_old = |file: &&IdleFile| file.number < number;
    for file in listing.segments.iter().chain(&listing.pool).filter(is_old) {
        std::fs::remove_file(&file.path).map_err(InternalError::io("remove", &file.path))?;
    }
    Ok(())
}

/// True if there is a file of the segment with this number.
pub fn has_segment(directory: &std::path::Path, number: u64) -> bool {
    path_of(directory, number, LOG_EXTENSION).exists()
}
