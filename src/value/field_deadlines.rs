//! Deadlines of the fields of a hash.
//!
//! They are a sorted set beside the fields, whose members are the fields and whose scores are the deadlines: that gives look-up by
//! field, order by deadline, and the O(1) clone that every value has. A double holds every deadline exactly (they have 48
//! bits). Cost: what a sorted set takes for each field that has a deadline, about 30 bytes and the field; nothing for a
//! hash without.
//!
//! Nothing here knows what time it is: fields whose deadlines have passed are fields like others until somebody removes them.

use super::SortedSet;
use super::compact::{Compact, Form, FormMut};
use super::hash::{Hash, LargeHash};
use super::hash_table::Duplicate;

/// The deadlines of a hash that has at least one.
#[derive(Clone)]
pub(super) struct FieldDeadlines(SortedSet);

impl FieldDeadlines {
    pub(super) fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }

    /// Takes a field's deadline away, if it has one; and the whole set, if it was the last.
    pub(super) fn forget(deadlines: &mut Option<Self>, field: &[u8]) -> bool {
        let Some(Self(set)) = deadlines else {
            return false;
        };
        let removed = set.remove(field);
        if set.is_empty() {
            *deadlines = None;
        }
        removed
    }
}

impl Hash {
    fn field_deadlines(&self) -> Option<&SortedSet> {
        match self.body.form() {
            Form::Packed(_) => None,
            Form::Large(large) => large.deadlines.as_ref().map(|deadlines| &deadlines.0),
        }
    }

    /// Whether any field has a deadline.
    pub fn has_field_deadlines(&self) -> bool {
        self.field_deadlines().is_some()
    }

    /// The deadline of a field in Unix milliseconds; `None` if it has none, or there is no such field.
    pub fn field_deadline_ms(&self, field: &[u8]) -> Option<u64> {
        Some(self.field_deadlines()?.score(field)? as u64)
    }

    /// The earliest deadline of all fields, in Unix milliseconds.
    pub fn earliest_field_deadline_ms(&self) -> Option<u64> {
        let (_, deadline_ms) = self.field_deadlines()?.get_by_rank(0)?;
        Some(deadline_ms as u64)
    }

    /// The fields whose deadlines are at or before `now_ms`, the earliest first.
    pub fn fields_due(&self, now_ms: u64) -> impl Iterator<Item = &[u8]> {
        self.field_deadlines()
            .into_iter()
            .flat_map(SortedSet::iter)
            .take_while(move |(_, deadline_ms)| *deadline_ms as u64 <= now_ms)
            .map(|(field, _)| field)
    }

    /// Gives a field a deadline (Unix milliseconds, at most 48 bits) or takes it away; `true` if that changes anything.
    pub fn set_field_deadline(&mut self, field: &[u8], deadline_ms: Option<u64>) -> bool {
        if self.field_deadline_ms(field) == deadline_ms || !self.contains(field) {
            return false;
        }
        if let (FormMut::Packed(packed), Some(_)) = (self.body.form_mut(), deadline_ms) {
            self.body = Compact::large(LargeHash::from_packed(packed));
        }
        let FormMut::Large(large) = self.body.form_mut() else {
            return false;
        };
        match deadline_ms {
            Some(deadline_ms) => {
                let deadlines = large
                    .deadlines
                    .get_or_insert_with(|| FieldDeadlines(SortedSet::new()));
                deadlines.0.insert(deadline_ms as f64, field);
                true
            }
            None => FieldDeadlines::forget(&mut large.deadlines, field),
        }
    }

    /// Builds a hash of `count` fields with values and deadlines (0: none) at once; `fields` gives them as often as it is asked.
    pub(super) fn from_fields<'a, I: Iterator<Item = (&'a [u8], &'a [u8], u64)>>(
        count: usize,
        fields: impl Fn() -> I,
    ) -> Result<Self, Duplicate> {
        let mut hash =
            Self::from_pairs(count, || fields().map(|(field, value, _)| (field, value)))?;
        for (field, _, deadline_ms) in fields().filter(|(_, _, deadline_ms)| *deadline_ms != 0) {
            hash.set_field_deadline(field, Some(deadline_ms));
        }
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use storage_format::ValueKind;

    type Model = BTreeMap<u8, (u8, Option<u64>)>;

    fn check(hash: &Hash, model: &Model) {
        assert_eq!(hash.len(), model.len());
        for (field, (value, deadline_ms)) in model {
            assert_eq!(hash.get(&[*field]), Some(&[*value][..]));
            assert_eq!(hash.field_deadline_ms(&[*field]), *deadline_ms);
        }
        let earliest = model
            .values()
            .filter_map(|(_, deadline_ms)| *deadline_ms)
            .min();
        assert_eq!(hash.earliest_field_deadline_ms(), earliest);
        assert_eq!(hash.has_field_deadlines(), earliest.is_some());
        let mut due: Vec<u8> = hash.fields_due(50).map(|field| field[0]).collect();
        due.sort_unstable();
        let is_due = |(_, (_, deadline_ms)): &(&u8, &(u8, Option<u64>))| {
            deadline_ms.is_some_and(|at| at <= 50)
        };
        let expected: Vec<u8> = model
            .iter()
            .filter(is_due)
            .map(|(field, _)| *field)
            .collect();
        assert_eq!(due, expected);
    }

    proptest! {
        /// Steps: 0 sets a field, 1 removes it, 2 gives it a deadline, 3 takes the deadline away. A clone stays what it was.
        #[test]
        fn behaves_like_a_map(steps in prop::collection::vec((0u8..4, 0u8..40, 1u8..100), 0..120)) {
            let (mut hash, mut model) = (Hash::new(), Model::new());
            let mut kept = (hash.clone(), model.clone());
            for (number, (step, field, argument)) in steps.iter().enumerate() {
                let at = u64::from(*argument);
                match step {
                    0 => {
                        let added = hash.insert(&[*field], &[*argument]);
                        prop_assert_eq!(added, model.insert(*field, (*argument, None)).is_none());
                    }
                    1 => prop_assert_eq!(hash.remove(&[*field]), model.remove(field).is_some()),
                    _ => {
                        let wanted = (*step == 2).then_some(at);
                        let changed = match model.get_mut(field) {
                            Some((_, deadline_ms)) => std::mem::replace(deadline_ms, wanted) != wanted,
                            None => false,
                        };
                        prop_assert_eq!(hash.set_field_deadline(&[*field], wanted), changed);
                    }
                }
                check(&hash, &model);
                if number == steps.len() / 2 {
                    kept = (hash.clone(), model.clone());
                }
            }
            check(&kept.0, &kept.1);
            let mut encoded = Vec::new();
            Value::from(hash).encode(&mut encoded);
            let decoded = Value::decode(ValueKind::Hash, &encoded).expect("well formed");
            check(decoded.as_hash().expect("a hash"), &model);
        }
    }

    #[test]
    fn a_hash_without_deadlines_is_encoded_as_before_there_were_any() {
        let mut hash = Hash::new();
        hash.insert(b"f", b"v");
        let (mut before, mut after) = (Vec::new(), Vec::new());
        Value::from(hash.clone()).encode(&mut before);
        hash.set_field_deadline(b"f", Some(7));
        hash.set_field_deadline(b"f", None);
        Value::from(hash).encode(&mut after);
        assert_eq!(before, after);
    }
}
