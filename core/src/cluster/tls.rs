//! The three files of mutual TLS.

use std::fmt::Display;
use std::fs;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::error::{Error, ErrorKind, Result};
use crate::options::Tls;

/// Who a member is, and whom it takes for one.
pub(crate) struct Identity {
    pub accept: Arc<ServerConfig>,
    pub dial: Arc<ClientConfig>,
}

/// Reads the files, and whether the key belongs to the certificate and other members with this authority will take it.
pub(crate) fn read(tls: &Tls) -> Result<Identity> {
    let ca = file("ca", tls.ca())?;
    let cert = file("cert", tls.cert())?;
    let key = file("key", tls.key())?;
    let ca_file = |why: &dyn Display| wrong("ca", tls.ca(), why);
    let cert_file = |why: &dyn Display| wrong("cert", tls.cert(), why);
    let key_file = |why: &dyn Display| {
        wrong("key", tls.key(), &format!("with the certificate {}: {why}", tls.cert()))
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(&ca).map_err(|why| ca_file(&why))? {
        roots.add(authority).map_err(|why| ca_file(&why))?;
    }
    let roots = Arc::new(roots);
    let own = certificates(&cert).map_err(|why| cert_file(&why))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|why| wrong("key", tls.key(), &why))?;
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|why| ca_file(&why))?;
    let (first, rest) = own.split_first().ok_or_else(|| cert_file(&NO_CERTIFICATE))?;
    verifier.verify_client_cert(first, rest, UnixTime::now()).map_err(|why| {
        cert_file(&format!("members with the authority {} refuse it: {why}", tls.ca()))
    })?;
    let accept = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(|why| cert_file(&why))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(own.clone(), key.clone_key())
        .map_err(|why| key_file(&why))?;
    let dial = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|why| cert_file(&why))?
        .with_root_certificates(roots)
        .with_client_auth_cert(own, key)
        .map_err(|why| key_file(&why))?;
    Ok(Identity { accept: Arc::new(accept), dial: Arc::new(dial) })
}

fn file(field: &str, path: &str) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        Error::new(ErrorKind::Io, format!("cannot read tls.{field}, the file {path}: {error}"))
    })
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
