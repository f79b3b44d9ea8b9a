//! Effects: what happened to one key, as the log stores it (FORMAT.md section 3).
//!
//! An effect says what happened, not what was asked, so replaying it needs no clock, no randomness and no command code. The same
//! types are what a command hands to `apply`, borrowing its arguments, and what replay hands to it, borrowing the log: live
//! state and replayed state are one by construction. Encoding is one pass into a `Vec`; decoding validates the whole record
//! once and copies nothing, so iterating afterwards cannot fail.

use std::fmt;

use crate::error::FormatError;
pub use crate::items::{Items, ItemsIter, ScoredItems, ScoredItemsIter};
use crate::reader::{ByteReader, put_bytes};
use crate::stream::StreamEffect;
use crate::value::{ValueKind, field_deadline};
use crate::varint::put_varint;

/// The `previous_lsn` of an effect whose key was written by an earlier effect of the same record.
pub const SAME_RECORD_LSN: u64 = (1 << 48) - 1;

/// In the tag byte: the previous LSN is [`SAME_RECORD_LSN`] and is not stored.
const SAME_RECORD_FLAG: u8 = 0x80;

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The head: index 0.
    Left,
    /// The tail.
    Right,
}

/// What happened to exactly one key (or, for the last two, to the table of databases).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effect<'a> {
    /// The key now holds this value, whatever it held before.
    Put {
        /// The value's type.
        kind: ValueKind,
        /// Absolute deadline in Unix milliseconds; 0 = none.
        deadline_ms: u64,
        /// The whole value in the value encoding; a String's is its raw bytes. Not checked here: see [`crate::value::validate`].
        encoded: &'a [u8],
    },
    /// The key is gone.
    Delete,
    /// Only the deadline changes.
    SetDeadline {
        /// Absolute deadline in Unix milliseconds; 0 = the key persists.
        deadline_ms: u64,
    },
    /// Bytes added at the end of a String.
    Append {
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Bytes overwritten in a String; zero-fills up to `offset`.
    SetRange {
        /// Where the first byte goes.
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Items pushed one after the other, as `LPUSH key a b c` does (so `c` ends up first).
    ListPush {
        /// At which end.
        side: Side,
        /// In the order of pushing.
        items: Items<'a>,
    },
    /// Items removed at one end.
    ListPop {
        /// At which end.
        side: Side,
        /// How many.
        count: u64,
    },
    /// One item replaced.
    ListSet {
        /// From the head, from 0.
        index: u64,
        /// The new item.
        item: &'a [u8],
    },
    /// One item inserted.
    ListInsert {
        /// The index that the item has afterwards.
        index: u64,
        /// The item.
        item: &'a [u8],
    },
    /// A run of items removed.
    ListRemove {
        /// The first one, from the head, from 0.
        index: u64,
        /// How many.
        count: u64,
    },
    /// Members put into a set.
    SetAdd {
        /// The members.
        members: Items<'a>,
    },
    /// Members taken out of a set.
    SetRemove {
        /// The members.
        members: Items<'a>,
    },
    /// Fields of a hash set.
    HashSet {
        /// Field, value, field, value …: always an even number.
        pairs: Items<'a>,
    },
    /// Fields of a hash removed.
    HashDelete {
        /// The fields.
        fields: Items<'a>,
    },
    /// Fields of a hash given a deadline, or none; fields that are not there are passed over. `HashSet` takes a field's deadline away.
    HashSetDeadline {
        /// Absolute deadline in Unix milliseconds; 0 = the fields persist.
        deadline_ms: u64,
        /// The fields.
        fields: Items<'a>,
    },
    /// Members put into a sorted set, or given another score.
    SortedSetPut {
        /// The members with their scores, none of which is NaN.
        members: ScoredItems<'a>,
    },
    /// Members taken out of a sorted set.
    SortedSetRemove {
        /// The members.
        members: Items<'a>,
    },
    /// Something happened to a stream.
    Stream(StreamEffect<'a>),
    /// A database is emptied by moving it to a new generation: the one that the record's `generation` names. Keyless.
    FlushDatabase {
        /// The database's index.
        database: u32,
    },
    /// Two databases exchange their generations. Keyless.
    SwapDatabases {
        /// One database's index.
        first: u32,
        /// The other's.
        second: u32,
    },
}

/// The byte that stands for each effect in a log (FORMAT.md section 3). Never reuse one.
mod tag {
    pub(super) const PUT: u8 = 1;
    pub(super) const DELETE: u8 = 2;
    pub(super) const SET_DEADLINE: u8 = 3;
    pub(super) const APPEND: u8 = 4;
    pub(super) const SET_RANGE: u8 = 5;
    pub(super) const LIST_PUSH_LEFT: u8 = 6;
    pub(super) const LIST_PUSH_RIGHT: u8 = 7;
    pub(super) const LIST_POP_LEFT: u8 = 8;
    pub(super) const LIST_POP_RIGHT: u8 = 9;
    pub(super) const LIST_SET: u8 = 10;
    pub(super) const LIST_INSERT: u8 = 11;
    pub(super) const LIST_REMOVE: u8 = 12;
    pub(super) const SET_ADD: u8 = 13;
    pub(super) const SET_REMOVE: u8 = 14;
    pub(super) const HASH_SET: u8 = 15;
    pub(super) const HASH_DELETE: u8 = 16;
    pub(super) const SORTED_SET_PUT: u8 = 17;
    pub(super) const SORTED_SET_REMOVE: u8 = 18;
    pub(super) const FLUSH_DATABASE: u8 = 19;
    pub(super) const SWAP_DATABASES: u8 = 20;
    pub(super) const STREAM: u8 = 21;
    pub(super) const HASH_SET_DEADLINE: u8 = 22;
}

impl<'a> Effect<'a> {
    /// The effect's name for people (inspector, statistics, error messages).
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Put { .. } => "put",
            Self::Delete => "delete",
            Self::SetDeadline { .. } => "set-deadline",
            Self::Append { .. } => "append",
            Self::SetRange { .. } => "set-range",
            Self::ListPush { .. } => "list-push",
            Self::ListPop { .. } => "list-pop",
            Self::ListSet { .. } => "list-set",
            Self::ListInsert { .. } => "list-insert",
            Self::ListRemove { .. } => "list-remove",
            Self::SetAdd { .. } => "set-add",
            Self::SetRemove { .. } => "set-remove",
            Self::HashSet { .. } => "hash-set",
            Self::HashDelete { .. } => "hash-delete",
            Self::HashSetDeadline { .. } => "hash-set-deadline",
            Self::SortedSetPut { .. } => "sorted-set-put",
            Self::SortedSetRemove { .. } => "sorted-set-remove",
            Self::Stream(effect) => effect.name(),
            Self::FlushDatabase { .. } => "flush-database",
            Self::SwapDatabases { .. } => "swap-databases",
        }
    }

    /// Whether the effect concerns no key but the table of databases.
    #[must_use]
    pub fn is_keyless(&self) -> bool {
        matches!(
            self,
            Self::FlushDatabase { .. } | Self::SwapDatabases { .. }
        )
    }

    /// Whether the effect needs nothing of what the key held before: it settles a key whose base is missing.
    #[must_use]
    pub fn settles(&self) -> bool {
        matches!(self, Self::Put { .. } | Self::Delete)
    }

    fn tag(&self) -> u8 {
        match self {
            Self::Put { .. } => tag::PUT,
            Self::Delete => tag::DELETE,
            Self::SetDeadline { .. } => tag::SET_DEADLINE,
            Self::Append { .. } => tag::APPEND,
            Self::SetRange { .. } => tag::SET_RANGE,
            Self::ListPush {
                side: Side::Left, ..
            } => tag::LIST_PUSH_LEFT,
            Self::ListPush {
                side: Side::Right, ..
            } => tag::LIST_PUSH_RIGHT,
            Self::ListPop {
                side: Side::Left, ..
            } => tag::LIST_POP_LEFT,
            Self::ListPop {
                side: Side::Right, ..
            } => tag::LIST_POP_RIGHT,
            Self::ListSet { .. } => tag::LIST_SET,
            Self::ListInsert { .. } => tag::LIST_INSERT,
            Self::ListRemove { .. } => tag::LIST_REMOVE,
            Self::SetAdd { .. } => tag::SET_ADD,
            Self::SetRemove { .. } => tag::SET_REMOVE,
            Self::HashSet { .. } => tag::HASH_SET,
            Self::HashDelete { .. } => tag::HASH_DELETE,
            Self::HashSetDeadline { .. } => tag::HASH_SET_DEADLINE,
            Self::SortedSetPut { .. } => tag::SORTED_SET_PUT,
            Self::SortedSetRemove { .. } => tag::SORTED_SET_REMOVE,
            Self::Stream(_) => tag::STREAM,
            Self::FlushDatabase { .. } => tag::FLUSH_DATABASE,
            Self::SwapDatabases { .. } => tag::SWAP_DATABASES,
        }
    }

    fn encode_operands(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Put {
                kind,
                deadline_ms,
                encoded,
            } => {
                out.push(kind as u8);
                put_varint(out, deadline_ms);
                put_bytes(out, encoded);
            }
            Self::Delete => {}
            Self::SetDeadline { deadline_ms } => put_varint(out, deadline_ms),
            Self::Append { bytes } => put_bytes(out, bytes),
            Self::SetRange {
                offset: position,
                bytes: run,
            }
            | Self::ListSet {
                index: position,
                item: run,
            }
            | Self::ListInsert {
                index: position,
                item: run,
            } => {
                put_varint(out, position);
                put_bytes(out, run);
            }
            Self::ListPop { count, .. } => put_varint(out, count),
            Self::ListRemove { index, count } => {
                put_varint(out, index);
                put_varint(out, count);
            }
            Self::ListPush { items, .. }
            | Self::SetAdd { members: items }
            | Self::SetRemove { members: items }
            | Self::HashSet { pairs: items }
            | Self::HashDelete { fields: items }
            | Self::SortedSetRemove { members: items } => items.encode(out),
            Self::HashSetDeadline {
                deadline_ms,
                fields,
            } => {
                put_varint(out, deadline_ms);
                fields.encode(out);
            }
            Self::SortedSetPut { members } => members.encode(out),
            Self::Stream(effect) => effect.encode(out),
            Self::FlushDatabase { database } => put_varint(out, u64::from(database)),
            Self::SwapDatabases { first, second } => {
                put_varint(out, u64::from(first));
                put_varint(out, u64::from(second));
            }
        }
    }

    fn decode_operands(tag: u8, reader: &mut ByteReader<'a>) -> Result<Self, FormatError> {
        let tag_offset = reader.position();
        Ok(match tag {
            tag::PUT => Self::Put {
                kind: ValueKind::read(reader)?,
                deadline_ms: reader.varint("effect deadline")?,
                encoded: reader.bytes("effect value")?,
            },
            tag::DELETE => Self::Delete,
            tag::SET_DEADLINE => Self::SetDeadline {
                deadline_ms: reader.varint("effect deadline")?,
            },
            tag::APPEND => Self::Append {
                bytes: reader.bytes("effect bytes")?,
            },
            tag::SET_RANGE => Self::SetRange {
                offset: reader.varint("effect offset")?,
                bytes: reader.bytes("effect bytes")?,
            },
            tag::LIST_PUSH_LEFT..=tag::LIST_REMOVE => Self::decode_of_list(tag, reader)?,
            tag::SET_ADD => Self::SetAdd {
                members: Items::read(reader)?,
            },
            tag::SET_REMOVE => Self::SetRemove {
                members: Items::read(reader)?,
            },
            tag::HASH_SET => Self::HashSet {
                pairs: Self::even(Items::read(reader)?, tag_offset)?,
            },
            tag::HASH_DELETE => Self::HashDelete {
                fields: Items::read(reader)?,
            },
            tag::HASH_SET_DEADLINE => Self::HashSetDeadline {
                deadline_ms: field_deadline(reader)?,
                fields: Items::read(reader)?,
            },
            tag::SORTED_SET_PUT => Self::SortedSetPut {
                members: ScoredItems::read(reader)?,
            },
            tag::SORTED_SET_REMOVE => Self::SortedSetRemove {
                members: Items::read(reader)?,
            },
            tag::STREAM => Self::Stream(StreamEffect::decode(reader)?),
            tag::FLUSH_DATABASE => Self::FlushDatabase {
                database: reader.varint_u32("effect database")?,
            },
            tag::SWAP_DATABASES => Self::SwapDatabases {
                first: reader.varint_u32("effect database")?,
                second: reader.varint_u32("effect database")?,
            },
            _ => return Err(FormatError::damaged("effect tag", tag_offset)),
        })
    }

    /// The operands of an effect on a part of a list.
    fn decode_of_list(tag: u8, reader: &mut ByteReader<'a>) -> Result<Self, FormatError> {
        let tag_offset = reader.position();
        Ok(match tag {
            tag::LIST_PUSH_LEFT => Self::ListPush {
                side: Side::Left,
                items: Items::read(reader)?,
            },
            tag::LIST_PUSH_RIGHT => Self::ListPush {
                side: Side::Right,
                items: Items::read(reader)?,
            },
            tag::LIST_POP_LEFT => Self::ListPop {
                side: Side::Left,
                count: reader.varint("effect count")?,
            },
            tag::LIST_POP_RIGHT => Self::ListPop {
                side: Side::Right,
                count: reader.varint("effect count")?,
            },
            tag::LIST_SET => Self::ListSet {
                index: reader.varint("effect index")?,
                item: reader.bytes("effect item")?,
            },
            tag::LIST_INSERT => Self::ListInsert {
                index: reader.varint("effect index")?,
                item: reader.bytes("effect item")?,
            },
            tag::LIST_REMOVE => Self::ListRemove {
                index: reader.varint("effect index")?,
                count: reader.varint("effect count")?,
            },
            _ => return Err(FormatError::damaged("effect tag", tag_offset)),
        })
    }

    fn even(items: Items<'a>, offset: usize) -> Result<Items<'a>, FormatError> {
        if items.len().is_multiple_of(2) {
            Ok(items)
        } else {
            Err(FormatError::damaged("effect pairs", offset))
        }
    }
}

