//! The same of Redis: a server and a replica on loopback, in a folder that goes afterwards.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Figures, Result, key, quantile, value};

/// How many commands are under way at a time.
const PIPELINE: u64 = 1000;
const LONG: Duration = Duration::from_secs(60);

pub(crate) fn run(experiment: &str, entries: u64) -> Result<Figures> {
    match experiment {
        "put-40" => put("cluster-put-40", entries, 40),
        "put-100" => put("cluster-put-100", entries, 100),
        "join" => join(entries),
        "members" => locks(),
        _ => Err(format!("unknown experiment {experiment}").into()),
    }
}

struct Server {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Server {
    fn start(name: &str) -> Result<Server> {
        let folder =
            std::env::temp_dir().join(format!("minikv-bench-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        // A free port: the listener is gone before the server takes it.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--unixsocket"]);
        command.arg(folder.join("socket")).arg("--dir").arg(&folder);
        // Nothing goes to disk, and a replica is served at once.
        command.args(["--save", "", "--appendonly", "no", "--repl-diskless-sync", "yes"]);
        command.args(["--repl-diskless-sync-delay", "0", "--repl-diskless-load", "on-empty-db"]);
        command.args([
            "--repl-backlog-size",
            "512mb",
            "--client-output-buffer-limit",
            "replica 0 0 0",
        ]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let server = Server { child, folder, port };
        let started = Instant::now();
        while UnixStream::connect(server.folder.join("socket")).is_err() {
            if started.elapsed() > LONG {
                return Err("redis does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    fn client(&self) -> Result<Client> {
        Client::connect(&self.folder.join("socket"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

struct Client {
    input: BufReader<UnixStream>,
    output: UnixStream,
    line: String,
}

impl Client {
    fn connect(socket: &Path) -> Result<Client> {
        let output = UnixStream::connect(socket)?;
        Ok(Client { input: BufReader::new(output.try_clone()?), output, line: String::new() })
    }

    /// One line of an answer, and what follows of a text.
    fn answer(&mut self) -> Result<&str> {
        self.line.clear();
        self.input.read_line(&mut self.line)?;
        if self.line.starts_with('-') {
            return Err(self.line.trim().into());
        }
        if let Some(length) = self.line.strip_prefix('$') {
            let length = length.trim().parse::<usize>().unwrap_or(0) + 2;
            let mut text = vec![0; length];
            std::io::Read::read_exact(&mut self.input, &mut text)?;
            self.line = String::from_utf8(text)?;
        }
        Ok(self.line.trim())
    }

    fn ask(&mut self, words: &[&str]) -> Result<&str> {
        self.output.write_all(command(words).as_bytes())?;
        self.answer()
    }

    fn fill(&mut self, parts: &[(String, u64)]) -> Result<()> {
        for (commands, count) in parts {
            self.output.write_all(commands.as_bytes())?;
            for _ in 0..*count {
                self.answer()?;
            }
        }
        Ok(())
    }

    fn until_has(&mut self, entries: u64) -> Result<()> {
        let started = Instant::now();
        // While it loads it may refuse to answer.
        while self.ask(&["DBSIZE"]).ok() != Some(&format!(":{entries}")) {
            if started.elapsed() > LONG {
                return Err("the replica never has all".into());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(())
    }

    fn until_linked(&mut self) -> Result<()> {
        let started = Instant::now();
        while !self
            .ask(&["INFO", "replication"])
            .is_ok_and(|info| info.contains("master_link_status:up"))
        {
            if started.elapsed() > LONG {
                return Err("the replica is not linked".into());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(())
    }
}

fn command(words: &[&str]) -> String {
    let words_out = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), words_out.collect::<String>())
}

/// The commands that put so many entries, made before anything is timed.
fn filling(entries: u64, bytes: usize) -> Vec<(String, u64)> {
    let part = |first: u64| {
        let numbers = first..(first + PIPELINE).min(entries);
        let count = numbers.end - numbers.start;
        (numbers.map(|n| command(&["SET", &key(n), &value(n, bytes)])).collect(), count)
    };
    (0..entries).step_by(PIPELINE as usize).map(part).collect()
}

fn put(row: &'static str, entries: u64, bytes: usize) -> Result<Figures> {
    let (server, replica) = (Server::start("a")?, Server::start("b")?);
    let mut watching = replica.client()?;
    watching.ask(&["REPLICAOF", "127.0.0.1", &server.port.to_string()])?;
    watching.until_linked()?;
    let mut client = server.client()?;
    let filling = filling(entries, bytes);
    let started = Instant::now();
    client.fill(&filling)?;
    watching.until_has(entries)?;
    let per_put = started.elapsed().as_nanos() as f64 / entries as f64;
    Ok(Figures::from([(row, vec![1e6 / per_put])]))
}

fn join(entries: u64) -> Result<Figures> {
    let (server, replica) = (Server::start("a")?, Server::start("b")?);
    server.client()?.fill(&filling(entries, 100))?;
    let mut watching = replica.client()?;
    let started = Instant::now();
    watching.ask(&["REPLICAOF", "127.0.0.1", &server.port.to_string()])?;
    watching.until_linked()?;
    watching.until_has(entries)?;
    Ok(Figures::from([("cluster-join", vec![started.elapsed().as_secs_f64()])]))
}

/// A key that exists only while it is locked, as its documentation has it.
fn locks() -> Result<Figures> {
    let server = Server::start("a")?;
    let mut client = server.client()?;
    let mut times = Vec::new();
    for number in 0..3000 {
        let key = key(number % 100);
        let started = Instant::now();
        client.ask(&["SET", &key, "me", "NX", "PX", "30000"])?;
        client.ask(&["DEL", &key])?;
        times.push(started.elapsed().as_nanos() as f64 / 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(Figures::from([
        ("cluster-lock-p50", vec![quantile(&times, 0.5)]),
        ("cluster-lock-p99", vec![quantile(&times, 0.99)]),
    ]))
}
