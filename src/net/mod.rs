//! Listeners, worker threads and connections.
//!
//! One thread accepts, and hands sockets to the workers in turn; each worker runs all its connections on a
//! current-thread tokio runtime and works directly on the shared shards. No command travels between threads.

mod client_line;
pub mod clients;
pub mod connection;
pub mod listener;
pub mod outbox;
pub mod slow;
pub mod stream;
pub mod tls;
pub mod worker;

pub use clients::{ClientRecord, Clients};
pub use outbox::Outbox;