/// One effect with the key that it happened to and the version that it builds on.
#[derive(Clone, Copy, PartialEq)]
pub struct EffectRecord<'a> {
    /// The generation of the key's database (for [`Effect::FlushDatabase`]: the new one).
    pub generation: u32,
    /// The key; empty for keyless effects.
    pub key: &'a [u8],
    /// The LSN that the key had before: 0 if it did not exist, [`SAME_RECORD_LSN`] if this record already wrote it.
    pub previous_lsn: u64,
    /// What happened.
    pub effect: Effect<'a>,
}

impl<'a> EffectRecord<'a> {
    /// Appends the encoded effect to `out`. A record's body is its effects one behind the other, with nothing between.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let same_record = self.previous_lsn == SAME_RECORD_LSN;
        out.push(self.effect.tag() | if same_record { SAME_RECORD_FLAG } else { 0 });
        put_varint(out, u64::from(self.generation));
        if !same_record {
            put_varint(out, self.previous_lsn);
        }
        put_bytes(out, self.key);
        self.effect.encode_operands(out);
    }

    /// Decodes the effect at the start of `bytes`: the effect, all of it validated, and how many bytes it took.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if the bytes are not a complete effect.
    pub fn decode(bytes: &'a [u8]) -> Result<(Self, usize), FormatError> {
        let mut reader = ByteReader::new(bytes);
        let tag = reader.u8("effect tag")?;
        let generation = reader.varint_u32("effect generation")?;
        let previous_lsn = if tag & SAME_RECORD_FLAG != 0 {
            SAME_RECORD_LSN
        } else {
            reader.lsn("effect previous LSN")?
        };
        let key_start = reader.position();
        let key = reader.bytes("effect key")?;
        let effect = Effect::decode_operands(tag & !SAME_RECORD_FLAG, &mut reader)?;
        if effect.is_keyless() && !key.is_empty() {
            return Err(FormatError::damaged("effect key", key_start));
        }
        Ok((
            Self {
                generation,
                key,
                previous_lsn,
                effect,
            },
            reader.position(),
        ))
    }
}

impl fmt::Debug for EffectRecord<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("EffectRecord")
            .field("generation", &self.generation)
            .field("key", &format_args!("\"{}\"", self.key.escape_ascii()))
            .field("previous_lsn", &self.previous_lsn)
            .field("effect", &self.effect)
            .finish()
    }
}

/// The effects of a record's body, in order. Ends after the first error.
#[derive(Debug, Clone)]
pub struct EffectsIter<'a> {
    body: &'a [u8],
    position: usize,
}

impl<'a> EffectsIter<'a> {
    /// Over the body of a record.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self { body, position: 0 }
    }
}

impl<'a> Iterator for EffectsIter<'a> {
    type Item = Result<EffectRecord<'a>, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position == self.body.len() {
            return None;
        }
        match EffectRecord::decode(&self.body[self.position..]) {
            Ok((record, length)) => {
                self.position += length;
                Some(Ok(record))
            }
            Err(error) => {
                let base = self.position as u64;
                self.position = self.body.len();
                Some(Err(error.shifted_by(base)))
            }
        }
    }
}

#[cfg(test)]
#[path = "effect_tests.rs"]
mod tests;
