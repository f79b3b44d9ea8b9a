//! Every type against a naive model, under random operations, with clones that must stay what they were.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use storage_format::Side;

use super::*;

/// A byte string for a number: many short ones, some that no packed form takes, some that are kept apart.
fn bytes_for(number: u16) -> Vec<u8> {
    let text = number.to_string().into_bytes();
    match number % 23 {
        0 => text.repeat(20),
        1 => text.repeat(150),
        2 => text.repeat(600),
        _ => text,
    }
}

fn reencoded(value: &Value) -> Value {
    let mut encoded = Vec::new();
    value.encode(&mut encoded);
    let decoded = Value::decode(value.kind(), &encoded).expect("own encoding is valid");
    let mut again = Vec::new();
    decoded.encode(&mut again);
    assert_eq!(
        Value::decode(value.kind(), &again)
            .expect("own encoding is valid")
            .len(),
        value.len()
    );
    decoded
}

/// How many elements a structure starts with: packed, about to grow, a few chunks, three levels of tree.
fn prefill() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0), Just(60), Just(127), Just(1000), Just(4000)]
}

#[derive(Clone, Debug)]
enum ListOp {
    Push(bool, u16),
    Pop(bool),
    Set(usize, u16),
    Insert(usize, u16),
    Remove(usize, usize),
    Keep,
    Reencode,
}

fn list_op() -> impl Strategy<Value = ListOp> {
    prop_oneof![
        4 => (any::<bool>(), any::<u16>()).prop_map(|(left, item)| ListOp::Push(left, item)),
        2 => any::<bool>().prop_map(ListOp::Pop),
        3 => (any::<usize>(), any::<u16>()).prop_map(|(index, item)| ListOp::Set(index, item)),
        3 => (any::<usize>(), any::<u16>()).prop_map(|(index, item)| ListOp::Insert(index, item)),
        2 => (any::<usize>(), 0..400_usize).prop_map(|(index, count)| ListOp::Remove(index, count)),
        1 => Just(ListOp::Keep),
        1 => Just(ListOp::Reencode),
    ]
}

fn side(left: bool) -> Side {
    if left { Side::Left } else { Side::Right }
}

fn apply_to_list(list: &mut List, model: &mut Vec<Vec<u8>>, op: &ListOp) {
    match *op {
        ListOp::Push(left, item) => {
            list.push(side(left), &bytes_for(item));
            model.insert(if left { 0 } else { model.len() }, bytes_for(item));
        }
        ListOp::Pop(left) => {
            let expected = if model.is_empty() {
                None
            } else {
                Some(model.remove(if left { 0 } else { model.len() - 1 }))
            };
            assert_eq!(list.pop(side(left)).map(Vec::from), expected);
        }
        ListOp::Set(index, item) => {
            let index = index % (model.len() + 1);
            assert_eq!(list.set(index, &bytes_for(item)), index < model.len());
            if let Some(place) = model.get_mut(index) {
                *place = bytes_for(item);
            }
        }
        ListOp::Insert(index, item) => {
            let index = index % (model.len() + 2);
            assert_eq!(list.insert(index, &bytes_for(item)), index <= model.len());
            if index <= model.len() {
                model.insert(index, bytes_for(item));
            }
        }
        ListOp::Remove(index, count) => {
            let index = index % (model.len() + 2);
            let end = (index + count).min(model.len()).max(index);
            let gone = if index < model.len() {
                model.drain(index..end).count()
            } else {
                0
            };
            assert_eq!(list.remove_range(index, count), gone);
        }
        ListOp::Reencode => match reencoded(&list.clone().into()) {
            Value::List(decoded) => *list = decoded,
            other => panic!("{other:?}"),
        },
        ListOp::Keep => {}
    }
}

fn check_list(list: &List, model: &[Vec<u8>]) {
    assert_eq!(list.len(), model.len());
    assert!(list.iter().eq(model.iter().map(Vec::as_slice)));
    assert!(list.iter().rev().eq(model.iter().rev().map(Vec::as_slice)));
    assert_eq!(
        list.payload_bytes(),
        model.iter().map(Vec::len).sum::<usize>()
    );
    for index in (0..=model.len()).step_by(1 + model.len() / 50) {
        assert_eq!(list.get(index), model.get(index).map(Vec::as_slice));
        let (mut ours, mut theirs) = (list.range(index, 9), model[index..].iter().take(9));
        while let (Some(first), Some(expected)) = (ours.next(), theirs.next()) {
            assert_eq!(first, expected);
            assert_eq!(ours.next_back(), theirs.next_back().map(Vec::as_slice));
        }
        assert_eq!(ours.len(), 0);
    }
}

#[derive(Clone, Debug)]
enum MapOp {
    Insert(u16, u16),
    Remove(u16),
    RemoveSome(u16),
    Keep,
    Reencode,
}

