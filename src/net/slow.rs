//! Requests that cannot run at once: they wait for the cold tier, for memory, for a job, for a key to be written.
//!
//! Only this connection waits; its worker goes on with others. The request's arguments are copied, because the read buffer is
//! shared.

use super::connection::{Connection, OwnedArguments};
use crate::clock;
use crate::commands::session::{ReplyMode, Transaction};
use crate::config::AppendFsync;
use crate::dispatch::blocked::Waiter;
use crate::dispatch::{Dispatcher, Outcome, Pending, Request, SuspendedScript};
use crate::error::{CommandError, InternalError};
use crate::resp::{Reply, reply};
use crate::server::Server;
use crate::tier::{Admission, FetchTicket, Fetched};
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

impl Connection {
    /// Brings a request to its end that could not run at once.
    pub(super) async fn finish_slowly(
        &mut self,
        arguments: OwnedArguments,
        mut pending: Box<Pending>,
    ) {
        /// When nothing was demoted for so long, a write that finds no room fails with OOM.
        const MEMORY_WAIT_MAX: Duration = Duration::from_secs(10);
        let borrowed: Vec<&[u8]> = arguments.iter().map(|argument| &**argument).collect();
        let mut has_waited = false;
        loop {
            let mut fetched = Vec::new();
            let resumed = match *pending {
                Pending::StillBlocked => return,
                Pending::Blocked(waiter) => return self.wait_blocked(&waiter).await,
                Pending::Sequential(queue) => return Box::pin(self.run_sequentially(queue)).await,
                Pending::WaitForMemory if has_waited => {
                    let worker = self.worker.borrow();
                    return worker.dispatcher.refuse(
                        &mut self.session,
                        &borrowed,
                        CommandError::OUT_OF_MEMORY,
                        &mut self.output,
                    );
                }
                Pending::Job(job) => {
                    let took = self.run_job(job).await;
                    let worker = self.worker.borrow();
                    return worker.dispatcher.charge(&self.session, &borrowed, took);
                }
                Pending::Fetch(tickets) => {
                    match fetch_all(&self.server(), &tickets).await {
                        Ok(found) => fetched = found,
                        Err(error) if matches!(*error, InternalError::Stopping) => {
                            // As for any request that comes too late: the connection ends without a reply to it.
                            self.session.closing = true;
                            return;
                        }
                        Err(error) => {
                            tracing::error!(%error, "a key could not be read from the cold tier");
                            let text = format!("ERR internal error: {error}");
                            return self.write_error(&CommandError::new(text));
                        }
                    }
                    None
                }
                Pending::WaitForMemory => {
                    let server = self.server();
                    let budget = server.tier.budget();
                    has_waited = budget.wait_for_room(MEMORY_WAIT_MAX).await == Admission::Wait;
                    budget.note_written(borrowed.iter().map(|argument| argument.len()).sum());
                    None
                }
                Pending::Paused => {
                    self.server().pause.wait().await;
                    None
                }
                Pending::Suspended(script) => {
                    // Others of this thread come first: they hear BUSY.
                    tokio::task::yield_now().await;
                    Some(self.resume(script))
                }
            };
            match resumed.unwrap_or_else(|| self.try_to_run(&borrowed, &fetched)) {
                Outcome::Done => return,
                Outcome::Pending(next) => pending = next,
            }
        }
    }

    pub(super) fn server(&self) -> Arc<Server> {
        Arc::clone(self.worker.borrow().dispatcher.server())
    }

    fn write_error(&mut self, error: &CommandError) {
        let worker = self.worker.borrow();
        worker
            .dispatcher
            .write_error(error, self.session.protocol, &mut self.output);
    }

    fn resume(&mut self, script: SuspendedScript) -> Outcome {
        let mut worker = self.worker.borrow_mut();
        worker
            .dispatcher
            .resume_script(&mut self.session, script, &mut self.output)
    }

    /// Runs a command as far as it comes without waiting.
    fn try_to_run(&mut self, arguments: &[&[u8]], fetched: &[Fetched]) -> Outcome {
        let mut worker = self.worker.borrow_mut();
        worker.dispatcher.begin_batch();
        let outcome = worker.dispatcher.execute(
            &mut self.session,
            Request::new(arguments),
            fetched,
            &mut self.output,
        );
        worker.dispatcher.end_batch();
        outcome
    }

    /// Sleeps until the client is served, its time is over, or it goes.
    async fn wait_blocked(&mut self, waiter: &Waiter) {
        let server = self.server();
        let record = Arc::clone(&self.registration.record);
        record.blocked.store(true, Relaxed);
        let is_gone = tokio::select! {
            biased;
            () = waiter.woken.notified() => false,
            () = sleep_until(waiter.request.deadline_ms) => false,
            () = self.watch_socket() => true,
        };
        record.blocked.store(false, Relaxed);
        if self.input.is_empty() {
            // The buffer was for what might have come meanwhile.
            self.input = Vec::new();
            self.note_input();
        }
        let wake = waiter.take();
        server.blocked.forget(waiter);
        let Some(wake) = wake else {
            return;
        };
        self.session = *wake.session;
        let start = self.output.len();
        match wake.reply {
            Some(reply) if self.output.is_empty() => self.output = reply,
            Some(reply) => self.output.extend(reply),
            None => {
                let reply = &mut Reply::new(&mut self.output, self.session.protocol);
                waiter.request.timeout_reply.write(reply);
                let mut worker = self.worker.borrow_mut();
                let session = &self.session;
                worker.dispatcher.count_unserved(session, &waiter.arguments);
            }
        }
        crate::dispatch::apply_reply_mode(&mut self.session, start, &mut self.output);
        self.session.closing |= is_gone || self.wait_for_log(&server, wake.lsn).await.is_err();
    }

