//! What an analyst should know about each kind of finding, each reason and each technique. One table, kept
//! complete by the compiler ([`kind`]) and by tests ([`REASONS`], [`TECHNIQUES`]).
//!
//! In commands `{source}`, `{destination}`, `{port}` and the like stand for what the finding names; a step whose
//! placeholders it cannot fill is left out.

use crate::detect::Tag;

/// What is the same for all findings of a tag.
pub(crate) struct Kind {
    pub(crate) title: &'static str,
    /// What usually turns out to be behind it when nothing is wrong.
    pub(crate) benign: &'static [&'static str],
    pub(crate) next: &'static [Step],
    /// The role that a host may have, better than an entry of the allow-list: a key and its value.
    pub(crate) role: Option<Role>,
}

pub(crate) struct Step {
    pub(crate) what: &'static str,
    /// Empty: something to think about, not to type.
    pub(crate) command: &'static str,
}

pub(crate) struct Role {
    pub(crate) when: &'static str,
    pub(crate) setting: &'static str,
}

const fn look(what: &'static str, command: &'static str) -> Step {
    Step { what, command }
}

const fn ask(what: &'static str) -> Step {
    Step { what, command: "" }
}

pub(crate) const fn kind(tag: Tag) -> &'static Kind {
    match tag {
        Tag::PortScan => &PORT_SCAN,
        Tag::OutboundBytes => &OUTBOUND_BYTES,
        Tag::Beaconing => &BEACONING,
        Tag::LateralMovement => &LATERAL_MOVEMENT,
        Tag::Dns => &DNS,
        Tag::ExternalInbound => &EXTERNAL_INBOUND,
        Tag::OutboundPort => &OUTBOUND_PORT,
        Tag::Dos => &DOS,
        Tag::Escalation => &ESCALATION,
        Tag::Overflow => &OVERFLOW,
    }
}

const PORT_SCAN: Kind = Kind {
    title: "Possible port scan",
    benign: &[
        "a vulnerability scanner, asset inventory or monitoring system at its work",
        "a program that keeps looking for servers that have moved or are switched off",
        "peer-to-peer software trying old peers",
        "where it comes from the Internet: background noise, which every public address gets",
    ],
    next: &[
        look(
            "Which program on the source does it? On it, if it is yours, as root:",
            "ss -tunp state syn-sent",
        ),
        ask(
            "Did any target accept? Open ports are what a scan is for: see what happened on them afterwards.",
        ),
        ask("Is the time that of a planned scan, or of a login on the source?"),
    ],
    role: Some(Role {
        when: "If it is a scanner of your own, name it: its scans are no findings then",
        setting: "networks.scanners = [\"{source}\"]",
    }),
};

const OUTBOUND_BYTES: Kind = Kind {
    title: "High outbound volume",
    benign: &[
        "a backup, a sync client or a file share in the cloud",
        "someone who sends a large file, or is in a long video call",
        "a server whose clients are outside and that connects to them itself",
    ],
    next: &[
        look(
            "Which program on the source sends it? On it, as root:",
            "ss -tunpi dst {host}",
        ),
        look("Whose network is it?", "whois {destination}"),
        ask(
            "Which data does the source hold, and was it collected before: archives, dumps, new large files?",
        ),
        ask("Who was logged in on the source at the time?"),
    ],
    role: None,
};

const BEACONING: Kind = Kind {
    title: "Possible beaconing",
    benign: &[
        "monitoring, health checks and keep-alives, of agents and of people's programs",
        "looking for updates, mail or messages at fixed times",
        "a job of cron or of the task scheduler",
        "a device (printer, phone, camera) that calls its maker",
    ],
    next: &[
        look(
            "Catch the next contact. On the source, as root, until it comes:",
            "until ss -Htunp dst {host} | grep .; do sleep 0.2; done",
        ),
        look("Whose address is it, and since when?", "whois {destination}"),
        ask("Which name did the source ask for before (DNS logs), and is the name new or rare here?"),
        ask("What starts it: services, scheduled tasks, autostart entries that are not on other hosts."),
    ],
    role: None,
};

