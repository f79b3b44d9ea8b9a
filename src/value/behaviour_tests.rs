//! What the models do not show: sharing after a clone, scans while the collection changes, boundaries, encodings' limits.

use std::collections::HashSet;

use storage_format::Side;
use storage_format::value::{CollectionWriter, put_item, put_pair, put_scored};

use super::*;

const MANY: u32 = 200_000;

fn name(number: u32) -> [u8; 16] {
    let mut name = *b"member:000000000";
    for (digit, place) in name[7..]
        .iter_mut()
        .rev()
        .zip((0..).map(|power| 10_u64.pow(power)))
    {
        *digit = b'0' + (u64::from(number) / place % 10) as u8;
    }
    name
}

fn many_set() -> Set {
    let mut set = Set::new();
    (0..MANY).for_each(|number| assert!(set.insert(&name(number))));
    set
}

/// How many chunks of `before` are not part of `after`.
fn copied(before: &[*const ()], after: &[*const ()]) -> usize {
    let after: HashSet<_> = after.iter().collect();
    before.iter().filter(|chunk| !after.contains(chunk)).count()
}

#[test]
fn a_value_is_16_bytes_and_can_be_sent() {
    fn assert_shareable<T: Send + Sync>() {}
    assert_shareable::<Value>();
    assert_eq!(size_of::<Value>(), 16);
    assert_eq!(size_of::<Option<List>>(), 8);
}

#[test]
fn a_change_to_a_clone_copies_one_chunk_of_each_tree() {
    let mut list = List::new();
    (0..MANY).for_each(|number| list.push(Side::Right, &name(number)));
    let before = list.clone();
    list.set(MANY as usize / 2, b"changed");
    assert!(before.chunk_addresses().len() > 500);
    assert_eq!(
        copied(&before.chunk_addresses(), &list.chunk_addresses()),
        1
    );

    let mut set = many_set();
    let before = set.clone();
    set.remove(&name(77));
    assert!(before.chunk_addresses().len() > 1000);
    assert_eq!(copied(&before.chunk_addresses(), &set.chunk_addresses()), 1);

    let mut hash = Hash::new();
    (0..MANY).for_each(|number| assert!(hash.insert(&name(number), b"value")));
    let before = hash.clone();
    hash.insert(&name(77), b"other value");
    assert_eq!(
        copied(&before.chunk_addresses(), &hash.chunk_addresses()),
        1
    );
    assert_eq!(before.get(&name(77)), Some(&b"value"[..]));

    let mut sorted = SortedSet::new();
    for number in 0..MANY {
        sorted.insert(f64::from(number % 1000), &name(number));
    }
    let before = sorted.clone();
    sorted.insert(5000.0, &name(77));
    let copied = copied(&before.chunk_addresses(), &sorted.chunk_addresses());
    assert_eq!(
        copied, 3,
        "one of the index, one where the member was, one where it is now"
    );
}

#[test]
fn an_unshared_change_stays_in_its_chunk() {
    let mut set = many_set();
    let before = set.chunk_addresses();
    set.remove(&name(1));
    assert_eq!(set.chunk_addresses(), before);
}

#[test]
fn elements_that_come_in_order_fill_their_runs() {
    let mut up = SortedSet::new();
    let mut down = SortedSet::new();
    for number in 0..50_000 {
        up.insert(f64::from(number), &name(number));
        down.insert(-f64::from(number), &name(number));
    }
    for sorted in [up, down] {
        let runs = sorted.order_chunk_addresses().len();
        assert!(runs <= 50_000 / 128 + 2, "{runs} runs");
    }
}

#[test]
fn a_scan_sees_every_member_that_stays_while_others_come_and_go() {
    let mut set = Set::new();
    (0..5000).for_each(|number| assert!(set.insert(&name(number))));
    let mut seen = HashSet::new();
    let (mut cursor, mut calls, mut next_new) = (0, 0, 1_000_000);
    loop {
        cursor = set.scan(cursor, 10, |member| {
            seen.insert(member.to_vec());
        });
        assert!(cursor < 1 << 53);
        calls += 1;
        if cursor == 0 {
            break;
        }
        // Members 4000 and up go, and others come, so that runs split and merge under the scan.
        set.remove(&name(4000 + calls % 1000));
        for _ in 0..5 {
            set.insert(&name(next_new));
            next_new += 1;
        }
    }
    assert!((0..4000).all(|number| seen.contains(&name(number)[..])));
    assert!(calls > 400, "count is respected: {calls} calls");
}

#[test]
fn a_scan_that_began_large_ends_in_a_packed_value_without_a_miss() {
    let mut set = many_set();
    let cursor = set.scan(0, 100, |_| {});
    for number in 100..MANY {
        set.remove(&name(number));
    }
    let mut encoded = Vec::new();
    Value::from(set).encode(&mut encoded);
    let Ok(Value::Set(packed)) = Value::decode(ValueKind::Set, &encoded) else {
        panic!("valid")
    };
    let mut seen = 0;
    assert_eq!(packed.scan(cursor, 10, |_| seen += 1), 0);
    assert_eq!(
        seen, 100,
        "all of a packed set comes at once, whatever the cursor"
    );
}

