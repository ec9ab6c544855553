//! What a member with TLS asks of those who dial it. They are bare TLS clients that take any certificate of the
//! authority for the member's: whatever keeps them out is the member.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::refusals::{path, secured};
use super::*;

/// What a client sees once its handshake is behind it.
struct Met {
    /// How the member hung up on it.
    end: io::Result<usize>,
    tickets: u32,
}

/// Connects, with this certificate or none, says something that is no member's word, and waits to be hung up on.
fn meet(member: &Member, certificate: Option<&str>) -> Met {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(path("ca.pem")).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let config = match certificate {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let shown = CertificateDer::from_pem_file(path(&format!("{name}.pem"))).unwrap();
            let key = PrivateKeyDer::from_pem_file(path(&format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(vec![shown], key).unwrap()
        }
    };
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(&member.engine.endpoints()[0]).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    stream.conn.complete_io(&mut stream.sock).unwrap();
    // In TLS 1.3 a client is done before the member has looked at what it showed.
    let _ = stream.write_all(&[0xff; 100]);
    let mut buffer = [0; 100];
    let end = loop {
        match stream.read(&mut buffer) {
            Ok(1..) => {}
            end => break end,
        }
    };
    Met { end, tickets: stream.conn.tls13_tickets_received() }
}

#[test]
fn only_a_certificate_of_the_authority_that_is_valid_now_gets_in() {
    let a = open(secured(&[]));
    let met = meet(&a, Some("member"));
    assert!(matches!(met.end, Ok(0)), "it is let in, and the engine hangs up: {:?}", met.end);
    assert_eq!(met.tickets, 0, "whoever comes again shows its certificate again");
    let cases = [
        (None, "it showed no certificate"),
        (Some("stranger"), "its certificate is of another authority"),
        (Some("expired"), "its certificate has expired"),
    ];
    for (certificate, why) in cases {
        let end = meet(&a, certificate).end.unwrap_err();
        assert!(!matches!(end.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{end}");
        a.inbox.until(why, |seen| seen.refused.iter().find(|text| text.ends_with(why)).cloned());
    }
    let seen = a.inbox.seen.lock().unwrap();
    let at_tls =
        seen.refused.iter().filter(|text| cases.iter().any(|(_, why)| text.ends_with(why)));
    assert_eq!(at_tls.count(), cases.len(), "each is counted once: {:?}", seen.refused);
    drop(seen);
    let b = open(secured(&a.engine.endpoints()));
    assert_linked(&a, &b);
}

#[test]
fn whoever_does_not_get_as_far_is_told_of_in_the_same_few_words() {
    let a = open(secured(&[]));
    let cases: [(&[u8], _); 3] = [
        (b"GET / HTTP/1.1\r\n\r\n", "it does not speak TLS"),
        (&[0xff; 100], "it does not speak TLS"),
        (&[], "it hung up before it had proved who it is"),
    ];
    for (index, (said, why)) in cases.into_iter().enumerate() {
        let mut socket = TcpStream::connect(&a.engine.endpoints()[0]).unwrap();
        socket.write_all(said).unwrap();
        drop(socket);
        a.inbox.until(why, |seen| (seen.refused.len() > index).then_some(()));
        let seen = a.inbox.seen.lock().unwrap();
        assert_eq!(seen.refused[index], format!("a connection was turned away: {why}"));
    }
}

#[test]
fn a_member_that_cannot_let_others_in_or_go_out_says_so() {
    let a = open(secured(&[]));
    let Endpoint::Unix(inner) = a.engine.shared.tunnels.as_ref().unwrap().inner().next().unwrap()
    else {
        panic!("not a socket")
    };
    std::fs::remove_dir_all(std::path::Path::new(&inner).parent().unwrap()).unwrap();
    let b = open(secured(&a.engine.endpoints()));
    a.inbox.until("nobody comes in", |seen| {
        seen.failed.iter().any(|text| text.contains(&inner)).then_some(())
    });
    a.engine.connect(&b.dial());
    a.inbox.until("nobody is reached", |seen| {
        seen.failed.iter().any(|text| text.contains("to a member")).then_some(())
    });
}

#[test]
fn whoever_comes_over_ipv4_to_a_port_for_both_is_known_by_its_address() {
    let a = open(EngineConfig { listen: vec!["[::]:0".to_owned()], ..secured(&[]) });
    let port = a.engine.endpoints()[0].rsplit_once(':').unwrap().1.to_owned();
    let reached = format!("127.0.0.1:{port}");
    // Not every machine has ports for both.
    if TcpStream::connect(&reached).is_err() {
        return;
    }
    let b = open(secured(&[reached]));
    assert_linked(&a, &b);
    let leads_to =
        |host: &str| a.engine.shared.tunnels.as_ref().unwrap().leads_to(host.parse().unwrap());
    assert!(leads_to("127.0.0.1") && !leads_to("127.0.0.2"));
}
