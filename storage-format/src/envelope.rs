//! Envelopes: how headers, statistics and the manifest are stored (FORMAT.md section 1), and the only module that names `bincode`.
//!
//! An envelope is a magic number, a version, a length, a CRC over all of that, and a body encoded by `bincode` with `serde`. The
//! envelope's own layout never changes, so that a reader can always tell damage from a newer version. Bodies are small and rare; what
//! is read often (records, entries, index rows) is laid out by hand instead. `bincode` is pinned to 2.0.1, the last release with
//! contents; should it have to go, its encoding of these few types (varints, little-endian) is in FORMAT.md.

use std::io;

use serde::{Serialize, de::DeserializeOwned};

use crate::error::FormatError;
use crate::reader::ByteReader;

/// Bytes in front of an envelope's body (FORMAT.md section 1.3).
pub(crate) const ENVELOPE_HEADER_LENGTH: usize = 20;

/// The largest body that is read: what an allocation can be made to reach by a crafted file.
const MAX_BODY_LENGTH: usize = 64 << 20;

/// One kind of envelope.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope {
    /// What is in it, for messages.
    pub(crate) what: &'static str,
    /// Its first eight bytes.
    pub(crate) magic: [u8; 8],
    /// The version that is written, and the newest that is read.
    pub(crate) version: u32,
}

fn configuration() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_BODY_LENGTH>()
}

impl Envelope {
    /// The bytes of an envelope with this content.
    ///
    /// # Errors
    /// If the content is larger than any reader would accept.
    pub(crate) fn seal<T: Serialize>(&self, content: &T) -> io::Result<Vec<u8>> {
        let body =
            bincode::serde::encode_to_vec(content, configuration()).map_err(io::Error::other)?;
        if body.len() > MAX_BODY_LENGTH {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} is too large", self.what),
            ));
        }
        Ok(self.seal_body(&body))
    }

    /// The bytes of an envelope with this body, which is at most [`MAX_BODY_LENGTH`] long.
    pub(crate) fn seal_body(&self, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ENVELOPE_HEADER_LENGTH + body.len());
        bytes.extend_from_slice(&self.magic);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(body);
        let crc = crc_of(&bytes);
        bytes[16..20].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Opens the envelope at the start of `bytes`: its content, and how many bytes it took.
    ///
    /// # Errors
    /// [`FormatError::NotThisFormat`], [`FormatError::NewerVersion`] or [`FormatError::Damaged`].
    pub(crate) fn open<T: DeserializeOwned>(
        &self,
        bytes: &[u8],
    ) -> Result<(T, usize), FormatError> {
        let mut reader = ByteReader::new(bytes);
        if reader.array::<8>(self.what).ok() != Some(self.magic) {
            return Err(FormatError::NotThisFormat { what: self.what });
        }
        let found = u32::from_le_bytes(reader.array(self.what)?);
        let length = u32::from_le_bytes(reader.array(self.what)?) as usize;
        let crc = u32::from_le_bytes(reader.array(self.what)?);
        let body = reader.take(length, self.what)?;
        if crc_of(&bytes[..reader.position()]) != crc {
            return Err(FormatError::damaged(self.what, 0));
        }
        if found > self.version {
            return Err(FormatError::NewerVersion {
                what: self.what,
                found,
                supported: self.version,
            });
        }
        let damaged = || FormatError::damaged(self.what, ENVELOPE_HEADER_LENGTH);
        let (content, used) =
            bincode::serde::decode_from_slice(body, configuration()).map_err(|_| damaged())?;
        if used == body.len() {
            Ok((content, reader.position()))
        } else {
            Err(damaged())
        }
    }
}

/// The CRC of a whole envelope without the four bytes that hold it.
fn crc_of(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..16]);
    hasher.update(&bytes[ENVELOPE_HEADER_LENGTH..]);
    hasher.finalize()
}
