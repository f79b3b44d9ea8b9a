//! What can happen to a stream (FORMAT.md section 3.1).
//!
//! Each says what happened, with the times that the command saw, so replay needs no clock. What follows from the stream itself is
//! not repeated: a delivery names how many entries behind the group's last one, not which.

use super::value::{put_optional, read_optional};
use super::{IdList, StreamId};
use crate::error::FormatError;
use crate::items::Items;
use crate::reader::{ByteReader, put_bytes};
use crate::varint::{MAX_VARINT_LENGTH, put_varint};

/// What happened to a stream. Those that name a group or consumer do nothing if it does not exist.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StreamEffect<'a> {
    /// An entry added behind all others.
    Add {
        /// Its ID: above the stream's last.
        id: StreamId,
        /// Whether it begins a new chunk rather than to fill the last one.
        starts_chunk: bool,
        /// Field, value, field, value …: an even number, and not none.
        pairs: Items<'a>,
    },
    /// Entries deleted by ID.
    Delete {
        /// Their IDs.
        ids: IdList<'a, StreamId>,
    },
    /// The oldest entries dropped.
    Trim {
        /// How many.
        count: u64,
    },
    /// The stream's numbers set.
    SetId {
        /// The last ID.
        last_id: StreamId,
        /// The number of entries that were ever added.
        entries_added: u64,
        /// The largest ID that was ever deleted.
        max_deleted_id: StreamId,
    },
    /// A group made; also makes the stream.
    CreateGroup {
        /// Its name.
        group: &'a [u8],
        /// It gets what comes behind this.
        last_delivered_id: StreamId,
        /// How many entries it counts as having been given, if known.
        entries_read: Option<u64>,
    },
    /// A group's position set.
    SetGroupId {
        /// Its name.
        group: &'a [u8],
        /// It gets what comes behind this.
        last_delivered_id: StreamId,
        /// How many entries it counts as having been given, if known.
        entries_read: Option<u64>,
    },
    /// A group removed with its consumers and pending entries.
    DestroyGroup {
        /// Its name.
        group: &'a [u8],
    },
    /// A consumer made, if it does not exist.
    CreateConsumer {
        /// Its group.
        group: &'a [u8],
        /// Its name.
        consumer: &'a [u8],
        /// When, in Unix milliseconds.
        now_ms: u64,
    },
    /// A consumer asked for entries.
    TouchConsumer {
        /// Its group.
        group: &'a [u8],
        /// Its name.
        consumer: &'a [u8],
        /// When, in Unix milliseconds.
        now_ms: u64,
        /// Whether it also got some.
        is_active: bool,
    },
    /// A consumer removed with its pending entries.
    DeleteConsumer {
        /// Its group.
        group: &'a [u8],
        /// Its name.
        consumer: &'a [u8],
    },
    /// The entries behind the group's position given to a consumer. Sets the consumer's both times.
    Deliver {
        /// The group.
        group: &'a [u8],
        /// The consumer, which exists.
        consumer: &'a [u8],
        /// When, in Unix milliseconds.
        now_ms: u64,
        /// How many entries.
        count: u64,
        /// Whether they wait for acknowledgement.
        is_pending: bool,
    },
    /// Pending entries settled.
    Acknowledge {
        /// The group.
        group: &'a [u8],
        /// Their IDs.
        ids: IdList<'a, StreamId>,
    },
    /// Entries made pending for a consumer, from whomever they were with, if anybody.
    Claim {
        /// The group.
        group: &'a [u8],
        /// The consumer, which exists.
        consumer: &'a [u8],
        /// When they count as delivered, in Unix milliseconds.
        delivered_ms: u64,
        /// Their IDs, and how often each counts as delivered.
        entries: IdList<'a, (StreamId, u64)>,
    },
}

/// The byte that stands for each (FORMAT.md section 3.1). Never reuse one.
mod tag {
    pub(super) const ADD: u8 = 1;
    pub(super) const ADD_TO_NEW_CHUNK: u8 = 2;
    pub(super) const DELETE: u8 = 3;
    pub(super) const TRIM: u8 = 4;
    pub(super) const SET_ID: u8 = 5;
    pub(super) const CREATE_GROUP: u8 = 6;
    pub(super) const SET_GROUP_ID: u8 = 7;
    pub(super) const DESTROY_GROUP: u8 = 8;
    pub(super) const CREATE_CONSUMER: u8 = 9;
    pub(super) const CONSUMER_SEEN: u8 = 10;
    pub(super) const CONSUMER_ACTIVE: u8 = 11;
    pub(super) const DELETE_CONSUMER: u8 = 12;
    pub(super) const DELIVER: u8 = 13;
    pub(super) const DELIVER_FOR_GOOD: u8 = 14;
    pub(super) const ACKNOWLEDGE: u8 = 15;
    pub(super) const CLAIM: u8 = 16;
}

