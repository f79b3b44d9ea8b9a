//! Tests of the encoding of streams: exact bytes, what is refused, round trips. Effects are tested with the others.

use proptest::prelude::*;

use super::*;
use crate::items::Items;

/// Two chunks; the second entry shares the fields of the first, the third does not.
fn sample() -> Vec<u8> {
    let mut out = Vec::new();
    let head = StreamHead {
        last_id: StreamId::new(7, 1),
        max_deleted_id: StreamId::new(5, 3),
        entries_added: 4,
        entry_count: 3,
        chunk_count: 2,
    };
    head.encode(&mut out);
    chunk_of(
        &mut out,
        StreamId::new(5, 0),
        1,
        &[
            (StreamId::new(5, 0), &[b"f", b"one"]),
            (StreamId::new(5, 2), &[b"f", b""]),
        ],
    );
    chunk_of(
        &mut out,
        StreamId::new(6, 9),
        0,
        &[(StreamId::new(7, 1), &[b"g", b"2", b"h", b"3"])],
    );
    put_varint(&mut out, 1);
    put_group_head(&mut out, b"readers", StreamId::new(5, 2), Some(2));
    put_varint(&mut out, 2);
    for (name, active_ms) in [(&b"ann"[..], None), (b"bob", Some(1000))] {
        let consumer = EncodedConsumer {
            name,
            seen_ms: 1001,
            active_ms,
        };
        put_consumer(&mut out, &consumer);
    }
    put_varint(&mut out, 1);
    let pending = EncodedPending {
        id: StreamId::new(5, 0),
        consumer: 1,
        delivered_ms: 1000,
        deliveries: 2,
    };
    put_pending(&mut out, &pending);
    out
}

/// Appends a chunk whose first entry gives the field names.
fn chunk_of(
    out: &mut Vec<u8>,
    base: StreamId,
    deleted_count: u64,
    entries: &[(StreamId, &[&[u8]])],
) {
    let names: Vec<&[u8]> = entries[0].1.iter().copied().step_by(2).collect();
    let (mut master_fields, mut region) = (Vec::new(), Vec::new());
    put_master_fields(&mut master_fields, names.into_iter());
    for (id, pairs) in entries {
        put_entry(&mut region, base, &master_fields, *id, Items::from(*pairs));
    }
    StreamChunk {
        entry_count: entries.len(),
        deleted_count,
        base,
        master_fields: &master_fields,
        entries: &region,
    }
    .encode(out);
}

#[test]
fn a_small_stream_has_the_documented_bytes() {
    let mut out = Vec::new();
    StreamHead {
        last_id: StreamId::new(5, 1),
        max_deleted_id: StreamId::MIN,
        entries_added: 2,
        entry_count: 2,
        chunk_count: 1,
    }
    .encode(&mut out);
    chunk_of(
        &mut out,
        StreamId::new(5, 0),
        0,
        &[
            (StreamId::new(5, 0), &[b"f", b"a"]),
            (StreamId::new(5, 1), &[b"g", b"b"]),
        ],
    );
    put_varint(&mut out, 0);
    let documented = [
        &[0, 5, 1, 0, 0, 2, 2, 1][..],
        &[2, 0, 5, 0, 3, 1, 1, b'f', 14],
        &[5, 0, 0, 1, 1, b'a'],
        &[7, 0, 1, 2, 1, b'g', 1, b'b'],
        &[0],
    ];
    assert_eq!(out, documented.concat());
}

#[test]
fn a_stream_comes_back() {
    let bytes = sample();
    let stream = EncodedStream::parse(&bytes).expect("valid");
    let fields = |entry: StreamEntry<'_>| {
        let fields = entry.fields().flat_map(|(field, value)| [field, value]);
        fields
            .map(|item| item.escape_ascii().to_string())
            .collect::<Vec<_>>()
    };
    let entries: Vec<(String, Vec<String>)> = (stream.entries())
        .map(|entry| (entry.id.to_string(), fields(entry)))
        .collect();
    let expected: [(&str, &[&str]); 3] = [
        ("5-0", &["f", "one"]),
        ("5-2", &["f", ""]),
        ("7-1", &["g", "2", "h", "3"]),
    ];
    let expected = expected.map(|(id, fields)| {
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        (id.to_owned(), fields)
    });
    assert_eq!(entries, expected);
    let groups: Vec<EncodedGroup<'_>> = stream.groups().collect();
    assert_eq!(groups.len(), 1);
    assert_eq!(
        (groups[0].name, groups[0].entries_read),
        (&b"readers"[..], Some(2))
    );
    let consumers: Vec<_> = groups[0].consumers().map(|one| one.active_ms).collect();
    assert_eq!(consumers, [None, Some(1000)]);
    let pending: Vec<_> = groups[0].pending().map(|one| one.deliveries).collect();
    assert_eq!(pending, [2]);
}

