//! Listening sockets.

use super::worker::Accepted;
use crate::config::Settings;
use crate::error::InternalError;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

    /// The port that is listened on; what `port` says, unless that left the choice to the system.
    pub fn port(&self) -> u16 {
        self.tcp
            .first()
            .and_then(|listener| listener.local_addr().ok())
            .map_or(0, |address| address.port())
    }

    /// Accepts in a thread for each socket and hands connections to the workers in turn.
    pub fn serve(self, workers: Vec<UnboundedSender<Accepted>>) -> io::Result<()> {
        let next = Arc::new(AtomicUsize::new(0));
        let workers = Arc::new(workers);
        let hand_over = move |accepted| {
            let index = next.fetch_add(1, Ordering::Relaxed) % workers.len();
            // A closed channel is a server that is shutting down.
            let _ = workers[index].send(accepted);
        };
        let tcp = self
            .tcp
            .into_iter()
            .zip(std::iter::repeat(Accepted::Tcp as Wrap));
        let tls = self
            .tls
            .into_iter()
            .zip(std::iter::repeat(Accepted::Tls as Wrap));
        for (listener, wrap) in tcp.chain(tls) {
            let hand_over = hand_over.clone();
            let accept = move || listener.accept().map(|(socket, _)| hand_over(wrap(socket)));
            std::thread::Builder::new()
                .name("larder-accept".into())
                .spawn(move || accept_forever(accept))?;
        }
        if let Some((listener, _)) = self.unix {
            let accept = move || {
                listener
                    .accept()
                    .map(|(socket, _)| hand_over(Accepted::Unix(socket)))
            };
            std::thread::Builder::new()
                .name("larder-accept".into())
                .spawn(move || accept_forever(accept))?;
        }
        Ok(())
    }
}

/// What a socket becomes: TCP, or TCP for TLS.
type Wrap = fn(std::net::TcpStream) -> Accepted;

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

fn accept_forever(mut accept: impl FnMut() -> io::Result<()>) {
    loop {
        if let Err(error) = accept() {
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
