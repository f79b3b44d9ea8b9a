//! Finding requests in a connection's read buffer.
//!
//! A request is an array of bulk strings (`*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`) or an inline line (`GET k\r\n`). The decoder
//! copies nothing: it yields ranges of the buffer, collected in an array that the caller reuses for many requests. It
//! keeps its place in a request that has arrived only in part, so that a request of a million arguments costs the same
//! whether it arrives in one piece or in a thousand, and it allocates by what has arrived, never by what was announced.
//!
//! Cost of the usual small request: one pass over its bytes of structure, none over its arguments.

use super::error::ProtocolError;
use super::{number, quoting};

/// Longest inline request and longest length line, in bytes without the end of line.
pub const INLINE_LIMIT_BYTES: usize = 64 * 1024;
/// Most arguments that a request may have.
const MULTIBULK_LIMIT: i64 = i32::MAX as i64;
/// Most arguments that a request of an unauthenticated client may have.
const UNAUTHENTICATED_MULTIBULK_LIMIT: i64 = 10;
/// Longest argument that an unauthenticated client may send.
const UNAUTHENTICATED_BULK_LIMIT_BYTES: i64 = 16 * 1024;
/// Arguments shorter than this have a length line of at most three digits.
const SHORT_ARGUMENT_LIMIT: u64 = 1000;
/// The decoder gives memory for unfinished requests back if there are more argument places than this.
const KEPT_ARGUMENT_PLACES: usize = 64;

/// What a client may send.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest argument (`proto-max-bulk-len`).
    pub bulk_bytes: u64,
    /// The client need not authenticate, or has. While it has not, decode and execute its requests one by one: the
    /// limits of what follows an `AUTH` depend on its outcome.
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bulk_bytes: 512 * 1024 * 1024,
            authenticated: true,
        }
    }
}

/// Where in the buffer an argument lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgumentRange {
    /// First byte, counted from the start of the buffer.
    pub start: u32,
    /// Number of bytes.
    pub length: u32,
}

impl ArgumentRange {
    /// The argument itself. `buffer` must be the one that was decoded.
    #[inline]
    pub fn of<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        &buffer[self.start as usize..][..self.length as usize]
    }
}

/// What [`Decoder::decode`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// A request of `consumed` bytes, whose arguments were appended.
    Complete {
        /// Bytes of the request; the next one begins behind them.
        consumed: usize,
    },
    /// `consumed` bytes that ask for nothing (an empty line, `*0`): skip them and go on.
    Empty {
        /// Bytes to skip.
        consumed: usize,
    },
    /// The request is not all there; nothing was appended. Keep its bytes and come back with more of them.
    Incomplete {
        /// At least so many bytes are missing. Client-supplied: good for choosing the size of the next read, not for
        /// allocating it without a bound.
        needed: usize,
    },
}

/// Decodes the requests of one connection. Holds the progress in a request that has not arrived completely.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Bytes of the request that need not be looked at again, counted from its start.
    position: usize,
    /// Bytes behind `position` that are known to hold no end of line.
    searched: usize,
    /// Arguments still to come; 0 between requests.
    remaining: usize,
    /// Length of the argument at `position`, when its length line has been read.
    bulk_length: Option<u32>,
    /// Arguments found so far, their starts counted from the start of the request.
    unfinished: Vec<ArgumentRange>,
}

impl Decoder {
    /// A decoder at the beginning of a stream.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// True in the middle of a request: its first bytes have been seen, its end has not.
    pub fn is_inside_request(&self) -> bool {
        self.remaining > 0 || self.searched > 0
    }

    /// Decodes the request that begins at `start`; appends its arguments, as ranges of `buffer`.
    ///
    /// After `Incomplete`, call again with the same bytes, and more of them behind; they may have moved in the buffer.
    /// Inline requests are unescaped in place, hence `&mut`. An error is final: close the connection.
    pub fn decode(
        &mut self,
        buffer: &mut [u8],
        start: usize,
        limits: &Limits,
        arguments: &mut Vec<ArgumentRange>,
    ) -> Result<Decoded, ProtocolError> {
        let first = arguments.len();
        let outcome = self.decode_request(buffer, start, limits, arguments);
        if outcome.is_err() {
            arguments.truncate(first);
        }
        outcome
    }

