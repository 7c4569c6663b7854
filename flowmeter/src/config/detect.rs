//! The detectors' settings: every parameter with its default and range.

use std::{path::PathBuf, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    Config, Problem, Times,
    check::{DAY, HOUR, MINUTE, SECOND, duration, number, problem},
    form,
};

/// What looks for anomalies, and with which settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Detect {
    /// Memory of all detectors together, 4 MiB to 64 GiB. Over it the least suspicious state is dropped and
    /// counted.
    #[serde(deserialize_with = "form::whole_number")]
    pub memory_bytes: u64,
    /// Where what was learned is kept over restarts; empty: nowhere.
    pub state: PathBuf,
    /// Findings written in a minute of event time, 1 to 100,000; what is over is told in one finding.
    #[serde(deserialize_with = "form::whole_number")]
    pub findings_per_minute: u32,
    /// For this long after the first slice, edges and ports are learned and not told as new, 0 to 90 d.
    #[serde(with = "form::durations")]
    pub learning: Duration,
    /// An episode ends after this long without anything new, 1 min to 7 d.
    #[serde(with = "form::durations")]
    pub quiet: Duration,
    /// What is not told: see [`Allow`].
    pub allow: Vec<Allow>,
    /// Settings that differ for some networks: see [`Group`].
    pub groups: Vec<Group>,
    pub port_scan: PortScan,
    pub outbound_bytes: OutboundBytes,
    pub beaconing: Beaconing,
    pub lateral_movement: LateralMovement,
    pub dns: Dns,
    pub external_inbound: ExternalInbound,
    pub outbound_port: OutboundPort,
    pub dos: Dos,
    pub escalation: Escalation,
}

/// How a detector decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DetectorMode {
    /// By initiator, outcome, baseline.
    #[default]
    Full,
    /// By one fixed threshold, as the original pipeline did.
    Threshold,
    Off,
}

/// A finding that has all of what is given here is not told, but counted.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allow {
    /// Names of findings (`possible_port_scan`, ...); empty: every one.
    pub findings: Vec<String>,
    /// The acting side is in one of these; empty: any.
    #[serde(deserialize_with = "form::networks")]
    pub source: Vec<IpNet>,
    /// The target is in one of these; empty: any.
    #[serde(deserialize_with = "form::networks")]
    pub destination: Vec<IpNet>,
    /// The acting side or the target is in one of these; empty: any.
    #[serde(deserialize_with = "form::networks")]
    pub networks: Vec<IpNet>,
    /// The port is one of these; empty: any.
    pub ports: Vec<u16>,
    /// When it begins to hold: the start of a day (UTC), `2027-01-31`, or a time, `2027-01-31T22:00:00+01:00`; empty:
    /// it always did.
    pub from: String,
    /// When it ends, in the same way; empty: holds for good.
    pub until: String,
    /// Windows of a week in which it holds (UTC), such as `Sat 22:00-02:00` or `Mon-Fri 01:00-02:30`; empty: always.
    pub weekly: Vec<String>,
    /// Why; for people.
    pub comment: String,
}

