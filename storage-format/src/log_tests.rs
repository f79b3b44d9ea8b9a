//! Tests of log segments: framing, the ends that a scan can come to, and damage of every kind.

use proptest::prelude::*;

use super::*;
use crate::effect::{Effect, EffectRecord};

const HEADER: SegmentHeader = SegmentHeader {
    segment_number: 7,
    first_lsn: 100,
    hash_seed: 0xdead_beef_0bad_cafe,
};

/// A segment with a record for each body, and `tail` behind the last.
fn segment(
    header: &SegmentHeader,
    bodies: &[Vec<u8>],
    unsynced_bytes: u64,
    tail: &[u8],
) -> Vec<u8> {
    let mut bytes = header.encode().to_vec();
    for (index, body) in bodies.iter().enumerate() {
        let body = RecordBody::new(body).expect("small");
        let start = bytes.len();
        bytes.resize(start + body.frame_length(), 0xee);
        let lsn = header.first_lsn + index as u64;
        let length = frame_record(
            &mut bytes[start..],
            header.frame_seed(),
            lsn,
            unsynced_bytes,
            &body,
        );
        assert_eq!(length, bytes.len() - start);
    }
    bytes.extend_from_slice(tail);
    bytes
}

/// Reads to the end: LSN and body of each record, and what ended it.
fn scan(bytes: &[u8]) -> (Vec<(u64, &[u8])>, Scanned<'_>) {
    let mut scanner = Scanner::new(bytes).expect("a good header");
    let mut records = Vec::new();
    loop {
        match scanner.next_record() {
            Scanned::Record(record) => records.push((record.lsn, record.body)),
            end => {
                assert_eq!(
                    scanner.next_record(),
                    end,
                    "asking again gives the same answer"
                );
                return (records, end);
            }
        }
    }
}

fn bodies() -> Vec<Vec<u8>> {
    vec![
        b"first".to_vec(),
        vec![0; 100],
        b"x".to_vec(),
        b"the last one".to_vec(),
    ]
}

/// Offsets of the records' frames, and of the end.
fn offsets(bodies: &[Vec<u8>]) -> Vec<usize> {
    let mut offset = SEGMENT_HEADER_LENGTH;
    let mut all = vec![offset];
    for body in bodies {
        offset += frame_length(body.len());
        all.push(offset);
    }
    all
}

#[test]
fn records_come_back_and_the_log_ends_cleanly_at_a_mark_or_the_end_of_the_file() {
    let bodies = bodies();
    for tail in [&[][..], &[0; 8], &[0; 4096]] {
        let bytes = segment(&HEADER, &bodies, 0, tail);
        let (records, end) = scan(&bytes);
        let expected: Vec<(u64, &[u8])> = (100..).zip(bodies.iter().map(Vec::as_slice)).collect();
        assert_eq!(records, expected);
        assert_eq!(
            end,
            Scanned::End {
                offset: (bytes.len() - tail.len()) as u64
            }
        );
    }
}

#[test]
fn what_a_recycled_file_held_before_never_passes_for_new() {
    let bodies = bodies();
    let previous_life = SegmentHeader {
        segment_number: 6,
        ..HEADER
    };
    let other_directory = SegmentHeader {
        hash_seed: 1,
        ..HEADER
    };
    for old in [previous_life, other_directory] {
        let mut bytes = segment(&old, &bodies, 0, &[]);
        let new = segment(&HEADER, &bodies[..1], 0, &[]);
        bytes[..new.len()].copy_from_slice(&new);
        let (records, end) = scan(&bytes);
        assert_eq!(records.len(), 1);
        assert_eq!(
            end,
            Scanned::Torn {
                offset: new.len() as u64,
                valid_behind: None
            }
        );
        write_end_mark(&mut bytes[new.len()..]);
        assert_eq!(
            scan(&bytes).1,
            Scanned::End {
                offset: new.len() as u64
            }
        );
    }
}

#[test]
fn a_zeroed_or_cut_last_record_is_torn_and_the_rest_stands() {
    let bodies = bodies();
    let bytes = segment(&HEADER, &bodies, 0, &[]);
    let last = offsets(&bodies)[3];
    for cut in last + 1..bytes.len() {
        let (records, end) = scan(&bytes[..cut]);
        assert_eq!(records.len(), 3);
        assert_eq!(
            end,
            Scanned::Torn {
                offset: last as u64,
                valid_behind: None
            },
            "cut at {cut}"
        );
        let mut zeroed = bytes.clone();
        zeroed[cut..].fill(0);
        let (records, end) = scan(&zeroed);
        if zeroed == bytes {
            assert_eq!(records.len(), 4, "only padding was zeroed");
        } else {
            assert_eq!(
                (records.len(), end),
                (
                    3,
                    Scanned::Torn {
                        offset: last as u64,
                        valid_behind: None
                    }
                )
            );
        }
    }
}

#[test]
fn damage_in_front_of_synced_records_is_damage_and_names_the_next_valid_one() {
    let bodies = bodies();
    let offsets = offsets(&bodies);
    for (index, window) in offsets.windows(2).enumerate().take(3) {
        let mut bytes = segment(&HEADER, &bodies, 0, &[0; 64]);
        bytes[window[0] + 6] ^= 1;
        let (records, end) = scan(&bytes);
        assert_eq!(records.len(), index);
        assert_eq!(
            end,
            Scanned::Damaged {
                offset: window[0] as u64,
                next_valid: window[1] as u64
            }
        );

        let mut scanner = Scanner::new(&bytes).expect("a good header");
        assert!(scanner.resume_at(window[1] as u64));
        let next = scanner.next_record();
        assert!(
            matches!(next, Scanned::Record(record) if record.lsn == 101 + index as u64),
            "{next:?}"
        );
        assert!(!scanner.resume_at(window[0] as u64));
    }
}

