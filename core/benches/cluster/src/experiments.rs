//! What is done with the members, and what is measured.

use std::time::{Duration, Instant};

use crate::process::Member;
use crate::{Figures, Result, now};

/// Of the members' puts while lag is measured.
const RATE: u64 = 50_000;
/// One of so many entries differs when two members meet again, in ten places.
const DIFFERING: u64 = 1000;

pub(crate) fn run(experiment: &str, entries: u64) -> Result<Figures> {
    match experiment {
        "put-40" => put(entries, 40),
        "put-100" => put(entries, 100),
        "lag" => lag(entries),
        "join" => join(entries),
        "members" => members(),
        _ => Err(format!("unknown experiment {experiment}").into()),
    }
}

fn cluster() -> String {
    format!("bench-{}", std::process::id())
}

/// As many members as there are names, all live in each other's eyes.
fn start(nodes: &[&str]) -> Result<Vec<Member>> {
    let mut members: Vec<Member> = Vec::new();
    for node in nodes {
        let peers: Vec<&Member> = members.iter().collect();
        members.push(Member::start(node, Some(&cluster()), &peers)?);
    }
    for member in &mut members {
        member.ask(&format!("members {}", nodes.len()), "members")?;
    }
    Ok(members)
}

fn pair() -> Result<(Member, Member)> {
    let mut members = start(&["a", "b"])?.into_iter();
    members.next().zip(members.next()).ok_or_else(|| "two are needed".into())
}

/// One puts as fast as it can, until the other has all; and the same put without a cluster.
fn put(entries: u64, bytes: usize) -> Result<Figures> {
    let command = format!("put 0 {entries} {bytes}");
    let alone = Member::start("alone", None, &[])?.ask_numbers(&command, "put")?[1];
    let (mut a, mut b) = pair()?;
    b.tell(&format!("entries {entries}"))?;
    let [began, took] = a.ask_numbers(&command, "put")?[..] else { return Err("no times".into()) };
    let arrived = b.numbers("entries")?[0];
    let overflows = a.ask_numbers("outbox", "outbox")?[0];
    let per_put = |nanos: f64| nanos / entries as f64;
    // Two 64-bit times as floats: good to a quarter of a microsecond.
    let replicated = per_put(arrived - began);
    Ok(Figures::from([
        (if bytes == 40 { "cluster-put-40" } else { "cluster-put-100" }, vec![1e6 / replicated]),
        (if bytes == 40 { "cluster-put-local" } else { "put-local-100" }, vec![per_put(took)]),
        (if bytes == 40 { "alone" } else { "alone-100" }, vec![per_put(alone)]),
        (if bytes == 40 { "overflows" } else { "overflows-100" }, vec![overflows]),
    ]))
}

/// One of three puts at an even pace; how late the other two have it.
fn lag(entries: u64) -> Result<Figures> {
    let count = entries.min(4 * RATE);
    let mut members = start(&["a", "b", "c"])?;
    let [a, others @ ..] = &mut members[..] else { return Err("three are needed".into()) };
    for other in others.iter_mut() {
        other.ask(&format!("collect {count}"), "collect")?;
    }
    let took = a.ask_numbers(&format!("pace {RATE} {count}"), "pace")?[0];
    let mut quantiles: Vec<Vec<f64>> = Vec::new();
    for other in others {
        let collected = other.ask_numbers("collected", "collected")?;
        if collected[0] < count as f64 {
            return Err(format!("{} of {count} puts have arrived", collected[0]).into());
        }
        quantiles.push(collected[1..].to_vec());
    }
    // Of both, the mean: neither is hidden by the other.
    let mean: Vec<f64> = (0..=1000)
        .map(|n| quantiles.iter().map(|each| each[n]).sum::<f64>() / quantiles.len() as f64)
        .collect();
    Ok(Figures::from([
        ("cluster-lag-p50", vec![mean[500]]),
        ("cluster-lag-p99", vec![mean[990]]),
        ("rate", vec![count as f64 / took * 1e9]),
        ("lag", mean),
    ]))
}

