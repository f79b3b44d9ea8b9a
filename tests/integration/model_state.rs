//! A plain in-memory model of the data types: what every reply has to be, tiers or no tiers, restart or no restart.
//!
//! It is slow and obvious on purpose. Scores are whole numbers here, deadlines lie so far ahead that nothing expires.

use crate::wire::Reply;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Databases that the model knows.
pub const DATABASES: usize = 2;

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "ERR value is not an integer or out of range";
const OVERFLOW: &str = "ERR increment or decrement would overflow";
const NO_SUCH_KEY: &str = "ERR no such key";

type Bytes = Vec<u8>;

/// A value of one of the types.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(Bytes),
    List(VecDeque<Bytes>),
    Set(BTreeSet<Bytes>),
    Hash(BTreeMap<Bytes, Bytes>),
    SortedSet(BTreeMap<Bytes, i64>),
}

impl Value {
    /// As TYPE says.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Text(_) => "string",
            Value::List(_) => "list",
            Value::Set(_) => "set",
            Value::Hash(_) => "hash",
            Value::SortedSet(_) => "zset",
        }
    }

    fn is_empty_collection(&self) -> bool {
        match self {
            Value::Text(_) => false,
            Value::List(items) => items.is_empty(),
            Value::Set(members) => members.is_empty(),
            Value::Hash(fields) => fields.is_empty(),
            Value::SortedSet(members) => members.is_empty(),
        }
    }
}

/// A key's value and deadline.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub value: Value,
    pub deadline_ms: Option<i64>,
}

/// All databases, and the one that the client has selected.
#[derive(Clone, Debug, Default)]
pub struct Model {
    databases: [BTreeMap<Bytes, Entry>; DATABASES],
    selected: usize,
}

/// A reply, or the text of an error.
type Outcome = Result<Reply, &'static str>;

fn integer(number: impl TryInto<i64>) -> Outcome {
    number.try_into().map(Reply::Integer).map_err(|_| OVERFLOW)
}

fn number(text: &[u8]) -> Result<i64, &'static str> {
    let parsed = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse::<i64>().ok());
    // Only the one way to write it counts: no plus sign, no leading zeros.
    parsed
        .filter(|number| number.to_string().as_bytes() == text)
        .ok_or(NOT_INTEGER)
}

fn bulk_or_null(value: Option<&Bytes>) -> Outcome {
    Ok(value.map_or(Reply::Null, Reply::bulk))
}

