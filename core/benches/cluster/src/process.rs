//! A member in a process of its own, as the experiment sees it.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Result;

pub(crate) struct Member {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    pub endpoint: String,
    /// How long it took from before its start until it was synced, in nanoseconds.
    pub synced_after: f64,
}

impl Member {
    /// `cluster`: none for a registry by itself.
    pub fn start(node: &str, cluster: Option<&str>, peers: &[&Member]) -> Result<Member> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["member", node, cluster.unwrap_or("-")]);
        command.args(peers.iter().map(|peer| &peer.endpoint));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("no standard input")?;
        let output = child.stdout.take().ok_or("no standard output")?;
        let output = BufReader::new(output).lines();
        let mut member =
            Member { child, input, output, endpoint: String::new(), synced_after: 0.0 };
        let ready = member.answer("ready")?;
        member.synced_after = ready.first().ok_or("no time")?.parse()?;
        member.endpoint = ready.get(1).cloned().unwrap_or_default();
        Ok(member)
    }

    pub fn tell(&mut self, command: &str) -> Result<()> {
        writeln!(self.input, "{command}")?;
        Ok(self.input.flush()?)
    }

    /// The words after the first, which says what it is about.
    pub fn answer(&mut self, about: &str) -> Result<Vec<String>> {
        let line = self.output.next().ok_or("a member has ended")??;
        let mut words = line.split(' ').map(str::to_owned);
        match words.next() {
            Some(first) if first == about => Ok(words.collect()),
            _ => Err(format!("a member says {line:?} in place of {about}").into()),
        }
    }

    pub fn ask(&mut self, command: &str, about: &str) -> Result<Vec<String>> {
        self.tell(command)?;
        self.answer(about)
    }

    pub fn numbers(&mut self, about: &str) -> Result<Vec<f64>> {
        Ok(self
            .answer(about)?
            .iter()
            .map(|word| word.parse())
            .collect::<std::result::Result<_, _>>()?)
    }

    pub fn ask_numbers(&mut self, command: &str, about: &str) -> Result<Vec<f64>> {
        self.tell(command)?;
        self.numbers(about)
    }

    /// Sends a signal by its name.
    pub fn signal(&mut self, signal: &str) -> Result<()> {
        if signal == "KILL" {
            return Ok(self.child.kill()?);
        }
        let id = self.child.id().to_string();
        let done = Command::new("kill").args(["-s", signal, &id]).status()?;
        if done.success() { Ok(()) } else { Err(format!("kill -s {signal} fails").into()) }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
