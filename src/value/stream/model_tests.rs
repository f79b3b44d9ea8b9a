//! Streams against a naive model, under random operations, with clones that must stay what they were.

use std::collections::BTreeMap;

use proptest::prelude::*;
use storage_format::{Items, StreamId, ValueKind};

use super::super::Value;
use super::*;

type Fields = Vec<Vec<u8>>;

#[derive(Clone, Default, PartialEq, Debug)]
struct ModelGroup {
    last_delivered_id: StreamId,
    /// Seen and active times.
    consumers: BTreeMap<Vec<u8>, (u64, Option<u64>)>,
    /// Consumer, time, deliveries.
    pending: BTreeMap<StreamId, (Vec<u8>, u64, u64)>,
}

#[derive(Clone, Default)]
struct Model {
    entries: BTreeMap<StreamId, Fields>,
    last_id: StreamId,
    max_deleted_id: StreamId,
    added: u64,
    groups: BTreeMap<Vec<u8>, ModelGroup>,
}

#[derive(Clone, Debug)]
enum Op {
    Add(u8, bool, u8),
    AddMany(u16),
    Delete(u16),
    Trim(u16),
    CreateGroup(u8),
    DestroyGroup(u8),
    CreateConsumer(u8, u8),
    DeleteConsumer(u8, u8),
    Deliver(u8, u8, u16, bool),
    Acknowledge(u8, u16),
    Claim(u8, u8, u16),
    Keep,
    Reencode,
}

fn op() -> impl Strategy<Value = Op> {
    let small = || 0..3_u8;
    prop_oneof![
        8 => (1..4_u8, any::<bool>(), any::<u8>()).prop_map(|(step, new, shape)| Op::Add(step, new, shape)),
        2 => (0..400_u16).prop_map(Op::AddMany),
        6 => any::<u16>().prop_map(Op::Delete),
        2 => (0..300_u16).prop_map(Op::Trim),
        2 => small().prop_map(Op::CreateGroup),
        1 => small().prop_map(Op::DestroyGroup),
        3 => (small(), small()).prop_map(|(group, consumer)| Op::CreateConsumer(group, consumer)),
        1 => (small(), small()).prop_map(|(group, consumer)| Op::DeleteConsumer(group, consumer)),
        5 => (small(), small(), 1..200_u16, any::<bool>())
            .prop_map(|(group, consumer, count, pending)| Op::Deliver(group, consumer, count, pending)),
        4 => (small(), any::<u16>()).prop_map(|(group, choice)| Op::Acknowledge(group, choice)),
        4 => (small(), small(), any::<u16>())
            .prop_map(|(group, consumer, choice)| Op::Claim(group, consumer, choice)),
        1 => Just(Op::Keep),
        1 => Just(Op::Reencode),
    ]
}

/// Fields of an entry: mostly the same names, some others, some long values.
fn fields(shape: u8) -> Fields {
    let value = shape.to_string().into_bytes();
    match shape % 9 {
        0 => vec![b"other".to_vec(), value],
        1 => vec![b"f".to_vec(), value.repeat(700), b"g".to_vec(), Vec::new()],
        _ => vec![b"f".to_vec(), value.clone(), b"g".to_vec(), value],
    }
}

fn name(number: u8) -> Vec<u8> {
    format!("name-{number}").into_bytes()
}

fn nth_id(model: &Model, choice: u16) -> StreamId {
    let index = usize::from(choice) % (model.entries.len() + 1);
    let id = model.entries.keys().nth(index).copied();
    id.unwrap_or(StreamId::new(u64::from(choice), 7))
}

fn add(stream: &mut Stream, model: &mut Model, step: u8, starts_chunk: bool, shape: u8) {
    let id = StreamId::new(model.last_id.time_ms + u64::from(step % 3), 0).max(StreamId::new(
        model.last_id.time_ms,
        model.last_id.sequence + u64::from(step),
    ));
    let entry = fields(shape);
    let pairs: Vec<&[u8]> = entry.iter().map(Vec::as_slice).collect();
    assert!(stream.add(id, starts_chunk, Items::from(&pairs[..])));
    assert!(!stream.add(id, starts_chunk, Items::from(&pairs[..])));
    model.entries.insert(id, entry);
    model.last_id = id;
    model.added += 1;
}

