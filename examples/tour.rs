//! The same small program in four languages: start, put, lock, watch, list.

#![allow(clippy::expect_used)]

use std::time::Duration;

use minikv::{ListOptions, LockOptions, Options, PutOptions, Registry};

fn main() -> Result<(), minikv::Error> {
    let kv = Registry::start(Options::new("tour").default_ttl(Duration::from_secs(60)))?;

    // Typed values come back as they went in.
    kv.put("balance", 100)?;
    let entry = kv.get("balance")?.expect("just put");
    println!("balance = {:?}, owned by {}", entry.value(), entry.node());
    kv.put_with("session", "abc", PutOptions::new().ttl(Duration::from_secs(5)))?;

    // A lock with a label: nobody else may write.
    kv.lock_with("balance", LockOptions::new().owner("worker-7"))?;
    let refused = kv.put("balance", 0).expect_err("somebody else holds the lock");
    println!("refused: {}", refused.kind());
    kv.unlock_with("balance", minikv::WriteOptions::new().owner("worker-7"))?;

    // A guard acts as the holder and unlocks when it goes.
    {
        let held = kv.locked("balance", LockOptions::new().wait(Duration::from_millis(500)))?;
        held.put(90)?;
    }
    println!("visits = {:?}", kv.incr("visits", 1)?.value());

    // Watch a prefix: subscribed when it returns.
    let watch = kv.watch("user:")?;
    kv.put("user:1", "ann")?;
    kv.delete("user:1")?;
    for event in watch.take(2) {
        println!("event: {} {}", event.kind(), event.key().expect("only lagged has none"));
    }

    kv.put("user:2", "bob")?;
    let keys = kv.keys(ListOptions::new().prefix("user:"))?;
    println!("users: {:?}", keys.items);
    kv.stop();
    Ok(())
}
