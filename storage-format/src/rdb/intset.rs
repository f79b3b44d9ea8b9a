//! The packed set of integers: width of each in bytes (`u32` 2, 4 or 8), count (`u32`), the integers in ascending order.

use super::elements::Elements;
use crate::error::FormatError;
use crate::reader::ByteReader;

/// Appends the members' texts to `elements`.
///
/// # Errors
/// [`FormatError::Damaged`] if the bytes are not exactly an intset with at least one member, strictly ascending.
pub(super) fn read(bytes: &[u8], elements: &mut Elements) -> Result<(), FormatError> {
    let mut reader = ByteReader::new(bytes);
    let width = u32::from_le_bytes(reader.array("intset width")?) as usize;
    let count = u32::from_le_bytes(reader.array("intset count")?) as usize;
    if !matches!(width, 2 | 4 | 8)
        || count == 0
        || count.checked_mul(width) != Some(reader.remaining())
    {
        return Err(reader.damaged("intset"));
    }
    let mut former = None;
    for _ in 0..count {
        let member = match width {
            2 => i64::from(i16::from_le_bytes(reader.array("intset member")?)),
            4 => i64::from(i32::from_le_bytes(reader.array("intset member")?)),
            _ => i64::from_le_bytes(reader.array("intset member")?),
        };
        if former.is_some_and(|former| former >= member) {
            return Err(reader.damaged("intset order"));
        }
        former = Some(member);
        elements.push_integer(member);
    }
    Ok(())
}

/// The intset of `members`, which are distinct and not too many for 32 bits.
pub(super) fn write(members: &mut [i64]) -> Vec<u8> {
    members.sort_unstable();
    let all_fit =
        |least: i64, most: i64| members.iter().all(|member| (least..=most).contains(member));
    let width = if all_fit(i16::MIN.into(), i16::MAX.into()) {
        2
    } else if all_fit(i32::MIN.into(), i32::MAX.into()) {
        4
    } else {
        8
    };
    let mut out = Vec::with_capacity(8 + members.len() * width);
    out.extend_from_slice(&(width as u32).to_le_bytes());
    out.extend_from_slice(&(members.len() as u32).to_le_bytes());
    for member in members {
        out.extend_from_slice(&member.to_le_bytes()[..width]);
    }
    out
}
