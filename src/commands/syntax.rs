//! The notation in which a command's row says which arguments the command takes, and the tree that it stands for.
//!
//! `COMMAND DOCS` shows the tree ([`super::command_docs`]), `docs/commands.md` the synopsis. The notation looks like a synopsis and
//! says what a synopsis leaves out: names, types, versions. It is read when somebody asks, never on a request's path; that
//! every row can be read is a test. Why it is like this: `docs/decisions/0023-command-arguments.md`.
//!
//! | | |
//! |---|---|
//! | `key`, `member`, `count:integer` | a value, with its type: `key` for the name `key`, else `string`, or the one after the colon |
//! | `storekey{key}:key` | a value that a synopsis calls otherwise |
//! | `key2:key#0` | it is found by key specification 0; without `#`, keys are numbered from left to right |
//! | `KEEPTTL`, `'*'` | a word that stands for itself; in quotes if it is not made of capitals, digits and dashes |
//! | `auto-id='*'` | the same with a name; else its name is the word in lower case |
//! | `[NX]` | may be left out |
//! | `[COUNT count:integer]`, `<STREAMS key... id...>` | one argument that begins with a word: a value, or a block of several, which has the word's name |
//! | `condition[NX \| XX]`, `where<LEFT \| RIGHT>` | one of several, with a name; `[ ]` may be left out, `< >` may not |
//! | `data<field value>` | a block without a word, with a name |
//! | `[AGGREGATE <SUM \| MIN>]` | one of several behind a word, which gives it its name |
//! | `key...` | once or more |
//! | `[GET pattern]...` | once or more, each time with its word; `[WEIGHTS weight...]` has the word once |
//! | `[GET]@6.2.0`, `EXAT time@6.2.0` | there since a version that is not the command's |
//! | `old-format@-2.8.12` | deprecated since then |

use std::borrow::Cow;
use std::fmt;

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ValueType {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
}

impl ValueType {
    const NAMES: [(&'static str, ValueType); 6] = [
        ("string", ValueType::String),
        ("integer", ValueType::Integer),
        ("double", ValueType::Double),
        ("key", ValueType::Key),
        ("pattern", ValueType::Pattern),
        ("unix-time", ValueType::UnixTime),
    ];

    fn named(name: &str) -> Option<ValueType> {
        let known = Self::NAMES.into_iter().find(|(known, _)| *known == name);
        known.map(|(_, value_type)| value_type)
    }

    fn name(self) -> &'static str {
        let known = Self::NAMES.into_iter().find(|(_, known)| *known == self);
        known.map_or("string", |(name, _)| name)
    }
}

/// What an argument consists of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind<'a> {
    /// A value.
    Value(ValueType),
    /// Only its token.
    PureToken,
    /// One of these.
    OneOf(Vec<Argument<'a>>),
    /// All of these.
    Block(Vec<Argument<'a>>),
}

/// An argument of a command, as COMMAND DOCS describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argument<'a> {
    /// Its name among its neighbours.
    pub name: Cow<'a, str>,
    /// What it consists of.
    pub kind: Kind<'a>,
    /// What a synopsis calls it, if not by its name.
    pub display: Option<&'a str>,
    /// The key specification that finds it.
    pub key_spec_index: Option<usize>,
    /// The word that it begins with.
    pub token: Option<&'a str>,
    /// The version that it came with, if the command is older.
    pub since: Option<&'a str>,
    /// From which version on it should not be used.
    pub deprecated_since: Option<&'a str>,
    /// It may be left out.
    pub optional: bool,
    /// It may be repeated.
    pub multiple: bool,
    /// If it is repeated, its token is too.
    pub multiple_token: bool,
}

impl<'a> Argument<'a> {
    fn new(name: Cow<'a, str>, kind: Kind<'a>) -> Argument<'a> {
        Argument {
            name,
            kind,
            display: None,
            key_spec_index: None,
            token: None,
            since: None,
            deprecated_since: None,
            optional: false,
            multiple: false,
            multiple_token: false,
        }
    }

    /// The type as COMMAND DOCS names it.
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Value(value_type) => value_type.name(),
            Kind::PureToken => "pure-token",
            Kind::OneOf(_) => "oneof",
            Kind::Block(_) => "block",
        }
    }

    /// The arguments that it consists of, if it does.
    pub fn nested(&self) -> Option<&[Argument<'a>]> {
        match &self.kind {
            Kind::OneOf(nested) | Kind::Block(nested) => Some(nested),
            Kind::Value(_) | Kind::PureToken => None,
        }
    }
}

