//! What MIGRATE needs of the network: one connection to another server, everything written, one line read for each command.
//!
//! Blocking calls on the thread of a job. Each step has the caller's time-out, so the end of this server waits that long at most.

use crate::commands::OtherServer;
use crate::error::CommandError;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const CONNECTING: CommandError =
    CommandError::fixed("IOERR error or timeout connecting to the client");
const WRITING: CommandError =
    CommandError::fixed("IOERR error or timeout writing to target instance");
const READING: CommandError =
    CommandError::fixed("IOERR error or timeout reading to target instance");
/// A longer reply line is none.
const LINE_BYTES_MAX: u64 = 1 << 16;

/// Sends `request` and reads as many reply lines, without their ends. What came before an error is in `replies` too.
pub(super) fn ask(
    target: &OtherServer,
    request: &[u8],
    reply_count: usize,
    replies: &mut Vec<Vec<u8>>,
) -> Result<(), CommandError> {
    let timeout = Duration::from_millis(target.timeout_ms);
    let mut stream = connect(target, timeout)?;
    stream.write_all(request).map_err(|_| WRITING)?;
    let mut reader = BufReader::new(stream);
    for _ in 0..reply_count {
        let mut line = Vec::new();
        (&mut reader)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .map_err(|_| READING)?;
        let line = line.strip_suffix(b"\r\n").ok_or(READING)?;
        replies.push(line.to_vec());
    }
    Ok(())
}

fn connect(target: &OtherServer, timeout: Duration) -> Result<TcpStream, CommandError> {
    let addresses = (target.host.as_str(), target.port)
        .to_socket_addrs()
        .map_err(|_| CONNECTING)?;
    let mut streams = addresses.flat_map(|address| TcpStream::connect_timeout(&address, timeout));
    let stream = streams.next().ok_or(CONNECTING)?;
    let limit = Some(timeout);
    stream
        .set_read_timeout(limit)
        .and_then(|()| stream.set_write_timeout(limit))
        .and_then(|()| stream.set_nodelay(true))
        .map_err(|_| CONNECTING)?;
    Ok(stream)
}
