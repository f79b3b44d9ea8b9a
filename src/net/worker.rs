//! A worker thread: a tokio runtime of its own, its connections, and the buffers they share.

use super::clients::{ClientRecord, Registration};
use super::connection::{Connection, RequestEnd, refusal};
use super::stream::Stream;
use crate::config::AppendFsync;
use crate::dispatch::Dispatcher;
use crate::metrics::{WorkerMetrics, add};
use crate::resp::ArgumentRange;
use crate::server::Server;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

const READ_BYTES: usize = 64 * 1024;
/// The shared output gives back what is above this, in bytes.
const KEPT_OUTPUT_BYTES: usize = 1 << 20;

/// A socket on its way from the listener to its worker.
pub enum Accepted {
    /// TCP.
    Tcp(std::net::TcpStream),
    /// TCP, for TLS.
    Tls(std::net::TcpStream),
    /// A unix socket.
    Unix(std::os::unix::net::UnixStream),
}

/// What the connections of one thread share.
pub struct Worker {
    /// Runs commands.
    pub dispatcher: Dispatcher,
    /// The read buffer, 64 KiB.
    pub input: Vec<u8>,
    /// Replies of the running batch.
    pub output: Vec<u8>,
    /// Argument ranges of the running batch.
    pub ranges: Vec<ArgumentRange>,
    /// Ends of the requests of the running batch.
    pub ends: Vec<RequestEnd>,
    /// The last LSN before the running batch.
    pub durable_from: u64,
}

impl Worker {
    fn new(server: Arc<Server>, metrics: Arc<WorkerMetrics>) -> Worker {
        Worker {
            dispatcher: Dispatcher::new(server, metrics),
            input: Vec::with_capacity(READ_BYTES),
            output: Vec::with_capacity(READ_BYTES),
            ranges: Vec::new(),
            ends: Vec::new(),
            durable_from: 0,
        }
    }

    /// How much to read behind a left-over of so many bytes.
    pub fn read_size(&self, left_over: usize) -> usize {
        left_over.clamp(READ_BYTES, 1 << 20)
    }

    /// True if the replies of this batch may not leave before the log is durable.
    pub fn waits_for_durability(&self) -> bool {
        let settings = self.dispatcher.settings();
        settings.appendonly
            && settings.appendfsync == AppendFsync::Always
            && self.dispatcher.last_lsn() != self.durable_from
    }

    /// Counts bytes that came from a client.
    pub fn note_received(&self, record: &ClientRecord, count: usize) {
        add(&self.dispatcher.metrics().input_bytes, count as u64);
        add(&record.received_bytes, count as u64);
    }

    /// Counts bytes that a client's socket took.
    pub fn note_sent(&self, record: &ClientRecord, count: usize) {
        add(&self.dispatcher.metrics().output_bytes, count as u64);
        add(&record.sent_bytes, count as u64);
    }

    /// Gives memory back that a large reply needed.
    pub fn shrink(&mut self) {
        self.output.shrink_to(KEPT_OUTPUT_BYTES);
    }
}

/// Runs a worker until the channel closes and its connections have gone. Blocks the thread.
pub fn run(
    server: Arc<Server>,
    metrics: Arc<WorkerMetrics>,
    mut sockets: mpsc::UnboundedReceiver<Accepted>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = LocalSet::new();
    let worker = Rc::new(RefCell::new(Worker::new(server, metrics)));
    local.block_on(&runtime, async move {
        while let Some(accepted) = sockets.recv().await {
            match admit(&worker, accepted) {
                Ok(Some(connection)) => {
                    tokio::task::spawn_local(async move {
                        if let Err(error) = connection.serve().await {
                            tracing::debug!(%error, "a connection ended");
                        }
                    });
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "a connection could not be set up"),
            }
        }
    });
    Ok(())
}

const DENIED: &str = "DENIED Larder is running in protected mode because protected mode is enabled and no password is set for \
     the default user. In this mode connections are only accepted from the loopback interface. Set a password with \
     CONFIG SET requirepass, bind to the loopback interface, or turn protected-mode off.";

