//! The golden files: bytes that were written once and must be written and read the same for as long as their version is supported.
//!
//! `LARDER_REGENERATE_GOLDEN=1 cargo test -p storage-format --test golden` writes them anew. That is right for a file of a new version that
//! no release has written yet, and for nothing else.

use std::fs;
use std::path::PathBuf;

use storage_format::log::{
    RecordBody, Scanned, Scanner, SegmentHeader, frame_record, write_end_mark,
};
use storage_format::manifest::{DatabaseManifest, Manifest, SnapshotManifest};
use storage_format::record::{ColdHeader, ColdKey, DeadlineKey, encode_deadline_value};
use storage_format::snapshot::block::BLOCK_HEADER_LENGTH;
use storage_format::snapshot::{SnapshotForm, SnapshotHeader};
use storage_format::stream::{
    EncodedConsumer, EncodedPending, EncodedStream, StreamChunk, StreamHead, put_consumer,
    put_entry, put_group_head, put_master_fields, put_pending,
};
use storage_format::value::{
    CollectionWriter, EncodedCollection, put_field, put_item, put_pair, put_scored,
};
use storage_format::varint::put_varint;
use storage_format::{
    Effect, EffectRecord, Items, Placement, SAME_RECORD_LSN, ScoredItems, Side, SnapshotEntry,
    SnapshotReader, SnapshotWriter, StreamEffect, StreamId, ValueKind,
};

const HASH_SEED: u64 = 0x0123_4567_89ab_cdef;

fn golden_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("golden")
        .join(name)
}

