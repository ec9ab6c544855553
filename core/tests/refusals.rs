//! What members turn away is counted. One test: what the engine tells names no member, so all members of a
//! process count it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]
#![cfg(feature = "cluster")]

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use minikv::{Options, Registry, Tls};

mod members;
use members::{live, tls, until};

fn member(tls: Option<Tls>, node: &str, peers: &[String]) -> Registry {
    let options = Options::unnamed().node(node).cluster("refusals").peers(peers);
    let options = options.failure_timeout(Duration::from_millis(1000));
    Registry::start_now(tls.into_iter().fold(options, Options::tls)).unwrap()
}

fn refused(kv: &Registry) -> u64 {
    kv.stats().unwrap().refused
}

/// What is said is counted once, however it ends; whoever says nothing is counted when its time is over.
fn assert_counted(kv: &Registry, what: &[u8], stays: bool) {
    let before = refused(kv);
    let mut stream = TcpStream::connect(&kv.endpoints().unwrap()[0]).unwrap();
    stream.write_all(what).unwrap();
    let stream = stays.then_some(stream);
    until("it is counted", || refused(kv) > before);
    drop(stream);
    // Anything told twice would come at once.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(refused(kv), before + 1, "{what:?}, stays: {stays}");
}

#[test]
fn what_is_turned_away_is_counted() {
    assert!(minikv::count_refusals());
    assert!(minikv::count_refusals(), "a second time changes nothing");
    for secured in [false, true] {
        let own = || secured.then(|| tls("ca", "member"));
        // Members that dial each other, and come and go, are no refusals.
        let a = member(own(), "a", &[]);
        let b = member(own(), "b", &a.endpoints().unwrap());
        let both: Vec<String> = [&a, &b].iter().flat_map(|kv| kv.endpoints().unwrap()).collect();
        for _ in 0..5 {
            let [c, d] = ["c", "d"].map(|name| member(own(), name, &both));
            until("all four are there", || [&a, &b, &c, &d].iter().all(|kv| live(kv) == 4));
            c.stop();
            d.stop();
            until("two have left", || [&a, &b].iter().all(|kv| live(kv) == 2));
        }
        assert_eq!([refused(&a), refused(&b)], [0, 0]);

        for stays in [false, true] {
            assert_counted(&a, b"GET / HTTP/1.1\r\n\r\n", stays);
            assert_counted(&a, &[0xff; 100], stays);
            assert_counted(&a, &[], stays);
        }

        let before = refused(&a);
        let outsiders = match secured {
            true => vec![None, Some(tls("other", "stranger"))],
            false => vec![Some(tls("ca", "member"))],
        };
        for (n, outsider) in outsiders.into_iter().enumerate() {
            // Started at once: it waits for nobody.
            let outsider = member(outsider, "outsider", &a.endpoints().unwrap());
            until("it is turned away", || refused(&a) > before + n as u64);
            assert!(outsider.members().unwrap().len() <= 1, "it has met nobody");
            outsider.stop();
        }
        a.put("k", 1).unwrap();
        until("the others go on undisturbed", || b.get("k").unwrap().is_some());
        assert_eq!(live(&a), 2);
        a.stop();
        b.stop();
    }
}
