//! Splitting a line into arguments as Redis does, for inline commands and configuration files.
//!
//! Arguments are separated by blanks. In double quotes `\n \r \t \b \a`, `\xHH` and `\` before any other character are
//! escapes; in single quotes only `\'` is. Behind a closing quote comes a blank or the end. A zero byte ends the
//! line. The work is done in place: what an argument means is never longer than how it was written, so no memory is
//! needed beside the line itself.

use std::ops::Range;

/// The quotes of the line do not match up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unbalanced quotes")]
pub struct UnbalancedQuotes;

/// Splits `line` and rewrites it in place so that each argument, unescaped, lies in the range that `take` is given.
pub fn split_in_place(
    line: &mut [u8],
    mut take: impl FnMut(Range<usize>),
) -> Result<(), UnbalancedQuotes> {
    let mut read = 0;
    loop {
        while read < line.len() && is_blank(line[read]) {
            read += 1;
        }
        if read == line.len() || line[read] == 0 {
            return Ok(());
        }
        let start = read;
        let (end, next) = unquote_one(line, start)?;
        take(start..end);
        read = next;
    }
}

/// Splits a line into owned arguments.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
    let mut line = line.to_vec();
    let mut ranges = Vec::new();
    split_in_place(&mut line, |range| ranges.push(range))?;
    Ok(ranges
        .into_iter()
        .map(|range| line[range].to_vec())
        .collect())
}

/// Quotes one argument so that [`split`] gives it back: always in double quotes, unprintable bytes as `\xHH`.
pub fn quote(argument: &[u8]) -> String {
    let mut quoted = String::with_capacity(argument.len() + 2);
    quoted.push('"');
    for &byte in argument {
        match byte {
            b'\\' | b'"' => quoted.extend(['\\', char::from(byte)]),
            b'\n' => quoted.push_str("\\n"),
            b'\r' => quoted.push_str("\\r"),
            b'\t' => quoted.push_str("\\t"),
            0x07 => quoted.push_str("\\a"),
            0x08 => quoted.push_str("\\b"),
            b' '..=b'~' => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted.push('"');
    quoted
}

/// What `isspace` of C accepts in the default locale.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// Unescapes the argument that begins at `start`. Returns the end of the result and where reading goes on.
fn unquote_one(line: &mut [u8], start: usize) -> Result<(usize, usize), UnbalancedQuotes> {
    let mut position = start;
    while let Some(&byte) = line.get(position) {
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' | 0 => break,
            // A closing quote ends the argument, so nothing plain can follow a quoted part.
            b'"' | b'\'' => return unquote_quoted(line, position),
            _ => position += 1,
        }
    }
    Ok((position, position))
}

/// As [`unquote_one`], from an opening quote on; up to there nothing had to be moved.
fn unquote_quoted(line: &mut [u8], opening: usize) -> Result<(usize, usize), UnbalancedQuotes> {
    let quote = line[opening];
    let (mut write, mut read) = (opening, opening + 1);
    loop {
        let rest = line.get(read..).unwrap_or_default();
        let (byte, length) = match rest {
            [] | [0, ..] => return Err(UnbalancedQuotes),
            [byte, after @ ..] if *byte == quote => {
                let closed = after
                    .first()
                    .is_none_or(|&next| next == 0 || is_blank(next));
                return if closed {
                    Ok((write, read + 1))
                } else {
                    Err(UnbalancedQuotes)
                };
            }
            [b'\\', ..] if quote == b'"' => escape(rest)?,
            [b'\\', b'\'', ..] => (b'\'', 2),
            [byte, ..] => (*byte, 1),
        };
        line[write] = byte;
        write += 1;
        read += length;
    }
}

/// The byte that an escape at the start of `text` stands for, and how long the escape is.
fn escape(text: &[u8]) -> Result<(u8, usize), UnbalancedQuotes> {
    match text {
        [_, b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            Ok((hexadecimal(*high) << 4 | hexadecimal(*low), 4))
        }
        [_, b'n', ..] => Ok((b'\n', 2)),
        [_, b'r', ..] => Ok((b'\r', 2)),
        [_, b't', ..] => Ok((b'\t', 2)),
        [_, b'b', ..] => Ok((0x08, 2)),
        [_, b'a', ..] => Ok((0x07, 2)),
        [_, 0, ..] | [_] | [] => Err(UnbalancedQuotes),
        [_, other, ..] => Ok((*other, 2)),
    }
}

fn hexadecimal(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Line = &'static [u8];

    #[test]
    fn lines_split_as_redis_splits_them() {
        let cases: &[(Line, Option<&[Line]>)] = &[
            (b"", Some(&[])),
            (b"  \t ", Some(&[])),
            (b"PING", Some(&[b"PING"])),
            (b" SET  key\tvalue ", Some(&[b"SET", b"key", b"value"])),
            (b"SET k \"a b\"", Some(&[b"SET", b"k", b"a b"])),
            (b"a\"b c\" d", Some(&[b"ab c", b"d"])),
            (b"'it\\'s' x", Some(&[b"it's", b"x"])),
            (b"'a\\nb'", Some(&[b"a\\nb"])),
            (br#""\n\r\t\b\a\\\"\q""#, Some(&[b"\n\r\t\x08\x07\\\"q"])),
            (br#""\x41\xfF\xg1""#, Some(&[b"A\xffxg1"])),
            (b"\"\" ''", Some(&[b"", b""])),
            (b"a\0b", Some(&[b"a"])),
            (b"\"a", None),
            (b"'a", None),
            (b"\"a\"b", None),
            (b"'a'b", None),
            (b"\"a\\", None),
            (b"\"a\\\"", None),
            (b"\"a\0\"", None),
            (b"a\"\"'", None),
        ];
        for (line, expected) in cases {
            let expected =
                expected.map(|list| list.iter().map(|item| item.to_vec()).collect::<Vec<_>>());
            assert_eq!(split(line).ok(), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn every_byte_survives_quoting() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(split(quote(&all).as_bytes()), Ok(vec![all]));
        assert_eq!(quote(b""), "\"\"");
    }

    proptest::proptest! {
        #[test]
        fn quoted_arguments_split_back(arguments: Vec<Vec<u8>>) {
            let line = arguments.iter().map(|argument| quote(argument)).collect::<Vec<_>>().join(" ");
            proptest::prop_assert_eq!(split(line.as_bytes()), Ok(arguments));
        }

        #[test]
        fn no_line_panics(line: Vec<u8>) {
            let _ = split(&line);
        }
    }
}
