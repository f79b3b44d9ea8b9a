//! Publishing, subscribing, unblocking and pausing for commands ([`Messaging`]).

use super::Server;
use crate::commands::Session;
use crate::commands::messaging::Messaging;
use crate::commands::services::ClientFilter;
use crate::commands::session::Remembers;
use crate::dispatch::Dispatcher;
use crate::dispatch::blocked::{DatabaseKey, Ended, Ending, Waiter};
use crate::error::CommandError;
use crate::keyspace::lock_watch;
use crate::pubsub::ChannelKind;
use crate::tracking::{TrackingOptions, TrackingState};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Messaging for Server {
    fn subscribe(&self, session: &mut Session, kind: ChannelKind, topic: &[u8]) {
        // A client that is not in the list any more is on its way out.
        if let Some(record) = self.clients.find(session.id) {
            self.pubsub.subscribe(kind, topic, &record);
            session.subscriptions[kind.index()].insert(topic.into());
        }
    }

    fn unsubscribe(&self, session: &mut Session, kind: ChannelKind, topic: &[u8]) {
        if session.subscriptions[kind.index()].remove(topic) {
            self.pubsub.unsubscribe(kind, topic, session.id);
        }
    }

    fn publish(&self, kind: ChannelKind, channel: &[u8], message: &[u8]) -> usize {
        self.pubsub.publish(kind, channel, message)
    }

    fn topics(&self, kind: ChannelKind, pattern: Option<&[u8]>) -> Vec<Vec<u8>> {
        self.pubsub.topics(kind, pattern)
    }

    fn subscribers(&self, kind: ChannelKind, topic: &[u8]) -> usize {
        self.pubsub.subscribers(kind, topic)
    }

    fn topic_count(&self, kind: ChannelKind) -> usize {
        self.pubsub.count(kind)
    }

    fn unblock(&self, client: u64, with_error: bool) -> bool {
        let Some(waiter) = self.blocked.of_client(client) else {
            return false;
        };
        const UNBLOCKED: CommandError =
            CommandError::fixed("UNBLOCKED client unblocked via CLIENT UNBLOCK");
        self.end_wait(
            &waiter,
            match with_error {
                true => Ending::Error(UNBLOCKED),
                false => Ending::Timeout,
            },
        )
    }

    fn has_client(&self, id: u64) -> bool {
        self.clients.find(id).is_some()
    }

    fn monitor(&self, session: &mut Session) {
        if let Some(record) = self.clients.find(session.id) {
            session.monitors = true;
            record.monitors.store(true, Ordering::Relaxed);
            self.monitors.add(record);
        }
    }

    fn stop_monitoring(&self, session: &mut Session) {
        if std::mem::take(&mut session.monitors) {
            self.monitors.remove(session.id);
            if let Some(record) = self.clients.find(session.id) {
                record.monitors.store(false, Ordering::Relaxed);
            }
        }
    }

    fn show_command(&self, session: &Session, arguments: &[&[u8]], by_script: bool) {
        self.monitors.show(session, arguments, by_script);
    }

    fn track(&self, session: &mut Session, options: TrackingOptions) {
        let Some(record) = self.clients.find(session.id) else {
            return;
        };
        session.remembers = match &options {
            options if options.broadcast => Remembers::Nothing,
            options if options.opt_in => Remembers::IfGiven,
            options if options.opt_out => Remembers::UnlessGiven,
            _ => Remembers::Everything,
        };
        self.tracking.enable(record, options);
    }

    fn stop_tracking(&self, session: &mut Session) {
        session.remembers = Remembers::Nothing;
        self.tracking.disable(session.id);
    }

    fn tracking_state(&self, id: u64) -> Option<TrackingState> {
        self.tracking.state_of(id)
    }

    fn remember_read(&self, id: u64, key: &[u8]) {
        self.tracking.remember(&self.clients, id, key);
    }

    fn tell_readers(&self, writer: u64, written: &[DatabaseKey]) {
        let keys = written.iter().map(|(_, key)| &**key);
        self.tracking.tell_readers(&self.clients, keys, writer);
    }

    fn pause(&self, until_ms: u64, pauses_reads: bool) {
        self.tier.hold_expiry_until(until_ms);
        self.pause.begin(until_ms, pauses_reads);
    }

    fn unpause(&self) {
        self.pause.end();
        self.tier.hold_expiry_until(0);
    }
}

