//! Cold records: the keys and values that RocksDB holds (FORMAT.md section 5), and the index of their deadlines (section 6).
//!
//! Keys are big-endian, so that RocksDB's byte order is the order of everything else: generation, then placement hash. The value's
//! header has a fixed size and is laid out by hand, because it is read on every cold access (3 ns instead of 8 to 15).

use crate::error::FormatError;
use crate::value::ValueKind;

/// Bytes in front of the key in a cold key: generation and hash.
pub const COLD_KEY_PREFIX_LENGTH: usize = 12;

/// The bytes that all cold keys of one generation start with.
#[must_use]
pub fn generation_prefix(generation: u32) -> [u8; 4] {
    generation.to_be_bytes()
}

/// The bytes that all cold keys of one generation and placement hash start with: where a scan at a position begins.
#[must_use]
pub fn position_prefix(generation: u32, hash: u64) -> [u8; COLD_KEY_PREFIX_LENGTH] {
    let mut prefix = [0; COLD_KEY_PREFIX_LENGTH];
    prefix[..4].copy_from_slice(&generation.to_be_bytes());
    prefix[4..].copy_from_slice(&hash.to_be_bytes());
    prefix
}

/// A cold record's key, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ColdKey<'a> {
    /// The generation of the key's database.
    pub generation: u32,
    /// The placement hash of `key`.
    pub hash: u64,
    /// The client's key.
    pub key: &'a [u8],
}

impl<'a> ColdKey<'a> {
    /// Appends the encoded key to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(COLD_KEY_PREFIX_LENGTH + self.key.len());
        out.extend_from_slice(&position_prefix(self.generation, self.hash));
        out.extend_from_slice(self.key);
    }

    /// The encoded key in a `Vec` of its own.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Takes an encoded key apart.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if there are fewer than [`COLD_KEY_PREFIX_LENGTH`] bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let (generation, rest) = bytes
            .split_first_chunk::<4>()
            .ok_or(FormatError::damaged("cold key", 0))?;
        let (hash, key) = rest
            .split_first_chunk::<8>()
            .ok_or(FormatError::damaged("cold key", 4))?;
        Ok(Self {
            generation: u32::from_be_bytes(*generation),
            hash: u64::from_be_bytes(*hash),
            key,
        })
    }
}

/// The fixed part in front of a cold record's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColdHeader {
    /// The version of the key that this record holds.
    pub lsn: u64,
    /// Absolute deadline in Unix milliseconds; 0 = none.
    pub deadline_ms: u64,
    /// The value's type.
    pub kind: ValueKind,
}

impl ColdHeader {
    /// Bytes of an encoded header.
    pub const LENGTH: usize = 16;

    /// The header's bytes: type, flags (none so far), LSN in 48 bits, deadline. `lsn` must fit in 48 bits.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        debug_assert!(self.lsn <= crate::LSN_LIMIT, "an LSN has 48 bits");
        let mut bytes = [0; Self::LENGTH];
        bytes[0] = self.kind as u8;
        bytes[2..8].copy_from_slice(&self.lsn.to_le_bytes()[..6]);
        bytes[8..].copy_from_slice(&self.deadline_ms.to_le_bytes());
        bytes
    }

    /// Takes a cold record's value apart: its header, and the value in the value encoding (not validated here).
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if the bytes are too few, or the type or a flag is unknown.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), FormatError> {
        let (header, value) = bytes
            .split_first_chunk::<{ Self::LENGTH }>()
            .ok_or(FormatError::damaged("cold record", 0))?;
        let [
            kind,
            flags,
            l0,
            l1,
            l2,
            l3,
            l4,
            l5,
            d0,
            d1,
            d2,
            d3,
            d4,
            d5,
            d6,
            d7,
        ] = *header;
        let kind = ValueKind::from_byte(kind).ok_or(FormatError::damaged("cold record type", 0))?;
        if flags != 0 {
            return Err(FormatError::damaged("cold record flags", 1));
        }
        let lsn = u64::from_le_bytes([l0, l1, l2, l3, l4, l5, 0, 0]);
        let deadline_ms = u64::from_le_bytes([d0, d1, d2, d3, d4, d5, d6, d7]);
        Ok((
            Self {
                lsn,
                deadline_ms,
                kind,
            },
            value,
        ))
    }
}