    #[inline]
    fn decode_request(
        &mut self,
        buffer: &mut [u8],
        start: usize,
        limits: &Limits,
        arguments: &mut Vec<ArgumentRange>,
    ) -> Result<Decoded, ProtocolError> {
        let first = arguments.len();
        if self.remaining == 0 {
            if let Some(consumed) = self.decode_short(buffer, start, limits, arguments) {
                return Ok(Decoded::Complete { consumed });
            }
            match buffer.get(start) {
                None => return Ok(Decoded::Incomplete { needed: 1 }),
                Some(b'*') => {}
                Some(_) => return self.decode_inline(buffer, start, arguments),
            }
            match self.read_multibulk_count(&buffer[start..], limits)? {
                CountLine::Incomplete => return Ok(Decoded::Incomplete { needed: 1 }),
                CountLine::Nothing { consumed } => return Ok(Decoded::Empty { consumed }),
                CountLine::Arguments => {}
            }
        }
        if !self.unfinished.is_empty() {
            return self.resume(buffer, start, limits, arguments);
        }
        match self.read_arguments(buffer, start, start, limits, arguments)? {
            0 => Ok(Decoded::Complete {
                consumed: self.finish(),
            }),
            needed => {
                let shifted = arguments.drain(first..);
                let origin = start as u32;
                self.unfinished.extend(shifted.map(|range| ArgumentRange {
                    start: range.start - origin,
                    ..range
                }));
                Ok(Decoded::Incomplete { needed })
            }
        }
    }

    /// Decodes a request that is all there and has nothing unusual: fewer than ten arguments, each shorter than a kilobyte. Gives
    /// its size; of anything else `None`, and nothing has changed.
    #[inline]
    fn decode_short(
        &self,
        buffer: &[u8],
        start: usize,
        limits: &Limits,
        arguments: &mut Vec<ArgumentRange>,
    ) -> Option<usize> {
        let is_ready = self.searched == 0 && limits.bulk_bytes >= SHORT_ARGUMENT_LIMIT;
        if !is_ready || buffer.len() > u32::MAX as usize {
            return None;
        }
        let &[b'*', count @ b'1'..=b'9', b'\r', b'\n'] = buffer.get(start..)?.first_chunk()? else {
            return None;
        };
        let first = arguments.len();
        let mut position = start + 4;
        for _ in 0..count - b'0' {
            let Some((length, header)) = short_length(&buffer[position..]) else {
                arguments.truncate(first);
                return None;
            };
            let begin = position + header;
            position = begin + length + 2;
            if position > buffer.len() {
                arguments.truncate(first);
                return None;
            }
            arguments.push(ArgumentRange {
                start: begin as u32,
                length: length as u32,
            });
        }
        Some(position - start)
    }

    /// Goes on with a request of which some arguments were found earlier.
    #[cold]
    fn resume(
        &mut self,
        buffer: &[u8],
        start: usize,
        limits: &Limits,
        arguments: &mut Vec<ArgumentRange>,
    ) -> Result<Decoded, ProtocolError> {
        let mut unfinished = std::mem::take(&mut self.unfinished);
        let needed = self.read_arguments(buffer, start, 0, limits, &mut unfinished)?;
        if needed > 0 {
            self.unfinished = unfinished;
            return Ok(Decoded::Incomplete { needed });
        }
        let consumed = self.finish();
        u32::try_from(start + consumed).map_err(|_| ProtocolError::RequestTooLarge)?;
        let origin = start as u32;
        arguments.extend(unfinished.drain(..).map(|range| ArgumentRange {
            start: range.start + origin,
            ..range
        }));
        if unfinished.capacity() <= KEPT_ARGUMENT_PLACES {
            self.unfinished = unfinished;
        }
        Ok(Decoded::Complete { consumed })
    }

