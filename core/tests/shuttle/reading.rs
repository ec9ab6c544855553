//! Reads that take no lock.

use super::*;

/// That nothing is freed while somebody looks at it is asserted where the readers look.
#[test]
fn what_a_reader_looks_at_is_not_freed() {
    check(|| {
        let kv = start();
        for key in keys() {
            kv.put(&key, &*key).unwrap();
        }
        let mut threads: Vec<_> = (0..2)
            .map(|_| {
                spawn(&kv, |kv| {
                    for key in keys().iter().cycle().take(8) {
                        if let Some(entry) = kv.get(key).unwrap() {
                            assert_eq!(
                                (entry.key_bytes(), entry.as_str()),
                                (key.as_bytes(), Some(&**key))
                            );
                        }
                    }
                })
            })
            .collect();
        threads.push(spawn(&kv, |kv| {
            for key in keys() {
                kv.put(&key, &*key).unwrap();
            }
            // Enough for more groups than one in both shards.
            for number in 0..20 {
                kv.put(format!("more-{number}"), number).unwrap();
            }
            for key in keys() {
                kv.delete(&key).unwrap();
            }
        }));
        join(threads);
        assert_eq!(kv.count("").unwrap(), 20);
    });
}

#[test]
fn a_key_that_stays_is_found_while_others_come_and_go() {
    check(|| {
        let kv = start();
        kv.put("k", 0).unwrap();
        let reader = spawn(&kv, |kv| {
            let mut last = 0;
            for _ in 0..8 {
                let now = kv.get("k").unwrap().unwrap().as_int().unwrap();
                assert!(now >= last, "what was seen is not unseen");
                last = now;
                assert!(kv.contains("k").unwrap());
            }
        });
        let writer = spawn(&kv, |kv| {
            for number in 0..24 {
                kv.put(format!("more-{number}"), number).unwrap();
                if number % 6 == 0 {
                    kv.put("k", number).unwrap();
                }
            }
            for number in 0..24 {
                kv.delete(format!("more-{number}")).unwrap();
            }
        });
        join([reader, writer]);
    });
}

#[test]
fn what_was_put_together_is_seen_together_key_by_key() {
    check(|| {
        let kv = start();
        let items = |n: i64| keys().into_iter().map(move |key| (key, n));
        kv.put_many(items(0), PutOptions::new()).unwrap();
        let writer = spawn(&kv, move |kv| kv.put_many(items(1), PutOptions::new()).unwrap());
        let readers = [false, true].map(|backward| {
            spawn(&kv, move |kv| {
                let mut keys = keys();
                if backward {
                    keys.reverse();
                }
                let seen = keys.iter().map(|key| kv.get(key).unwrap().unwrap().as_int().unwrap());
                let seen: Vec<i64> = seen.collect();
                assert!(seen.is_sorted(), "{seen:?}: some of it was seen, then what was before it");
            })
        });
        join(readers);
        join([writer]);
    });
}

#[test]
fn what_a_cache_took_during_a_write_is_not_kept_after_it() {
    check(|| {
        let kv = start();
        kv.put("new", 0).unwrap();
        kv.delete("new").unwrap();
        kv.put("old", 0).unwrap();
        kv.put("gone", 0).unwrap();
        let writer = spawn(&kv, |kv| {
            kv.put("old", 1).unwrap();
            kv.put("new", 1).unwrap();
            kv.delete("gone").unwrap();
        });
        let mut caches = ["old", "new", "gone"].map(|key| (key, Cache::default()));
        for (key, cache) in &mut caches {
            cache.get(&kv, key);
        }
        join([writer]);
        let after = caches.map(|(key, mut cache)| cache.get(&kv, key));
        assert_eq!(after, [Some(1), Some(1), None]);
    });
}

/// More than a thread may owe; and whoever drops them is not who got them.
#[test]
fn what_a_reader_keeps_stays_as_it_was() {
    check(|| {
        let kv = start();
        kv.put("k", 0).unwrap();
        let readers = [0, 1].map(|_| {
            spawn(&kv, |kv| {
                let mut kept = Vec::new();
                for number in 0..9 {
                    let entry = kv.get("k").unwrap().unwrap();
                    kept.push((entry.as_int().unwrap(), entry));
                    if number % 4 == 3 {
                        kept.remove(1);
                    }
                }
                kept
            })
        });
        let writer = spawn(&kv, |kv| {
            for number in 1..6 {
                kv.put("k", number).unwrap();
                kv.put("other", number).unwrap();
            }
        });
        let kept = join(readers);
        join([writer]);
        drop(kv);
        for (number, entry) in kept.into_iter().flatten() {
            assert_eq!(entry.as_int(), Some(number));
        }
        assert_eq!(minikv::__records(), 0, "what was kept is freed with the last who has it");
    });
}

#[test]
fn what_comes_back_is_not_seen_and_then_unseen() {
    check(|| {
        let kv = start();
        kv.put("k", 0).unwrap();
        let reader = spawn(&kv, |kv| {
            let mut came_back = false;
            for _ in 0..6 {
                match kv.get("k").unwrap() {
                    Some(entry) => came_back |= entry.as_int() == Some(1),
                    None => assert!(!came_back, "it was there, and nobody took it away"),
                }
            }
        });
        let writer = spawn(&kv, |kv| {
            kv.delete("k").unwrap();
            kv.put("k", 1).unwrap();
        });
        join([reader, writer]);
    });
}