fn deliver(model: &mut Model, group: u8, consumer: u8, now_ms: u64, count: u16, pending: bool) {
    let Some(group) = model.groups.get_mut(&name(group)) else {
        return;
    };
    let ids: Vec<StreamId> = (model.entries.keys().copied())
        .filter(|id| *id > group.last_delivered_id)
        .take(count.into())
        .collect();
    group.last_delivered_id = ids.last().copied().unwrap_or(group.last_delivered_id);
    if let Some(times) = group.consumers.get_mut(&name(consumer)) {
        times.0 = now_ms;
        if pending && !ids.is_empty() {
            times.1 = Some(now_ms);
        }
        for id in ids.into_iter().filter(|_| pending) {
            group.pending.insert(id, (name(consumer), now_ms, 1));
        }
    }
}

fn apply(stream: &mut Stream, model: &mut Model, op: &Op, now_ms: u64) {
    match *op {
        Op::Add(step, starts_chunk, shape) => add(stream, model, step, starts_chunk, shape),
        Op::AddMany(count) => (0..count)
            .for_each(|number| add(stream, model, 1, number % 20 == 0, (number % 256) as u8)),
        Op::Delete(choice) => {
            let id = nth_id(model, choice);
            let was_there = model.entries.remove(&id).is_some();
            assert_eq!(stream.delete(id), was_there);
            if was_there {
                model.max_deleted_id = model.max_deleted_id.max(id);
            }
        }
        Op::Trim(count) => {
            let gone = (0..count)
                .filter(|_| model.entries.pop_first().is_some())
                .count();
            assert_eq!(stream.trim(count.into()), gone as u64);
        }
        Op::CreateGroup(group) => {
            let start = nth_id(model, u16::from(group) * 5);
            let is_new = !model.groups.contains_key(&name(group));
            assert_eq!(stream.create_group(&name(group), start, None), is_new);
            let created = model.groups.entry(name(group)).or_default();
            if is_new {
                created.last_delivered_id = start;
            }
        }
        Op::DestroyGroup(group) => {
            let was_there = model.groups.remove(&name(group)).is_some();
            assert_eq!(stream.destroy_group(&name(group)), was_there);
        }
        Op::Deliver(group, consumer, count, pending) => {
            stream.deliver(&name(group), &name(consumer), now_ms, count.into(), pending);
            deliver(model, group, consumer, now_ms, count, pending);
        }
        Op::Reencode => {
            let value = Value::from(stream.clone());
            let mut encoded = Vec::new();
            value.encode(&mut encoded);
            let decoded = Value::decode(ValueKind::Stream, &encoded).expect("own encoding");
            let mut again = Vec::new();
            decoded.encode(&mut again);
            assert_eq!(encoded, again, "chunks and all are kept");
            assert_eq!(decoded.memory_bytes(), value.memory_bytes());
            *stream = decoded.as_stream().expect("a stream").clone();
        }
        Op::Keep => {}
        _ => apply_to_group(stream, model, op, now_ms),
    }
}

fn apply_to_group(stream: &mut Stream, model: &mut Model, op: &Op, now_ms: u64) {
    let (Op::CreateConsumer(group, _)
    | Op::DeleteConsumer(group, _)
    | Op::Acknowledge(group, _)
    | Op::Claim(group, ..)) = *op
    else {
        return;
    };
    let id = match *op {
        Op::Acknowledge(_, choice) | Op::Claim(_, _, choice) => nth_id(model, choice),
        _ => StreamId::MIN,
    };
    let Some(known) = model.groups.get_mut(&name(group)) else {
        return;
    };
    let changed = stream.change_group(&name(group), |changing| match *op {
        Op::CreateConsumer(_, consumer) => {
            let is_new = !known.consumers.contains_key(&name(consumer));
            known
                .consumers
                .entry(name(consumer))
                .or_insert((now_ms, None));
            changing.create_consumer(&name(consumer), now_ms) == is_new
        }
        Op::DeleteConsumer(_, consumer) => {
            let was_there = known.consumers.remove(&name(consumer)).is_some();
            known
                .pending
                .retain(|_, (owner, ..)| *owner != name(consumer));
            changing.delete_consumer(&name(consumer)) == was_there
        }
        Op::Acknowledge(..) => changing.acknowledge(id) == known.pending.remove(&id).is_some(),
        Op::Claim(_, consumer, choice) => {
            let is_known = known.consumers.contains_key(&name(consumer));
            if is_known {
                (known.pending).insert(id, (name(consumer), now_ms, choice.into()));
            }
            changing.give(id, &name(consumer), now_ms, choice.into()) == is_known
        }
        _ => true,
    });
    assert_eq!(changed, Some(true), "{op:?}");
}

