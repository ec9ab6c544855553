//! The engine's settings.

use std::time::Duration;

use ::zenoh::config::Config;

use super::EngineConfig;
use crate::error::{Error, ErrorKind, Result};

/// The largest message taken. Larger values than this holds are refused when they are put.
const MAX_MESSAGE_BYTES: u32 = 64 << 20;
/// How long a sender waits at most for a member that takes nothing, before its link is closed.
const MAX_BLOCKED: Duration = Duration::from_millis(500);

/// The engine's settings, as JSON texts by their path.
pub(super) fn settings(
    config: &EngineConfig,
    listen: &[String],
    handshake: Duration,
) -> Result<Config> {
    let failure_ms = config.failure_timeout.as_millis();
    let blocked = MAX_BLOCKED.min(config.failure_timeout / 4).as_micros();
    let handshake_ms = handshake.as_millis();
    // What gossip and discovery tell of are the engine's own links: with TLS, nothing goes out over these.
    let (found, protocols) = match config.tls {
        None => (list(&["peer"]), list(&["tcp", "unixsock-stream"])),
        Some(_) => ("[]".to_owned(), list(&["unixsock-stream"])),
    };
    let settings: Vec<(&str, String)> = vec![
        ("id", text(&format!("{:x}", config.incarnation))),
        ("mode", text("peer")),
        ("listen/endpoints", list(listen)),
        ("listen/timeout_ms", "0".to_owned()),
        ("listen/exit_on_failure", "true".to_owned()),
        // One dial at a time and no error: dialling again is done here, where it is known who is linked.
        ("connect/endpoints", "[]".to_owned()),
        ("connect/timeout_ms", "0".to_owned()),
        ("connect/exit_on_failure", "false".to_owned()),
        ("open/return_conditions/connect_scouted", "false".to_owned()),
        ("scouting/multicast/enabled", config.multicast.to_string()),
        ("scouting/multicast/autoconnect", found.clone()),
        ("scouting/gossip/enabled", "true".to_owned()),
        ("scouting/gossip/autoconnect", found),
        ("adminspace/enabled", "false".to_owned()),
        ("timestamping/enabled", "false".to_owned()),
        ("transport/unicast/open_timeout", handshake_ms.to_string()),
        ("transport/unicast/accept_timeout", handshake_ms.to_string()),
        ("transport/link/tx/lease", failure_ms.to_string()),
        ("transport/link/tx/queue/congestion_control/block/wait_before_close", blocked.to_string()),
        ("transport/link/rx/max_message_size", MAX_MESSAGE_BYTES.to_string()),
        ("transport/link/protocols", protocols),
    ];
    let mut made = Config::default();
    for (path, value) in settings {
        // Names the path only: a value may be a private key.
        made.insert_json5(path, &value).map_err(|_| {
            Error::new(ErrorKind::Internal, format!("the engine does not take its setting {path}"))
        })?;
    }
    Ok(made)
}

/// A JSON text. Not as Rust shows one, which escapes more than JSON knows.
fn text(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

pub(super) fn list(values: &[impl AsRef<str>]) -> String {
    let texts: Vec<String> = values.iter().map(|value| text(value.as_ref())).collect();
    format!("[{}]", texts.join(","))
}
