//! Writing replies.
//!
//! A [`Reply`] appends to a connection's write buffer in the dialect the client speaks; commands say what they mean (a
//! map, a double, nothing) and need not know which dialect that is. Nothing is built up beside the buffer: an
//! aggregate is its header followed by its elements, and where the number of elements is known only at the end, the
//! header is put in front of them afterwards, at the price of moving them once.

use super::number;

/// The dialect of a client, chosen with `HELLO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// RESP2, spoken until a client asks for more.
    #[default]
    Resp2,
    /// RESP3: maps, sets, doubles, pushes.
    Resp3,
}

/// `+OK`.
pub const OK: &[u8] = b"+OK\r\n";
/// `+QUEUED`, the answer to a command within MULTI.
pub const QUEUED: &[u8] = b"+QUEUED\r\n";
/// `+PONG`.
pub const PONG: &[u8] = b"+PONG\r\n";
/// The integer 0.
pub const ZERO: &[u8] = b":0\r\n";
/// The integer 1.
pub const ONE: &[u8] = b":1\r\n";
/// An array without elements.
pub const EMPTY_ARRAY: &[u8] = b"*0\r\n";
/// A string without bytes.
pub const EMPTY_BULK: &[u8] = b"$0\r\n\r\n";

/// The first line of a bulk string: `$12\r\n`.
#[derive(Clone, Copy)]
struct LengthLine {
    bytes: [u8; 7],
    /// How many of them count.
    length: u8,
}

impl LengthLine {
    const fn of(bulk_length: usize) -> LengthLine {
        let mut line = LengthLine {
            bytes: *b"$\r\n    ",
            length: 3,
        };
        let mut rest = bulk_length;
        // Digit by digit from the last one, each put behind the mark.
        loop {
            let mut index = line.length as usize;
            while index > 1 {
                line.bytes[index] = line.bytes[index - 1];
                index -= 1;
            }
            line.bytes[1] = b'0' + (rest % 10) as u8;
            line.length += 1;
            rest /= 10;
            if rest == 0 {
                return line;
            }
        }
    }
}

/// The first lines of short bulk strings: formatting a number takes longer than all the rest of a GET's reply.
static BULK_LENGTH_LINES: [LengthLine; 1000] = {
    let mut lines = [LengthLine::of(0); 1000];
    let mut length = 1;
    while length < lines.len() {
        lines[length] = LengthLine::of(length);
        length += 1;
    }
    lines
};

/// Appends replies to a write buffer.
#[derive(Debug)]
pub struct Reply<'a> {
    buffer: &'a mut Vec<u8>,
    protocol: Protocol,
}

/// Place of an aggregate whose length is not known yet; see [`Reply::begin_deferred`].
#[derive(Debug)]
#[must_use = "the header of the aggregate is still missing"]
pub struct Deferred {
    position: usize,
}

impl<'a> Reply<'a> {
    /// A writer behind what `buffer` already holds.
    pub fn new(buffer: &'a mut Vec<u8>, protocol: Protocol) -> Reply<'a> {
        Reply { buffer, protocol }
    }

    /// The dialect of the client.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Changes the dialect, from the next reply on.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// Bytes in the write buffer, earlier replies included: a mark for [`Reply::rewind`].
    pub fn position(&self) -> usize {
        self.buffer.len()
    }

    /// Removes what was written since `position`.
    pub fn rewind(&mut self, position: usize) {
        self.buffer.truncate(position);
    }

    /// What was written since `position`.
    pub fn written_since(&self, position: usize) -> &[u8] {
        self.buffer.get(position..).unwrap_or_default()
    }

    /// Appends a reply that is encoded already, such as [`OK`].
    #[inline]
    pub fn raw(&mut self, encoded: &[u8]) {
        self.buffer.extend_from_slice(encoded);
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.raw(OK);
    }

    /// A simple string. It must not contain an end of line; if it does, that becomes a blank.
    pub fn simple(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'+', text.as_ref());
    }

    /// An error, its code in front (`ERR syntax error`). Ends of line within it become blanks.
    pub fn error(&mut self, message: impl AsRef<[u8]>) {
        self.line(b'-', message.as_ref());
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        match value {
            0 => self.raw(ZERO),
            1 => self.raw(ONE),
            _ => self.number_line(b':', value),
        }
    }

    /// A count, as an integer.
    #[inline]
    pub fn count(&mut self, value: usize) {
        self.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// A binary-safe string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.buffer.reserve(bytes.len() + 32);
        match BULK_LENGTH_LINES.get(bytes.len()) {
            Some(LengthLine { bytes, length }) => {
                // A copy of fixed size is one store, one of variable size a call.
                let end = self.buffer.len() + usize::from(*length);
                self.buffer.extend_from_slice(bytes);
                self.buffer.truncate(end);
            }
            None => self.number_line(b'$', bytes.len() as i64),
        }
        self.buffer.extend_from_slice(bytes);
        self.end_line();
    }