#[test]
fn a_hole_that_was_never_synced_is_torn_whatever_follows() {
    let bodies = bodies();
    let offsets = offsets(&bodies);
    for unsynced_bytes in [4096, u64::MAX] {
        let mut bytes = segment(&HEADER, &bodies, unsynced_bytes, &[]);
        bytes[offsets[1]..offsets[2]].fill(0);
        let (records, end) = scan(&bytes);
        assert_eq!(records.len(), 1);
        let valid_behind = Some(offsets[2] as u64);
        assert_eq!(
            end,
            Scanned::Torn {
                offset: offsets[1] as u64,
                valid_behind
            }
        );
    }
}

#[test]
fn one_record_that_knows_of_the_sync_proves_the_damage() {
    let bodies: Vec<Vec<u8>> = (0..40).map(|number| vec![number; 1000]).collect();
    let offsets = offsets(&bodies);
    // Every record says that the 8 KiB in front of it were not synced yet.
    let mut bytes = segment(&HEADER, &bodies, 8192, &[]);
    bytes[offsets[35] + 30] ^= 0x10;
    assert_eq!(
        scan(&bytes).1,
        Scanned::Torn {
            offset: offsets[35] as u64,
            valid_behind: Some(offsets[36] as u64)
        }
    );
    let mut bytes = segment(&HEADER, &bodies, 8192, &[]);
    bytes[offsets[3] + 30] ^= 0x10;
    assert_eq!(
        scan(&bytes).1,
        Scanned::Damaged {
            offset: offsets[3] as u64,
            next_valid: offsets[4] as u64
        }
    );
}

#[test]
fn a_gap_in_the_lsns_is_damage() {
    let bodies = bodies();
    let offsets = offsets(&bodies);
    let mut bytes = segment(&HEADER, &bodies, 0, &[]);
    bytes.drain(offsets[1]..offsets[2]);
    let (records, end) = scan(&bytes);
    assert_eq!(records.len(), 1);
    // The record that now stands here is valid, but a record is missing in front of it.
    assert!(
        matches!(end, Scanned::Damaged { offset, .. } if offset == offsets[1] as u64),
        "{end:?}"
    );
}

#[test]
fn headers_are_checked() {
    let good = HEADER.encode();
    assert_eq!(SegmentHeader::decode(&good), Ok(HEADER));
    for offset in 0..good.len() {
        let mut bad = good;
        bad[offset] ^= 0x20;
        assert!(SegmentHeader::decode(&bad).is_err(), "byte {offset}");
        assert!(SegmentHeader::decode(&good[..offset]).is_err());
    }
    let mut newer = good;
    newer[8] = 2;
    let crc = crc32fast::hash(&newer[..60]).to_le_bytes();
    newer[60..].copy_from_slice(&crc);
    let expected = FormatError::NewerVersion {
        what: "log segment",
        found: 2,
        supported: 1,
    };
    assert_eq!(SegmentHeader::decode(&newer), Err(expected));
}

#[test]
fn effects_come_back_through_a_record() {
    let mut body = Vec::new();
    let records = [
        EffectRecord {
            generation: 1,
            key: b"old",
            previous_lsn: 44,
            effect: Effect::Delete,
        },
        EffectRecord {
            generation: 1,
            key: b"new",
            previous_lsn: 0,
            effect: Effect::Append { bytes: b"text" },
        },
    ];
    records.iter().for_each(|record| record.encode(&mut body));
    let bytes = segment(&HEADER, &[body], 0, &[]);
    let mut scanner = Scanner::new(&bytes).expect("a good header");
    let Scanned::Record(record) = scanner.next_record() else {
        panic!("one record")
    };
    let effects: Result<Vec<EffectRecord<'_>>, FormatError> = record.effects().collect();
    assert_eq!(effects.as_deref(), Ok(&records[..]));
}

proptest! {
    #[test]
    fn any_change_of_a_byte_leaves_a_correct_prefix(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..80), 1..12),
        unsynced_bytes in prop::sample::select(vec![0, 100, 5000, u64::MAX]),
        place: prop::sample::Index,
        change in 1u8..,
    ) {
        let mut bytes = segment(&HEADER, &bodies, unsynced_bytes, &[0; 40]);
        let offset = SEGMENT_HEADER_LENGTH + place.index(bytes.len() - SEGMENT_HEADER_LENGTH);
        bytes[offset] ^= change;
        let (records, end) = scan(&bytes);
        let offsets = offsets(&bodies);
        let intact = offsets[1..].iter().take_while(|&&end| end <= offset).count();
        let expected: Vec<(u64, &[u8])> = (100..).zip(bodies[..intact].iter().map(Vec::as_slice)).collect();
        prop_assert_eq!(records, expected);
        let found = match end {
            Scanned::End { offset } | Scanned::Torn { offset, .. } | Scanned::Damaged { offset, .. } => offset,
            Scanned::Record(_) => unreachable!("a scan ends with something else"),
        };
        prop_assert_eq!(found, offsets[intact] as u64);
        let clean = matches!(end, Scanned::End { .. });
        prop_assert!(!clean || offset >= offsets[bodies.len()], "a changed record never ends a log cleanly");
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let mut whole = HEADER.encode().to_vec();
        whole.extend_from_slice(&bytes);
        let (records, _) = scan(&whole);
        prop_assert!(records.is_empty());
    }
}