fn map_op() -> impl Strategy<Value = MapOp> {
    prop_oneof![
        8 => (0..5000_u16, any::<u16>()).prop_map(|(member, value)| MapOp::Insert(member, value)),
        4 => (0..5000_u16).prop_map(MapOp::Remove),
        1 => (0..4500_u16).prop_map(MapOp::RemoveSome),
        1 => Just(MapOp::Keep),
        1 => Just(MapOp::Reencode),
    ]
}

fn check_set(set: &Set, model: &BTreeSet<Vec<u8>>) {
    assert_eq!(set.len(), model.len());
    let mut members: Vec<&[u8]> = set.iter().collect();
    let reversed: Vec<&[u8]> = set.iter().rev().collect();
    assert!(members.iter().rev().eq(reversed.iter()));
    for (rank, member) in members.iter().enumerate().step_by(1 + members.len() / 50) {
        assert_eq!(set.nth(rank), Some(*member));
        assert!(set.contains(member));
    }
    assert_eq!(set.nth(members.len()), None);
    members.sort_unstable();
    assert!(members.into_iter().eq(model.iter().map(Vec::as_slice)));
}

fn check_hash(hash: &Hash, model: &BTreeMap<Vec<u8>, Vec<u8>>) {
    assert_eq!(hash.len(), model.len());
    let mut pairs: Vec<(&[u8], &[u8])> = hash.iter().collect();
    for (rank, pair) in pairs.iter().enumerate().step_by(1 + pairs.len() / 50) {
        assert_eq!(hash.nth(rank), Some(*pair));
        assert_eq!(hash.get(pair.0), Some(pair.1));
    }
    pairs.sort_unstable();
    assert!(
        pairs.into_iter().eq(model
            .iter()
            .map(|(field, value)| (field.as_slice(), value.as_slice())))
    );
}

/// Scores with many ties.
fn score_for(number: u16) -> f64 {
    match number % 11 {
        0 => -0.0,
        1 => 0.0,
        2 => f64::INFINITY,
        3 => f64::NEG_INFINITY,
        _ => f64::from(number % 50) / 4.0 - 5.0,
    }
}

