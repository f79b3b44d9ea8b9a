//! Clients that wait in a blocking command, in the order of their arrival.
//!
//! A command that finds nothing becomes a [`Waiter`], registered under the locks of its keys, so that no write slips between the
//! look and the wait. While it waits, its session lives in the waiter: whoever writes one of its keys runs the command again
//! on its behalf (see [`super::serve`]) and leaves the reply here; the connection only sleeps. So the order in which
//! clients are served is the order of this registry, and an item is handed over before the writer gets its own reply.
//!
//! Lock order: a waiter's state, then shards; nobody waits for a state who may have shards (a transaction with CLIENT
//! UNBLOCK). The registry's lock is held for look-ups only, under shard locks or without.
//! Cost for a server on which nobody waits: one relaxed load for each command.

use crate::commands::{BlockRequest, Session};
use crate::error::CommandError;
use crate::resp::Reply;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use storage_format::ValueKind;
use tokio::sync::Notify;

/// A key, named with its database.
pub type DatabaseKey = (u32, Box<[u8]>);

/// One blocked client.
pub struct Waiter {
    /// Its place in the order of arrival.
    ticket: u64,
    /// Its id.
    pub client: u64,
    /// The database its keys are in.
    pub database: u32,
    /// The command line to run again.
    pub arguments: Vec<Box<[u8]>>,
    /// What it waits for.
    pub request: BlockRequest,
    /// Waiting, or done. Who has it may wait for shards; who has shards only tries to get it.
    pub state: Mutex<WaiterState>,
    /// How the wait is to end, for whoever has the state.
    ending: Mutex<Option<Ending>>,
    /// Told when the state becomes [`WaiterState::Done`].
    pub woken: Notify,
}

/// Where a waiter's session is.
pub enum WaiterState {
    /// Waiting: here.
    Waiting(Box<Session>),
    /// Served, or sent away: the connection may take it back.
    Done(Wake),
    /// The connection has it.
    Over,
}

/// How somebody else ends a client's wait.
pub enum Ending {
    /// As its timeout does.
    Timeout,
    /// With an error.
    Error(CommandError),
    /// Its connection was ended: nothing is handed to it any more.
    Abandoned,
}

/// What became of an [`Ending`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The wait is over.
    Yes,
    /// Somebody serves the client now; its wait is over afterwards.
    ByOther,
    /// It was over before, or nobody wanted it to end.
    No,
}

/// What a waiter was woken with.
pub struct Wake {
    /// The session, as the command left it.
    pub session: Box<Session>,
    /// The reply; `None` is the reply of a timeout.
    pub reply: Option<Vec<u8>>,
    /// The LSN that has to be durable before the reply leaves under `appendfsync always`; 0 if nothing was written.
    pub lsn: u64,
}

/// See the module's comment.
#[derive(Default)]
pub struct BlockedClients {
    count: AtomicUsize,
    next_ticket: AtomicU64,
    registry: Mutex<Registry>,
    /// Keys that were written, but locked by a script that does not end when those who wait for them were to be served.
    deferred: Mutex<Vec<DatabaseKey>>,
    deferred_count: AtomicUsize,
}

#[derive(Default)]
struct Registry {
    by_key: HashMap<DatabaseKey, BTreeMap<u64, Arc<Waiter>>>,
    by_client: HashMap<u64, Arc<Waiter>>,
}

impl Waiter {
    /// True if a key of this type (`None`: no key) can be what it waits for.
    pub fn may_be_ready(&self, kind: Option<ValueKind>) -> bool {
        kind == Some(self.request.kind) || self.request.also_when_gone
    }

    /// Notes that the wait is to end; [`Waiter::end_if_told`] is to follow.
    pub fn tell_end(&self, ending: Ending) {
        *self.ending.lock() = Some(ending);
    }

    /// True if somebody wants the wait to end, and it has not ended yet.
    pub fn is_to_end(&self) -> bool {
        self.ending.lock().is_some()
    }

    /// Ends the wait, if it is to end and not over. `before` gets the error, if it is one, and runs before the client learns of it.
    /// Never waits for a thread that serves the client at this moment, which may wait for locks that the caller has: that one
    /// calls this afterwards.
    pub fn end_if_told(&self, before: impl Fn(Option<&CommandError>)) -> Ended {
        let Some(mut state) = self.state.try_lock() else {
            return Ended::ByOther;
        };
        let Some(ending) = self.ending.lock().take() else {
            return Ended::No;
        };
        match std::mem::replace(&mut *state, WaiterState::Over) {
            WaiterState::Waiting(session) => {
                let reply = Some(self.reply_of(&ending, &session, before));
                *state = WaiterState::Done(Wake {
                    session,
                    reply,
                    lsn: 0,
                });
                self.woken.notify_one();
                Ended::Yes
            }
            other => {
                *state = other;
                Ended::No
            }
        }
    }

