//! Has the kernel put the heap on huge pages, where that costs next to no memory.
//!
//! The allocator asks for huge pages, but it grows by pieces that begin and end anywhere. A block of 2 MiB that two pieces share is
//! filled with small pages when the first of them is used, and stays like that: more than half of a heap of 180 MB. A look-up of a
//! key then waits for addresses to be translated. With a million small keys that was a quarter of the time of a GET, spent in
//! prefetch instructions.
//!
//! So after the process has grown, its private memory is walked, and every block whose small pages are there, all but a few, becomes
//! one huge page (`MADV_COLLAPSE`, since Linux 6.1). A block with more holes stays as it is, because filling them costs memory:
//! making huge whatever is more than three quarters full saves another tenth of a GET, for three per cent more memory.
//!
//! Cost: some 0.2 ms for a block, once; looking at a block takes a few microseconds; nothing while the process does not grow. Where
//! the kernel cannot or must not, nothing happens.

use super::memory::anonymous_resident_bytes;
use std::ops::Range;
use std::time::{Duration, Instant};

const BLOCK_BYTES: usize = 2 << 20;
const PAGE_BYTES: usize = 4096;
/// Pages that may be missing from a block that is made huge: at most 3 % of it.
const MISSING_PAGES_MAX: usize = 16;
/// A walk begins when the process has grown or shrunk by so much.
const WORTH_A_WALK_BYTES: u64 = 2 * BLOCK_BYTES as u64;
const PAUSE_BETWEEN_WALKS: Duration = Duration::from_secs(2);
/// Blocks that one step looks at, and that it makes huge.
const LOOKED_AT_MAX: usize = 256;
const MADE_HUGE_MAX: usize = 16;
/// After so many refusals and no success the kernel is not asked again.
const REFUSALS_MAX: usize = 16;

/// What became of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Block {
    /// It is a huge page now, if it was none before.
    Huge,
    /// Too many pages of it are missing.
    HasHoles,
    /// The kernel did not do it.
    Refused,
}

/// A walk through the process's memory, step by step. See the module's comment.
pub struct HugePages {
    /// Where the walk goes on; `None` between walks.
    position: Option<usize>,
    /// Resident bytes when the last walk began, and when it ended.
    walked_at_bytes: u64,
    ended: Instant,
    has_succeeded: bool,
    refusals: usize,
    is_allowed: bool,
}

impl Default for HugePages {
    fn default() -> HugePages {
        HugePages {
            position: None,
            walked_at_bytes: 0,
            ended: Instant::now(),
            has_succeeded: false,
            refusals: 0,
            is_allowed: is_allowed(),
        }
    }
}

impl HugePages {
    /// Goes on for a few milliseconds, if there is anything to do. To be called several times a second, by a thread that has
    /// no lock.
    pub fn step(&mut self) {
        if !self.is_allowed || !self.is_due() {
            return;
        }
        let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else {
            return;
        };
        let from = self.position.unwrap_or(0);
        let (mut looked_at, mut made_huge) = (0, 0);
        for address in maps.lines().filter_map(private_memory).flat_map(blocks_of) {
            if address < from {
                continue;
            }
            if looked_at == LOOKED_AT_MAX || made_huge == MADE_HUGE_MAX {
                self.position = Some(address);
                return;
            }
            looked_at += 1;
            match make_huge(address) {
                Block::Huge => {
                    self.has_succeeded = true;
                    made_huge += 1;
                }
                Block::HasHoles => {}
                Block::Refused => self.note_refusal(),
            }
        }
        self.position = None;
        self.ended = Instant::now();
    }

    /// True within a walk.
    pub fn is_walking(&self) -> bool {
        self.position.is_some()
    }

    /// True within a walk, and when a new one is worth it.
    fn is_due(&mut self) -> bool {
        if self.position.is_some() {
            return true;
        }
        if self.ended.elapsed() < PAUSE_BETWEEN_WALKS {
            return false;
        }
        let Some(resident_bytes) = anonymous_resident_bytes() else {
            return false;
        };
        let is_due = resident_bytes.abs_diff(self.walked_at_bytes) >= WORTH_A_WALK_BYTES;
        if is_due {
            self.walked_at_bytes = resident_bytes;
        }
        is_due
    }

    fn note_refusal(&mut self) {
        self.refusals += 1;
        if !self.has_succeeded && self.refusals >= REFUSALS_MAX {
            tracing::debug!("the kernel makes no huge pages of small ones");
            self.is_allowed = false;
        }
    }
}

/// False if whoever runs this machine has turned huge pages off, or nothing is known about it. The kernel would not ask when told to
/// collapse.
fn is_allowed() -> bool {
    std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
        .is_ok_and(|modes| !modes.contains("[never]"))
}

/// The addresses of a line of `/proc/self/maps`, if it is private, writable memory that no file stands behind.
fn private_memory(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (first, end) = fields.next()?.split_once('-')?;
    let is_memory = fields.next()? == "rw-p" && fields.nth(3).is_none();
    let address = |digits| usize::from_str_radix(digits, 16).ok();
    is_memory.then_some(address(first)?..address(end)?)
}

