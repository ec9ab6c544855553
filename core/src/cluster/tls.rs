//! The three files of mutual TLS.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, ErrorKind, Result};

/// Where the PEM files are. Each member shows `cert` to the others, and takes those whose certificate
/// `ca` has signed and that names the address they were dialled at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tls {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The files' contents as the engine's settings take them: no path has to fit into its syntax, and
/// a missing file is noticed here.
pub(crate) struct Pem {
    pub ca: String,
    pub cert: String,
    pub key: String,
}

impl Tls {
    pub fn read(&self) -> Result<Pem> {
        Ok(Pem {
            ca: read("ca", &self.ca, &["CERTIFICATE"])?,
            cert: read("cert", &self.cert, &["CERTIFICATE"])?,
            key: read("key", &self.key, &["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"])?,
        })
    }
}

fn read(field: &str, path: &Path, labels: &[&str]) -> Result<String> {
    let bytes = fs::read(path).map_err(|error| {
        let text = format!("cannot read the file {} (tls.{field}): {error}", path.display());
        Error::new(ErrorKind::Io, text)
    })?;
    let text = String::from_utf8_lossy(&bytes);
    if !labels.iter().any(|label| has_block(&text, label)) {
        let wanted = labels.join(" or ");
        let text = format!("the file {} (tls.{field}) has no PEM block {wanted}", path.display());
        return Err(Error::argument(text));
    }
    Ok(STANDARD.encode(bytes))
}

fn has_block(text: &str, label: &str) -> bool {
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let Some(at) = text.find(&begin) else { return false };
    let rest = &text[at + begin.len()..];
    let Some(at) = rest.find(&end) else { return false };
    let inner: String = rest[..at].chars().filter(|c| !c.is_whitespace()).collect();
    STANDARD.decode(inner).is_ok_and(|der| !der.is_empty())
}
