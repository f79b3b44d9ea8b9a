//! The messages of CLIENT TRACKING: pushes in RESP3, messages on `__redis__:invalidate` for a subscriber in RESP2.

use crate::net::ClientRecord;
use crate::resp::{Protocol, Reply};

/// What is not as it was.
pub enum Invalidation<'a> {
    /// These keys.
    Keys(&'a [&'a [u8]]),
    /// All keys.
    Everything,
}

impl Invalidation<'_> {
    /// Sends it. A client in RESP2 can be told only what another one redirects to it, and only if it is a subscriber.
    pub fn send(&self, client: &ClientRecord, is_redirected: bool) {
        let protocol = client.protocol();
        let mut encoded = Vec::new();
        let mut reply = Reply::new(&mut encoded, protocol);
        match protocol {
            Protocol::Resp3 => {
                reply.push_header(2);
                reply.bulk(b"invalidate");
            }
            Protocol::Resp2 if is_redirected && client.is_subscriber() => {
                reply.array_header(3);
                reply.bulk(b"message");
                reply.bulk(b"__redis__:invalidate");
            }
            Protocol::Resp2 => return,
        }
        match self {
            Invalidation::Keys(keys) => {
                reply.array_header(keys.len());
                keys.iter().for_each(|key| reply.bulk(key));
            }
            Invalidation::Everything => reply.null(),
        }
        client.push(&encoded);
    }
}

/// Tells a client that the one it redirects to is gone.
pub fn send_broken_redirect(client: &ClientRecord, redirect: u64) {
    if client.protocol() == Protocol::Resp3 {
        let mut encoded = Vec::new();
        let mut reply = Reply::new(&mut encoded, Protocol::Resp3);
        reply.push_header(2);
        reply.bulk(b"tracking-redir-broken");
        reply.integer(redirect as i64);
        client.push(&encoded);
    }
}