impl<'a> StreamEffect<'a> {
    /// The effect's name for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add { .. } => "stream-add",
            Self::Delete { .. } => "stream-delete",
            Self::Trim { .. } => "stream-trim",
            Self::SetId { .. } => "stream-set-id",
            Self::CreateGroup { .. } => "stream-create-group",
            Self::SetGroupId { .. } => "stream-set-group-id",
            Self::DestroyGroup { .. } => "stream-destroy-group",
            Self::CreateConsumer { .. } => "stream-create-consumer",
            Self::TouchConsumer { .. } => "stream-touch-consumer",
            Self::DeleteConsumer { .. } => "stream-delete-consumer",
            Self::Deliver { .. } => "stream-deliver",
            Self::Acknowledge { .. } => "stream-acknowledge",
            Self::Claim { .. } => "stream-claim",
        }
    }

    /// The group and the consumer that it names.
    #[must_use]
    pub fn names(&self) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
        match *self {
            Self::Add { .. } | Self::Delete { .. } | Self::Trim { .. } | Self::SetId { .. } => {
                (None, None)
            }
            Self::CreateGroup { group, .. }
            | Self::SetGroupId { group, .. }
            | Self::DestroyGroup { group }
            | Self::Acknowledge { group, .. } => (Some(group), None),
            Self::CreateConsumer {
                group, consumer, ..
            }
            | Self::TouchConsumer {
                group, consumer, ..
            }
            | Self::DeleteConsumer { group, consumer }
            | Self::Deliver {
                group, consumer, ..
            }
            | Self::Claim {
                group, consumer, ..
            } => (Some(group), Some(consumer)),
        }
    }

    /// At most so many bytes when encoded.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        const NUMBERS_MAX: usize = 8;
        let (group, consumer) = self.names();
        let lists = match self {
            Self::Add { pairs, .. } => (pairs.iter())
                .map(|item| item.len() + MAX_VARINT_LENGTH)
                .sum(),
            Self::Delete { ids } | Self::Acknowledge { ids, .. } => ids.bytes_max(),
            Self::Claim { entries, .. } => entries.bytes_max(),
            _ => 0,
        };
        1 + lists
            + group.map_or(0, <[u8]>::len)
            + consumer.map_or(0, <[u8]>::len)
            + NUMBERS_MAX * MAX_VARINT_LENGTH
    }

    fn tag(&self) -> u8 {
        match self {
            Self::Add {
                starts_chunk: false,
                ..
            } => tag::ADD,
            Self::Add { .. } => tag::ADD_TO_NEW_CHUNK,
            Self::Delete { .. } => tag::DELETE,
            Self::Trim { .. } => tag::TRIM,
            Self::SetId { .. } => tag::SET_ID,
            Self::CreateGroup { .. } => tag::CREATE_GROUP,
            Self::SetGroupId { .. } => tag::SET_GROUP_ID,
            Self::DestroyGroup { .. } => tag::DESTROY_GROUP,
            Self::CreateConsumer { .. } => tag::CREATE_CONSUMER,
            Self::TouchConsumer {
                is_active: false, ..
            } => tag::CONSUMER_SEEN,
            Self::TouchConsumer { .. } => tag::CONSUMER_ACTIVE,
            Self::DeleteConsumer { .. } => tag::DELETE_CONSUMER,
            Self::Deliver {
                is_pending: true, ..
            } => tag::DELIVER,
            Self::Deliver { .. } => tag::DELIVER_FOR_GOOD,
            Self::Acknowledge { .. } => tag::ACKNOWLEDGE,
            Self::Claim { .. } => tag::CLAIM,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.tag());
        let (group, consumer) = self.names();
        group.into_iter().for_each(|name| put_bytes(out, name));
        consumer.into_iter().for_each(|name| put_bytes(out, name));
        match *self {
            Self::Add { id, pairs, .. } => {
                id.put(out);
                pairs.encode(out);
            }
            Self::Delete { ids } | Self::Acknowledge { ids, .. } => ids.encode(out),
            Self::Trim { count } => put_varint(out, count),
            Self::SetId {
                last_id,
                entries_added,
                max_deleted_id,
            } => {
                last_id.put(out);
                put_varint(out, entries_added);
                max_deleted_id.put(out);
            }
            Self::CreateGroup {
                last_delivered_id,
                entries_read,
                ..
            }
            | Self::SetGroupId {
                last_delivered_id,
                entries_read,
                ..
            } => {
                last_delivered_id.put(out);
                put_optional(out, entries_read);
            }
            Self::DestroyGroup { .. } | Self::DeleteConsumer { .. } => {}
            Self::CreateConsumer { now_ms, .. } | Self::TouchConsumer { now_ms, .. } => {
                put_varint(out, now_ms);
            }
            Self::Deliver { now_ms, count, .. } => {
                put_varint(out, now_ms);
                put_varint(out, count);
            }
            Self::Claim {
                delivered_ms,
                entries,
                ..
            } => {
                put_varint(out, delivered_ms);
                entries.encode(out);
            }
        }
    }

    pub(crate) fn decode(reader: &mut ByteReader<'a>) -> Result<Self, FormatError> {
        let start = reader.position();
        let tag = reader.u8("stream effect tag")?;
        if tag <= tag::SET_ID {
            return Self::decode_of_stream(tag, reader, start);
        }
        let group = reader.bytes("effect group")?;
        if !matches!(
            tag,
            tag::CREATE_CONSUMER..=tag::DELIVER_FOR_GOOD | tag::CLAIM
        ) {
            return Self::decode_of_group(tag, group, reader, start);
        }
        let consumer = reader.bytes("effect consumer")?;
        Ok(match tag {
            tag::CREATE_CONSUMER => Self::CreateConsumer {
                group,
                consumer,
                now_ms: reader.varint("effect time")?,
            },
            tag::CONSUMER_SEEN | tag::CONSUMER_ACTIVE => Self::TouchConsumer {
                group,
                consumer,
                now_ms: reader.varint("effect time")?,
                is_active: tag == tag::CONSUMER_ACTIVE,
            },
            tag::DELETE_CONSUMER => Self::DeleteConsumer { group, consumer },
            tag::CLAIM => Self::Claim {
                group,
                consumer,
                delivered_ms: reader.varint("effect time")?,
                entries: IdList::read(reader)?,
            },
            _ => Self::Deliver {
                group,
                consumer,
                now_ms: reader.varint("effect time")?,
                count: reader.varint("effect count")?,
                is_pending: tag == tag::DELIVER,
            },
        })
    }

    fn decode_of_stream(
        tag: u8,
        reader: &mut ByteReader<'a>,
        start: usize,
    ) -> Result<Self, FormatError> {
        Ok(match tag {
            tag::ADD | tag::ADD_TO_NEW_CHUNK => {
                let id = StreamId::read(reader)?;
                let pairs = Items::read(reader)?;
                if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
                    return Err(FormatError::damaged("effect pairs", start));
                }
                Self::Add {
                    id,
                    starts_chunk: tag == tag::ADD_TO_NEW_CHUNK,
                    pairs,
                }
            }
            tag::DELETE => Self::Delete {
                ids: IdList::read(reader)?,
            },
            tag::TRIM => Self::Trim {
                count: reader.varint("effect count")?,
            },
            tag::SET_ID => Self::SetId {
                last_id: StreamId::read(reader)?,
                entries_added: reader.varint("entries added")?,
                max_deleted_id: StreamId::read(reader)?,
            },
            _ => return Err(FormatError::damaged("stream effect tag", start)),
        })
    }

    fn decode_of_group(
        tag: u8,
        group: &'a [u8],
        reader: &mut ByteReader<'a>,
        start: usize,
    ) -> Result<Self, FormatError> {
        Ok(match tag {
            tag::CREATE_GROUP => Self::CreateGroup {
                group,
                last_delivered_id: StreamId::read(reader)?,
                entries_read: read_optional(reader, "entries read")?,
            },
            tag::SET_GROUP_ID => Self::SetGroupId {
                group,
                last_delivered_id: StreamId::read(reader)?,
                entries_read: read_optional(reader, "entries read")?,
            },
            tag::DESTROY_GROUP => Self::DestroyGroup { group },
            tag::ACKNOWLEDGE => Self::Acknowledge {
                group,
                ids: IdList::read(reader)?,
            },
            _ => return Err(FormatError::damaged("stream effect tag", start)),
        })
    }
}