const LATERAL_MOVEMENT: Kind = Kind {
    title: "Possible lateral movement",
    benign: &[
        "an administrator, or a management, deployment or backup server, at its work",
        "a new server or a new task: the first session between two hosts is always new",
        "a program with an old password that keeps trying (where passwords seem to be guessed)",
    ],
    next: &[
        look(
            "Who logged in, and how? On the target (Linux):",
            "journalctl --since '{from}' --until '{until}' _COMM=sshd",
        ),
        ask(
            "On a Windows target: logon events 4624 and 4625, service installation 7045, from the address of the source.",
        ),
        ask("What was found about the source before: a beacon, a download, a scan?"),
        ask("What did the target do afterwards: did it begin to reach other hosts itself?"),
    ],
    role: Some(Role {
        when: "If the source administers others, name it: its first sessions are no findings then",
        setting: "networks.admin_hosts = [\"{source}\"]",
    }),
};

const DNS: Kind = Kind {
    title: "Suspicious DNS",
    benign: &[
        "a resolver, forwarder or proxy that asks for its clients",
        "a program with a resolver of its own: browsers, VPN clients, security products that look up reputations by DNS",
        "a mail server that asks block lists",
    ],
    next: &[
        look(
            "What is asked for? On the source or a mirror port, as root:",
            "tcpdump -nn -c 50 host {source} and host {destination} and port 53",
        ),
        ask(
            "Are the names long, random, all under one domain, of types TXT, NULL or CNAME? Then something is carried in them.",
        ),
        look("Whose address is it?", "whois {destination}"),
        look(
            "Which program on the source asks? On it, as root:",
            "ss -unp dst {host}",
        ),
    ],
    role: Some(Role {
        when: "If the destination is a resolver that you use, name it, with all others that you use",
        setting: "networks.resolvers = [\"{destination}\"]",
    }),
};

const EXTERNAL_INBOUND: Kind = Kind {
    title: "Sensitive service reached from outside",
    benign: &[
        "a service that is meant to be reached from outside, such as a bastion host or a VPN",
        "a partner, a branch or an administrator at home, from a known address",
        "a network of your own that is missing in networks.internal",
    ],
    next: &[
        look(
            "Who logged in? On the target (Linux):",
            "journalctl --since '{from}' --until '{until}' | grep -F {source}",
        ),
        look("Whose address is it?", "whois {source}"),
        ask("Which firewall rule or port forwarding lets it through, since when, and who needs it?"),
        ask("What did the target do afterwards: new connections outwards or to other hosts?"),
    ],
    role: Some(Role {
        when: "If the target is meant to be reached from outside, name it",
        setting: "networks.servers = [\"{destination}\"]",
    }),
};

const OUTBOUND_PORT: Kind = Kind {
    title: "Unusual outbound port",
    benign: &[
        "a new program or service: games, conferences, VPN, licence servers",
        "a server outside that listens on a port of its own choice",
        "peer-to-peer software, which uses any port",
    ],
    next: &[
        look(
            "Which program on the source uses it? On it, as root:",
            "ss -tunp 'dport = :{port}'",
        ),
        look("Whose address is it?", "whois {destination}"),
        look(
            "What answers there?",
            "openssl s_client -brief -connect {endpoint} </dev/null",
        ),
        ask(
            "How long do sessions last, and which side sends more? A long one with little each way is a remote shell.",
        ),
    ],
    role: Some(Role {
        when: "If the port is one that your programs use, add it to the usual ones",
        setting: "detect.outbound_port.usual_ports = [..., {port}]",
    }),
};

const DOS: Kind = Kind {
    title: "Possible denial of service",
    benign: &[
        "a load test, or a sudden crowd after a mailing or news",
        "a restart: many clients that come back at once",
        "a target that is down, so that its clients try again and again",
    ],
    next: &[
        look(
            "Does the target still answer, and how full is its queue? On it:",
            "ss -s; nstat -az TcpExtListenOverflows TcpExtListenDrops TcpExtSyncookiesSent",
        ),
        look(
            "What arrives? On a mirror port, as root:",
            "tcpdump -nn -c 100 dst host {destination}",
        ),
        ask(
            "Are the sources spoofed (many, each with a packet or two)? Then blocking them is of no use: ask the provider.",
        ),
        ask("Did anything else happen meanwhile? A flood can be a distraction."),
    ],
    role: None,
};

const ESCALATION: Kind = Kind {
    title: "Scanning that escalates",
    benign: &[
        "a vulnerability scanner that logs in to what it found",
        "a penetration test",
        "an administrator who looks for a host and then uses it",
    ],
    next: &[
        look(
            "What did the source get in the sessions after the scan? On the target (Linux):",
            "journalctl --since '{from}' --until '{until}' | grep -F {source}",
        ),
        ask("Isolate the source if nobody can say what it does: it knows what is open by now."),
        ask("Look at every host that it scanned, and at those that accepted first."),
    ],
    role: Some(Role {
        when: "If it is a scanner of your own, name it: its scans are no findings then",
        setting: "networks.scanners = [\"{source}\"]",
    }),
};

