//! Redis's own serialisation (RDB), to and from the value encoding of [`crate::value`]: what DUMP and RESTORE carry, and what the
//! values of a whole `.rdb` file are made of.
//!
//! The bytes come from clients and from files of other programs, so nothing in them is believed: every length is checked against
//! the bytes that are left before anything is allocated, packed structures (ziplist, listpack, intset, zipmap) are walked entry by
//! entry with their redundant fields compared, and members must be distinct. What a payload can make this module allocate is
//! bounded by its size: LZF packs at most 88 to 1, and a packed element takes a few times its bytes here.
//!
//! A value is read into an arena and then written in the value encoding: two copies of its bytes, no allocation per element. That
//! form is what the server decodes values from and what snapshots hold, so an import needs nothing else in between.
//!
//! - [`stream_load`] and [`stream_save`]: streams, which are unlike the rest.
//! - [`payload`]: DUMP's payload: one value, version, CRC.
//! - [`load`]: all encodings of values since Redis 2.6. [`save`]: one for each type, the oldest that can carry the value.
//! - [`reader`] and [`writer`]: lengths and strings, of which everything else consists.
//!
//! Modules' values are not read nor written.

mod elements;
mod intset;
mod listpack;
pub mod load;
mod lzf;
pub mod payload;
pub mod reader;
pub mod save;
mod stream_load;
mod stream_numbers;
mod stream_save;
#[cfg(test)]
pub(crate) mod stream_tests;
#[cfg(test)]
pub(crate) mod tests;
pub mod writer;
mod ziplist;
mod zipmap;

/// The byte in front of a value that names its type and encoding. Numbers are Redis's, and permanent.
pub mod value_type {
    /// A string.
    pub const STRING: u8 = 0;
    /// A list: items as strings.
    pub const LIST: u8 = 1;
    /// A set: members as strings.
    pub const SET: u8 = 2;
    /// A sorted set: members as strings, scores as decimal text.
    pub const SORTED_SET: u8 = 3;
    /// A hash: fields and values as strings.
    pub const HASH: u8 = 4;
    /// A sorted set: members as strings, scores as binary doubles.
    pub const SORTED_SET_2: u8 = 5;
    /// A hash as a zipmap (Redis 2.4 and older).
    pub const HASH_ZIPMAP: u8 = 9;
    /// A list as a ziplist (until Redis 3.0).
    pub const LIST_ZIPLIST: u8 = 10;
    /// A set of integers.
    pub const SET_INTSET: u8 = 11;
    /// A sorted set as a ziplist (until Redis 6.2).
    pub const SORTED_SET_ZIPLIST: u8 = 12;
    /// A hash as a ziplist (until Redis 6.2).
    pub const HASH_ZIPLIST: u8 = 13;
    /// A list of ziplists (Redis 3.2 to 6.2).
    pub const LIST_QUICKLIST: u8 = 14;
    /// A stream (Redis 5).
    pub const STREAM_LISTPACKS: u8 = 15;
    /// A hash as a listpack.
    pub const HASH_LISTPACK: u8 = 16;
    /// A sorted set as a listpack.
    pub const SORTED_SET_LISTPACK: u8 = 17;
    /// A list of listpacks and of single large items.
    pub const LIST_QUICKLIST_2: u8 = 18;
    /// A stream (Redis 7.0).
    pub const STREAM_LISTPACKS_2: u8 = 19;
    /// A set as a listpack (Redis 7.2).
    pub const SET_LISTPACK: u8 = 20;
    /// A stream (Redis 7.2).
    pub const STREAM_LISTPACKS_3: u8 = 21;
    /// A hash with deadlines of fields, absolute (release candidates of Redis 7.4).
    pub const HASH_METADATA_PRE_RELEASE: u8 = 22;
    /// A hash with deadlines of fields as a listpack, without the earliest one in front (release candidates of Redis 7.4).
    pub const HASH_LISTPACK_DEADLINES_PRE_RELEASE: u8 = 23;
    /// A hash with deadlines of fields, relative to the earliest one, which stands in front (Redis 7.4).
    pub const HASH_METADATA: u8 = 24;
    /// A hash with deadlines of fields as a listpack, behind the earliest one (Redis 7.4).
    pub const HASH_LISTPACK_DEADLINES: u8 = 25;
}
