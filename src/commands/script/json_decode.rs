//! `cjson.decode`: JSON into Lua values, with the error texts of lua-cjson 2.1.
//!
//! A parser of our own, because scripts see which token was found at which byte, and may be lenient about numbers.

use super::raised::located_error;
use mlua::{Error, Lua, Result, Value};

/// Turns a text into a value. `lenient`: hexadecimal numbers, infinities and NaN are numbers.
///
/// # Errors
/// It is not JSON, or nested deeper than `depth_max`.
pub fn decode(lua: &Lua, text: &[u8], depth_max: u32, lenient: bool) -> Result<Value> {
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(located_error(
            lua,
            "JSON parser does not support UTF-16 or UTF-32",
        ));
    }
    let mut parser = Parser {
        lua,
        text,
        position: 0,
        depth: 0,
        depth_max,
        lenient,
    };
    let (token, at) = parser.next();
    let value = parser.value(token, at)?;
    match parser.next() {
        (Token::End, _) => Ok(value),
        (token, at) => Err(parser.unexpected("the end", &token, at)),
    }
}

enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

impl Token {
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::Text(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Error(text) => text,
        }
    }
}

struct Parser<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    position: usize,
    depth: u32,
    depth_max: u32,
    lenient: bool,
}

impl Parser<'_> {
    fn unexpected(&self, expected: &str, found: &Token, at: usize) -> Error {
        let text = format!(
            "Expected {expected} but found {} at character {}",
            found.name(),
            at + 1
        );
        located_error(self.lua, text)
    }

    /// The next token, and where it begins (an error in a string: where that is).
    fn next(&mut self) -> (Token, usize) {
        while matches!(
            self.text.get(self.position),
            Some(b' ' | b'\t' | b'\n' | b'\r')
        ) {
            self.position += 1;
        }
        let at = self.position;
        let Some(byte) = self.text.get(at) else {
            return (Token::End, at);
        };
        let single = match byte {
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b':' => Token::Colon,
            b',' => Token::Comma,
            b'"' => return self.quoted(at),
            b'-' | b'0'..=b'9' => return (self.number(at), at),
            _ => return (self.word(at), at),
        };
        self.position += 1;
        (single, at)
    }

    fn word(&mut self, at: usize) -> Token {
        let words = [
            (&b"true"[..], Token::Boolean(true)),
            (b"false", Token::Boolean(false)),
            (b"null", Token::Null),
        ];
        for (word, token) in words {
            if self.text[at..].starts_with(word) {
                self.position += word.len();
                return token;
            }
        }
        match self.lenient.then(|| number_at(&self.text[at..])).flatten() {
            Some((number, length)) => {
                self.position += length;
                Token::Number(number)
            }
            None => Token::Error("invalid token"),
        }
    }

    fn number(&mut self, at: usize) -> Token {
        const INVALID: Token = Token::Error("invalid number");
        let text = &self.text[at..];
        if !self.lenient && !is_strict_number(text) {
            return INVALID;
        }
        match number_at(text) {
            Some((number, length)) => {
                self.position += length;
                Token::Number(number)
            }
            None => INVALID,
        }
    }

    fn quoted(&mut self, at: usize) -> (Token, usize) {
        let mut output = Vec::new();
        let mut position = at + 1;
        loop {
            let Some(byte) = self.text.get(position) else {
                return (Token::Error("unexpected end of string"), position);
            };
            match byte {
                b'"' => break,
                b'\\' => {
                    let rest = &self.text[position + 1..];
                    match unescape(rest, &mut output) {
                        Ok(length) => position += 1 + length,
                        Err(text) => return (Token::Error(text), position),
                    }
                }
                0 => return (Token::Error("unexpected end of string"), position),
                _ => {
                    output.push(*byte);
                    position += 1;
                }
            }
        }
        self.position = position + 1;
        (Token::Text(output), at)
    }

    fn value(&mut self, token: Token, at: usize) -> Result<Value> {
        match token {
            Token::Text(text) => self.lua.create_string(text).map(Value::String),
            Token::Number(number) => Ok(Value::Number(number)),
            Token::Boolean(truth) => Ok(Value::Boolean(truth)),
            Token::Null => Ok(Value::NULL),
            Token::ObjectBegin => self.object(),
            Token::ArrayBegin => self.array(),
            other => Err(self.unexpected("value", &other, at)),
        }
    }

    fn descend(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > self.depth_max {
            let text = format!(
                "Found too many nested data structures ({}) at character {}",
                self.depth, self.position
            );
            return Err(located_error(self.lua, text));
        }
        Ok(())
    }

    fn object(&mut self) -> Result<Value> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let (mut token, mut at) = self.next();
        if matches!(token, Token::ObjectEnd) {
            self.depth -= 1;
            return Ok(Value::Table(table));
        }
        loop {
            let Token::Text(key) = token else {
                return Err(self.unexpected("object key string", &token, at));
            };
            match self.next() {
                (Token::Colon, _) => {}
                (other, at) => return Err(self.unexpected("colon", &other, at)),
            }
            let (first, first_at) = self.next();
            let value = self.value(first, first_at)?;
            table.raw_set(self.lua.create_string(key)?, value)?;
            match self.next() {
                (Token::ObjectEnd, _) => break,
                (Token::Comma, _) => (token, at) = self.next(),
                (other, at) => return Err(self.unexpected("comma or object end", &other, at)),
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }

    fn array(&mut self) -> Result<Value> {
        self.descend()?;
        let table = self.lua.create_table()?;
        let (mut token, mut at) = self.next();
        if matches!(token, Token::ArrayEnd) {
            self.depth -= 1;
            return Ok(Value::Table(table));
        }
        for index in 1.. {
            let value = self.value(token, at)?;
            table.raw_set(index, value)?;
            match self.next() {
                (Token::ArrayEnd, _) => break,
                (Token::Comma, _) => (token, at) = self.next(),
                (other, at) => return Err(self.unexpected("comma or array end", &other, at)),
            }
        }
        self.depth -= 1;
        Ok(Value::Table(table))
    }
}

