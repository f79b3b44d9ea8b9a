//! TLS: handshakes, clients' certificates, and certificates that change while the server runs.

use crate::harness::{Server, free_port};
use crate::wire::Reply;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

type Secured = StreamOwned<ClientConnection, TcpStream>;
type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(parameters, key).expect("an authority")
}

/// Writes `NAME.crt` and `NAME.key`, signed by the authority.
fn certificate(authority: &Authority, directory: &Path, name: &str) {
    let key = KeyPair::generate().expect("a key");
    let parameters = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let certificate = parameters
        .signed_by(&key, authority)
        .expect("a certificate");
    let write = |ending: &str, text: String| {
        std::fs::write(directory.join(format!("{name}.{ending}")), text).expect("written");
    };
    write("crt", certificate.pem());
    write("key", key.serialize_pem());
}

struct Setting {
    directory: tempfile::TempDir,
    authority: Authority,
    port: u16,
}

impl Setting {
    fn new() -> Setting {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = authority();
        std::fs::write(directory.path().join("ca.crt"), authority.pem()).expect("written");
        for name in ["server", "client"] {
            certificate(&authority, directory.path(), name);
        }
        Setting {
            directory,
            authority,
            port: free_port(),
        }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn options(&self, clients: &str) -> String {
        format!(
            "--maxmemory 256mb --tls-port {} --tls-cert-file {} --tls-key-file {} --tls-ca-cert-file {} --tls-auth-clients {clients}",
            self.port,
            self.path("server.crt"),
            self.path("server.key"),
            self.path("ca.crt"),
        )
    }

    /// Connects, with the client's certificate or without.
    fn connect(&self, with_certificate: bool) -> Secured {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.authority.der().clone())
            .expect("the authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = if with_certificate {
            let chain = CertificateDer::from_pem_file(self.path("client.crt"));
            let key = PrivateKeyDer::from_pem_file(self.path("client.key"));
            builder
                .with_client_auth_cert(vec![chain.expect("a certificate")], key.expect("a key"))
                .expect("a pair")
        } else {
            builder.with_no_client_auth()
        };
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
        let socket = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        StreamOwned::new(connection, socket)
    }
}

/// Sends a line and reads as much as is expected; `None` if the server ends the connection.
fn ask(stream: &mut Secured, line: &str, expected_bytes: usize) -> Option<String> {
    stream.write_all(line.as_bytes()).ok()?;
    stream.write_all(b"\r\n").ok()?;
    let mut reply = vec![0; expected_bytes];
    stream.read_exact(&mut reply).ok()?;
    Some(String::from_utf8_lossy(&reply).into_owned())
}

#[test]
fn who_gets_in() {
    for (clients, with_certificate, gets_in) in [
        ("no", false, true),
        ("no", true, true),
        ("optional", false, true),
        ("optional", true, true),
        ("yes", false, false),
        ("yes", true, true),
    ] {
        let setting = Setting::new();
        let _server = Server::start(&setting.options(clients));
        let mut stream = setting.connect(with_certificate);
        let reply = ask(&mut stream, "PING", 7);
        let expected = gets_in.then(|| "+PONG\r\n".to_owned());
        assert_eq!(reply, expected, "{clients} {with_certificate}");
    }
}

#[test]
fn large_requests_and_replies_come_through() {
    const BYTES: usize = 5 << 20;
    let setting = Setting::new();
    let server = Server::start(&setting.options("no"));
    let mut stream = setting.connect(false);
    let value = "v".repeat(BYTES);
    let request = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${BYTES}\r\n{value}");
    assert_eq!(ask(&mut stream, &request, 5).as_deref(), Some("+OK\r\n"));
    let header = format!("${BYTES}\r\n");
    // Three replies at a time are more than socket buffers hold.
    let reply = ask(
        &mut stream,
        "GET k\r\nGET k\r\nGET k",
        3 * (header.len() + BYTES + 2),
    );
    let reply = reply.expect("three replies");
    assert_eq!(reply, format!("{header}{value}\r\n").repeat(3));
    assert_eq!(ask(&mut stream, "QUIT", 5).as_deref(), Some("+OK\r\n"));
    let mut rest = Vec::new();
    // A goodbye, not a connection that is cut.
    assert_eq!(stream.read_to_end(&mut rest).ok(), Some(0));
    // The plain port goes on beside it.
    assert_eq!(
        server.client().line("STRLEN k"),
        Reply::Integer(BYTES as i64)
    );
}

#[test]
fn certificates_can_be_replaced_while_the_server_runs() {
    let mut setting = Setting::new();
    let server = Server::start(&setting.options("no"));
    let mut plain = server.client();
    let mut before = setting.connect(false);
    assert!(ask(&mut before, "PING", 7).is_some());
    // Another authority and another certificate, in the same files.
    setting.authority = authority();
    certificate(&setting.authority, setting.directory.path(), "server");
    assert!(ask(&mut setting.connect(false), "PING", 7).is_none());
    let (certificate, key) = (setting.path("server.crt"), setting.path("server.key"));
    let reply = plain.line(&format!(
        "CONFIG SET tls-cert-file {certificate} tls-key-file {key}"
    ));
    assert_eq!(reply.text(), "OK");
    assert!(ask(&mut setting.connect(false), "PING", 7).is_some());
    assert!(
        ask(&mut before, "PING", 7).is_some(),
        "open connections stay"
    );
    let refused = plain.line("CONFIG SET tls-cert-file /nowhere");
    let text = "ERR CONFIG SET failed (possibly related to argument 'tls-cert-file') - Unable to update TLS configuration. Check \
                server logs.";
    assert_eq!(refused, Reply::Error(text.to_owned()));
    assert!(ask(&mut setting.connect(false), "PING", 7).is_some());
}
