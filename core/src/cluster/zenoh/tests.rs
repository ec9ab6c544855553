//! Engines that meet within this process.

mod handshakes;
mod refusals;
mod troubles;

use std::sync::{Condvar, Mutex as StdMutex};
use std::time::Duration;

use super::*;

/// Generous: a machine under load is slow, and a test that passes does not wait.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Seen {
    messages: Vec<Vec<u8>>,
    up: Vec<u128>,
    down: Vec<u128>,
    refused: Vec<String>,
    failed: Vec<String>,
}

impl Seen {
    fn has(&self, text: &str) -> bool {
        self.messages.iter().any(|message| message == text.as_bytes())
    }
}

#[derive(Default)]
pub(super) struct Inbox {
    seen: StdMutex<Seen>,
    changed: Condvar,
}

impl Inbox {
    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap());
        self.changed.notify_all();
    }

    #[track_caller]
    fn until<T>(&self, what: &str, mut found: impl FnMut(&Seen) -> Option<T>) -> T {
        let mut seen = self.seen.lock().unwrap();
        loop {
            if let Some(found) = found(&seen) {
                return found;
            }
            let (guard, waited) = self.changed.wait_timeout(seen, PATIENCE).unwrap();
            seen = guard;
            let (up, down, count) = (&seen.up, &seen.down, seen.messages.len());
            assert!(
                !waited.timed_out(),
                "waited in vain: {what}; up {up:x?}, down {down:x?}, {count} messages"
            );
        }
    }

    #[track_caller]
    fn until_up(&self, member: &Member, times: usize) {
        let count = |seen: &Seen| seen.up.iter().filter(|up| **up == member.incarnation).count();
        self.until("a link", |seen| (count(seen) >= times).then_some(()));
    }

    #[track_caller]
    fn until_down(&self, member: &Member) {
        self.until("a link's end", |seen| seen.down.contains(&member.incarnation).then_some(()));
    }

    #[track_caller]
    fn until_message(&self, text: &str) {
        self.until(text, |seen| seen.has(text).then_some(()));
    }

    fn has_within(&self, wait: Duration, text: &str) -> bool {
        let is_missing = |seen: &mut Seen| !seen.has(text);
        let seen = self.seen.lock().unwrap();
        let waited = self.changed.wait_timeout_while(seen, wait, is_missing).unwrap();
        !waited.1.timed_out()
    }

    #[track_caller]
    fn until_refused(&self) -> String {
        self.until("a refusal", |seen| seen.refused.first().cloned())
    }

    fn has_seen_nobody(&self) -> bool {
        let seen = self.seen.lock().unwrap();
        seen.up.is_empty() && seen.messages.is_empty()
    }
}

impl Inbound for Inbox {
    fn message(&self, bytes: Vec<u8>) {
        self.note(|seen| seen.messages.push(bytes));
    }

    fn link_up(&self, incarnation: u128) {
        self.note(|seen| seen.up.push(incarnation));
    }

    fn link_down(&self, incarnation: u128) {
        self.note(|seen| seen.down.push(incarnation));
    }

    fn refused(&self, what: &str) {
        self.note(|seen| seen.refused.push(what.to_owned()));
    }

    fn failed(&self, what: &str) {
        self.note(|seen| seen.failed.push(what.to_owned()));
    }
}

struct Member {
    engine: Arc<Engine>,
    inbox: Arc<Inbox>,
    incarnation: u128,
}

impl Member {
    fn dial(&self) -> Dial {
        let endpoints = self.engine.endpoints();
        Dial { member: self.incarnation, endpoints, anew: false }
    }
}

fn config(listen: &str, peers: &[String]) -> EngineConfig {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    EngineConfig {
        cluster: "test".to_owned(),
        incarnation: u128::from_le_bytes(bytes),
        listen: vec![listen.to_owned()],
        peers: peers.to_vec(),
        multicast: false,
        failure_timeout: Duration::from_millis(2_500),
        tls: None,
    }
}

fn open(config: EngineConfig) -> Member {
    let inbox = Arc::new(Inbox::default());
    let incarnation = config.incarnation;
    let engine = Engine::open(config, inbox.clone()).unwrap();
    Member { engine, inbox, incarnation }
}

fn member(peers: &[&Member]) -> Member {
    let peers: Vec<String> = peers.iter().flat_map(|peer| peer.engine.endpoints()).collect();
    open(config("127.0.0.1:0", &peers))
}

/// Both hear each other.
#[track_caller]
fn assert_linked(a: &Member, b: &Member) {
    a.inbox.until_up(b, 1);
    b.inbox.until_up(a, 1);
    for (from, to) in [(a, b), (b, a)] {
        let text = format!("from {:x}", from.incarnation);
        from.engine.broadcast(Lane::Bulk, text.clone().into_bytes());
        to.inbox.until_message(&text);
    }
}

fn numbered(number: u32, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size.max(4)];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn numbers(seen: &Seen) -> Vec<u32> {
    let number = |bytes: &Vec<u8>| u32::from_le_bytes(bytes[..4].try_into().unwrap());
    seen.messages.iter().map(number).collect()
}

