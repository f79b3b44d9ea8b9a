//! Values there and back, every encoding of every age, and what is refused.

use proptest::prelude::*;

use super::load::{LoadedValue, read_value};
use super::payload::{PayloadError, crc64, decode, encode};
use super::reader::RdbReader;
use super::value_type;
use super::writer::{put_length, put_raw_string, put_string};
use crate::value::{
    CollectionWriter, EncodedCollection, ValueKind, put_field, put_item, put_pair, put_scored,
};

type Fields = Vec<(Vec<u8>, Vec<u8>, u64)>;

fn load(type_byte: u8, body: &[u8]) -> Result<LoadedValue, crate::FormatError> {
    let mut reader = RdbReader::new(body);
    let value = read_value(type_byte, &mut reader)?;
    assert_eq!(reader.remaining(), 0, "all of it is read");
    Ok(value)
}

fn items_of(value: &LoadedValue) -> Vec<Vec<u8>> {
    let collection = EncodedCollection::parse(value.kind, &value.encoded).expect("well formed");
    collection.items().map(<[u8]>::to_vec).collect()
}

fn fields_of(value: &LoadedValue) -> Fields {
    let hash = EncodedCollection::parse(value.kind, &value.encoded).expect("well formed");
    hash.fields()
        .map(|(field, value, deadline_ms)| (field.to_vec(), value.to_vec(), deadline_ms))
        .collect()
}

fn scored_of(value: &LoadedValue) -> Vec<(f64, Vec<u8>)> {
    let sorted = EncodedCollection::parse(value.kind, &value.encoded).expect("well formed");
    sorted
        .scored()
        .map(|(score, member)| (score, member.to_vec()))
        .collect()
}

/// A collection in the value encoding, in chunks of 100.
fn encoded<T>(elements: &[T], with_deadlines: bool, put: impl Fn(&mut Vec<u8>, &T)) -> Vec<u8> {
    let mut out = Vec::new();
    let chunks = elements.len().div_ceil(100) as u64;
    let begin = if with_deadlines {
        CollectionWriter::begin_with_field_deadlines
    } else {
        CollectionWriter::begin
    };
    let mut writer = begin(&mut out, elements.len() as u64, chunks);
    for chunk in elements.chunks(100) {
        writer.chunk(chunk.len() as u64, |out| {
            chunk.iter().for_each(|element| put(out, element))
        });
    }
    writer.finish();
    out
}

fn there_and_back(kind: ValueKind, value: &[u8]) -> LoadedValue {
    let payload = encode(kind, value).expect("it can be written");
    let loaded = decode(&payload).expect("it can be read");
    assert_eq!(loaded.kind, kind);
    loaded
}

/// Byte strings around the borders of every form: integers, short and long texts.
fn any_item() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|integer| integer.to_string().into_bytes()),
        (any::<i64>(), 0u32..64)
            .prop_map(|(integer, shift)| (integer >> shift).to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..80),
        (0usize..5000).prop_map(|length| vec![b'x'; length]),
    ]
}

