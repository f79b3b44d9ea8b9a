//! The few threads that may wait for the disk on behalf of requests.
//!
//! However many requests wait for one key, one read runs. Requests may share a read only if nothing left the key's shard
//! for another tier between them: else the read might have begun before the key was last here and changed. So the
//! shard's count of departures is part of what identifies a read.

use super::cold::Cold;
use super::warm::{WARM_VALUE_BYTES_MIN, WarmCopy};
use crate::error::InternalError;
use crate::value::Value;
use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use storage_format::ValueKind;
use tokio::sync::oneshot;

/// What has to be read, and under which count of departures the key was not in the keyspace.
#[derive(Clone)]
pub struct FetchTicket {
    pub(super) cold_key: Box<[u8]>,
    pub(super) departures: u64,
    /// A copy that is too large to be unpacked under a lock; no disk is needed then.
    pub(super) warm: Option<Arc<WarmCopy>>,
    /// Texts that are only looked at are to get a warm copy.
    pub(super) wants_copy: bool,
}

/// A record, read and decoded.
pub(super) struct FetchedRecord {
    pub lsn: u64,
    pub deadline_ms: Option<u64>,
    pub kind: ValueKind,
    pub value: Value,
    /// A copy for the warm tier, where one is wanted and worth its memory.
    pub copy: Option<Arc<WarmCopy>>,
}

/// What a read gives: a record, none, or an error. Cloning is cheap.
type Outcome = Result<Option<Arc<FetchedRecord>>, Arc<InternalError>>;

/// A fetch that is done; to be shown to `Tier::resolve`.
#[derive(Clone)]
pub struct Fetched {
    pub(super) cold_key: Box<[u8]>,
    pub(super) departures: u64,
    pub(super) record: Option<Arc<FetchedRecord>>,
}

type Identity = (Box<[u8]>, u64);
type Waiting = Mutex<HashMap<Identity, Vec<oneshot::Sender<Outcome>>>>;

enum Job {
    Fetch(FetchTicket),
    Run(Box<dyn FnOnce() + Send>),
}

/// See the module's comment.
pub struct Pool {
    jobs: Mutex<Option<Sender<Job>>>,
    queue: Receiver<Job>,
    waiting: Arc<Waiting>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    /// A pool without threads: jobs wait until [`Pool::start`].
    pub fn new() -> Pool {
        let (jobs, queue) = unbounded();
        Pool {
            jobs: Mutex::new(Some(jobs)),
            queue,
            waiting: Arc::default(),
            threads: Mutex::default(),
        }
    }

    /// Starts the threads. `cold` is where they read.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(&self, threads: usize, cold: Option<&Arc<Cold>>) -> Result<(), InternalError> {
        for number in 0..threads {
            let (queue, cold, waiting) =
                (self.queue.clone(), cold.cloned(), Arc::clone(&self.waiting));
            let thread = std::thread::Builder::new()
                .name(format!("larder-io-{number}"))
                .spawn(move || work(&queue, cold.as_deref(), &waiting))
                .map_err(|error| {
                    InternalError::Other(format!("cannot start an I/O thread: {error}"))
                })?;
            self.threads.lock().push(thread);
        }
        Ok(())
    }

    /// Reads what a ticket names. The read is under way when this returns, before the future is awaited.
    pub fn fetch(
        &self,
        ticket: FetchTicket,
    ) -> impl Future<Output = Result<Fetched, Arc<InternalError>>> + Send + use<> {
        let (cold_key, departures) = (ticket.cold_key.clone(), ticket.departures);
        let receiver = self.submit(ticket);
        async move {
            let answer = match receiver {
                Some(receiver) => receiver.await.ok(),
                None => None,
            };
            let stopped = || Err(Arc::new(InternalError::Stopping));
            let record = answer.unwrap_or_else(stopped)?;
            Ok(Fetched {
                cold_key,
                departures,
                record,
            })
        }
    }

    fn submit(&self, ticket: FetchTicket) -> Option<oneshot::Receiver<Outcome>> {
        let (sender, receiver) = oneshot::channel();
        let identity = (ticket.cold_key.clone(), ticket.departures);
        let mut waiting = self.waiting.lock();
        let waiters = waiting.entry(identity).or_default();
        waiters.push(sender);
        let is_first = waiters.len() == 1;
        drop(waiting);
        if is_first {
            self.send(Job::Fetch(ticket))?;
        }
        Some(receiver)
    }

    fn send(&self, job: Job) -> Option<()> {
        self.jobs.lock().as_ref()?.send(job).ok()
    }

    /// Runs a job on one of the threads, some time.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        // Refused only when the server ends.
        let _ = self.send(Job::Run(Box::new(job)));
    }

    /// Ends the threads when their queue is empty, and waits for that.
    pub fn stop(&self) {
        drop(self.jobs.lock().take());
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("an I/O thread panicked");
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop();
    }
}

fn work(queue: &Receiver<Job>, cold: Option<&Cold>, waiting: &Waiting) {
    while let Ok(job) = queue.recv() {
        match job {
            Job::Run(job) => job(),
            Job::Fetch(ticket) => {
                let outcome = read(cold, &ticket).map_err(Arc::new);
                if let Err(error) = &outcome {
                    tracing::error!(%error, "a key could not be read from the cold tier");
                }
                let waiters = waiting.lock().remove(&(ticket.cold_key, ticket.departures));
                for waiter in waiters.into_iter().flatten() {
                    // A waiter whose client has gone no longer listens.
                    let _ = waiter.send(outcome.clone());
                }
            }
        }
    }
}

/// Reads and decodes on the calling thread.
pub(super) fn read(
    cold: Option<&Cold>,
    ticket: &FetchTicket,
) -> Result<Option<Arc<FetchedRecord>>, InternalError> {
    if let Some(copy) = &ticket.warm {
        let value = decode(cold, copy.kind, &copy.unpack()?)?;
        let (lsn, deadline_ms, kind) = (copy.lsn, copy.deadline_ms, copy.kind);
        let copy = Some(Arc::clone(copy));
        return Ok(Some(Arc::new(FetchedRecord {
            lsn,
            deadline_ms,
            kind,
            value,
            copy,
        })));
    }
    let Some(cold) = cold else { return Ok(None) };
    let Some(bytes) = cold.read(&ticket.cold_key)? else {
        return Ok(None);
    };
    let (header, encoded) = cold.split(&bytes)?;
    let value = decode(Some(cold), header.kind, encoded)?;
    let (lsn, kind) = (header.lsn, header.kind);
    let deadline_ms = (header.deadline_ms != 0).then_some(header.deadline_ms);
    let wants_copy =
        ticket.wants_copy && kind == ValueKind::String && encoded.len() >= WARM_VALUE_BYTES_MIN;
    let copy = wants_copy.then(|| Arc::new(WarmCopy::new(lsn, deadline_ms, kind, encoded)));
    Ok(Some(Arc::new(FetchedRecord {
        lsn,
        deadline_ms,
        kind,
        value,
        copy,
    })))
}

fn decode(cold: Option<&Cold>, kind: ValueKind, encoded: &[u8]) -> Result<Value, InternalError> {
    Value::decode(kind, encoded).map_err(|source| match cold {
        Some(cold) => cold.damaged(source),
        None => InternalError::Other(source.to_string()),
    })
}
