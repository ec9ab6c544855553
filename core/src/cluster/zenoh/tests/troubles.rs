//! Links that break or stall, and engines that are opened and closed where it is awkward.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::AtomicUsize;

use super::*;

const PASS: usize = 0;
/// Takes bytes and passes none on.
const STALL: usize = 1;
const CUT: usize = 2;
/// Who listens sees its end, who dialled does not.
const HALF: usize = 3;

/// A wire that can be cut, between who dials `endpoint` and who listens at `target`.
struct Wire {
    endpoint: String,
    mode: Arc<(StdMutex<usize>, Condvar)>,
}

impl Wire {
    fn to(target: &str) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let mode = Arc::new((StdMutex::new(PASS), Condvar::new()));
        let (target, shared) = (target.to_owned(), mode.clone());
        // Ends with the process.
        thread::Builder::new()
            .spawn(move || {
                for near in listener.incoming() {
                    let near = near.unwrap();
                    let Ok(far) = TcpStream::connect(&target) else { continue };
                    for inward in [true, false] {
                        let (near, far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                        let mode = shared.clone();
                        let body = move || carry(&near, &far, inward, &mode);
                        thread::Builder::new().spawn(body).unwrap();
                    }
                }
            })
            .unwrap();
        Wire { endpoint, mode }
    }

    fn set(&self, mode: usize) {
        *self.mode.0.lock().unwrap() = mode;
        self.mode.1.notify_all();
    }
}

fn carry(near: &TcpStream, far: &TcpStream, inward: bool, mode: &(StdMutex<usize>, Condvar)) {
    let (mut from, mut to) = if inward { (near, far) } else { (far, near) };
    // Looks at the mode now and then while nothing comes.
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut bytes = vec![0; 65_536];
    loop {
        let stalled = mode.1.wait_while(mode.0.lock().unwrap(), |mode| *mode == STALL).unwrap();
        if [CUT, HALF].contains(&*stalled) {
            break;
        }
        drop(stalled);
        match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(length) if to.write_all(&bytes[..length]).is_ok() => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => break,
        }
    }
    let _ = far.shutdown(Shutdown::Both);
    drop(mode.1.wait_while(mode.0.lock().unwrap(), |mode| *mode == HALF).unwrap());
    let _ = near.shutdown(Shutdown::Both);
}

/// The second is configured to dial the first, and does so over the wire.
fn linked_by_a_wire() -> (Member, Wire, Member) {
    let a = member(&[]);
    let wire = Wire::to(&a.engine.endpoints()[0]);
    let b = open(config("127.0.0.1:0", std::slice::from_ref(&wire.endpoint)));
    assert_linked(&a, &b);
    (a, wire, b)
}

#[test]
fn a_cut_link_is_told_on_both_sides_and_dialled_again() {
    // A configured peer comes back by itself.
    let (a, wire, b) = linked_by_a_wire();
    wire.set(CUT);
    a.inbox.until_down(&b);
    b.inbox.until_down(&a);
    wire.set(PASS);
    a.inbox.until_up(&b, 2);
    b.inbox.until_up(&a, 2);
    assert_linked(&a, &b);
    a.engine.send(b.incarnation, Lane::Control, b"again".to_vec());
    b.inbox.until_message("again");
    // One that is not is dialled where it said that it listens.
    wire.set(CUT);
    // Both: until a member knows that a link is broken, it takes no other.
    for inbox in [&a.inbox, &b.inbox] {
        inbox.until("a second end", |seen| (seen.down.len() == 2).then_some(()));
    }
    a.engine.connect(&b.dial());
    a.inbox.until_up(&b, 3);
    b.inbox.until_up(&a, 3);
    a.engine.send(b.incarnation, Lane::Control, b"anew".to_vec());
    b.inbox.until_message("anew");
}

