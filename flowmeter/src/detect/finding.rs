//! What a detector says: one finding, with the evidence that an analyst needs to judge it.

use std::net::IpAddr;

/// The kinds of findings; the names are those of `anomaly.tags` and of the rules (117001 to 117009).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Tag {
    PortScan,
    OutboundBytes,
    Beaconing,
    LateralMovement,
    Dns,
    ExternalInbound,
    OutboundPort,
    Dos,
    Escalation,
    /// No anomaly of the network: more findings than may be written in a minute.
    Overflow,
}

impl Tag {
    pub const ALL: [Self; 10] = [
        Self::PortScan,
        Self::OutboundBytes,
        Self::Beaconing,
        Self::LateralMovement,
        Self::Dns,
        Self::ExternalInbound,
        Self::OutboundPort,
        Self::Dos,
        Self::Escalation,
        Self::Overflow,
    ];

    /// The name that stands in events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PortScan => "possible_port_scan",
            Self::OutboundBytes => "high_outbound_bytes",
            Self::Beaconing => "possible_beaconing",
            Self::LateralMovement => "possible_lateral_movement",
            Self::Dns => "suspicious_dns_flow",
            Self::ExternalInbound => "external_inbound_sensitive",
            Self::OutboundPort => "unusual_outbound_port",
            Self::Dos => "possible_dos",
            Self::Escalation => "scan_escalation",
            Self::Overflow => "findings_overflow",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tag| tag.name() == name)
    }
}

/// Where in its episode a finding stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    Start,
    /// Twice as much as was told last, or of a new kind.
    Update,
    /// Nothing new for `detect.quiet`.
    End,
}

impl Phase {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Update => "update",
            Self::End => "end",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Confidence {
    Low,
    Medium,
    High,
}

impl Confidence {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// Why it was raised: an identifier that stays the same over versions, and the same with its numbers in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub id: &'static str,
    pub words: String,
}

/// A number that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// `failed_ports`, `distinct_sources`, `bytes_sent`, ...
    pub name: &'static str,
    pub value: u64,
    /// What `value` may be off by (one standard error, in per cent); 0: exact.
    pub error_percent: u8,
    /// How it was counted: `exact`, `hyperloglog`.
    pub method: &'static str,
}

impl Count {
    pub const fn exact(name: &'static str, value: u64) -> Self {
        Self {
            name,
            value,
            error_percent: 0,
            method: "exact",
        }
    }
}

/// The rhythm of a beacon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub period_ns: u64,
    /// Median absolute deviation of the gaps.
    pub jitter_ns: u64,
    /// When the next contact is due, nanoseconds since the Unix epoch.
    pub next_ns: u64,
}

/// A volume or a rate against what is usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Baseline {
    /// What is usual; 0 where nothing is known yet.
    pub usual: f64,
    pub observed: f64,
    /// Times the usual deviation; infinite where nothing is known yet.
    pub deviation: f64,
    /// `bytes/h`, `connections/10s`, ...
    pub unit: &'static str,
}

/// What of the traffic could be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visibility {
    /// Almost nothing was ever answered where this was seen: "no reply" proves little.
    pub one_sided: bool,
    /// Packets that were not counted in the time since the last [`super::Engine::advance`].
    pub lost_packets: u64,
}

/// One start, update or end of an episode. What it holds is complete: nothing else has to be looked up.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub tag: Tag,
    pub phase: Phase,
    /// The same in every finding of an episode, different in any other.
    pub episode: u64,
    /// From 1 on within an episode.
    pub sequence: u32,
    /// The acting side, unless it is more than one.
    pub source: Option<IpAddr>,
    /// Its target, unless there is more than one.
    pub destination: Option<IpAddr>,
    /// The target's port, unless there is more than one; for ICMP the type.
    pub port: Option<u16>,
    pub protocol: Option<u8>,
    /// Of the evidence; nanoseconds since the Unix epoch.
    pub first_seen_ns: u64,
    pub last_seen_ns: u64,
    /// 0 to 100.
    pub score: u8,
    pub confidence: Confidence,
    /// The weightiest first.
    pub reasons: Vec<Reason>,
    pub counts: Vec<Count>,
    /// Up to [`SAMPLE`] each, the lowest first.
    pub ports: Vec<u16>,
    pub hosts: Vec<IpAddr>,
    /// Ports that answered.
    pub open_ports: Vec<u16>,
    pub period: Option<Period>,
    pub baseline: Option<Baseline>,
    pub visibility: Visibility,
    /// ATT&CK ids, the fittest first.
    pub techniques: Vec<&'static str>,
    /// The setting that decided, and its value.
    pub settings: Vec<(&'static str, String)>,
    /// What would have been told of the same episode since the last finding and was not.
    pub suppressed: u64,
    /// One sentence: who did what to whom.
    pub message: String,
}

impl Finding {
    /// A start with nothing in it yet but its kind and the time of its evidence.
    pub(super) fn new(tag: Tag, first_seen_ns: u64, last_seen_ns: u64) -> Self {
        Self {
            tag,
            phase: Phase::Start,
            episode: 0,
            sequence: 0,
            source: None,
            destination: None,
            port: None,
            protocol: None,
            first_seen_ns,
            last_seen_ns,
            score: 0,
            confidence: Confidence::Low,
            reasons: Vec::new(),
            counts: Vec::new(),
            ports: Vec::new(),
            hosts: Vec::new(),
            open_ports: Vec::new(),
            period: None,
            baseline: None,
            visibility: Visibility::default(),
            techniques: Vec::new(),
            settings: Vec::new(),
            suppressed: 0,
            message: String::new(),
        }
    }

    pub(super) fn reason(&mut self, id: &'static str, words: impl Into<String>) {
        self.reasons.push(Reason {
            id,
            words: words.into(),
        });
    }
}

/// Elements in a sample of ports or hosts.
pub const SAMPLE: usize = 16;
