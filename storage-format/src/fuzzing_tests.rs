//! Fuzzing on a stable compiler: every target on seeded mutations of the golden files.
//!
//! By default each target gets a fixed number of inputs, the same every time. `LARDER_FUZZ_SECONDS=60 cargo test -p storage-format
//! fuzzing` runs each target for that long instead, from a seed taken from the clock; a failure prints the input.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::*;

const LIST: &[u8] = include_bytes!("../golden/value-list-v1");
const HASH: &[u8] = include_bytes!("../golden/value-hash-v1");
const SORTED_SET: &[u8] = include_bytes!("../golden/value-sorted-set-v1");
const STREAM: &[u8] = include_bytes!("../golden/value-stream-v1");
const STREAM_EFFECTS: &[u8] = include_bytes!("../golden/effects-stream-v1");
const SEGMENT: &[u8] = include_bytes!("../golden/log-segment-v1");
const COLD_RECORD: &[u8] = include_bytes!("../golden/cold-record-v1");
const DEADLINE_ROW: &[u8] = include_bytes!("../golden/deadline-row-v1");
const SNAPSHOT: &[u8] = include_bytes!("../golden/snapshot-v1");
const COMPRESSED_SNAPSHOT: &[u8] = include_bytes!("../golden/snapshot-compressed-v1");
const MANIFEST: &[u8] = include_bytes!("../golden/manifest-v1");

/// Inputs for each target if no time is given.
const DEFAULT_ITERATIONS: u64 = 3000;

/// A small generator (SplitMix64): the same inputs from the same seed, on any machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Changes `input` in one of the ways that break readers.
fn mutate(random: &mut Random, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    const EDGES: [u8; 7] = [0, 1, 0x7f, 0x80, 0xfb, 0xfd, 0xff];
    let place = random.below(input.len() + 1);
    let end = place + random.below(input.len() - place + 1);
    match random.below(8) {
        0 => input.truncate(place),
        1 => drop(input.drain(place..end)),
        2 => input.insert(place, EDGES[random.below(EDGES.len())]),
        3 => {
            let run = input[place..end].to_vec();
            input.splice(place..place, run);
        }
        4 => {
            let other = &corpus[random.below(corpus.len())];
            let start = random.below(other.len() + 1);
            input.truncate(place);
            input.extend_from_slice(&other[start..]);
        }
        5 => input[place..end].fill(0),
        way => {
            if let Some(byte) = input.get_mut(place) {
                *byte = if way == 6 {
                    *byte ^ 1 << random.below(8)
                } else {
                    EDGES[random.below(EDGES.len())]
                };
            }
        }
    }
}

/// Runs a target on its corpus and on mutations of it.
fn run(target: fn(&[u8]), corpus: &[Vec<u8>]) {
    corpus.iter().for_each(|input| target(input));
    let seconds = std::env::var("LARDER_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut random = Random(seconds.map_or(1, |_| since_epoch.as_nanos() as u64));
    let started = Instant::now();
    let mut iteration = 0;
    while seconds.map_or(iteration < DEFAULT_ITERATIONS, |limit| {
        started.elapsed() < Duration::from_secs(limit)
    }) {
        let mut input = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut random, &mut input, corpus);
        }
        input.truncate(1 << 16);
        if let Err(panic) = std::panic::catch_unwind(|| target(&input)) {
            eprintln!("input {iteration}: {}", input.escape_ascii());
            std::panic::resume_unwind(panic);
        }
        iteration += 1;
    }
}

/// The bodies of the golden segment's records.
fn bodies() -> Vec<Vec<u8>> {
    let mut scanner = Scanner::new(SEGMENT).expect("golden");
    let mut bodies = Vec::new();
    while let Scanned::Record(record) = scanner.next_record() {
        bodies.push(record.body.to_vec());
    }
    assert!(!bodies.is_empty());
    bodies
}

#[test]
fn values() {
    let typed = |kind: ValueKind, bytes: &[u8]| [&[kind as u8], bytes].concat();
    run(
        fuzz_value,
        &[
            typed(ValueKind::List, LIST),
            typed(ValueKind::Set, LIST),
            typed(ValueKind::Hash, HASH),
            typed(ValueKind::SortedSet, SORTED_SET),
            typed(ValueKind::Stream, STREAM),
        ],
    );
}

#[test]
fn rdb_values() {
    let mut corpus = Vec::new();
    let others = crate::rdb::tests::OF_REDIS_7_0.iter().map(|row| row.0);
    let streams = crate::rdb::stream_tests::STREAMS_OF_REDIS_7_0;
    for payload in others.chain(streams.iter().copied()) {
        corpus.push(payload.to_vec());
        corpus.push(payload[..payload.len() - 10].to_vec());
    }
    run(fuzz_rdb, &corpus);
}

#[test]
fn effects() {
    let mut corpus = bodies();
    corpus.push(STREAM_EFFECTS.to_vec());
    run(fuzz_effects, &corpus);
}

#[test]
fn log() {
    let mut corpus = bodies();
    corpus.push(SEGMENT.to_vec());
    run(fuzz_log, &corpus);
}

#[test]
fn snapshots() {
    let mut corpus = vec![SNAPSHOT.to_vec(), COMPRESSED_SNAPSHOT.to_vec()];
    for file in [SNAPSHOT, COMPRESSED_SNAPSHOT] {
        let reader = SnapshotReader::from_bytes(file).expect("golden");
        let rows: Vec<u8> = reader.index().rows().flat_map(|row| row.encode()).collect();
        let row = reader.index().get(0).expect("a block");
        corpus.push(rows);
        corpus.push(file[row.offset as usize..(row.offset + row.stored_length) as usize].to_vec());
        corpus.push(file[crate::envelope::ENVELOPE_HEADER_LENGTH..row.offset as usize].to_vec());
    }
    run(fuzz_snapshot, &corpus);
}

#[test]
fn manifests() {
    run(
        fuzz_manifest,
        &[
            MANIFEST.to_vec(),
            MANIFEST[crate::envelope::ENVELOPE_HEADER_LENGTH..].to_vec(),
        ],
    );
}

#[test]
fn records() {
    run(
        fuzz_record,
        &[
            COLD_RECORD.to_vec(),
            COLD_RECORD[20..].to_vec(),
            DEADLINE_ROW.to_vec(),
        ],
    );
}
