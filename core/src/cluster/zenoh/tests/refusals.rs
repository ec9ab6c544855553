//! Who must not get in, and what cannot start.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;

const CERTIFICATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates");

pub(super) fn path(file: &str) -> String {
    format!("{CERTIFICATES}/{file}")
}

fn tls(ca: &str, name: &str) -> Option<Tls> {
    let [ca, cert, key] = [ca, name, name];
    Some(Tls::new(
        path(&format!("{ca}.pem")),
        path(&format!("{cert}.pem")),
        path(&format!("{key}.key")),
    ))
}

pub(super) fn secured(peers: &[String]) -> EngineConfig {
    EngineConfig { tls: tls("ca", "member"), ..config("127.0.0.1:0", peers) }
}

#[track_caller]
fn refused_start(config: EngineConfig) -> Error {
    match Engine::open(config, Arc::new(Inbox::default())) {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

#[test]
fn members_with_certificates_of_one_authority_meet() {
    let a = open(secured(&[]));
    let b = open(secured(&a.engine.endpoints()));
    assert_linked(&a, &b);
    // By name, and when asked.
    let port = a.engine.endpoints()[0].rsplit_once(':').unwrap().1.to_owned();
    let c = open(secured(&[format!("localhost:{port}")]));
    assert_linked(&a, &c);
    b.engine.connect(&c.dial());
    assert_linked(&b, &c);
    let large = vec![7; 1 << 20];
    a.engine.send(c.incarnation, Lane::Bulk, large.clone());
    c.inbox.until("a large one", |seen| seen.messages.contains(&large).then_some(()));
}

#[test]
fn certificates_may_name_ipv6_addresses() {
    // Not every machine has such addresses.
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let a = open(EngineConfig { tls: tls("ca", "member"), ..config("[::1]:0", &[]) });
    let b =
        open(EngineConfig { listen: vec!["[::1]:0".to_owned()], ..secured(&a.engine.endpoints()) });
    assert_linked(&a, &b);
}

/// `outsider` dials `a` in vain, who goes on with the others.
#[track_caller]
fn assert_shut_out(a: &Member, outsider: EngineConfig) {
    let outsider = open(EngineConfig { peers: a.engine.endpoints(), ..outsider });
    let why = outsider.inbox.until_refused();
    assert!(why.starts_with(&a.engine.endpoints()[0]), "{why}");
    assert!(outsider.inbox.has_seen_nobody());
    outsider.engine.broadcast(Lane::Bulk, b"from outside".to_vec());
    let late = open(secured(&a.engine.endpoints()));
    assert_linked(a, &late);
    let seen = a.inbox.seen.lock().unwrap();
    assert!(!seen.up.contains(&outsider.incarnation));
    assert!(!seen.messages.contains(&b"from outside".to_vec()));
}

#[test]
fn without_a_certificate_nobody_gets_in() {
    assert_shut_out(&open(secured(&[])), config("127.0.0.1:0", &[]));
}

#[test]
fn without_tls_the_way_through_a_socket_leads_nowhere() {
    let folder = Folder::new("shut-out");
    let own = folder.socket("own");
    let listen = vec!["127.0.0.1:0".to_owned(), own.clone()];
    let a = open(EngineConfig { listen, ..secured(&[]) });
    // Where the engine takes what has come through TLS: discovery on the same machine may find it.
    let inner = a.engine.shared.tunnels.as_ref().unwrap().inner().next().unwrap().to_string();
    for socket in [own.clone(), inner] {
        let outsider = open(config("127.0.0.1:0", &[socket]));
        assert!(outsider.inbox.until_refused().contains("another cluster"));
        a.inbox.until_refused();
        a.inbox.note(|seen| seen.refused.clear());
        outsider.engine.broadcast(Lane::Bulk, b"from outside".to_vec());
        outsider.engine.send(a.incarnation, Lane::Bulk, b"from outside".to_vec());
        let b = open(secured(std::slice::from_ref(&own)));
        assert_linked(&a, &b);
        assert!(outsider.inbox.has_seen_nobody());
        let seen = a.inbox.seen.lock().unwrap();
        assert!(!seen.up.contains(&outsider.incarnation));
        assert!(!seen.messages.contains(&b"from outside".to_vec()));
    }
}

#[test]
fn whoever_knows_another_authority_besides_is_no_stranger() {
    let folder = Folder::new("two-authorities");
    let both = folder.file("both.pem").display().to_string();
    let authorities = ["ca.pem", "other.pem"].map(|ca| std::fs::read_to_string(path(ca)).unwrap());
    std::fs::write(&both, authorities.concat()).unwrap();
    let knows_both = |name: &str| {
        let tls = Tls::new(&both, path(&format!("{name}.pem")), path(&format!("{name}.key")));
        EngineConfig { tls: Some(tls), ..config("127.0.0.1:0", &[]) }
    };
    let a = open(knows_both("member"));
    // How an authority is replaced, one member after the other.
    for other in [secured(&[]), knows_both("stranger")] {
        let other = open(EngineConfig { peers: a.engine.endpoints(), ..other });
        assert_linked(&a, &other);
    }
}

#[test]
fn a_certificate_of_another_authority_does_not_get_in() {
    let outsider = EngineConfig { tls: tls("other", "stranger"), ..config("127.0.0.1:0", &[]) };
    assert_shut_out(&open(secured(&[])), outsider);
}

#[test]
fn with_tls_nothing_is_said_to_who_has_none() {
    let plain = open(config("127.0.0.1:0", &[]));
    // Nothing comes back, so each dial takes its full time.
    let secured = open(EngineConfig {
        failure_timeout: Duration::from_millis(500),
        ..secured(&plain.engine.endpoints())
    });
    secured.inbox.until_refused();
    assert!(secured.inbox.has_seen_nobody() && plain.inbox.has_seen_nobody());
}

#[test]
fn who_is_dialled_must_bear_the_name() {
    let elsewhere = EngineConfig { tls: tls("ca", "elsewhere"), ..config("127.0.0.1:0", &[]) };
    let elsewhere = open(elsewhere);
    let dialler = open(secured(&elsewhere.engine.endpoints()));
    dialler.inbox.until_refused();
    assert!(dialler.inbox.has_seen_nobody());
    // It is a member: what it dials itself takes it.
    elsewhere.engine.connect(&dialler.dial());
    assert_linked(&elsewhere, &dialler);
}

#[test]
fn wrong_files_are_named() {
    let folder = Folder::new("wrong-files");
    let nonsense = folder.file("nonsense.pem").display().to_string();
    std::fs::write(&nonsense, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    let empty = folder.file("empty.pem").display().to_string();
    std::fs::write(&empty, "").unwrap();
    let (ca, cert, key) = (path("ca.pem"), path("member.pem"), path("member.key"));
    let nowhere = folder.file("nowhere.pem").display().to_string();
    let cases = [
        (Tls::new(&nowhere, &cert, &key), ErrorKind::Io, ["tls.ca", &nowhere]),
        (Tls::new(&ca, &nowhere, &key), ErrorKind::Io, ["tls.cert", &nowhere]),
        (Tls::new(&ca, &cert, &nowhere), ErrorKind::Io, ["tls.key", &nowhere]),
        (Tls::new(&nonsense, &cert, &key), ErrorKind::InvalidArgument, ["tls.ca", &nonsense]),
        (Tls::new(&ca, &nonsense, &key), ErrorKind::InvalidArgument, ["tls.cert", &nonsense]),
        (Tls::new(&ca, &cert, &nonsense), ErrorKind::InvalidArgument, ["tls.key", &nonsense]),
        (Tls::new(&ca, &cert, &empty), ErrorKind::InvalidArgument, ["tls.key", &empty]),
        (Tls::new(&empty, &cert, &key), ErrorKind::InvalidArgument, ["tls.ca", &empty]),
        // The key of another, a certificate of another authority, and one that is over.
        (
            Tls::new(&ca, &cert, path("stranger.key")),
            ErrorKind::InvalidArgument,
            ["tls.key", &path("stranger.key")],
        ),
        (
            Tls::new(&ca, path("stranger.pem"), path("stranger.key")),
            ErrorKind::InvalidArgument,
            ["tls.cert", &path("stranger.pem")],
        ),
        (
            Tls::new(&ca, path("expired.pem"), path("expired.key")),
            ErrorKind::InvalidArgument,
            ["xpired", &path("expired.pem")],
        ),
    ];
    for (tls, kind, parts) in cases {
        let error = refused_start(EngineConfig { tls: Some(tls), ..config("127.0.0.1:0", &[]) });
        assert_eq!(error.kind(), kind, "{error}");
        assert!(parts.iter().all(|part| error.message().contains(part)), "{error}");
    }
}

#[test]
fn clusters_do_not_mix() {
    let a = member(&[]);
    let other = EngineConfig {
        cluster: "another".to_owned(),
        ..config("127.0.0.1:0", &a.engine.endpoints())
    };
    let other = open(other);
    for inbox in [&a.inbox, &other.inbox] {
        assert!(inbox.until_refused().contains("another cluster"));
    }
    let b = member(&[&a]);
    assert_linked(&a, &b);
    other.engine.broadcast(Lane::Bulk, b"to all".to_vec());
    other.engine.send(a.incarnation, Lane::Bulk, b"to one".to_vec());
    assert_linked(&a, &b);
    assert!(other.inbox.has_seen_nobody());
    let seen = a.inbox.seen.lock().unwrap();
    assert_eq!(seen.up, [b.incarnation]);
    assert!(seen.messages.iter().all(|message| message.starts_with(b"from ")));
}

#[test]
fn garbage_on_the_port_disturbs_nobody() {
    for config in [config("127.0.0.1:0", &[]), secured(&[])] {
        let tls = config.tls.clone();
        let a = open(config);
        let endpoint = &a.engine.endpoints()[0];
        let mut open_ended = vec![];
        for length in [0, 1, 2, 3, 100, 70_000] {
            for byte in [0, 1, 0x16, 0x7f, 0xff] {
                let mut stream = TcpStream::connect(endpoint).unwrap();
                // It may be closed before all is written.
                let _ = stream.write_all(&vec![byte; length]);
                match byte {
                    0 | 0xff => open_ended.push(stream),
                    _ => drop(stream),
                }
            }
        }
        let mut web = TcpStream::connect(endpoint).unwrap();
        let _ = web.write_all(b"GET / HTTP/1.1\r\n\r\n");
        let b = EngineConfig { tls, ..super::config("127.0.0.1:0", &a.engine.endpoints()) };
        let b = open(b);
        assert_linked(&a, &b);
        // Who says nothing sensible is hung up on.
        web.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = web.read_to_end(&mut vec![]);
        assert_eq!(a.inbox.seen.lock().unwrap().up, [b.incarnation]);
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let a = member(&[]);
    let endpoint = &a.engine.endpoints()[0];
    let error = refused_start(config(endpoint, &[]));
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.message().contains(endpoint), "{error}");
    // Not an address of this machine.
    let error = refused_start(config("203.0.113.1:7447", &[]));
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.message().contains("203.0.113.1:7447"), "{error}");
    a.engine.close();
    open(config(endpoint, &[]));
}

#[cfg(unix)]
#[test]
fn only_a_living_socket_is_in_the_way() {
    use std::os::unix::net::UnixListener;
    let folder = Folder::new("sockets");
    let socket = folder.socket("socket");
    // What a killed process leaves behind.
    drop(UnixListener::bind(folder.file("socket")).unwrap());
    let lock = std::fs::File::create(folder.file("socket.lock")).unwrap();
    // And its lock, held by who inherited it.
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let a = open(config(&socket, &[]));
    let b = open(config("127.0.0.1:0", std::slice::from_ref(&socket)));
    assert_linked(&a, &b);
    let error = refused_start(config(&socket, &[]));
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.message().contains(&socket), "{error}");
    assert!(error.message().contains("another registry of this process"), "{error}");
    a.engine.close();
    drop(open(config(&socket, &[])));
    std::fs::write(folder.file("letter"), "dear reader").unwrap();
    let error = refused_start(config(&folder.socket("letter"), &[]));
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(std::fs::read(folder.file("letter")).unwrap(), b"dear reader");
    let error = refused_start(config(&folder.socket("no/such/folder"), &[]));
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.message().contains("no/such/folder"), "{error}");
}
