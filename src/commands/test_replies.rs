//! Replies as the tests write them: one spelling for each reply, so that comparing texts compares bytes.
//!
//! | reply | notation |
//! |---|---|
//! | simple string, error, integer | `+OK`, `-ERR syntax error`, `:1` |
//! | bulk string | `"text"`, escaped as in Rust |
//! | null string and null array in RESP2, null in RESP3 | `nil`, `nil-array`, `null` |
//! | array, set, push | `["a" :1]`, `~["a"]`, `>["a"]` |
//! | map | `{"field" "value"}` |
//! | double, boolean, big number, verbatim text | `,1.5`, `#t`, `(123`, `=txt "text"` |

use crate::resp::number::parse_integer;

/// The notation for the bytes of replies, one behind the other, separated by a blank.
pub fn render(bytes: &[u8]) -> String {
    let mut reader = Reader { rest: bytes };
    let mut replies = Vec::new();
    while !reader.rest.is_empty() {
        replies.push(reader.reply());
    }
    replies.join(" ")
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn line(&mut self) -> &'a [u8] {
        let end = memchr::memmem::find(self.rest, b"\r\n").expect("a line end");
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 2..];
        line
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.rest.split_at(count);
        self.rest = rest
            .strip_prefix(b"\r\n")
            .expect("a line end after a bulk string");
        bytes
    }

    fn elements(&mut self, count: i64) -> String {
        (0..count)
            .map(|_| self.reply())
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn reply(&mut self) -> String {
        let line = self.line();
        let (mark, operand) = line.split_first().expect("a mark");
        let text = || operand.escape_ascii().to_string().replace("\\'", "'");
        let number = || parse_integer(operand).expect("a length");
        match mark {
            b'+' | b'-' | b':' | b',' | b'#' | b'(' => format!("{}{}", char::from(*mark), text()),
            b'_' => "null".into(),
            b'$' if number() == -1 => "nil".into(),
            b'*' if number() == -1 => "nil-array".into(),
            b'$' => format!(
                "\"{}\"",
                self.bytes(number() as usize)
                    .escape_ascii()
                    .to_string()
                    .replace("\\'", "'")
            ),
            b'*' => format!("[{}]", self.elements(number())),
            b'~' => format!("~[{}]", self.elements(number())),
            b'>' => format!(">[{}]", self.elements(number())),
            b'%' => format!("{{{}}}", self.elements(number() * 2)),
            b'=' => {
                let (format, verbatim) = self.bytes(number() as usize).split_at(4);
                format!(
                    "={} \"{}\"",
                    format[..3].escape_ascii(),
                    verbatim.escape_ascii()
                )
            }
            other => panic!("no reply begins with {}", other.escape_ascii()),
        }
    }
}

#[test]
fn every_reply_has_its_own_notation() {
    let cases: &[(&[u8], &str)] = &[
        (b"+OK\r\n", "+OK"),
        (b"-ERR it's no\r\n", "-ERR it's no"),
        (b":-5\r\n", ":-5"),
        (b"$3\r\na\"\n\r\n", r#""a\"\n""#),
        (b"$-1\r\n", "nil"),
        (b"*-1\r\n", "nil-array"),
        (b"_\r\n", "null"),
        (b"*2\r\n*0\r\n:1\r\n", "[[] :1]"),
        (b"%1\r\n+a\r\n,1.5\r\n", "{+a ,1.5}"),
        (b"~1\r\n#t\r\n", "~[#t]"),
        (b">1\r\n(12\r\n", ">[(12]"),
        (b"=6\r\ntxt:hi\r\n", "=txt \"hi\""),
        (b":1\r\n:2\r\n", ":1 :2"),
    ];
    for (bytes, expected) in cases {
        assert_eq!(render(bytes), *expected);
    }
}
