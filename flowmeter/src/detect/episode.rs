//! Episodes: one start, updates when there is news, one end; and the cap on findings.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{
    Confidence, Count, Finding, Phase, Reason, Tag, Visibility,
    settings::{Settings, nanoseconds},
    sketch::hash,
    table::{Entry, Table},
};

/// What an episode is about. What is absent may be several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Subject {
    pub(super) tag: Tag,
    pub(super) source: Option<IpAddr>,
    pub(super) target: Option<IpAddr>,
    pub(super) port: Option<u16>,
    /// Tells apart what is otherwise the same: the kind of a flood.
    pub(super) kind: u8,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Episode {
    id: u64,
    /// When it was first told.
    began_ns: u64,
    first_ns: u64,
    last_ns: u64,
    told_ns: u64,
    quiet_ns: u64,
    /// What doubles: targets, bytes, contacts.
    magnitude: u64,
    magnitude_told: u64,
    /// Kinds of evidence that were told, a bit each.
    dimensions: u32,
    sequence: u32,
    suppressed: u64,
    score: u8,
    confidence: Confidence,
    protocol: Option<u8>,
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    port: Option<u16>,
    reasons: Vec<(String, String)>,
    techniques: Vec<String>,
    /// On the allow-list: goes on without a word.
    muted: bool,
}

