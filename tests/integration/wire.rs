//! A RESP client that hides nothing: replies keep their types, and bytes can be sent that no client library would.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longest wait for a reply. A test that waits longer has found a server that hangs.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// A reply as it was on the wire. Two replies are equal if their bytes were.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    /// `$-1`
    Null,
    /// `_`, the null of RESP3.
    Nothing,
    /// `*-1`
    NullArray,
    /// `+`
    Simple(String),
    /// `-`
    Error(String),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `*`
    Array(Vec<Reply>),
    /// `%`: keys and values in turn.
    Map(Vec<Reply>),
    /// `~`
    Set(Vec<Reply>),
    /// `,` as it was written.
    Double(String),
    /// `#`
    Boolean(bool),
    /// `=` with its three letters.
    Verbatim(String, Vec<u8>),
    /// `>`
    Push(Vec<Reply>),
    /// `(`
    BigNumber(String),
}

impl fmt::Debug for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Null => write!(formatter, "null"),
            Reply::Nothing => write!(formatter, "_"),
            Reply::NullArray => write!(formatter, "null array"),
            Reply::Simple(text) => write!(formatter, "+{text}"),
            Reply::Error(text) => write!(formatter, "-{text}"),
            Reply::Integer(number) => write!(formatter, ":{number}"),
            Reply::Bulk(bytes) if bytes.len() > 200 => {
                write!(
                    formatter,
                    "\"{}...\" ({} bytes)",
                    bytes[..80].escape_ascii(),
                    bytes.len()
                )
            }
            Reply::Bulk(bytes) => write!(formatter, "\"{}\"", bytes.escape_ascii()),
            Reply::Array(items) => write!(formatter, "*{items:?}"),
            Reply::Map(items) => write!(formatter, "%{items:?}"),
            Reply::Set(items) => write!(formatter, "~{items:?}"),
            Reply::Double(text) => write!(formatter, ",{text}"),
            Reply::Boolean(value) => write!(formatter, "#{value}"),
            Reply::Verbatim(kind, text) => write!(formatter, "={kind}:{}", text.escape_ascii()),
            Reply::Push(items) => write!(formatter, ">{items:?}"),
            Reply::BigNumber(text) => write!(formatter, "({text}"),
        }
    }
}

impl Reply {
    /// `+OK`.
    pub fn ok() -> Reply {
        Reply::Simple("OK".to_owned())
    }

    /// A bulk string.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Reply {
        Reply::Bulk(bytes.as_ref().to_vec())
    }

    /// An array of bulk strings.
    pub fn bulks<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Reply {
        Reply::Array(items.into_iter().map(Reply::bulk).collect())
    }

    /// The integer, or a panic that shows what it is instead.
    #[track_caller]
    pub fn integer(&self) -> i64 {
        match self {
            Reply::Integer(number) => *number,
            other => panic!("expected an integer: {other:?}"),
        }
    }

    /// The text of an error reply, or a panic that shows what it is instead.
    #[track_caller]
    pub fn error(&self) -> &str {
        match self {
            Reply::Error(text) => text,
            other => panic!("expected an error: {other:?}"),
        }
    }

    /// The bytes of a string of any kind, or a panic that shows what it is instead.
    #[track_caller]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Reply::Bulk(bytes) | Reply::Verbatim(_, bytes) => bytes,
            Reply::Simple(text) => text.as_bytes(),
            other => panic!("expected a string: {other:?}"),
        }
    }

    /// The same as text.
    #[track_caller]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// The items of an aggregate, or a panic that shows what it is instead.
    #[track_caller]
    pub fn items(&self) -> &[Reply] {
        match self {
            Reply::Array(items) | Reply::Map(items) | Reply::Set(items) | Reply::Push(items) => {
                items
            }
            other => panic!("expected an aggregate: {other:?}"),
        }
    }
}

/// The bytes of one request.
pub fn encode<A: AsRef<[u8]>>(arguments: &[A]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments.iter().map(AsRef::as_ref) {
        request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        request.extend_from_slice(argument);
        request.extend_from_slice(b"\r\n");
    }
    request
}

