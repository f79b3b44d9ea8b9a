//! The ends of a range in a sorted set, as clients write them, and the ranks that they mean.
//!
//! Whatever a range is given by, it ends up as a range of ranks: two look-ups in O(log n). Counting, removing and
//! walking in either direction then need not know what it was given by.

use super::collections::positions;
use super::options::{integer, up_to_nul};
use crate::error::CommandError;
use crate::resp::number::parse_double;
use crate::value::SortedSet;
use std::ops::Range;

/// What the two ends of a range are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Ranks, below 0 from the end.
    Rank,
    /// Scores.
    Score,
    /// Members, provided that all scores are equal.
    Member,
}

/// One end of a range of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreBound {
    score: f64,
    is_exclusive: bool,
}

impl ScoreBound {
    /// Reads `1.5`, `(1.5`, `-inf`. Like C's `strtod`, it ends at a NUL, blanks in front are skipped and no digits at
    /// all are 0.
    fn parse(argument: &[u8]) -> Option<ScoreBound> {
        let (text, is_exclusive) = match up_to_nul(argument) {
            [b'(', text @ ..] => (text, true),
            text => (text, false),
        };
        let number = text.trim_ascii_start();
        let score = match number {
            [] if text.is_empty() => 0.0,
            // Too large or too small for a double: infinite or 0 here, whereas a score must fit.
            _ => parse_double(number).or_else(|| {
                let score: f64 = std::str::from_utf8(number).ok()?.parse().ok()?;
                (!score.is_nan()).then_some(score)
            })?,
        };
        Some(ScoreBound {
            score,
            is_exclusive,
        })
    }
}

/// One end of a range of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberBound<'a> {
    /// `-`: before all members.
    Before,
    /// `+`: behind all members.
    Behind,
    /// `[member`
    Inclusive(&'a [u8]),
    /// `(member`
    Exclusive(&'a [u8]),
}

impl<'a> MemberBound<'a> {
    fn parse(argument: &'a [u8]) -> Option<MemberBound<'a>> {
        match argument {
            [b'-'] => Some(MemberBound::Before),
            [b'+'] => Some(MemberBound::Behind),
            [b'[', member @ ..] => Some(MemberBound::Inclusive(member)),
            [b'(', member @ ..] => Some(MemberBound::Exclusive(member)),
            _ => None,
        }
    }
}

/// Both ends of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bounds<'a> {
    /// First and last rank.
    Rank(i64, i64),
    /// Least and greatest score.
    Score(ScoreBound, ScoreBound),
    /// Least and greatest member.
    Member(MemberBound<'a>, MemberBound<'a>),
}

impl<'a> Bounds<'a> {
    /// Reads both ends.
    ///
    /// # Errors
    /// What Redis says of each kind of end.
    pub fn parse(by: By, least: &'a [u8], greatest: &'a [u8]) -> Result<Bounds<'a>, CommandError> {
        const NOT_SCORES: CommandError = CommandError::fixed("ERR min or max is not a float");
        const NOT_MEMBERS: CommandError =
            CommandError::fixed("ERR min or max not valid string range item");
        match by {
            By::Rank => Ok(Bounds::Rank(integer(least)?, integer(greatest)?)),
            By::Score => ScoreBound::parse(least)
                .zip(ScoreBound::parse(greatest))
                .map(|(least, greatest)| Bounds::Score(least, greatest))
                .ok_or(NOT_SCORES),
            By::Member => MemberBound::parse(least)
                .zip(MemberBound::parse(greatest))
                .map(|(least, greatest)| Bounds::Member(least, greatest))
                .ok_or(NOT_MEMBERS),
        }
    }

    /// The ranks of the members within the bounds. Ranks given in reverse (`from_end`: rank 0 is the last member) are
    /// turned round; the other kinds of bounds mean the same in both directions.
    pub fn ranks(&self, members: &SortedSet, from_end: bool) -> Range<usize> {
        let length = members.len();
        let (start, end) = match *self {
            Bounds::Rank(first, last) => {
                let ranks = positions(first, last, length);
                if !from_end {
                    return ranks;
                }
                (length - ranks.end, length - ranks.start)
            }
            Bounds::Score(least, greatest) => (
                members.count_below_score(least.score, least.is_exclusive),
                members.count_below_score(greatest.score, !greatest.is_exclusive),
            ),
            Bounds::Member(least, greatest) => (
                Self::members_below(members, least, false),
                Self::members_below(members, greatest, true),
            ),
        };
        start..end.max(start)
    }

    /// How many members come before a bound; `includes` says whether one that is named inclusively does.
    fn members_below(members: &SortedSet, bound: MemberBound<'_>, includes: bool) -> usize {
        match bound {
            MemberBound::Before => 0,
            MemberBound::Behind => members.len(),
            MemberBound::Inclusive(member) => members.count_below_member(member, includes),
            MemberBound::Exclusive(member) => members.count_below_member(member, !includes),
        }
    }
}
