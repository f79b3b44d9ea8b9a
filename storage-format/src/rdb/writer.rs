//! Writing what all of RDB is made of. Strings are not compressed: LZF gains little on what is in a cache, and costs every reader.

/// Appends a length, or a number that is stored as one.
pub fn put_length(out: &mut Vec<u8>, length: u64) {
    match length {
        0..0x40 => out.push(length as u8),
        0x40..0x4000 => out.extend_from_slice(&(0x4000 | length as u16).to_be_bytes()),
        0x4000..=0xffff_ffff => {
            out.push(0x80);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

/// Appends bytes behind their length, whatever they are.
pub fn put_raw_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a string; as an integer of up to 32 bits if it is the text of one.
pub fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    const LONGEST: usize = "-2147483648".len();
    let integer = if bytes.len() <= LONGEST {
        canonical_integer(bytes).and_then(|integer| i32::try_from(integer).ok())
    } else {
        None
    };
    let Some(integer) = integer else {
        return put_raw_string(out, bytes);
    };
    if let Ok(byte) = i8::try_from(integer) {
        out.push(0xc0);
        out.extend_from_slice(&byte.to_le_bytes());
    } else if let Ok(short) = i16::try_from(integer) {
        out.push(0xc1);
        out.extend_from_slice(&short.to_le_bytes());
    } else {
        out.push(0xc2);
        out.extend_from_slice(&integer.to_le_bytes());
    }
}

/// The 64-bit integer of which `bytes` are the one canonical text: no sign but a minus, no zeros in front, no `-0`.
pub(super) fn canonical_integer(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let is_canonical = match digits {
        [b'0'] => bytes.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !is_canonical {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::reader::RdbReader;
    use super::*;

    #[test]
    fn lengths_come_back_at_every_border() {
        let borders = [6, 14, 32, 63].map(|bits| 1u64 << bits);
        for length in borders.into_iter().flat_map(|border| [border - 1, border]) {
            let mut out = Vec::new();
            put_length(&mut out, length);
            let mut reader = RdbReader::new(&out);
            assert_eq!(reader.number("length"), Ok(length));
            assert_eq!(reader.remaining(), 0, "{length}");
        }
    }

    #[test]
    fn strings_come_back_and_integers_are_short() {
        for (text, stored_bytes) in [
            ("", 1),
            ("abc", 4),
            ("0", 2),
            ("-128", 2),
            ("128", 3),
            ("-32769", 5),
            ("2147483647", 5),
            ("2147483648", 11),
            ("-0", 3),
            ("01", 3),
            ("+1", 3),
            ("-", 2),
        ] {
            let mut out = Vec::new();
            put_string(&mut out, text.as_bytes());
            assert_eq!(out.len(), stored_bytes, "{text}");
            let read = RdbReader::new(&out).string("text").expect("valid");
            assert_eq!(*read, *text.as_bytes());
        }
    }
}
