//! Tests of effects: round trips of every kind, and what is refused.

use super::*;

fn all_effects<'a>(items: &'a [&'a [u8]], scored: &'a [(f64, &'a [u8])]) -> Vec<Effect<'a>> {
    let items = Items::from(items);
    vec![
        Effect::Put {
            kind: ValueKind::String,
            deadline_ms: 0,
            encoded: b"value",
        },
        Effect::Put {
            kind: ValueKind::Hash,
            deadline_ms: u64::MAX,
            encoded: b"",
        },
        Effect::Delete,
        Effect::SetDeadline {
            deadline_ms: 1_700_000_000_000,
        },
        Effect::Append { bytes: b"tail" },
        Effect::SetRange {
            offset: 1 << 40,
            bytes: b"x",
        },
        Effect::ListPush {
            side: Side::Left,
            items,
        },
        Effect::ListPush {
            side: Side::Right,
            items,
        },
        Effect::ListPop {
            side: Side::Left,
            count: 3,
        },
        Effect::ListPop {
            side: Side::Right,
            count: u64::MAX,
        },
        Effect::ListSet {
            index: 7,
            item: b"seven",
        },
        Effect::ListInsert {
            index: 0,
            item: b"",
        },
        Effect::ListRemove {
            index: 300,
            count: 2,
        },
        Effect::SetAdd { members: items },
        Effect::SetRemove { members: items },
        Effect::HashSet { pairs: items },
        Effect::HashDelete { fields: items },
        Effect::HashSetDeadline {
            deadline_ms: 1_700_000_000_000,
            fields: items,
        },
        Effect::SortedSetPut {
            members: ScoredItems::from(scored),
        },
        Effect::SortedSetRemove { members: items },
    ]
}

fn check_round_trip(record: EffectRecord<'_>) {
    let mut encoded = Vec::new();
    record.encode(&mut encoded);
    let (decoded, length) = EffectRecord::decode(&encoded).expect("what was encoded decodes");
    assert_eq!(decoded, record);
    assert_eq!(length, encoded.len());
    for end in 0..encoded.len() {
        assert!(
            EffectRecord::decode(&encoded[..end]).is_err(),
            "cut at {end} of {record:?}"
        );
    }
}

#[test]
fn every_effect_round_trips_and_no_prefix_of_it_decodes() {
    let items: [&[u8]; 4] = [b"one", b"", b"three", &[0xff; 200]];
    let scored: [(f64, &[u8]); 3] = [(-0.5, b"a"), (f64::INFINITY, b""), (3e300, b"c")];
    for effect in all_effects(&items, &scored) {
        for previous_lsn in [0, 1, SAME_RECORD_LSN - 1, SAME_RECORD_LSN] {
            check_round_trip(EffectRecord {
                generation: 70_000,
                key: b"key\0\xff",
                previous_lsn,
                effect,
            });
        }
    }
    for effect in [
        Effect::FlushDatabase { database: 3 },
        Effect::SwapDatabases {
            first: 0,
            second: u32::MAX,
        },
    ] {
        check_round_trip(EffectRecord {
            generation: 9,
            key: b"",
            previous_lsn: 0,
            effect,
        });
    }
}

#[test]
fn effects_of_a_body_come_in_order_and_an_error_names_its_offset() {
    let mut body = Vec::new();
    for key in [&b"a"[..], b"b"] {
        let effect = Effect::Delete;
        EffectRecord {
            generation: 1,
            key,
            previous_lsn: 5,
            effect,
        }
        .encode(&mut body);
    }
    let keys: Vec<&[u8]> = EffectsIter::new(&body)
        .map(|record| record.expect("valid").key)
        .collect();
    assert_eq!(keys, [b"a", b"b"]);

    let good = body.len();
    body.push(0x7f);
    body.extend_from_slice(&[0, 0, 0]);
    let last = EffectsIter::new(&body).last().expect("three items");
    assert_eq!(last, Err(FormatError::damaged("effect tag", good + 4)));
}

#[test]
fn refuses_odd_pairs_and_keys_of_keyless_effects() {
    let odd: [&[u8]; 3] = [b"f", b"v", b"g"];
    let records = [
        EffectRecord {
            generation: 1,
            key: b"h",
            previous_lsn: 0,
            effect: Effect::HashSet {
                pairs: Items::from(&odd[..]),
            },
        },
        EffectRecord {
            generation: 1,
            key: b"not empty",
            previous_lsn: 0,
            effect: Effect::FlushDatabase { database: 0 },
        },
    ];
    for record in records {
        let mut encoded = Vec::new();
        record.encode(&mut encoded);
        assert!(EffectRecord::decode(&encoded).is_err(), "{record:?}");
    }
}
