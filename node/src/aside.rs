//! What may wait for other members of a cluster, on threads of its own: the event loop never waits.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

use minikv::{Error, ErrorKind, Registry};

use crate::bridge::Bridge;

/// A registry as this binding holds it. The end of the last handle stops a registry, and one in a cluster takes its
/// leave of the others then: so that happens aside.
pub struct Kv {
    kv: Registry,
    // Dropped after the field above, so no other handle of this binding's is left then.
    last: Last,
}

/// One more handle of a member of a cluster, none of any other registry.
struct Last(Option<Registry>);

impl Kv {
    pub fn new(kv: Registry) -> Kv {
        let in_cluster = kv.options().get_cluster().is_some();
        Kv { last: Last(in_cluster.then(|| kv.clone())), kv }
    }

    pub fn in_cluster(&self) -> bool {
        self.last.0.is_some()
    }
}

impl Deref for Kv {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        &self.kv
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        if let Some(kv) = self.0.take() {
            // Without a thread the closure is dropped, and the handle with it, here.
            let _ = named("minikv-leave").spawn(move || drop(kv));
        }
    }
}

fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.to_owned())
}

/// What runs on a thread of its own, and its result.
pub struct Job<T>(Receiver<T>);

impl<T: Send + 'static> Job<T> {
    /// Starts `work`; the event loop is told of `id` when it is over. A job that nobody has any more goes on, and
    /// its result is dropped where it ran.
    pub fn start(
        bridge: Arc<Bridge>,
        id: u64,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Job<T>, Error> {
        let (sender, receiver) = sync_channel(1);
        let tell = Tell(bridge, id);
        let body = move || {
            // Last of all, also when the work panics: then nothing is sent.
            let _tell = tell;
            let sender = sender;
            // Nobody there any more: the result is dropped here.
            let _ = sender.send(work());
        };
        named(name).spawn(body).map_err(|error| {
            Error::new(ErrorKind::Io, format!("no thread can be started: {error}"))
        })?;
        Ok(Job(receiver))
    }

    /// The result if it is there; it is given once.
    pub fn try_take(&self) -> Option<Result<T, Error>> {
        match self.0.try_recv() {
            Ok(result) => Some(Ok(result)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                Some(Err(Error::new(ErrorKind::Internal, "what was waited for has panicked")))
            }
        }
    }
}

struct Tell(Arc<Bridge>, u64);

impl Drop for Tell {
    fn drop(&mut self) {
        self.0.push(self.1);
    }
}
