//! BITOP: whole bitmaps joined bit by bit, 64 at a time. Shorter operands count as padded with zeros.
//!
//! The result is made in memory and put in place as one value, so it is logged whole.

use super::access::KeyUse;
use super::context::Context;
use super::options::is_keyword;
use super::spec::{CommandSpec, Flags, Group, KeySpec};
use crate::error::{CommandError, CommandResult};
use crate::keyspace::{Deadline, EventClasses};
use crate::resp::Reply;
use crate::value::Value;

/// Which operation. The last four are those of Redis 8.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
    /// In the first, and in none of the others.
    Diff,
    /// Not in the first, but in one of the others.
    Diff1,
    /// In the first, and in one of the others.
    AndOr,
    /// In exactly one.
    One,
}

const OPERATIONS: [(&str, Operation); 8] = [
    ("AND", Operation::And),
    ("OR", Operation::Or),
    ("XOR", Operation::Xor),
    ("NOT", Operation::Not),
    ("DIFF", Operation::Diff),
    ("DIFF1", Operation::Diff1),
    ("ANDOR", Operation::AndOr),
    ("ONE", Operation::One),
];

impl Operation {
    fn parse(word: &[u8], sources: usize) -> Result<Operation, CommandError> {
        let (name, operation) = OPERATIONS
            .into_iter()
            .find(|(name, _)| is_keyword(word, name))
            .ok_or(CommandError::SYNTAX)?;
        let wants = match operation {
            Operation::Not if sources != 1 => "with a single source key",
            Operation::Diff | Operation::Diff1 | Operation::AndOr if sources < 2 => {
                "with at least two source keys"
            }
            _ => return Ok(operation),
        };
        Err(CommandError::new(format!(
            "ERR BITOP {name} must be called {wants}."
        )))
    }

    /// Joins the words at one place of all operands.
    fn join(self, mut words: impl Iterator<Item = u64>) -> u64 {
        let first = words.next().unwrap_or(0);
        match self {
            Operation::And => words.fold(first, |sum, word| sum & word),
            Operation::Or => words.fold(first, |sum, word| sum | word),
            Operation::Xor => words.fold(first, |sum, word| sum ^ word),
            Operation::Not => !first,
            Operation::Diff => first & !words.fold(0, |sum, word| sum | word),
            Operation::Diff1 => !first & words.fold(0, |sum, word| sum | word),
            Operation::AndOr => first & words.fold(0, |sum, word| sum | word),
            Operation::One => {
                let once_or_more = |(once, more): (u64, u64), word: u64| {
                    let more = more | once & word;
                    ((once | word) & !more, more)
                };
                words.fold((first, 0), once_or_more).0
            }
        }
    }

    fn result(self, operands: &[&[u8]]) -> Vec<u8> {
        let length = operands.iter().map(|operand| operand.len()).max();
        let mut result = vec![0; length.unwrap_or(0)];
        for (index, place) in result.chunks_mut(8).enumerate() {
            let words = operands.iter().map(|operand| word_at(operand, index * 8));
            let joined = self.join(words).to_ne_bytes();
            place.copy_from_slice(&joined[..place.len()]);
        }
        result
    }
}

/// Eight bytes from `offset` on; zeros behind the end.
fn word_at(bytes: &[u8], offset: usize) -> u64 {
    let rest = bytes.get(offset..).unwrap_or_default();
    if let Some(word) = rest.first_chunk() {
        return u64::from_ne_bytes(*word);
    }
    let mut word = [0; 8];
    word[..rest.len()].copy_from_slice(rest);
    u64::from_ne_bytes(word)
}

/// BITOP operation destkey key [key ...]
fn bitop(context: &mut Context<'_>, arguments: &[&[u8]], reply: &mut Reply<'_>) -> CommandResult {
    let destination = arguments[2];
    let operation = Operation::parse(arguments[1], arguments.len() - 3)?;
    let sources: Vec<Value> = arguments[3..]
        .iter()
        .map(|key| Ok(context.keys.value(key).unwrap_or_default()))
        .collect::<Result<_, CommandError>>()?;
    let operands: Vec<&[u8]> = sources
        .iter()
        .map(|value| value.as_text().ok_or(CommandError::WRONG_TYPE))
        .collect::<Result<_, _>>()?;
    let result = operation.result(&operands);
    if result.is_empty() {
        if context.keys.delete(destination)? {
            context
                .keys
                .notify(EventClasses::GENERIC, "del", destination);
        }
    } else {
        context
            .keys
            .set_text(destination, &result, Deadline::None)?;
        context.keys.mark_raw_text(destination);
        context
            .keys
            .notify(EventClasses::STRING, "set", destination);
    }
    reply.count(result.len());
    Ok(())
}

