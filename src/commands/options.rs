//! Reading arguments the way every family does: numbers with their error texts, options from left to right, times,
//! and the arguments of SCAN and its relatives.
//!
//! Redis looks at things in a fixed order (a syntax error before a missing key, or after it), and clients see that
//! order through the error they get. So these helpers only read one thing each; the order is the command's business.

use crate::error::CommandError;
use crate::resp::number::{parse_double, parse_integer};
use std::fmt::Display;
use std::ops::RangeInclusive;

/// True if `argument` is `word`, in any case.
pub fn is_keyword(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// The bytes of an argument as far as C's functions see them, up to the first NUL: Redis reads some numbers with those, and
/// writes its error messages with them.
pub fn up_to_nul(argument: &[u8]) -> &[u8] {
    argument.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// An integer in 64 bits.
///
/// # Errors
/// "value is not an integer or out of range".
pub fn integer(argument: &[u8]) -> Result<i64, CommandError> {
    parse_integer(argument).ok_or(CommandError::NOT_INTEGER)
}

/// An integer within a range.
///
/// # Errors
/// "value is not an integer or out of range", or the range that it has to be in.
pub fn integer_in(argument: &[u8], range: RangeInclusive<i64>) -> Result<i64, CommandError> {
    let value = integer(argument)?;
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(outside(range.start(), range.end()))
    }
}

/// A floating-point number; infinities are numbers.
///
/// # Errors
/// "value is not a valid float".
pub fn double(argument: &[u8]) -> Result<f64, CommandError> {
    parse_double(argument).ok_or(CommandError::NOT_FLOAT)
}

fn outside(least: impl Display, most: impl Display) -> CommandError {
    CommandError::new(format!(
        "ERR value is out of range, value must between {least} and {most}"
    ))
}

/// The timeout of a blocking command, in seconds with fractions, as the time at which it ends; `None`: never (0).
///
/// # Errors
/// Not a number, below 0, or past the end of time.
pub fn timeout_deadline_ms(argument: &[u8], now_ms: u64) -> Result<Option<u64>, CommandError> {
    const NOT_A_FLOAT: CommandError =
        CommandError::fixed("ERR timeout is not a float or out of range");
    const NEGATIVE: CommandError = CommandError::fixed("ERR timeout is negative");
    const TOO_LARGE: CommandError = CommandError::fixed("ERR timeout is out of range");
    let seconds = parse_double(argument).ok_or(NOT_A_FLOAT)?;
    let timeout_ms = (seconds * 1000.0).ceil();
    if timeout_ms.is_nan() || timeout_ms > i64::MAX as f64 {
        return Err(TOO_LARGE);
    }
    if timeout_ms < 0.0 {
        return Err(NEGATIVE);
    }
    let timeout_ms = timeout_ms as u64;
    let deadline_ms = now_ms
        .checked_add(timeout_ms)
        .filter(|deadline_ms| i64::try_from(*deadline_ms).is_ok())
        .ok_or(TOO_LARGE)?;
    Ok((timeout_ms > 0).then_some(deadline_ms))
}

/// The optional arguments of a command, from left to right.
pub struct Options<'a> {
    rest: &'a [&'a [u8]],
}

impl<'a> Options<'a> {
    /// The arguments from index `first` on (the command's name has index 0).
    pub fn new(arguments: &'a [&'a [u8]], first: usize) -> Options<'a> {
        Options {
            rest: arguments.get(first..).unwrap_or_default(),
        }
    }

    /// The argument that belongs to the option just read.
    ///
    /// # Errors
    /// "syntax error" if there is none.
    pub fn value(&mut self) -> Result<&'a [u8], CommandError> {
        self.next().ok_or(CommandError::SYNTAX)
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [&'a [u8]] {
        self.rest
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }
}

/// How a command's argument names a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeForm {
    /// Seconds from now (EX).
    Seconds,
    /// Milliseconds from now (PX).
    Milliseconds,
    /// Unix time in seconds (EXAT).
    SecondsAt,
    /// Unix time in milliseconds (PXAT).
    MillisecondsAt,
}

