//! One file of the log and its mapping.
//!
//! A file is written from end to end before it is mapped. Writing into a mapping cannot fail, it can only kill the process
//! (SIGBUS where the disk is full), so the blocks have to be there first; and writing into blocks that were merely
//! reserved costs four times as much (measured: 120 ns against 30 ns a record).

use crate::error::InternalError;
use memmap2::MmapMut;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use storage_format::log::{FRAME_HEADER_LENGTH, SEGMENT_HEADER_LENGTH, SegmentHeader};

/// The end of the name of a segment in use, or of the spare.
pub const LOG_EXTENSION: &str = "log";
/// The end of the name of a file that waits to be used again.
pub const POOL_EXTENSION: &str = "pool";
/// The end of the name of a file that is being prepared.
const NEW_EXTENSION: &str = "new";

/// The path of a segment.
pub fn path_of(directory: &Path, number: u64, extension: &str) -> PathBuf {
    directory.join(format!("{number:010}.{extension}"))
}

/// The number in a file's name, if it is a log file's name with this extension.
pub fn number_of(path: &Path, extension: &str) -> Option<u64> {
    if path.extension()? != extension {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

/// What the syncing thread needs of a segment.
#[derive(Debug)]
pub struct SegmentFile {
    file: File,
    /// Its number, for ever.
    pub number: u64,
    /// Where it is.
    pub path: PathBuf,
    /// Everything in front of this offset is on the disk.
    synced_to: AtomicU64,
}

impl SegmentFile {
    /// Makes what was written so far durable. `position` is the end of the last record, read before.
    pub fn sync(&self, position: usize) -> Result<(), InternalError> {
        self.file
            .sync_data()
            .map_err(InternalError::io("sync", &self.path))?;
        self.synced_to.fetch_max(position as u64, Ordering::Release);
        Ok(())
    }

    /// How much is known to be on the disk, as an offset.
    pub fn synced_to(&self) -> u64 {
        self.synced_to.load(Ordering::Relaxed)
    }
}

/// A segment that can be written.
pub struct Segment {
    /// File and number.
    pub file: std::sync::Arc<SegmentFile>,
    map: MmapMut,
}

impl Segment {
    /// Makes a file of `bytes` zeros under the number's name, its blocks really there.
    ///
    /// # Errors
    /// Any I/O error, above all a full disk; nothing is left behind then.
    pub fn create(directory: &Path, number: u64, bytes: usize) -> Result<Segment, InternalError> {
        let temporary = path_of(directory, number, NEW_EXTENSION);
        let made = File::create(&temporary).and_then(|file| fill_with_zeros(&file, 0, bytes));
        let ready = made.and_then(|()| Self::publish(&temporary, directory, number));
        ready.map_err(|error| {
            drop(std::fs::remove_file(&temporary));
            InternalError::io("prepare log segment", temporary)(error)
        })
    }

    /// Makes a used file of the same directory the segment `number`. Its former records stay where they are; their CRCs were
    /// seeded with another number.
    ///
    /// # Errors
    /// Any I/O error; the file may then have lost its header, and should be removed.
    pub fn recycle(former: &Path, directory: &Path, number: u64) -> Result<Segment, InternalError> {
        const BLANK: [u8; SEGMENT_HEADER_LENGTH + FRAME_HEADER_LENGTH] =
            [0; SEGMENT_HEADER_LENGTH + FRAME_HEADER_LENGTH];
        let blanked = OpenOptions::new()
            .write(true)
            .open(former)
            .and_then(|file| {
                file.write_all_at(&BLANK, 0)?;
                file.sync_data()
            });
        blanked
            .and_then(|()| Self::publish(former, directory, number))
            .map_err(InternalError::io("recycle log segment", former))
    }

    fn publish(from: &Path, directory: &Path, number: u64) -> io::Result<Segment> {
        let path = path_of(directory, number, LOG_EXTENSION);
        std::fs::rename(from, &path)?;
        storage_format::durable::sync_directory(directory)?;
        Self::map(path, number, 0)
    }

    /// Opens the segment that was written last, to write on behind `end`. A file that is shorter than `bytes` is
    /// filled up; with `clear`, everything behind `end` is zeroed.
    ///
    /// # Errors
    /// Any I/O error.
    pub fn reopen(
        path: &Path,
        number: u64,
        bytes: usize,
        end: u64,
        clear: bool,
    ) -> Result<Segment, InternalError> {
        let prepare = || -> io::Result<Segment> {
            let file = OpenOptions::new().write(true).open(path)?;
            let length = file.metadata()?.len();
            let from = if clear { end.min(length) } else { length };
            let until = length.max(bytes as u64);
            fill_with_zeros(&file, from, (until - from) as usize)?;
            file.sync_all()?;
            Self::map(path.to_path_buf(), number, end)
        };
        prepare().map_err(InternalError::io("open log segment", path))
    }

    fn map(path: PathBuf, number: u64, synced_to: u64) -> io::Result<Segment> {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        // SAFETY: the data directory is locked by this process and the file is never shortened while it is mapped, so every
        // page of the mapping stays backed by a block that was written before.
        let map = unsafe { MmapMut::map_mut(&file)? };
        let file = SegmentFile {
            file,
            number,
            path,
            synced_to: AtomicU64::new(synced_to),
        };
        Ok(Segment {
            file: std::sync::Arc::new(file),
            map,
        })
    }

    /// Bytes of the file.
    pub fn capacity(&self) -> usize {
        self.map.len()
    }

    /// The bytes from `position` on, for writing.
    pub fn bytes_from(&mut self, position: usize) -> &mut [u8] {
        &mut self.map[position..]
    }

    /// Writes the header: from now on the file is part of the log.
    pub fn begin(&mut self, header: &SegmentHeader) {
        storage_format::log::write_end_mark(&mut self.map[SEGMENT_HEADER_LENGTH..]);
        self.map[..SEGMENT_HEADER_LENGTH].copy_from_slice(&header.encode());
    }

    /// Makes a prepared file durable before it is used, so that syncing records later need not write it all.
    pub fn sync_prepared(&self) -> Result<(), InternalError> {
        self.file
            .file
            .sync_data()
            .map_err(InternalError::io("sync", &self.file.path))
    }

    /// Gives up the mapping. Unmapping takes a while: not under the log's lock.
    pub fn into_map(self) -> MmapMut {
        self.map
    }
}

/// Writes zeros, after claiming the blocks where the file system can.
fn fill_with_zeros(file: &File, from: u64, bytes: usize) -> io::Result<()> {
    const CHUNK_BYTES: usize = 1 << 20;
    if bytes == 0 {
        return Ok(());
    }
    claim_blocks(file, from, bytes)?;
    let zeros = vec![0u8; CHUNK_BYTES.min(bytes)];
    let mut written = 0;
    while written < bytes {
        let length = zeros.len().min(bytes - written);
        file.write_all_at(&zeros[..length], from + written as u64)?;
        written += length;
    }
    let mut file = file;
    file.flush()
}

fn claim_blocks(file: &File, from: u64, bytes: usize) -> io::Result<()> {
    let (from, bytes) = (from as libc::off_t, bytes as libc::off_t);
    // SAFETY: a plain system call on a descriptor that is open for as long as `file` is borrowed.
    let refused = unsafe { libc::fallocate(file.as_raw_fd(), 0, from, bytes) } != 0;
    if !refused {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Some file systems cannot; then writing alone has to find the blocks.
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL) => Ok(()),
        _ => Err(error),
    }
}
