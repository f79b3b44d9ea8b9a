//! Streams there and back, in all three forms, what Redis 7.0 dumped, and what is refused.

use proptest::prelude::*;

use super::load::read_value;
use super::payload::{decode, encode};
use super::reader::RdbReader;
use super::value_type;
use super::writer::put_raw_string;
use crate::items::Items;
use crate::stream::{
    EncodedConsumer, EncodedPending, EncodedStream, StreamChunk, StreamHead, StreamId,
    put_consumer, put_entry, put_group_head, put_master_fields, put_pending,
};
use crate::value::ValueKind;
use crate::varint::put_varint;

/// DUMP of redis-server 7.0.15: `5-0 f one`, `7-1 g 2 h 300`, `8-0 f x`; `5-2` was deleted. Group `readers` with pending entries of
/// `ann` and `bob`.
const WITH_GROUP: &[u8] = b"\x13\x01\x10\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x40\x49\x49\x00\x00\x00\x1d\
      \x00\x03\x01\x01\x01\x01\x01\x81\x66\x02\x00\x01\x02\x01\x00\x01\x00\x01\x83\x6f\x6e\x65\x04\x04\x01\x03\
      \x01\x00\x01\x02\x01\x80\x01\x04\x01\x00\x01\x02\x01\x01\x01\x02\x01\x81\x67\x02\x02\x01\x81\x68\x02\xc1\
      \x2c\x02\x08\x01\x02\x01\x03\x01\x00\x01\x81\x78\x02\x04\x01\xff\x03\x08\x00\x05\x00\x05\x02\x04\x01\x07\
      \x72\x65\x61\x64\x65\x72\x73\x08\x00\x04\x03\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\
      \x00\x27\xea\x1e\x05\xa2\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x01\
      \x27\xea\x1e\x05\xa2\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x36\
      \xea\x1e\x05\xa2\x01\x00\x00\x01\x02\x03\x61\x6e\x6e\x27\xea\x1e\x05\xa2\x01\x00\x00\x02\x00\x00\x00\x00\
      \x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\
      \x00\x01\x03\x62\x6f\x62\x36\xea\x1e\x05\xa2\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\
      \x00\x00\x00\x00\x00\x0a\x00\x3f\x46\xdf\x5b\x6c\x92\x45\x2e";

/// Likewise, a stream whose only entry `1-1` was deleted.
const EMPTY: &[u8] =
    b"\x13\x00\x00\x01\x01\x00\x00\x01\x01\x01\x00\x0a\x00\xcd\xa1\x62\x12\xd3\x4b\xf3\x96";

/// For the fuzzing of this format.
pub(crate) const STREAMS_OF_REDIS_7_0: &[&[u8]] = &[WITH_GROUP, EMPTY];

type Pairs = Vec<Vec<u8>>;

/// A stream to be encoded: chunks of entries, and groups.
#[derive(Debug, Clone, Default)]
struct Model {
    chunks: Vec<Vec<(StreamId, Pairs)>>,
    last_id: StreamId,
    max_deleted_id: StreamId,
    /// Entries that were there and are gone.
    removed: u64,
    groups: Vec<ModelGroup>,
}

#[derive(Debug, Clone)]
struct ModelGroup {
    name: Vec<u8>,
    last_delivered_id: StreamId,
    entries_read: Option<u64>,
    /// Name, seen, active.
    consumers: Vec<(Vec<u8>, u64, Option<u64>)>,
    /// ID and number of the consumer.
    pending: Vec<(StreamId, usize)>,
}

impl Model {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let entry_count = self.chunks.iter().map(Vec::len).sum();
        StreamHead {
            last_id: self.last_id,
            max_deleted_id: self.max_deleted_id,
            entries_added: entry_count as u64 + self.removed,
            entry_count,
            chunk_count: self.chunks.len(),
        }
        .encode(&mut out);
        self.chunks
            .iter()
            .for_each(|chunk| encode_chunk(&mut out, chunk));
        put_varint(&mut out, self.groups.len() as u64);
        self.groups
            .iter()
            .for_each(|group| encode_group(&mut out, group));
        out
    }
}

