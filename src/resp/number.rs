//! Numbers as Redis reads and prints them.
//!
//! Reading is strict, so that a text is a number in exactly one spelling where that matters: a string value is stored
//! as an integer only if printing the integer gives the same bytes back.

/// A signed 64-bit integer in its canonical spelling: no `+`, no leading zeros, no blanks, no `-0`.
#[inline]
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let magnitude = parse_unsigned(digits)?;
    if !negative {
        return i64::try_from(magnitude).ok();
    }
    if magnitude == 0 {
        None
    } else {
        0i64.checked_sub_unsigned(magnitude)
    }
}

/// An unsigned 64-bit integer in its canonical spelling: digits only, no leading zeros.
#[inline]
pub fn parse_unsigned(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => return Some(0),
        [b'1'..=b'9', ..] if text.len() <= 20 => {}
        _ => return None,
    }
    let mut value: u64 = 0;
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// A floating point number as `strtod` reads it, provided that it reads all of it: decimal, hexadecimal (`0x1p3`), or
/// infinite (`inf`, `+Infinity`). Refused: nan, blanks, and magnitudes that a double cannot hold.
pub fn parse_double(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number_start =
        unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    if !is_number_start {
        let infinite =
            unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity");
        let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
        return infinite.then_some(f64::INFINITY * sign);
    }
    if let Some(digits) = unsigned
        .strip_prefix("0x")
        .or_else(|| unsigned.strip_prefix("0X"))
    {
        let magnitude = parse_hexadecimal(digits.as_bytes())?;
        return Some(if text.starts_with('-') {
            -magnitude
        } else {
            magnitude
        });
    }
    let value: f64 = text.parse().ok()?;
    if value.is_infinite() || (value == 0.0 && has_nonzero_digit(unsigned)) {
        return None;
    }
    Some(value)
}

/// Whether the part before the exponent has a digit other than 0.
fn has_nonzero_digit(number: &str) -> bool {
    number
        .bytes()
        .take_while(|byte| !matches!(byte, b'e' | b'E'))
        .any(|byte| matches!(byte, b'1'..=b'9'))
}

/// What follows `0x`: hexadecimal digits with a point, and optionally `p` and a decimal power of two.
fn parse_hexadecimal(text: &[u8]) -> Option<f64> {
    let digits_end = text
        .iter()
        .position(|byte| matches!(byte, b'p' | b'P'))
        .unwrap_or(text.len());
    let mut exponent = match &text[digits_end..] {
        [] => 0,
        [_, power @ ..] => std::str::from_utf8(power)
            .ok()?
            .parse::<i32>()
            .ok()?
            .clamp(-100_000, 100_000),
    };
    let (mut mantissa, mut seen_digit, mut seen_point) = (0u64, false, false);
    for &byte in &text[..digits_end] {
        if byte == b'.' && !seen_point {
            seen_point = true;
            continue;
        }
        let digit = char::from(byte).to_digit(16)?;
        seen_digit = true;
        if mantissa >> 58 == 0 {
            mantissa = mantissa << 4 | u64::from(digit);
            exponent -= if seen_point { 4 } else { 0 };
        } else {
            // Too far right to matter except for rounding, where only "not zero" counts.
            mantissa |= u64::from(digit != 0);
            exponent += if seen_point { 0 } else { 4 };
        }
    }
    if !seen_digit {
        return None;
    }
    let value = scale(mantissa, exponent);
    if value.is_infinite() || (value == 0.0 && mantissa != 0) {
        None
    } else {
        Some(value)
    }
}

/// `mantissa * 2^exponent`, rounded once.
fn scale(mantissa: u64, exponent: i32) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let top = exponent.saturating_add(63 - mantissa.leading_zeros() as i32);
    if top < -1022 {
        // A subnormal result: cut to its precision first, remembering what was cut off, so that rounding happens once.
        let drop = (-1074 - 2 - exponent).clamp(0, 63) as u32;
        let kept = mantissa >> drop | u64::from(mantissa & ((1 << drop) - 1) != 0);
        let exponent = exponent.saturating_add(drop as i32);
        return kept as f64 * 2f64.powi(exponent / 2) * 2f64.powi(exponent - exponent / 2);
    }
    let half = exponent / 2;
    mantissa as f64 * 2f64.powi(half) * 2f64.powi(exponent - half)
}

