//! Members of one cluster.

#[cfg(feature = "cluster")]
mod address;
pub(crate) mod link;
#[cfg(feature = "cluster")]
pub(crate) mod log;
#[cfg(feature = "cluster")]
mod preflight;
#[cfg(feature = "cluster")]
mod tls;
#[cfg(feature = "cluster")]
pub(crate) mod zenoh;