/// The golden file's bytes; writes them first if that was asked for.
fn golden(name: &str, written_now: &[u8]) -> Vec<u8> {
    let path = golden_path(name);
    if std::env::var_os("LARDER_REGENERATE_GOLDEN").is_some() {
        fs::write(&path, written_now).expect("the golden directory is writable");
    }
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Checks that what is written now is what was written then.
fn check_golden(name: &str, written_now: &[u8]) {
    let expected = golden(name, written_now);
    let differs = expected
        .iter()
        .zip(written_now)
        .position(|(then, now)| then != now);
    assert_eq!(differs, None, "{name}: first difference");
    assert_eq!(written_now.len(), expected.len(), "{name}: length");
}

/// Appends the elements of one chunk.
type FillChunk<'a> = &'a dyn Fn(&mut Vec<u8>);

fn collection(chunks: &[FillChunk<'_>], elements_per_chunk: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let chunk_count = chunks.len() as u64;
    let mut writer =
        CollectionWriter::begin(&mut out, chunk_count * elements_per_chunk, chunk_count);
    for fill in chunks {
        writer.chunk(elements_per_chunk, |out| fill(out));
    }
    writer.finish();
    out
}

fn list() -> Vec<u8> {
    let first = |out: &mut Vec<u8>| {
        put_item(out, b"first");
        put_item(out, b"");
    };
    let second = |out: &mut Vec<u8>| {
        put_item(out, &[0xff; 130]);
        put_item(out, b"last");
    };
    collection(&[&first, &second], 2)
}

fn hash() -> Vec<u8> {
    let chunk = |out: &mut Vec<u8>| {
        put_pair(out, b"name", b"Ada");
        put_pair(out, b"\0binary\xff", b"");
    };
    collection(&[&chunk], 2)
}

fn hash_with_field_deadlines() -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = CollectionWriter::begin_with_field_deadlines(&mut out, 2, 1);
    writer.chunk(2, |out| {
        put_field(out, b"name", b"Ada", 0);
        put_field(out, b"session", b"open", 1_700_000_000_123);
    });
    writer.finish();
    out
}

fn sorted_set() -> Vec<u8> {
    let low = |out: &mut Vec<u8>| put_scored(out, f64::NEG_INFINITY, b"lowest");
    let high = |out: &mut Vec<u8>| put_scored(out, 1.5, b"one and a half");
    collection(&[&low, &high], 1)
}

/// An entry: its ID; field, value, field, value ….
type StreamEntryItems<'a> = (StreamId, &'a [&'a [u8]]);

/// Two chunks, two groups, a consumer that was never active, and a pending entry that is gone.
fn stream() -> Vec<u8> {
    let mut out = Vec::new();
    StreamHead {
        last_id: StreamId::new(1_700_000_000_001, 0),
        max_deleted_id: StreamId::new(1_700_000_000_000, 1),
        entries_added: 400,
        entry_count: 3,
        chunk_count: 2,
    }
    .encode(&mut out);
    let base = StreamId::new(1_700_000_000_000, 0);
    let next = StreamId::new(1_700_000_000_001, 0);
    let pairs: [&[u8]; 4] = [b"sensor", b"12", b"value", b"20.5"];
    let others: [&[u8]; 2] = [b"\0other\xff", b""];
    let chunks: [(StreamId, u64, &[StreamEntryItems<'_>]); 2] = [
        (
            base,
            1,
            &[(base, &pairs), (StreamId::new(base.time_ms, 300), &others)],
        ),
        (next, 0, &[(next, &pairs)]),
    ];
    for (base, deleted_count, chunk) in chunks {
        let (mut master_fields, mut entries) = (Vec::new(), Vec::new());
        let fields: [&[u8]; 2] = [b"sensor", b"value"];
        put_master_fields(&mut master_fields, fields.into_iter());
        for (id, pairs) in chunk {
            put_entry(&mut entries, base, &master_fields, *id, Items::from(*pairs));
        }
        StreamChunk {
            entry_count: chunk.len(),
            deleted_count,
            base,
            master_fields: &master_fields,
            entries: &entries,
        }
        .encode(&mut out);
    }
    put_varint(&mut out, 2);
    put_group_head(&mut out, b"alerts", StreamId::MIN, None);
    out.extend_from_slice(&[0, 0]);
    put_group_head(&mut out, b"store", base, Some(398));
    put_varint(&mut out, 2);
    for (name, active_ms) in [(&b"first"[..], Some(1_700_000_000_005)), (b"second", None)] {
        let seen_ms = 1_700_000_000_005;
        put_consumer(
            &mut out,
            &EncodedConsumer {
                name,
                seen_ms,
                active_ms,
            },
        );
    }
    put_varint(&mut out, 2);
    for (sequence, deliveries) in [(0, 1), (1, 300)] {
        let pending = EncodedPending {
            id: StreamId::new(base.time_ms, sequence),
            consumer: 0,
            delivered_ms: 1_700_000_000_005,
            deliveries,
        };
        put_pending(&mut out, &pending);
    }
    out
}

#[test]
fn streams() {
    let bytes = golden("value-stream-v1", &stream());
    check_golden("value-stream-v1", &stream());
    let parsed = EncodedStream::parse(&bytes).expect("valid");
    let ids: Vec<String> = parsed.entries().map(|entry| entry.id.to_string()).collect();
    assert_eq!(
        ids,
        ["1700000000000-0", "1700000000000-300", "1700000000001-0"]
    );
    let pending: Vec<u64> = (parsed.groups())
        .flat_map(|group| group.pending())
        .map(|pending| pending.deliveries)
        .collect();
    assert_eq!(pending, [1, 300]);
}

/// One of each effect on a stream, as the body of a record.
fn stream_effects<'a>(
    pairs: Items<'a>,
    ids: &'a [StreamId],
    claimed: &'a [(StreamId, u64)],
) -> Vec<StreamEffect<'a>> {
    let (group, consumer): (&[u8], &[u8]) = (b"store", b"first");
    let (id, now_ms) = (StreamId::new(1_700_000_000_000, 3), 1_700_000_000_005);
    let add = |starts_chunk| StreamEffect::Add {
        id,
        starts_chunk,
        pairs,
    };
    let touch = |is_active| StreamEffect::TouchConsumer {
        group,
        consumer,
        now_ms,
        is_active,
    };
    let deliver = |is_pending| StreamEffect::Deliver {
        group,
        consumer,
        now_ms,
        count: 128,
        is_pending,
    };
    vec![
        add(false),
        add(true),
        StreamEffect::Delete { ids: ids.into() },
        StreamEffect::Trim { count: 1000 },
        StreamEffect::SetId {
            last_id: StreamId::MAX,
            entries_added: 7,
            max_deleted_id: id,
        },
        StreamEffect::CreateGroup {
            group,
            last_delivered_id: id,
            entries_read: None,
        },
        StreamEffect::SetGroupId {
            group,
            last_delivered_id: StreamId::MIN,
            entries_read: Some(0),
        },
        StreamEffect::DestroyGroup { group },
        StreamEffect::CreateConsumer {
            group,
            consumer,
            now_ms,
        },
        touch(false),
        touch(true),
        StreamEffect::DeleteConsumer { group, consumer },
        deliver(true),
        deliver(false),
        StreamEffect::Acknowledge {
            group,
            ids: ids.into(),
        },
        StreamEffect::Claim {
            group,
            consumer,
            delivered_ms: now_ms,
            entries: claimed.into(),
        },
    ]
}

#[test]
fn effects_on_streams() {
    let pairs: [&[u8]; 2] = [b"value", b"20.5"];
    let ids = [StreamId::new(1_700_000_000_000, 0), StreamId::MAX];
    let claimed = [(StreamId::new(1_700_000_000_000, 0), 300)];
    let effects = stream_effects(Items::from(&pairs), &ids, &claimed);
    let mut body = Vec::new();
    for effect in &effects {
        EffectRecord {
            generation: 3,
            key: b"readings",
            previous_lsn: 41,
            effect: Effect::Stream(*effect),
        }
        .encode(&mut body);
    }
    check_golden("effects-stream-v1", &body);
    let bytes = golden("effects-stream-v1", &body);
    let decoded: Vec<Effect<'_>> = storage_format::effect::EffectsIter::new(&bytes)
        .map(|record| record.expect("valid").effect)
        .collect();
    let written: Vec<Effect<'_>> = effects.into_iter().map(Effect::Stream).collect();
    assert_eq!(decoded, written);
}

#[test]
fn values() {
    check_golden("value-list-v1", &list());
    check_golden("value-hash-v1", &hash());
    check_golden("value-sorted-set-v1", &sorted_set());
    check_golden("value-hash-deadlines-v1", &hash_with_field_deadlines());
    let parsed = fs::read(golden_path("value-list-v1")).expect("readable");
    let items = EncodedCollection::parse(ValueKind::List, &parsed)
        .expect("valid")
        .items()
        .map(<[u8]>::len);
    assert_eq!(items.collect::<Vec<_>>(), [5, 0, 130, 4]);
}

/// An effect that came later, in a record of its own: the golden segment is older.
#[test]
fn field_deadlines_of_an_effect() {
    let mut encoded = Vec::new();
    EffectRecord {
        generation: 3,
        key: b"user:7",
        previous_lsn: 41,
        effect: Effect::HashSetDeadline {
            deadline_ms: 1_700_000_000_123,
            fields: (&[&b"session"[..], b""]).into(),
        },
    }
    .encode(&mut encoded);
    check_golden("effect-hash-set-deadline-v1", &encoded);
}

/// Every effect on a key once.
fn effects_on_keys<'a>(
    items: Items<'a>,
    scored: ScoredItems<'a>,
    value: &'a [u8],
) -> [Effect<'a>; 18] {
    let put = Effect::Put {
        kind: ValueKind::Hash,
        deadline_ms: 1_700_000_000_123,
        encoded: value,
    };
    let set_range = Effect::SetRange {
        offset: 300,
        bytes: b"middle",
    };
    let push = |side| Effect::ListPush { side, items };
    let pop = |side, count| Effect::ListPop { side, count };
    let list_set = Effect::ListSet {
        index: 4,
        item: b"four",
    };
    let list_insert = Effect::ListInsert {
        index: 0,
        item: b"zero",
    };
    [
        put,
        Effect::SetDeadline { deadline_ms: 0 },
        Effect::Append { bytes: b"more" },
        set_range,
        push(Side::Left),
        push(Side::Right),
        pop(Side::Left, 2),
        pop(Side::Right, 1),
        list_set,
        list_insert,
        Effect::ListRemove {
            index: 2,
            count: 200,
        },
        Effect::SetAdd { members: items },
        Effect::SetRemove { members: items },
        Effect::HashSet { pairs: items },
        Effect::HashDelete { fields: items },
        Effect::SortedSetPut { members: scored },
        Effect::SortedSetRemove { members: items },
        Effect::Delete,
    ]
}

/// Every effect once, in two records.
fn effects<'a>(
    items: &'a [&'a [u8]],
    scored: &'a [(f64, &'a [u8])],
    value: &'a [u8],
) -> [Vec<EffectRecord<'a>>; 2] {
    let on_keys = effects_on_keys(Items::from(items), ScoredItems::from(scored), value);
    let record = |(number, effect)| EffectRecord {
        generation: 3,
        key: b"some:key",
        previous_lsn: if number == 0 { 41 } else { SAME_RECORD_LSN },
        effect,
    };
    let keyless = |effect| EffectRecord {
        generation: 4,
        key: b"",
        previous_lsn: 0,
        effect,
    };
    [
        on_keys.into_iter().enumerate().map(record).collect(),
        vec![
            keyless(Effect::FlushDatabase { database: 2 }),
            keyless(Effect::SwapDatabases {
                first: 0,
                second: 15,
            }),
        ],
    ]
}

