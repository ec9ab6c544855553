//! What tests with real members share.

#![allow(dead_code)]

use std::time::{Duration, Instant};

use minikv::{MemberState, Registry, Tls};

pub const LONG: Duration = Duration::from_secs(60);

pub fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How many members it sees, itself included.
pub fn live(kv: &Registry) -> usize {
    kv.members().unwrap().iter().filter(|member| member.state == MemberState::Live).count()
}

/// The certificate of this name, and the authority that it trusts.
pub fn tls(ca: &str, name: &str) -> Tls {
    let path = |file: String| format!("{}/tests/certificates/{file}", env!("CARGO_MANIFEST_DIR"));
    let [cert, key] = ["pem", "key"].map(|kind| path(format!("{name}.{kind}")));
    Tls::new(path(format!("{ca}.pem")), cert, key)
}