    /// The request is complete: its size, and the decoder is ready for the next one.
    #[inline]
    fn finish(&mut self) -> usize {
        self.searched = 0;
        std::mem::take(&mut self.position)
    }

    fn read_multibulk_count(
        &mut self,
        request: &[u8],
        limits: &Limits,
    ) -> Result<CountLine, ProtocolError> {
        let (count, next) = match read_length(request, 1, self.searched) {
            Length::Value { value, next } => (value, next),
            Length::Incomplete { searched } => {
                self.searched = searched;
                return Ok(CountLine::Incomplete);
            }
            Length::Invalid => return Err(ProtocolError::InvalidMultibulkLength),
            Length::TooLong => return Err(ProtocolError::TooBigMultibulkCount),
        };
        self.searched = 0;
        if count > MULTIBULK_LIMIT {
            return Err(ProtocolError::InvalidMultibulkLength);
        }
        if count > UNAUTHENTICATED_MULTIBULK_LIMIT && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        if count <= 0 {
            return Ok(CountLine::Nothing { consumed: next });
        }
        self.remaining = count as usize;
        self.position = next;
        Ok(CountLine::Arguments)
    }

    /// Reads arguments until there are no more (0) or bytes are missing (how many at least). The request begins at
    /// `start`; the ranges found are stored as if it began at `range_origin`.
    fn read_arguments(
        &mut self,
        buffer: &[u8],
        start: usize,
        range_origin: usize,
        limits: &Limits,
        found: &mut Vec<ArgumentRange>,
    ) -> Result<usize, ProtocolError> {
        let request = &buffer[start..];
        let mut position = self.position;
        while self.remaining > 0 {
            let length = match self.bulk_length.take() {
                Some(length) => length as usize,
                None => match self.read_bulk_length(request, position, limits)? {
                    Some((length, next)) => {
                        position = next;
                        length
                    }
                    None => {
                        self.position = position;
                        return Ok(1);
                    }
                },
            };
            let end = position + length + 2;
            if end > request.len() {
                self.position = position;
                self.bulk_length = Some(length as u32);
                return Ok(end - request.len());
            }
            let Ok(range_start) = u32::try_from(range_origin + position) else {
                return Err(ProtocolError::RequestTooLarge);
            };
            found.push(ArgumentRange {
                start: range_start,
                length: length as u32,
            });
            position = end;
            self.remaining -= 1;
        }
        self.position = position;
        Ok(0)
    }

