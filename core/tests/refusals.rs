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

/// A member that is held up for a moment is not to be taken for one that is gone, which would be counted.
const FAILURE_TIMEOUT: Duration = Duration::from_secs(5);

fn member(tls: Option<Tls>, node: &str, peers: &[String]) -> Registry {
    let options = Options::unnamed().node(node).cluster("refusals").peers(peers);
    let options = options.failure_timeout(FAILURE_TIMEOUT);
    Registry::start_now(tls.into_iter().fold(options, Options::tls)).unwrap()
}

fn refused(kv: &Registry) -> u64 {
    kv.stats().unwrap().refused
}

/// How many there are once no more come: whatever was told twice, or comes late, would come soon.
fn settled(kv: &Registry) -> u64 {
    loop {
        let before = refused(kv);
        std::thread::sleep(Duration::from_millis(500));
        if refused(kv) == before {
            return before;
        }
    }
}

/// What is said is counted once, however it ends; whoever says nothing is counted when its time is over.
fn assert_counted(kv: &Registry, stays: bool) {
    let before = settled(kv);
    let said: [&[u8]; 3] = [b"GET / HTTP/1.1\r\n\r\n", &[0xff; 100], &[]];
    let streams: Vec<_> = said
        .into_iter()
        .map(|what| {
            let mut stream = TcpStream::connect(&kv.endpoints().unwrap()[0]).unwrap();
            stream.write_all(what).unwrap();
            stays.then_some(stream)
        })
        .collect();
    until("they are counted", || refused(kv) >= before + 3);
    drop(streams);
    assert_eq!(settled(kv), before + 3, "stays: {stays}");
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
        assert_eq!([settled(&a), settled(&b)], [0, 0]);

        assert_counted(&a, false);
        assert_counted(&a, true);

        let outsiders = match secured {
            true => vec![None, Some(tls("other", "stranger"))],
            false => vec![Some(tls("ca", "member"))],
        };
        for outsider in outsiders {
            // None of the one before, which has stopped.
            let before = settled(&a);
            // Started at once: it waits for nobody.
            let outsider = member(outsider, "outsider", &a.endpoints().unwrap());
            until("it is turned away", || refused(&a) > before);
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
