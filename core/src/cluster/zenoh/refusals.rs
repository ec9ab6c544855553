//! Connections that the engine turns away before there is a link: it tells of them in its log and nowhere else. (Not
//! those that fail at TLS, which the engine does not see.)

use std::fmt::{self, Write};
use std::sync::{LazyLock, Weak};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::set_global_default;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::in_callback;
use crate::cluster::link::Inbound;
use crate::cluster::log;
use crate::sync::Mutex;

/// Where the engine's texts come from, and at which level.
const OPENING: (&str, Level) = ("zenoh_transport::unicast::establishment::accept", Level::DEBUG);
const TOO_LATE: (&str, Level) = ("zenoh_transport::unicast::manager", Level::DEBUG);

/// The members of this process: what the engine tells names none of them.
static MEMBERS: LazyLock<Mutex<Vec<Weak<dyn Inbound>>>> = LazyLock::new(Mutex::default);

/// From now on it hears of what is turned away, if this process counts that.
pub(super) fn tell(inbound: Weak<dyn Inbound>) {
    let mut members = MEMBERS.lock();
    members.retain(|member| member.strong_count() > 0);
    members.push(inbound);
}

/// Counts connections that are turned away because they do not speak the members' protocol in
/// [`Stats::refused`](crate::Stats::refused) and says why in the log, once for each reason. (Those that fail at TLS
/// are always counted.)
///
/// The engine tells of these through [`tracing`] only, so this becomes the process's subscriber; a program that has
/// one, or wants to set one later, adds [`refusals_layer`] to it instead. All members of the process count what one
/// of them turns away. The libraries for other languages do this by themselves.
///
/// Returns whether they are counted: `false` if the process has another subscriber already.
///
/// ```
/// # #[cfg(feature = "cluster")]
/// # {
/// assert!(minikv::count_refusals());
/// # }
/// ```
pub fn count_refusals() -> bool {
    log::is_ours() || {
        let set = set_global_default(tracing_subscriber::registry().with(refusals_layer())).is_ok();
        if set {
            log::set_ours();
        }
        // Another thread may have been first.
        set || log::is_ours()
    }
}

/// What [`count_refusals`] does, for a program that has a subscriber of its own.
///
/// ```
/// # #[cfg(feature = "cluster")]
/// # {
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let subscriber = tracing_subscriber::registry().with(minikv::refusals_layer());
/// # let _ = subscriber;
/// # }
/// ```
pub fn refusals_layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    Refusals.with_filter(filter_fn(may_be_refusal).with_max_level_hint(LevelFilter::DEBUG))
}

struct Refusals;

impl<S: Subscriber> Layer<S> for Refusals {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said(String::new());
        event.record(&mut said);
        if let Some(what) = refusal(event.metadata(), &said.0) {
            let members: Vec<_> = MEMBERS.lock().iter().filter_map(Weak::upgrade).collect();
            in_callback(|| members.iter().for_each(|member| member.refused(&what)));
        }
    }
}

fn may_be_refusal(metadata: &Metadata<'_>) -> bool {
    [OPENING, TOO_LATE].contains(&(metadata.target(), *metadata.level()))
}

/// What to say of it, if it is one. No addresses: each reason is said once.
fn refusal(metadata: &Metadata<'_>, text: &str) -> Option<String> {
    let reason = if metadata.target() == OPENING.0 {
        // Two members that dial each other at the same moment need one link only.
        let is_link = text.starts_with("New transport link") || text.contains("MAX_LINKS");
        (!is_link).then_some("it does not speak the members' protocol")?
    } else {
        text.starts_with("Failed to accept link").then_some("it said nothing for too long")?
    };
    Some(turned_away(reason))
}

pub(super) fn turned_away(why: &str) -> String {
    format!("a connection was turned away: {why}")
}

/// The message of an event.
struct Said(String);

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}