impl TimeForm {
    /// The form that EX, PX, EXAT or PXAT means.
    pub fn from_keyword(argument: &[u8]) -> Option<TimeForm> {
        const FORMS: [(&str, TimeForm); 4] = [
            ("ex", TimeForm::Seconds),
            ("px", TimeForm::Milliseconds),
            ("exat", TimeForm::SecondsAt),
            ("pxat", TimeForm::MillisecondsAt),
        ];
        FORMS
            .iter()
            .find(|(word, _)| is_keyword(argument, word))
            .map(|(_, form)| *form)
    }

    /// Unix milliseconds, possibly in the past or before 1970; `None` if 64 bits do not hold them.
    pub fn to_unix_ms(self, time: i64, now_ms: u64) -> Option<i64> {
        let now_ms = i64::try_from(now_ms).ok()?;
        match self {
            TimeForm::Seconds => time.checked_mul(1000)?.checked_add(now_ms),
            TimeForm::Milliseconds => time.checked_add(now_ms),
            TimeForm::SecondsAt => time.checked_mul(1000),
            TimeForm::MillisecondsAt => Some(time),
        }
    }

    /// Reads the deadline of SET, GETEX and their like: the number has to be positive.
    ///
    /// # Errors
    /// "value is not an integer or out of range", or "invalid expire time in 'command' command".
    pub fn deadline_ms(
        self,
        argument: &[u8],
        now_ms: u64,
        command: &str,
    ) -> Result<u64, CommandError> {
        let time = integer(argument)?;
        let deadline_ms = if time > 0 {
            self.to_unix_ms(time, now_ms)
        } else {
            None
        };
        deadline_ms
            .and_then(|deadline_ms| u64::try_from(deadline_ms).ok())
            .ok_or_else(|| CommandError::invalid_expire(command))
    }
}

/// The cursor of SCAN, HSCAN, SSCAN and ZSCAN, read as C's `strtoul` reads it.
///
/// # Errors
/// "invalid cursor".
pub fn cursor(argument: &[u8]) -> Result<u64, CommandError> {
    let argument = up_to_nul(argument);
    let (negative, digits) = match argument {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, argument),
    };
    if digits.is_empty() {
        return if argument.is_empty() {
            Ok(0)
        } else {
            Err(CommandError::INVALID_CURSOR)
        };
    }
    let mut value: u64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        let next = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(digit)));
        value = next
            .filter(|_| digit <= 9)
            .ok_or(CommandError::INVALID_CURSOR)?;
    }
    Ok(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

/// The options of SCAN and its relatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanOptions<'a> {
    /// MATCH.
    pub pattern: Option<&'a [u8]>,
    /// COUNT: about how many elements to look at.
    pub count: usize,
    /// TYPE (SCAN only), as the client spelled it.
    pub kind_name: Option<&'a [u8]>,
    /// NOVALUES (HSCAN), NOSCORES (ZSCAN).
    pub no_values: bool,
}

impl<'a> ScanOptions<'a> {
    /// Reads the options of SSCAN: MATCH and COUNT.
    ///
    /// # Errors
    /// "syntax error", or "value is not an integer or out of range".
    pub fn of_collection(options: Options<'a>) -> Result<ScanOptions<'a>, CommandError> {
        ScanOptions::read(options, |_, _, _| Ok(false))
    }

    /// Reads the options of HSCAN and ZSCAN: MATCH, COUNT, and the word (NOVALUES, NOSCORES) that leaves half of each pair out.
    ///
    /// # Errors
    /// As [`ScanOptions::of_collection`].
    pub fn of_pairs(
        options: Options<'a>,
        no_values: &str,
    ) -> Result<ScanOptions<'a>, CommandError> {
        ScanOptions::read(options, |scan, word, _| {
            scan.no_values |= is_keyword(word, no_values);
            Ok(is_keyword(word, no_values))
        })
    }