    fn reply_of(
        &self,
        ending: &Ending,
        session: &Session,
        before: impl Fn(Option<&CommandError>),
    ) -> Vec<u8> {
        let mut output = Vec::new();
        let mut reply = Reply::new(&mut output, session.protocol);
        let error = match ending {
            Ending::Abandoned => return output,
            Ending::Timeout => {
                self.request.timeout_reply.write(&mut reply);
                None
            }
            Ending::Error(error) => {
                reply.error(error.text());
                Some(error)
            }
        };
        session.commands.set(session.commands.get() + 1);
        before(error);
        output
    }

    /// Takes the session back: with what it was woken with, or, if nothing came so far, as on a timeout.
    pub fn take(&self) -> Option<Wake> {
        match std::mem::replace(&mut *self.state.lock(), WaiterState::Over) {
            WaiterState::Waiting(session) => Some(Wake {
                session,
                reply: None,
                lsn: 0,
            }),
            WaiterState::Done(wake) => Some(wake),
            WaiterState::Over => None,
        }
    }
}

impl BlockedClients {
    /// True if somebody waits. Exact for a caller that holds the locks of the keys it asks about.
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Notes a key whose waiters have to be tried again once no script holds its lock.
    pub fn defer(&self, key: DatabaseKey) {
        let mut deferred = self.deferred.lock();
        if !deferred.contains(&key) {
            deferred.push(key);
            self.deferred_count.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// True if there are such keys. A script leaves the list of slow ones before it asks; who defers a key asks after that
    /// whether there are slow ones: one of the two finds the key.
    pub fn has_deferred(&self) -> bool {
        self.deferred_count.load(Ordering::SeqCst) > 0
    }

    /// Takes these keys.
    pub fn take_deferred(&self) -> Vec<DatabaseKey> {
        let mut deferred = self.deferred.lock();
        self.deferred_count.store(0, Ordering::SeqCst);
        std::mem::take(&mut *deferred)
    }

    /// Number of clients that wait.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Registers a client. The locks of its keys are held.
    pub fn block(
        &self,
        session: Session,
        arguments: &[&[u8]],
        mut request: BlockRequest,
    ) -> Arc<Waiter> {
        let arguments = request.arguments.take().unwrap_or_else(|| {
            arguments
                .iter()
                .map(|argument| Box::from(*argument))
                .collect()
        });
        let waiter = Arc::new(Waiter {
            ticket: self.next_ticket.fetch_add(1, Ordering::Relaxed),
            client: session.id,
            database: session.database,
            arguments,
            request,
            state: Mutex::new(WaiterState::Waiting(Box::new(session))),
            ending: Mutex::new(None),
            woken: Notify::new(),
        });
        let mut registry = self.registry.lock();
        for key in &waiter.request.keys {
            let waiters = registry.by_key.entry((waiter.database, key.clone()));
            waiters
                .or_default()
                .insert(waiter.ticket, Arc::clone(&waiter));
        }
        registry
            .by_client
            .insert(waiter.client, Arc::clone(&waiter));
        self.count.fetch_add(1, Ordering::Release);
        waiter
    }

    /// Takes a waiter out; harmless if it is out already.
    pub fn forget(&self, waiter: &Waiter) {
        let mut registry = self.registry.lock();
        let is_in = registry
            .by_client
            .get(&waiter.client)
            .is_some_and(|known| known.ticket == waiter.ticket);
        if !is_in {
            return;
        }
        registry.by_client.remove(&waiter.client);
        for key in &waiter.request.keys {
            let key = (waiter.database, key.clone());
            if let Some(waiters) = registry.by_key.get_mut(&key) {
                waiters.remove(&waiter.ticket);
                if waiters.is_empty() {
                    registry.by_key.remove(&key);
                }
            }
        }
        self.count.fetch_sub(1, Ordering::Release);
    }

    /// Numbers of keys that somebody waits for: of all, and of those whose end somebody is told of.
    pub fn key_counts(&self) -> (usize, usize) {
        let registry = self.registry.lock();
        let is_told = |waiters: &&BTreeMap<u64, Arc<Waiter>>| {
            waiters.values().any(|waiter| waiter.request.also_when_gone)
        };
        let told = registry.by_key.values().filter(is_told).count();
        (registry.by_key.len(), told)
    }

    /// The clients that wait for a key, in order of arrival.
    pub fn waiting_for(&self, key: &DatabaseKey) -> Vec<Arc<Waiter>> {
        let registry = self.registry.lock();
        registry
            .by_key
            .get(key)
            .map(|waiters| waiters.values().cloned().collect())
            .unwrap_or_default()
    }

    /// The keys of these databases (of all, if none is named) that somebody waits for.
    pub fn keys_of(&self, databases: &[u32]) -> Vec<DatabaseKey> {
        let registry = self.registry.lock();
        registry
            .by_key
            .keys()
            .filter(|(database, _)| databases.is_empty() || databases.contains(database))
            .cloned()
            .collect()
    }

    /// The waiter of a client.
    pub fn of_client(&self, client: u64) -> Option<Arc<Waiter>> {
        self.registry.lock().by_client.get(&client).cloned()
    }
}
