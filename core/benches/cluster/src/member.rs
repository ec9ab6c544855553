//! A process of an experiment: one member, or a registry by itself. Commands come in, answers go out, by lines.

use std::io::BufRead;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use minikv::{EventKind, MemberState, Options, Registry, Watch, WatchOptions};

use crate::{Result, key, now, quantile, value};

const LONG: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_micros(500);
/// How often a paced writer wakes.
const STEP: Duration = Duration::from_micros(100);

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [node, cluster, peers @ ..] = arguments else { return Err("a member needs a name".into()) };
    let started = Instant::now();
    let mut options = Options::unnamed().node(node);
    if cluster != "-" {
        options = options.cluster(cluster).peers(peers);
    }
    let kv = Registry::start(options)?;
    kv.wait_synced(LONG)?;
    let synced = started.elapsed().as_nanos();
    let endpoint = kv.endpoints()?.into_iter().next().unwrap_or_default();
    println!("ready {synced} {endpoint}");
    let mut member = Member { kv, collecting: None };
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split(' ');
        let command = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        println!("{}", member.obey(command, &words)?);
    }
    // No good-bye: whoever reads nothing more wants an end, not a departure.
    std::process::exit(0)
}

struct Member {
    kv: Registry,
    collecting: Option<JoinHandle<Vec<f64>>>,
}

impl Member {
    fn obey(&mut self, command: &str, words: &[&str]) -> Result<String> {
        let number =
            |at: usize| -> Result<u64> { Ok(words.get(at).ok_or("too few words")?.parse()?) };
        Ok(match command {
            "put" => self.put(number(0)?, number(1)?, number(2)? as usize)?,
            "pace" => self.pace(number(0)?, number(1)?)?,
            "collect" => self.collect(number(0)? as usize)?,
            "collected" => self.collected()?,
            "entries" => {
                let wanted = number(0)?;
                self.until(|kv| Ok(kv.stats()?.entries >= wanted))?;
                format!("entries {}", now())
            }
            "members" => {
                let wanted = number(0)? as usize;
                self.until(|kv| Ok(live(kv)? == wanted))?;
                format!("members {}", now())
            }
            "digest" => format!("digest {}", digest(&self.kv)?),
            "equal" => {
                self.until(|kv| Ok(digest(kv)? == words[0]))?;
                format!("equal {}", now())
            }
            "notice" => self.notice(words.first().ok_or("who?")?)?,
            "locks" => self.locks(number(0)?)?,
            "resident" => format!("resident {}", resident()),
            "outbox" => format!("outbox {}", self.kv.stats()?.outbox_overflows),
            _ => return Err(format!("unknown command {command}").into()),
        })
    }

    fn until(&self, condition: impl Fn(&Registry) -> Result<bool>) -> Result<()> {
        let started = Instant::now();
        while !condition(&self.kv)? {
            if started.elapsed() > LONG {
                return Err(format!("it never comes: {:?}", self.kv.stats()?).into());
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Answers when it began and how many nanoseconds it took.
    fn put(&self, from: u64, count: u64, bytes: usize) -> Result<String> {
        let items: Vec<_> =
            (from..from + count).map(|number| (key(number), value(number, bytes))).collect();
        let (wall, started) = (now(), Instant::now());
        for (key, value) in &items {
            self.kv.put(key, value)?;
        }
        Ok(format!("put {wall} {}", started.elapsed().as_nanos()))
    }

    /// Puts so many a second, each with the time at which it was put.
    fn pace(&self, rate: u64, count: u64) -> Result<String> {
        let keys: Vec<_> = (0..count).map(key).collect();
        let started = Instant::now();
        let mut done = 0;
        while done < count {
            let due = (started.elapsed().as_nanos() * u128::from(rate) / 1_000_000_000) as u64;
            for key in &keys[done as usize..due.min(count) as usize] {
                self.kv.put(key, value(now(), 40))?;
            }
            done = due.min(count);
            std::thread::sleep(STEP);
        }
        Ok(format!("pace {}", started.elapsed().as_nanos()))
    }

    /// Notes of so many puts of others, how long ago they were put.
    fn collect(&mut self, count: usize) -> Result<String> {
        let watch = self.kv.watch_with(WatchOptions::new().capacity(WatchOptions::MAX_CAPACITY))?;
        self.collecting = Some(std::thread::spawn(move || collect(&watch, count)));
        Ok("collect".to_owned())
    }

    fn collected(&mut self) -> Result<String> {
        let collecting = self.collecting.take().ok_or("nothing is collected")?;
        let mut lags = collecting.join().map_err(|_| "collecting failed")?;
        lags.sort_by(f64::total_cmp);
        let quantiles = (0..=1000).map(|n| quantile(&lags, f64::from(n) / 1000.0).to_string());
        Ok(format!("collected {} {}", lags.len(), quantiles.collect::<Vec<_>>().join(" ")))
    }

    /// Answers when a member was seen to be down, and when its entries passed.
    fn notice(&self, node: &str) -> Result<String> {
        let watch = self.kv.watch("")?;
        println!("watching");
        let (mut down, mut passed) = (0, 0);
        while down == 0 || passed == 0 {
            let event = watch.next_timeout(LONG)?.ok_or("it is not noticed")?;
            if event.node() != Some(node) {
                continue;
            }
            match event.kind() {
                EventKind::Member if event.state() != Some(MemberState::Live) => down = now(),
                EventKind::Owner if event.owner() != Some(node) => passed = now(),
                _ => {}
            }
        }
        Ok(format!("noticed {down} {passed}"))
    }

    /// Locks and unlocks keys that nobody else wants: microseconds at the median and the 99th of a hundred.
    fn locks(&self, count: u64) -> Result<String> {
        for number in 0..100 {
            self.kv.put(key(number), 1)?;
        }
        let mut times = Vec::with_capacity(count as usize);
        for number in 0..count {
            let key = key(number % 100);
            let started = Instant::now();
            self.kv.lock(&key)?.ok_or("it is gone")?;
            self.kv.unlock(&key)?;
            times.push(started.elapsed().as_nanos() as f64 / 1000.0);
        }
        times.sort_by(f64::total_cmp);
        Ok(format!("locks {} {}", quantile(&times, 0.5), quantile(&times, 0.99)))
    }
}

fn collect(watch: &Watch, count: usize) -> Vec<f64> {
    let mut lags = Vec::with_capacity(count);
    while lags.len() < count {
        let Ok(Some(event)) = watch.next_timeout(Duration::from_secs(5)) else { break };
        let put_at = event.entry().and_then(|entry| entry.as_str()?.parse::<u64>().ok());
        if let (EventKind::Put, Some(put_at)) = (event.kind(), put_at) {
            lags.push(now().saturating_sub(put_at) as f64 / 1e6);
        }
    }
    lags
}

fn live(kv: &Registry) -> Result<usize> {
    Ok(kv.members()?.iter().filter(|member| member.state == MemberState::Live).count())
}

fn digest(kv: &Registry) -> Result<String> {
    let own = kv.members()?.into_iter().find(|member| member.is_self);
    Ok(own.and_then(|own| own.digest).unwrap_or_default())
}

fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = status.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0.0);
    pages * 4096.0
}