#[test]
fn log_segment() {
    let items: [&[u8]; 4] = [b"a", b"", b"\xff\0", b"four"];
    let scored: [(f64, &[u8]); 2] = [(0.25, b"quarter"), (f64::INFINITY, b"top")];
    let value = hash();
    let records = effects(&items, &scored, &value);
    let header = SegmentHeader {
        segment_number: 5,
        first_lsn: 1000,
        hash_seed: HASH_SEED,
    };
    let mut bytes = header.encode().to_vec();
    for (lsn, (effects, unsynced_bytes)) in (1000..).zip(records.iter().zip([0, 5000])) {
        let mut body = Vec::new();
        effects.iter().for_each(|effect| effect.encode(&mut body));
        let body = RecordBody::new(&body).expect("small");
        let start = bytes.len();
        bytes.resize(start + body.frame_length(), 0);
        frame_record(
            &mut bytes[start..],
            header.frame_seed(),
            lsn,
            unsynced_bytes,
            &body,
        );
    }
    let end = bytes.len();
    bytes.resize(end + 64, 0x55);
    write_end_mark(&mut bytes[end..]);
    check_golden("log-segment-v1", &bytes);

    let bytes = fs::read(golden_path("log-segment-v1")).expect("readable");
    let mut scanner = Scanner::new(&bytes).expect("valid");
    assert_eq!(scanner.header(), &header);
    for (lsn, expected) in (1000..).zip(&records) {
        let Scanned::Record(record) = scanner.next_record() else {
            panic!("record {lsn}")
        };
        let effects: Result<Vec<EffectRecord<'_>>, _> = record.effects().collect();
        assert_eq!((record.lsn, effects.as_ref()), (lsn, Ok(expected)));
    }
    assert_eq!(scanner.next_record(), Scanned::End { offset: end as u64 });
}

