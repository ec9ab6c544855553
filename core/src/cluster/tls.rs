//! The three files of mutual TLS: read and checked before the engine sees them.

use std::fmt::Display;
use std::fs;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::error::{Error, ErrorKind, Result};
use crate::options::Tls;

/// The files' contents as the engine's settings take them: no path has to fit into its syntax.
#[derive(Debug)]
pub(crate) struct Pem {
    pub ca: String,
    pub cert: String,
    pub key: Secret,
}

/// Never shown.
pub(crate) struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

pub(crate) fn read(tls: &Tls) -> Result<Pem> {
    let ca = file("ca", tls.ca())?;
    let cert = file("cert", tls.cert())?;
    let key = file("key", tls.key())?;
    check(tls, &ca, &cert, &key)?;
    let [ca, cert, key] = [ca, cert, key].map(|bytes| STANDARD.encode(bytes));
    Ok(Pem { ca, cert, key: Secret(key) })
}

fn file(field: &str, path: &str) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        Error::new(ErrorKind::Io, format!("cannot read tls.{field}, the file {path}: {error}"))
    })
}

/// Whether the key belongs to the certificate and other members with this authority will take it.
fn check(tls: &Tls, ca: &[u8], cert: &[u8], key: &[u8]) -> Result<()> {
    let ca_file = |why: &dyn Display| wrong("ca", tls.ca(), why);
    let cert_file = |why: &dyn Display| wrong("cert", tls.cert(), why);
    let key_file = |why: &dyn Display| wrong("key", tls.key(), why);
    let mut roots = RootCertStore::empty();
    for authority in certificates(ca).map_err(|why| ca_file(&why))? {
        roots.add(authority).map_err(|why| ca_file(&why))?;
    }
    let own = certificates(cert).map_err(|why| cert_file(&why))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|why| key_file(&why))?;
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|why| ca_file(&why))?;
    let (first, rest) = own.split_first().ok_or_else(|| cert_file(&NO_CERTIFICATE))?;
    verifier.verify_client_cert(first, rest, UnixTime::now()).map_err(|why| {
        cert_file(&format!("members with the authority {} refuse it: {why}", tls.ca()))
    })?;
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|why| cert_file(&why))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(own, key)
        .map_err(|why| key_file(&format!("with the certificate {}: {why}", tls.cert())))?;
    Ok(())
}

const NO_CERTIFICATE: &str = "there is no certificate in it";

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(NO_CERTIFICATE.to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(error.to_string()),
    }
}

fn wrong(field: &str, path: &str, why: &dyn Display) -> Error {
    Error::argument(format!("tls.{field}, the file {path}: {why}"))
}
