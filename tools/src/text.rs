//! Bytes as text and back: keys and values are any bytes, a terminal is not.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::error::ToolError;

/// Bytes in double quotes: as they are where they are printable UTF-8, else with escapes that [`key_bytes`] understands.
pub fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\'' => text.push('\''),
                control if control.is_control() => {
                    let mut buffer = [0; 4];
                    let bytes = control.encode_utf8(&mut buffer).as_bytes();
                    text.extend(bytes.escape_ascii().map(char::from));
                }
                printable => text.extend(printable.escape_debug()),
            }
        }
        text.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    text.push('"');
    text
}

/// The bytes of a KEY argument.
///
/// # Errors
/// [`ToolError::Usage`] for an escape that does not exist.
pub fn key_bytes(argument: &OsStr, escaped: bool) -> Result<Vec<u8>, ToolError> {
    let bytes = argument.as_bytes();
    if !escaped {
        return Ok(bytes.to_vec());
    }
    unescape(bytes).ok_or_else(|| {
        ToolError::Usage(format!(
            "{}: this escape does not exist",
            argument.to_string_lossy()
        ))
    })
}

fn unescape(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    while let Some((&first, rest)) = text.split_first() {
        if first != b'\\' {
            bytes.push(first);
            text = rest;
            continue;
        }
        let (&escape, rest) = rest.split_first()?;
        let (byte, rest) = match escape {
            b'n' => (b'\n', rest),
            b'r' => (b'\r', rest),
            b't' => (b'\t', rest),
            b'\\' | b'"' | b'\'' => (escape, rest),
            b'x' => {
                let (digits, rest) = rest.split_at_checked(2)?;
                let digit = |byte: u8| char::from(byte).to_digit(16);
                ((digit(digits[0])? << 4 | digit(digits[1])?) as u8, rest)
            }
            _ => return None,
        };
        bytes.push(byte);
        text = rest;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_typed() {
        let cases: [(&[u8], &str); 6] = [
            (b"plain:key", "\"plain:key\""),
            ("größe".as_bytes(), "\"größe\""),
            (b"a\nb\t\0", r#""a\nb\t\x00""#),
            (b"\xff\xfe", r#""\xff\xfe""#),
            (
                br#"back\slash "quoted" it's"#,
                r#""back\\slash \"quoted\" it's""#,
            ),
            ("\u{85}".as_bytes(), r#""\xc2\x85""#),
        ];
        for (bytes, text) in cases {
            assert_eq!(quoted(bytes), text);
            let typed = &text[1..text.len() - 1];
            assert_eq!(
                key_bytes(OsStr::new(typed), true).ok().as_deref(),
                Some(bytes),
                "{text}"
            );
        }
    }

    #[test]
    fn every_byte_survives() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        let text = quoted(&all);
        assert_eq!(unescape(&text.as_bytes()[1..text.len() - 1]), Some(all));
    }

    #[test]
    fn unknown_escapes_are_refused() {
        for text in [r"\", r"\q", r"\x", r"\x1", r"\xzz", r"\x+1"] {
            assert!(key_bytes(OsStr::new(text), true).is_err(), "{text}");
        }
        assert_eq!(
            key_bytes(OsStr::new(r"\q"), false).ok().as_deref(),
            Some(&br"\q"[..])
        );
    }
}