/// A member joins one that has everything. Then it sleeps until it is given up; what changes meanwhile is
/// repaired once it is back.
fn join(entries: u64) -> Result<Figures> {
    let mut a = Member::start("a", Some(&cluster()), &[])?;
    a.ask(&format!("put 0 {entries} 100"), "put")?;
    let before = loopback()?;
    let mut b = Member::start("b", Some(&cluster()), &[&a])?;
    b.ask(&format!("entries {entries}"), "entries")?;
    let joined = loopback()? - before;
    a.ask("members 2", "members")?;
    let synced = a.ask("digest", "digest")?.join("");
    b.ask(&format!("equal {synced}"), "equal")?;
    // Nothing that has just been put shall be on its way still.
    std::thread::sleep(Duration::from_secs(2));
    a.tell("notice b")?;
    a.answer("watching")?;
    b.signal("STOP")?;
    a.answer("noticed")?;
    for part in 0..10 {
        // Spread over all that is there.
        let (from, count) = (part * entries / 10, entries / DIFFERING / 10);
        a.ask(&format!("put {from} {count} 99"), "put")?;
    }
    let wanted = a.ask("digest", "digest")?.join("");
    std::thread::sleep(Duration::from_secs(1));
    let before = loopback()?;
    b.tell("members 2")?;
    a.tell("members 2")?;
    let woken = now() as f64;
    b.signal("CONT")?;
    let together = b.numbers("members")?[0].max(a.numbers("members")?[0]);
    let equal = b.ask_numbers(&format!("equal {wanted}"), "equal")?[0];
    let repaired = loopback()? - before;
    Ok(Figures::from([
        ("cluster-join", vec![b.synced_after / 1e9]),
        ("cluster-repair", vec![(equal - together).max(0.0) / 1e6]),
        ("cluster-repair-total", vec![(equal - woken) / 1e6]),
        ("cluster-repair-bytes", vec![100.0 * repaired / joined]),
        ("join-bytes", vec![joined]),
        ("repair-bytes", vec![repaired]),
    ]))
}

/// What three members that do little do: memory, locks, and one of them that freezes or is killed.
fn members() -> Result<Figures> {
    let mut alone = Member::start("alone", None, &[])?;
    let mut members = start(&["a", "b", "c"])?;
    std::thread::sleep(Duration::from_secs(1));
    let idle = members[1].ask_numbers("resident", "resident")?[0];
    let memory = idle - alone.ask_numbers("resident", "resident")?[0];
    let locks = members[1].ask_numbers("locks 3000", "locks")?;
    let freeze = notice(&mut members, "STOP")?;
    members[2].signal("CONT")?;
    for member in &mut members {
        member.ask("members 3", "members")?;
    }
    let kill = notice(&mut members, "KILL")?;
    Ok(Figures::from([
        ("cluster-memory", vec![memory / 1e6]),
        ("cluster-lock-p50", vec![locks[0]]),
        ("cluster-lock-p99", vec![locks[1]]),
        ("cluster-notice-freeze", vec![freeze[0]]),
        ("cluster-takeover-freeze", vec![freeze[1]]),
        ("cluster-notice-kill", vec![kill[0]]),
        ("cluster-takeover-kill", vec![kill[1]]),
    ]))
}

/// How long after the third gets a signal the first takes it for dead, and has its entries: in milliseconds.
fn notice(members: &mut [Member], signal: &str) -> Result<Vec<f64>> {
    members[0].tell("notice c")?;
    members[0].answer("watching")?;
    let gone = now() as f64;
    members[2].signal(signal)?;
    let noticed = members[0].numbers("noticed")?;
    Ok(noticed.iter().map(|at| (at - gone) / 1e6).collect())
}

/// How many bytes have gone over the loopback device.
fn loopback() -> Result<f64> {
    // What was sent a moment ago is counted, what is about to be is little.
    let settled = Instant::now() + Duration::from_millis(20);
    std::thread::sleep(settled.saturating_duration_since(Instant::now()));
    let all = std::fs::read_to_string("/proc/net/dev")?;
    let line = all.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    let received = line.and_then(|line| line.split_whitespace().next()).ok_or("no loopback")?;
    Ok(received.parse()?)
}