/// What follows a backslash; returns its length.
fn unescape(text: &[u8], output: &mut Vec<u8>) -> std::result::Result<usize, &'static str> {
    let byte = match text.first() {
        Some(b'u') => return unescape_unicode(text, output),
        Some(b'b') => 8,
        Some(b't') => b'\t',
        Some(b'n') => b'\n',
        Some(b'f') => 12,
        Some(b'r') => b'\r',
        Some(byte @ (b'"' | b'\\' | b'/')) => *byte,
        _ => return Err("invalid escape code"),
    };
    output.push(byte);
    Ok(1)
}

fn hex4(text: &[u8]) -> Option<u32> {
    let digits = text.get(..4)?;
    digits.iter().try_fold(0, |sum, digit| {
        Some(sum << 4 | char::from(*digit).to_digit(16)?)
    })
}

/// `u` and four digits, or a pair of that for what lies beyond the first plane.
fn unescape_unicode(text: &[u8], output: &mut Vec<u8>) -> std::result::Result<usize, &'static str> {
    const INVALID: &str = "invalid unicode escape code";
    let mut code = hex4(&text[1..]).ok_or(INVALID)?;
    let mut length = 5;
    if (0xd800..0xe000).contains(&code) {
        let second = text.get(5..).filter(|rest| rest.starts_with(b"\\u"));
        let low = second.and_then(|rest| hex4(&rest[2..]));
        let low = low.filter(|low| (0xdc00..0xe000).contains(low) && code < 0xdc00);
        code = 0x10000 + ((code & 0x3ff) << 10 | low.ok_or(INVALID)? & 0x3ff);
        length = 11;
    }
    let character = char::from_u32(code).ok_or(INVALID)?;
    output.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(length)
}

/// False for what a lenient parser takes for a number and JSON does not: hexadecimal, leading zeros, inf and nan.
fn is_strict_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [b'0', b'0'..=b'9' | b'x' | b'X', ..] => false,
        [b'0'..=b'9', ..] => true,
        _ => false,
    }
}

/// The number that a text begins with, as C's `strtod` reads it, and its length.
fn number_at(text: &[u8]) -> Option<(f64, usize)> {
    let sign_length = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let sign = if text.first() == Some(&b'-') {
        -1.0
    } else {
        1.0
    };
    let rest = &text[sign_length..];
    let begins_with = |word: &[u8]| {
        rest.get(..word.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    for (word, value) in [
        (&b"infinity"[..], f64::INFINITY),
        (b"inf", f64::INFINITY),
        (b"nan", f64::NAN),
    ] {
        if begins_with(word) {
            return Some((sign * value, sign_length + word.len()));
        }
    }
    if begins_with(b"0x") {
        let digits = rest[2..].iter().take_while(|byte| byte.is_ascii_hexdigit());
        let digits: Vec<u32> = digits
            .filter_map(|byte| char::from(*byte).to_digit(16))
            .collect();
        if !digits.is_empty() {
            let value = digits
                .iter()
                .fold(0.0, |sum, digit| sum * 16.0 + f64::from(*digit));
            return Some((sign * value, sign_length + 2 + digits.len()));
        }
    }
    let digits_from = |from: usize| {
        let rest = rest.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let mut length = digits_from(0);
    let mut has_digits = length > 0;
    if rest.get(length) == Some(&b'.') {
        let decimals = digits_from(length + 1);
        has_digits |= decimals > 0;
        length += 1 + decimals;
    }
    if !has_digits {
        return None;
    }
    if matches!(rest.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(length + 1), Some(b'-' | b'+')));
        let digits = digits_from(length + 1 + sign);
        if digits > 0 {
            length += 1 + sign + digits;
        }
    }
    let number: f64 = std::str::from_utf8(&rest[..length]).ok()?.parse().ok()?;
    Some((sign * number, sign_length + length))
}