const OVERFLOW: Kind = Kind {
    title: "Findings that were not written",
    benign: &[
        "a detector that does not fit this network: see which kind is the most numerous",
        "one event with many subjects, such as a network that is down or a worm's scans from everywhere",
        "thresholds that were lowered for a test",
    ],
    next: &[ask(
        "Which tag leads the counts? Silence its benign cause; raise detect.findings_per_minute only if all of them are wanted.",
    )],
    role: None,
};

/// Why, in general: beside each reason stand its numbers, which the event holds.
pub(crate) const REASONS: &[(&str, &str)] = &[
    (
        "findings_per_minute",
        "More findings came up in a minute than may be written.",
    ),
    // possible_port_scan
    (
        "vertical_scan",
        "Many ports of one host were tried and did not open: a look at what the host offers.",
    ),
    (
        "horizontal_scan",
        "One port was tried on many hosts and did not open: a look for who offers one service.",
    ),
    (
        "distributed_targets",
        "Many pairs of host and port failed, in no plain pattern: targets in random order, or taken from a list.",
    ),
    (
        "slow_scan",
        "It is spread over hours, as one does to stay under thresholds for a minute.",
    ),
    (
        "stealth_flags",
        "Probes carry TCP flags that open no connection (FIN, NULL, Xmas); no ordinary program sends them.",
    ),
    (
        "half_open",
        "Handshakes were dropped once the port had answered, so that the application logs nothing.",
    ),
    (
        "ack_probes",
        "Bare ACKs were sent, which tell what a firewall lets through.",
    ),
    ("icmp_sweep", "Echo requests look for hosts that are up."),
    (
        "udp_scan",
        "It uses UDP, where only a few services answer at all.",
    ),
    (
        "sensitive_ports",
        "Among the ports are those of administration and data bases.",
    ),
    (
        "icmp_unreachable",
        "Routers or hosts answered that the target cannot be reached: proof that the tries failed.",
    ),
    (
        "one_sided",
        "Only one direction was seen: no answer proves little here.",
    ),
    (
        "threshold",
        "A fixed number was passed (mode = \"threshold\"): nothing else was weighed.",
    ),
    // high_outbound_bytes
    (
        "hour_volume",
        "So much went to one network outside within an hour.",
    ),
    (
        "day_volume",
        "So much went to one network outside over days, slowly, and the host did not know it before.",
    ),
    (
        "over_baseline",
        "It is far from what this host usually sends in an hour.",
    ),
    ("new_destination", "The host has not used this network for long."),
    (
        "sent_received_ratio",
        "Much more was sent than received: an upload.",
    ),
    // possible_beaconing
    (
        "regular_gaps",
        "The gaps between contacts are nearly equal: a program, not a person.",
    ),
    (
        "missed_beats",
        "Some gaps are whole multiples of the period: the clock went on while the host slept.",
    ),
    (
        "same_size",
        "Each time about the same was sent: the same message.",
    ),
    ("many_hours", "It goes on for hours, whoever sits there."),
    (
        "rare_destination",
        "Nobody else here uses the destination, as they would a common service.",
    ),
    (
        "long_series",
        "The series is long: chance does not keep time for so long.",
    ),
    (
        "dead_host_retry",
        "The destination does not answer and is called again and again: a server that was taken down, or a \
         program that was left behind.",
    ),
    // possible_lateral_movement
    (
        "new_admin_edge",
        "These two hosts had no session of this kind before.",
    ),
    (
        "fan_out",
        "Several hosts were reached or scanned from one source in a short time.",
    ),
    (
        "no_admin_host",
        "The source is no host from which others are administered.",
    ),
    ("after_finding", "The source was already seen scanning."),
    (
        "failures_then_success",
        "Failed attempts came first, then one was accepted.",
    ),
    (
        "brute_force",
        "Many short sessions at one login, as when passwords are tried.",
    ),
    // suspicious_dns_flow
    (
        "unknown_resolver",
        "The destination is neither a configured resolver nor one that several hosts here use.",
    ),
    (
        "large_queries",
        "Queries are longer than names need to be: data in the names.",
    ),
    (
        "busy_socket",
        "Many queries on one socket; an operating system takes a new one each time.",
    ),
    ("long_socket", "One socket is used for very long."),
    ("steady_hours", "Queries come hour after hour, at night as well."),
    ("beaconing", "The contacts are regular, as those of a beacon."),
    ("query_volume", "There are many more queries than usual."),
    // external_inbound_sensitive
    (
        "exposed_service",
        "A service that should not be reached from outside answered someone there.",
    ),
    // unusual_outbound_port
    ("rare_port", "Hardly any host here uses this port outwards."),
    (
        "bad_port",
        "The port is a default of remote access tools and malware.",
    ),
    // possible_dos
    (
        "syn_flood",
        "Many connections were begun and not finished: a SYN flood fills the target's queue.",
    ),
    (
        "many_sources",
        "Far more sources than ever talk to this host, hardly answered: spoofed or a botnet.",
    ),
    (
        "reflection",
        "Answers came to questions that the target did not ask: others' servers are used against it.",
    ),
    (
        "stray_segments",
        "Segments of connections that there are not, from everywhere: a flood of bare ACKs.",
    ),
    ("packet_flood", "More packets came than the target could answer."),
    (
        "connection_exhaustion",
        "Connections are held open until none is left for others.",
    ),
    (
        "flow_map_full",
        "So many new flows came that the map had no room for them: only networks and sums are known.",
    ),
    // scan_escalation
    ("several_scans", "The same source scanned again and again."),
    (
        "scan_then_connect",
        "After the scan a session was accepted: what was found is being used.",
    ),
];

