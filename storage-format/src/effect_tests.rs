//! Tests of effects: round trips of every kind, and what is refused.

use super::*;
use crate::stream::StreamId;

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

fn stream_effects<'a>(
    pairs: &'a [&'a [u8]],
    ids: &'a [StreamId],
    claims: &'a [(StreamId, u64)],
) -> Vec<StreamEffect<'a>> {
    let (group, consumer): (&[u8], &[u8]) = (b"group", b"");
    let (last_id, now_ms) = (StreamId::MAX, 1_700_000_000_000);
    let mut effects = vec![
        StreamEffect::Delete { ids: ids.into() },
        StreamEffect::Trim { count: 300 },
        StreamEffect::SetId {
            last_id,
            entries_added: u64::MAX,
            max_deleted_id: StreamId::MIN,
        },
        StreamEffect::DestroyGroup { group },
        StreamEffect::CreateConsumer {
            group,
            consumer,
            now_ms,
        },
        StreamEffect::DeleteConsumer { group, consumer },
        StreamEffect::Acknowledge {
            group,
            ids: ids.into(),
        },
        StreamEffect::Claim {
            group,
            consumer,
            delivered_ms: now_ms,
            entries: claims.into(),
        },
    ];
    for flag in [false, true] {
        let entries_read = flag.then_some(0);
        effects.extend([
            StreamEffect::Add {
                id: StreamId::new(now_ms, 7),
                starts_chunk: flag,
                pairs: pairs.into(),
            },
            StreamEffect::CreateGroup {
                group,
                last_delivered_id: last_id,
                entries_read,
            },
            StreamEffect::SetGroupId {
                group,
                last_delivered_id: last_id,
                entries_read,
            },
            StreamEffect::TouchConsumer {
                group,
                consumer,
                now_ms,
                is_active: flag,
            },
            StreamEffect::Deliver {
                group,
                consumer,
                now_ms,
                count: 128,
                is_pending: flag,
            },
        ]);
    }
    effects
}

#[test]
fn every_effect_on_a_stream_round_trips_and_fits_its_bound() {
    let pairs: [&[u8]; 4] = [b"one", b"", b"three", &[0xff; 200]];
    let ids = [StreamId::MIN, StreamId::new(1, 300), StreamId::MAX];
    let claims = [(StreamId::new(5, 0), 1), (StreamId::MAX, u64::MAX)];
    for effect in stream_effects(&pairs, &ids, &claims) {
        let mut operands = Vec::new();
        effect.encode(&mut operands);
        assert!(operands.len() <= effect.bytes_max(), "{effect:?}");
        for previous_lsn in [0, 77, SAME_RECORD_LSN] {
            check_round_trip(EffectRecord {
                generation: 3,
                key: b"stream",
                previous_lsn,
                effect: Effect::Stream(effect),
            });
        }
    }
}

#[test]
fn refuses_entries_without_pairs_and_unknown_stream_effects() {
    for pairs in [&[][..], &[&b"odd"[..]]] {
        let effect = Effect::Stream(StreamEffect::Add {
            id: StreamId::new(1, 1),
            starts_chunk: false,
            pairs: pairs.into(),
        });
        let record = EffectRecord {
            generation: 1,
            key: b"s",
            previous_lsn: 0,
            effect,
        };
        let mut encoded = Vec::new();
        record.encode(&mut encoded);
        assert!(EffectRecord::decode(&encoded).is_err(), "{record:?}");
    }
    for unknown in [0, 17, 255] {
        let encoded = [21, 1, 0, 1, b's', unknown, 1, b'g', 0, 0, 0, 0];
        assert!(EffectRecord::decode(&encoded).is_err(), "tag {unknown}");
    }
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