#[test]
fn what_is_sent_at_once_on_a_new_link_arrives_on_both_sides() {
    for _ in 0..10 {
        let a = member(&[]);
        let b = member(&[&a]);
        let meet = |me: &Member, other: &Member| {
            me.inbox.until_up(other, 1);
            me.engine.send(other.incarnation, Lane::Control, numbered(1, 4));
            me.engine.broadcast(Lane::Bulk, numbered(2, 4));
        };
        meet(&a, &b);
        meet(&b, &a);
        for inbox in [&a.inbox, &b.inbox] {
            inbox.until("two messages", |seen| {
                let mut numbers = numbers(seen);
                numbers.sort_unstable();
                (numbers == [1, 2]).then_some(())
            });
        }
    }
}

#[test]
fn three_mesh_by_gossip_and_a_broadcast_reaches_both_others_in_order() {
    let a = member(&[]);
    let b = member(&[&a]);
    let c = member(&[&a]);
    for (me, others) in [(&a, [&b, &c]), (&b, [&a, &c]), (&c, [&a, &b])] {
        for other in others {
            me.inbox.until_up(other, 1);
        }
    }
    const COUNT: u32 = 100_000;
    for number in 0..COUNT {
        b.engine.broadcast(Lane::Bulk, numbered(number, 100));
    }
    for inbox in [&a.inbox, &c.inbox] {
        inbox.until("all", |seen| (seen.messages.len() == COUNT as usize).then_some(()));
        assert!(numbers(&inbox.seen.lock().unwrap()).into_iter().eq(0..COUNT));
    }
    assert!(b.inbox.seen.lock().unwrap().messages.is_empty());
    for number in 0..1000 {
        b.engine.send(c.incarnation, Lane::Control, numbered(number, 70_000));
    }
    c.inbox.until("unicast", |seen| (seen.messages.len() == COUNT as usize + 1000).then_some(()));
    assert!(numbers(&c.inbox.seen.lock().unwrap())[COUNT as usize..].iter().copied().eq(0..1000));
    assert_eq!(a.inbox.seen.lock().unwrap().messages.len(), COUNT as usize);
}

#[test]
fn a_member_that_leaves_is_told_and_one_that_comes_back_is_found() {
    let a = member(&[]);
    let b = member(&[&a]);
    a.inbox.until_up(&b, 1);
    b.inbox.until_up(&a, 1);
    let endpoint = a.engine.endpoints();
    a.engine.close();
    a.engine.close();
    b.inbox.until_down(&a);
    let again = open(config(&endpoint[0], &[]));
    b.inbox.until_up(&again, 1);
    again.inbox.until_up(&b, 1);
}

#[test]
fn an_incarnation_of_any_size_is_an_identity() {
    let a = open(EngineConfig { incarnation: 1, ..config("127.0.0.1:0", &[]) });
    let peers = a.engine.endpoints();
    let b = open(EngineConfig { incarnation: u128::MAX, ..config("127.0.0.1:0", &peers) });
    assert_linked(&a, &b);
    let c = open(EngineConfig { incarnation: 1 << 127, ..config("127.0.0.1:0", &peers) });
    assert_linked(&a, &c);
    c.engine.send(1, Lane::Control, b"to the first".to_vec());
    a.inbox.until_message("to the first");
}

#[test]
fn whoever_is_asked_for_is_dialled() {
    let (a, b) = (member(&[]), member(&[]));
    // What is nobody's endpoint, or is down, does no harm.
    let nobody = ["127.0.0.1:1".to_owned(), "nonsense".to_owned(), "unix:/nowhere".to_owned()];
    a.engine.connect(&Dial { member: 1, endpoints: nobody.to_vec(), anew: true });
    a.engine.connect(&a.dial());
    a.engine.connect(&b.dial());
    assert_linked(&a, &b);
    // A link that was just made stays.
    a.engine.connect(&Dial { anew: true, ..b.dial() });
    assert_linked(&a, &b);
}

#[cfg(unix)]
#[test]
fn everybody_may_be_given_the_same_peers() {
    let folder = Folder::new("same-peers");
    let peers: Vec<String> = ["a", "b", "c"].map(|name| folder.socket(name)).to_vec();
    let members: Vec<Member> = peers.iter().map(|own| open(config(own, &peers))).collect();
    for (index, a) in members.iter().enumerate() {
        for b in &members[index + 1..] {
            assert_linked(a, b);
        }
    }
    // Nor does dialling oneself count as a refusal.
    assert!(members.iter().all(|member| member.inbox.seen.lock().unwrap().refused.is_empty()));
}

#[cfg(unix)]
#[test]
fn unix_sockets_and_ports_go_together() {
    let folder = Folder::new("pair");
    let (first, second) = (folder.socket("a;b.sock"), folder.socket("c d.sock"));
    let a = open(config(&first, &[]));
    assert_eq!(a.engine.endpoints(), std::slice::from_ref(&first));
    let b = open(config(&second, &[first]));
    assert_linked(&a, &b);
    let both = EngineConfig {
        listen: vec!["127.0.0.1:0".to_owned(), folder.socket("third")],
        ..config("", &[second])
    };
    let c = open(both);
    assert_eq!(c.engine.endpoints().len(), 2);
    for other in [&a, &b] {
        assert_linked(&c, other);
    }
    let d = member(&[&c]);
    assert_linked(&c, &d);
    assert_linked(&a, &d);
}

/// A folder of its own for a test; goes with it.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("minikv-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }

    fn socket(&self, name: &str) -> String {
        format!("unix:{}", self.file(name).display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
