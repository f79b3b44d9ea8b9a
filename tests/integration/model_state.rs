//! A plain in-memory model of the data types: what every reply has to be, tiers or no tiers, restart or no restart.
//!
//! It is slow and obvious on purpose. Scores are whole numbers here, deadlines lie so far ahead that nothing expires.

use crate::wire::Reply;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Databases that the model knows.
pub const DATABASES: usize = 2;

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_INTEGER: &str = "ERR value is not an integer or out of range";
pub(super) const OVERFLOW: &str = "ERR increment or decrement would overflow";
pub(super) const NO_SUCH_KEY: &str = "ERR no such key";

pub(super) type Bytes = Vec<u8>;

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
pub(super) type Outcome = Result<Reply, &'static str>;

pub(super) fn integer(number: impl TryInto<i64>) -> Outcome {
    number.try_into().map(Reply::Integer).map_err(|_| OVERFLOW)
}

pub(super) fn number(text: &[u8]) -> Result<i64, &'static str> {
    let parsed = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse::<i64>().ok());
    // Only the one way to write it counts: no plus sign, no leading zeros.
    parsed
        .filter(|number| number.to_string().as_bytes() == text)
        .ok_or(NOT_INTEGER)
}

pub(super) fn bulk_or_null(value: Option<&Bytes>) -> Outcome {
    Ok(value.map_or(Reply::Null, Reply::bulk))
}

/// The part of a sequence of `length` that start and stop mean, both inclusive and negative from the end.
pub(super) fn range(start: i64, stop: i64, length: usize) -> std::ops::Range<usize> {
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

    pub(super) fn here(&mut self) -> &mut BTreeMap<Bytes, Entry> {
        &mut self.databases[self.selected]
    }

    pub(super) fn put(&mut self, key: &[u8], value: Value) {
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

    pub(super) fn list(&mut self, key: &[u8]) -> Result<&mut VecDeque<Bytes>, &'static str> {
        self.open(
            key,
            || Value::List(VecDeque::new()),
            |value| match value {
                Value::List(items) => Some(items),
                _ => None,
            },
        )
    }

    pub(super) fn set(&mut self, key: &[u8]) -> Result<&mut BTreeSet<Bytes>, &'static str> {
        self.open(
            key,
            || Value::Set(BTreeSet::new()),
            |value| match value {
                Value::Set(members) => Some(members),
                _ => None,
            },
        )
    }

    pub(super) fn hash(&mut self, key: &[u8]) -> Result<&mut BTreeMap<Bytes, Bytes>, &'static str> {
        self.open(
            key,
            || Value::Hash(BTreeMap::new()),
            |value| match value {
                Value::Hash(fields) => Some(fields),
                _ => None,
            },
        )
    }

    pub(super) fn sorted_set(
        &mut self,
        key: &[u8],
    ) -> Result<&mut BTreeMap<Bytes, i64>, &'static str> {
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
                let (start, stop) = (number(rest[1])?, number(rest[2])?);
                if start < 0 && stop < 0 && start > stop {
                    return Ok(Reply::bulk(""));
                }
                // As with Redis, an end before the first byte means the first byte.
                let stop = stop.max(-(text.len() as i64));
                Ok(Reply::bulk(&text[range(start, stop, text.len())]))
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
}
