//! Little-endian numbers at fixed places of fixed-size headers.

/// The 32-bit number at `offset`, which must be in range.
pub(crate) fn u32_at<const N: usize>(bytes: &[u8; N], offset: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(number)
}

/// The 64-bit number at `offset`, which must be in range.
pub(crate) fn u64_at<const N: usize>(bytes: &[u8; N], offset: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(number)
}
