//! Listening sockets. Each has a thread that accepts; CONFIG SET of `port` and `bind` closes them and opens others.

use super::worker::Accepted;
use crate::config::Settings;
use crate::error::InternalError;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use tokio::sync::mpsc::UnboundedSender;

/// The sockets that the settings ask for, bound.
pub struct Listeners {
    tcp: Vec<TcpListener>,
    tls: Vec<TcpListener>,
    unix: Option<(UnixListener, PathBuf)>,
}

impl Listeners {
    /// Binds `bind` x `port` and `tls-port`, and `unixsocket`.
    ///
    /// # Errors
    /// A port in use, or an address that is not this machine's. An address prefixed with `-` may be missing.
    pub fn bind(settings: &Settings) -> Result<Listeners, InternalError> {
        let tcp = listen_all(settings, settings.port)?;
        let tls = listen_all(settings, settings.tls_port)?;
        let unix = if settings.unixsocket.is_empty() {
            None
        } else {
            Some(listen_unix(settings)?)
        };
        if tcp.is_empty() && tls.is_empty() && unix.is_none() {
            return Err(InternalError::Other(
                "nothing to listen on: port and tls-port are 0 and unixsocket is not set".into(),
            ));
        }
        Ok(Listeners { tcp, tls, unix })
    }

    /// Accepts in a thread for each socket and hands connections to the workers in turn.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn serve(self, workers: Vec<UnboundedSender<Accepted>>) -> io::Result<Listening> {
        let next = AtomicUsize::new(0);
        let hand_over: HandOver = Arc::new(move |accepted| {
            let index = next.fetch_add(1, Ordering::Relaxed) % workers.len();
            // A closed channel is a server that is shutting down.
            let _ = workers[index].send(accepted);
        });
        if let Some((listener, _)) = self.unix {
            let hand_over = Arc::clone(&hand_over);
            let accept = move || {
                listener
                    .accept()
                    .map(|(socket, _)| hand_over(Accepted::Unix(socket)))
            };
            in_thread(move || accept_until(accept, &AtomicBool::new(false)))?;
        }
        let open = accept_all(self.tcp, self.tls, &hand_over)?;
        Ok(Listening {
            hand_over,
            open: Mutex::new(open),
        })
    }
}

/// The TCP sockets that are listened on while the server runs.
pub struct Listening {
    hand_over: HandOver,
    open: Mutex<Vec<Acceptor>>,
}

impl Listening {
    /// Closes them and listens on what `settings` say; if that is not possible, on what `former` said.
    ///
    /// # Errors
    /// As [`Listeners::bind`].
    pub fn replace(&self, former: &Settings, settings: &Settings) -> Result<(), InternalError> {
        let mut open = self.open.lock();
        // First, because an address that stays is in use until then.
        open.drain(..).for_each(Acceptor::stop);
        let failed = match self.listen(settings) {
            Ok(acceptors) => {
                *open = acceptors;
                return Ok(());
            }
            Err(error) => error,
        };
        match self.listen(former) {
            Ok(acceptors) => *open = acceptors,
            Err(error) => tracing::error!(%error, "nothing is listened on any more"),
        }
        Err(failed)
    }

    fn listen(&self, settings: &Settings) -> Result<Vec<Acceptor>, InternalError> {
        let tcp = listen_all(settings, settings.port)?;
        let tls = listen_all(settings, settings.tls_port)?;
        accept_all(tcp, tls, &self.hand_over)
            .map_err(|error| InternalError::Other(format!("cannot start a thread: {error}")))
    }
}