/// One connection.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects to a port of this machine.
    pub fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Client {
            reader: BufReader::with_capacity(1 << 16, stream),
        })
    }

    /// The socket, for what a client should not do.
    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Sends a request and does not wait for its reply.
    #[track_caller]
    pub fn send<A: AsRef<[u8]>>(&mut self, arguments: &[A]) {
        self.send_bytes(&encode(arguments))
            .expect("the server takes a request");
    }

    /// Sends a request and reads its reply.
    #[track_caller]
    pub fn call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> Reply {
        self.send(arguments);
        self.read()
    }

    /// [`Client::call`] with the words of `line` for arguments.
    #[track_caller]
    pub fn line(&mut self, line: &str) -> Reply {
        self.call(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// [`Client::send`] with the words of `line` for arguments.
    #[track_caller]
    pub fn send_line(&mut self, line: &str) {
        self.send(&line.split_whitespace().collect::<Vec<_>>());
    }

    /// Asserts that the line is answered by `+OK`.
    #[track_caller]
    pub fn ok(&mut self, line: &str) {
        assert_eq!(self.line(line), Reply::ok(), "{line}");
    }

    /// Sends all requests at once, then reads their replies.
    #[track_caller]
    pub fn pipeline<A: AsRef<[u8]>>(&mut self, requests: &[Vec<A>]) -> Vec<Reply> {
        let bytes: Vec<u8> = requests
            .iter()
            .flat_map(|request| encode(request))
            .collect();
        self.send_bytes(&bytes)
            .expect("the server takes a pipeline");
        requests.iter().map(|_| self.read()).collect()
    }

    /// Reads a reply.
    #[track_caller]
    pub fn read(&mut self) -> Reply {
        match self.try_read() {
            Ok(reply) => reply,
            Err(error) => panic!("no reply: {error}"),
        }
    }

    /// Reads a reply, or learns that the connection ended.
    pub fn try_read(&mut self) -> io::Result<Reply> {
        let line = self.read_line()?;
        let invalid = || io::Error::other(format!("not RESP: {line:?}"));
        let (kind, rest) = line.split_at_checked(1).ok_or_else(invalid)?;
        let length = || rest.parse::<i64>().map_err(|_| invalid());
        Ok(match kind {
            "+" => Reply::Simple(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(length()?),
            "," => Reply::Double(rest.to_owned()),
            "(" => Reply::BigNumber(rest.to_owned()),
            "#" => Reply::Boolean(rest == "t"),
            "_" => Reply::Nothing,
            "$" if length()? < 0 => Reply::Null,
            "*" if length()? < 0 => Reply::NullArray,
            "$" => Reply::Bulk(self.read_bulk(length()? as usize)?),
            "=" => {
                let text = self.read_bulk(length()? as usize)?;
                let (kind, text) = text.split_at_checked(4).ok_or_else(invalid)?;
                Reply::Verbatim(
                    String::from_utf8_lossy(&kind[..3]).into_owned(),
                    text.to_vec(),
                )
            }
            "*" => Reply::Array(self.read_items(length()? as usize)?),
            "%" => Reply::Map(self.read_items(length()? as usize * 2)?),
            "~" => Reply::Set(self.read_items(length()? as usize)?),
            ">" => Reply::Push(self.read_items(length()? as usize)?),
            _ => return Err(invalid()),
        })
    }

    /// Whether the server ended the connection, after everything that it sent before is read.
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => !matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ),
        }
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(text) => Ok(String::from_utf8_lossy(text).into_owned()),
            None => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection ended",
            )),
        }
    }

    fn read_bulk(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length + 2];
        self.reader.read_exact(&mut bytes)?;
        if !bytes.ends_with(b"\r\n") {
            return Err(io::Error::other("a bulk string is longer than it says"));
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn read_items(&mut self, count: usize) -> io::Result<Vec<Reply>> {
        (0..count).map(|_| self.try_read()).collect()
    }
}