proptest! {
    #[test]
    fn strings_come_back(text in any_item()) {
        prop_assert_eq!(there_and_back(ValueKind::String, &text).encoded, text);
    }

    #[test]
    fn lists_come_back(items in prop::collection::vec(any_item(), 1..300)) {
        let value = encoded(&items, false, |out, item| put_item(out, item));
        prop_assert_eq!(items_of(&there_and_back(ValueKind::List, &value)), items);
    }

    #[test]
    fn sets_come_back(members in prop::collection::btree_set(any_item(), 1..300)) {
        let members: Vec<Vec<u8>> = members.into_iter().collect();
        let value = encoded(&members, false, |out, item| put_item(out, item));
        let mut back = items_of(&there_and_back(ValueKind::Set, &value));
        back.sort();
        prop_assert_eq!(back, members);
    }

    #[test]
    fn sets_of_integers_come_back(members in prop::collection::btree_set(any::<i64>(), 1..600), shift in 0u32..64) {
        let members: std::collections::BTreeSet<Vec<u8>> =
            members.iter().map(|member| (member >> shift).to_string().into_bytes()).collect();
        let members: Vec<Vec<u8>> = members.into_iter().collect();
        let value = encoded(&members, false, |out, item| put_item(out, item));
        let mut back = items_of(&there_and_back(ValueKind::Set, &value));
        back.sort();
        prop_assert_eq!(back, members);
    }

    #[test]
    fn sorted_sets_come_back(
        members in prop::collection::btree_map(any_item(), any::<f64>().prop_filter("a score", |score| !score.is_nan()), 1..200)
    ) {
        let mut members: Vec<(f64, Vec<u8>)> = members.into_iter().map(|(member, score)| (score, member)).collect();
        members.sort_by(|left, right| left.partial_cmp(right).expect("no NaN"));
        let value = encoded(&members, false, |out, (score, member)| put_scored(out, *score, member));
        prop_assert_eq!(scored_of(&there_and_back(ValueKind::SortedSet, &value)), members);
    }

    #[test]
    fn hashes_come_back(fields in prop::collection::btree_map(any_item(), (any_item(), 0u64..1 << 48), 1..200), with_deadlines: bool) {
        let fields: Fields = fields
            .into_iter()
            .map(|(field, (value, deadline_ms))| (field, value, if with_deadlines { deadline_ms & !1 } else { 0 }))
            .collect();
        let value = if with_deadlines {
            encoded(&fields, true, |out, (field, value, deadline_ms)| {
                put_field(out, field, value, *deadline_ms)
            })
        } else {
            encoded(&fields, false, |out, (field, value, _)| put_pair(out, field, value))
        };
        prop_assert_eq!(fields_of(&there_and_back(ValueKind::Hash, &value)), fields);
    }

    /// Whatever the bytes are: no panic, and what is accepted is a well-formed value.
    #[test]
    fn any_body_is_read_or_refused(type_byte in 0u8..30, body in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = read_value(type_byte, &mut RdbReader::new(&body)) {
            prop_assert!(crate::value::validate(value.kind, &value.encoded).is_ok());
        }
    }
}

/// What DUMP of redis-server 7.0.15 replied, with type and length of the value.
pub(crate) const OF_REDIS_7_0: &[(&[u8], ValueKind, usize)] = &[
    // `10`
    (b"\x00\xc0\x0a\x0a\x00\x6e\x9f\x57\x45\x0e\xae\x63\xbb", ValueKind::String, 2),
    // 40 times `abc`, compressed
    (b"\x00\xc3\x0b\x40\x78\x03\x61\x62\x63\x61\xe0\x69\x02\x01\x62\x63\x0a\x00\xc4\x94\xa1\x70\x2a\xe2\x3e\x06", ValueKind::String, 120),
    // `a`, `1`, `-70000`
    (b"\x12\x01\x02\x11\x11\x00\x00\x00\x03\x00\x81\x61\x02\x01\x01\xf2\x90\xee\xfe\x04\xff\x0a\x00\x18\x41\x8e\x56\xc0\x40\x59\x84", ValueKind::List, 3),
    // `3`, `-1`, `70000`
    (b"\x0b\x14\x04\x00\x00\x00\x03\x00\x00\x00\xff\xff\xff\xff\x03\x00\x00\x00\x70\x11\x01\x00\x0a\x00\xfa\xf9\x07\x6b\xa1\x02\xfb\x14", ValueKind::Set, 3),
    // `a`, `b`
    (b"\x02\x02\x01\x61\x01\x62\x0a\x00\xfe\x64\x21\x25\xeb\x03\x3d\x0d", ValueKind::Set, 2),
    // `a` 1.5, `b` inf
    (b"\x11\x17\x17\x00\x00\x00\x04\x00\x81\x61\x02\x83\x31\x2e\x35\x04\x81\x62\x02\x83\x69\x6e\x66\x04\xff\x0a\x00\xcb\xfa\x38\x25\x10\xd6\xd6\x32", ValueKind::SortedSet, 2),
    // `f` v, `g` 7
    (b"\x10\x12\x12\x00\x00\x00\x04\x00\x81\x66\x02\x81\x76\x02\x81\x67\x02\x07\x01\xff\x0a\x00\x67\x0f\x73\xba\x64\xa7\xf2\xa2", ValueKind::Hash, 2),
];

#[test]
fn the_crc_is_the_one_of_redis() {
    assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    for (payload, kind, length) in OF_REDIS_7_0 {
        let value = decode(payload).expect("valid");
        assert_eq!(value.kind, *kind);
        let found = match kind {
            ValueKind::String => value.encoded.len(),
            _ => EncodedCollection::parse(*kind, &value.encoded)
                .expect("well formed")
                .len(),
        };
        assert_eq!(found, *length, "{kind:?}");
    }
}

fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
    let (mut body, mut tail, mut former) = (Vec::new(), 10, 0);
    for entry in entries {
        tail = 10 + body.len();
        let start = body.len();
        if former < 254 {
            body.push(former as u8);
        } else {
            body.push(254);
            body.extend_from_slice(&(former as u32).to_le_bytes());
        }
        body.extend_from_slice(entry);
        former = body.len() - start;
    }
    let size = 10 + body.len() + 1;
    let mut out = (size as u32).to_le_bytes().to_vec();
    out.extend_from_slice(&(tail as u32).to_le_bytes());
    out.extend_from_slice(&(entries.len() as u16).to_le_bytes());
    out.extend_from_slice(&body);
    out.push(0xff);
    out
}

fn in_string(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_raw_string(&mut out, bytes);
    out
}

#[test]
fn every_entry_of_a_ziplist_is_read() {
    let long = [&[0x41, 0x2c][..], &[b'x'; 300]].concat();
    let longest = [&[0x80, 0, 0, 0x40, 0][..], &[b'y'; 0x4000]].concat();
    let list = ziplist(&[
        b"\x03abc",
        b"\xf1",
        b"\xfd",
        b"\xfe\x80",
        b"\xc0\x00\x80",
        b"\xf0\xff\xff\x7f",
        b"\xf0\x00\x00\x80",
        b"\xd0\x00\x00\x00\x80",
        b"\xe0\xff\xff\xff\xff\xff\xff\xff\x7f",
        &long,
        &longest,
        b"\x00",
    ]);
    let items = items_of(&load(value_type::LIST_ZIPLIST, &in_string(&list)).expect("valid"));
    let mut expected: Vec<Vec<u8>> = [
        "abc",
        "0",
        "12",
        "-128",
        "-32768",
        "8388607",
        "-8388608",
        "-2147483648",
        "9223372036854775807",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    expected.extend([vec![b'x'; 300], vec![b'y'; 0x4000], Vec::new()]);
    assert_eq!(items, expected);

    let mut quicklist = Vec::new();
    put_length(&mut quicklist, 2);
    put_raw_string(&mut quicklist, &ziplist(&[b"\x01a"]));
    put_raw_string(&mut quicklist, &ziplist(&[b"\x01b", b"\x01c"]));
    let list = load(value_type::LIST_QUICKLIST, &quicklist).expect("valid");
    assert_eq!(items_of(&list), [b"a", b"b", b"c"]);
}

#[test]
fn old_hashes_and_sorted_sets_are_read() {
    let pairs = ziplist(&[b"\x01f", b"\x01v", b"\x01g", b"\xf8"]);
    let expected = [
        (b"f".to_vec(), b"v".to_vec(), 0),
        (b"g".to_vec(), b"7".to_vec(), 0),
    ];
    let hash = load(value_type::HASH_ZIPLIST, &in_string(&pairs)).expect("valid");
    assert_eq!(fields_of(&hash), expected);
    let zipmap = b"\x02\x01f\x01\x02v..\x01g\x01\x007\xff";
    let hash = load(value_type::HASH_ZIPMAP, &in_string(zipmap)).expect("valid");
    assert_eq!(fields_of(&hash), expected);

    let pairs = ziplist(&[b"\x01a", b"\x032.5", b"\x01b", b"\xf2"]);
    let sorted = load(value_type::SORTED_SET_ZIPLIST, &in_string(&pairs)).expect("valid");
    assert_eq!(
        scored_of(&sorted),
        [(1.0, b"b".to_vec()), (2.5, b"a".to_vec())]
    );
    let oldest = b"\x03\x01a\xff\x01b\x031.5\x01c\xfe";
    let sorted = load(value_type::SORTED_SET, oldest).expect("valid");
    assert_eq!(
        scored_of(&sorted),
        [
            (f64::NEG_INFINITY, b"a".to_vec()),
            (1.5, b"b".to_vec()),
            (f64::INFINITY, b"c".to_vec())
        ]
    );
    assert!(
        load(value_type::SORTED_SET, b"\x01\x01a\xfd").is_err(),
        "NaN"
    );
}

#[test]
fn plain_lists_and_sets_are_read() {
    let list = load(value_type::LIST, b"\x02\x01a\xc1\x00\x01").expect("valid");
    assert_eq!(items_of(&list), [&b"a"[..], b"256"]);
    let list = load(
        value_type::LIST_QUICKLIST_2,
        b"\x02\x01\x03abc\x02\x0a\x0a\x00\x00\x00\x01\x00\x81z\x02\xff",
    );
    assert_eq!(items_of(&list.expect("valid")), [&b"abc"[..], b"z"]);
    assert!(load(value_type::SET, b"\x02\x01a\x01a").is_err(), "twice");
    let set = load(
        value_type::SET_LISTPACK,
        b"\x0a\x0a\x00\x00\x00\x01\x00\x81z\x02\xff",
    );
    assert_eq!(items_of(&set.expect("valid")), [b"z"]);
}

#[test]
fn deadlines_of_fields_are_read_in_all_four_forms() {
    let expected = [
        (b"f".to_vec(), b"v".to_vec(), 1000),
        (b"g".to_vec(), b"w".to_vec(), 1500),
        (b"h".to_vec(), b"x".to_vec(), 0),
    ];
    let check = |type_byte, body: &[u8]| {
        let mut fields = fields_of(&load(type_byte, body).expect("valid"));
        fields.sort();
        assert_eq!(fields, expected, "{type_byte}");
    };
    let plain = |deadlines: [u64; 3]| {
        let mut out = Vec::new();
        put_length(&mut out, 3);
        for ((field, value, _), deadline) in expected.iter().zip(deadlines) {
            put_length(&mut out, deadline);
            put_string(&mut out, field);
            put_string(&mut out, value);
        }
        out
    };
    let earliest = 1000u64.to_le_bytes();
    check(
        value_type::HASH_METADATA_PRE_RELEASE,
        &plain([1000, 1500, 0]),
    );
    check(
        value_type::HASH_METADATA,
        &[&earliest[..], &plain([1, 501, 0])].concat(),
    );
    let mut packed = super::listpack::ListpackWriter::new();
    for (field, value, deadline_ms) in &expected {
        packed.push(field);
        packed.push(value);
        packed.push(deadline_ms.to_string().as_bytes());
    }
    let packed = in_string(&packed.finish());
    check(value_type::HASH_LISTPACK_DEADLINES_PRE_RELEASE, &packed);
    check(
        value_type::HASH_LISTPACK_DEADLINES,
        &[&earliest[..], &packed].concat(),
    );
    let too_late = [&u64::MAX.to_le_bytes()[..], &plain([1, 2, 0])].concat();
    assert!(load(value_type::HASH_METADATA, &too_late).is_err());
}

#[test]
fn footers_are_checked() {
    let payload = encode(ValueKind::String, b"text").expect("a string");
    assert_eq!(decode(&payload).expect("valid").encoded, b"text");
    for bit in 0..payload.len() * 8 {
        let mut altered = payload.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode(&altered), Err(PayloadError::Footer), "bit {bit}");
    }
    for length in 0..payload.len() {
        assert_eq!(
            decode(&payload[..length]),
            Err(PayloadError::Footer),
            "{length}"
        );
    }
    let sealed = |version: u16| {
        let mut out = payload[..payload.len() - 10].to_vec();
        out.extend_from_slice(&version.to_le_bytes());
        let crc = crc64(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    };
    assert!(decode(&sealed(super::payload::VERSION_MAX)).is_ok());
    assert_eq!(
        decode(&sealed(super::payload::VERSION_MAX + 1)),
        Err(PayloadError::Footer)
    );
}

#[test]
fn collections_without_elements_are_refused() {
    for type_byte in [
        value_type::LIST,
        value_type::SET,
        value_type::HASH,
        value_type::SORTED_SET_2,
    ] {
        assert!(load(type_byte, b"\x00").is_err(), "{type_byte}");
    }
    assert!(load(value_type::LIST_ZIPLIST, &in_string(&ziplist(&[]))).is_err());
    let empty = super::listpack::ListpackWriter::new().finish();
    assert!(load(value_type::HASH_LISTPACK, &in_string(&empty)).is_err());
    assert!(load(value_type::SET_INTSET, &in_string(b"\x02\0\0\0\0\0\0\0")).is_err());
}
