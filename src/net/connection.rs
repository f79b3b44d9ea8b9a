//! One connection: reads, runs what arrived, writes.
//!
//! A worker thread has one read and one write buffer that all its connections share; a connection owns memory only
//! for what is left over: half a request, or replies that the socket did not take. So an idle connection costs a
//! task and a record, and the buffers stay in the processor's cache.
//!
//! A batch runs synchronously: decode up to [`BATCH_MAX`] requests, prefetching for each, then run them in order. What
//! cannot go on at once (a fetch from the cold tier, a job, a lack of memory) is awaited by this connection alone; the
//! rest of its input stays where it is.
//!
//! Back-pressure: while replies are unsent, nothing more is read. So a client that never reads costs at most one
//! batch's replies, and the output-buffer limits end it.

use super::clients::Registration;
use super::stream::Stream;
use super::worker::Worker;
use crate::clock;
use crate::commands::Session;
use crate::dispatch::{Foresight, Outcome, Pending, Request};
use crate::error::CommandError;
use crate::resp::{ArgumentRange, Decoded, Decoder, Limits, Protocol, Reply};
use crate::server::Server;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// Requests that are decoded and prefetched ahead.
const BATCH_MAX: usize = 64;
/// A batch stops for sending when its replies reach this size, in bytes.
const OUTPUT_STOP_BYTES: usize = 256 * 1024;
/// How far ahead of execution entries are prefetched.
const PREFETCH_DISTANCE: usize = 4;
/// Requests of at most so many arguments are run without an allocation.
const INLINE_ARGUMENTS: usize = 12;

/// A request's arguments when they have to outlive the read buffer.
pub(super) type OwnedArguments = Vec<Box<[u8]>>;

/// What a batch ended with.
enum Step {
    /// All complete requests ran; read more.
    Read,
    /// Some input is left: come again after the replies are sent.
    Again,
    /// This request has to wait.
    Wait(OwnedArguments, Box<Pending>),
    /// The connection ends after the replies are sent.
    Close,
}

/// See the module's comment.
pub struct Connection {
    pub(super) stream: Stream,
    pub(super) worker: Rc<RefCell<Worker>>,
    pub(super) session: Session,
    pub(super) decoder: Decoder,
    /// Input that is left over.
    pub(super) input: Vec<u8>,
    /// Replies that are not sent yet.
    pub(super) output: Vec<u8>,
    pub(super) registration: Registration,
    /// Since when the output is over its soft limit.
    over_soft_limit_since_ms: Option<u64>,
}

impl Connection {
    /// A connection that was just accepted and registered.
    pub fn new(
        stream: Stream,
        worker: Rc<RefCell<Worker>>,
        registration: Registration,
    ) -> Connection {
        let record = &registration.record;
        let authenticated = worker.borrow().dispatcher.server().password_is_empty();
        let session = Session::new(
            record.id,
            authenticated,
            record.address.clone(),
            record.local_address.clone(),
        );
        Connection {
            stream,
            worker,
            session,
            decoder: Decoder::new(),
            input: Vec::new(),
            output: Vec::new(),
            registration,
            over_soft_limit_since_ms: None,
        }
    }

    /// Serves until the client goes, or is sent away.
    pub async fn serve(mut self) -> io::Result<()> {
        self.serve_to_the_end().await
    }

    async fn serve_to_the_end(&mut self) -> io::Result<()> {
        let mut step = Step::Read;
        loop {
            step = match step {
                Step::Read => poll_fn(|context| self.poll_read_and_run(context)).await?,
                Step::Again => self.run_left_over(),
                Step::Wait(arguments, pending) => {
                    let kept = match &*pending {
                        Pending::Blocked(waiter) => &waiter.arguments,
                        _ => &arguments,
                    };
                    let bytes = kept.iter().map(|argument| argument.len()).sum();
                    let record = Arc::clone(&self.registration.record);
                    record.buffers.arguments.store(bytes, Relaxed);
                    self.finish_slowly(arguments, pending).await;
                    record.buffers.arguments.store(0, Relaxed);
                    record.commands.store(self.session.commands.get(), Relaxed);
                    if self.session.closing {
                        let server = self.server();
                        self.leave(&server);
                        Step::Close
                    } else {
                        Step::Again
                    }
                }
                Step::Close => {
                    self.flush().await?;
                    let stream = &mut self.stream;
                    let goodbye = poll_fn(|context| stream.poll_shutdown(context));
                    // Whether the client hears it is up to its socket.
                    let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
                    return Ok(());
                }
            };
            self.wait_durable().await?;
            if !self.output.is_empty() || self.stream.is_unflushed() {
                self.flush().await?;
            }
        }
    }