/// A thread that accepts.
struct Acceptor {
    socket: TcpListener,
    is_closing: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Acceptor {
    fn start(socket: TcpListener, wrap: Wrap, hand_over: &HandOver) -> io::Result<Acceptor> {
        let is_closing = Arc::new(AtomicBool::new(false));
        let (listener, hand_over) = (socket.try_clone()?, Arc::clone(hand_over));
        let accept = move || listener.accept().map(|(socket, _)| hand_over(wrap(socket)));
        let closing = Arc::clone(&is_closing);
        Ok(Acceptor {
            thread: in_thread(move || accept_until(accept, &closing))?,
            socket,
            is_closing,
        })
    }

    /// Ends the thread; the socket is closed when this returns.
    fn stop(self) {
        self.is_closing.store(true, Ordering::Relaxed);
        // On Linux this wakes who waits in `accept`. It cannot fail for a socket that listens.
        let _ = socket2::SockRef::from(&self.socket).shutdown(std::net::Shutdown::Both);
        if self.thread.join().is_err() {
            tracing::error!("a thread that accepted connections had panicked");
        }
    }
}

/// Gives an accepted connection to a worker.
type HandOver = Arc<dyn Fn(Accepted) + Send + Sync>;

/// What a socket becomes: TCP, or TCP for TLS.
type Wrap = fn(std::net::TcpStream) -> Accepted;

fn accept_all(
    tcp: Vec<TcpListener>,
    tls: Vec<TcpListener>,
    hand_over: &HandOver,
) -> io::Result<Vec<Acceptor>> {
    let tcp = tcp
        .into_iter()
        .map(|socket| (socket, Accepted::Tcp as Wrap));
    let tls = tls
        .into_iter()
        .map(|socket| (socket, Accepted::Tls as Wrap));
    tcp.chain(tls)
        .map(|(socket, wrap)| Acceptor::start(socket, wrap, hand_over))
        .collect()
}

fn in_thread(run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("larder-accept".into())
        .spawn(run)
}

/// Listens on every address of `bind`; on none if the port is 0.
fn listen_all(settings: &Settings, port: u16) -> Result<Vec<TcpListener>, InternalError> {
    let mut listeners = Vec::new();
    for name in settings.bind.iter().filter(|_| port != 0) {
        let (name, optional) = name
            .strip_prefix('-')
            .map_or((name.as_str(), false), |name| (name, true));
        match listen(name, port, settings.tcp_backlog as i32) {
            Ok(listener) => listeners.push(listener),
            Err(error) if optional && error.kind() != io::ErrorKind::AddrInUse => {}
            Err(error) => {
                let text = format!("cannot listen on {name}:{port}: {error}");
                return Err(InternalError::Other(text));
            }
        }
    }
    Ok(listeners)
}

fn accept_until(mut accept: impl FnMut() -> io::Result<()>, is_closing: &AtomicBool) {
    while !is_closing.load(Ordering::Relaxed) {
        if let Err(error) = accept()
            && !is_closing.load(Ordering::Relaxed)
        {
            // Out of descriptors, or a client that went at once: neither ends the listener.
            tracing::warn!(%error, "a connection could not be accepted");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

fn listen(name: &str, port: u16, backlog: i32) -> io::Result<TcpListener> {
    let address: IpAddr = match name {
        "*" => IpAddr::from([0, 0, 0, 0]),
        "::*" => IpAddr::from([0u16; 8]),
        "localhost" => IpAddr::from([127, 0, 0, 1]),
        other => other
            .parse()
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not an IP address"))?,
    };
    let address = SocketAddr::new(address, port);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

fn listen_unix(settings: &Settings) -> Result<(UnixListener, PathBuf), InternalError> {
    use std::os::unix::fs::PermissionsExt;
    let path = PathBuf::from(&settings.unixsocket);
    // A socket that a killed server left behind is in the way; one that answers belongs to somebody.
    if path.exists() && std::os::unix::net::UnixStream::connect(&path).is_err() {
        std::fs::remove_file(&path).map_err(InternalError::io("remove", &path))?;
    }
    let listener = UnixListener::bind(&path).map_err(InternalError::io("listen on", &path))?;
    if settings.unixsocket_permissions != 0 {
        let permissions = std::fs::Permissions::from_mode(settings.unixsocket_permissions as u32);
        std::fs::set_permissions(&path, permissions)
            .map_err(InternalError::io("set permissions of", &path))?;
    }
    Ok((listener, path))
}
