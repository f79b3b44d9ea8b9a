//! Tests of snapshot files: round trips, lookups, ranges, and damage of every part.

use std::fs;

use proptest::prelude::*;

use super::*;
use crate::error::FormatError;
use crate::value::ValueKind;

fn header() -> SnapshotHeader {
    SnapshotHeader {
        form: SnapshotForm::Snapshot,
        hash_seed: 9,
        cut_lsn: 1000,
        log_segment_number: 3,
        created_ms: 1_700_000_000_000,
        generations: vec![1, 2],
    }
}

/// An entry with its own key and value.
#[derive(Debug, Clone)]
struct Owned {
    position: (u32, u64),
    key: Vec<u8>,
    value: Vec<u8>,
    deadline_ms: u64,
}

impl Owned {
    fn entry(&self) -> SnapshotEntry<'_> {
        SnapshotEntry {
            generation: self.position.0,
            hash: self.position.1,
            lsn: self.position.1 % 1000,
            deadline_ms: self.deadline_ms,
            kind: if self.deadline_ms == 0 {
                ValueKind::String
            } else {
                ValueKind::Hash
            },
            key: &self.key,
            value: &self.value,
        }
    }
}

/// Entries that fill several blocks, in two generations, some sharing a hash.
fn many() -> Vec<Owned> {
    let mut entries = Vec::new();
    for generation in [1, 5] {
        for number in 0..600u64 {
            entries.push(Owned {
                position: (generation, number / 3 * (u64::MAX / 200)),
                key: format!("key:{number:05}").into_bytes(),
                value: (0..500).map(|index| (index * number % 251) as u8).collect(),
                deadline_ms: if number.is_multiple_of(4) {
                    number + 1
                } else {
                    0
                },
            });
        }
    }
    entries
}

fn write(entries: &[Owned]) -> Vec<u8> {
    let mut writer = SnapshotWriter::new(Vec::new(), &header()).expect("no I/O");
    for entry in entries {
        writer.push(&entry.entry()).expect("in order");
    }
    let (bytes, summary) = writer.finish().expect("no I/O");
    assert_eq!(summary.file_bytes, bytes.len() as u64);
    assert_eq!(summary.entry_count, entries.len() as u64);
    bytes
}

fn read_all(reader: &SnapshotReader<Vec<u8>>) -> Result<usize, FormatError> {
    let mut count = 0;
    for block in 0..reader.block_count() {
        count += reader.decode_block(block)?.entries().len();
    }
    Ok(count)
}

#[test]
fn everything_written_is_read_found_and_counted() {
    let entries = many();
    let reader = SnapshotReader::from_bytes(write(&entries)).expect("valid");
    assert_eq!(reader.header(), &header());
    assert!(
        reader.block_count() > 5,
        "several blocks: {}",
        reader.block_count()
    );
    let mut expected = entries.iter();
    for block in 0..reader.block_count() {
        for entry in reader.decode_block(block).expect("valid").entries() {
            assert_eq!(Some(entry), expected.next().map(Owned::entry));
        }
    }
    assert!(expected.next().is_none());

    for owned in &entries {
        let (generation, hash) = owned.position;
        let value = reader
            .find(generation, hash, &owned.key, |entry| entry.value.to_vec())
            .expect("valid");
        assert_eq!(value.as_deref(), Some(owned.value.as_slice()));
        let absent = reader
            .find(generation, hash, b"another key", |_| ())
            .expect("valid");
        assert_eq!(absent, None);
    }
    assert_eq!(reader.find(0, 0, b"", |_| ()).expect("valid"), None);
    assert_eq!(
        reader.find(u32::MAX, u64::MAX, b"", |_| ()).expect("valid"),
        None
    );

    let statistics = &reader.statistics().generations;
    assert_eq!(
        statistics
            .iter()
            .map(|row| row.generation)
            .collect::<Vec<_>>(),
        [1, 5]
    );
    let hashes = statistics[0].of(ValueKind::Hash);
    let expected = KindStatistics {
        count: 150,
        with_deadline: 150,
        key_bytes: 150 * 9,
        value_bytes: 150 * 500,
    };
    assert_eq!(*hashes, expected);
    let mut progress = Vec::new();
    assert_eq!(reader.verify_all(|done| progress.push(done)), Ok(()));
    assert_eq!(progress, (1..=reader.block_count()).collect::<Vec<_>>());
}

#[test]
fn all_entries_of_one_position_are_in_one_block() {
    let entries: Vec<Owned> = (0..400)
        .map(|number: u32| Owned {
            position: (1, 7),
            key: number.to_be_bytes().to_vec(),
            value: vec![number as u8; 1000],
            deadline_ms: 0,
        })
        .collect();
    let reader = SnapshotReader::from_bytes(write(&entries)).expect("valid");
    assert_eq!(reader.block_count(), 1);
    let found = reader
        .find(1, 7, &399u32.to_be_bytes(), |entry| entry.value[0])
        .expect("valid");
    assert_eq!(found, Some(399u32 as u8));
}

#[test]
fn an_empty_snapshot_and_huge_or_incompressible_values_are_fine() {
    let empty = SnapshotReader::from_bytes(write(&[])).expect("valid");
    assert_eq!((empty.block_count(), empty.entry_count()), (0, 0));
    assert_eq!(empty.find(1, 1, b"key", |_| ()), Ok(None));
    assert_eq!(empty.index().blocks_of_range(1, 0..=u64::MAX), 0..0);
    assert_eq!(empty.verify_all(|_| ()), Ok(()));

    let mut state = 1u32;
    let noise = (0..300_000).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let entry = Owned {
        position: (1, 1),
        key: Vec::new(),
        value: noise.collect(),
        deadline_ms: 0,
    };
    let reader = SnapshotReader::from_bytes(write(std::slice::from_ref(&entry))).expect("valid");
    assert_eq!(
        reader.find(1, 1, b"", |found| found == entry.entry()),
        Ok(Some(true))
    );
}