/// Appends a double as Redis 7.2 prints it: whole numbers as integers, others with the fewest digits that read back the
/// same; `inf`, `-inf`, `nan`.
pub fn format_double(value: f64, output: &mut Vec<u8>) {
    /// Up to here every whole double is printed digit by digit.
    const WHOLE_LIMIT: f64 = (i64::MAX / 2) as f64;
    if value.is_nan() {
        output.extend_from_slice(b"nan");
    } else if value.is_infinite() {
        output.extend_from_slice(if value > 0.0 { b"inf" } else { b"-inf" });
    } else if value == 0.0 {
        output.extend_from_slice(if value.is_sign_negative() {
            b"-0"
        } else {
            b"0"
        });
    } else if value.abs() <= WHOLE_LIMIT && value as i64 as f64 == value {
        output.extend_from_slice(itoa::Buffer::new().format(value as i64).as_bytes());
    } else {
        format_shortest(value, output);
    }
}

/// Shortest digits, in the layout of Redis's `fpconv`: plain where the number is near one, else `1.5e-10`.
fn format_shortest(value: f64, output: &mut Vec<u8>) {
    let scientific = format!("{:e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let count = digits.len() as i32;
    // The value is `digits * 10^power`.
    let power = exponent - (count - 1);
    if value < 0.0 {
        output.push(b'-');
    }
    if power >= 0 && exponent.abs() < count + 7 {
        output.extend_from_slice(&digits);
        output.extend(std::iter::repeat_n(b'0', power as usize));
    } else if power < 0 && (power > -7 || exponent.abs() < 4) {
        let whole = count + power;
        if whole <= 0 {
            output.extend_from_slice(b"0.");
            output.extend(std::iter::repeat_n(b'0', -whole as usize));
            output.extend_from_slice(&digits);
        } else {
            output.extend_from_slice(&digits[..whole as usize]);
            output.push(b'.');
            output.extend_from_slice(&digits[whole as usize..]);
        }
    } else {
        output.push(digits[0]);
        if count > 1 {
            output.push(b'.');
            output.extend_from_slice(&digits[1..]);
        }
        output.extend_from_slice(format!("e{exponent:+}").as_bytes());
    }
}

/// As a C cast does it where it is defined; out of range gives the smallest integer, as on x86.
pub fn truncated(number: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if number.is_nan() || !(-LIMIT..LIMIT).contains(&number) {
        return i64::MIN;
    }
    number as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_spelling() {
        let cases: &[(&[u8], Option<i64>)] = &[
            (b"0", Some(0)),
            (b"7", Some(7)),
            (b"-1", Some(-1)),
            (b"9223372036854775807", Some(i64::MAX)),
            (b"-9223372036854775808", Some(i64::MIN)),
            (b"9223372036854775808", None),
            (b"-9223372036854775809", None),
            (b"18446744073709551616", None),
            (b"100000000000000000000000", None),
            (b"", None),
            (b"-", None),
            (b"+1", None),
            (b"01", None),
            (b"-0", None),
            (b"-01", None),
            (b"00", None),
            (b" 1", None),
            (b"1 ", None),
            (b"1a", None),
            (b"1\0", None),
            (b"--1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_integer(text), *expected, "{}", text.escape_ascii());
        }
        assert_eq!(parse_unsigned(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_unsigned(b"18446744073709551616"), None);
        assert_eq!(parse_unsigned(b"-1"), None);
    }

    #[test]
    fn doubles_read_as_strtod_reads_them() {
        let cases: &[(&str, Option<f64>)] = &[
            ("2.75", Some(2.75)),
            ("+3.0", Some(3.0)),
            ("-.5", Some(-0.5)),
            ("5.", Some(5.0)),
            ("1e5", Some(1e5)),
            ("1E+5", Some(1e5)),
            ("1e-5", Some(1e-5)),
            ("007", Some(7.0)),
            ("inf", Some(f64::INFINITY)),
            ("+inf", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("0x10", Some(16.0)),
            ("-0X1.8p1", Some(-3.0)),
            ("0x.8", Some(0.5)),
            ("0x1p-1074", Some(5e-324)),
            ("0x1.8p-1074", Some(1e-323)),
            ("0x1.7p-1074", Some(5e-324)),
            ("0x1.fffffffffffff8p0", Some(2.0)),
            (
                "0x1.00000000000008000000000000000000001p0",
                Some(1.0 + f64::EPSILON),
            ),
            ("0x1.00000000000008p0", Some(1.0)),
            ("0x1.fffffffffffffp1023", Some(f64::MAX)),
            ("0x1p1024", None),
            ("0x1p-1080", None),
            ("0x", None),
            ("0x.", None),
            ("0x1p", None),
            ("5e-324", Some(5e-324)),
            ("1.7976931348623157e308", Some(f64::MAX)),
            ("0e999", Some(0.0)),
            ("1e400", None),
            ("-1e400", None),
            ("1e-400", None),
            ("nan", None),
            ("-nan", None),
            ("", None),
            (" 1", None),
            ("1 ", None),
            ("1e", None),
            ("e5", None),
            (".", None),
            ("+", None),
            ("1.2.3", None),
            ("1_0", None),
            ("infinit", None),
            ("++1", None),
            ("1\0", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_double(text.as_bytes()), *expected, "{text:?}");
        }
        assert!(parse_double(b"-0").is_some_and(|zero| zero == 0.0 && zero.is_sign_negative()));
    }

    #[test]
    fn doubles_print_as_redis_prints_them() {
        let cases: &[(f64, &str)] = &[
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-17.0, "-17"),
            (1.5, "1.5"),
            (2.75, "2.75"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e15, "1000000000000000"),
            (1e18, "1000000000000000000"),
            (5e18, "5e+18"),
            (1e20, "1e+20"),
            (1.5e300, "1.5e+300"),
            (-2.5e-100, "-2.5e-100"),
            (1e-5, "0.00001"),
            (0.000001, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-7, "1.5e-7"),
            (123456.789, "123456.789"),
            (12345.6789012345, "1.23456789012345e+4"),
            (1234.56789012345, "1234.56789012345"),
            (0.012345678901234, "0.012345678901234"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ];
        for (value, expected) in cases {
            let mut output = Vec::new();
            format_double(*value, &mut output);
            assert_eq!(String::from_utf8_lossy(&output), *expected, "{value:e}");
        }
    }

    proptest::proptest! {
        #[test]
        fn integers_read_back(value: i64) {
            proptest::prop_assert_eq!(parse_integer(value.to_string().as_bytes()), Some(value));
        }

        #[test]
        fn an_integer_read_prints_the_same(text in "[-+ ]?[0-9]{0,21}") {
            if let Some(value) = parse_integer(text.as_bytes()) {
                proptest::prop_assert_eq!(value.to_string(), text);
            }
        }

        #[test]
        fn doubles_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            proptest::prop_assume!(!value.is_nan());
            let mut output = Vec::new();
            format_double(value, &mut output);
            proptest::prop_assert_eq!(parse_double(&output).map(f64::to_bits), Some(bits));
        }

        #[test]
        fn hexadecimal_doubles_read_exactly(mantissa: u64, exponent in -1100i32..1000) {
            let text = format!("0x{mantissa:x}p{exponent}");
            let exact = format!("{mantissa}e0");
            let expected = exact.parse::<f64>().unwrap_or(0.0);
            if (-900..900).contains(&exponent) {
                proptest::prop_assert_eq!(parse_double(text.as_bytes()), Some(expected * 2f64.powi(exponent)));
            }
        }

        #[test]
        fn no_text_panics(text: Vec<u8>) {
            let _ = (parse_double(&text), parse_integer(&text), parse_unsigned(&text));
        }
    }
}
