//! The three files of mutual TLS.

use std::fmt::Display;
use std::sync::Arc;
use std::{fs, io};

use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore, ServerConfig};

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
    let mut accept = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(|why| cert_file(&why))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(own.clone(), key.clone_key())
        .map_err(|why| key_file(&why))?;
    // A session that is taken up again brings no certificate: one that has expired meanwhile would go on.
    accept.send_tls13_tickets = 0;
    accept.session_storage = Arc::new(NoServerSessionStorage {});
    let mut dial = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|why| cert_file(&why))?
        .with_root_certificates(roots)
        .with_client_auth_cert(own, key)
        .map_err(|why| key_file(&why))?;
    dial.resumption = Resumption::disabled();
    Ok(Identity { accept: Arc::new(accept), dial: Arc::new(dial) })
}

/// Why somebody did not get through the handshake. One of a few texts, as each is said once: in none of them is a time,
/// or anything else that came from outside.
pub(crate) fn reason(error: &io::Error) -> &'static str {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(inner) = inner else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => "it hung up before it had proved who it is",
            _ => "its connection broke before it had proved who it is",
        };
    };
    match inner {
        rustls::Error::NoCertificatesPresented => "it showed no certificate",
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet"
            }
            CertificateError::UnknownIssuer => "its certificate is of another authority",
            _ => "its certificate is not in order",
        },
        rustls::Error::InvalidMessage(_) | rustls::Error::InappropriateMessage { .. } => {
            "it does not speak TLS"
        }
        rustls::Error::PeerIncompatible(_) => "it does not speak TLS 1.3 as members do",
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA => "it does not take this member's certificate",
            _ => "it broke the handshake off",
        },
        _ => "its handshake is not in order",
    }
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
