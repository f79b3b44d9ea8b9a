//! What the fuzzers of the protocol check, with any bytes: the decoder neither panics nor depends on how the bytes
//! arrive, and what it accepts can be written and read again.
//!
//! Shared by the libFuzzer target beside it and by the seeded run on a stable compiler
//! (`tests/integration/fuzz_smoke.rs`), by path.

use larder::resp::{ArgumentRange, Decoded, Decoder, Limits};

type Request = Vec<Vec<u8>>;

/// A small limit, so that announced lengths around it are reached.
const BULK_LIMIT_BYTES: u64 = 1 << 20;

/// Decodes `data` as it arrives in pieces; the requests, and whether an error ended them.
fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>, authenticated: bool) -> (Vec<Request>, bool) {
    let limits = Limits {
        bulk_bytes: BULK_LIMIT_BYTES,
        authenticated,
    };
    let mut decoder = Decoder::new();
    let (mut buffer, mut requests) = (Vec::new(), Vec::new());
    let mut ranges: Vec<ArgumentRange> = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let mut start = 0;
        loop {
            ranges.clear();
            match decoder.decode(&mut buffer, start, &limits, &mut ranges) {
                Ok(Decoded::Complete { consumed }) => {
                    assert!(consumed > 0, "a request has bytes");
                    requests.push(
                        ranges
                            .iter()
                            .map(|range| range.of(&buffer).to_vec())
                            .collect(),
                    );
                    start += consumed;
                }
                Ok(Decoded::Empty { consumed }) => {
                    assert!(consumed > 0, "nothing is skipped for ever");
                    start += consumed;
                }
                Ok(Decoded::Incomplete { needed }) => {
                    assert!(needed > 0, "something is missing");
                    assert!(ranges.is_empty(), "half a request has no arguments yet");
                    break;
                }
                Err(_) => return (requests, true),
            }
            assert!(start <= buffer.len(), "no more is used than is there");
        }
        buffer.drain(..start);
    }
    (requests, false)
}

/// The target. The first byte chooses how the rest is cut into pieces and whether the client is authenticated.
pub fn fuzz_requests(data: &[u8]) {
    let Some((&choice, data)) = data.split_first() else {
        return;
    };
    let authenticated = choice & 1 == 0;
    let piece_bytes = usize::from(choice >> 1) + 1;
    let whole = decode(std::iter::once(data), authenticated);
    let in_pieces = decode(data.chunks(piece_bytes), authenticated);
    assert_eq!(whole, in_pieces, "in pieces of {piece_bytes}");

    let is_within_limits = |request: &&Request| !request.is_empty();
    for request in whole.0.iter().filter(is_within_limits) {
        let mut again = format!("*{}\r\n", request.len()).into_bytes();
        for argument in request {
            again.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            again.extend_from_slice(argument);
            again.extend_from_slice(b"\r\n");
        }
        // An inline request of a client that has not authenticated may be longer than an array of its may be.
        let (read, _) = decode(std::iter::once(&*again), true);
        assert_eq!(
            read,
            std::slice::from_ref(request),
            "written and read again"
        );
    }
}
