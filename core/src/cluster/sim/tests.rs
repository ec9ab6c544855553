//! The seeds that once found something, fresh ones, and the proof that broken rules are found.

use super::scenario::Scenario;
use super::{Report, run};
use crate::table::replication::Faults;

/// Kept seeds, one a line; `#` begins a comment.
const KEPT: &str = include_str!("seeds.txt");

/// How many fresh seeds are tried unless `MINIKV_SIM_SEEDS` says otherwise.
const FRESH: u64 = 60;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, not a number")))
}

fn kept() -> impl Iterator<Item = u64> {
    let lines = KEPT.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(|line| line.parse().expect("a seed is a number"))
}

fn good(seed: u64) -> Result<Report, String> {
    run(seed, Scenario::of(seed), Faults::default(), false).map_err(|failure| failure.to_string())
}

/// Runs all seeds on two threads and tells of the first failures.
#[allow(clippy::disallowed_methods)]
fn run_all(seeds: Vec<u64>) {
    let halves: Vec<Vec<u64>> =
        (0..2).map(|half| seeds.iter().copied().skip(half).step_by(2).collect()).collect();
    let threads = halves.into_iter().map(|half| {
        std::thread::spawn(move || {
            let mut failures = Vec::new();
            for seed in half {
                let result = good(seed);
                if std::env::var("MINIKV_SIM_TELL").is_ok() {
                    eprintln!("told {seed} {:?}", result.as_ref().ok());
                }
                if let Err(failure) = result {
                    // The reason at once: a long run may be ended before its end.
                    let reason = failure.lines().find(|line| line.starts_with("seed "));
                    eprintln!("FAILED {}", reason.unwrap_or_default());
                    failures.push(failure);
                }
            }
            failures
        })
    });
    let threads: Vec<_> = threads.collect();
    let failures: Vec<String> =
        threads.into_iter().flat_map(|thread| thread.join().expect("runs catch panics")).collect();
    let shown: Vec<&str> = failures.iter().take(3).map(String::as_str).collect();
    let (failed, all) = (failures.len(), seeds.len());
    assert!(failures.is_empty(), "{}\n{failed} of {all} seeds failed", shown.join("\n\n"));
}

#[test]
fn kept_seeds_pass() {
    run_all(kept().collect());
}

#[test]
fn fresh_seeds_pass() {
    if let Some(seed) = number("MINIKV_SIM_SEED") {
        let scenario = Scenario::of(seed);
        match run(seed, scenario, Faults::default(), true) {
            Ok(report) => eprintln!("seed {seed} ({scenario:?}) passes: {report:?}"),
            Err(failure) => panic!("{failure}"),
        }
        return;
    }
    // Different ones for every commit day would make a failure unrepeatable: from 1 on, unless asked.
    let from = number("MINIKV_SIM_FROM").unwrap_or(1);
    let count = number("MINIKV_SIM_SEEDS").unwrap_or(FRESH);
    run_all((from..from + count).collect());
}

#[test]
fn links_that_carry_nothing_are_ended() {
    for seed in 1..=number("MINIKV_SIM_SEEDS").unwrap_or(FRESH) / 2 {
        if let Err(failure) = run(seed, Scenario::Mute, Faults::default(), false) {
            panic!("{failure}");
        }
    }
}

#[test]
fn the_same_seed_does_the_same() {
    for seed in [3, 14, 15, 92, 65] {
        let once = || {
            let result = run(seed, Scenario::of(seed), Faults::default(), false);
            result.map_err(|failure| failure.what)
        };
        assert_eq!(once(), once(), "seed {seed}");
    }
}

/// Some seed finds the broken rule, and the very same run passes while the rule stands.
fn finds(faults: Faults, scenarios: &[Scenario]) {
    for seed in 1..=200 {
        for scenario in scenarios {
            if let Err(failure) = run(seed, *scenario, faults, false) {
                let what = failure.what;
                if let Err(failure) = run(seed, *scenario, Faults::default(), false) {
                    panic!("fails without the fault, too: {failure}");
                }
                eprintln!("found by seed {seed} ({scenario:?}): {what}");
                return;
            }
        }
    }
    panic!("nobody noticed {faults:?}");
}

macro_rules! mutations {
    ($($name:ident: $fault:ident in $($scenario:ident),+;)+) => {$(
        #[test]
        fn $name() {
            finds(Faults { $fault: true, ..Faults::default() }, &[$(Scenario::$scenario),+]);
        }
    )+};
}

mutations! {
    a_merge_that_takes_anything_is_found: lower_stamp_wins in Calm, Lossy;
    forgetting_at_once_is_found: no_tombstones in Calm, Lossy;
    stamps_without_epoch_are_found: epoch_ignored in Locks, Cuts;
    ignored_gaps_are_found: no_gap_repair in Lossy, Cuts;
    a_term_without_answers_is_found: term_not_awaited in Crashes, Storm;
    a_released_fence_that_lives_is_found: released_fence_lives in Locks, Crashes;
    locks_freed_early_are_found: free_early in Crashes, Locks, Freezes;
    a_ttl_that_restarts_is_found: ttl_restarts in Calm, Lossy;
    links_that_are_never_ended_are_found: links_stay in Mute;
    who_leads_by_sight_only_is_found: hearsay_ignored in Cuts;
}
