//! What a client can do wrong in the protocol itself. Each of these ends the connection after the error was sent,
//! because what follows in the stream can no longer be told apart.

/// A request that cannot be understood. `Display` gives Redis's text without the `ERR` code in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// `*` was followed by something that is not an acceptable count.
    #[error("Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    /// An argument did not begin with `$`; the byte found instead.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    ExpectedBulk(u8),
    /// `$` was followed by something that is not an acceptable length.
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// An inline command of more than 64 KiB.
    #[error("Protocol error: too big inline request")]
    TooBigInlineRequest,
    /// More than 64 KiB behind `*` without an end of line.
    #[error("Protocol error: too big mbulk count string")]
    TooBigMultibulkCount,
    /// More than 64 KiB behind `$` without an end of line.
    #[error("Protocol error: too big bulk count string")]
    TooBigBulkCount,
    /// More arguments than a client may send before it has authenticated.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// A longer argument than a client may send before it has authenticated.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// Quotes of an inline command that are not closed, or closed in the middle of a word.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// A request that does not fit in 4 GiB, the reach of an [`ArgumentRange`](super::ArgumentRange).
    #[error("Protocol error: request of 4 GiB or more")]
    RequestTooLarge,
}