/// Protected mode: without a password, only this machine may connect.
fn is_denied(worker: &Rc<RefCell<Worker>>, stream: &Stream, address: &str) -> bool {
    let (settings, _) = worker.borrow().dispatcher.server().settings.current();
    let is_local = address
        .parse::<std::net::SocketAddr>()
        .is_ok_and(|address| address.ip().to_canonical().is_loopback());
    !matches!(stream, Stream::Unix(_))
        && settings.protected_mode
        && worker.borrow().dispatcher.server().password_is_empty()
        && !is_local
}

/// Registers a socket; `None` if it was refused.
fn admit(worker: &Rc<RefCell<Worker>>, accepted: Accepted) -> io::Result<Option<Connection>> {
    let (stream, address, local_address) = prepare(accepted, &worker.borrow().dispatcher)?;
    if is_denied(worker, &stream, &address) {
        let denial = refusal(DENIED);
        // The client is sent away: whether it hears why is up to its socket.
        if let Stream::Tcp(stream) = &stream {
            let _ = stream.try_write(&denial);
        }
        return Ok(None);
    }
    let registration = register(worker, &stream, address, local_address);
    let Some(registration) = registration else {
        let refusal = refusal("ERR max number of clients reached");
        // Past the runtime, which does not know yet that a new socket can be written to. Whether the client hears why it
        // is sent away is up to its socket.
        let _ = match &stream {
            Stream::Tcp(stream) => socket2::SockRef::from(stream).send(&refusal),
            Stream::Unix(stream) => socket2::SockRef::from(stream).send(&refusal),
            // Before the handshake there is nothing that the client would understand.
            Stream::Tls(_) => Ok(0),
        };
        return Ok(None);
    };
    Ok(Some(Connection::new(
        stream,
        Rc::clone(worker),
        registration,
    )))
}

fn register(
    worker: &Rc<RefCell<Worker>>,
    stream: &Stream,
    address: String,
    local_address: String,
) -> Option<Registration> {
    let worker = worker.borrow();
    let limit = worker.dispatcher.server().settings.current().0.maxclients as usize;
    let clients = Arc::clone(&worker.dispatcher.server().clients);
    add(&worker.dispatcher.metrics().connections, 1);
    clients.register(stream.descriptor(), address, local_address, limit)
}

fn prepare(accepted: Accepted, dispatcher: &Dispatcher) -> io::Result<(Stream, String, String)> {
    match accepted {
        Accepted::Tcp(socket) => {
            let (address, local_address) = prepare_tcp(&socket, dispatcher)?;
            let socket = TcpStream::from_std(socket)?;
            Ok((Stream::Tcp(socket), address, local_address))
        }
        Accepted::Tls(socket) => {
            let (address, local_address) = prepare_tcp(&socket, dispatcher)?;
            let acceptor = dispatcher.server().tls.acceptor();
            let acceptor = acceptor.ok_or_else(|| io::Error::other("TLS is not configured"))?;
            let stream = Stream::secured(TcpStream::from_std(socket)?, &acceptor);
            Ok((stream, address, local_address))
        }
        Accepted::Unix(socket) => {
            socket.set_nonblocking(true)?;
            let path = socket
                .local_addr()?
                .as_pathname()
                .map_or_else(String::new, |path| path.display().to_string());
            Ok((
                Stream::Unix(UnixStream::from_std(socket)?),
                format!("{path}:0"),
                format!("{path}:0"),
            ))
        }
    }
}

/// Sets a TCP socket's options; returns the addresses of both ends.
fn prepare_tcp(
    socket: &std::net::TcpStream,
    dispatcher: &Dispatcher,
) -> io::Result<(String, String)> {
    socket.set_nonblocking(true)?;
    socket.set_nodelay(true)?;
    let keepalive_seconds = dispatcher.settings().tcp_keepalive_seconds;
    if keepalive_seconds > 0 {
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(std::time::Duration::from_secs(keepalive_seconds));
        socket2::SockRef::from(socket).set_tcp_keepalive(&keepalive)?;
    }
    Ok((
        socket.peer_addr()?.to_string(),
        socket.local_addr()?.to_string(),
    ))
}