fn encode_chunk(out: &mut Vec<u8>, entries: &[(StreamId, Pairs)]) {
    let (base, first) = &entries[0];
    let names: Vec<&[u8]> = first.iter().step_by(2).map(Vec::as_slice).collect();
    let (mut master_fields, mut region) = (Vec::new(), Vec::new());
    put_master_fields(&mut master_fields, names.into_iter());
    for (id, pairs) in entries {
        let pairs: Vec<&[u8]> = pairs.iter().map(Vec::as_slice).collect();
        let pairs = Items::from(pairs.as_slice());
        put_entry(&mut region, *base, &master_fields, *id, pairs);
    }
    StreamChunk {
        entry_count: entries.len(),
        deleted_count: 0,
        base: *base,
        master_fields: &master_fields,
        entries: &region,
    }
    .encode(out);
}

fn encode_group(out: &mut Vec<u8>, group: &ModelGroup) {
    put_group_head(
        out,
        &group.name,
        group.last_delivered_id,
        group.entries_read,
    );
    put_varint(out, group.consumers.len() as u64);
    for (name, seen_ms, active_ms) in &group.consumers {
        let consumer = EncodedConsumer {
            name,
            seen_ms: *seen_ms,
            active_ms: *active_ms,
        };
        put_consumer(out, &consumer);
    }
    put_varint(out, group.pending.len() as u64);
    for (number, (id, consumer)) in group.pending.iter().enumerate() {
        let pending = EncodedPending {
            id: *id,
            consumer: *consumer,
            delivered_ms: 1_700_000_000_000 + number as u64,
            deliveries: number as u64,
        };
        put_pending(out, &pending);
    }
}

/// IDs whose parts are small, huge, or go back while the other one goes up.
fn any_id() -> impl Strategy<Value = StreamId> {
    let part = || prop_oneof![0u64..20, any::<u64>()];
    (part(), part()).prop_map(|(time_ms, sequence)| StreamId::new(time_ms, sequence.max(1)))
}

fn any_pairs() -> impl Strategy<Value = Pairs> {
    let item = || {
        prop_oneof![
            any::<i64>().prop_map(|integer| integer.to_string().into_bytes()),
            "[ab]{0,2}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..100),
        ]
    };
    prop::collection::vec(item(), 1..4).prop_flat_map(move |names| {
        prop::collection::vec(item(), names.len()..=names.len()).prop_map(move |values| {
            names
                .iter()
                .zip(values)
                .flat_map(|(name, value)| [name.clone(), value])
                .collect()
        })
    })
}

fn any_group() -> impl Strategy<Value = ModelGroup> {
    let time_ms = || 0u64..1 << 50;
    let consumer = (time_ms(), prop::option::of(time_ms()), any::<bool>());
    (
        any_id(),
        prop::option::of(0u64..1 << 40),
        prop::collection::btree_map("[a-z0-9]{1,3}", consumer, 0..4),
        prop::collection::btree_map(any_id(), any::<usize>(), 0..10),
    )
        .prop_map(|(last_delivered_id, entries_read, consumers, pending)| {
            let consumers: Vec<_> = consumers
                .into_iter()
                .map(|(name, (seen_ms, active_ms, same))| {
                    let active_ms = if same { Some(seen_ms) } else { active_ms };
                    (name.into_bytes(), seen_ms, active_ms)
                })
                .collect();
            let owners = consumers.len();
            let pending = pending.into_iter().filter(|_| owners > 0);
            ModelGroup {
                name: Vec::new(),
                last_delivered_id,
                entries_read,
                pending: pending.map(|(id, owner)| (id, owner % owners)).collect(),
                consumers,
            }
        })
}

fn any_stream() -> impl Strategy<Value = Model> {
    (
        prop::collection::btree_map(any_id(), any_pairs(), 0..40),
        1usize..10,
        any_id(),
        prop_oneof![Just(None), (any_id(), 0u64..1000).prop_map(Some)],
        prop::collection::btree_map("[a-z0-9]{1,3}", any_group(), 0..4),
    )
        .prop_map(|(entries, chunk_size, last_id, removed, groups)| {
            let entries: Vec<_> = entries.into_iter().collect();
            let top_id = entries.last().map_or(StreamId::MIN, |entry| entry.0);
            let (max_deleted_id, removed) = removed.unwrap_or_default();
            let named = |(name, group): (String, ModelGroup)| ModelGroup {
                name: name.into_bytes(),
                ..group
            };
            Model {
                chunks: entries.chunks(chunk_size).map(<[_]>::to_vec).collect(),
                last_id: last_id.max(top_id),
                max_deleted_id,
                removed,
                groups: groups.into_iter().map(named).collect(),
            }
        })
}

