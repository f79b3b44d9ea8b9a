//! The numbers of INCRBYFLOAT and HINCRBYFLOAT.
//!
//! Redis adds in C's `long double` and prints with 17 decimals, so that `10.5 + 0.1` is `10.6` and not
//! `10.6000000000000014`. On x86 that is the 80-bit format: a 64-bit mantissa and a 15-bit exponent. Rust has no such
//! type, so here it is in integers, correctly rounded: reading, adding and printing give the same digits as Redis does
//! there, where sums in `f64` would differ in the usual cases already.
//!
//! Numbers of up to 19 digits near one are read in 128-bit arithmetic; the others in [`natural`](super::natural), which
//! costs microseconds.

use super::natural::Natural;

/// Texts of this length or more are not read as numbers, as in Redis.
const TEXT_LIMIT_BYTES: usize = 5 * 1024;
/// Exponent of the lowest bit of the smallest number.
const LOWEST_EXPONENT: i64 = -16445;
/// Numbers reach up to 2 to this power.
const HIGHEST_EXPONENT: i64 = 16384;
const DECIMALS: usize = 17;
/// The highest power of five that fits in 63 bits.
const WORD_POWER_OF_FIVE: i64 = 27;

/// A number of C's `long double` on x86, or an infinity: `±magnitude`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    magnitude: Magnitude,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magnitude {
    /// `mantissa * 2^exponent`. Zero has the exponent 0; else the mantissa's top bit is set.
    Finite {
        mantissa: u64,
        exponent: i64,
    },
    Infinite,
}

const ZERO: Magnitude = Magnitude::Finite {
    mantissa: 0,
    exponent: 0,
};

impl LongDouble {
    /// Reads a number as `strtold` does, provided that it reads all of it: decimal, hexadecimal or infinite. Refused:
    /// nan, blanks, magnitudes that the format cannot hold, and very long texts.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() >= TEXT_LIMIT_BYTES {
            return None;
        }
        let (negative, unsigned) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let magnitude = match unsigned {
            [b'0', b'x' | b'X', digits @ ..] => parse_hexadecimal(digits)?,
            [b'0'..=b'9' | b'.', ..] => parse_decimal(unsigned)?,
            _ => {
                let infinite = unsigned.eq_ignore_ascii_case(b"inf")
                    || unsigned.eq_ignore_ascii_case(b"infinity");
                infinite.then_some(Magnitude::Infinite)?
            }
        };
        Some(LongDouble {
            negative,
            magnitude,
        })
    }

    /// True for both infinities.
    pub fn is_infinite(self) -> bool {
        self.magnitude == Magnitude::Infinite
    }

    /// The sum, or None where it would be infinite or not a number.
    pub fn checked_add(self, other: LongDouble) -> Option<LongDouble> {
        let (Magnitude::Finite { .. }, Magnitude::Finite { .. }) =
            (self.magnitude, other.magnitude)
        else {
            return None;
        };
        let (large, small) = if self.key() >= other.key() {
            (self, other)
        } else {
            (other, self)
        };
        let magnitude = add_magnitudes(large, small);
        let sum = LongDouble {
            negative: large.negative && magnitude != ZERO,
            magnitude,
        };
        (magnitude != Magnitude::Infinite).then_some(sum)
    }

    /// Appends the number with up to 17 decimals, without trailing zeros and never in scientific notation.
    pub fn format(self, output: &mut Vec<u8>) {
        let digits = match self.magnitude {
            Magnitude::Infinite => b"inf".to_vec(),
            Magnitude::Finite { mantissa, exponent } => decimal_digits(mantissa, exponent),
        };
        if self.negative && digits != b"0" {
            output.push(b'-');
        }
        output.extend_from_slice(&digits);
    }

    /// Orders by magnitude.
    fn key(self) -> (i64, u64) {
        match self.magnitude {
            Magnitude::Finite { mantissa: 0, .. } => (i64::MIN, 0),
            Magnitude::Finite { mantissa, exponent } => (exponent, mantissa),
            Magnitude::Infinite => (i64::MAX, 0),
        }
    }
}

