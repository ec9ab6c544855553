//! What a cluster costs: real processes on loopback, and Redis beside them.
//!
//! `minikv-cluster-bench EXPERIMENT STORE ENTRIES`: prints the figures of one experiment as JSON.
//! `minikv-cluster-bench member ...`: one process of it, which is told on its standard input what to do.

// It is about real time in real processes.
#![allow(clippy::disallowed_methods)]

mod experiments;
mod member;
mod process;
mod redis;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The figures of an experiment, by the names of their rows.
pub(crate) type Figures = BTreeMap<&'static str, Vec<f64>>;

/// Nanoseconds on the clock that all processes of a machine share.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

pub(crate) fn key(number: u64) -> String {
    format!("session:{number:012}")
}

pub(crate) fn value(number: u64, bytes: usize) -> String {
    format!("{number:0bytes$}")
}

/// The value below which this share of all lie.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("member", rest)) =
        arguments.split_first().map(|(first, rest)| (first.as_str(), rest))
    {
        return member::run(rest);
    }
    let [experiment, store, entries] = &arguments[..] else {
        return Err("usage: minikv-cluster-bench EXPERIMENT STORE ENTRIES".into());
    };
    let entries = entries.parse()?;
    let figures = match store.as_str() {
        "minikv" => experiments::run(experiment, entries)?,
        "redis" => redis::run(experiment, entries)?,
        _ => return Err(format!("unknown store {store}").into()),
    };
    let rows = figures.iter().map(|(row, values)| format!("{row:?}: {values:?}"));
    println!("{{{}}}", rows.collect::<Vec<_>>().join(", "));
    Ok(())
}

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}