/// One side knows that the link is broken and dials, the other takes that for a second link beside the first:
/// it declares nothing on it, and drops what comes as something it has had before.
#[test]
fn a_link_that_only_one_side_made_anew_carries_messages_in_the_end() {
    let (a, wire, b) = linked_by_a_wire();
    // So much was said that what is said on the new link seems old.
    for number in 0..10_000 {
        a.engine.send(b.incarnation, Lane::Bulk, numbered(number, 100));
        a.engine.send(b.incarnation, Lane::Control, numbered(number, 100));
    }
    b.inbox.until("all", |seen| (seen.messages.len() > 20_000).then_some(()));
    wire.set(HALF);
    a.inbox.until_down(&b);
    a.engine.connect(&b.dial());
    let rounds = 200;
    for round in 1..=rounds {
        for (from, to, text) in [(&a, &b, "from a"), (&b, &a, "from b")] {
            from.engine.send(to.incarnation, Lane::Control, text.into());
            // As the cluster's logic does for who stays silent.
            from.engine.connect(&Dial { anew: true, ..to.dial() });
        }
        let pause = Duration::from_millis(300);
        if b.inbox.has_within(pause, "from a") && a.inbox.has_within(pause, "from b") {
            break;
        }
        assert!(round < rounds, "they do not hear each other");
    }
    wire.set(CUT);
}

#[test]
fn a_member_that_takes_nothing_holds_nobody_up_for_long() {
    const COUNT: u32 = 2_000;
    const LARGE: usize = 60_000;
    let quick = |listen: &str, peers: &[String]| EngineConfig {
        failure_timeout: Duration::from_millis(1_000),
        ..config(listen, peers)
    };
    let a = open(quick("127.0.0.1:0", &[]));
    let wire = Wire::to(&a.engine.endpoints()[0]);
    let b = open(quick("127.0.0.1:0", std::slice::from_ref(&wire.endpoint)));
    let c = open(quick("127.0.0.1:0", &a.engine.endpoints()));
    assert_linked(&a, &b);
    assert_linked(&a, &c);
    wire.set(STALL);
    for number in 0..COUNT {
        a.engine.broadcast(Lane::Bulk, numbered(number, LARGE));
    }
    a.inbox.until_down(&b);
    let large = |seen: &Seen| {
        let all = numbers(seen).into_iter().zip(&seen.messages);
        all.filter(|(_, message)| message.len() == LARGE)
            .map(|(number, _)| number)
            .collect::<Vec<_>>()
    };
    let all = |seen: &Seen| Some(large(seen)).filter(|large| large.len() == COUNT as usize);
    assert!(c.inbox.until("all", all).into_iter().eq(0..COUNT));
    b.inbox.until_down(&a);
    wire.set(PASS);
    a.inbox.until_up(&b, 2);
    a.engine.send(b.incarnation, Lane::Bulk, b"there again".to_vec());
    b.inbox.until_message("there again");
}

#[test]
fn an_async_runtime_of_one_thread_can_open_and_close() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let a = member(&[]);
        let b = member(&[&a]);
        assert_linked(&a, &b);
        a.engine.connect(&b.dial());
        a.engine.close();
        b.inbox.until_down(&a);
        drop(b);
        let alone = member(&[]);
        alone.engine.close();
        alone.engine.close();
        alone.engine.broadcast(Lane::Control, vec![1]);
        alone.engine.send(1, Lane::Control, vec![1]);
        let endpoints = vec!["127.0.0.1:1".to_owned()];
        alone.engine.connect(&Dial { member: 1, endpoints, anew: true });
    });
}

/// Closes its engine when a message or a link comes.
#[derive(Default)]
struct Quitter {
    engine: StdMutex<Option<Arc<Engine>>>,
    calls: AtomicUsize,
    inbox: Inbox,
}

impl Quitter {
    fn quit(&self) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        // Closed, then dropped, both in here.
        if let Some(engine) = self.engine.lock().unwrap().take() {
            engine.close();
        }
    }
}