    /// Clients that waited for what was just written get their replies first, as in Redis, where they are on this thread.
    async fn let_served_go_first(&mut self) {
        let mut is_their_turn = self.worker.borrow_mut().dispatcher.take_has_served();
        // Not the runtime's `yield_now`, which looks for new input first, with a system call.
        poll_fn(|context| {
            if !std::mem::take(&mut is_their_turn) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// The client is gone, as others see it: before it hears the reply to its QUIT.
    fn leave(&mut self, server: &Server) {
        server.forget_client(&mut self.session);
        self.registration.record.is_leaving.store(true, Relaxed);
    }

    /// Reads, into the worker's buffer or behind the left-over, and runs what arrived. Replies go out at once if the
    /// socket takes them.
    fn poll_read_and_run(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Step>> {
        let outbox = &self.registration.record.outbox;
        if outbox.poll_ready(context).is_ready() {
            if outbox.is_over_limit() {
                return Poll::Ready(Err(output_limit_reached()));
            }
            outbox.take_into(&mut self.output);
            return Poll::Ready(Ok(Step::Read));
        }
        let worker = Rc::clone(&self.worker);
        let mut worker = worker.borrow_mut();
        let worker = &mut *worker;
        if !self.input.is_empty() {
            self.input.reserve(worker.read_size(self.input.len()));
            let count = ready!(self.stream.poll_read(context, &mut self.input))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            worker.note_received(&self.registration.record, count);
            let limit = worker.dispatcher.settings().query_buffer_limit_bytes as usize;
            if self.input.len() > limit {
                return Poll::Ready(Err(io::Error::other("the query buffer limit is reached")));
            }
            drop(worker.output.drain(..));
            return Poll::Ready(Ok(self.run_input(worker)));
        }
        let mut input = std::mem::take(&mut worker.input);
        input.clear();
        // It has its size, unless a panic lost it.
        input.reserve(worker.read_size(0));
        // Empty already, unless a command of another client panicked: nobody gets its half of a reply.
        worker.output.clear();
        let read = self.stream.poll_read(context, &mut input);
        let result = match read {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(count)) => {
                worker.note_received(&self.registration.record, count);
                let (step, consumed) = self.run_batch(worker, &mut input);
                self.input.extend_from_slice(&input[consumed..]);
                self.note_input();
                // Not `?`: the worker gets its buffer back also when the client is gone.
                Poll::Ready(self.send_at_once(context, worker).map(|()| step))
            }
        };
        worker.input = input;
        result
    }

    fn run_left_over(&mut self) -> Step {
        if self.input.is_empty() {
            return Step::Read;
        }
        let worker = Rc::clone(&self.worker);
        let mut worker = worker.borrow_mut();
        self.run_input(&mut worker)
    }

    /// Runs what is complete in the left-over.
    fn run_input(&mut self, worker: &mut Worker) -> Step {
        let mut input = std::mem::take(&mut self.input);
        let (step, consumed) = self.run_batch(worker, &mut input);
        input.drain(..consumed);
        if input.is_empty() {
            input = Vec::new();
        }
        self.input = input;
        self.note_input();
        self.output.append(&mut worker.output);
        step
    }

    /// Sends the worker's output; what the socket does not take becomes this connection's.
    fn send_at_once(&mut self, context: &mut Context<'_>, worker: &mut Worker) -> io::Result<()> {
        let mut sent = 0;
        let must_wait = !self.output.is_empty()
            || worker.waits_for_durability()
            || worker.dispatcher.has_served();
        while !must_wait && sent < worker.output.len() {
            match self.stream.poll_write(context, &worker.output[sent..]) {
                Poll::Ready(Ok(0)) | Poll::Pending => break,
                Poll::Ready(Ok(count)) => sent += count,
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        worker.note_sent(&self.registration.record, sent);
        self.output.extend_from_slice(&worker.output[sent..]);
        self.note_output(self.output.len());
        worker.output.clear();
        worker.shrink();
        Ok(())
    }

    /// Decodes and runs requests until the input is used up or something has to wait. Replies are in the worker's
    /// output. Returns how much of the input was used.
    fn run_batch(&mut self, worker: &mut Worker, input: &mut [u8]) -> (Step, usize) {
        let (mut step, mut consumed) = (Step::Again, 0);
        worker.durable_from = worker.dispatcher.last_lsn();
        let buffers = &self.registration.record.buffers;
        buffers.input.store(input.len(), Relaxed);
        let mut ranges = std::mem::take(&mut worker.ranges);
        let mut ends = std::mem::take(&mut worker.ends);
        while matches!(step, Step::Again) && worker.output.len() < OUTPUT_STOP_BYTES {
            ranges.clear();
            ends.clear();
            worker.dispatcher.begin_batch();
            let decoded = self.decode(worker, input, consumed, &mut ranges, &mut ends);
            worker.dispatcher.begin_commands();
            let ran = self.run_requests(worker, input, &ranges, &ends, &mut consumed);
            worker.dispatcher.end_batch();
            if ran.is_some() {
                // What was decoded behind the last request that ran is decoded again, from its beginning.
                self.decoder = Decoder::new();
            }
            step = match (ran, decoded) {
                (Some(step), _) => step,
                (None, Err(text)) => {
                    worker.dispatcher.write_error(
                        &CommandError::new(text),
                        self.session.protocol,
                        &mut worker.output,
                    );
                    Step::Close
                }
                (None, Ok(DecodedBatch::Full)) => Step::Again,
                (None, Ok(DecodedBatch::Dry { skipped })) => {
                    consumed = skipped.max(consumed);
                    Step::Read
                }
            };
        }
        ranges.shrink_to(1 << 16);
        worker.ranges = ranges;
        worker.ends = ends;
        worker.dispatcher.server().tier.note_activity(consumed);
        self.note_activity(worker);
        if matches!(step, Step::Close) {
            self.leave(worker.dispatcher.server());
        }
        (step, consumed)
    }

    /// Decodes up to [`BATCH_MAX`] requests and prefetches the slot of each one's key. Until a client is authenticated,
    /// one at a time, because its limits depend on what it says.
    fn decode(
        &mut self,
        worker: &Worker,
        input: &mut [u8],
        from: usize,
        ranges: &mut Vec<ArgumentRange>,
        ends: &mut Vec<RequestEnd>,
    ) -> Result<DecodedBatch, String> {
        let limits = Limits {
            bulk_bytes: worker.dispatcher.settings().bulk_limit_bytes,
            authenticated: self.session.authenticated,
        };
        let most = if self.session.authenticated {
            BATCH_MAX
        } else {
            1
        };
        let mut position = from;
        while ends.len() < most {
            match self.decoder.decode(input, position, &limits, ranges) {
                Ok(Decoded::Complete { consumed }) => {
                    position += consumed;
                    let first = ends.last().map_or(0, |former| former.ranges);
                    let words = &ranges[first..];
                    let word = |index: usize| words.get(index).map(|range| range.of(input));
                    let foresight = worker.dispatcher.foresee(word);
                    // Nothing to gain for a request that comes alone: it runs at once.
                    if let Some(hash) = foresight.first_hash
                        && from + consumed < input.len()
                    {
                        worker.dispatcher.prefetch_slot(&self.session, hash);
                    }
                    ends.push(RequestEnd {
                        ranges: ranges.len(),
                        input: position,
                        foresight,
                    });
                }
                Ok(Decoded::Empty { consumed }) => position += consumed,
                Ok(Decoded::Incomplete { .. }) => {
                    return Ok(DecodedBatch::Dry { skipped: position });
                }
                Err(error) => return Err(format!("ERR {error}")),
            }
        }
        Ok(DecodedBatch::Full)
    }

    /// Runs decoded requests; `consumed` becomes the end of the last one that ran.
    fn run_requests(
        &mut self,
        worker: &mut Worker,
        input: &[u8],
        ranges: &[ArgumentRange],
        ends: &[RequestEnd],
        consumed: &mut usize,
    ) -> Option<Step> {
        let first_of = |request: usize| {
            request
                .checked_sub(1)
                .map_or(0, |former| ends[former].ranges)
        };
        let prefetch = |worker: &Worker, session: &Session, end: Option<&RequestEnd>| {
            if let Some(hash) = end.and_then(|end| end.foresight.first_hash) {
                worker.dispatcher.prefetch_entry(session, hash);
            }
        };
        for end in ends.iter().take(PREFETCH_DISTANCE).skip(1) {
            prefetch(worker, &self.session, Some(end));
        }
        for (request, end) in ends.iter().enumerate() {
            prefetch(worker, &self.session, ends.get(request + PREFETCH_DISTANCE));
            let arguments = &ranges[first_of(request)..end.ranges];
            let mut inline: [&[u8]; INLINE_ARGUMENTS] = [&[]; INLINE_ARGUMENTS];
            let many: Vec<&[u8]>;
            let arguments = if arguments.len() <= INLINE_ARGUMENTS {
                inline
                    .iter_mut()
                    .zip(arguments)
                    .for_each(|(place, range)| *place = range.of(input));
                &inline[..arguments.len()]
            } else {
                many = arguments.iter().map(|range| range.of(input)).collect();
                &many[..]
            };
            let outcome = {
                let request = Request {
                    arguments,
                    foresight: end.foresight,
                };
                worker
                    .dispatcher
                    .execute(&mut self.session, request, &[], &mut worker.output)
            };
            *consumed = end.input;
            if !self.registration.record.outbox.is_empty() {
                self.registration
                    .record
                    .outbox
                    .take_into(&mut worker.output);
            }
            match outcome {
                Outcome::Done if self.session.closing => return Some(Step::Close),
                Outcome::Done if worker.output.len() >= OUTPUT_STOP_BYTES => {
                    return Some(Step::Again);
                }
                Outcome::Done => {}
                Outcome::Pending(pending) => {
                    let kept = match *pending {
                        Pending::Blocked(_) => &[],
                        _ => arguments,
                    };
                    let owned = kept.iter().map(|argument| Box::from(*argument)).collect();
                    return Some(Step::Wait(owned, pending));
                }
            }
        }
        None
    }

    /// Counts bytes that came from the client.
    pub(super) fn note_received(&self, count: usize) {
        let worker = self.worker.borrow();
        worker.note_received(&self.registration.record, count);
    }

    /// Counts bytes that its socket took.
    pub(super) fn note_sent(&self, count: usize) {
        let worker = self.worker.borrow();
        worker.note_sent(&self.registration.record, count);
    }

    /// Shows what is left of the input.
    pub(super) fn note_input(&self) {
        let buffers = &self.registration.record.buffers;
        buffers.input.store(self.input.len(), Relaxed);
        buffers.input_capacity.store(self.input.capacity(), Relaxed);
    }

    /// Shows what is left of the output.
    fn note_output(&self, unsent_bytes: usize) {
        let buffers = &self.registration.record.buffers;
        buffers.output.store(unsent_bytes, Relaxed);
        buffers
            .output_capacity
            .store(self.output.capacity(), Relaxed);
    }

    fn note_activity(&self, worker: &Worker) {
        let record = &self.registration.record;
        let now_ms = worker.dispatcher.now_ms();
        record.last_interaction_ms.store(now_ms, Relaxed);
        record.database.store(self.session.database, Relaxed);
        let unsent_bytes = self.output.len() + worker.output.len();
        record.buffers.note_output(now_ms, unsent_bytes);
        record
            .watched
            .store(self.session.watched.len() as u32, Relaxed);
        let transaction = self.session.transaction.as_ref();
        let (queued, queued_bytes) = transaction.map_or((u32::MAX, 0), |transaction| {
            (transaction.queue.len() as u32, transaction.queued_bytes)
        });
        record.queued.store(queued, Relaxed);
        record.buffers.queued.store(queued_bytes, Relaxed);
        record.commands.store(self.session.commands.get(), Relaxed);
        record
            .last_command
            .store(worker.dispatcher.last_command(), Relaxed);
    }

    /// Under `appendfsync always`, replies wait until the log is durable past what this connection wrote. If it cannot
    /// become durable, nothing is acknowledged: the connection ends.
    async fn wait_durable(&mut self) -> io::Result<()> {
        let (server, lsn) = {
            let mut worker = self.worker.borrow_mut();
            if self.output.is_empty() || !worker.waits_for_durability() {
                return Ok(());
            }
            worker.durable_from = worker.dispatcher.last_lsn();
            (
                Arc::clone(worker.dispatcher.server()),
                worker.dispatcher.last_lsn(),
            )
        };
        server.wait_durable(lsn).await.map_err(|error| {
            tracing::error!(%error, "the log could not be synced");
            io::Error::other(error)
        })
    }

    /// Sends all unsent replies. The connection ends here if the client does not take them and the limits say so.
    async fn flush(&mut self) -> io::Result<()> {
        self.let_served_go_first().await;
        let mut sent = 0;
        while sent < self.output.len() {
            self.check_output_limits(self.output.len() - sent)?;
            let (stream, unsent) = (&mut self.stream, &self.output[sent..]);
            let write = poll_fn(|context| stream.poll_write(context, unsent));
            match tokio::time::timeout(Duration::from_secs(1), write).await {
                Ok(result) => sent += result?,
                Err(_elapsed) => {}
            }
        }
        while self.stream.is_unflushed() {
            self.check_output_limits(sent)?;
            let stream = &mut self.stream;
            let flush = poll_fn(|context| stream.poll_flush(context));
            if let Ok(result) = tokio::time::timeout(Duration::from_secs(1), flush).await {
                result?;
            }
        }
        self.note_sent(sent);
        self.output = Vec::new();
        self.over_soft_limit_since_ms = None;
        self.note_output(0);
        Ok(())
    }

    fn check_output_limits(&mut self, unsent_bytes: usize) -> io::Result<()> {
        self.note_output(unsent_bytes);
        let limit = {
            let worker = self.worker.borrow();
            let settings = worker.dispatcher.settings();
            if self.session.is_subscriber() {
                settings.output_limit_pubsub
            } else {
                settings.output_limit_normal
            }
        };
        let outbox = &self.registration.record.outbox;
        let unsent_bytes = (unsent_bytes + outbox.waiting_bytes()) as u64;
        let is_over_limit = limit.hard_bytes > 0 && unsent_bytes > limit.hard_bytes;
        if is_over_limit || outbox.is_over_limit() {
            return Err(output_limit_reached());
        }
        if limit.soft_bytes == 0 || unsent_bytes <= limit.soft_bytes {
            self.over_soft_limit_since_ms = None;
            return Ok(());
        }
        let now_ms = clock::now_ms();
        let since_ms = *self.over_soft_limit_since_ms.get_or_insert(now_ms);
        if now_ms - since_ms > limit.soft_seconds * 1000 {
            return Err(io::Error::other(
                "the soft output buffer limit was exceeded for too long",
            ));
        }
        Ok(())
    }
}

impl Drop for Connection {
    /// The client is gone; also after a panic.
    fn drop(&mut self) {
        if let Ok(worker) = self.worker.try_borrow() {
            worker.dispatcher.server().forget_client(&mut self.session);
        }
    }
}

fn output_limit_reached() -> io::Error {
    io::Error::other("the hard output buffer limit is reached")
}

/// Where a decoded request ends: among the argument ranges, and in the input.
#[derive(Clone, Copy)]
pub struct RequestEnd {
    ranges: usize,
    input: usize,
    foresight: Foresight,
}

enum DecodedBatch {
    /// There may be more.
    Full,
    /// What follows is incomplete; empty requests up to `skipped` may be forgotten.
    Dry { skipped: usize },
}

/// The greeting of a connection that is refused.
pub fn refusal(text: &str) -> Vec<u8> {
    let mut output = Vec::new();
    Reply::new(&mut output, Protocol::Resp2).error(text);
    output
}