    /// Reads the options of SCAN: MATCH, COUNT and TYPE.
    ///
    /// # Errors
    /// As [`ScanOptions::of_collection`].
    pub fn of_keys(options: Options<'a>) -> Result<ScanOptions<'a>, CommandError> {
        ScanOptions::read(options, |scan, word, options| {
            if is_keyword(word, "type") {
                scan.kind_name = Some(options.value()?);
                return Ok(true);
            }
            Ok(false)
        })
    }

    /// Reads MATCH and COUNT, and what `other` knows besides.
    fn read(
        mut options: Options<'a>,
        mut other: impl FnMut(
            &mut ScanOptions<'a>,
            &[u8],
            &mut Options<'a>,
        ) -> Result<bool, CommandError>,
    ) -> Result<ScanOptions<'a>, CommandError> {
        const COUNT_DEFAULT: usize = 10;
        let mut scan = ScanOptions {
            pattern: None,
            count: COUNT_DEFAULT,
            kind_name: None,
            no_values: false,
        };
        while let Some(word) = options.next() {
            if is_keyword(word, "match") {
                scan.pattern = Some(options.value()?);
            } else if is_keyword(word, "count") {
                let count = integer(options.value()?)?;
                scan.count = usize::try_from(count)
                    .ok()
                    .filter(|count| *count > 0)
                    .ok_or(CommandError::SYNTAX)?;
            } else if !other(&mut scan, word, &mut options)? {
                return Err(CommandError::SYNTAX);
            }
        }
        Ok(scan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_as_strtoul_reads_them() {
        let cases: &[(&[u8], Option<u64>)] = &[
            (b"0", Some(0)),
            (b"", Some(0)),
            (b"007", Some(7)),
            (b"7\0x", Some(7)),
            (b"\0x", Some(0)),
            (b"+5", Some(5)),
            (b"-1", Some(u64::MAX)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"1x", None),
            (b"x", None),
            (b" 1", None),
            (b"-", None),
            (b"1.5", None),
        ];
        for (text, expected) in cases {
            assert_eq!(cursor(text).ok(), *expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn deadlines_are_checked_for_overflow() {
        let now_ms = 1_000_000;
        let cases = [
            (TimeForm::Seconds, "10", Ok(1_010_000)),
            (TimeForm::Milliseconds, "10", Ok(1_000_010)),
            (TimeForm::SecondsAt, "10", Ok(10_000)),
            (TimeForm::MillisecondsAt, "10", Ok(10)),
            (
                TimeForm::Seconds,
                "0",
                Err(CommandError::invalid_expire("set")),
            ),
            (
                TimeForm::MillisecondsAt,
                "-1",
                Err(CommandError::invalid_expire("set")),
            ),
            (
                TimeForm::Seconds,
                "9223372036854775807",
                Err(CommandError::invalid_expire("set")),
            ),
            (
                TimeForm::SecondsAt,
                "9223372036854776",
                Err(CommandError::invalid_expire("set")),
            ),
            (
                TimeForm::Milliseconds,
                "9223372036854775807",
                Err(CommandError::invalid_expire("set")),
            ),
            (
                TimeForm::MillisecondsAt,
                "9223372036854775807",
                Ok(i64::MAX as u64),
            ),
            (TimeForm::Seconds, "1.5", Err(CommandError::NOT_INTEGER)),
        ];
        for (form, text, expected) in cases {
            assert_eq!(
                form.deadline_ms(text.as_bytes(), now_ms, "set"),
                expected,
                "{form:?} {text}"
            );
        }
    }

    #[test]
    fn scan_options_stop_at_what_they_do_not_know() {
        let read = |text: &str| {
            let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
            ScanOptions::of_keys(Options::new(&words, 2))
                .map(|scan| (scan.count, scan.pattern.is_some(), scan.kind_name.is_some()))
        };
        assert_eq!(read("scan 0"), Ok((10, false, false)));
        assert_eq!(
            read("scan 0 COUNT 5 match a* Type hash"),
            Ok((5, true, true))
        );
        assert_eq!(read("scan 0 count 0"), Err(CommandError::SYNTAX));
        assert_eq!(read("scan 0 count x"), Err(CommandError::NOT_INTEGER));
        assert_eq!(read("scan 0 match"), Err(CommandError::SYNTAX));
        assert_eq!(read("scan 0 novalues"), Err(CommandError::SYNTAX));
    }
}
