//! The Redis serialization protocol: bytes to requests, replies to bytes. No sockets, no clock, no commands.
//!
//! `request` finds commands in a connection's read buffer without copying their arguments, `reply` appends answers to
//! its write buffer in the dialect (RESP2 or RESP3) that the client asked for. Both work on plain byte buffers, so
//! that they can be tested, fuzzed and measured without a network, and so that the connection loop can be replaced
//! without touching them.
//!
//! `number` and `long_double` hold Redis's own rules for reading, adding and printing numbers; `quoting` its rules for
//! splitting a line of text into arguments, which inline commands and configuration files share.

pub mod error;
pub mod long_double;
mod natural;
pub mod number;
pub mod quoting;
pub mod reply;
pub mod request;

pub use error::ProtocolError;
pub use reply::{Protocol, Reply};
pub use request::{ArgumentRange, Decoded, Decoder, Limits};
