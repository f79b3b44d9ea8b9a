//! Tests of the request decoder: tables of single requests, and properties over arbitrary ways of arriving.

use super::*;
use proptest::prelude::*;

type Request = Vec<Vec<u8>>;
type Bytes = &'static [u8];

/// Feeds `pieces` one after the other and collects the requests, as a connection does.
fn run(pieces: &[&[u8]], limits: &Limits) -> (Vec<Request>, Option<ProtocolError>) {
    let mut decoder = Decoder::new();
    let mut buffer = Vec::new();
    let mut requests = Vec::new();
    let mut arguments = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        let mut start = 0;
        loop {
            let before = arguments.len();
            match decoder.decode(&mut buffer, start, limits, &mut arguments) {
                Ok(Decoded::Complete { consumed }) => {
                    assert!(arguments.len() > before && consumed > 0);
                    let request = arguments[before..]
                        .iter()
                        .map(|range| range.of(&buffer).to_vec())
                        .collect();
                    requests.push(request);
                    start += consumed;
                }
                Ok(Decoded::Empty { consumed }) => {
                    assert!(consumed > 0 && arguments.len() == before);
                    start += consumed;
                }
                Ok(Decoded::Incomplete { needed }) => {
                    assert!(needed > 0 && arguments.len() == before);
                    break;
                }
                Err(error) => {
                    assert_eq!(arguments.len(), before);
                    return (requests, Some(error));
                }
            }
        }
        buffer.drain(..start);
    }
    (requests, None)
}

fn encode(request: &[Vec<u8>]) -> Vec<u8> {
    let mut encoded = format!("*{}\r\n", request.len()).into_bytes();
    for argument in request {
        encoded.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        encoded.extend_from_slice(argument);
        encoded.extend_from_slice(b"\r\n");
    }
    encoded
}

#[test]
fn requests_of_every_form() {
    let cases: &[(Bytes, &[&[Bytes]])] = &[
        (b"*1\r\n$4\r\nPING\r\n", &[&[b"PING"]]),
        (
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n",
            &[&[b"SET", b"k", b""]],
        ),
        (b"*1\r\n$4\r\na\r\nb\r\n", &[&[b"a\r\nb"]]),
        (b"PING\r\n", &[&[b"PING"]]),
        (b"PING\n", &[&[b"PING"]]),
        (
            b"  SET  k  \"a\\x20b\\n\" 'it\\'s'\r\n",
            &[&[b"SET", b"k", b"a b\n", b"it's"]],
        ),
        (b"\r\n\r\nPING\r\n", &[&[b"PING"]]),
        (b"*0\r\n*-1\r\n*-5\r\nPING\r\n", &[&[b"PING"]]),
        (
            b"*1\r\n$4\r\nPING\r\nGET x\r\n*1\r\n$1\r\ny\r\n",
            &[&[b"PING"], &[b"GET", b"x"], &[b"y"]],
        ),
        (b"*2\r\n$3\r\nGET\r\n", &[]),
    ];
    for (input, expected) in cases {
        let (requests, error) = run(&[input], &Limits::default());
        assert_eq!(error, None, "{}", input.escape_ascii());
        assert_eq!(requests, *expected, "{}", input.escape_ascii());
    }
}

#[test]
fn errors_carry_the_texts_of_redis() {
    let stranger = Limits {
        authenticated: false,
        ..Limits::default()
    };
    let small = Limits {
        bulk_bytes: 10,
        ..Limits::default()
    };
    let usual = Limits::default();
    let long = |start: &[u8]| [start, &[b'1'; INLINE_LIMIT_BYTES + 1]].concat();
    let cases: &[(&[u8], Limits, &str)] = &[
        (b"*a\r\n", usual, "invalid multibulk length"),
        (b"*\r\n", usual, "invalid multibulk length"),
        (b"*+1\r\n", usual, "invalid multibulk length"),
        (b"*01\r\n", usual, "invalid multibulk length"),
        (b"*2147483648\r\n", usual, "invalid multibulk length"),
        (
            b"*99999999999999999999\r\n",
            usual,
            "invalid multibulk length",
        ),
        (b"*1\r\nPING\r\n", usual, "expected '$', got 'P'"),
        (b"*1\r\n\r\n", usual, "expected '$', got '\r'"),
        (b"*1\r\n$x\r\n", usual, "invalid bulk length"),
        (b"*1\r\n$-1\r\n", usual, "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", usual, "invalid bulk length"),
        (b"*1\r\n$11\r\n", small, "invalid bulk length"),
        (b"*11\r\n", stranger, "unauthenticated multibulk length"),
        (b"*1\r\n$16385\r\n", stranger, "unauthenticated bulk length"),
        (&long(b"1"), usual, "too big inline request"),
        (&long(b"*"), usual, "too big mbulk count string"),
        (&long(b"*1\r\n$"), usual, "too big bulk count string"),
        (b"SET k \"v\r\n", usual, "unbalanced quotes in request"),
    ];
    for (input, limits, expected) in cases {
        let (_, error) = run(&[b"*1\r\n$4\r\nPING\r\n", input], limits);
        let text = error.map(|error| error.to_string());
        assert_eq!(text, Some(format!("Protocol error: {expected}")));
    }
}