/// `large ± small`, where `large` has the larger magnitude.
fn add_magnitudes(large: LongDouble, small: LongDouble) -> Magnitude {
    let (
        Magnitude::Finite { mantissa, exponent },
        Magnitude::Finite {
            mantissa: addend,
            exponent: addend_exponent,
        },
    ) = (large.magnitude, small.magnitude)
    else {
        return Magnitude::Infinite;
    };
    if addend == 0 {
        return large.magnitude;
    }
    // 62 bits below the mantissa: what of the addend lies lower still cannot matter but for not being zero.
    const ROOM: i64 = 62;
    let wide = u128::from(mantissa) << ROOM;
    let distance = exponent - addend_exponent;
    let below = (distance - ROOM).clamp(0, 64) as u32;
    let aligned = (u128::from(addend) << (ROOM - distance.min(ROOM))) >> below;
    let lost = below > 0 && u128::from(addend) & ((1u128 << below) - 1) != 0;
    let sum = if large.negative == small.negative {
        wide + aligned
    } else {
        wide - aligned - u128::from(lost)
    };
    round(sum, exponent - ROOM, lost)
}

/// The number nearest to `(value + something less than 1 if there is a rest) * 2^exponent`; ties go to even.
fn round(value: u128, exponent: i64, rest: bool) -> Magnitude {
    if value == 0 {
        return ZERO;
    }
    let length = i64::from(128 - value.leading_zeros());
    let drop = (length - 64).max(LOWEST_EXPONENT - exponent);
    if drop > 127 {
        return ZERO;
    }
    let (mut kept, mut exponent) = (value, exponent);
    if drop > 0 {
        kept = value >> drop;
        let dropped = value & ((1 << drop) - 1);
        let half = 1u128 << (drop - 1);
        let up = dropped > half || (dropped == half && (rest || kept & 1 == 1));
        kept += u128::from(up);
        exponent += drop;
    }
    if kept == 0 {
        return ZERO;
    }
    // Set the top bit, also after rounding up to the next power of two. For tiny numbers the exponent gets lower than
    // the format's, but no bits do.
    let shift = 64 - i64::from(128 - kept.leading_zeros());
    let mantissa = if shift >= 0 {
        kept << shift
    } else {
        kept >> -shift
    } as u64;
    exponent -= shift;
    if exponent + 64 > HIGHEST_EXPONENT {
        Magnitude::Infinite
    } else {
        Magnitude::Finite { mantissa, exponent }
    }
}

/// Digits with a point, and optionally `e` and a power of ten.
fn parse_decimal(text: &[u8]) -> Option<Magnitude> {
    let (digits, power) = split_exponent(text, b'e')?;
    let (mut number, mut power) = (Natural::zero(), power);
    let (mut count, mut seen_point) = (0, false);
    for &byte in digits {
        match byte {
            b'.' if !seen_point => seen_point = true,
            b'0'..=b'9' => {
                number.multiply_add(10, u64::from(byte - b'0'));
                power -= i64::from(seen_point);
                count += 1;
            }
            _ => return None,
        }
    }
    if count == 0 {
        return None;
    }
    if number.is_zero() {
        return Some(ZERO);
    }
    // Out of reach by far: no need for numbers of that size.
    if power + count > 6000 || power + count < -6000 {
        return None;
    }
    let magnitude = match number.to_word() {
        Some(word) if power.abs() <= WORD_POWER_OF_FIVE => scale_word(word, power),
        _ => {
            let mut divisor = Natural::from(1);
            let fives = if power >= 0 {
                &mut number
            } else {
                &mut divisor
            };
            fives.multiply_by_power_of_five(power.unsigned_abs());
            divide(number, divisor, power)
        }
    };
    in_range(magnitude)
}

/// `number * 10^power` for the usual numbers, which need no more than 128 bits on the way; `number` is not 0.
fn scale_word(number: u64, power: i64) -> Magnitude {
    let fives = 5u128.pow(power.unsigned_abs() as u32);
    if power >= 0 {
        return round(u128::from(number) * fives, power, false);
    }
    let zeros = number.leading_zeros();
    let dividend = u128::from(number << zeros) << 64;
    let exponent = power - 64 - i64::from(zeros);
    round(dividend / fives, exponent, !dividend.is_multiple_of(fives))
}