/// The first addresses of the whole blocks in a range.
fn blocks_of(range: Range<usize>) -> impl Iterator<Item = usize> {
    let first = range.start.next_multiple_of(BLOCK_BYTES);
    (first..range.end)
        .step_by(BLOCK_BYTES)
        .take_while(move |address| range.end - address >= BLOCK_BYTES)
}

fn make_huge(address: usize) -> Block {
    if missing_pages(address).is_none_or(|missing| missing > MISSING_PAGES_MAX) {
        return Block::HasHoles;
    }
    let start = std::ptr::without_provenance_mut(address);
    // SAFETY: the kernel moves pages of this process to other frames; what is at an address stays the same for every thread. A
    // block that is mapped no more, or in another way, is refused.
    let is_done = unsafe { libc::madvise(start, BLOCK_BYTES, libc::MADV_COLLAPSE) } == 0;
    if is_done { Block::Huge } else { Block::Refused }
}

/// How many pages of a block are not there; `None` if it is not mapped.
fn missing_pages(address: usize) -> Option<usize> {
    let mut pages = [0u8; BLOCK_BYTES / PAGE_BYTES];
    let start = std::ptr::without_provenance_mut(address);
    // SAFETY: writes one byte for each page of 4 KiB (or larger) of the block, for which there is room, and touches nothing else;
    // a block that is mapped no more is an error.
    let is_known = unsafe { libc::mincore(start, BLOCK_BYTES, pages.as_mut_ptr()) } == 0;
    is_known.then(|| pages.iter().filter(|page| *page & 1 == 0).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_memory_without_a_file_is_walked() {
        let cases = [
            ("7f00-9f00 rw-p 00000000 00:00 0 ", Some(0x7f00..0x9f00)),
            ("7f00-9f00 rw-p 00000000 00:00 0  [heap]", None),
            ("7f00-9f00 r-xp 00000000 00:00 0 ", None),
            ("7f00-9f00 rw-s 00000000 00:00 0 ", None),
            ("7f00-9f00 rw-p 00001000 fe:00 77  /lib/x.so", None),
            ("nonsense", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(private_memory(line), expected, "{line}");
        }
    }

    #[test]
    fn blocks_lie_wholly_in_their_range() {
        let blocks = |range| blocks_of(range).collect::<Vec<usize>>();
        let (one, two) = (BLOCK_BYTES, 2 * BLOCK_BYTES);
        assert_eq!(blocks(1..two), [one]);
        assert_eq!(blocks(1..two + one - 1), [one]);
        assert_eq!(blocks(one..two + one), [one, two]);
        assert!(blocks(one + 1..two + one - 1).is_empty());
        assert!(blocks(5..5).is_empty());
    }

    /// Bytes on huge pages of the mapping that holds an address.
    fn huge_bytes_at(wanted: usize) -> usize {
        let smaps = std::fs::read_to_string("/proc/self/smaps").expect("smaps");
        let mut is_in = false;
        for line in smaps.lines() {
            let range = line
                .split_once(' ')
                .and_then(|(range, _)| range.split_once('-'));
            let address = |digits| usize::from_str_radix(digits, 16).ok();
            if let Some((Some(first), Some(end))) =
                range.map(|(first, end)| (address(first), address(end)))
            {
                is_in = (first..end).contains(&wanted);
            }
            if let Some(size) = line.strip_prefix("AnonHugePages:").filter(|_| is_in) {
                let kibibytes = size.trim().trim_end_matches(" kB").parse::<usize>();
                return kibibytes.expect("a number") << 10;
            }
        }
        0
    }

    #[test]
    fn filled_blocks_become_huge_and_keep_their_content_and_others_get_no_pages() {
        let mut memory = memmap2::MmapMut::map_anon(6 * BLOCK_BYTES).expect("a mapping");
        let start = memory.as_ptr().addr();
        let blocks: Vec<usize> = blocks_of(start..start + memory.len()).collect();
        let (filled, with_hole) = (blocks[0] - start, blocks[2] - start);
        for page in 0..BLOCK_BYTES / PAGE_BYTES {
            memory[filled + page * PAGE_BYTES] = page as u8 | 1;
        }
        memory[with_hole] = 7;
        let is_whole_already = missing_pages(blocks[2]) == Some(0);
        assert_eq!(missing_pages(blocks[0]), Some(0));
        let outcome = make_huge(blocks[0]);
        assert_ne!(outcome, Block::HasHoles);
        if outcome == Block::Huge {
            assert!(huge_bytes_at(blocks[0]) >= BLOCK_BYTES);
        }
        for page in 0..BLOCK_BYTES / PAGE_BYTES {
            assert_eq!(memory[filled + page * PAGE_BYTES], page as u8 | 1);
        }
        if !is_whole_already {
            assert_eq!(make_huge(blocks[2]), Block::HasHoles);
            assert_ne!(missing_pages(blocks[2]), Some(0));
        }
        assert_eq!(memory[with_hole], 7);
    }

    #[test]
    fn a_kernel_that_refuses_is_left_alone() {
        let mut pages = HugePages {
            is_allowed: true,
            ..HugePages::default()
        };
        (1..REFUSALS_MAX).for_each(|_| pages.note_refusal());
        assert!(pages.is_allowed);
        pages.note_refusal();
        assert!(!pages.is_allowed);
        pages.is_allowed = true;
        pages.has_succeeded = true;
        pages.note_refusal();
        assert!(pages.is_allowed);
    }
}
