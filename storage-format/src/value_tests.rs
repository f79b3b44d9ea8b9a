//! Tests of the value encoding: exact bytes, what is refused, round trips.

use proptest::prelude::*;

use super::*;

fn list_of(chunks: &[&[&[u8]]]) -> Vec<u8> {
    let mut out = Vec::new();
    let count = chunks.iter().map(|chunk| chunk.len() as u64).sum();
    let mut writer = CollectionWriter::begin(&mut out, count, chunks.len() as u64);
    for chunk in chunks {
        writer.chunk(chunk.len() as u64, |out| {
            chunk.iter().for_each(|item| put_item(out, item))
        });
    }
    writer.finish();
    out
}

#[test]
fn a_list_of_two_chunks_has_the_documented_bytes() {
    let bytes = list_of(&[&[b"a", b"bc"], &[b""]]);
    assert_eq!(bytes, [0, 3, 2, 2, 5, 1, b'a', 2, b'b', b'c', 1, 1, 0]);
    let list = EncodedCollection::parse(ValueKind::List, &bytes).expect("valid");
    assert_eq!((list.len(), list.chunk_count()), (3, 2));
    assert_eq!(list.items().collect::<Vec<_>>(), [&b"a"[..], b"bc", b""]);
}

#[test]
fn hashes_and_sorted_sets_come_back() {
    let mut out = Vec::new();
    let mut writer = CollectionWriter::begin(&mut out, 2, 1);
    let mut chunk = Vec::new();
    put_pair(&mut chunk, b"field", b"value");
    put_pair(&mut chunk, b"g", b"");
    writer.encoded_chunk(2, &chunk);
    writer.finish();
    let hash = EncodedCollection::parse(ValueKind::Hash, &out).expect("valid");
    assert_eq!(
        hash.pairs().collect::<Vec<_>>(),
        [(&b"field"[..], &b"value"[..]), (b"g", b"")]
    );
    assert_eq!(hash.scored().count(), 0);

    let members: [(f64, &[u8]); 4] = [
        (f64::NEG_INFINITY, b"z"),
        (-0.0, b"a"),
        (0.0, b"b"),
        (f64::INFINITY, b""),
    ];
    out.clear();
    let mut writer = CollectionWriter::begin(&mut out, 4, 2);
    for half in members.chunks(2) {
        writer.chunk(2, |out| {
            half.iter()
                .for_each(|(score, member)| put_scored(out, *score, member))
        });
    }
    writer.finish();
    let sorted = EncodedCollection::parse(ValueKind::SortedSet, &out).expect("valid");
    assert_eq!(sorted.scored().collect::<Vec<_>>(), members);
    assert_eq!(sorted.pairs().count() + sorted.items().count(), 0);
}

#[test]
fn refuses_what_no_writer_makes() {
    let nan = f64::NAN.to_le_bytes();
    let mut nan_set = vec![0, 1, 1, 1, 9, 0];
    nan_set.extend_from_slice(&nan);
    let mut unordered = vec![0, 2, 1, 2, 20];
    put_scored(&mut unordered, 1.0, b"b");
    put_scored(&mut unordered, 1.0, b"a");
    let mut repeated = vec![0, 2, 1, 2, 20];
    put_scored(&mut repeated, 1.0, b"a");
    put_scored(&mut repeated, 1.0, b"a");
    let cases: [(&str, ValueKind, &[u8]); 15] = [
        ("nothing", ValueKind::List, &[]),
        ("unknown flag", ValueKind::List, &[1, 0, 0]),
        ("count without chunks", ValueKind::Set, &[0, 1, 0]),
        ("chunks without count", ValueKind::Set, &[0, 0, 1, 1, 1, 0]),
        ("empty chunk", ValueKind::Set, &[0, 1, 2, 1, 1, 0, 0, 0]),
        ("fewer than announced", ValueKind::Set, &[0, 2, 1, 1, 1, 0]),
        (
            "more than announced",
            ValueKind::Set,
            &[0, 1, 1, 2, 2, 0, 0],
        ),
        ("behind the end", ValueKind::Set, &[0, 1, 1, 1, 1, 0, 0]),
        (
            "chunk longer than its elements",
            ValueKind::Set,
            &[0, 1, 1, 1, 2, 0, 0],
        ),
        (
            "enormous count",
            ValueKind::Set,
            &[0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 1, 1, 0],
        ),
        ("field without value", ValueKind::Hash, &[0, 1, 1, 1, 1, 0]),
        ("NaN", ValueKind::SortedSet, &nan_set),
        ("order", ValueKind::SortedSet, &unordered),
        ("repetition", ValueKind::SortedSet, &repeated),
        ("half a stream", ValueKind::Stream, &[0, 0, 0]),
    ];
    for (name, kind, bytes) in cases {
        assert!(validate(kind, bytes).is_err(), "{name}");
    }
    assert_eq!(
        validate(ValueKind::List, &[0, 0, 0]),
        Ok(()),
        "an empty collection is well formed"
    );
    assert_eq!(
        validate(ValueKind::String, &nan),
        Ok(()),
        "a String is any bytes"
    );
}

#[test]
fn kinds_have_their_bytes() {
    for byte in 0..=u8::MAX {
        let kind = ValueKind::from_byte(byte);
        assert_eq!(
            kind.map(|kind| kind as u8),
            (1..=6).contains(&byte).then_some(byte)
        );
    }
}

proptest! {
    #[test]
    fn lists_round_trip_and_no_prefix_of_one_parses(
        chunks in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20), 0..6),
    ) {
        let chunks: Vec<Vec<&[u8]>> = chunks.iter().map(|chunk| chunk.iter().map(Vec::as_slice).collect()).collect();
        let borrowed: Vec<&[&[u8]]> = chunks.iter().map(Vec::as_slice).collect();
        let bytes = list_of(&borrowed);
        let list = EncodedCollection::parse(ValueKind::List, &bytes).expect("valid");
        prop_assert_eq!(list.items().collect::<Vec<_>>(), chunks.concat());
        for end in 0..bytes.len() {
            prop_assert!(EncodedCollection::parse(ValueKind::List, &bytes[..end]).is_err());
        }

        let mut again = Vec::new();
        let mut writer = CollectionWriter::begin(&mut again, list.len() as u64, list.chunk_count() as u64);
        for chunk in list.chunks() {
            writer.encoded_chunk(chunk.element_count() as u64, chunk.elements());
        }
        writer.finish();
        prop_assert_eq!(again, bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic(kind in 1u8..=6, bytes: Vec<u8>) {
        let kind = ValueKind::from_byte(kind).expect("in range");
        if kind != ValueKind::String && let Ok(collection) = EncodedCollection::parse(kind, &bytes) {
            let seen = collection.items().count() + collection.scored().count();
            prop_assert_eq!(seen, collection.len() * if kind == ValueKind::Hash { 2 } else { 1 });
        }
    }
}
