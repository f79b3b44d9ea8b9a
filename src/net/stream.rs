//! A connection's byte stream, TCP, TLS or unix, behind one type, so that another transport changes this file only.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

/// See the module's comment.
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// TLS over TCP.
    Tls(Box<Secured>),
    /// A unix socket.
    Unix(UnixStream),
}

/// A TLS connection. The handshake runs as part of the first reads.
pub struct Secured {
    state: State,
    descriptor: RawFd,
    /// Encrypted bytes may be waiting for the socket.
    is_unflushed: bool,
}

enum State {
    Handshake(Accept<TcpStream>),
    Open(TlsStream<TcpStream>),
}

impl Secured {
    fn poll_open(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<&mut TlsStream<TcpStream>>> {
        if let State::Handshake(accept) = &mut self.state {
            let stream = ready!(Pin::new(accept).poll(context))?;
            self.state = State::Open(stream);
        }
        match &mut self.state {
            State::Open(stream) => Poll::Ready(Ok(stream)),
            State::Handshake(_) => Poll::Pending,
        }
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        read: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = ready!(self.poll_open(context))?;
        Pin::new(stream).poll_read(context, read)
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let stream = ready!(self.poll_open(context))?;
        let count = ready!(Pin::new(&mut *stream).poll_write(context, bytes))?;
        let flushed = Pin::new(stream).poll_flush(context)?;
        self.is_unflushed = flushed.is_pending();
        Poll::Ready(Ok(count))
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = ready!(self.poll_open(context))?;
        ready!(Pin::new(stream).poll_flush(context))?;
        self.is_unflushed = false;
        Poll::Ready(Ok(()))
    }
}

impl Stream {
    /// A TLS connection over a socket, its handshake still to come.
    pub fn secured(socket: TcpStream, acceptor: &TlsAcceptor) -> Stream {
        let descriptor = socket.as_raw_fd();
        Stream::Tls(Box::new(Secured {
            state: State::Handshake(acceptor.accept(socket)),
            descriptor,
            is_unflushed: false,
        }))
    }

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
            Stream::Tls(stream) => stream.poll_read(context, &mut read),
            Stream::Unix(stream) => Pin::new(stream).poll_read(context, &mut read),
        };
        let count = read.filled().len();
        // SAFETY: `ReadBuf` counts as filled only what was initialised, at the start of the spare capacity.
        unsafe { buffer.set_len(filled + count) };
        result.map_ok(|()| count)
    }

    /// Writes as much of `bytes` as the socket takes. TLS may take more than the socket: then
    /// [`Stream::is_unflushed`] says so.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => stream.poll_write(context, bytes),
            Stream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    /// True if bytes that were written are not with the socket yet, so that [`Stream::poll_flush`] must be called.
    pub fn is_unflushed(&self) -> bool {
        matches!(self, Stream::Tls(stream) if stream.is_unflushed)
    }

    /// Hands everything that was written to the socket.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tls(stream) => stream.poll_flush(context),
            Stream::Tcp(_) | Stream::Unix(_) => Poll::Ready(Ok(())),
        }
    }

    /// Says goodbye, where the transport has a word for it.
    pub fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tls(stream) => {
                let stream = ready!(stream.poll_open(context))?;
                Pin::new(stream).poll_shutdown(context)
            }
            Stream::Tcp(_) | Stream::Unix(_) => Poll::Ready(Ok(())),
        }
    }

    /// The descriptor, for shutting the connection down from another thread.
    pub fn descriptor(&self) -> RawFd {
        match self {
            Stream::Tcp(stream) => stream.as_raw_fd(),
            Stream::Tls(stream) => stream.descriptor,
            Stream::Unix(stream) => stream.as_raw_fd(),
        }
    }
}
