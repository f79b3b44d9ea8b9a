//! Glob patterns as KEYS, SCAN, PSUBSCRIBE and CONFIG GET understand them.
//!
//! `*` stands for any bytes, `?` for any byte, `[a-z]` for one of a class, `[^a-z]` for one outside it, and `\` takes
//! the special meaning from what follows. These are Redis's rules to the letter, including the odd ones: a class that
//! is never closed ends with the pattern, `\` and ranges within a class behave as there, beyond [`STARS_MAX`] stars
//! nothing matches, and an empty text is matched by an empty pattern only. KEYS and SCAN know better: [`selects`].
//!
//! Only the last `*` met is ever reconsidered, because an earlier one cannot match anything that the last one could
//! not make up for. So the time is at most the product of the two lengths, whatever the pattern, and there is no
//! recursion that a hostile pattern could deepen.

/// So many stars with something behind them may match; a run of stars counts once.
const STARS_MAX: usize = 1000;

/// Whether all of `text` matches `pattern`.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    matches_folded(pattern, text, false)
}

/// As [`matches()`], for KEYS, SCAN and its relatives: a `*` alone takes everything, the empty text too.
pub fn selects(pattern: &[u8], text: &[u8]) -> bool {
    pattern == b"*" || matches(pattern, text)
}

/// As [`matches()`], but upper and lower case letters of ASCII are the same.
pub fn matches_ignoring_case(pattern: &[u8], text: &[u8]) -> bool {
    matches_folded(pattern, text, true)
}

fn matches_folded(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut in_pattern, mut in_text) = (0, 0);
    // Behind the last star, and where in the text what follows that star was tried.
    let mut retry: Option<(usize, usize)> = None;
    let mut stars = 0;
    while in_text < text.len() {
        if pattern.get(in_pattern) == Some(&b'*') {
            in_pattern += 1;
            if in_pattern == pattern.len() {
                return true;
            }
            stars += usize::from(pattern[in_pattern] != b'*');
            if stars > STARS_MAX {
                return false;
            }
            retry = Some((in_pattern, in_text));
        } else if let Some(length) = match_one(&pattern[in_pattern..], text[in_text], ignore_case) {
            in_pattern += length;
            in_text += 1;
        } else if let Some((behind_star, tried)) = retry {
            retry = Some((behind_star, tried + 1));
            (in_pattern, in_text) = (behind_star, tried + 1);
        } else {
            return false;
        }
    }
    pattern[in_pattern..].iter().all(|&byte| byte == b'*')
}

/// If `byte` matches the first element of `pattern` (no star): the length of that element.
fn match_one(pattern: &[u8], byte: u8, ignore_case: bool) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => match_class(class, byte, ignore_case).map(|length| length + 1),
        [b'\\', literal, ..] => same(*literal, byte, ignore_case).then_some(2),
        [literal, ..] => same(*literal, byte, ignore_case).then_some(1),
    }
}

/// If `byte` is in the class whose opening bracket came just before: the length of the rest of the class.
fn match_class(class: &[u8], byte: u8, ignore_case: bool) -> Option<usize> {
    let negated = class.first() == Some(&b'^');
    let mut position = usize::from(negated);
    let mut found = false;
    loop {
        match &class[position..] {
            [] => break,
            [b'\\', literal, ..] => {
                found |= *literal == byte;
                position += 2;
            }
            [b']', ..] => {
                position += 1;
                break;
            }
            [first, b'-', last, ..] => {
                found |= in_range(*first, *last, byte, ignore_case);
                position += 3;
            }
            [literal, ..] => {
                found |= same(*literal, byte, ignore_case);
                position += 1;
            }
        }
    }
    (found != negated).then_some(position)
}

fn in_range(first: u8, last: u8, byte: u8, ignore_case: bool) -> bool {
    let (low, high) = (first.min(last), first.max(last));
    if ignore_case {
        (low.to_ascii_lowercase()..=high.to_ascii_lowercase()).contains(&byte.to_ascii_lowercase())
    } else {
        (low..=high).contains(&byte)
    }
}