/// A key of the index of deadlines. Its order is the order of expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadlineKey<'a> {
    /// Absolute deadline in Unix milliseconds.
    pub deadline_ms: u64,
    /// The record that expires then.
    pub cold_key: ColdKey<'a>,
}

impl<'a> DeadlineKey<'a> {
    /// Appends the encoded key to `out`: the deadline (big-endian), then the cold key.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.deadline_ms.to_be_bytes());
        self.cold_key.encode(out);
    }

    /// Takes an encoded key apart.
    ///
    /// # Errors
    /// [`FormatError::Damaged`] if there are too few bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let (deadline, rest) = bytes
            .split_first_chunk::<8>()
            .ok_or(FormatError::damaged("deadline key", 0))?;
        let cold_key = ColdKey::decode(rest).map_err(|error| error.shifted_by(8))?;
        Ok(Self {
            deadline_ms: u64::from_be_bytes(*deadline),
            cold_key,
        })
    }
}

/// In what the index of deadlines holds for a key: the deadline is that of the earliest of a hash's fields, not the key's.
pub const OF_A_FIELD_FLAG: u64 = 1 << 63;

/// What the index of deadlines holds for a key: the LSN of the record that the deadline belongs to. Where it is not the record's
/// own, the entry is left over from an earlier version and says nothing.
#[must_use]
pub fn encode_deadline_value(lsn: u64) -> [u8; 8] {
    lsn.to_le_bytes()
}

/// The LSN in an entry of the index of deadlines, possibly with [`OF_A_FIELD_FLAG`].
///
/// # Errors
/// [`FormatError::Damaged`] if it is not exactly eight bytes.
pub fn decode_deadline_value(bytes: &[u8]) -> Result<u64, FormatError> {
    let bytes: [u8; 8] = bytes
        .try_into()
        .map_err(|_| FormatError::damaged("deadline value", 0))?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn header_has_the_documented_bytes() {
        let header = ColdHeader {
            lsn: 0x0605_0403_0201,
            deadline_ms: 0x1817_1615_1413_1211,
            kind: ValueKind::SortedSet,
        };
        let bytes = header.encode();
        assert_eq!(
            bytes,
            [
                4, 0, 1, 2, 3, 4, 5, 6, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18
            ]
        );
        assert_eq!(ColdHeader::decode(&bytes), Ok((header, &[][..])));
    }

    #[test]
    fn refuses_short_or_unknown_headers() {
        let good = ColdHeader {
            lsn: 1,
            deadline_ms: 0,
            kind: ValueKind::String,
        }
        .encode();
        for length in 0..good.len() {
            assert!(ColdHeader::decode(&good[..length]).is_err());
        }
        for (offset, byte) in [(0, 0), (0, 7), (1, 1), (1, 0x80)] {
            let mut bad = good;
            bad[offset] = byte;
            assert_eq!(
                ColdHeader::decode(&bad).map_err(|error| matches!(error, FormatError::Damaged { offset: o, .. } if o == offset as u64)),
                Err(true)
            );
        }
    }

    proptest! {
        #[test]
        fn encoded_order_is_hash_order(
            a in (any::<u32>(), any::<u64>(), any::<Vec<u8>>()),
            b in (any::<u32>(), any::<u64>(), any::<Vec<u8>>()),
            deadlines in (0u64..3, 0u64..3),
        ) {
            let first = ColdKey { generation: a.0, hash: a.1, key: &a.2 };
            let second = ColdKey { generation: b.0, hash: b.1, key: &b.2 };
            prop_assert_eq!(first.to_vec().cmp(&second.to_vec()), first.cmp(&second));
            let encoded = first.to_vec();
            prop_assert_eq!(ColdKey::decode(&encoded), Ok(first));

            let (mut left, mut right) = (Vec::new(), Vec::new());
            let first = DeadlineKey { deadline_ms: deadlines.0, cold_key: first };
            let second = DeadlineKey { deadline_ms: deadlines.1, cold_key: second };
            first.encode(&mut left);
            second.encode(&mut right);
            prop_assert_eq!(left.cmp(&right), first.cmp(&second));
            prop_assert_eq!(DeadlineKey::decode(&left), Ok(first));
        }
    }
}