/// The rows of this family.
pub const COMMANDS: &[CommandSpec] = &[CommandSpec {
    since: "2.6.0",
    complexity: "O(N)",
    key_uses: &[KeyUse::REPLACE.at(2, 2), KeyUse::READ.at(3, -1)],
    summary: "Combines several strings bit by bit and stores what comes out.",
    ..CommandSpec::new(
        "bitop",
        -4,
        Flags::WRITE.and(Flags::DENYOOM),
        &[KeySpec::Range {
            first: 2,
            last: -1,
            step: 1,
        }],
        Group::Bitmap,
        bitop,
    )
}
.with_syntax(
    "operation<AND | OR | XOR | NOT | DIFF@8.2.0 | DIFF1@8.2.0 | ANDOR@8.2.0 | ONE@8.2.0> \
     destkey:key key...",
)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::test_support::TestServer;
    use proptest::prelude::*;

    #[test]
    fn operations_and_their_errors() {
        TestServer::new().check_all(&[
            ("SET a \"\\xff\\x0f\"", "+OK"),
            ("SET b \"\\x0f\"", "+OK"),
            ("BITOP and d a b", ":2"),
            ("GET d", "\"\\x0f\\x00\""),
            ("OBJECT ENCODING d", "\"raw\""),
            ("BITOP OR d a b none", ":2"),
            ("GET d", "\"\\xff\\x0f\""),
            ("BITOP NOT d b", ":1"),
            ("GET d", "\"\\xf0\""),
            ("BITOP DIFF d a b", ":2"),
            ("GET d", "\"\\xf0\\x0f\""),
            ("EXPIRE d 10", ":1"),
            ("BITOP ONE d a b a", ":2"),
            ("GET d", "\"\\x00\\x00\""),
            ("TTL d", ":-1"),
            ("BITOP XOR d none", ":0"),
            ("EXISTS d", ":0"),
            (
                "BITOP NOT d a b",
                "-ERR BITOP NOT must be called with a single source key.",
            ),
            (
                "BITOP diff1 d a",
                "-ERR BITOP DIFF1 must be called with at least two source keys.",
            ),
            ("BITOP nand d a b", "-ERR syntax error"),
            ("HSET h f v", ":1"),
            (
                "BITOP AND d a h",
                "-WRONGTYPE Operation against a key holding the wrong kind of value",
            ),
            ("BITOP AND h a b", ":2"),
            ("TYPE h", "+string"),
        ]);
    }

    fn of_one_bit(operation: Operation, bits: &[bool]) -> bool {
        let (first, others) = (bits[0], bits[1..].contains(&true));
        let set = bits.iter().filter(|bit| **bit).count();
        match operation {
            Operation::And => set == bits.len(),
            Operation::Or => set > 0,
            Operation::Xor => set % 2 == 1,
            Operation::Not => !first,
            Operation::Diff => first && !others,
            Operation::Diff1 => !first && others,
            Operation::AndOr => first && others,
            Operation::One => set == 1,
        }
    }

    proptest! {
        #[test]
        fn words_are_joined_as_single_bits_are(
            operands in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 2..5),
            which in 0..8usize,
        ) {
            let operation = OPERATIONS[which].1;
            let operands: Vec<&[u8]> = operands.iter().map(Vec::as_slice).collect();
            let bit = |bytes: &[u8], position: usize| {
                bytes.get(position / 8).is_some_and(|byte| byte >> (position % 8) & 1 == 1)
            };
            let result = operation.result(&operands);
            for position in 0..result.len() * 8 {
                let bits: Vec<bool> = operands.iter().map(|operand| bit(operand, position)).collect();
                prop_assert_eq!(bit(&result, position), of_one_bit(operation, &bits));
            }
        }
    }
}