impl Inbound for Quitter {
    fn message(&self, bytes: Vec<u8>) {
        self.inbox.message(bytes);
        self.quit();
    }

    fn link_up(&self, incarnation: u128) {
        self.inbox.link_up(incarnation);
    }

    fn link_down(&self, _incarnation: u128) {}

    fn refused(&self, _what: &str) {}

    fn failed(&self, _what: &str) {}
}

#[test]
fn an_engine_can_be_closed_and_dropped_where_it_calls() {
    let a = member(&[]);
    let quitter = Arc::new(Quitter::default());
    let config = config("127.0.0.1:0", &a.engine.endpoints());
    let incarnation = config.incarnation;
    let engine = Engine::open(config, quitter.clone()).unwrap();
    *quitter.engine.lock().unwrap() = Some(engine);
    a.inbox.until("a link", |seen| seen.up.contains(&incarnation).then_some(()));
    quitter.inbox.until_up(&a, 1);
    a.engine.broadcast(Lane::Bulk, b"go".to_vec());
    a.inbox.until("its end", |seen| seen.down.contains(&incarnation).then_some(()));
    assert_eq!(quitter.calls.load(Ordering::SeqCst), 1);
}

#[test]
fn nothing_is_heard_after_the_close() {
    let a = member(&[]);
    let b = member(&[&a]);
    assert_linked(&a, &b);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                b.engine.broadcast(Lane::Bulk, vec![7; 1000]);
            }
        });
        let heard = || a.inbox.seen.lock().unwrap().messages.len();
        a.inbox.until("some", |seen| (seen.messages.len() > 1000).then_some(()));
        a.engine.close();
        let after = heard();
        b.inbox.until_down(&a);
        stop.store(true, Ordering::SeqCst);
        assert_eq!(heard(), after);
    });
}

#[test]
fn what_is_closed_holds_nothing() {
    let inbox = Arc::new(Inbox::default());
    let a = member(&[]);
    for _ in 0..20 {
        let config = config("127.0.0.1:0", &a.engine.endpoints());
        let incarnation = config.incarnation;
        let engine = Engine::open(config, inbox.clone()).unwrap();
        a.inbox.until("a link", |seen| seen.up.contains(&incarnation).then_some(()));
        engine.close();
        drop(engine);
        a.inbox.until("its end", |seen| seen.down.contains(&incarnation).then_some(()));
    }
    // What its tasks still hold goes when they notice.
    let mut inner = Some(inbox);
    a.inbox.until("the last holder", |_| {
        a.inbox.changed.notify_all();
        let inbox = inner.take()?;
        match Arc::try_unwrap(inbox) {
            Ok(_) => Some(()),
            Err(held) => {
                inner = Some(held);
                None
            }
        }
    });
}

#[cfg(unix)]
#[test]
#[allow(unsafe_code)]
fn a_forked_child_leaves_it_alone() {
    let a = member(&[]);
    let b = member(&[&a]);
    assert_linked(&a, &b);
    // SAFETY: the child calls only what is under test, whose promise to work there is what is tested,
    // then leaves by _exit. The parent waits for it.
    let status = unsafe {
        let child = libc::fork();
        assert!(child >= 0);
        if child == 0 {
            // A hang ends here, as a failure.
            libc::alarm(30);
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                a.engine.broadcast(Lane::Bulk, vec![1]);
                a.engine.send(b.incarnation, Lane::Bulk, vec![1]);
                a.engine.connect(&b.dial());
                a.engine.close();
                drop(b);
                let error = match Engine::open(config("127.0.0.1:0", &[]), a.inbox.clone()) {
                    Ok(_) => panic!("it started"),
                    Err(error) => error,
                };
                assert_eq!(error.kind(), ErrorKind::Forked);
            }));
            libc::_exit(i32::from(done.is_err()));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        status
    };
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
    a.engine.send(b.incarnation, Lane::Bulk, b"still here".to_vec());
    b.inbox.until_message("still here");
}