#[test]
fn no_prefix_of_a_stream_parses_and_nothing_may_follow() {
    let mut bytes = sample();
    for end in 0..bytes.len() {
        assert!(EncodedStream::parse(&bytes[..end]).is_err(), "cut at {end}");
    }
    bytes.push(0);
    assert!(EncodedStream::parse(&bytes).is_err());
}

#[test]
fn every_bit_flip_is_refused_or_leaves_something_whole() {
    let bytes = sample();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        crate::fuzzing::fuzz_value(&[&[crate::ValueKind::Stream as u8], &damaged[..]].concat());
    }
}

#[test]
fn refuses_what_no_writer_makes() {
    let head = |last_id, entry_count, chunk_count| StreamHead {
        last_id,
        max_deleted_id: StreamId::MIN,
        entries_added: 0,
        entry_count,
        chunk_count,
    };
    let check = |name: &str, build: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        build(&mut bytes);
        assert!(EncodedStream::parse(&bytes).is_err(), "{name}");
    };
    let id = StreamId::new;
    let pairs: &[&[u8]] = &[b"f", b"v"];
    check("entries in no order", &|out| {
        head(id(9, 0), 2, 1).encode(out);
        chunk_of(out, id(1, 0), 0, &[(id(2, 0), pairs), (id(1, 5), pairs)]);
        out.push(0);
    });
    check("an ID twice, in two chunks", &|out| {
        head(id(9, 0), 2, 2).encode(out);
        chunk_of(out, id(1, 0), 0, &[(id(2, 0), pairs)]);
        chunk_of(out, id(2, 0), 0, &[(id(2, 0), pairs)]);
        out.push(0);
    });
    check("an entry behind the last ID", &|out| {
        head(id(1, 9), 1, 1).encode(out);
        chunk_of(out, id(2, 0), 0, &[(id(2, 0), pairs)]);
        out.push(0);
    });
    check("the ID 0-0", &|out| {
        head(id(1, 9), 1, 1).encode(out);
        chunk_of(out, id(0, 0), 0, &[(id(0, 0), pairs)]);
        out.push(0);
    });
    check("groups in no order", &|out| {
        head(id(0, 0), 0, 0).encode(out);
        out.push(2);
        for name in [b"b", b"a"] {
            put_group_head(out, name, StreamId::MIN, None);
            out.extend_from_slice(&[0, 0]);
        }
    });
    check("a pending entry of nobody", &|out| {
        head(id(0, 0), 0, 0).encode(out);
        out.push(1);
        put_group_head(out, b"g", StreamId::MIN, None);
        out.push(0);
        out.push(1);
        let pending = EncodedPending {
            id: id(1, 1),
            consumer: 0,
            delivered_ms: 0,
            deliveries: 1,
        };
        put_pending(out, &pending);
    });
    check("an ID that overflows", &|out| {
        head(StreamId::MAX, 1, 1).encode(out);
        out.extend_from_slice(&[1, 0]);
        id(2, u64::MAX).put(out);
        out.extend_from_slice(&[3, 1, 1, b'f', 6, 5, 0, 1, 1, 1, b'v', 0]);
    });
    check("an entry without fields", &|out| {
        head(id(2, 0), 1, 1).encode(out);
        out.extend_from_slice(&[1, 0, 2, 0, 1, 0, 4, 3, 0, 0, 1, 0]);
    });
}

#[test]
fn ids_follow_each_other() {
    let id = StreamId::new;
    assert_eq!(id(1, u64::MAX).next(), Some(id(2, 0)));
    assert_eq!(id(2, 0).previous(), Some(id(1, u64::MAX)));
    assert_eq!(StreamId::MAX.next(), None);
    assert_eq!(StreamId::MIN.previous(), None);
    assert_eq!(id(3, 4).next().and_then(StreamId::previous), Some(id(3, 4)));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(0..9_u8, 0..60)) {
        crate::fuzzing::fuzz_value(&[&[crate::ValueKind::Stream as u8], &bytes[..]].concat());
    }
}
