//! TLS: what connections on `tls-port` are accepted with, made from the settings and made again by CONFIG SET.
//!
//! rustls with the ring provider: no system library, safe versions and ciphers only. Connections that are open keep what
//! they were accepted with.

use crate::config::{Settings, TlsClients};
use crate::error::InternalError;
use parking_lot::RwLock;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

/// What new connections are accepted with; nothing while `tls-port` is 0.
#[derive(Default)]
pub struct Tls {
    acceptor: RwLock<Option<TlsAcceptor>>,
}

impl Tls {
    /// What these settings say.
    pub fn new(settings: &Settings) -> Result<Tls, InternalError> {
        let tls = Tls::default();
        tls.configure(settings)?;
        Ok(tls)
    }

    /// Reads certificates and keys again. If that fails, what stood still stands.
    pub fn configure(&self, settings: &Settings) -> Result<(), InternalError> {
        if settings.tls_port != 0 {
            let config = server_config(settings)?;
            *self.acceptor.write() = Some(TlsAcceptor::from(Arc::new(config)));
        }
        Ok(())
    }

    /// What a new connection is accepted with.
    pub fn acceptor(&self) -> Option<TlsAcceptor> {
        self.acceptor.read().clone()
    }
}

fn failed(what: &str, error: impl std::fmt::Display) -> InternalError {
    InternalError::Other(format!("TLS: {what}: {error}"))
}

fn server_config(settings: &Settings) -> Result<ServerConfig, InternalError> {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&versions(&settings.tls_protocols)?)
        .map_err(|error| failed("tls-protocols", error))?;
    let builder = match client_verifier(settings)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let chain = certificates(&settings.tls_cert_file)?;
    let key = PrivateKeyDer::from_pem_file(&settings.tls_key_file)
        .map_err(|error| failed(&settings.tls_key_file, error))?;
    builder
        .with_single_cert(chain, key)
        .map_err(|error| failed("certificate and key", error))
}

/// `tls-protocols`: empty is all that there are.
fn versions(names: &str) -> Result<Vec<&'static SupportedProtocolVersion>, InternalError> {
    let mut versions = Vec::new();
    for name in names.split_ascii_whitespace() {
        match name.to_ascii_lowercase().as_str() {
            "tlsv1.2" => versions.push(&TLS12),
            "tlsv1.3" => versions.push(&TLS13),
            // Older ones are not safe: asked for beside others, they are left out.
            "tlsv1" | "tlsv1.1" => {}
            _ => return Err(failed("tls-protocols", format!("unknown version '{name}'"))),
        }
    }
    match (names.trim().is_empty(), versions.is_empty()) {
        (true, _) => Ok(vec![&TLS12, &TLS13]),
        (false, true) => Err(failed("tls-protocols", "TLSv1.2 or TLSv1.3 is needed")),
        (false, false) => Ok(versions),
    }
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, InternalError> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| failed(path, error))?;
    let certificates = read.collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| failed(path, error))?;
    if certificates.is_empty() {
        return Err(failed(path, "no certificate in it"));
    }
    Ok(certificates)
}

/// How clients' certificates are checked; `None` if they are not.
fn client_verifier(
    settings: &Settings,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, InternalError> {
    if settings.tls_auth_clients == TlsClients::Ignored {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    let mut add = |path: &str| {
        for certificate in certificates(path)? {
            roots
                .add(certificate)
                .map_err(|error| failed(path, error))?;
        }
        Ok::<(), InternalError>(())
    };
    if !settings.tls_ca_cert_file.is_empty() {
        add(&settings.tls_ca_cert_file)?;
    }
    if !settings.tls_ca_cert_dir.is_empty() {
        for path in files_in(Path::new(&settings.tls_ca_cert_dir))? {
            add(&path)?;
        }
    }
    if roots.is_empty() {
        return Err(failed(
            "tls-auth-clients",
            "tls-ca-cert-file or tls-ca-cert-dir is needed to check clients' certificates",
        ));
    }
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = if settings.tls_auth_clients == TlsClients::Optional {
        verifier.allow_unauthenticated()
    } else {
        verifier
    };
    let verifier = verifier
        .build()
        .map_err(|error| failed("tls-ca-cert-file", error))?;
    Ok(Some(verifier))
}

/// The files of a directory, in the order of their names.
fn files_in(directory: &Path) -> Result<Vec<String>, InternalError> {
    let entries = std::fs::read_dir(directory).map_err(InternalError::io("read", directory))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(InternalError::io("read", directory))?.path();
        if path.is_file() {
            paths.push(path.display().to_string());
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_tls() {
        let cases = [
            ("", Some(2)),
            ("TLSv1.2", Some(1)),
            ("TLSv1.2 TLSv1.3", Some(2)),
            ("tlsv1.1 tlsv1.2", Some(1)),
            ("TLSv1.1", None),
            ("SSLv3", None),
        ];
        for (names, expected) in cases {
            let count = versions(names).ok().map(|versions| versions.len());
            assert_eq!(count, expected, "{names}");
        }
    }
}