#[test]
fn random_reaches_every_member() {
    let mut hash = Hash::new();
    (0..300).for_each(|number| assert!(hash.insert(&name(number), b"")));
    let step = u64::MAX / 300;
    let fields: HashSet<_> = (0..300)
        .filter_map(|index| hash.random(index * step + step / 2))
        .collect();
    assert_eq!(fields.len(), 300);
    assert_eq!(Set::new().random(1), None);
}

#[test]
fn encoding_limits_hold_and_never_flip_back() {
    let mut set = Set::new();
    (0..128_u32).for_each(|number| assert!(set.insert(number.to_string().as_bytes())));
    assert!(set.is_intset_like(128) && set.is_packed_like(128, 64) && !set.is_intset_like(127));
    set.insert(b"word");
    assert!(
        !set.is_intset_like(512),
        "129 members with a word, now large"
    );
    for member in ["word", "1", "2"] {
        set.remove(member.as_bytes());
    }
    assert!(!set.is_intset_like(512) && !set.is_packed_like(128, 64) && set.is_packed_like(129, 4));

    let mut small = Set::new();
    small.insert(b"12");
    small.insert(b"x");
    small.remove(b"x");
    assert!(!small.is_intset_like(512) && small.is_packed_like(128, 2));

    let mut hash = Hash::new();
    hash.insert(b"field", &[7; 65]);
    assert!(!hash.is_packed_like(128, 64));
    hash.insert(b"field", b"short");
    assert!(!hash.is_packed_like(128, 64) && hash.is_packed_like(128, 65));

    let mut sorted = SortedSet::new();
    (0..128).for_each(|number| assert_eq!(sorted.insert(1.0, &name(number)), Inserted::Added));
    assert!(sorted.is_packed_like(128, 16) && !sorted.is_packed_like(128, 15));
    sorted.insert(1.0, b"another");
    sorted.remove(b"another");
    assert!(!sorted.is_packed_like(128, 64));
}

#[test]
fn negative_zero_is_zero() {
    let mut sorted = SortedSet::new();
    assert_eq!(sorted.insert(-0.0, b"a"), Inserted::Added);
    assert_eq!(sorted.score(b"a").map(f64::to_bits), Some(0));
    assert_eq!(sorted.insert(0.0, b"a"), Inserted::Unchanged);
}

#[test]
fn elements_of_any_size_keep_their_bytes() {
    for length in [
        0, 1, 63, 64, 65, 126, 127, 128, 511, 512, 513, 1023, 1024, 1025, 4096, 70_000,
    ] {
        let long = vec![b'x'; length];
        let (mut list, mut set, mut hash, mut sorted) =
            (List::new(), Set::new(), Hash::new(), SortedSet::new());
        for number in 0..200 {
            list.push(Side::Left, &name(number));
            set.insert(&name(number));
            hash.insert(&name(number), &long);
            sorted.insert(f64::from(number), &name(number));
        }
        list.insert(100, &long);
        set.insert(&long);
        hash.insert(&long, b"back");
        sorted.insert(50.5, &long);
        assert_eq!(
            (list.get(100), list.get(101)),
            (Some(&long[..]), Some(&name(99)[..]))
        );
        assert!(set.contains(&long) && set.remove(&long) && !set.contains(&long));
        assert_eq!(
            (hash.get(&long), hash.get(&name(3))),
            (Some(&b"back"[..]), Some(&long[..]))
        );
        assert_eq!(
            (sorted.rank(&long), sorted.score(&long)),
            (Some(51), Some(50.5))
        );
    }
}

#[test]
fn repeated_members_are_refused() {
    for count in [2, 500_u32] {
        let elements: Vec<u32> = (0..count - 1).chain([0]).collect();
        let mut set = Vec::new();
        let mut writer = CollectionWriter::begin(&mut set, u64::from(count), 1);
        writer.chunk(u64::from(count), |out| {
            elements
                .iter()
                .for_each(|number| put_item(out, &name(*number)))
        });
        writer.finish();
        assert!(Value::decode(ValueKind::Set, &set).is_err());
        assert_eq!(
            Value::decode(ValueKind::List, &set).map(|list| list.len()),
            Ok(count as usize)
        );

        let mut hash = Vec::new();
        let mut writer = CollectionWriter::begin(&mut hash, u64::from(count), 1);
        writer.chunk(u64::from(count), |out| {
            elements
                .iter()
                .for_each(|number| put_pair(out, &name(*number), b""))
        });
        writer.finish();
        assert!(Value::decode(ValueKind::Hash, &hash).is_err());

        let mut sorted = Vec::new();
        let mut writer = CollectionWriter::begin(&mut sorted, u64::from(count), 1);
        writer.chunk(u64::from(count), |out| {
            elements
                .iter()
                .zip(0_u32..)
                .for_each(|(number, score)| put_scored(out, f64::from(score), &name(*number)));
        });
        writer.finish();
        assert!(Value::decode(ValueKind::SortedSet, &sorted).is_err());
    }
    assert!(Value::decode(ValueKind::Stream, b"").is_err());
}

#[test]
fn a_bulk_loaded_value_is_the_same_size_as_a_grown_one() {
    let set = many_set();
    let mut encoded = Vec::new();
    Value::from(set.clone()).encode(&mut encoded);
    let Ok(Value::Set(decoded)) = Value::decode(ValueKind::Set, &encoded) else {
        panic!("valid")
    };
    assert!(decoded.iter().eq(set.iter()), "both are in hash order");
    assert!(decoded.chunk_addresses().len() <= set.chunk_addresses().len());
}
