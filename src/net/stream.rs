//! A connection's byte stream, TCP or unix, behind one type, so that another transport changes this file only.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// See the module's comment.
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
}

impl Stream {
    /// Reads what is there into `buffer`, which grows by what was read, at most to its capacity. 0 is the end.
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        let filled = buffer.len();
        let mut read = ReadBuf::uninit(buffer.spare_capacity_mut());
        let result = match self {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(context, &mut read),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, &mut read),
        };
        let count = read.filled().len();
        // SAFETY: `ReadBuf` counts as filled only what was initialised, at the start of the spare capacity.
        unsafe { buffer.set_len(filled + count) };
        result.map_ok(|()| count)
    }

    /// Writes as much of `bytes` as the socket takes.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    /// The descriptor, for shutting the connection down from another thread.
    pub fn descriptor(&self) -> RawFd {
        match self {
            Stream::Tcp(stream) => stream.as_raw_fd(),
            Stream::Unix(stream) => stream.as_raw_fd(),
        }
    }
}