fn check_sorted_set(sorted: &SortedSet, model: &BTreeMap<Vec<u8>, f64>) {
    let mut expected: Vec<(&[u8], f64)> = model
        .iter()
        .map(|(member, score)| (member.as_slice(), *score))
        .collect();
    expected.sort_by(|left, right| {
        left.1
            .partial_cmp(&right.1)
            .unwrap()
            .then(left.0.cmp(right.0))
    });
    assert_eq!(sorted.len(), expected.len());
    assert!(sorted.iter().eq(expected.iter().copied()));
    assert!(sorted.iter().rev().eq(expected.iter().rev().copied()));
    for (rank, (member, score)) in expected.iter().enumerate().step_by(1 + expected.len() / 50) {
        assert_eq!(sorted.rank(member), Some(rank));
        assert_eq!(sorted.score(member), Some(*score));
        assert_eq!(sorted.get_by_rank(rank), Some((*member, *score)));
        let window: Vec<_> = sorted.range(rank, 5).rev().collect();
        assert!(
            window
                .into_iter()
                .rev()
                .eq(expected[rank..].iter().take(5).copied())
        );
        for inclusive in [false, true] {
            let below = |other: f64| other < *score || (inclusive && other == *score);
            let count = expected.iter().filter(|(_, other)| below(*other)).count();
            assert_eq!(sorted.count_below_score(*score, inclusive), count);
        }
    }
    assert_eq!(sorted.get_by_rank(expected.len()), None);
    assert_eq!(sorted.count_below_score(f64::NAN, false), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn list_is_a_vec(prefill in prefill(), ops in prop::collection::vec(list_op(), 0..60)) {
        let (mut list, mut model, mut kept) = (List::new(), Vec::new(), Vec::new());
        for number in 0..prefill {
            apply_to_list(&mut list, &mut model, &ListOp::Push(number % 3 == 0, number));
        }
        for op in &ops {
            if matches!(op, ListOp::Keep) {
                kept.push((list.clone(), model.clone()));
            }
            apply_to_list(&mut list, &mut model, op);
        }
        kept.push((list, model));
        for (list, model) in &kept {
            check_list(list, model);
        }
    }

    #[test]
    fn set_is_a_set(prefill in prefill(), ops in prop::collection::vec(map_op(), 0..60)) {
        let (mut set, mut model, mut kept) = (Set::new(), BTreeSet::new(), Vec::new());
        let prefilling = (0..prefill).map(|number| MapOp::Insert(number, 0));
        for op in prefilling.chain(ops) {
            match op {
                MapOp::Insert(member, _) => prop_assert_eq!(set.insert(&bytes_for(member)), model.insert(bytes_for(member))),
                MapOp::Remove(member) => prop_assert_eq!(set.remove(&bytes_for(member)), model.remove(&bytes_for(member))),
                MapOp::RemoveSome(start) => for member in start..start + 500 {
                    prop_assert_eq!(set.remove(&bytes_for(member)), model.remove(&bytes_for(member)));
                },
                MapOp::Keep => kept.push((set.clone(), model.clone())),
                MapOp::Reencode => match reencoded(&set.clone().into()) {
                    Value::Set(decoded) => set = decoded,
                    other => panic!("{other:?}"),
                },
            }
        }
        kept.push((set, model));
        for (set, model) in &kept {
            check_set(set, model);
        }
    }

    #[test]
    fn hash_is_a_map(prefill in prefill(), ops in prop::collection::vec(map_op(), 0..60)) {
        let (mut hash, mut model, mut kept) = (Hash::new(), BTreeMap::new(), Vec::new());
        let prefilling = (0..prefill).map(|number| MapOp::Insert(number, number / 2));
        for op in prefilling.chain(ops) {
            match op {
                MapOp::Insert(field, value) => {
                    let new = model.insert(bytes_for(field), bytes_for(value)).is_none();
                    prop_assert_eq!(hash.insert(&bytes_for(field), &bytes_for(value)), new);
                }
                MapOp::Remove(field) => prop_assert_eq!(hash.remove(&bytes_for(field)), model.remove(&bytes_for(field)).is_some()),
                MapOp::RemoveSome(start) => for field in start..start + 500 {
                    prop_assert_eq!(hash.remove(&bytes_for(field)), model.remove(&bytes_for(field)).is_some());
                },
                MapOp::Keep => kept.push((hash.clone(), model.clone())),
                MapOp::Reencode => match reencoded(&hash.clone().into()) {
                    Value::Hash(decoded) => hash = decoded,
                    other => panic!("{other:?}"),
                },
            }
        }
        kept.push((hash, model));
        for (hash, model) in &kept {
            check_hash(hash, model);
        }
    }

    #[test]
    fn sorted_set_is_an_ordered_map(prefill in prefill(), ops in prop::collection::vec(map_op(), 0..60)) {
        let (mut sorted, mut model, mut kept) = (SortedSet::new(), BTreeMap::new(), Vec::new());
        let prefilling = (0..prefill).map(|number| MapOp::Insert(number, number));
        for op in prefilling.chain(ops) {
            match op {
                MapOp::Insert(member, score) => {
                    let expected = match model.insert(bytes_for(member), score_for(score)) {
                        None => Inserted::Added,
                        Some(old) if old == score_for(score) => Inserted::Unchanged,
                        Some(_) => Inserted::Updated,
                    };
                    prop_assert_eq!(sorted.insert(score_for(score), &bytes_for(member)), expected);
                }
                MapOp::Remove(member) => prop_assert_eq!(sorted.remove(&bytes_for(member)), model.remove(&bytes_for(member)).is_some()),
                MapOp::RemoveSome(start) => for member in start..start + 500 {
                    prop_assert_eq!(sorted.remove(&bytes_for(member)), model.remove(&bytes_for(member)).is_some());
                },
                MapOp::Keep => kept.push((sorted.clone(), model.clone())),
                MapOp::Reencode => match reencoded(&sorted.clone().into()) {
                    Value::SortedSet(decoded) => sorted = decoded,
                    other => panic!("{other:?}"),
                },
            }
        }
        kept.push((sorted, model));
        for (sorted, model) in &kept {
            check_sorted_set(sorted, model);
        }
    }

    #[test]
    fn members_of_one_score_are_counted_by_bytes(
        members in prop::collection::btree_set(prop::collection::vec(0..3_u8, 0..12), 0..600),
        probes in prop::collection::vec(prop::collection::vec(0..3_u8, 0..12), 1..40),
    ) {
        let mut sorted = SortedSet::new();
        for member in members.iter().rev() {
            sorted.insert(1.5, member);
        }
        for probe in &probes {
            prop_assert_eq!(sorted.count_below_member(probe, false), members.range::<Vec<u8>, _>(..probe).count());
            prop_assert_eq!(sorted.count_below_member(probe, true), members.range::<Vec<u8>, _>(..=probe).count());
        }
    }

    #[test]
    fn damaged_encodings_are_refused_or_decode_to_something_whole(
        kind in prop::sample::select(ValueKind::ALL.to_vec()),
        bytes in prop::collection::vec(0..6_u8, 0..40),
    ) {
        if let Ok(value) = Value::decode(kind, &bytes) {
            prop_assert_eq!(reencoded(&value).len(), value.len());
        }
    }
}
