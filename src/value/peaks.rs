//! What a collection has ever been: the figures behind OBJECT ENCODING, and how a random number picks a rank.

/// The most and the largest elements that a large collection ever had. Redis turns a collection into its large encoding
/// when it exceeds a limit and never back, so the answers below never go from `false` to `true`.
#[derive(Clone, Copy, Default)]
pub(super) struct Peaks {
    pub(super) count: usize,
    pub(super) element_bytes: usize,
}

impl Peaks {
    /// Notes the present count and an element that came.
    pub(super) fn note(&mut self, count: usize, element_bytes: usize) {
        self.count = self.count.max(count);
        self.element_bytes = self.element_bytes.max(element_bytes);
    }

    /// Whether neither limit was ever exceeded.
    pub(super) fn are_within(self, max_entries: usize, max_element_bytes: usize) -> bool {
        self.count <= max_entries && self.element_bytes <= max_element_bytes
    }
}

/// Maps 64 uniformly random bits to a rank below `len`; `None` if there is none. The bias is below `len / 2^64`.
pub(super) fn random_rank(random: u64, len: usize) -> Option<usize> {
    (len > 0).then(|| ((u128::from(random) * len as u128) >> 64) as usize)
}

/// Whether a member is what Redis's intset holds: a 64-bit integer, written the one canonical way.
pub(super) fn is_integer(member: &[u8]) -> bool {
    let digits = member.strip_prefix(b"-").unwrap_or(member);
    let canonical = match digits {
        [b'0'] => member.len() == 1,
        [b'1'..=b'9', ..] => digits.len() <= 19,
        _ => false,
    };
    canonical && std::str::from_utf8(member).is_ok_and(|text| text.parse::<i64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_canonical_and_fit_64_bits() {
        let yes = [
            "0",
            "1",
            "-1",
            "9223372036854775807",
            "-9223372036854775808",
            "1000",
        ];
        let no = [
            "",
            "-",
            "-0",
            "00",
            "01",
            "+1",
            " 1",
            "1 ",
            "1.0",
            "9223372036854775808",
            "-9223372036854775809",
            "a",
        ];
        assert!(yes.iter().all(|text| is_integer(text.as_bytes())));
        for text in no {
            assert!(!is_integer(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn random_bits_reach_the_first_and_last_rank_evenly() {
        assert_eq!(random_rank(5, 0), None);
        assert_eq!(random_rank(0, 3), Some(0));
        assert_eq!(random_rank(u64::MAX, 3), Some(2));
        let mut hits = [0; 3];
        for step in 0..300_u64 {
            hits[random_rank(step * (u64::MAX / 300), 3).unwrap()] += 1;
        }
        assert!(
            hits.iter().all(|hits| (99..=101).contains(hits)),
            "{hits:?}"
        );
    }
}