fn check(stream: &Stream, model: &Model) {
    let shown = |entry: StreamEntry<'_>| {
        let fields = entry
            .fields()
            .flat_map(|(field, value)| [field.to_vec(), value.to_vec()]);
        (entry.id, fields.collect::<Fields>())
    };
    assert_eq!(stream.len(), model.entries.len());
    assert_eq!(stream.last_id(), model.last_id);
    assert_eq!(stream.max_deleted_id(), model.max_deleted_id);
    assert_eq!(stream.entries_added(), model.added);
    assert_eq!(stream.top_id(), model.entries.keys().next_back().copied());
    let first = model.entries.keys().next().copied();
    assert_eq!(stream.first_id(), first.unwrap_or_default());
    assert_eq!(stream.chunk_count(), stream.chunks().count());
    let all = || {
        model
            .entries
            .iter()
            .map(|(id, fields)| (*id, fields.clone()))
    };
    assert!(
        stream
            .range(StreamId::MIN, StreamId::MAX)
            .map(shown)
            .eq(all())
    );
    assert!(
        stream
            .reverse(StreamId::MIN, StreamId::MAX)
            .map(shown)
            .eq(all().rev())
    );
    for choice in (0..model.entries.len() + 1).step_by(1 + model.entries.len() / 20) {
        let (start, end) = (
            nth_id(model, choice as u16),
            nth_id(model, choice as u16 + 33),
        );
        let between = || (model.entries.keys().copied()).filter(|id| (start..=end).contains(id));
        assert!(stream.range(start, end).map(|entry| entry.id).eq(between()));
        assert!(
            stream
                .reverse(start, end)
                .map(|entry| entry.id)
                .eq(between().rev())
        );
        assert_eq!(
            stream.count_below(start),
            model.entries.range(..start).count()
        );
        assert_eq!(
            stream.get(start).is_some(),
            model.entries.contains_key(&start)
        );
    }
    let groups: BTreeMap<Vec<u8>, ModelGroup> = (stream.groups())
        .map(|(name, group)| (name.to_vec(), seen_group(group)))
        .collect();
    assert_eq!(groups, model.groups);
}

/// A group as the model has it; checks that the two lists of pending entries agree.
fn seen_group(group: &Group) -> ModelGroup {
    let mut seen = ModelGroup {
        last_delivered_id: group.last_delivered_id,
        ..ModelGroup::default()
    };
    for (id, pending) in group.pending_from(StreamId::MIN) {
        let known = (
            pending.consumer().to_vec(),
            pending.delivered_ms,
            pending.deliveries,
        );
        seen.pending.insert(id, known);
    }
    for (name, consumer) in group.consumers() {
        let own = seen
            .pending
            .iter()
            .filter(|(_, (owner, ..))| owner == name)
            .map(|(id, _)| *id);
        assert!(consumer.pending_ids(StreamId::MIN).eq(own));
        (seen.consumers).insert(name.to_vec(), (consumer.seen_ms, consumer.active_ms));
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn stream_is_an_ordered_map_with_groups(ops in prop::collection::vec(op(), 0..80)) {
        let (mut stream, mut model, mut kept) = (Stream::new(), Model::default(), Vec::new());
        for (op, now_ms) in ops.iter().zip(1000..) {
            apply(&mut stream, &mut model, op, now_ms);
            if matches!(op, Op::Keep) {
                kept.push((stream.clone(), model.clone()));
            }
        }
        kept.push((stream, model));
        for (stream, model) in &kept {
            check(stream, model);
        }
    }
}

#[test]
fn a_change_to_a_clone_copies_one_chunk() {
    let mut stream = Stream::new();
    for number in 1..=20_000_u64 {
        let pairs: [&[u8]; 2] = [b"field", b"value"];
        stream.add(
            StreamId::new(number, 0),
            number % 100 == 0,
            Items::from(&pairs),
        );
    }
    let before = stream.clone();
    stream.delete(StreamId::new(5000, 0));
    let (old, new) = (
        before.0.entries.chunk_addresses(),
        stream.0.entries.chunk_addresses(),
    );
    let copied = old.iter().filter(|chunk| !new.contains(chunk)).count();
    assert_eq!((old.len(), copied), (201, 1));
    assert_eq!((before.len(), stream.len()), (20_000, 19_999));
}

#[test]
fn small_entries_cost_little_more_than_their_values() {
    let mut stream = Stream::new();
    let pairs: [&[u8]; 4] = [b"temperature", b"20.5", b"humidity", b"61.0"];
    for number in 0..10_000_u64 {
        let id = StreamId::new(1_700_000_000_000 + number * 7, 0);
        stream.add(id, number % 100 == 0, Items::from(&pairs));
    }
    let overhead = stream.memory_bytes() / 10_000 - 8;
    assert!(overhead <= 12, "{overhead} bytes for each entry");
}
