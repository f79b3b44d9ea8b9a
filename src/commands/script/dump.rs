//! Libraries as bytes: what FUNCTION DUMP gives and FUNCTION RESTORE takes, and what the data directory keeps.
//!
//! Redis's own form, so that libraries can move between servers: for each library a mark and its text, then the version
//! of the format and a CRC-64 over all of it.

use super::libraries::LibrarySet;
use crate::error::CommandError;

/// Stands in front of the text of a library.
const LIBRARY_MARK: u8 = 245;
/// The version of RDB that Redis 7.2 writes.
const VERSION: u16 = 11;
/// Version and checksum.
const FOOTER_BYTES: usize = 10;
/// Larger texts are not to be believed.
const TEXT_BYTES_MAX: u64 = 512 << 20;

const WRONG: CommandError = CommandError::fixed("ERR DUMP payload version or checksum are wrong");
const UNREADABLE: CommandError =
    CommandError::fixed("ERR failed loading the given functions payload");

/// All libraries.
pub fn encode(libraries: &LibrarySet) -> Vec<u8> {
    let mut output = Vec::new();
    for library in libraries.iter() {
        output.push(LIBRARY_MARK);
        put_length(&mut output, library.text.len());
        output.extend_from_slice(&library.text);
    }
    output.extend_from_slice(&VERSION.to_le_bytes());
    let checksum = checksum(&output);
    output.extend_from_slice(&checksum.to_le_bytes());
    output
}

/// The texts of the libraries in a payload.
///
/// # Errors
/// It is damaged, of a newer version, or holds something else.
pub fn decode(payload: &[u8]) -> Result<Vec<Vec<u8>>, CommandError> {
    let (mut body, footer) = payload
        .len()
        .checked_sub(FOOTER_BYTES)
        .map(|length| payload.split_at(length))
        .ok_or(WRONG)?;
    let version = u16::from_le_bytes([footer[0], footer[1]]);
    let checksum_bytes = &payload[payload.len() - 8..];
    let is_right = checksum(&payload[..payload.len() - 8]).to_le_bytes() == *checksum_bytes;
    // A checksum of zero says that there is none.
    if version > VERSION || !is_right && checksum_bytes != [0; 8] {
        return Err(WRONG);
    }
    let mut texts = Vec::new();
    while let Some((mark, rest)) = body.split_first() {
        match *mark {
            LIBRARY_MARK => {}
            246 => {
                return Err(CommandError::fixed(
                    "ERR Pre-GA function format not supported",
                ));
            }
            _ => return Err(CommandError::fixed("ERR given type is not a function")),
        }
        body = rest;
        texts.push(take_text(&mut body).ok_or(UNREADABLE)?);
    }
    Ok(texts)
}

fn put_length(output: &mut Vec<u8>, length: usize) {
    match length {
        0..64 => output.push(length as u8),
        64..16384 => output.extend_from_slice(&[0x40 | (length >> 8) as u8, length as u8]),
        _ => {
            output.push(0x80);
            output.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

fn take<'a>(body: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = body.split_at_checked(length)?;
    *body = rest;
    Some(taken)
}

/// A length, or (`Err`) the kind of an encoding of its own.
fn take_length(body: &mut &[u8]) -> Option<Result<usize, u8>> {
    let first = take(body, 1)?[0];
    let length = match first >> 6 {
        0 => u64::from(first & 63),
        1 => u64::from(first & 63) << 8 | u64::from(take(body, 1)?[0]),
        3 => return Some(Err(first & 63)),
        _ if first == 0x80 => u64::from(u32::from_be_bytes(take(body, 4)?.try_into().ok()?)),
        _ if first == 0x81 => u64::from_be_bytes(take(body, 8)?.try_into().ok()?),
        _ => return None,
    };
    (length <= TEXT_BYTES_MAX).then_some(Ok(length as usize))
}

/// A text, plain or compressed with LZF, as Redis writes longer ones.
fn take_text(body: &mut &[u8]) -> Option<Vec<u8>> {
    const LZF: u8 = 3;
    match take_length(body)? {
        Ok(length) => take(body, length).map(<[u8]>::to_vec),
        Err(LZF) => {
            let compressed = take_length(body)?.ok()?;
            let length = take_length(body)?.ok()?;
            let text = decompress(take(body, compressed)?)?;
            (text.len() == length).then_some(text)
        }
        Err(_) => None,
    }
}

/// LZF: runs of literal bytes, and references to what came before.
fn decompress(mut input: &[u8]) -> Option<Vec<u8>> {
    let mut output: Vec<u8> = Vec::new();
    while !input.is_empty() {
        let control = usize::from(take(&mut input, 1)?[0]);
        if control < 32 {
            output.extend_from_slice(take(&mut input, control + 1)?);
            continue;
        }
        let mut length = control >> 5;
        if length == 7 {
            length += usize::from(take(&mut input, 1)?[0]);
        }
        let distance = (control & 31) << 8 | usize::from(take(&mut input, 1)?[0]);
        let start = output.len().checked_sub(distance + 1)?;
        // What is copied may reach into what is being written.
        for index in start..start + length + 2 {
            output.push(output[index]);
        }
        if output.len() as u64 > TEXT_BYTES_MAX {
            return None;
        }
    }
    Some(output)
}

/// CRC-64 of the Jones polynomial, reflected, as Redis computes it.
fn checksum(bytes: &[u8]) -> u64 {
    const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;
    const TABLE: [u64; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut sum = byte as u64;
            let mut bit = 0;
            while bit < 8 {
                sum = if sum & 1 == 1 {
                    sum >> 1 ^ POLYNOMIAL
                } else {
                    sum >> 1
                };
                bit += 1;
            }
            table[byte] = sum;
            byte += 1;
        }
        table
    };
    bytes.iter().fold(0, |sum, byte| {
        TABLE[usize::from(sum as u8 ^ byte)] ^ sum >> 8
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::script::libraries::Library;
    use std::sync::Arc;

    #[test]
    fn the_checksum_is_redis_s() {
        assert_eq!(checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for length in [1, 63, 64, 16383, 16384, 100_000] {
            let library = Library {
                name: "name".into(),
                text: vec![b'x'; length],
                functions: Vec::new(),
            };
            let mut libraries = LibrarySet::default();
            libraries.insert(Arc::new(library)).expect("no collision");
            let mut payload = encode(&libraries);
            assert_eq!(decode(&payload), Ok(vec![vec![b'x'; length]]));
            payload[1] ^= 1;
            assert_eq!(decode(&payload), Err(WRONG));
        }
    }

    #[test]
    fn payloads_that_are_something_else_are_refused() {
        for payload in [&b""[..], b"123456789", &[0; 30]] {
            assert!(decode(payload).is_err(), "{payload:?}");
        }
    }

    #[test]
    fn compressed_texts_are_read() {
        // Three literal bytes, then nine bytes from three back.
        let compressed = [2, b'a', b'b', b'c', 7 << 5, 0, 2];
        assert_eq!(
            decompress(&compressed).as_deref(),
            Some(&b"abcabcabcabc"[..])
        );
        assert_eq!(decompress(&[32, 9]), None);
    }
}