/// `number / divisor * 2^exponent`, rounded.
fn divide(mut number: Natural, mut divisor: Natural, exponent: i64) -> Magnitude {
    // So many bits more in the number give a quotient of 65 or 66 bits: enough to round to 64.
    let shift = 65 - (number.bit_length() as i64 - divisor.bit_length() as i64);
    if shift >= 0 {
        number.shift_left(shift as usize)
    } else {
        divisor.shift_left(-shift as usize)
    }
    let (quotient, exact) = number.divide_small_quotient(divisor, 66);
    round(quotient, exponent - shift, !exact)
}

/// What follows `0x`: hexadecimal digits with a point, and optionally `p` and a power of two.
fn parse_hexadecimal(text: &[u8]) -> Option<Magnitude> {
    let (digits, mut exponent) = split_exponent(text, b'p')?;
    let (mut value, mut rest) = (0u128, false);
    let (mut seen_digit, mut seen_point) = (false, false);
    for &byte in digits {
        if byte == b'.' && !seen_point {
            seen_point = true;
            continue;
        }
        let digit = char::from(byte).to_digit(16)?;
        seen_digit = true;
        if value >> 120 == 0 {
            value = value << 4 | u128::from(digit);
            exponent -= if seen_point { 4 } else { 0 };
        } else {
            rest |= digit != 0;
            exponent += if seen_point { 0 } else { 4 };
        }
    }
    if !seen_digit {
        return None;
    }
    if value == 0 {
        Some(ZERO)
    } else {
        in_range(round(value, exponent, rest))
    }
}

