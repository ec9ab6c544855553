//! The futures and streams, under an executor that is no more than a thread that parks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs
)]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use futures_core::Stream;
use minikv::{
    ClockKind, ErrorKind, Event, EventKind, LockGuard, LockOptions, Options, Registry, Result,
    Watch, WatchOptions, WriteOptions,
};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        thread::park();
    }
}

/// Counts its wakes, to poll by hand with.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn poll<F: Future + ?Sized>(self: &Arc<Wakes>, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&Waker::from(self.clone())))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn start() -> Registry {
    let kv = Registry::start(Options::unnamed().clock(ClockKind::Manual)).unwrap();
    kv.put("k", 0).unwrap();
    kv
}

fn waiting() -> LockOptions {
    LockOptions::new().wait(Duration::MAX)
}

type Pending<T> = Pin<Box<dyn Future<Output = Result<T>>>>;

fn guard(kv: &Registry, options: LockOptions) -> Pending<LockGuard> {
    let kv = kv.clone();
    Box::pin(async move { kv.locked_async("k", options).await })
}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn a_free_lock_is_ready_at_once() {
    let kv = start();
    let entry = block_on(is_send(kv.lock_async("k", LockOptions::new()))).unwrap().unwrap();
    assert!(entry.is_locked());
    assert_eq!(block_on(kv.lock_async("absent", waiting())).unwrap(), None);
    let refused = block_on(kv.lock_async("k", LockOptions::new().owner("b"))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Locked);
    let refused = block_on(kv.locked_async("absent", waiting())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    let refused = block_on(kv.lock_async("", waiting())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidKey);
}

#[test]
fn futures_are_served_in_the_order_of_their_first_poll() {
    let kv = start();
    let wakes: Vec<Arc<Wakes>> = (0..3).map(|_| Arc::default()).collect();
    let mut futures: Vec<_> = (0..3).map(|_| guard(&kv, waiting())).collect();
    let held = kv.locked("k", LockOptions::new()).unwrap();
    let order = [2, 0, 1];
    for at in order {
        assert!(wakes[at].poll(futures[at].as_mut()).is_pending());
    }
    let mut before = held;
    for at in order {
        let asleep: Vec<usize> = wakes.iter().map(|wakes| wakes.count()).collect();
        before.release().unwrap();
        for (other, wakes) in wakes.iter().enumerate() {
            let woken = usize::from(other == at);
            assert_eq!(wakes.count(), asleep[other] + woken, "only the next one is woken");
        }
        let Poll::Ready(Ok(guard)) = wakes[at].poll(futures[at].as_mut()) else {
            panic!("the next one has the lock")
        };
        assert!(guard.fence() > before.fence());
        before = guard;
    }
}

#[test]
fn a_dropped_future_leaves_the_queue_or_gives_the_lock_back() {
    let kv = start();
    let wakes = Arc::new(Wakes::default());
    let held = kv.locked("k", LockOptions::new()).unwrap();
    let mut first = guard(&kv, waiting());
    let mut second = guard(&kv, waiting());
    let mut third = guard(&kv, waiting());
    for future in [&mut first, &mut second, &mut third] {
        assert!(wakes.poll(future.as_mut()).is_pending());
    }
    assert_eq!(kv.stats().unwrap().waiters, 3);
    drop(first);
    assert_eq!(kv.stats().unwrap().waiters, 2);
    held.release().unwrap();
    // Granted to the second, which has not been polled since.
    drop(second);
    assert!(matches!(wakes.poll(third.as_mut()), Poll::Ready(Ok(_))));
    let stats = kv.stats().unwrap();
    assert_eq!((stats.waiters, stats.locks), (0, 0));
}

#[test]
fn what_a_dropped_future_created_for_its_lock_goes_with_it() {
    let kv = start();
    drop(kv.locked_start("absent", LockOptions::new().create(true)).unwrap());
    assert_eq!(kv.get("absent").unwrap(), None);
    // A value that somebody meant to put stays.
    let put = LockOptions::new().put(1, Default::default()).unwrap();
    drop(kv.lock_start("absent", put).unwrap());
    let entry = kv.get("absent").unwrap().unwrap();
    assert_eq!((entry.as_int(), entry.is_locked()), (Some(1), false));
}

#[test]
fn the_newest_waker_is_woken() {
    let kv = start();
    let (old, new) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
    let held = kv.locked("k", LockOptions::new()).unwrap();
    let mut future = guard(&kv, waiting());
    assert!(old.poll(future.as_mut()).is_pending());
    assert!(new.poll(future.as_mut()).is_pending());
    drop(held);
    assert_eq!((old.count(), new.count()), (0, 1));
}

#[test]
fn a_wait_ends_with_its_time_and_with_the_registry() {
    let kv = start();
    let _held = kv.locked("k", LockOptions::new()).unwrap();
    let wakes = Arc::new(Wakes::default());
    let mut limited = guard(&kv, LockOptions::new().wait(Duration::from_millis(5)));
    let mut endless = guard(&kv, waiting());
    assert!(wakes.poll(limited.as_mut()).is_pending());
    assert!(wakes.poll(endless.as_mut()).is_pending());
    kv.advance(Duration::from_millis(5)).unwrap();
    assert_eq!(wakes.count(), 1);
    let Poll::Ready(Err(error)) = wakes.poll(limited.as_mut()) else { panic!("its time is over") };
    assert!(error.kind() == ErrorKind::Locked && error.is_lock_timeout());
    kv.stop();
    let Poll::Ready(Err(error)) = wakes.poll(endless.as_mut()) else { panic!("it has ended") };
    assert_eq!(error.kind(), ErrorKind::Stopped);
}

#[test]
fn tasks_on_several_threads_never_hold_together() {
    let kv = Registry::start(Options::unnamed()).unwrap();
    kv.put("k", 0).unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let kv = kv.clone();
            thread::spawn(move || {
                block_on(async {
                    for _ in 0..200 {
                        let held = kv.locked_async("k", waiting()).await.unwrap();
                        let seen = held.get().unwrap().unwrap().as_int().unwrap();
                        held.put(seen + 1).unwrap();
                        held.release().unwrap();
                    }
                });
            })
        })
        .collect();
    for task in tasks {
        task.join().unwrap();
    }
    assert_eq!(kv.get("k").unwrap().unwrap().as_int(), Some(800));
}