impl Entry for Episode {
    fn suspicion(&self) -> u32 {
        self.score.into()
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

/// No update comes sooner after what was told last.
const UPDATE_NS: u64 = 60_000_000_000;
const MINUTE_NS: u64 = 60_000_000_000;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Episodes {
    open: Table<Subject, Episode>,
    /// Of the minute that is now: which, how many were told, what was not by kind.
    minute: u64,
    told: u32,
    over: BTreeMap<Tag, u64>,
    /// How often each entry of the allow-list kept something back.
    pub(super) allow_hits: Vec<u64>,
    next_sweep_ns: u64,
    #[serde(skip)]
    pub(super) findings: Vec<Finding>,
    /// Starts and updates since the escalation last looked.
    #[serde(skip)]
    pub(super) news: Vec<News>,
    #[serde(skip)]
    pub(super) visibility: Visibility,
}

/// An episode that started or got a new dimension.
#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    pub(super) subject: Subject,
    pub(super) dimensions: u32,
    pub(super) start: bool,
    pub(super) time_ns: u64,
}

impl Episodes {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            open: Table::with_bytes(bytes, 400),
            minute: 0,
            told: 0,
            over: BTreeMap::new(),
            allow_hits: Vec::new(),
            next_sweep_ns: 0,
            findings: Vec::new(),
            news: Vec::new(),
            visibility: Visibility::default(),
        }
    }

    pub(super) fn adopt(&mut self, other: Self) {
        self.open.adopt(other.open);
        self.minute = other.minute;
        self.told = other.told;
        self.over = other.over;
        self.allow_hits = other.allow_hits;
        self.next_sweep_ns = other.next_sweep_ns;
    }

    pub(super) fn usage(&self) -> (usize, usize, u64) {
        (self.open.len(), self.open.capacity(), self.open.evicted())
    }

    /// Since when an episode about the subject has been told, if it still runs.
    pub(super) fn since(&self, subject: &Subject) -> Option<u64> {
        self.open.get(subject).map(|episode| episode.began_ns)
    }

    /// Whether a finding would be told now; if not, it is noted in the episode. To be asked before evidence is
    /// put together.
    pub(super) fn wants(&mut self, subject: &Subject, magnitude: u64, dimensions: u32, now_ns: u64) -> bool {
        let Some(episode) = self.open.get_mut(subject) else {
            return true;
        };
        episode.last_ns = episode.last_ns.max(now_ns);
        episode.magnitude = episode.magnitude.max(magnitude);
        let news =
            magnitude >= episode.magnitude_told.saturating_mul(2) || dimensions & !episode.dimensions != 0;
        if news && now_ns >= episode.told_ns.saturating_add(UPDATE_NS) {
            return true;
        }
        episode.suppressed += 1;
        false
    }

    /// Tells a finding, as the start or an update of its episode. `quiet_ns`: how long nothing new may come
    /// before it ends, at least `detect.quiet`.
    #[expect(
        clippy::too_many_arguments,
        reason = "what tells one episode from another, and how far it has come"
    )]
    pub(super) fn raise(
        &mut self,
        settings: &Settings,
        subject: Subject,
        magnitude: u64,
        dimensions: u32,
        quiet_ns: u64,
        now_ns: u64,
        mut finding: Finding,
    ) {
        let allowed = settings.allowing(&finding, now_ns);
        if let Some(index) = allowed {
            if self.allow_hits.len() <= index {
                self.allow_hits.resize(index + 1, 0);
            }
            if let Some(hits) = self.allow_hits.get_mut(index) {
                *hits += 1;
            }
        }
        let first_ns = finding.first_seen_ns;
        let start = !self.open.contains(&subject);
        let episode = self.open.entry(subject, || Episode {
            // The same evidence may still count when the next episode starts.
            id: hash(1, &(subject, first_ns, now_ns)),
            began_ns: now_ns,
            first_ns,
            last_ns: now_ns,
            told_ns: now_ns,
            quiet_ns: 0,
            magnitude,
            magnitude_told: magnitude,
            dimensions: 0,
            sequence: 0,
            suppressed: 0,
            score: 0,
            confidence: finding.confidence,
            protocol: None,
            source: None,
            destination: None,
            port: None,
            reasons: Vec::new(),
            techniques: Vec::new(),
            muted: false,
        });
        episode.muted = allowed.is_some();
        episode.sequence += 1;
        episode.last_ns = episode.last_ns.max(now_ns);
        episode.told_ns = now_ns;
        episode.quiet_ns = quiet_ns.max(nanoseconds(settings.base().quiet));
        episode.magnitude = episode.magnitude.max(magnitude);
        episode.magnitude_told = magnitude;
        episode.dimensions |= dimensions;
        episode.score = episode.score.max(finding.score);
        episode.confidence = episode.confidence.max(finding.confidence);
        (episode.source, episode.destination) = (finding.source, finding.destination);
        (episode.port, episode.protocol) = (finding.port, finding.protocol);
        episode.reasons = finding
            .reasons
            .iter()
            .map(|reason| (reason.id.to_owned(), reason.words.clone()))
            .collect();
        episode.techniques = finding.techniques.iter().map(|id| (*id).to_owned()).collect();
        finding.episode = episode.id;
        finding.sequence = episode.sequence;
        finding.phase = if start { Phase::Start } else { Phase::Update };
        finding.first_seen_ns = finding.first_seen_ns.min(episode.first_ns);
        finding.suppressed = std::mem::take(&mut episode.suppressed);
        finding.visibility = self.visibility;
        let muted = episode.muted;
        self.news.push(News {
            subject,
            dimensions,
            start,
            time_ns: now_ns,
        });
        if !muted {
            self.tell(settings, finding, now_ns);
        }
    }

    /// Ends what has been quiet for long enough, and tells what was over the cap.
    pub(super) fn tick(&mut self, settings: &Settings, now_ns: u64) {
        self.turn_minute(now_ns);
        if now_ns < self.next_sweep_ns {
            return;
        }
        self.next_sweep_ns = now_ns.saturating_add(10_000_000_000);
        let over = self
            .open
            .keys_where(|_, episode| episode.last_ns.saturating_add(episode.quiet_ns) <= now_ns);
        for subject in over {
            if let Some(episode) = self.open.remove(&subject)
                && !episode.muted
            {
                self.tell(settings, ended(&subject, episode), now_ns);
            }
        }
    }

    fn tell(&mut self, settings: &Settings, finding: Finding, now_ns: u64) {
        self.turn_minute(now_ns);
        if self.told < settings.base().findings_per_minute {
            self.told += 1;
            self.findings.push(finding);
        } else {
            *self.over.entry(finding.tag).or_default() += 1;
        }
    }

    fn turn_minute(&mut self, now_ns: u64) {
        let minute = now_ns / MINUTE_NS;
        if minute <= self.minute {
            return;
        }
        let over = std::mem::take(&mut self.over);
        if !over.is_empty() {
            let finding = overflow(&over, self.minute);
            self.findings.push(finding);
        }
        self.minute = minute;
        self.told = 0;
    }
}