/// Why a syntax cannot be read. Only a mistake in a row causes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyntaxError {
    /// Where, in bytes.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at byte {}", self.what, self.at)
    }
}

/// Reads a syntax.
///
/// # Errors
/// It is not in the notation.
pub fn parse(syntax: &str) -> Result<Vec<Argument<'_>>, SyntaxError> {
    let mut parser = Parser {
        text: syntax,
        at: 0,
        next_key: 0,
    };
    if syntax.is_empty() {
        return Ok(Vec::new());
    }
    let (arguments, _) = parser.sequence()?;
    if parser.at < syntax.len() {
        return parser.fail("a bracket that nothing opens");
    }
    if let Some(unnamed) = unnamed(&arguments) {
        return parser.fail(unnamed);
    }
    Ok(arguments)
}

/// What is wrong, if a group has no name.
fn unnamed(arguments: &[Argument<'_>]) -> Option<&'static str> {
    arguments
        .iter()
        .find_map(|argument| match argument.name.is_empty() {
            true => Some("a group without a name"),
            false => argument.nested().and_then(unnamed),
        })
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// The key specification of the next key.
    next_key: usize,
}

impl<'a> Parser<'a> {
    fn fail<T>(&self, what: &'static str) -> Result<T, SyntaxError> {
        Err(SyntaxError { at: self.at, what })
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn eat(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    fn take_while(&mut self, accepts: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|next| !accepts(next)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Arguments up to the end of the text, the group or the alternative; and whether the first one is a bare word, which
    /// may be the token of all.
    fn sequence(&mut self) -> Result<(Vec<Argument<'a>>, bool), SyntaxError> {
        let starts_with_word = self.rest().starts_with(is_token_start);
        let mut arguments = vec![self.argument()?];
        while !self.rest().starts_with(" | ") && self.eat(" ") {
            arguments.push(self.argument()?);
        }
        let is_bare = starts_with_word && arguments[0].since.is_none();
        Ok((arguments, is_bare))
    }

    fn argument(&mut self) -> Result<Argument<'a>, SyntaxError> {
        let name = self.take_while(is_of_name);
        match self.rest().chars().next() {
            Some('<' | '[') => self.group(name),
            Some('=') if !name.is_empty() => {
                self.at += 1;
                self.pure_token(Some(name))
            }
            Some(next) if name.is_empty() && is_token_start(next) => self.pure_token(None),
            _ if name.is_empty() => self.fail("no argument"),
            _ => self.value(name),
        }
    }

    fn pure_token(&mut self, name: Option<&'a str>) -> Result<Argument<'a>, SyntaxError> {
        let token = if self.eat("'") {
            let token = self.take_while(|next| next != '\'');
            if !self.eat("'") {
                return self.fail("a quote that does not end");
            }
            token
        } else {
            self.take_while(|next| is_token_start(next) || matches!(next, '0'..='9' | '-'))
        };
        if token.is_empty() {
            return self.fail("no word");
        }
        let name = name.map_or_else(|| token.to_lowercase().into(), Cow::from);
        let argument = Argument {
            token: Some(token),
            ..Argument::new(name, Kind::PureToken)
        };
        self.versions(argument)
    }

    fn value(&mut self, name: &'a str) -> Result<Argument<'a>, SyntaxError> {
        let display = if self.eat("{") {
            let display = self.take_while(|next| next != '}');
            if !self.eat("}") {
                return self.fail("a brace that is not closed");
            }
            Some(display)
        } else {
            None
        };
        let value_type = if self.eat(":") {
            let type_name = self.take_while(is_of_name);
            ValueType::named(type_name)
        } else if name == "key" {
            Some(ValueType::Key)
        } else {
            Some(ValueType::String)
        };
        let Some(value_type) = value_type else {
            return self.fail("no type has this name");
        };
        let key_spec_index = self.key_spec_index(value_type)?;
        let argument = Argument {
            display,
            key_spec_index,
            multiple: self.eat("..."),
            ..Argument::new(name.into(), Kind::Value(value_type))
        };
        self.versions(argument)
    }

    fn key_spec_index(&mut self, value_type: ValueType) -> Result<Option<usize>, SyntaxError> {
        let index = if self.eat("#") {
            let digits = self.take_while(|next| next.is_ascii_digit());
            match digits.parse() {
                Ok(index) => index,
                Err(_) => return self.fail("no number of a key specification"),
            }
        } else if value_type == ValueType::Key {
            self.next_key
        } else {
            return Ok(None);
        };
        self.next_key = self.next_key.max(index + 1);
        Ok(Some(index))
    }

    /// A group in brackets; its name, which may be empty, has been read.
    fn group(&mut self, name: &'a str) -> Result<Argument<'a>, SyntaxError> {
        let optional = self.eat("[");
        let close = match optional {
            true => "]",
            false => ">",
        };
        if !optional {
            self.at += 1;
        }
        let mut alternatives = vec![self.sequence()?];
        while self.eat(" | ") {
            alternatives.push(self.sequence()?);
        }
        if !self.eat(close) {
            return self.fail("a bracket that is not closed");
        }
        let mut argument = if alternatives.len() == 1 {
            let (arguments, has_token) = alternatives.remove(0);
            self.joined(name, arguments, has_token)?
        } else {
            let choices = alternatives
                .into_iter()
                .map(|(arguments, has_token)| self.joined("", arguments, has_token))
                .collect::<Result<_, _>>()?;
            Argument::new(name.into(), Kind::OneOf(choices))
        };
        argument.optional |= optional;
        if self.eat("...") {
            argument.multiple_token = argument.token.is_some();
            argument.multiple = true;
        }
        self.versions(argument)
    }

    /// One argument of a sequence: its only one, with the word before it if there is one, or a block.
    fn joined(
        &self,
        name: &'a str,
        mut arguments: Vec<Argument<'a>>,
        has_token: bool,
    ) -> Result<Argument<'a>, SyntaxError> {
        let token = (has_token && arguments.len() > 1)
            .then(|| arguments.remove(0).token)
            .flatten();
        let of_token = || token.map_or(name.into(), |token| Cow::from(token.to_lowercase()));
        let own_name: Cow<'a, str> = match name {
            "" => of_token(),
            _ => name.into(),
        };
        let mut argument = match <[Argument<'a>; 1]>::try_from(arguments) {
            Ok([only]) if only.name.is_empty() => Argument {
                name: own_name,
                ..only
            },
            Ok([_]) if !name.is_empty() => return self.fail("two names for one argument"),
            Ok([only]) if only.token.is_some() && token.is_some() => {
                return self.fail("two words for one argument");
            }
            Ok([only]) => only,
            Err(several) => Argument::new(own_name, Kind::Block(several)),
        };
        argument.token = argument.token.or(token);
        Ok(argument)
    }

    /// Reads `@6.2.0`, `@-7.0.0` or `@6.2.0-7.0.0`.
    fn versions(&mut self, mut argument: Argument<'a>) -> Result<Argument<'a>, SyntaxError> {
        if !self.eat("@") {
            return Ok(argument);
        }
        let is_of_version = |next: char| next.is_ascii_digit() || next == '.';
        let since = self.take_while(is_of_version);
        let deprecated_since = match self.eat("-") {
            true => self.take_while(is_of_version),
            false => "",
        };
        if argument.since.is_some() || since.is_empty() && deprecated_since.is_empty() {
            return self.fail("no version, or two");
        }
        argument.since = Some(since).filter(|version| !version.is_empty());
        argument.deprecated_since = Some(deprecated_since).filter(|version| !version.is_empty());
        Ok(argument)
    }
}

fn is_of_name(next: char) -> bool {
    next.is_ascii_lowercase() || next.is_ascii_digit() || next == '-'
}

fn is_token_start(next: char) -> bool {
    next.is_ascii_uppercase() || next == '\''
}

#[cfg(test)]
#[path = "syntax_tests.rs"]
mod tests;
