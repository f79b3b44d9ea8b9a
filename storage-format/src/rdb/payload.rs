//! What DUMP replies and RESTORE takes: a type byte, the value, the RDB version (`u16`), and the CRC-64 (Jones) of all that (`u64`).

use crc::{CRC_64_REDIS, Crc, Table};

use super::load::{LoadedValue, read_value};
use super::reader::RdbReader;
use super::save::write_value;
use crate::error::FormatError;
use crate::value::ValueKind;

/// The newest version that is read: Redis 7.4's, and Valkey 8's too (11).
pub const VERSION_MAX: u16 = 12;

const FOOTER_BYTES: usize = 10;

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// The CRC that a payload and a whole `.rdb` file end with.
#[must_use]
pub fn crc64(bytes: &[u8]) -> u64 {
    CRC.checksum(bytes)
}

/// Why a payload is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// Not a payload, altered on the way, or from a newer server.
    #[error("the payload's version or checksum is wrong")]
    Footer,
    /// The footer is right, what is before it is not.
    #[error(transparent)]
    Value(#[from] FormatError),
}

/// The payload of a value in the value encoding.
///
/// # Errors
/// As [`write_value`].
pub fn encode(kind: ValueKind, encoded: &[u8]) -> Result<Vec<u8>, FormatError> {
    let mut out = Vec::with_capacity(encoded.len() + encoded.len() / 8 + 32);
    let version = write_value(&mut out, kind, encoded)?;
    out.extend_from_slice(&version.to_le_bytes());
    let crc = crc64(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    Ok(out)
}

/// Checks version and CRC; returns what is in front of them.
///
/// # Errors
/// [`PayloadError::Footer`].
pub fn check_footer(payload: &[u8]) -> Result<&[u8], PayloadError> {
    let split = payload.len().checked_sub(FOOTER_BYTES);
    let (body, footer) = payload.split_at(split.ok_or(PayloadError::Footer)?);
    let mut reader = RdbReader::new(footer);
    let version = u16::from_le_bytes(reader.array("version")?);
    let crc = u64::from_le_bytes(reader.array("CRC")?);
    if version <= VERSION_MAX && crc == crc64(&payload[..payload.len() - 8]) {
        Ok(body)
    } else {
        Err(PayloadError::Footer)
    }
}

/// Reads a payload.
///
/// # Errors
/// See [`PayloadError`].
pub fn decode(payload: &[u8]) -> Result<LoadedValue, PayloadError> {
    let mut reader = RdbReader::new(check_footer(payload)?);
    let type_byte = reader.u8("value type")?;
    let value = read_value(type_byte, &mut reader)?;
    if reader.remaining() > 0 {
        return Err(reader.damaged("payload end").into());
    }
    Ok(value)
}