fn overflow(over: &BTreeMap<Tag, u64>, minute: u64) -> Finding {
    let total: u64 = over.values().sum();
    let kinds: Vec<String> = over
        .iter()
        .map(|(tag, count)| format!("{count} {}", tag.name()))
        .collect();
    let mut finding = Finding::new(Tag::Overflow, minute * MINUTE_NS, (minute + 1) * MINUTE_NS - 1);
    finding.episode = hash(1, &(Tag::Overflow, minute));
    finding.sequence = 1;
    finding.counts = over
        .iter()
        .map(|(tag, count)| Count::exact(tag.name(), *count))
        .collect();
    finding.suppressed = total;
    finding.reasons = vec![Reason {
        id: "findings_per_minute",
        words: format!("{total} findings over the cap"),
    }];
    finding.message = format!(
        "{total} findings were not written within a minute: {}",
        kinds.join(", ")
    );
    finding
}

fn ended(subject: &Subject, episode: Episode) -> Finding {
    let mut finding = Finding::new(subject.tag, episode.first_ns, episode.last_ns);
    finding.phase = Phase::End;
    finding.episode = episode.id;
    finding.sequence = episode.sequence + 1;
    (finding.source, finding.destination) = (episode.source, episode.destination);
    (finding.port, finding.protocol) = (episode.port, episode.protocol);
    finding.score = episode.score;
    finding.confidence = episode.confidence;
    finding.suppressed = episode.suppressed;
    finding.counts = vec![Count::exact("magnitude", episode.magnitude)];
    finding.reasons = episode
        .reasons
        .into_iter()
        .filter_map(|(id, words)| {
            let id = REASONS.iter().find(|known| **known == id)?;
            Some(Reason { id, words })
        })
        .collect();
    finding.techniques = episode
        .techniques
        .iter()
        .filter_map(|id| TECHNIQUES.iter().find(|known| *known == id).copied())
        .collect();
    let seconds = (episode.last_ns - episode.first_ns.min(episode.last_ns)) / 1_000_000_000;
    finding.message = format!(
        "The {} episode{}{} has ended after {seconds} s.",
        subject.tag.name(),
        episode.source.map(|ip| format!(" of {ip}")).unwrap_or_default(),
        episode
            .destination
            .map(|ip| format!(" against {ip}"))
            .unwrap_or_default(),
    );
    finding
}

/// Identifiers of reasons. They stay the same over versions: rules and searches match on them.
pub const REASONS: [&str; 51] = [
    "findings_per_minute",
    // possible_port_scan
    "vertical_scan",
    "horizontal_scan",
    "distributed_targets",
    "slow_scan",
    "stealth_flags",
    "half_open",
    "ack_probes",
    "icmp_sweep",
    "udp_scan",
    "sensitive_ports",
    "icmp_unreachable",
    "one_sided",
    "threshold",
    // high_outbound_bytes
    "hour_volume",
    "day_volume",
    "over_baseline",
    "new_destination",
    "sent_received_ratio",
    // possible_beaconing
    "regular_gaps",
    "missed_beats",
    "same_size",
    "many_hours",
    "rare_destination",
    "long_series",
    "dead_host_retry",
    // possible_lateral_movement
    "new_admin_edge",
    "fan_out",
    "no_admin_host",
    "after_finding",
    "failures_then_success",
    "brute_force",
    // suspicious_dns_flow
    "unknown_resolver",
    "large_queries",
    "busy_socket",
    "long_socket",
    "steady_hours",
    "beaconing",
    "query_volume",
    // external_inbound_sensitive
    "exposed_service",
    // unusual_outbound_port
    "rare_port",
    "bad_port",
    // possible_dos
    "syn_flood",
    "many_sources",
    "reflection",
    "stray_segments",
    "packet_flood",
    "connection_exhaustion",
    "flow_map_full",
    // scan_escalation
    "several_scans",
    "scan_then_connect",
];

/// ATT&CK techniques that findings name.
pub const TECHNIQUES: [&str; 26] = [
    "T1046",
    "T1595",
    "T1595.001",
    "T1595.002",
    "T1048",
    "T1567",
    "T1041",
    "T1071",
    "T1071.001",
    "T1071.004",
    "T1571",
    "T1021",
    "T1021.001",
    "T1021.002",
    "T1021.003",
    "T1021.004",
    "T1021.005",
    "T1021.006",
    "T1110",
    "T1133",
    "T1190",
    "T1572",
    "T1095",
    "T1498",
    "T1498.001",
    "T1498.002",
];
