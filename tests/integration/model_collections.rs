//! The model's collections: what commands on hashes, sets, lists and sorted sets do and reply.

use crate::model_state::{
    Bytes, Model, NO_SUCH_KEY, OVERFLOW, Outcome, Value, bulk_or_null, integer, number, range,
};
use crate::wire::Reply;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

fn in_order(members: &BTreeMap<Bytes, i64>) -> Vec<(i64, &Bytes)> {
    let mut ordered: Vec<_> = members
        .iter()
        .map(|(member, score)| (*score, member))
        .collect();
    ordered.sort();
    ordered
}

fn scored<'a>(pairs: impl IntoIterator<Item = (i64, &'a Bytes)>) -> Outcome {
    let flat = pairs
        .into_iter()
        .flat_map(|(score, member)| [member.clone(), score.to_string().into_bytes()]);
    Ok(Reply::bulks(flat))
}

impl Model {
    pub(super) fn hash_command(&mut self, name: &str, rest: &[&[u8]]) -> Outcome {
        let fields = self.hash(rest[0])?;
        match name {
            "HSET" => {
                let put =
                    |pair: &&[&[u8]]| fields.insert(pair[0].to_vec(), pair[1].to_vec()).is_none();
                integer(rest[1..].chunks(2).filter(put).count())
            }
            "HGET" => bulk_or_null(fields.get(rest[1])),
            "HDEL" => integer(
                rest[1..]
                    .iter()
                    .filter(|field| fields.remove(**field).is_some())
                    .count(),
            ),
            "HLEN" => integer(fields.len()),
            "HGETALL" => Ok(Reply::bulks(
                fields.iter().flat_map(|(field, value)| [field, value]),
            )),
            _ => {
                let increment = number(rest[2])?;
                let former = fields.get(rest[1]).map_or(Ok(0), |value| number(value));
                let sum = former
                    .map_err(|_| "ERR hash value is not an integer")?
                    .checked_add(increment)
                    .ok_or(OVERFLOW)?;
                fields.insert(rest[1].to_vec(), sum.to_string().into_bytes());
                integer(sum)
            }
        }
    }

    pub(super) fn set_command(&mut self, name: &str, rest: &[&[u8]]) -> Outcome {
        if name.ends_with("STORE") {
            return self.store_set(name, rest);
        }
        let members = self.set(rest[0])?;
        match name {
            "SADD" => integer(
                rest[1..]
                    .iter()
                    .filter(|member| members.insert(member.to_vec()))
                    .count(),
            ),
            "SREM" => integer(
                rest[1..]
                    .iter()
                    .filter(|member| members.remove(**member))
                    .count(),
            ),
            "SCARD" => integer(members.len()),
            "SMEMBERS" => Ok(Reply::bulks(&*members)),
            "SISMEMBER" => integer(i64::from(members.contains(rest[1]))),
            // SMOVE source destination member
            _ => {
                let is_member = members.contains(rest[2]);
                if !is_member && members.is_empty() {
                    return integer(0);
                }
                self.set(rest[1])?;
                if is_member && rest[0] != rest[1] {
                    self.set(rest[0])?.remove(rest[2]);
                    self.set(rest[1])?.insert(rest[2].to_vec());
                }
                integer(i64::from(is_member))
            }
        }
    }

    fn store_set(&mut self, name: &str, rest: &[&[u8]]) -> Outcome {
        let (first, second) = (self.set(rest[1])?.clone(), self.set(rest[2])?.clone());
        let result: BTreeSet<Bytes> = match name {
            "SINTERSTORE" => first.intersection(&second).cloned().collect(),
            "SUNIONSTORE" => first.union(&second).cloned().collect(),
            _ => first.difference(&second).cloned().collect(),
        };
        let count = result.len();
        self.put(rest[0], Value::Set(result));
        integer(count)
    }

    pub(super) fn list_command(&mut self, name: &str, rest: &[&[u8]]) -> Outcome {
        if name == "LMOVE" {
            return self.move_item(rest);
        }
        let items = self.list(rest[0])?;
        match name {
            "LPUSH" | "RPUSH" | "LPUSHX" | "RPUSHX" => {
                if name.ends_with('X') && items.is_empty() {
                    return integer(0);
                }
                for item in &rest[1..] {
                    if name.starts_with('L') {
                        items.push_front(item.to_vec())
                    } else {
                        items.push_back(item.to_vec())
                    }
                }
                integer(items.len())
            }
            "LPOP" | "RPOP" => {
                let end = if name == "LPOP" {
                    b"LEFT".as_slice()
                } else {
                    b"RIGHT"
                };
                let Some(count) = rest.get(1) else {
                    return bulk_or_null(take(items, end).as_ref());
                };
                if items.is_empty() {
                    return Ok(Reply::NullArray);
                }
                let count = number(count)? as usize;
                Ok(Reply::bulks(
                    (0..count)
                        .map_while(|_| take(items, end))
                        .collect::<Vec<_>>(),
                ))
            }
            "LLEN" => integer(items.len()),
            "LRANGE" => {
                let range = range(number(rest[1])?, number(rest[2])?, items.len());
                Ok(Reply::bulks(items.range(range)))
            }
            "LTRIM" => {
                let range = range(number(rest[1])?, number(rest[2])?, items.len());
                *items = items.range(range).cloned().collect();
                Ok(Reply::ok())
            }
            _ => change_item(items, name, rest),
        }
    }

