//! What a meter has counted, flow by flow, against what was sent. The source address tells the flow, whatever the
//! meter says of direction.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::IpAddr,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::super::generator::{
    Load,
    traffic::{ETHERNET, MAX_FLOWS, SOURCE_V4},
};
use crate::process::step;

pub(super) struct Counts {
    first_flow: u32,
    /// Packets and bytes of IP of each flow.
    flows: Vec<(u64, u64)>,
}

/// The sum of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) packets: u64,
    /// Flows of which there was something.
    pub(super) found: u32,
    /// Flows with exactly the packets and bytes that were sent.
    pub(super) exact: u32,
}

impl Counts {
    pub(super) fn new(load: &Load) -> Self {
        Self {
            first_flow: load.first_flow,
            flows: vec![(0, 0); load.flows as usize],
        }
    }

    /// Adds a record; addresses that were not sent from count nothing.
    fn add(&mut self, addresses: [IpAddr; 2], packets: u64, bytes: u64) {
        let flow = addresses.into_iter().find_map(flow_of);
        let index = flow.and_then(|flow| flow.checked_sub(self.first_flow));
        if let Some(sum) = index.and_then(|index| self.flows.get_mut(index as usize)) {
            sum.0 += packets;
            sum.1 += bytes;
        }
    }

    pub(super) fn sum(&self, load: &Load) -> Sum {
        let (traffic, rounds) = (load.traffic(0), u64::from(load.rounds));
        let mut sum = Sum::default();
        for (number, &(packets, bytes)) in (self.first_flow..).zip(&self.flows) {
            let length = u64::from(traffic.flow(number).frame_length - ETHERNET);
            sum.packets += packets;
            sum.found += u32::from(packets > 0);
            sum.exact += u32::from(packets == rounds && bytes == rounds * length);
        }
        sum
    }

    /// The agent's event file.
    pub(super) fn read_events(&mut self, file: &Path) -> Result<()> {
        #[derive(Deserialize)]
        struct Event<'a> {
            #[serde(borrow)]
            event: Kind<'a>,
            source: Option<End>,
            destination: Option<End>,
            network: Option<Network>,
        }
        /// A finding has these too, without counters.
        #[derive(Deserialize)]
        struct Network {
            packets: Option<Number>,
            bytes: Option<Number>,
        }
        #[derive(Deserialize)]
        struct Kind<'a> {
            kind: &'a str,
            action: &'a str,
        }
        #[derive(Deserialize)]
        struct End {
            ip: IpAddr,
        }
        each_line(file, |line| {
            let event: Event = serde_json::from_str(line)?;
            if event.event.kind == "event"
                && event.event.action == "network_flow"
                && let (Some(source), Some(destination), Some(network)) =
                    (event.source, event.destination, event.network)
                && let (Some(packets), Some(bytes)) = (network.packets, network.bytes)
            {
                let (packets, bytes) = (packets.value()?, bytes.value()?);
                self.add([source.ip, destination.ip], packets, bytes);
            }
            Ok(())
        })
    }

    /// The files that pmacctd's print plugin has left in `directory`, one for each second in which it wrote. Where it wrote
    /// twice in one second, the second writing went over the first, which leaves lines that are none: what stood there is
    /// lost to whoever reads the file.
    pub(super) fn read_pmacctd(&mut self, directory: &Path) -> Result<()> {
        #[derive(Deserialize)]
        struct Record {
            ip_src: IpAddr,
            ip_dst: IpAddr,
            packets: u64,
            bytes: u64,
        }
        let mut overwritten = 0;
        for entry in fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            each_line(&path, |line| {
                match serde_json::from_str::<Record>(line) {
                    Ok(record) => self.add([record.ip_src, record.ip_dst], record.packets, record.bytes),
                    Err(_) => overwritten += 1,
                }
                Ok(())
            })?;
        }
        if overwritten > 0 {
            step(&format!(
                "pmacctd wrote over itself: {overwritten} lines cannot be read"
            ));
        }
        Ok(())
    }

    /// The files of nfcapd or nfpcapd in `directory`.
    pub(super) fn read_nfdump(&mut self, directory: &Path) -> Result<()> {
        let mut dump = Command::new("nfdump")
            .args(["-q", "-6", "-N", "-o", "fmt:%sa;%da;%pkt;%byt", "-R"])
            .arg(directory)
            .stdout(Stdio::piped())
            .spawn()
            .context("running nfdump")?;
        let lines = BufReader::new(dump.stdout.take().context("nfdump has no output")?).lines();
        for line in lines {
            let line = line.context("reading from nfdump")?;
            let words: Vec<&str> = line.split(';').map(str::trim).collect();
            if let [source, destination, packets, bytes] = *words.as_slice()
                && let (Ok(source), Ok(destination)) = (source.parse(), destination.parse())
            {
                self.add([source, destination], packets.parse()?, bytes.parse()?);
            }
        }
        let status = dump.wait().context("waiting for nfdump")?;
        ensure!(status.success(), "nfdump failed: {status}");
        Ok(())
    }
}