fn next(watch: &mut Watch) -> Option<Event> {
    let mut watch = Pin::new(watch);
    block_on(std::future::poll_fn(|cx| watch.as_mut().poll_next(cx)))
}

#[test]
fn a_watch_is_a_stream_that_ends_with_the_registry() {
    let kv = Registry::start(Options::unnamed()).unwrap();
    kv.put("before", 1).unwrap();
    let mut watch = is_send(kv.watch_with(WatchOptions::new().initial(true)).unwrap());
    let reader = thread::spawn(move || {
        let mut seen = Vec::new();
        while let Some(event) = next(&mut watch) {
            seen.push((event.kind(), event.key().unwrap().to_string()));
        }
        // It stays at its end.
        assert_eq!(next(&mut watch), None);
        seen
    });
    for n in 0..100 {
        kv.put("k", n).unwrap();
    }
    kv.delete_with("k", WriteOptions::new()).unwrap();
    kv.stop();
    let seen = reader.join().unwrap();
    let kinds = |key: &str| -> Vec<EventKind> {
        seen.iter().filter(|(_, found)| found == key).map(|(kind, _)| *kind).collect()
    };
    assert_eq!(kinds("before"), [EventKind::Put]);
    assert_eq!(kinds("k"), [vec![EventKind::Put; 100], vec![EventKind::Delete]].concat());
}

#[test]
fn a_stream_that_was_polled_is_woken_by_every_later_event_until_it_is_dropped() {
    let kv = start();
    let mut watch = kv.watch("").unwrap();
    let wakes = Arc::new(Wakes::default());
    let mut poll = || {
        let waker = Waker::from(wakes.clone());
        Pin::new(&mut watch).poll_next(&mut Context::from_waker(&waker))
    };
    assert!(poll().is_pending());
    kv.put("k", 1).unwrap();
    assert!(wakes.count() > 0);
    assert!(matches!(poll(), Poll::Ready(Some(event)) if event.kind() == EventKind::Put));
    assert!(poll().is_pending());
    drop(watch);
    let dropped_at = wakes.count();
    kv.put("k", 2).unwrap();
    assert_eq!(wakes.count(), dropped_at);
    assert_eq!(Arc::strong_count(&wakes), 1, "no waker is kept");
}
