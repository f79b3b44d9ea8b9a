//! Who is told of which change.

use super::*;
use crate::net::clients::Registration;
use std::sync::atomic::Ordering::Relaxed;

struct Fixture {
    tracking: Tracking,
    clients: Arc<Clients>,
    registrations: Vec<Registration>,
}

impl Fixture {
    fn new(clients: usize) -> Fixture {
        let all = Arc::new(Clients::default());
        let registrations = (0..clients)
            .map(|_| {
                let registration = all
                    .register(-1, "127.0.0.1:1".into(), "127.0.0.1:2".into(), 100)
                    .expect("room for a client");
                registration.record.protocol.store(3, Relaxed);
                registration
            })
            .collect();
        Fixture {
            tracking: Tracking::default(),
            clients: all,
            registrations,
        }
    }

    fn enable(&self, number: usize, options: TrackingOptions) {
        let record = Arc::clone(&self.registrations[number].record);
        self.tracking.enable(record, options);
    }

    fn id(&self, number: usize) -> u64 {
        self.registrations[number].record.id
    }

    fn read(&self, number: usize, key: &str) {
        self.tracking
            .remember(&self.clients, self.id(number), key.as_bytes());
    }

    fn write(&self, number: usize, keys: &[&str]) {
        let keys = keys.iter().map(|key| key.as_bytes());
        self.tracking
            .invalidate(&self.clients, keys, 0, Some(self.id(number)));
    }

    /// What a client was told, without lengths and line ends.
    fn told(&self, number: usize) -> String {
        let mut bytes = Vec::new();
        self.registrations[number]
            .record
            .outbox
            .take_into(&mut bytes);
        let text = String::from_utf8(bytes).expect("text");
        let words: Vec<&str> = text
            .split("\r\n")
            .filter(|word| !word.is_empty() && !word.starts_with(['$', '*', '>']))
            .collect();
        words.join(" ")
    }
}

#[test]
fn a_reader_is_told_once() {
    let fixture = Fixture::new(2);
    fixture.enable(0, TrackingOptions::default());
    fixture.read(0, "a");
    fixture.read(0, "a");
    assert_eq!(fixture.tracking.figures().items, 1);
    fixture.write(1, &["a", "b"]);
    assert_eq!(fixture.told(0), "invalidate a");
    fixture.write(1, &["a"]);
    assert_eq!(fixture.told(0), "");
    assert_eq!(fixture.tracking.figures().keys, 0);
}

#[test]
fn own_writes_count_unless_the_client_does_not_want_to_hear_of_them() {
    let fixture = Fixture::new(2);
    for (no_loop, expected) in [(false, "invalidate a"), (true, "")] {
        let options = TrackingOptions {
            no_loop,
            ..TrackingOptions::default()
        };
        fixture.enable(0, options);
        fixture.read(0, "a");
        fixture.write(0, &["a"]);
        assert_eq!(fixture.told(0), expected);
    }
}

#[test]
fn prefixes_are_told_of_every_write_in_one_message() {
    let fixture = Fixture::new(2);
    let options = TrackingOptions {
        broadcast: true,
        prefixes: [Box::from(&b"user:"[..])].into(),
        ..TrackingOptions::default()
    };
    fixture.enable(0, options);
    fixture.write(1, &["user:2", "item:1", "user:1", "user:2"]);
    assert_eq!(fixture.told(0), "invalidate user:1 user:2");
    fixture.write(1, &["user:1"]);
    assert_eq!(fixture.told(0), "invalidate user:1");
    fixture.tracking.disable(fixture.id(0));
    assert_eq!(fixture.tracking.figures(), TrackingFigures::default());
    fixture.write(1, &["user:1"]);
    assert_eq!(fixture.told(0), "");
}

#[test]
fn messages_are_redirected_until_the_other_client_goes() {
    let mut fixture = Fixture::new(2);
    let redirect = fixture.id(1);
    let options = TrackingOptions {
        redirect,
        ..TrackingOptions::default()
    };
    fixture.enable(0, options);
    fixture.read(0, "a");
    fixture.write(0, &["a"]);
    assert_eq!(
        (fixture.told(0), fixture.told(1)),
        (String::new(), "invalidate a".into())
    );
    // In RESP2 only a subscriber can be told.
    fixture.registrations[1].record.protocol.store(2, Relaxed);
    fixture.read(0, "a");
    fixture.write(0, &["a"]);
    assert_eq!(fixture.told(1), "");
    fixture.registrations[1].record.subscriptions[0].store(1, Relaxed);
    fixture.read(0, "a");
    fixture.write(0, &["a"]);
    assert_eq!(fixture.told(1), "message __redis__:invalidate a");
    fixture.registrations.truncate(1);
    fixture.read(0, "a");
    fixture.write(0, &["a"]);
    assert_eq!(
        fixture.told(0),
        format!("tracking-redir-broken :{redirect}")
    );
    let state = fixture.tracking.state_of(fixture.id(0)).expect("tracking");
    assert!(state.is_redirect_broken);
}

#[test]
fn the_table_is_bounded_and_a_flush_tells_all() {
    let fixture = Fixture::new(1);
    fixture.tracking.set_keys_max(&fixture.clients, 2);
    fixture.enable(0, TrackingOptions::default());
    for key in ["a", "b", "c"] {
        fixture.read(0, key);
    }
    assert_eq!(fixture.tracking.figures().keys, 2);
    assert!(fixture.told(0).starts_with("invalidate "));
    fixture.tracking.invalidate_everything(&fixture.clients);
    assert_eq!(fixture.told(0), "invalidate _");
    assert_eq!(fixture.tracking.figures().keys, 0);
}