/// The part of a sequence of `length` that start and stop mean, both inclusive and negative from the end.
fn range(start: i64, stop: i64, length: usize) -> std::ops::Range<usize> {
    let place = |index: i64| {
        if index < 0 {
            (index + length as i64).max(-1)
        } else {
            index
        }
    };
    let (start, stop) = (place(start).max(0), place(stop).min(length as i64 - 1));
    if start > stop {
        0..0
    } else {
        start as usize..stop as usize + 1
    }
}

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
    /// The database that the client has selected.
    pub fn selected(&self) -> usize {
        self.selected
    }

    /// The keys of a database.
    pub fn keys(&self, database: usize) -> &BTreeMap<Bytes, Entry> {
        &self.databases[database]
    }

    /// Runs a command.
    pub fn run(&mut self, arguments: &[Bytes]) -> Reply {
        let name = String::from_utf8_lossy(&arguments[0]).to_uppercase();
        let rest: Vec<&[u8]> = arguments[1..].iter().map(Vec::as_slice).collect();
        let outcome = match name.as_str() {
            "SELECT" | "MOVE" | "SWAPDB" | "FLUSHDB" | "FLUSHALL" | "DBSIZE" => {
                self.databases_command(&name, &rest)
            }
            "DEL" | "EXISTS" | "TYPE" | "RENAME" | "RENAMENX" | "COPY" | "PEXPIREAT"
            | "PERSIST" | "PEXPIRETIME" => self.key_command(&name, &rest),
            _ => match name.as_bytes()[0] {
                b'H' => self.hash_command(&name, &rest),
                b'Z' => self.sorted_set_command(&name, &rest),
                b'L' | b'R' => self.list_command(&name, &rest),
                b'S' if name[1..].starts_with(['A', 'R', 'M', 'I', 'C', 'U', 'D']) => {
                    self.set_command(&name, &rest)
                }
                _ => self.text_command(&name, &rest),
            },
        };
        self.databases
            .iter_mut()
            .for_each(|keys| keys.retain(|_, entry| !entry.value.is_empty_collection()));
        outcome.unwrap_or_else(|text| Reply::Error(text.to_owned()))
    }

    fn here(&mut self) -> &mut BTreeMap<Bytes, Entry> {
        &mut self.databases[self.selected]
    }

    fn put(&mut self, key: &[u8], value: Value) {
        self.here().insert(
            key.to_vec(),
            Entry {
                value,
                deadline_ms: None,
            },
        );
    }

    /// The value of a type, which is made if there is no such key. Left empty, it goes when the command is over.
    fn open<T>(
        &mut self,
        key: &[u8],
        new: fn() -> Value,
        pick: fn(&mut Value) -> Option<&mut T>,
    ) -> Result<&mut T, &'static str> {
        let entry = self.here().entry(key.to_vec()).or_insert_with(|| Entry {
            value: new(),
            deadline_ms: None,
        });
        pick(&mut entry.value).ok_or(WRONG_TYPE)
    }

    fn list(&mut self, key: &[u8]) -> Result<&mut VecDeque<Bytes>, &'static str> {
        self.open(
            key,
            || Value::List(VecDeque::new()),
            |value| match value {
                Value::List(items) => Some(items),
                _ => None,
            },
        )
    }

    fn set(&mut self, key: &[u8]) -> Result<&mut BTreeSet<Bytes>, &'static str> {
        self.open(
            key,
            || Value::Set(BTreeSet::new()),
            |value| match value {
                Value::Set(members) => Some(members),
                _ => None,
            },
        )
    }

    fn hash(&mut self, key: &[u8]) -> Result<&mut BTreeMap<Bytes, Bytes>, &'static str> {
        self.open(
            key,
            || Value::Hash(BTreeMap::new()),
            |value| match value {
                Value::Hash(fields) => Some(fields),
                _ => None,
            },
        )
    }

    fn sorted_set(&mut self, key: &[u8]) -> Result<&mut BTreeMap<Bytes, i64>, &'static str> {
        self.open(
            key,
            || Value::SortedSet(BTreeMap::new()),
            |value| match value {
                Value::SortedSet(members) => Some(members),
                _ => None,
            },
        )
    }

    fn text(&mut self, key: &[u8]) -> Result<Option<&mut Bytes>, &'static str> {
        match self.here().get_mut(key).map(|entry| &mut entry.value) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    fn databases_command(&mut self, name: &str, rest: &[&[u8]]) -> Outcome {
        match name {
            "SELECT" => self.selected = number(rest[0])? as usize,
            "FLUSHDB" => self.here().clear(),
            "FLUSHALL" => self.databases = Default::default(),
            "SWAPDB" => self
                .databases
                .swap(number(rest[0])? as usize, number(rest[1])? as usize),
            "DBSIZE" => return integer(self.here().len()),
            _ => {
                let target = number(rest[1])? as usize;
                if target == self.selected {
                    return Err("ERR source and destination objects are the same");
                }
                if self.databases[target].contains_key(rest[0]) {
                    return integer(0);
                }
                let moved = self.here().remove(rest[0]);
                let count = usize::from(moved.is_some());
                self.databases[target].extend(moved.map(|entry| (rest[0].to_vec(), entry)));
                return integer(count);
            }
        }
        Ok(Reply::ok())
    }

    fn key_command(&mut self, name: &str, rest: &[&[u8]]) -> Outcome {
        let keys = self.here();
        match name {
            "DEL" => integer(
                rest.iter()
                    .filter(|key| keys.remove(**key).is_some())
                    .count(),
            ),
            "EXISTS" => integer(rest.iter().filter(|key| keys.contains_key(**key)).count()),
            "TYPE" => {
                let name = keys
                    .get(rest[0])
                    .map_or("none", |entry| entry.value.type_name());
                Ok(Reply::Simple(name.to_owned()))
            }
            "RENAME" | "RENAMENX" => {
                if !keys.contains_key(rest[0]) {
                    return Err(NO_SUCH_KEY);
                }
                if name == "RENAMENX" && keys.contains_key(rest[1]) {
                    return integer(0);
                }
                let moved = keys.remove(rest[0]).map(|entry| (rest[1].to_vec(), entry));
                keys.extend(moved);
                if name == "RENAME" {
                    Ok(Reply::ok())
                } else {
                    integer(1)
                }
            }
            "COPY" => self.copy(rest),
            "PERSIST" => {
                let former = keys
                    .get_mut(rest[0])
                    .and_then(|entry| entry.deadline_ms.take());
                integer(i64::from(former.is_some()))
            }
            "PEXPIREAT" => {
                let deadline_ms = number(rest[1])?;
                let entry = keys.get_mut(rest[0]);
                let found = entry.map(|entry| entry.deadline_ms = Some(deadline_ms));
                integer(i64::from(found.is_some()))
            }
            _ => integer(
                keys.get(rest[0])
                    .map_or(-2, |entry| entry.deadline_ms.unwrap_or(-1)),
            ),
        }
    }

    /// COPY source destination DB n [REPLACE]
    fn copy(&mut self, rest: &[&[u8]]) -> Outcome {
        let target = number(rest[3])? as usize;
        if target == self.selected && rest[0] == rest[1] {
            return Err("ERR source and destination objects are the same");
        }
        let Some(entry) = self.here().get(rest[0]).cloned() else {
            return integer(0);
        };
        if self.databases[target].contains_key(rest[1]) && rest.len() < 5 {
            return integer(0);
        }
        self.databases[target].insert(rest[1].to_vec(), entry);
        integer(1)
    }

    fn text_command(&mut self, name: &str, rest: &[&[u8]]) -> Outcome {
        let key = rest[0];
        match name {
            "SET" => self.set_text(rest),
            "SETNX" if self.here().contains_key(key) => integer(0),
            "SETNX" => {
                self.put(key, Value::Text(rest[1].to_vec()));
                integer(1)
            }
            "MSET" => {
                rest.chunks(2)
                    .for_each(|pair| self.put(pair[0], Value::Text(pair[1].to_vec())));
                Ok(Reply::ok())
            }
            "MGET" => {
                let found = rest.iter().map(|key| {
                    self.text(key)
                        .ok()
                        .flatten()
                        .map_or(Reply::Null, Reply::bulk)
                });
                Ok(Reply::Array(found.collect()))
            }
            "GET" => bulk_or_null(self.text(key)?.as_deref()),
            "GETDEL" => {
                let former = self.text(key)?.cloned();
                self.here().remove(key);
                bulk_or_null(former.as_ref())
            }
            "GETEX" => {
                let former = self.text(key)?.cloned();
                let deadline_ms = rest.get(2).map(|text| number(text)).transpose()?;
                if let Some(entry) = self.here().get_mut(key) {
                    entry.deadline_ms = deadline_ms;
                }
                bulk_or_null(former.as_ref())
            }
            "STRLEN" => integer(self.text(key)?.map_or(0, |text| text.len())),
            "APPEND" => match self.text(key)? {
                Some(text) => {
                    text.extend_from_slice(rest[1]);
                    integer(text.len())
                }
                None => {
                    self.put(key, Value::Text(rest[1].to_vec()));
                    integer(rest[1].len())
                }
            },
            "SETRANGE" => self.set_range(key, number(rest[1])? as usize, rest[2]),
            "GETRANGE" => {
                let text = self.text(key)?.map(|text| text.clone()).unwrap_or_default();
                // As with Redis, an end before the first byte means the first byte.
                let stop = number(rest[2])?.max(-(text.len() as i64));
                Ok(Reply::bulk(
                    &text[range(number(rest[1])?, stop, text.len())],
                ))
            }
            _ => {
                let former = self.text(key)?.map_or(Ok(0), |text| number(text))?;
                let sum = former.checked_add(number(rest[1])?).ok_or(OVERFLOW)?;
                let digits = sum.to_string().into_bytes();
                match self.text(key)? {
                    Some(text) => *text = digits,
                    None => self.put(key, Value::Text(digits)),
                }
                integer(sum)
            }
        }
    }

    /// SET key value [NX | XX | GET | KEEPTTL]
    fn set_text(&mut self, rest: &[&[u8]]) -> Outcome {
        let option = rest.get(2).copied().unwrap_or_default();
        let exists = self.here().contains_key(rest[0]);
        if option == b"NX" && exists || option == b"XX" && !exists {
            return Ok(Reply::Null);
        }
        let former = if option == b"GET" {
            Some(self.text(rest[0])?.cloned())
        } else {
            None
        };
        let deadline_ms = self
            .here()
            .get(rest[0])
            .and_then(|entry| entry.deadline_ms)
            .filter(|_| option == b"KEEPTTL");
        self.here().insert(
            rest[0].to_vec(),
            Entry {
                value: Value::Text(rest[1].to_vec()),
                deadline_ms,
            },
        );
        former.map_or(Ok(Reply::ok()), |former| bulk_or_null(former.as_ref()))
    }

    fn set_range(&mut self, key: &[u8], offset: usize, bytes: &[u8]) -> Outcome {
        let length = self.text(key)?.map_or(0, |text| text.len());
        if bytes.is_empty() {
            return integer(length);
        }
        if !self.here().contains_key(key) {
            self.put(key, Value::Text(Vec::new()));
        }
        let Some(text) = self.text(key)? else {
            return Err(NO_SUCH_KEY);
        };
        text.resize(length.max(offset + bytes.len()), 0);
        text[offset..offset + bytes.len()].copy_from_slice(bytes);
        integer(text.len())
    }

    fn hash_command(&mut self, name: &str, rest: &[&[u8]]) -> Outcome {
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

    fn set_command(&mut self, name: &str, rest: &[&[u8]]) -> Outcome {
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

    fn list_command(&mut self, name: &str, rest: &[&[u8]]) -> Outcome {
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

    fn sorted_set_command(&mut self, name: &str, rest: &[&[u8]]) -> Outcome {
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
