//! The options of a member of a cluster.

use std::ffi::c_char;

use minikv::Tls;

use crate::border::milliseconds;
use crate::bytes::c_text;
use crate::call_options::Setting;
use crate::error::minikv_code;
use crate::options::minikv_options;

/// Makes the registry a member of the cluster of this name, together with all others of this name that it meets;
/// members of other clusters are never met. Give each member a node name of its own (minikv_options_set_node).
/// Default: no cluster, no sockets.
///
/// The cluster's other options are refused without it, as is a manual clock with it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_set_cluster(
    options: *mut minikv_options,
    cluster: *const c_char,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.cluster(c_text(cluster, "cluster")?))) }
}

/// Listens here too: "host:port" (port 0: a free one, see minikv_endpoints; an IPv6 address in brackets) or
/// "unix:/path/to.sock" (a path of at most 100 bytes). Default: "127.0.0.1:0" alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_add_listen(
    options: *mut minikv_options,
    endpoint: *const c_char,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.listen(c_text(endpoint, "endpoint")?))) }
}

/// Dials this endpoint too, written as for minikv_options_add_listen. One that cannot be reached is tried again for
/// ever, and is no error; one reachable member is enough to learn of all others. Default: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_add_peer(
    options: *mut minikv_options,
    endpoint: *const c_char,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.peer(c_text(endpoint, "endpoint")?))) }
}

/// Finds members of the local network by multicast. Default: only peers, and whom they know.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_set_discovery_multicast(
    options: *mut minikv_options,
) -> minikv_code {
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, |options| Ok(options.discovery_multicast())) }
}

/// How long, in milliseconds from 100 to 60,000, a member may be silent until it is taken for dead: it is then
/// down, and its entries pass to another; its locks end after twice that time. Default 2,500.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_set_failure_timeout_ms(
    options: *mut minikv_options,
    ms: i64,
) -> minikv_code {
    let change = |options: minikv::Options| {
        Ok(options.failure_timeout(milliseconds("failure_timeout", ms)?))
    };
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, change) }
}

/// Encrypts all links, and refuses who has no certificate of the same authority: the paths of three PEM files, the
/// authority's certificate, this member's certificate and its private key. They are read when the registry starts
/// (MINIKV_IO if that fails). Default: no encryption.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn minikv_options_set_tls(
    options: *mut minikv_options,
    ca: *const c_char,
    cert: *const c_char,
    key: *const c_char,
) -> minikv_code {
    let change = |options: minikv::Options| {
        // SAFETY: handed on from the caller.
        let (ca, cert, key) =
            unsafe { (c_text(ca, "ca")?, c_text(cert, "cert")?, c_text(key, "key")?) };
        Ok(options.tls(Tls::new(ca, cert, key)))
    };
    // SAFETY: handed on from the caller.
    unsafe { Setting::change(options, change) }
}