#[test]
fn a_range_of_hashes_names_every_block_that_can_hold_it() {
    let entries = many();
    let reader = SnapshotReader::from_bytes(write(&entries)).expect("valid");
    for generation in [0, 1, 3, 5, 9] {
        for (start, end) in [
            (0, u64::MAX),
            (0, 0),
            (1 << 62, 1 << 63),
            (u64::MAX, u64::MAX),
            (5, 4),
        ] {
            let range = reader.index().blocks_of_range(generation, start..=end);
            for block in 0..reader.block_count() {
                let decoded = reader.decode_block(block).expect("valid");
                let holds = decoded.entries().any(|entry| {
                    entry.generation == generation && (start..=end).contains(&entry.hash)
                });
                assert!(
                    !holds || range.contains(&block),
                    "block {block}, {generation} {start:x}..={end:x}"
                );
            }
        }
    }
    let row = reader.index().get(3).expect("there are more");
    let around = reader
        .index()
        .blocks_of_range(row.first_generation, row.first_hash..=row.first_hash);
    assert_eq!(around, 3..4, "not more blocks than needed");
}

#[test]
fn the_writer_refuses_entries_out_of_order() {
    let entry = |generation, hash, key: &[u8]| Owned {
        position: (generation, hash),
        key: key.to_vec(),
        value: vec![1],
        deadline_ms: 0,
    };
    let cases = [
        (entry(2, 2, b"b"), entry(1, 9, b"z")),
        (entry(2, 2, b"b"), entry(2, 1, b"z")),
        (entry(2, 2, b"b"), entry(2, 2, b"a")),
        (entry(2, 2, b"b"), entry(2, 2, b"b")),
    ];
    for (first, second) in cases {
        let mut writer = SnapshotWriter::new(Vec::new(), &header()).expect("no I/O");
        writer.push(&first.entry()).expect("the first");
        let error = writer.push(&second.entry()).expect_err("out of order");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[test]
fn every_changed_byte_is_noticed_where_it_is() {
    let good = write(&many()[..40]);
    let blocks_end = SnapshotReader::from_bytes(good.clone())
        .expect("valid")
        .index()
        .rows()
        .map(|row| row.offset + row.stored_length)
        .max()
        .expect("a block");
    for offset in 0..good.len() {
        let mut bad = good.clone();
        bad[offset] ^= 0x04;
        let result = SnapshotReader::from_bytes(bad).and_then(|reader| read_all(&reader));
        assert!(
            result.is_err(),
            "byte {offset} of {} (blocks end at {blocks_end})",
            good.len()
        );
    }
    for length in 0..good.len() {
        assert!(
            SnapshotReader::from_bytes(&good[..length]).is_err(),
            "cut at {length}"
        );
    }
}

#[test]
fn damage_of_one_block_leaves_the_others_readable() {
    let mut bytes = write(&many());
    let row = SnapshotReader::from_bytes(bytes.clone())
        .expect("valid")
        .index()
        .get(2)
        .expect("a third block");
    bytes[row.offset as usize + 100] ^= 1;
    let reader = SnapshotReader::from_bytes(bytes).expect("blocks are not read by opening");
    let expected = FormatError::Damaged {
        what: "snapshot block",
        offset: row.offset,
    };
    assert_eq!(reader.decode_block(2), Err(expected.clone()));
    assert_eq!(reader.verify_all(|_| ()), Err(expected));
    for block in (0..reader.block_count()).filter(|&block| block != 2) {
        assert!(reader.decode_block(block).is_ok());
    }
}

#[test]
fn a_file_is_opened_by_memory_map() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("snapshot");
    fs::write(&path, write(&many())).expect("written");
    let reader = SnapshotReader::open(&path).expect("valid");
    assert_eq!(reader.verify_all(|_| ()), Ok(()));
    fs::write(&path, b"").expect("written");
    let error = SnapshotReader::open(&path).expect_err("empty").to_string();
    assert!(error.contains("this is not a snapshot"), "{error}");
    let missing = SnapshotReader::open(&directory.path().join("missing")).expect_err("not there");
    assert!(missing.is_not_found());
}

proptest! {
    #[test]
    fn any_sorted_entries_round_trip(
        rows in prop::collection::btree_map(
            ((0u32..3, 0u64..20), prop::collection::vec(any::<u8>(), 0..4)),
            (prop::collection::vec(any::<u8>(), 0..3000), 0u64..2),
            0..80,
        ),
    ) {
        let entries: Vec<Owned> = rows
            .into_iter()
            .map(|((position, key), (value, deadline_ms))| Owned { position, key, value, deadline_ms })
            .collect();
        let reader = SnapshotReader::from_bytes(write(&entries)).expect("valid");
        prop_assert_eq!(reader.verify_all(|_| ()), Ok(()));
        prop_assert_eq!(reader.entry_count(), entries.len() as u64);
        for owned in &entries {
            let (generation, hash) = owned.position;
            let same = reader.find(generation, hash, &owned.key, |entry| entry == owned.entry());
            prop_assert_eq!(same, Ok(Some(true)));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        prop_assert!(DecodedBlock::decode(&bytes).is_err());
        prop_assert!(SnapshotReader::from_bytes(bytes).is_err());
    }
}