    /// Reads `$<length>\r\n` at `position`: the length and where the argument begins, or None if it is not all there.
    #[inline]
    fn read_bulk_length(
        &mut self,
        request: &[u8],
        position: usize,
        limits: &Limits,
    ) -> Result<Option<(usize, usize)>, ProtocolError> {
        match request.get(position) {
            Some(b'$') => {}
            Some(other) => return Err(ProtocolError::ExpectedBulk(*other)),
            None => return Ok(None),
        }
        let (length, next) = match read_length(request, position + 1, self.searched) {
            Length::Value { value, next } => (value, next),
            Length::Incomplete { searched } => {
                self.searched = searched;
                return Ok(None);
            }
            Length::Invalid => return Err(ProtocolError::InvalidBulkLength),
            Length::TooLong => return Err(ProtocolError::TooBigBulkCount),
        };
        self.searched = 0;
        if length < 0 || length as u64 > limits.bulk_bytes {
            return Err(ProtocolError::InvalidBulkLength);
        }
        if length > UNAUTHENTICATED_BULK_LIMIT_BYTES && !limits.authenticated {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        if length >= i64::from(u32::MAX) {
            return Err(ProtocolError::RequestTooLarge);
        }
        Ok(Some((length as usize, next)))
    }

    fn decode_inline(
        &mut self,
        buffer: &mut [u8],
        start: usize,
        arguments: &mut Vec<ArgumentRange>,
    ) -> Result<Decoded, ProtocolError> {
        let request = &mut buffer[start..];
        let window = request.len().min(INLINE_LIMIT_BYTES + 1);
        let Some(found) = memchr::memchr(b'\n', &request[self.searched.min(window)..window]) else {
            if request.len() > INLINE_LIMIT_BYTES {
                return Err(ProtocolError::TooBigInlineRequest);
            }
            self.searched = window;
            return Ok(Decoded::Incomplete { needed: 1 });
        };
        let line_length = self.searched + found;
        self.searched = 0;
        if u32::try_from(start + line_length).is_err() {
            return Err(ProtocolError::RequestTooLarge);
        }
        let line = &mut request[..line_length];
        let before = arguments.len();
        quoting::split_in_place(line, |range| {
            arguments.push(ArgumentRange {
                start: (start + range.start) as u32,
                length: range.len() as u32,
            });
        })
        .map_err(|_| ProtocolError::UnbalancedQuotes)?;
        let consumed = line_length + 1;
        if arguments.len() == before {
            return Ok(Decoded::Empty { consumed });
        }
        Ok(Decoded::Complete { consumed })
    }
}

/// Outcome of reading `*<count>\r\n`.
enum CountLine {
    Arguments,
    Nothing { consumed: usize },
    Incomplete,
}

/// Outcome of reading `<number>\r\n`.
enum Length {
    Value { value: i64, next: usize },
    Incomplete { searched: usize },
    Invalid,
    TooLong,
}

/// Reads a length line of one to three digits, `$12\r\n`: the length, and the bytes of the line. `None` for any other, and near
/// the end of the input.
#[inline]
fn short_length(line: &[u8]) -> Option<(usize, usize)> {
    let &[mark, first, second, third, fourth, ..] = line.first_chunk::<8>()?;
    let digit = |byte: u8| usize::from(byte.wrapping_sub(b'0'));
    let (one, two, three) = (digit(first), digit(second), digit(third));
    if mark != b'$' || one > 9 {
        return None;
    }
    if second == b'\r' {
        return Some((one, 4));
    }
    if one == 0 || two > 9 {
        return None;
    }
    if third == b'\r' {
        return Some((one * 10 + two, 5));
    }
    (three <= 9 && fourth == b'\r').then_some((one * 100 + two * 10 + three, 6))
}

/// Reads the number between `position` and the end of its line, of which `searched` bytes hold no `\r`.
#[inline]
fn read_length(request: &[u8], position: usize, searched: usize) -> Length {
    let mut value: i64 = 0;
    let mut cursor = position;
    while let Some(&byte) = request.get(cursor) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 || cursor - position > 9 {
            break;
        }
        value = value * 10 + i64::from(digit);
        cursor += 1;
    }
    let digits = cursor - position;
    let canonical = digits == 1 || (digits > 1 && request[position] != b'0');
    if canonical && cursor + 1 < request.len() && request[cursor] == b'\r' {
        return Length::Value {
            value,
            next: cursor + 2,
        };
    }
    read_unusual_length(request, position, searched)
}

/// As [`read_length`], for what its loop does not settle: signs, more digits, incomplete and invalid lines.
#[cold]
fn read_unusual_length(request: &[u8], position: usize, searched: usize) -> Length {
    let rest = request.get(position..).unwrap_or_default();
    let window = &rest[..rest.len().min(INLINE_LIMIT_BYTES + 1)];
    let skip = searched.min(window.len());
    let Some(found) = memchr::memchr(b'\r', &window[skip..]) else {
        if rest.len() > INLINE_LIMIT_BYTES {
            return Length::TooLong;
        }
        return Length::Incomplete {
            searched: window.len(),
        };
    };
    let line = &window[..skip + found];
    if line.len() + 1 >= rest.len() {
        return Length::Incomplete {
            searched: line.len(),
        };
    }
    match number::parse_integer(line) {
        Some(value) => Length::Value {
            value,
            next: position + line.len() + 2,
        },
        None => Length::Invalid,
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