    /// A string, or null.
    #[inline]
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// A string with the decimal digits of an integer, as GET gives it.
    #[inline]
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Nothing, where a string could have been.
    #[inline]
    pub fn null(&mut self) {
        self.by_protocol(b"$-1\r\n", b"_\r\n");
    }

    /// Nothing, where an array could have been.
    #[inline]
    pub fn null_array(&mut self) {
        self.by_protocol(b"*-1\r\n", b"_\r\n");
    }

    /// `elements` replies follow.
    #[inline]
    pub fn array_header(&mut self, elements: usize) {
        self.number_line(b'*', elements as i64);
    }

    /// `pairs` times a key and a value follow; in RESP2 an array of twice as many elements.
    pub fn map_header(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array_header(pairs * 2),
            Protocol::Resp3 => self.number_line(b'%', pairs as i64),
        }
    }

    /// `elements` different replies follow; in RESP2 an array.
    pub fn set_header(&mut self, elements: usize) {
        self.number_line(
            if self.protocol == Protocol::Resp3 {
                b'~'
            } else {
                b'*'
            },
            elements as i64,
        );
    }

    /// A message that answers no request, of `elements` parts; in RESP2 an array.
    pub fn push_header(&mut self, elements: usize) {
        self.number_line(
            if self.protocol == Protocol::Resp3 {
                b'>'
            } else {
                b'*'
            },
            elements as i64,
        );
    }

    /// A floating point number; in RESP2 a string.
    pub fn double(&mut self, value: f64) {
        match self.protocol {
            Protocol::Resp2 => {
                let mut text = Vec::with_capacity(32);
                number::format_double(value, &mut text);
                self.bulk(&text);
            }
            Protocol::Resp3 => {
                self.buffer.push(b',');
                number::format_double(value, self.buffer);
                self.end_line();
            }
        }
    }

    /// A truth value; in RESP2 the integer 1 or 0.
    pub fn boolean(&mut self, value: bool) {
        if value {
            self.by_protocol(ONE, b"#t\r\n")
        } else {
            self.by_protocol(ZERO, b"#f\r\n")
        }
    }

    /// An integer of any size, given by its decimal digits; in RESP2 a string.
    pub fn big_number(&mut self, digits: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits),
            Protocol::Resp3 => self.line(b'(', digits),
        }
    }

    /// A text for people, with its format in three letters (`txt`, `mkd`); in RESP2 a string.
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.number_line(b'=', text.len() as i64 + 4);
                self.buffer.extend_from_slice(&format);
                self.buffer.push(b':');
                self.buffer.extend_from_slice(text);
                self.end_line();
            }
        }
    }

    /// Begins an aggregate of unknown length. Write its elements, then close it with one of the `end_deferred`
    /// functions. Aggregates may nest; the inner ones are closed first.
    pub fn begin_deferred(&mut self) -> Deferred {
        Deferred {
            position: self.buffer.len(),
        }
    }

    /// Closes an array of `elements` replies. Moves them by the length of the header.
    pub fn end_deferred_array(&mut self, deferred: Deferred, elements: usize) {
        self.insert_header(deferred, |reply| reply.array_header(elements));
    }

    /// Closes a map of `pairs` keys and values.
    pub fn end_deferred_map(&mut self, deferred: Deferred, pairs: usize) {
        self.insert_header(deferred, |reply| reply.map_header(pairs));
    }

    /// Closes a set of `elements` replies.
    pub fn end_deferred_set(&mut self, deferred: Deferred, elements: usize) {
        self.insert_header(deferred, |reply| reply.set_header(elements));
    }

    /// Closes the reply of SCAN and its relatives: the next cursor, and an array of `elements` replies.
    pub fn end_deferred_scan(&mut self, deferred: Deferred, cursor: u64, elements: usize) {
        self.insert_header(deferred, |reply| {
            reply.array_header(2);
            reply.bulk(itoa::Buffer::new().format(cursor).as_bytes());
            reply.array_header(elements);
        });
    }

    /// Writes the header at the end and rotates it to the front.
    fn insert_header(&mut self, deferred: Deferred, write: impl FnOnce(&mut Self)) {
        let end = self.buffer.len();
        write(self);
        let header_length = self.buffer.len() - end;
        self.buffer[deferred.position..].rotate_right(header_length);
    }

    #[inline]
    fn by_protocol(&mut self, resp2: &[u8], resp3: &[u8]) {
        self.raw(if self.protocol == Protocol::Resp3 {
            resp3
        } else {
            resp2
        });
    }

    #[inline]
    fn end_line(&mut self) {
        self.buffer.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn number_line(&mut self, mark: u8, value: i64) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(value).as_bytes();
        self.buffer.reserve(digits.len() + 3);
        self.buffer.push(mark);
        self.buffer.extend_from_slice(digits);
        self.end_line();
    }

    fn line(&mut self, mark: u8, text: &[u8]) {
        self.buffer.push(mark);
        self.buffer.extend(text.iter().map(|&byte| {
            if matches!(byte, b'\r' | b'\n') {
                b' '
            } else {
                byte
            }
        }));
        self.end_line();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `write` in both dialects.
    fn both(write: impl Fn(&mut Reply)) -> (String, String) {
        let run = |protocol| {
            let mut buffer = Vec::new();
            write(&mut Reply::new(&mut buffer, protocol));
            buffer.escape_ascii().to_string()
        };
        (run(Protocol::Resp2), run(Protocol::Resp3))
    }

    #[test]
    fn every_kind_in_both_dialects() {
        type Writer = fn(&mut Reply);
        let cases: &[(Writer, &str, &str)] = &[
            (|reply| reply.ok(), r"+OK\r\n", r"+OK\r\n"),
            (
                |reply| reply.simple("string"),
                r"+string\r\n",
                r"+string\r\n",
            ),
            (
                |reply| reply.error("ERR a\r\nb"),
                r"-ERR a  b\r\n",
                r"-ERR a  b\r\n",
            ),
            (|reply| reply.integer(0), r":0\r\n", r":0\r\n"),
            (
                |reply| reply.integer(i64::MIN),
                r":-9223372036854775808\r\n",
                r":-9223372036854775808\r\n",
            ),
            (|reply| reply.count(12), r":12\r\n", r":12\r\n"),
            (
                |reply| reply.bulk(b"a\0\r\n"),
                r"$4\r\na\x00\r\n\r\n",
                r"$4\r\na\x00\r\n\r\n",
            ),
            (|reply| reply.bulk(b""), r"$0\r\n\r\n", r"$0\r\n\r\n"),
            (
                |reply| reply.bulk_integer(-12),
                r"$3\r\n-12\r\n",
                r"$3\r\n-12\r\n",
            ),
            (|reply| reply.bulk_or_null(None), r"$-1\r\n", r"_\r\n"),
            (|reply| reply.null_array(), r"*-1\r\n", r"_\r\n"),
            (|reply| reply.array_header(10), r"*10\r\n", r"*10\r\n"),
            (|reply| reply.map_header(2), r"*4\r\n", r"%2\r\n"),
            (|reply| reply.set_header(2), r"*2\r\n", r"~2\r\n"),
            (|reply| reply.push_header(3), r"*3\r\n", r">3\r\n"),
            (|reply| reply.double(1.5), r"$3\r\n1.5\r\n", r",1.5\r\n"),
            (|reply| reply.double(-2.0), r"$2\r\n-2\r\n", r",-2\r\n"),
            (
                |reply| reply.double(f64::INFINITY),
                r"$3\r\ninf\r\n",
                r",inf\r\n",
            ),
            (|reply| reply.boolean(true), r":1\r\n", r"#t\r\n"),
            (|reply| reply.boolean(false), r":0\r\n", r"#f\r\n"),
            (
                |reply| reply.big_number(b"123"),
                r"$3\r\n123\r\n",
                r"(123\r\n",
            ),
            (
                |reply| reply.verbatim(*b"txt", b"hi"),
                r"$2\r\nhi\r\n",
                r"=6\r\ntxt:hi\r\n",
            ),
        ];
        for (write, resp2, resp3) in cases {
            assert_eq!(both(write), (resp2.to_string(), resp3.to_string()));
        }
    }

    #[test]
    fn a_deferred_header_comes_first() {
        let (resp2, resp3) = both(|reply| {
            reply.integer(7);
            let outer = reply.begin_deferred();
            reply.integer(2);
            let inner = reply.begin_deferred();
            reply.bulk(b"k");
            reply.integer(3);
            reply.end_deferred_map(inner, 1);
            reply.end_deferred_array(outer, 2);
            let empty = reply.begin_deferred();
            reply.end_deferred_set(empty, 0);
        });
        assert_eq!(resp2, r":7\r\n*2\r\n:2\r\n*2\r\n$1\r\nk\r\n:3\r\n*0\r\n");
        assert_eq!(resp3, r":7\r\n*2\r\n:2\r\n%1\r\n$1\r\nk\r\n:3\r\n~0\r\n");
    }

    #[test]
    fn the_cursor_of_a_scan_comes_first() {
        let (resp2, resp3) = both(|reply| {
            let scan = reply.begin_deferred();
            reply.bulk(b"k");
            reply.end_deferred_scan(scan, 17, 1);
        });
        assert_eq!(resp2, r"*2\r\n$2\r\n17\r\n*1\r\n$1\r\nk\r\n");
        assert_eq!(resp3, resp2);
    }

    #[test]
    fn a_failed_reply_can_be_taken_back() {
        let mut buffer = b"+OK\r\n".to_vec();
        let mut reply = Reply::new(&mut buffer, Protocol::Resp2);
        let mark = reply.position();
        reply.array_header(3);
        assert_eq!(reply.written_since(mark), b"*3\r\n");
        reply.rewind(mark);
        reply.error("ERR no");
        assert_eq!(buffer, b"+OK\r\n-ERR no\r\n");
    }
}
