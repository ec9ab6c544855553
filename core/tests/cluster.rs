//! Members in one process over loopback, with the real engine.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]
#![cfg(feature = "cluster")]

use std::time::Duration;

use minikv::{LockOptions, MemberState, Options, PutOptions, Registry, WriteOptions};

mod members;
use members::{LONG, live, tls, until};

fn options(cluster: &str, node: &str, peers: &[&Registry]) -> Options {
    let peers = peers.iter().flat_map(|peer| peer.endpoints().unwrap());
    let options = Options::unnamed().node(node).cluster(cluster).peers(peers);
    options.failure_timeout(Duration::from_millis(1000))
}

fn start(options: Options) -> Registry {
    let kv = Registry::start(options).unwrap();
    kv.wait_synced(LONG).unwrap();
    kv
}

fn member(cluster: &str, node: &str, peers: &[&Registry]) -> Registry {
    start(options(cluster, node, peers))
}

#[test]
fn what_one_puts_the_other_has() {
    let a = member("basics", "a", &[]);
    for n in 0..1000 {
        a.put(format!("early:{n}"), n).unwrap();
    }
    let b = member("basics", "b", &[&a]);
    assert_eq!(b.count("early:").unwrap(), 1000, "a synced member has what was there");
    b.put("k", "from b").unwrap();
    until("a has it", || a.get("k").unwrap().is_some());
    let entry = a.get("k").unwrap().unwrap();
    assert_eq!((entry.as_str(), entry.node()), (Some("from b"), "b"));
    a.delete("k").unwrap();
    until("b has lost it", || b.get("k").unwrap().is_none());
    until("both know both", || live(&a) == 2);
    until("equal digests", || a.digest().unwrap() == b.digest().unwrap());
    b.put_with("mine", 1, PutOptions::new()).unwrap();
    until("a has it", || a.get("mine").unwrap().is_some());
    b.stop();
    until("b's entries pass to a", || a.get("mine").unwrap().unwrap().node() == "a");
}

#[test]
fn a_lock_is_one_members_at_a_time() {
    let a = member("locks", "a", &[]);
    let b = member("locks", "b", &[&a]);
    a.put("k", 1).unwrap();
    until("b has it", || b.get("k").unwrap().is_some());
    let held = b.lock("k").unwrap().unwrap();
    assert!(held.is_locked());
    let refused = a.lock("k").unwrap_err();
    assert_eq!(refused.kind(), minikv::ErrorKind::Locked);
    until("a sees the lock", || a.get("k").unwrap().unwrap().is_locked());
    assert_eq!(a.put("k", 2).unwrap_err().kind(), minikv::ErrorKind::Locked);
    let waiting = a.lock_start("k", LockOptions::new().wait(LONG)).unwrap();
    b.unlock_with("k", WriteOptions::new()).unwrap();
    let entry = waiting.block().unwrap().unwrap();
    assert!(entry.fence() > held.fence());
}

#[test]
fn a_sync_under_the_name_of_a_live_member_fails() {
    let a = member("namesakes", "same", &[]);
    // Who is stopped does not tell where it was.
    let peers = a.endpoints().unwrap();
    let options = || {
        let options = Options::unnamed().node("same").cluster("namesakes");
        options.peers(&peers).failure_timeout(Duration::from_millis(2000))
    };
    assert_eq!(Registry::start(options()).unwrap_err().kind(), minikv::ErrorKind::Cluster);
    let b = Registry::start_now(options()).unwrap();
    let refused = b.wait_synced(LONG).unwrap_err();
    assert_eq!(refused.kind(), minikv::ErrorKind::Cluster);
    a.stop();
    let c = Registry::start_now(options().peers(b.endpoints().unwrap())).unwrap();
    b.stop();
    c.wait_synced(LONG).unwrap();
}

#[test]
fn whoever_has_the_lock_sees_what_was_put_under_the_one_before() {
    const EACH: i64 = 300;
    let a = member("counting", "a", &[]);
    let b = member("counting", "b", &[&a]);
    let c = member("counting", "c", &[&a, &b]);
    a.put("n", 0).unwrap();
    until("all have it", || b.get("n").unwrap().is_some() && c.get("n").unwrap().is_some());
    std::thread::scope(|scope| {
        for kv in [&a, &b, &c] {
            scope.spawn(move || {
                for _ in 0..EACH {
                    let entry = kv.lock_with("n", LockOptions::new().wait(LONG)).unwrap().unwrap();
                    kv.put("n", entry.as_int().unwrap() + 1).unwrap();
                    kv.unlock("n").unwrap();
                }
            });
        }
    });
    for kv in [&a, &b, &c] {
        until("none is lost", || kv.get("n").unwrap().unwrap().as_int() == Some(3 * EACH));
    }
}

#[test]
fn members_with_tls_meet_talk_all_at_once_and_leave() {
    const EACH: usize = 3000;
    // Patient: a member that is held up for a moment is not to be taken for one that is gone, and counted.
    let secured = |node: &str, peers: &[&Registry]| {
        let options = options("secured", node, peers).tls(tls("ca", "member"));
        start(options.failure_timeout(Duration::from_secs(5)))
    };
    let a = secured("a", &[]);
    let b = secured("b", &[&a]);
    // Of `b` it hears from `a`.
    let c = secured("c", &[&a]);
    until("all know all", || [&a, &b, &c].iter().all(|kv| live(kv) == 3));
    std::thread::scope(|scope| {
        for (name, kv) in [("a", &a), ("b", &b), ("c", &c)] {
            scope.spawn(move || {
                for n in 0..EACH {
                    kv.put(format!("{name}:{n}"), vec![7_u8; n % 2000]).unwrap();
                }
            });
        }
    });
    until("all have all", || [&a, &b, &c].iter().all(|kv| kv.count("").unwrap() == 3 * EACH));
    until("equal digests", || a.digest().unwrap() == b.digest().unwrap());
    assert!([&a, &b, &c].iter().all(|kv| kv.stats().unwrap().refused == 0));
    let large = vec![7_u8; 1 << 20];
    b.put("large", large.clone()).unwrap();
    until("a has it", || a.get("large").unwrap().is_some());
    assert_eq!(a.get("large").unwrap().unwrap().as_bytes(), Some(&*large));
    // What is said last arrives, too: they have left, nobody had to miss them.
    let has_left = |kv: &Registry, node: &str| {
        let members = kv.members().unwrap();
        members.iter().any(|member| member.node == node && member.state == MemberState::Left)
    };
    c.stop();
    until("it has left", || has_left(&a, "c") && has_left(&b, "c"));
    b.stop();
    until("both have left", || has_left(&a, "b"));
}

#[test]
fn once_a_member_has_stopped_its_port_is_free() {
    let secured = |listen: &str| {
        let options = Options::unnamed().node("a").cluster("ports").listen(listen);
        Registry::start_now(options.tls(tls("ca", "member"))).unwrap()
    };
    let first = secured("127.0.0.1:0");
    let port = first.endpoints().unwrap().remove(0);
    first.stop();
    for _ in 0..100 {
        let again = secured(&port);
        assert_eq!(again.endpoints().unwrap(), [port.as_str()]);
        again.stop();
    }
}
