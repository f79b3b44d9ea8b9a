//! The fuzz target of the protocol on a stable compiler: seeded mutations of real requests.
//!
//! A fixed number of inputs, the same every time; `LARDER_FUZZ_SECONDS=60` runs for so long instead, from a seed taken
//! from the clock. A failure prints the input.

#[path = "../fuzz/resp_target.rs"]
mod resp_target;

use resp_target::fuzz_requests;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const USUAL_INPUTS: u64 = 20_000;

/// What mutations start from: requests of every form, and beginnings of wrong ones.
const CORPUS: &[&[u8]] = &[
    b"*1\r\n$4\r\nPING\r\n",
    b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n",
    b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\nPING\r\n",
    b"SET key \"a\\x20b\\n\" 'it\\'s'\r\n\r\nGET key\n",
    b"*0\r\n*-1\r\n*1\r\n$4\r\nQUIT\r\n",
    b"*11\r\n$1\r\na\r\n",
    b"*1\r\n$1048576\r\n",
    b"*1\r\n$1048577\r\n",
    b"*1\r\n:5\r\n",
    b"*2147483647\r\n$3\r\n",
    b"SET key \"unbalanced\r\n",
];

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) as usize % limit
    }
}

/// A first byte that chooses how it arrives, then one to three requests, changed in a few places.
fn input(random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![random.below(256) as u8];
    for _ in 0..1 + random.below(3) {
        bytes.extend_from_slice(CORPUS[random.below(CORPUS.len())]);
    }
    for _ in 0..random.below(5) {
        let place = random.below(bytes.len());
        match random.below(5) {
            0 => bytes[place] ^= 1 << random.below(8),
            1 => bytes[place] = b"*$\r\n-09\" \\"[random.below(10)],
            2 => bytes.insert(place, b"019-\r\n"[random.below(6)]),
            3 => bytes.truncate(place.max(1)),
            _ => {
                let end = place + random.below(bytes.len() - place);
                let run = bytes[place..end].to_vec();
                bytes.splice(place..place, run);
            }
        }
    }
    bytes
}

#[test]
fn requests_are_decoded_the_same_however_they_arrive() {
    let asked = std::env::var("LARDER_FUZZ_SECONDS").ok();
    let seconds = asked
        .and_then(|text| text.parse().ok())
        .map(Duration::from_secs);
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut random = Random(seconds.map_or(1, |_| clock.as_nanos() as u64));
    let (started, mut count) = (Instant::now(), 0);
    while seconds.map_or(count < USUAL_INPUTS, |limit| started.elapsed() < limit) {
        let input = input(&mut random);
        if let Err(panic) = std::panic::catch_unwind(|| fuzz_requests(&input)) {
            eprintln!("input {count}: {}", input.escape_ascii());
            std::panic::resume_unwind(panic);
        }
        count += 1;
    }
}