/// ATT&CK Enterprise names.
pub(crate) const TECHNIQUES: &[(&str, &str)] = &[
    ("T1046", "Network Service Discovery"),
    ("T1595", "Active Scanning"),
    ("T1595.001", "Active Scanning: Scanning IP Blocks"),
    ("T1595.002", "Active Scanning: Vulnerability Scanning"),
    ("T1048", "Exfiltration Over Alternative Protocol"),
    ("T1567", "Exfiltration Over Web Service"),
    ("T1041", "Exfiltration Over C2 Channel"),
    ("T1071", "Application Layer Protocol"),
    ("T1071.001", "Application Layer Protocol: Web Protocols"),
    ("T1071.004", "Application Layer Protocol: DNS"),
    ("T1571", "Non-Standard Port"),
    ("T1021", "Remote Services"),
    ("T1021.001", "Remote Services: Remote Desktop Protocol"),
    ("T1021.002", "Remote Services: SMB/Windows Admin Shares"),
    ("T1021.003", "Remote Services: Distributed Component Object Model"),
    ("T1021.004", "Remote Services: SSH"),
    ("T1021.005", "Remote Services: VNC"),
    ("T1021.006", "Remote Services: Windows Remote Management"),
    ("T1110", "Brute Force"),
    ("T1133", "External Remote Services"),
    ("T1190", "Exploit Public-Facing Application"),
    ("T1572", "Protocol Tunneling"),
    ("T1095", "Non-Application Layer Protocol"),
    ("T1498", "Network Denial of Service"),
    ("T1498.001", "Network Denial of Service: Direct Network Flood"),
    ("T1498.002", "Network Denial of Service: Reflection Amplification"),
];

/// What a table says about an identifier; `None` for one of another version.
pub(crate) fn text(table: &[(&'static str, &'static str)], id: &str) -> Option<&'static str> {
    table
        .iter()
        .find(|(known, _)| *known == id)
        .map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::detect;

    #[test]
    fn every_reason_and_technique_of_the_engine_has_its_text_and_no_other_has() {
        for (table, engine) in [
            (REASONS, &detect::REASONS[..]),
            (TECHNIQUES, &detect::TECHNIQUES[..]),
        ] {
            let known: BTreeSet<&str> = table.iter().map(|(id, _)| *id).collect();
            assert_eq!(known, engine.iter().copied().collect());
            assert_eq!(known.len(), table.len(), "an identifier stands twice");
            assert!(table.iter().all(|(_, text)| !text.is_empty()));
        }
    }

    #[test]
    fn every_kind_says_what_may_be_behind_it_and_what_to_do_next() {
        for tag in Tag::ALL {
            let kind = kind(tag);
            assert!(!kind.title.is_empty() && !kind.benign.is_empty(), "{tag:?}");
            assert!(kind.next.iter().any(|step| step.command.is_empty()), "{tag:?}");
        }
    }
}