#[test]
fn what_the_limits_allow_passes() {
    let stranger = Limits {
        authenticated: false,
        ..Limits::default()
    };
    let request = vec![vec![b'x'; 16 * 1024]; 10];
    assert_eq!(run(&[&encode(&request)], &stranger), (vec![request], None));
    let line = vec![b'x'; INLINE_LIMIT_BYTES];
    assert_eq!(
        run(&[&line, b"\n"], &stranger),
        (vec![vec![line.clone()]], None)
    );
    assert_eq!(
        run(&[b"*2147483647\r\n$1\r\na\r\n"], &Limits::default()),
        (vec![], None)
    );
}

#[test]
fn a_long_request_in_small_pieces() {
    let request: Request = (0..200_000)
        .map(|number: u32| number.to_string().into_bytes())
        .collect();
    let encoded = encode(&request);
    let mut decoder = Decoder::new();
    let mut buffer = Vec::new();
    let mut arguments = Vec::new();
    for piece in encoded.chunks(7) {
        buffer.extend_from_slice(piece);
        let decoded = decoder.decode(&mut buffer, 0, &Limits::default(), &mut arguments);
        let expected_end = buffer.len() == encoded.len();
        assert_eq!(
            decoded
                == Ok(Decoded::Complete {
                    consumed: encoded.len()
                }),
            expected_end
        );
        assert_eq!(decoder.is_inside_request(), !expected_end);
    }
    assert!(
        arguments
            .iter()
            .map(|range| range.of(&buffer))
            .eq(request.iter().map(Vec::as_slice))
    );
}

#[test]
fn the_hint_tells_what_a_long_argument_lacks() {
    let mut decoder = Decoder::new();
    let mut buffer = b"*1\r\n$1000\r\nabc".to_vec();
    let decoded = decoder.decode(&mut buffer, 0, &Limits::default(), &mut Vec::new());
    assert_eq!(decoded, Ok(Decoded::Incomplete { needed: 999 }));
}

/// A pipeline of requests in both forms, with things to skip in between.
fn pipeline() -> impl Strategy<Value = Vec<u8>> {
    let argument = prop::collection::vec(any::<u8>(), 0..40);
    let request = prop::collection::vec(argument, 1..5);
    let one = prop_oneof![
        4 => request.clone().prop_map(|request| encode(&request)),
        2 => request.prop_map(|request| {
            let words: Vec<String> = request.iter().map(|word| quoting::quote(word)).collect();
            (words.join(" ") + "\r\n").into_bytes()
        }),
        1 => Just(b"*0\r\n".to_vec()),
        1 => Just(b"\r\n".to_vec()),
        1 => "[*$0-9 a\"'\r\n]{0,12}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(one, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_requests(
        bytes in pipeline(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let mut begin = 0;
        let pieces: Vec<&[u8]> = ends.iter().map(|&end| &bytes[std::mem::replace(&mut begin, end)..end]).collect();
        let limits = Limits { bulk_bytes: 1000, authenticated: true };
        let whole = run(&[&bytes], &limits);
        prop_assert_eq!(run(&pieces, &limits), whole.clone());
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(run(&single, &limits), whole);
    }

    #[test]
    fn garbage_never_panics(bytes: Vec<u8>, mark in "[*$]?[0-9]{0,3}(\r\n)?") {
        run(&[mark.as_bytes(), &bytes], &Limits::default());
    }

    #[test]
    fn requests_are_found_whole(requests in prop::collection::vec(
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20), 0..10)
    ) {
        let bytes: Vec<u8> = requests.iter().flat_map(|request| encode(request)).collect();
        prop_assert_eq!(run(&[&bytes], &Limits::default()), (requests, None));
    }
}
