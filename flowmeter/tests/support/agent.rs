//! The agent as a process in a namespace, and what it has written.

#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a wrong set-up must fail its test")]

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// A test that waits longer than this for the agent to say something has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Agent {
    child: Child,
    messages: Receiver<String>,
    events: Receiver<String>,
    totals: Totals,
}

/// `flowmeter run` in the namespace `host`, with events on standard output.
pub(crate) fn command(host: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("ip");
    // What cargo and xtask set for tests is no configuration of the agent.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FLOWMETER_"))
    {
        command.env_remove(name);
    }
    command
        .args(["netns", "exec", host, env!("CARGO_BIN_EXE_flowmeter"), "run"])
        .args(["-o", "-", "--set", "detect.state="])
        // What was counted is to be seen flow by flow, however small the interval.
        .args(["--set", "output.flows=all"]);
    if !arguments.contains(&"-c") {
        command.args(["-c", "/dev/null"]);
    }
    command.args(arguments);
    command
}

impl Agent {
    /// Starts it and waits until it meters as many interfaces as `arguments` name.
    pub(crate) fn start(host: &str, arguments: &[&str]) -> Self {
        let mut agent = Self::spawn(host, arguments);
        for _ in arguments.iter().filter(|&&argument| argument == "-i") {
            agent.says("metering");
        }
        agent
    }

    pub(crate) fn spawn(host: &str, arguments: &[&str]) -> Self {
        let mut child = command(host, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let messages = lines(child.stderr.take().unwrap());
        let events = lines(child.stdout.take().unwrap());
        Self {
            child,
            messages,
            events,
            totals: Totals::default(),
        }
    }

    /// Waits for a message that contains `text`.
    pub(crate) fn says(&mut self, text: &str) -> String {
        let mut before = Vec::new();
        loop {
            match self.messages.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => before.push(line),
                Err(error) => panic!("waiting for {text:?}: {error}; before that: {before:#?}"),
            }
        }
    }

    /// Waits until the events written so far are as wanted.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Totals) -> bool) {
        while !wanted(&self.totals) {
            match self.events.recv_timeout(PATIENCE) {
                Ok(line) => self.totals.add(&line),
                Err(error) => panic!("waiting for events: {error}; until now {:#?}", self.totals),
            }
        }
    }

    /// Of the events that [`Self::until`] has read.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(crate) fn process(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.process(), signal).unwrap();
    }

    /// Waits for its end and returns all that it has written.
    pub(crate) fn end(mut self) -> (ExitStatus, Totals) {
        for line in &self.events {
            self.totals.add(&line);
        }
        (self.child.wait().unwrap(), std::mem::take(&mut self.totals))
    }

    /// Ends it as an init system does.
    pub(crate) fn stop(self) -> Totals {
        self.signal(Signal::SIGTERM);
        let (status, totals) = self.end();
        assert!(status.success(), "the agent ends with {status}");
        totals
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        // The reader may be gone; the agent must not be held up all the same.
        BufReader::new(from)
            .lines()
            .map_while(Result::ok)
            .for_each(|line| {
                let _ = sender.send(line);
            });
    });
    receiver
}

/// Sums over events.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) flows: Sums,
    pub(crate) seen: Sums,
    pub(crate) exported: Sums,
    /// Packets by reason.
    pub(crate) lost: BTreeMap<String, u64>,
    pub(crate) statistics: u64,
    /// Packets in flow events by name of the interface.
    pub(crate) by_interface: BTreeMap<String, u64>,
    /// Statistics events by index of the interface.
    pub(crate) described: BTreeMap<u64, u64>,
    /// The events themselves.
    pub(crate) lines: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) packets: u64,
    pub(crate) l3_bytes: u64,
    pub(crate) wire_bytes: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, line: &str) {
        self.lines.push(line.to_owned());
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let number = |path: &str| {
            event
                .pointer(path)
                .and_then(whole)
                .unwrap_or_else(|| panic!("{path}: {line}"))
        };
        let action = event.pointer("/event/action").and_then(Value::as_str);
        if action == Some("anomaly_detected") {
            return;
        }
        if action == Some("network_flow") {
            self.flows.packets += number("/network/packets");
            self.flows.l3_bytes += number("/network/bytes");
            let interface = text(&event, "/observer/ingress/interface/name")
                .or_else(|| text(&event, "/observer/egress/interface/name"))
                .unwrap_or_else(|| panic!("no interface: {line}"));
            *self.by_interface.entry(interface).or_default() += number("/network/packets");
        } else {
            self.statistics += 1;
            self.seen.packets += number("/flowmeter/seen/packets");
            self.seen.wire_bytes += number("/flowmeter/seen/wire_bytes");
            self.exported.packets += number("/flowmeter/exported/packets");
            self.exported.wire_bytes += number("/flowmeter/exported/wire_bytes");
            self.exported.l3_bytes += number("/flowmeter/exported/bytes");
            let lost = event
                .pointer("/flowmeter/lost")
                .and_then(Value::as_object)
                .unwrap();
            for (reason, count) in lost {
                let packets = count.get("packets").and_then(whole).unwrap();
                *self.lost.entry(reason.clone()).or_default() += packets;
            }
            let index = number("/flowmeter/interface/id");
            *self.described.entry(index).or_default() += 1;
        }
    }

    /// The conservation law, from the events alone: what was seen is in the flows or counted as lost.
    #[track_caller]
    pub(crate) fn assert_conserved(&self) {
        assert_eq!(
            self.flows.packets, self.exported.packets,
            "flows, exported: {self:?}"
        );
        assert_eq!(
            self.flows.l3_bytes, self.exported.l3_bytes,
            "flows, exported: {self:?}"
        );
        assert_eq!(
            self.seen.packets,
            self.exported.packets + self.lost.values().sum::<u64>(),
            "seen = exported + lost: {self:?}"
        );
    }
}

/// A large number stands as text in an event.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

impl Totals {
    /// How many statistics events there are of the interface with this index.
    pub(crate) fn statistics_of(&self, index: u64) -> u64 {
        self.described.get(&index).copied().unwrap_or_default()
    }
}

fn text(event: &Value, path: &str) -> Option<String> {
    event.pointer(path)?.as_str().map(str::to_owned)
}
