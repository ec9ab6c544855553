//! The index against a plain map, where its groups overflow most.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use super::*;
use crate::lock::NEVER;
use crate::member::Member;
use crate::record::{Content, NewValue};

fn record(key: &str, writer: &Arc<Member>) -> Record {
    Record::new(NewValue {
        key: key.as_bytes(),
        content: Content { bytes: &[0], large: None },
        time: 1,
        exp: NEVER,
        writer: writer.clone(),
        lock: None,
        in_cluster: false,
        after: 0,
    })
}

fn find<'a>(index: &'a Index, hasher: &RandomState, key: &str) -> Option<&'a Record> {
    index.find(hasher.hash_one(key.as_bytes()), |record| record.key() == key.as_bytes())
}

/// Puts in and takes out what `keys` has, in an order of its own, and looks at everything now and then.
fn exercise(keys: &[String]) {
    let hasher = RandomState::default();
    let writer = Arc::new(Member::alone("n", 1));
    let mut index = Index::default();
    let mut model: BTreeMap<&str, Record> = BTreeMap::new();
    let mut random: u64 = 1;
    for step in 0..6 * keys.len() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let key = &*keys[(random >> 33) as usize % keys.len()];
        let hash = hasher.hash_one(key.as_bytes());
        // Mostly fuller at first, emptier later.
        let grows = (random >> 20) % 8 < if step < 4 * keys.len() { 6 } else { 1 };
        let found = find(&index, &hasher, key).cloned();
        assert_eq!(found.as_ref().map(Record::as_raw), model.get(key).map(Record::as_raw));
        match found {
            None if grows => {
                let new = record(key, &writer);
                index.insert(hash, new.clone(), &hasher);
                model.insert(key, new);
            }
            Some(old) if grows => {
                let new = record(key, &writer);
                index.replace(hash, &old, new.clone(), old.size());
                model.insert(key, new);
            }
            Some(old) => {
                index.remove(hash, &old, old.size());
                model.remove(key);
                index.shrink(&hasher);
            }
            None => {}
        }
        drop(index.take_unused());
        if step % 97 == 0 {
            index.validate(&hasher);
            assert_eq!(index.iter().count(), model.len());
        }
    }
    for key in keys {
        let found = find(&index, &hasher, key).map(Record::as_raw);
        assert_eq!(found, model.get(&**key).map(Record::as_raw), "{key}");
    }
    index.clear();
    drop(index.take_unused());
    index.validate(&hasher);
    drop(index);
    assert!(model.values().all(Record::is_alone), "no count is left over");
    drop(model);
    assert_eq!(Arc::strong_count(&writer), 1);
}

#[test]
fn it_is_a_map() {
    exercise(&(0..5000).map(|n| format!("key-{n}")).collect::<Vec<_>>());
}

/// More of one home than its group can count.
#[test]
fn groups_that_overflow_beyond_counting_lose_nothing() {
    let hasher = RandomState::default();
    let of_one_home = |key: &String| hasher.hash_one(key.as_bytes()) & 0xff == 7;
    let keys = (0..).map(|n| format!("key-{n}")).filter(of_one_home).take(900);
    exercise(&keys.collect::<Vec<_>>());
}

/// As if it was never closed.
#[test]
fn what_is_lent_outlives_the_index() {
    let hasher = RandomState::default();
    let writer = Arc::new(Member::alone("n", 1));
    let hash_of = |key: &str| hasher.hash_one(key.as_bytes());
    let mut index = Index::default();
    let keys = ["stays", "replaced", "removed"];
    for key in keys {
        index.insert(hash_of(key), record(key, &writer), &hasher);
    }
    let lent = keys.map(|key| {
        let reading = readers::enter().unwrap();
        #[allow(unsafe_code)]
        // SAFETY: reading until the end of this block.
        let lent = unsafe {
            index.published.find(hash_of(key), key.as_bytes(), |record| reading.lend(record))
        };
        lent.unwrap()
    });
    let old = lent[1].clone();
    index.replace(hash_of("replaced"), &old, record("replaced", &writer), old.size());
    index.remove(hash_of("removed"), &lent[2], lent[2].size());
    drop((index, old));
    assert_eq!(lent.each_ref().map(|lent| lent.key()), keys.map(str::as_bytes));
    assert!(lent.iter().all(|lent| lent.is_alone()));
    drop(lent);
    assert_eq!(Arc::strong_count(&writer), 1);
}