fn same(left: u8, right: u8, ignore_case: bool) -> bool {
    left == right || (ignore_case && left.eq_ignore_ascii_case(&right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_thousand_stars_may_match() {
        let matches_with = |stars: usize| matches("*?".repeat(stars).as_bytes(), &[b'a'; 2000]);
        assert!(matches_with(STARS_MAX));
        assert!(!matches_with(STARS_MAX + 2));
        let run = "*".repeat(STARS_MAX + 2) + "a";
        assert!(matches(run.as_bytes(), b"aa"));
    }

    fn assert_cases(matches: fn(&[u8], &[u8]) -> bool, cases: &[(&str, &str, bool)]) {
        for (pattern, text, expected) in cases {
            let does = matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(does, *expected, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn patterns_and_what_they_match() {
        let cases: &[(&str, &str, bool)] = &[
            ("", "", true),
            ("", "a", false),
            ("*", "", false),
            ("**", "", false),
            ("*", "anything", true),
            ("a", "", false),
            ("hello", "hello", true),
            ("hello", "hellO", false),
            ("hell", "hello", false),
            ("hello", "hell", false),
            ("h?llo", "hallo", true),
            ("h?llo", "hllo", false),
            ("h*llo", "hllo", true),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[a-c]llo", "hdllo", false),
            ("user:*:name", "user:1:2:name", true),
            ("user:*:name", "user:1:2:nam", false),
            ("*a*b*c*", "xxaxxbxxcxx", true),
            ("*a*b*c*", "xxaxxcxxbxx", false),
            ("**a**", "a", true),
            ("a*", "a", true),
            ("*ab", "aab", true),
            ("*aab", "aaaab", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("a\\?", "a?", true),
            ("\\", "\\", true),
            ("\\a", "a", true),
            ("[\\]]", "]", true),
            ("[\\-x]", "-", true),
            ("[]", "]", false),
            ("[]]", "]", false),
            ("[^]", "x", true),
            ("[", "[", false),
            ("[^", "x", true),
            ("[abc", "b", true),
            ("[a-", "-", true),
            ("[a-]", "]", true),
            ("[a-]", "_", true),
            ("[a-]x", "x", true),
            ("[*]", "*", true),
            ("[?]", "a", false),
        ];
        assert_cases(matches, cases);
    }

    #[test]
    fn a_star_alone_selects_everything() {
        let cases = [
            ("*", "", true),
            ("**", "", false),
            ("", "", true),
            ("a*", "ab", true),
        ];
        assert_cases(selects, &cases);
    }

    #[test]
    fn case_can_be_ignored() {
        let cases: &[(&str, &str, bool)] = &[
            ("HELLO*", "hello world", true),
            ("h[A-C]llo", "hbllo", true),
            ("h[a-c]llo", "hBllo", true),
            ("h[B]llo", "hbllo", true),
            ("\\H", "h", true),
            ("[\\H]", "h", false),
            ("h", "i", false),
        ];
        assert_cases(matches_ignoring_case, cases);
    }

    #[test]
    fn a_hostile_pattern_ends() {
        let pattern = "a*".repeat(50_000) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(100_000).as_bytes()));
    }

    /// The definition, without any cleverness: exponential, so only for short inputs.
    fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => {
                (0..=text.len()).any(|skipped| by_definition(rest, &text[skipped..]))
            }
            (_, []) => false,
            (_, [byte, rest @ ..]) => match_one(pattern, *byte, false)
                .is_some_and(|length| by_definition(&pattern[length..], rest)),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?\\[\\]^\\\\-]{0,10}", text in "[ab]{0,10}") {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            let expected = by_definition(pattern, text) && (pattern.is_empty() || !text.is_empty());
            prop_assert_eq!(matches(pattern, text), expected);
        }

        #[test]
        fn no_pattern_panics(pattern: Vec<u8>, text: Vec<u8>) {
            let _ = (matches(&pattern, &text), matches_ignoring_case(&pattern, &text));
        }
    }
}
