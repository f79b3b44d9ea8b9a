//! What other threads send to a client: published messages, MONITOR lines, invalidations of CLIENT TRACKING.
//!
//! Any thread appends finished RESP bytes and wakes the connection, which sends them between its own replies. The memory is
//! bounded: past the hard output-buffer limit nothing more is taken, and the connection ends as soon as it notices.
//! Cost for a client that gets no messages: one relaxed load for each command, one short lock for each wait.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

/// See the module's comment.
#[derive(Default)]
pub struct Outbox {
    waiting_bytes: AtomicUsize,
    /// The hard limit of `client-output-buffer-limit pubsub`, in bytes; 0: none.
    limit_bytes: Arc<AtomicU64>,
    is_over_limit: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    messages: Vec<u8>,
    waker: Option<Waker>,
}

impl Outbox {
    /// An empty one with this limit, which may change later.
    pub fn new(limit_bytes: Arc<AtomicU64>) -> Outbox {
        Outbox {
            limit_bytes,
            ..Outbox::default()
        }
    }

    /// Appends a message and wakes the connection.
    pub fn push(&self, message: &[u8]) {
        let mut inner = self.inner.lock();
        let limit_bytes = self.limit_bytes.load(Ordering::Relaxed) as usize;
        if limit_bytes > 0 && inner.messages.len() + message.len() > limit_bytes {
            self.is_over_limit.store(true, Ordering::Release);
        }
        if self.is_over_limit() {
            inner.messages = Vec::new();
            // Not empty, so that the connection looks.
            inner.messages.push(0);
            if let Some(waker) = inner.waker.take() {
                waker.wake();
            }
            return;
        }
        inner.messages.extend_from_slice(message);
        let waiting_bytes = inner.messages.len();
        self.waiting_bytes.store(waiting_bytes, Ordering::Release);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// True if the client did not take its messages in time: it has to go.
    pub fn is_over_limit(&self) -> bool {
        self.is_over_limit.load(Ordering::Acquire)
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting_bytes.load(Ordering::Acquire) == 0
    }

    /// Bytes that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of memory that it holds.
    pub fn held_bytes(&self) -> usize {
        self.inner.lock().messages.capacity()
    }

    /// Moves everything that waits behind `output`.
    pub fn take_into(&self, output: &mut Vec<u8>) {
        let mut inner = self.inner.lock();
        if output.is_empty() {
            std::mem::swap(&mut inner.messages, output);
        } else {
            output.append(&mut inner.messages);
        }
        self.waiting_bytes.store(0, Ordering::Release);
    }

    /// Ready when something waits.
    pub fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.inner.lock();
        if !inner.messages.is_empty() {
            return Poll::Ready(());
        }
        match &inner.waker {
            Some(waker) if waker.will_wake(context.waker()) => {}
            _ => inner.waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[test]
    fn a_client_that_does_not_read_is_given_up() {
        let outbox = Outbox::new(Arc::new(AtomicU64::new(100)));
        (0..10).for_each(|_| outbox.push(&[1; 10]));
        assert!(!outbox.is_over_limit());
        outbox.push(&[1]);
        assert!(outbox.is_over_limit());
        outbox.push(&[1; 1000]);
        assert!(outbox.waiting_bytes() <= 100);
    }

    #[test]
    fn messages_of_many_threads_arrive_whole() {
        let outbox = Arc::new(Outbox::default());
        let senders: Vec<_> = (0..4u8)
            .map(|sender| {
                let outbox = Arc::clone(&outbox);
                std::thread::spawn(move || {
                    for _ in 0..1000 {
                        outbox.push(&[sender; 7]);
                    }
                })
            })
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let mut received = Vec::new();
        runtime.block_on(async {
            while received.len() < 4 * 1000 * 7 {
                poll_fn(|context| outbox.poll_ready(context)).await;
                let mut some = Vec::new();
                outbox.take_into(&mut some);
                received.append(&mut some);
            }
        });
        assert!(outbox.is_empty());
        for message in received.chunks(7) {
            assert!(message.iter().all(|byte| *byte == message[0]));
        }
        for sender in senders {
            sender.join().expect("a sender");
        }
    }
}