impl Server {
    /// Serves the clients that wait for these keys: for writers that are not commands of a connection.
    pub fn serve_blocked(&self, written: Vec<DatabaseKey>) {
        if let Some(server) = self.this.upgrade().filter(|_| !written.is_empty()) {
            lock_watch::holds_none("the turn to serve");
            let _turn = self.background_turn.lock();
            Dispatcher::new(server, Arc::clone(&self.background)).serve_blocked(written);
        }
    }

    /// True if waiters have to be tried again that a slow script was in the way of, and it is not any more.
    pub fn has_deferred_keys(&self) -> bool {
        self.blocked.has_deferred() && !self.scripts.slow.any()
    }

    /// Tells those who track keys that these changed, and serves those who wait for them. `writer` is the client that
    /// changed them.
    pub fn written(&self, written: Vec<DatabaseKey>, writer: Option<u64>) {
        self.invalidate(&written, 0, writer);
        if self.blocked.any() {
            self.serve_blocked(written);
        }
    }

    /// Tells those who track keys that these changed; who has read one of the first `told` knows it.
    pub fn invalidate(&self, written: &[DatabaseKey], told: usize, writer: Option<u64>) {
        if self.tracking.any() {
            let keys = written.iter().map(|(_, key)| &**key);
            self.tracking.invalidate(&self.clients, keys, told, writer);
        }
    }

    /// True if somebody has to hear which keys are written.
    pub fn hears_writes(&self) -> bool {
        self.blocked.any() || self.tracking.any()
    }

    /// Ends what a client that goes has going on with others.
    pub fn forget_client(&self, session: &mut Session) {
        for kind in ChannelKind::ALL {
            for topic in std::mem::take(&mut session.subscriptions[kind.index()]) {
                self.pubsub.unsubscribe(kind, &topic, session.id);
            }
        }
        self.stop_telling(session.id);
    }

    /// Ends CLIENT TRACKING and MONITOR of a client.
    fn stop_telling(&self, client: u64) {
        if self.tracking.any() {
            self.tracking.disable(client);
        }
        if self.monitors.any() {
            self.monitors.remove(client);
        }
    }

    /// Ends a client's wait; false if it was over.
    fn end_wait(&self, waiter: &Waiter, ending: Ending) -> bool {
        waiter.tell_end(ending);
        self.end_wait_if_told(waiter)
    }

    /// Ends a client's wait, if somebody wants that, perhaps since it was tried to serve it; false if not, or if it was over.
    pub fn end_wait_if_told(&self, waiter: &Waiter) -> bool {
        let ended = waiter.end_if_told(|error| self.count_unblocked(&waiter.arguments, error));
        if ended == Ended::Yes {
            self.blocked.forget(waiter);
        }
        ended != Ended::No
    }

    /// Ends the connections that match, and what their clients were at: once this returns, none of them gets an item that it waited
    /// for, or counts as the receiver of a message. Returns how many there were.
    pub(super) fn kill_clients(&self, filter: &ClientFilter) -> u64 {
        let killed = self.clients.kill(filter);
        for id in &killed {
            if let Some(waiter) = self.blocked.of_client(*id) {
                self.end_wait(&waiter, Ending::Abandoned);
            }
            self.stop_telling(*id);
        }
        if !killed.is_empty() {
            self.pubsub.forget(&killed);
        }
        killed.len() as u64
    }
}