/// Settings of `[detect]` that are different where the inside end is in `networks`; of two groups with the same
/// address the first counts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Group {
    #[serde(deserialize_with = "form::networks")]
    pub networks: Vec<IpNet>,
    /// As under `[detect]`, detector sections only: `port_scan.targets = 50`.
    #[serde(flatten)]
    pub settings: toml::Table,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PortScan {
    pub mode: DetectorMode,
    /// Ports of one host, or hosts on one port, that failed within `window`, 3 to 10,000.
    #[serde(deserialize_with = "form::whole_number")]
    pub targets: u32,
    /// 10 s to 24 h.
    #[serde(with = "form::durations")]
    pub window: Duration,
    /// The same within 24 h, 3 to 10,000; never less than `targets`.
    #[serde(deserialize_with = "form::whole_number")]
    pub slow_targets: u32,
    /// Failed first contacts of all, per cent, 1 to 100.
    #[serde(deserialize_with = "form::whole_number")]
    pub failure_percent: u32,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutboundBytes {
    pub mode: DetectorMode,
    /// Bytes that one host sends to one outside network within an hour, 1 MB and more.
    #[serde(deserialize_with = "form::whole_number")]
    pub hour_bytes: u64,
    /// The same within 24 h, to a network that the host did not know the day before.
    #[serde(deserialize_with = "form::whole_number")]
    pub day_bytes: u64,
    /// Bytes sent for each byte received, 1 to 1,000.
    #[serde(deserialize_with = "form::whole_number")]
    pub ratio: u32,
    /// Median absolute deviations over the median of the host's own hours, 1 to 100.
    #[serde(deserialize_with = "form::whole_number")]
    pub deviations: u32,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Beaconing {
    pub mode: DetectorMode,
    /// Between inside hosts, too.
    pub internal: bool,
    /// Least contacts, 4 to 1,000.
    #[serde(deserialize_with = "form::whole_number")]
    pub contacts: u32,
    /// Jitter (median absolute deviation of the gaps over their median), per cent, 1 to 50.
    #[serde(deserialize_with = "form::whole_number")]
    pub jitter_percent: u32,
    /// Score from which it is told, 1 to 100.
    #[serde(deserialize_with = "form::whole_number")]
    pub score: u32,
    /// Destinations that this many inside hosts use are ordinary, 2 to 10,000.
    #[serde(deserialize_with = "form::whole_number")]
    pub prevalence: u32,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LateralMovement {
    pub mode: DetectorMode,
    /// Services by which hosts are administered (TCP).
    pub ports: Vec<u16>,
    /// New hosts reached from one source within an hour, 2 to 1,000.
    #[serde(deserialize_with = "form::whole_number")]
    pub fan_out: u32,
    /// Short accepted connections to one service within 10 min that count as guessing passwords, 5 to 100,000.
    #[serde(deserialize_with = "form::whole_number")]
    pub guesses: u32,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    pub mode: DetectorMode,
    /// Mean IP length of the queries that counts as large, 60 to 1,500.
    #[serde(deserialize_with = "form::whole_number")]
    pub query_bytes: u32,
    /// Queries on one socket that count as many, 10 to 100,000.
    #[serde(deserialize_with = "form::whole_number")]
    pub socket_queries: u32,
    /// Hours of the day with queries that count as steady, 2 to 24.
    #[serde(deserialize_with = "form::whole_number")]
    pub hours: u32,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExternalInbound {
    pub mode: DetectorMode,
    /// Services that should not be reached from outside (TCP and UDP).
    pub ports: Vec<u16>,
    /// As [`LateralMovement::guesses`], from outside.
    #[serde(deserialize_with = "form::whole_number")]
    pub guesses: u32,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutboundPort {
    pub mode: DetectorMode,
    /// A port is rare that fewer inside hosts than this used within 7 days, 1 to 1,000.
    #[serde(deserialize_with = "form::whole_number")]
    pub hosts: u32,
    /// Told at once.
    pub bad_ports: Vec<u16>,
    /// Never told.
    pub usual_ports: Vec<u16>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dos {
    pub mode: DetectorMode,
    /// Unfinished connections to one service within 10 s, 50 to 10,000,000.
    #[serde(deserialize_with = "form::whole_number")]
    pub unfinished: u32,
    /// Distinct sources to one host within 10 s, 50 to 10,000,000.
    #[serde(deserialize_with = "form::whole_number")]
    pub sources: u32,
    /// Packets to one host within 10 s that were not answered, 1,000 and more.
    #[serde(deserialize_with = "form::whole_number")]
    pub packets: u64,
    /// Times the host's own usual, 2 to 1,000.
    #[serde(deserialize_with = "form::whole_number")]
    pub times: u32,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Escalation {
    pub mode: DetectorMode,
    /// Episodes of scanning from one source (or subnet) within 24 h, 2 to 1,000.
    #[serde(deserialize_with = "form::whole_number")]
    pub scans: u32,
    /// Hosts scanned by one source within 24 h, 2 to 100,000.
    #[serde(deserialize_with = "form::whole_number")]
    pub victims: u32,
}

impl Default for Detect {
    fn default() -> Self {
        Self {
            memory_bytes: 160 << 20,
            state: "/var/lib/flowmeter/state".into(),
            findings_per_minute: 60,
            learning: DAY,
            quiet: 15 * MINUTE,
            allow: Vec::new(),
            groups: Vec::new(),
            port_scan: PortScan::default(),
            outbound_bytes: OutboundBytes::default(),
            beaconing: Beaconing::default(),
            lateral_movement: LateralMovement::default(),
            dns: Dns::default(),
            external_inbound: ExternalInbound::default(),
            outbound_port: OutboundPort::default(),
            dos: Dos::default(),
            escalation: Escalation::default(),
        }
    }
}

impl Default for PortScan {
    fn default() -> Self {
        Self {
            mode: DetectorMode::Full,
            targets: 10,
            window: HOUR,
            slow_targets: 15,
            failure_percent: 50,
        }
    }
}

impl Default for OutboundBytes {
    fn default() -> Self {
        Self {
            mode: DetectorMode::Full,
            hour_bytes: 100_000_000,
            day_bytes: 250_000_000,
            ratio: 4,
            deviations: 6,
        }
    }
}

impl Default for Beaconing {
    fn default() -> Self {
        Self {
            mode: DetectorMode::Full,
            internal: false,
            contacts: 8,
            jitter_percent: 25,
            score: 60,
            prevalence: 5,
        }
    }
}

impl Default for LateralMovement {
    fn default() -> Self {
        Self {
            mode: DetectorMode::Full,
            ports: vec![22, 23, 135, 139, 445, 1433, 3306, 3389, 5432, 5900, 5985, 5986],
            fan_out: 3,
            guesses: 20,
        }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            mode: DetectorMode::Full,
            query_bytes: 100,
            socket_queries: 100,
            hours: 6,
        }
    }
}

impl Default for ExternalInbound {
    fn default() -> Self {
        Self {
            mode: DetectorMode::Full,
            ports: vec![
                21, 22, 23, 135, 137, 138, 139, 161, 389, 445, 512, 513, 514, 623, 873, 1433, 1521, 2049,
                2375, 3306, 3389, 5432, 5900, 5985, 5986, 6379, 9200, 11211, 27017,
            ],
            guesses: 20,
        }
    }
}

impl Default for OutboundPort {
    fn default() -> Self {
        Self {
            mode: DetectorMode::Full,
            hosts: 2,
            bad_ports: vec![1337, 4444, 5554, 6666, 9050, 12345, 31337, 54321],
            usual_ports: vec![
                20, 21, 22, 25, 43, 53, 80, 110, 123, 143, 443, 465, 500, 587, 853, 873, 993, 995, 1194,
                1935, 3478, 4500, 5061, 5222, 5223, 5228, 8080, 8443, 9418, 51820,
            ],
        }
    }
}

impl Default for Dos {
    fn default() -> Self {
        Self {
            mode: DetectorMode::Full,
            unfinished: 500,
            sources: 500,
            packets: 50_000,
            times: 8,
        }
    }
}

impl Default for Escalation {
    fn default() -> Self {
        Self {
            mode: DetectorMode::Full,
            scans: 3,
            victims: 5,
        }
    }
}

impl Detect {
    /// The settings that hold for a group: these, with the group's own put over them.
    ///
    /// # Errors
    /// What is wrong with the group's keys or values.
    pub fn of_group(&self, group: &Group) -> Result<Self, String> {
        let words = |error: toml::de::Error| form::plain(&error);
        let mut table = toml::Table::try_from(self).map_err(|error| error.to_string())?;
        merge(&mut table, &group.settings);
        let mut settings: Self = table.try_into().map_err(words)?;
        settings.groups.clear();
        Ok(settings)
    }
}

fn merge(table: &mut toml::Table, over: &toml::Table) {
    for (key, value) in over {
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(over)) => merge(inner, over),
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Sections that a group may change.
const SECTIONS: [&str; 9] = [
    "port_scan",
    "outbound_bytes",
    "beaconing",
    "lateral_movement",
    "dns",
    "external_inbound",
    "outbound_port",
    "dos",
    "escalation",
];

impl Config {
    pub(super) fn check_detect(&self) -> Result<(), Problem> {
        let detect = &self.detect;
        number(
            "detect.memory_bytes",
            detect.memory_bytes,
            4 << 20,
            Some(64 << 30),
        )?;
        number(
            "detect.findings_per_minute",
            detect.findings_per_minute.into(),
            1,
            Some(100_000),
        )?;
        duration("detect.learning", detect.learning, Duration::ZERO, Some(90 * DAY))?;
        duration("detect.quiet", detect.quiet, MINUTE, Some(7 * DAY))?;
        for allow in &detect.allow {
            if let Err(message) = Times::new(allow) {
                return problem("detect.allow", message);
            }
            for name in &allow.findings {
                if crate::detect::Tag::from_name(name).is_none() {
                    return problem(
                        "detect.allow",
                        format!("findings: `{}` is no finding", name.escape_debug()),
                    );
                }
            }
        }
        detect.check_sections("detect")?;
        for group in &detect.groups {
            if let Some(key) = group
                .settings
                .keys()
                .find(|key| !SECTIONS.contains(&key.as_str()))
            {
                return problem(
                    "detect.groups",
                    format!(
                        "`{}` is not a detector's section: {}",
                        key.escape_debug(),
                        SECTIONS.join(", ")
                    ),
                );
            }
            let settings = detect
                .of_group(group)
                .or_else(|message| problem("detect.groups", message).map(|()| detect.clone()))?;
            settings
                .check_sections("detect.groups")
                .map_err(|found| Problem {
                    key: "detect.groups".to_owned(),
                    message: found.to_string(),
                })?;
        }
        Ok(())
    }
}

impl Detect {
    fn check_sections(&self, prefix: &str) -> Result<(), Problem> {
        let scan = &self.port_scan;
        duration(
            &format!("{prefix}.port_scan.window"),
            scan.window,
            10 * SECOND,
            Some(DAY),
        )?;
        let ranges: [(&str, u64, u64, u64); 24] = [
            ("port_scan.targets", scan.targets.into(), 3, 10_000),
            ("port_scan.slow_targets", scan.slow_targets.into(), 3, 10_000),
            ("port_scan.failure_percent", scan.failure_percent.into(), 1, 100),
            (
                "outbound_bytes.hour_bytes",
                self.outbound_bytes.hour_bytes,
                1_000_000,
                u64::MAX,
            ),
            (
                "outbound_bytes.day_bytes",
                self.outbound_bytes.day_bytes,
                1_000_000,
                u64::MAX,
            ),
            ("outbound_bytes.ratio", self.outbound_bytes.ratio.into(), 1, 1000),
            (
                "outbound_bytes.deviations",
                self.outbound_bytes.deviations.into(),
                1,
                100,
            ),
            ("beaconing.contacts", self.beaconing.contacts.into(), 4, 1000),
            (
                "beaconing.jitter_percent",
                self.beaconing.jitter_percent.into(),
                1,
                50,
            ),
            ("beaconing.score", self.beaconing.score.into(), 1, 100),
            (
                "beaconing.prevalence",
                self.beaconing.prevalence.into(),
                2,
                10_000,
            ),
            (
                "lateral_movement.fan_out",
                self.lateral_movement.fan_out.into(),
                2,
                1000,
            ),
            (
                "lateral_movement.guesses",
                self.lateral_movement.guesses.into(),
                5,
                100_000,
            ),
            ("dns.query_bytes", self.dns.query_bytes.into(), 60, 1500),
            ("dns.socket_queries", self.dns.socket_queries.into(), 10, 100_000),
            ("dns.hours", self.dns.hours.into(), 2, 24),
            (
                "external_inbound.guesses",
                self.external_inbound.guesses.into(),
                5,
                100_000,
            ),
            ("outbound_port.hosts", self.outbound_port.hosts.into(), 1, 1000),
            ("dos.unfinished", self.dos.unfinished.into(), 50, 10_000_000),
            ("dos.sources", self.dos.sources.into(), 50, 10_000_000),
            ("dos.packets", self.dos.packets, 1000, u64::MAX),
            ("dos.times", self.dos.times.into(), 2, 1000),
            ("escalation.scans", self.escalation.scans.into(), 2, 1000),
            ("escalation.victims", self.escalation.victims.into(), 2, 100_000),
        ];
        for (name, value, least, most) in ranges {
            let most = (most < u64::MAX).then_some(most);
            number(&format!("{prefix}.{name}"), value, least, most)?;
        }
        Ok(())
    }
}