#[test]
fn cold_record() {
    let cold_key = ColdKey {
        generation: 7,
        hash: 0xfedc_ba98_7654_3210,
        key: b"cold:key",
    };
    let header = ColdHeader {
        lsn: 0x1234_5678_9abc,
        deadline_ms: 1_800_000_000_000,
        kind: ValueKind::List,
    };
    let mut record = cold_key.to_vec();
    record.extend_from_slice(&header.encode());
    record.extend_from_slice(&list());
    check_golden("cold-record-v1", &record);

    let mut row = Vec::new();
    DeadlineKey {
        deadline_ms: header.deadline_ms,
        cold_key,
    }
    .encode(&mut row);
    row.extend_from_slice(&encode_deadline_value(header.lsn));
    check_golden("deadline-row-v1", &row);
}

fn snapshot(entries: &[SnapshotEntry<'_>]) -> Vec<u8> {
    let mut writer = SnapshotWriter::new(Vec::new(), &snapshot_header()).expect("no I/O");
    for entry in entries {
        writer.push(entry).expect("in order");
    }
    writer.finish().expect("no I/O").0
}

fn snapshot_header() -> SnapshotHeader {
    SnapshotHeader {
        form: SnapshotForm::Snapshot,
        hash_seed: HASH_SEED,
        cut_lsn: 999,
        log_segment_number: 5,
        created_ms: 1_700_000_000_000,
        generations: vec![3, 300, 70_000],
    }
}

fn check_snapshot_reads(bytes: Vec<u8>, entries: &[SnapshotEntry<'_>]) {
    let reader = SnapshotReader::from_bytes(bytes).expect("valid");
    assert_eq!(reader.header(), &snapshot_header());
    assert_eq!(reader.verify_all(|_| ()), Ok(()));
    assert_eq!(reader.entry_count(), entries.len() as u64);
    for entry in entries {
        let same = reader.find(entry.generation, entry.hash, entry.key, |found| {
            found == *entry
        });
        assert_eq!(same, Ok(Some(true)), "{entry:?}");
    }
}

#[test]
fn snapshot_of_blocks_that_do_not_compress() {
    let (list, hash) = (collection(&[&|out| put_item(out, b"item")], 1), hash());
    let placement = Placement::new(HASH_SEED);
    let entry = |generation, deadline_ms, kind, key, value| SnapshotEntry {
        generation,
        hash: placement.hash(key),
        lsn: 900 + key.len() as u64,
        deadline_ms,
        kind,
        key,
        value,
    };
    let mut entries = [
        entry(3, 0, ValueKind::String, &b"text"[..], &b"some words"[..]),
        entry(3, 5_000_000_000_000, ValueKind::Hash, b"user:1", &hash),
        entry(300, 0, ValueKind::String, b"", b""),
        entry(70_000, 1, ValueKind::List, b"\xff", &list),
    ];
    entries.sort_by_key(SnapshotEntry::order);
    let bytes = snapshot(&entries);
    check_golden("snapshot-v1", &bytes);
    let reader = SnapshotReader::from_bytes(&bytes[..]).expect("valid");
    let row = reader.index().get(0).expect("one block");
    let raw_length = reader.decode_block(0).expect("valid").raw_length();
    assert_eq!(
        row.stored_length as usize,
        BLOCK_HEADER_LENGTH + raw_length,
        "stored as it is"
    );
    check_snapshot_reads(golden("snapshot-v1", &bytes), &entries);
}

/// Only reading is compared here: another release of the compressor may write other bytes that mean the same.
#[test]
fn snapshot_of_compressed_blocks() {
    let keys: Vec<String> = (0..400).map(|number| format!("key:{number:04}")).collect();
    let value = b"the quick brown fox jumps over the lazy dog; ".repeat(8);
    let placement = Placement::new(HASH_SEED);
    let mut entries: Vec<SnapshotEntry<'_>> = (1..)
        .zip(&keys)
        .map(|(lsn, key)| SnapshotEntry {
            generation: 3,
            hash: placement.hash(key.as_bytes()),
            lsn,
            deadline_ms: 0,
            kind: ValueKind::String,
            key: key.as_bytes(),
            value: &value,
        })
        .collect();
    entries.sort_by_key(SnapshotEntry::order);
    check_snapshot_reads(
        golden("snapshot-compressed-v1", &snapshot(&entries)),
        &entries,
    );
}

#[test]
fn manifest() {
    let manifest = Manifest {
        hash_seed: HASH_SEED,
        next_lsn: 1002,
        databases: vec![
            DatabaseManifest {
                generation: 3,
                key_count: 250,
                deadline_count: 25,
            },
            DatabaseManifest {
                generation: 300,
                key_count: 251,
                deadline_count: 0,
            },
            DatabaseManifest {
                generation: 70_000,
                key_count: 1 << 40,
                deadline_count: 1 << 39,
            },
        ],
        next_generation: 70_001,
        snapshots: vec![SnapshotManifest {
            file_name: "snapshot-000000000005".to_owned(),
            cut_lsn: 999,
            log_segment_number: 5,
            entry_count: 4,
        }],
        rocksdb_sequence: 123_456_789,
        clean_shutdown: false,
    };
    let bytes = manifest.encode().expect("small");
    check_golden("manifest-v1", &bytes);
    assert_eq!(
        Manifest::decode(&golden("manifest-v1", &bytes)),
        Ok(manifest)
    );
}