    /// LMOVE source destination LEFT|RIGHT LEFT|RIGHT
    fn move_item(&mut self, rest: &[&[u8]]) -> Outcome {
        if self.list(rest[0])?.is_empty() {
            return Ok(Reply::Null);
        }
        self.list(rest[1])?;
        let Some(item) = take(self.list(rest[0])?, rest[2]) else {
            return Ok(Reply::Null);
        };
        let destination = self.list(rest[1])?;
        if rest[3] == b"LEFT" {
            destination.push_front(item.clone())
        } else {
            destination.push_back(item.clone())
        }
        Ok(Reply::Bulk(item))
    }

    pub(super) fn sorted_set_command(&mut self, name: &str, rest: &[&[u8]]) -> Outcome {
        let members = self.sorted_set(rest[0])?;
        match name {
            "ZADD" => {
                let mut added = 0;
                for pair in rest[1..].chunks(2) {
                    added +=
                        usize::from(members.insert(pair[1].to_vec(), number(pair[0])?).is_none());
                }
                integer(added)
            }
            "ZINCRBY" => {
                let score = members.entry(rest[2].to_vec()).or_default();
                *score += number(rest[1])?;
                Ok(Reply::bulk(score.to_string()))
            }
            "ZREM" => integer(
                rest[1..]
                    .iter()
                    .filter(|member| members.remove(**member).is_some())
                    .count(),
            ),
            "ZCARD" => integer(members.len()),
            "ZSCORE" => Ok(members
                .get(rest[1])
                .map_or(Reply::Null, |score| Reply::bulk(score.to_string()))),
            "ZRANK" => {
                let rank = in_order(members)
                    .iter()
                    .position(|(_, member)| *member == rest[1]);
                rank.map_or(Ok(Reply::Null), integer)
            }
            "ZCOUNT" => {
                let bounds = number(rest[1])?..=number(rest[2])?;
                integer(
                    members
                        .values()
                        .filter(|score| bounds.contains(score))
                        .count(),
                )
            }
            "ZRANGE" => {
                let range = range(number(rest[1])?, number(rest[2])?, members.len());
                scored(in_order(members)[range].iter().copied())
            }
            "ZREMRANGEBYRANK" => {
                let range = range(number(rest[1])?, number(rest[2])?, members.len());
                let gone: Vec<Bytes> = in_order(members)[range]
                    .iter()
                    .map(|(_, member)| (*member).clone())
                    .collect();
                members.retain(|member, _| !gone.contains(member));
                integer(gone.len())
            }
            // ZPOPMIN or ZPOPMAX with a count
            _ => {
                let mut ordered = in_order(members);
                if name == "ZPOPMAX" {
                    ordered.reverse();
                }
                ordered.truncate(number(rest[1])? as usize);
                let popped: Vec<(i64, Bytes)> = ordered
                    .into_iter()
                    .map(|(score, member)| (score, member.clone()))
                    .collect();
                members.retain(|member, _| !popped.iter().any(|(_, gone)| gone == member));
                scored(popped.iter().map(|(score, member)| (*score, member)))
            }
        }
    }
}

fn take(items: &mut VecDeque<Bytes>, end: &[u8]) -> Option<Bytes> {
    if end == b"LEFT" {
        items.pop_front()
    } else {
        items.pop_back()
    }
}

/// LSET, LINSERT, LREM, LINDEX.
fn change_item(items: &mut VecDeque<Bytes>, name: &str, rest: &[&[u8]]) -> Outcome {
    let place = |text: &[u8], length: usize| -> Result<Option<usize>, &'static str> {
        let index = number(text)?;
        let index = if index < 0 {
            index + length as i64
        } else {
            index
        };
        Ok(usize::try_from(index).ok().filter(|index| *index < length))
    };
    match name {
        "LINDEX" => bulk_or_null(place(rest[1], items.len())?.and_then(|index| items.get(index))),
        "LSET" if items.is_empty() => Err(NO_SUCH_KEY),
        "LSET" => {
            let index = place(rest[1], items.len())?.ok_or("ERR index out of range")?;
            items[index] = rest[2].to_vec();
            Ok(Reply::ok())
        }
        // LINSERT key BEFORE|AFTER pivot item
        "LINSERT" if items.is_empty() => integer(0),
        "LINSERT" => {
            let Some(index) = items.iter().position(|item| item == rest[2]) else {
                return integer(-1);
            };
            items.insert(index + usize::from(rest[1] == b"AFTER"), rest[3].to_vec());
            integer(items.len())
        }
        // LREM key count item
        _ => {
            let count = number(rest[1])?;
            let mut places: Vec<usize> = (0..items.len())
                .filter(|index| items[*index] == rest[2])
                .collect();
            if count < 0 {
                places.reverse();
            }
            if count != 0 {
                places.truncate(count.unsigned_abs() as usize);
            }
            places.sort_unstable();
            for index in places.iter().rev() {
                items.remove(*index);
            }
            integer(places.len())
        }
    }
}