proptest! {
    #[test]
    fn streams_come_back(model in any_stream()) {
        let encoded = model.encode();
        prop_assert!(EncodedStream::parse(&encoded).is_ok());
        let payload = encode(ValueKind::Stream, &encoded).expect("it can be written");
        let back = decode(&payload).expect("it can be read");
        prop_assert_eq!(back.kind, ValueKind::Stream);
        prop_assert_eq!(back.encoded, encoded);
    }

    /// Whatever is altered: no panic, and what is accepted is a well-formed stream.
    #[test]
    fn altered_streams_are_read_or_refused(model in any_stream(), places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let payload = encode(ValueKind::Stream, &model.encode()).expect("it can be written");
        let mut body = payload[1..payload.len() - 10].to_vec();
        for (place, byte) in places {
            let place = place.index(body.len());
            body[place] = byte;
        }
        for type_byte in [payload[0], value_type::STREAM_LISTPACKS_3] {
            if let Ok(value) = read_value(type_byte, &mut RdbReader::new(&body)) {
                prop_assert!(EncodedStream::parse(&value.encoded).is_ok());
            }
        }
    }
}

/// ID and flat pairs of all entries.
fn entries_of(stream: &EncodedStream<'_>) -> Vec<(String, Pairs)> {
    let pairs = |entry: &crate::stream::StreamEntry<'_>| {
        let fields = entry.fields();
        fields
            .flat_map(|(field, value)| [field.to_vec(), value.to_vec()])
            .collect()
    };
    stream
        .entries()
        .map(|entry| (entry.id.to_string(), pairs(&entry)))
        .collect()
}

#[test]
fn what_redis_dumped_is_read() {
    let loaded = decode(WITH_GROUP).expect("valid");
    let stream = EncodedStream::parse(&loaded.encoded).expect("well formed");
    let expected = [
        ("5-0", &[&b"f"[..], b"one"][..]),
        ("7-1", &[b"g", b"2", b"h", b"300"]),
        ("8-0", &[b"f", b"x"]),
    ]
    .map(|(id, pairs)| {
        let pairs = pairs.iter().map(|item| item.to_vec()).collect::<Pairs>();
        (id.to_owned(), pairs)
    });
    assert_eq!(entries_of(&stream), expected);
    assert_eq!(stream.head.max_deleted_id, StreamId::new(5, 2));
    assert_eq!(stream.head.entries_added, 4);
    let group = stream.groups().next().expect("a group");
    assert_eq!(group.name, b"readers");
    assert_eq!(group.last_delivered_id, StreamId::new(8, 0));
    assert_eq!(group.entries_read, Some(4));
    let names: Vec<&[u8]> = group.consumers().map(|consumer| consumer.name).collect();
    assert_eq!(names, [b"ann", b"bob"]);
    let owners: Vec<usize> = group.pending().map(|pending| pending.consumer).collect();
    assert_eq!(owners, [0, 0, 1]);

    let loaded = decode(EMPTY).expect("valid");
    let stream = EncodedStream::parse(&loaded.encoded).expect("well formed");
    assert_eq!(stream.head.entry_count, 0);
    assert_eq!(stream.head.last_id, StreamId::new(1, 1));
    // Nothing but the place of the deleted entry is missing when it is written again.
    assert_eq!(
        encode(ValueKind::Stream, &loaded.encoded).expect("valid"),
        EMPTY
    );
}

fn one_entry() -> Model {
    let id = StreamId::new(5, 1);
    Model {
        chunks: vec![vec![(id, vec![b"f".to_vec(), b"v".to_vec()])]],
        last_id: id,
        ..Model::default()
    }
}

/// One entry, and a group at its ID.
fn with_group(entries_read: u64, seen_ms: u64, active_ms: Option<u64>) -> Model {
    let mut model = one_entry();
    let id = model.last_id;
    model.groups.push(ModelGroup {
        name: b"g".to_vec(),
        last_delivered_id: id,
        entries_read: Some(entries_read),
        consumers: vec![(b"c".to_vec(), seen_ms, active_ms)],
        pending: vec![(id, 0)],
    });
    model
}