/// Numbers beyond 2^31 are strings in the schema for Wazuh.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(u64),
    Text(String),
}

impl Number {
    fn value(&self) -> Result<u64> {
        match self {
            Self::Plain(value) => Ok(*value),
            Self::Text(text) => text.parse().with_context(|| format!("{text:?} is no number")),
        }
    }
}

fn each_line(file: &Path, mut each: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let opened = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    let (mut reader, mut line) = (BufReader::with_capacity(1 << 20, opened), String::new());
    loop {
        line.clear();
        let length = reader
            .read_line(&mut line)
            .with_context(|| format!("reading {}", file.display()))?;
        if length == 0 {
            return Ok(());
        }
        each(&line).with_context(|| format!("reading {}: {line:.200}", file.display()))?;
    }
}

fn flow_of(address: IpAddr) -> Option<u32> {
    let low = match address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(address) => {
            let [.., a, b] = address.segments();
            u32::from(a) << 16 | u32::from(b)
        }
    };
    low.checked_sub(SOURCE_V4).filter(|flow| *flow < MAX_FLOWS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(write: &str, read: fn(&mut Counts, &Path) -> Result<()>, name: &str) -> Sum {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(name);
        fs::write(&file, write).unwrap();
        let load = Load {
            rounds: 2,
            ..Load::new(3, 6)
        };
        let mut counts = Counts::new(&load);
        read(&mut counts, &file).unwrap();
        counts.sum(&load)
    }

    #[test]
    fn flows_of_the_agent_are_told_by_the_address_that_was_sent_from_on_whichever_side_it_stands() {
        let line = |source: &str, destination: &str, packets: &str| {
            format!(
                "{{\"event\":{{\"kind\":\"event\",\"action\":\"network_flow\"}},\"source\":{{\"ip\":\"{source}\"}},\
                 \"destination\":{{\"ip\":\"{destination}\"}},\
                 \"network\":{{\"packets\":{packets},\"bytes\":92}}}}\n"
            )
        };
        let text = line("10.0.0.0", "198.18.0.0", "2")
            + &line("198.18.0.1", "10.0.0.1", "\"2\"")
            + &line("10.0.0.2", "198.18.0.2", "1")
            + &line("10.0.0.3", "198.18.0.3", "2")
            + "{\"event\":{\"kind\":\"metric\",\"action\":\"statistics\"}}\n"
            + "{\"event\":{\"kind\":\"alert\",\"action\":\"possible_dos\"},\"network\":{\"type\":\"ipv4\"}}\n";
        let sum = counted(&text, Counts::read_events, "events.json");
        assert_eq!(
            sum,
            Sum {
                packets: 5,
                found: 3,
                exact: 2
            }
        );
    }

    #[test]
    fn records_of_one_flow_in_pmacctd_s_files_are_added_up_as_far_as_they_can_be_read() {
        let line = r#"{"event_type":"purge","ip_src":"10.0.0.1","ip_dst":"198.18.0.1","port_src":1,"port_dst":2,"ip_proto":"udp","packets":1,"bytes":46}"#;
        // Between them a hole, as two writers of one file leave it.
        let text = format!("{line}\n\0\0\0{line}\n{line}\n");
        let read = |counts: &mut Counts, file: &Path| counts.read_pmacctd(file.parent().unwrap());
        assert_eq!(
            counted(&text, read, "out.json"),
            Sum {
                packets: 2,
                found: 1,
                exact: 1
            }
        );
    }

    #[test]
    fn the_flow_stands_in_the_low_bits_of_an_ipv6_address() {
        assert_eq!(flow_of("2001:db8:1::a00:7".parse().unwrap()), Some(7));
        assert_eq!(flow_of("2001:db8:2::c612:7".parse().unwrap()), None);
    }
}