    /// Under `appendfsync always`, what was written on this client's behalf has to be durable too.
    async fn wait_for_log(&self, server: &Server, lsn: u64) -> io::Result<()> {
        let waits = {
            let worker = self.worker.borrow();
            let settings = worker.dispatcher.settings();
            settings.appendonly && settings.appendfsync == AppendFsync::Always
        };
        if !waits || lsn == 0 {
            return Ok(());
        }
        server.wait_durable(lsn).await.map_err(|error| {
            tracing::error!(%error, "the log could not be synced");
            io::Error::other(error)
        })
    }

    /// While the client is blocked: keeps what it sends for later, and sends it what others tell it. Ends when the client goes.
    async fn watch_socket(&mut self) {
        /// A blocked client may send so much ahead, in bytes.
        const INPUT_MAX: usize = 64 * 1024;
        poll_fn(|context| {
            let outbox = &self.registration.record.outbox;
            while outbox.poll_ready(context).is_ready() {
                if outbox.is_over_limit() {
                    return Poll::Ready(());
                }
                outbox.take_into(&mut self.output);
            }
            while !self.output.is_empty() {
                match self.stream.poll_write(context, &self.output) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(count)) if count > 0 => {
                        drop(self.output.drain(..count));
                        self.note_sent(count);
                    }
                    Poll::Ready(_) => return Poll::Ready(()),
                }
            }
            while self.input.len() < INPUT_MAX {
                self.input.reserve(4096);
                match self.stream.poll_read(context, &mut self.input) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(count)) if count > 0 => self.note_received(count),
                    Poll::Ready(_) => return Poll::Ready(()),
                }
            }
            self.note_input();
            Poll::Pending
        })
        .await;
    }

    /// Runs a job on the blocking pool; returns how long it took.
    async fn run_job(&mut self, job: crate::commands::Job) -> Duration {
        let server = self.server();
        let protocol = self.session.protocol;
        let started = std::time::Instant::now();
        let reply =
            tokio::task::spawn_blocking(move || Dispatcher::run_job(&server, job, protocol)).await;
        let took = started.elapsed();
        let mode = self.session.reply_mode;
        if mode == ReplyMode::Skip {
            self.session.reply_mode = ReplyMode::On;
        }
        match reply {
            Ok(reply) if mode == ReplyMode::On => self.output.extend(reply),
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%error, "a command's job panicked");
                Reply::new(&mut self.output, protocol).error("ERR internal error");
            }
        }
        took
    }

    /// A transaction with commands that hold no locks: one command after the other, once the watched keys were found
    /// unchanged (by an EXEC of an empty queue).
    async fn run_sequentially(&mut self, queue: Vec<OwnedArguments>) {
        self.session.transaction = Some(Transaction::default());
        let (start, exec) = (self.output.len(), vec![Box::from(&b"EXEC"[..])]);
        self.run_to_its_end(exec).await;
        if self.output[start..] != *reply::EMPTY_ARRAY {
            return;
        }
        self.output.truncate(start);
        Reply::new(&mut self.output, self.session.protocol).array_header(queue.len());
        self.session.must_not_block = true;
        for arguments in queue {
            self.run_to_its_end(arguments).await;
        }
        self.session.must_not_block = false;
    }

    async fn run_to_its_end(&mut self, arguments: OwnedArguments) {
        let borrowed: Vec<&[u8]> = arguments.iter().map(|argument| &**argument).collect();
        if let Outcome::Pending(pending) = self.try_to_run(&borrowed, &[]) {
            Box::pin(self.finish_slowly(arguments, pending)).await;
        }
    }
}

/// Reads keys from the cold tier; other connections go on meanwhile.
async fn fetch_all(
    server: &Server,
    tickets: &[FetchTicket],
) -> Result<Vec<Fetched>, Arc<InternalError>> {
    let mut fetched = Vec::with_capacity(tickets.len());
    let waiting: Vec<_> = tickets
        .iter()
        .map(|ticket| server.tier.fetch(ticket))
        .collect();
    for one in waiting {
        fetched.push(one.await?);
    }
    Ok(fetched)
}

/// Sleeps until then (Unix milliseconds), or for ever.
async fn sleep_until(deadline_ms: Option<u64>) {
    /// Timers of the runtime reach a few years; a client that waits longer looks again.
    const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
    let Some(deadline_ms) = deadline_ms else {
        return std::future::pending().await;
    };
    loop {
        let left = Duration::from_millis(deadline_ms.saturating_sub(clock::now_ms()));
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LONGEST)).await;
    }
}