#[test]
fn the_oldest_form_that_loses_nothing_is_written() {
    let form = |model: &Model| encode(ValueKind::Stream, &model.encode()).expect("valid")[0];
    assert_eq!(form(&Model::default()), value_type::STREAM_LISTPACKS_2);
    assert_eq!(form(&one_entry()), value_type::STREAM_LISTPACKS);
    assert_eq!(
        form(&with_group(1, 7, Some(7))),
        value_type::STREAM_LISTPACKS
    );
    let removed = Model {
        removed: 1,
        ..one_entry()
    };
    assert_eq!(form(&removed), value_type::STREAM_LISTPACKS_2);
    assert_eq!(
        form(&with_group(0, 7, Some(7))),
        value_type::STREAM_LISTPACKS_2
    );
    assert_eq!(
        form(&with_group(1, 7, Some(6))),
        value_type::STREAM_LISTPACKS_3
    );
    assert_eq!(
        form(&with_group(1, 7, None)),
        value_type::STREAM_LISTPACKS_3
    );
}

/// The body of a stream of one listpack with these elements (integers as such), one entry announced, `5-0` last, no groups.
fn body_of(elements: &[&str]) -> Vec<u8> {
    let mut node = super::listpack::ListpackWriter::new();
    (elements.iter()).for_each(|element| node.push(element.as_bytes()));
    let mut body = vec![1];
    put_raw_string(&mut body, b"\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\0");
    put_raw_string(&mut body, &node.finish());
    body.extend_from_slice(&[1, 5, 0, 0]);
    body
}

#[test]
fn listpacks_that_miscount_are_refused() {
    let is_read = |elements: &str| {
        let elements: Vec<&str> = elements.split(' ').collect();
        let body = body_of(&elements);
        read_value(value_type::STREAM_LISTPACKS, &mut RdbReader::new(&body)).is_ok()
    };
    assert!(is_read("1 0 1 f 0 2 0 0 v 4"), "shared fields");
    assert!(is_read("1 0 1 f 0 0 0 0 1 g v 6"), "its own fields");
    assert!(is_read("1 1 1 f 0 3 0 0 v 4 2 0 0 v 4"), "one is deleted");
    for (elements, why) in [
        ("1 1 1 f 0 2 0 0 v 4", "fewer entries"),
        ("1 0 1 f 0 2 0 0 v 4 2 0 1 v 4", "more entries"),
        ("0 1 1 f 0 2 0 0 v 4", "the entry is not deleted"),
        ("1 0 1 f 0 3 0 0 v 4", "the entry is deleted"),
        ("1 0 1 f 1 2 0 0 v 4", "no terminator"),
        ("1 0 1 f 0 2 0 0 v 5", "wrong number of elements"),
        ("1 0 2 f 0 2 0 0 v 4", "fields missing"),
        ("1 0 999999999999 f 0 2 0 0 v 4", "many fields"),
        ("1 0 -1 f 0 2 0 0 v 4", "a negative number"),
        ("1 0 0 0 2 0 0 3", "no fields"),
        (
            "1 0 1 f 0 0 0 0 9223372036854775807 g v 6",
            "many fields of its own",
        ),
        ("1 0 1 f 0 2 -1 0 v 4", "below the listpack's ID"),
        ("1 0 1 f 0 2 x 0 v 4", "not an ID"),
        ("1 0 1 f 0 2 1 0 v 4", "behind the last ID"),
        ("9223372036854775807 0 1 f 0 2 0 0 v 4", "very many entries"),
    ] {
        assert!(!is_read(elements), "{why}");
    }
}

#[test]
fn groups_that_contradict_themselves_are_refused() {
    let model = with_group(1, 7, Some(7));
    let payload = encode(ValueKind::Stream, &model.encode()).expect("valid");
    let body = &payload[1..payload.len() - 10];
    let is_read =
        |body: &[u8]| read_value(value_type::STREAM_LISTPACKS, &mut RdbReader::new(body)).is_ok();
    assert!(is_read(body));
    // From behind: the consumer's pending ID (16 bytes) and their number, seen time (8), name (2), number of consumers.
    let end = body.len();
    let mut of_nobody = body[..end - 17].to_vec();
    of_nobody.push(0);
    assert!(!is_read(&of_nobody), "a pending entry of nobody");
    let mut twice = body[..end - 17].to_vec();
    twice.push(2);
    twice.extend_from_slice(&[&body[end - 16..], &body[end - 16..]].concat());
    assert!(!is_read(&twice), "a pending entry twice");
    let mut other = body.to_vec();
    other[end - 1] ^= 1;
    assert!(
        !is_read(&other),
        "a pending entry that the group does not know"
    );
    let mut same_name = body.to_vec();
    same_name[end - 28] = 2;
    same_name.extend_from_slice(&body[end - 27..end - 17]);
    same_name.push(0);
    assert!(!is_read(&same_name), "a consumer twice");
}