/// Splits off the exponent that follows `mark`; 0 if there is none.
fn split_exponent(text: &[u8], mark: u8) -> Option<(&[u8], i64)> {
    let Some(position) = text
        .iter()
        .position(|byte| byte.eq_ignore_ascii_case(&mark))
    else {
        return Some((text, 0));
    };
    let (negative, digits) = match &text[position + 1..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let limited = digits.iter().fold(0i64, |sum, digit| {
        (sum * 10 + i64::from(digit - b'0')).min(1_000_000)
    });
    Some((&text[..position], if negative { -limited } else { limited }))
}

/// What was read from nonzero digits must be neither zero nor infinite.
fn in_range(magnitude: Magnitude) -> Option<Magnitude> {
    (magnitude != ZERO && magnitude != Magnitude::Infinite).then_some(magnitude)
}

/// `mantissa * 2^exponent` rounded to 17 decimals, without trailing zeros.
fn decimal_digits(mantissa: u64, exponent: i64) -> Vec<u8> {
    if exponent >= 0 {
        let mut whole = Natural::from(mantissa);
        whole.shift_left(exponent as usize);
        return whole.into_decimal();
    }
    // times 10^17 = 5^17 * 2^17
    const FIVES: u128 = 5u128.pow(DECIMALS as u32);
    let scaled = u128::from(mantissa) * FIVES;
    let shift = exponent + DECIMALS as i64;
    let scaled = if shift >= 0 {
        scaled << shift
    } else if shift < -127 {
        0
    } else {
        let kept = scaled >> -shift;
        let dropped = scaled & ((1 << -shift) - 1);
        let half = 1u128 << (-shift - 1);
        kept + u128::from(dropped > half || (dropped == half && kept & 1 == 1))
    };
    let text = format!("{scaled:0width$}", width = DECIMALS + 1);
    let (whole, decimals) = text.split_at(text.len() - DECIMALS);
    let decimals = decimals.trim_end_matches('0');
    let point = if decimals.is_empty() { "" } else { "." };
    [whole, point, decimals].concat().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(number: LongDouble) -> String {
        let mut output = Vec::new();
        number.format(&mut output);
        String::from_utf8_lossy(&output).into_owned()
    }

    fn sum(left: &str, right: &str) -> Option<String> {
        let left = LongDouble::parse(left.as_bytes())?;
        left.checked_add(LongDouble::parse(right.as_bytes())?)
            .map(shown)
    }

    /// Taken from redis-server 7.0 on x86-64.
    #[test]
    fn sums_are_those_of_redis() {
        let cases: &[(&str, &str, Option<&str>)] = &[
            ("10.5", "0.1", Some("10.6")),
            ("5.0e3", "2.0e2", Some("5200")),
            ("3", "1.1", Some("4.1")),
            ("1000.1", "0", Some("1000.09999999999999998")),
            ("1010.5", "0.1", Some("1010.59999999999999998")),
            ("0.1", "0.2", Some("0.3")),
            ("-0.1", "0.1", Some("0")),
            ("1e17", "0.1", Some("100000000000000000.1015625")),
            ("1", "1e-17", Some("1.00000000000000001")),
            ("1", "4e-18", Some("1")),
            ("1e30", "1", Some("1000000000000000000024696061952")),
            (
                "123456789012345678901234567890",
                "0.5",
                Some("123456789012345678899921813504"),
            ),
            ("1e-4940", "1e-4940", Some("0")),
            ("0x1.8p3", ".5", Some("12.5")),
            ("5.", "0", Some("5")),
            ("-1.5", "-2.25", Some("-3.75")),
            ("-1e-20", "0", Some("0")),
            ("9007199254740993", "1", Some("9007199254740994")),
            ("18446744073709551615", "1", Some("18446744073709551616")),
            ("18446744073709551615", "2", Some("18446744073709551616")),
            (
                "3.14159265358979323846264338327950288",
                "0",
                Some("3.14159265358979324"),
            ),
            (
                "100000.123456",
                "200000.654321",
                Some("300000.77777699999998617"),
            ),
            ("0", "-0", Some("0")),
            ("+7", "0x.8p-3", Some("7.0625")),
            (
                "4611686018427387904.25",
                "-0.75",
                Some("4611686018427387903.25"),
            ),
            ("1e19", "-0.5", Some("10000000000000000000")),
            ("36893488147419103232", "-1", Some("36893488147419103232")),
            ("inf", "1", None),
            ("1", "-inf", None),
            ("1e4932", "1e4932", None),
            ("0.00000000000000000499", "0", Some("0")),
            ("0.00000000000000000501", "0", Some("0.00000000000000001")),
            ("99.99", "0.01", Some("100")),
            ("1234567.891", "0.009", Some("1234567.89999999999997726")),
        ];
        for (left, right, expected) in cases {
            assert_eq!(sum(left, right).as_deref(), *expected, "{left} + {right}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let long = "1".repeat(TEXT_LIMIT_BYTES);
        let cases = [
            "",
            " 1",
            "1 ",
            "+",
            "-",
            ".",
            "1e",
            "1e+",
            "e1",
            "1.2.3",
            "nan",
            "0x",
            "0x.p1",
            "0x1p",
            "1e5000",
            "1e-5000",
            "0x1p16384",
            "0x1p-16447",
            "1_0",
            "infinit",
            "--1",
            "1\0",
            &long,
        ];
        for text in cases {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn integers_add_exactly(left in -(1i64 << 62)..1 << 62, right in -(1i64 << 62)..1 << 62) {
            let expected = (left + right).to_string();
            proptest::prop_assert_eq!(sum(&left.to_string(), &right.to_string()), Some(expected));
        }

        #[test]
        fn amounts_of_money_add_exactly(left in -800i64..800, right in -800i64..800) {
            let money = |cents: i64| {
                let sign = if cents < 0 { "-" } else { "" };
                let text = format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100);
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            };
            // Below 16 the mantissa has room for all 17 decimals.
            proptest::prop_assert_eq!(sum(&money(left), &money(right)), Some(money(left + right)));
        }

        #[test]
        fn no_text_panics(left: Vec<u8>, right in "[-+]?[0-9.xp]{0,30}(e[-+]?[0-9]{1,5})?") {
            let numbers = (LongDouble::parse(&left), LongDouble::parse(right.as_bytes()));
            if let (Some(left), Some(right)) = numbers {
                let _ = left.checked_add(right).map(shown);
            }
            if let Some(right) = numbers.1 {
                let _ = right.checked_add(right).map(shown);
            }
        }
    }
}
