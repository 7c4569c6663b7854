//! What each scenario looks like in flow events, at its default size.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde_json::Value;

use crate::{events, generate, number, text, written};

/// One connection, from all of its events.
#[derive(Clone, Debug, Default)]
struct Connection {
    client: String,
    server: String,
    port: u64,
    direction: String,
    outcome: String,
    /// Seconds since midnight.
    start: f64,
    duration: f64,
    sent: u64,
    received: u64,
}

fn seconds(time: &str) -> f64 {
    let (_, time) = time.split_once('T').unwrap();
    let parts = time
        .trim_end_matches('Z')
        .split(':')
        .map(|part| part.parse::<f64>().unwrap());
    parts.fold(0.0, |sum, part| sum * 60.0 + part)
}

fn connections(events: &[Value]) -> Vec<Connection> {
    let mut connections: BTreeMap<String, Connection> = BTreeMap::new();
    for event in events {
        let known = connections.remove(text(event, "/flow/id")).unwrap_or_default();
        let connection = Connection {
            client: text(event, "/srcip").to_owned(),
            server: text(event, "/dstip").to_owned(),
            port: number(event, "/dstport"),
            direction: text(event, "/flow/direction").to_owned(),
            outcome: text(event, "/flow/outcome").to_owned(),
            start: seconds(text(event, "/event/start")),
            duration: event["event"]["duration"].as_f64().unwrap(),
            sent: known.sent + number(event, "/source/bytes"),
            received: known.received + number(event, "/destination/bytes"),
        };
        connections.insert(text(event, "/flow/id").to_owned(), connection);
    }
    let mut connections: Vec<_> = connections.into_values().collect();
    connections.sort_by(|a, b| a.start.total_cmp(&b.start));
    connections
}

fn scenario(name: &str) -> Vec<Connection> {
    connections(&events(&["--scenario", name]))
}

/// The one value that all have.
#[track_caller]
fn all<T: PartialEq + std::fmt::Debug>(connections: &[Connection], of: impl Fn(&Connection) -> T) -> T {
    let first = of(&connections[0]);
    for connection in connections {
        assert_eq!(of(connection), first, "{connection:?}");
    }
    first
}

fn distinct<T: Ord>(connections: &[Connection], of: impl Fn(&Connection) -> T) -> usize {
    connections.iter().map(of).collect::<BTreeSet<_>>().len()
}

fn with_outcome<'a>(connections: &'a [Connection], outcome: &str) -> Vec<&'a Connection> {
    connections
        .iter()
        .filter(|connection| connection.outcome == outcome)
        .collect()
}

#[test]
fn port_scan_fails_at_most_ports_of_one_host() {
    let tries = scenario("port_scan");
    assert_eq!(distinct(&tries, |c| c.port), 100);
    assert_eq!(
        all(&tries, |c| (
            c.client.clone(),
            c.server.clone(),
            c.direction.clone()
        )),
        (
            "192.168.56.10".to_owned(),
            "192.168.56.20".to_owned(),
            "internal_to_internal".to_owned()
        )
    );
    let [refused, unanswered] = ["refused", "unanswered"].map(|o| with_outcome(&tries, o).len());
    assert_eq!(refused + unanswered, 97);
    assert!(refused > 2 * unanswered && unanswered > 10);
    let open: Vec<_> = with_outcome(&tries, "half_open").iter().map(|c| c.port).collect();
    assert_eq!(open, [22, 80, 443]);
    // The original pipeline's threshold: 15 ports within 60 s.
    assert!(tries[99].start - tries[0].start < 60.0);
}

#[test]
fn high_outbound_sends_hundreds_of_megabytes_and_gets_next_to_nothing() {
    let uploads = scenario("high_outbound");
    assert_eq!(uploads.len(), 1);
    let upload = &uploads[0];
    assert_eq!(
        (upload.direction.as_str(), upload.outcome.as_str()),
        ("internal_to_external", "accepted")
    );
    assert!(
        (200_000_000..210_000_000).contains(&upload.sent),
        "{}",
        upload.sent
    );
    // Acknowledgements.
    assert!(upload.received < upload.sent / 50, "{}", upload.received);
    assert!(upload.duration < 3600.0);
}

#[test]
fn beaconing_is_regular_in_time_and_size() {
    let contacts = scenario("beaconing");
    assert_eq!(contacts.len(), 60);
    all(&contacts, |c| {
        (c.client.clone(), c.server.clone(), c.port, c.sent, c.received)
    });
    assert_eq!(all(&contacts, |c| c.outcome.clone()), "accepted");
    assert_eq!(all(&contacts, |c| c.direction.clone()), "internal_to_external");
    let mut gaps: Vec<_> = contacts
        .windows(2)
        .map(|pair| pair[1].start - pair[0].start)
        .collect();
    gaps.sort_by(f64::total_cmp);
    let median = gaps[gaps.len() / 2];
    let mut deviations: Vec<_> = gaps.iter().map(|gap| (gap - median).abs()).collect();
    deviations.sort_by(f64::total_cmp);
    let spread = deviations[deviations.len() / 2] / median;
    assert!((59.0..61.0).contains(&median), "{median}");
    assert!((0.005..0.05).contains(&spread), "{spread}");
}

#[test]
fn lateral_movement_fans_out_over_administrative_services() {
    let sessions = scenario("lateral_movement");
    assert_eq!(distinct(&sessions, |c| c.server.clone()), 12);
    assert_eq!(distinct(&sessions, |c| c.port), 5);
    assert!(
        sessions
            .iter()
            .all(|c| [22, 445, 3389, 5985, 5986].contains(&c.port))
    );
    assert_eq!(all(&sessions, |c| c.outcome.clone()), "accepted");
    assert_eq!(
        all(&sessions, |c| (c.client.clone(), c.direction.clone())),
        ("192.168.56.40".to_owned(), "internal_to_internal".to_owned())
    );
}

#[test]
fn dns_is_large_steady_and_long_and_keeps_to_one_resolver() {
    let lookups = scenario("dns");
    assert_eq!(
        all(&lookups, |c| (c.client.clone(), c.server.clone(), c.port)),
        ("192.168.56.50".to_owned(), "203.0.113.53".to_owned(), 53)
    );
    assert_eq!(all(&lookups, |c| c.outcome.clone()), "accepted");
    let (tunnel, singles): (Vec<_>, Vec<_>) = lookups.into_iter().partition(|c| c.duration > 1.0);
    assert_eq!(singles.len(), 900);
    // IP and UDP headers, and a name of 207 bytes.
    assert_eq!(all(&singles, |c| c.sent), 252);
    // The socket's record is cut by the active timeout of an hour.
    assert_eq!(tunnel.len(), 2);
    assert_eq!(tunnel.iter().map(|c| c.sent).sum::<u64>(), 900 * 252);
    let end = tunnel.iter().map(|c| c.start + c.duration).fold(0.0, f64::max);
    assert!(end - tunnel[0].start > 7000.0);
}

#[test]
fn external_inbound_is_many_short_sessions_with_a_server_inside() {
    let sessions = scenario("external_inbound");
    assert_eq!(sessions.len(), 40);
    assert_eq!(
        all(&sessions, |c| (c.port, c.direction.clone(), c.outcome.clone())),
        (22, "external_to_internal".to_owned(), "accepted".to_owned())
    );
    assert_eq!(distinct(&sessions, |c| c.client.clone()), 1);
    assert!(sessions.iter().all(|c| c.duration < 5.0));
}

#[test]
fn unusual_port_is_accepted_outbound_and_follows_no_beat() {
    let sessions = scenario("unusual_port");
    assert_eq!(sessions.len(), 5);
    assert_eq!(
        all(&sessions, |c| (c.port, c.direction.clone(), c.outcome.clone())),
        (4444, "internal_to_external".to_owned(), "accepted".to_owned())
    );
    let gaps: Vec<_> = sessions
        .windows(2)
        .map(|pair| pair[1].start - pair[0].start)
        .collect();
    let (least, most) = gaps
        .iter()
        .fold((f64::MAX, 0_f64), |(a, b), gap| (a.min(*gap), b.max(*gap)));
    assert!(most > 1.5 * least, "{gaps:?}");
}

#[test]
fn dos_is_a_flood_of_syns_from_every_address_that_there_is() {
    let syns = scenario("dos");
    assert_eq!(syns.len(), 10_000);
    assert_eq!(distinct(&syns, |c| c.client.clone()), 762);
    assert_eq!(
        all(&syns, |c| (c.server.clone(), c.port, c.sent, c.direction.clone())),
        (
            "192.168.56.80".to_owned(),
            443,
            40,
            "external_to_internal".to_owned()
        )
    );
    let half_open = with_outcome(&syns, "half_open").len();
    assert_eq!(half_open, 2500);
    assert_eq!(with_outcome(&syns, "unanswered").len(), 7500);
    assert!(syns[9999].start - syns[0].start < 10.0);
}

#[test]
fn scan_escalation_is_three_scans_and_a_session_with_a_host_that_was_scanned() {
    let all_of_it = scenario("scan_escalation");
    assert_eq!(all(&all_of_it, |c| c.client.clone()), "192.168.56.90");
    let (sessions, tries): (Vec<_>, Vec<_>) = all_of_it.into_iter().partition(|c| c.outcome == "accepted");
    assert_eq!(sessions.len(), 1);
    let session = &sessions[0];
    assert!(tries.iter().all(|c| c.start < session.start));
    let open = with_outcome(&tries, "half_open");
    assert!(
        open.iter()
            .any(|c| (&c.server, c.port) == (&session.server, session.port))
    );
    let mut last_end = None;
    for server in ["192.168.56.91", "192.168.56.92", "192.168.56.93"] {
        let scan: Vec<_> = tries.iter().filter(|c| c.server == server).cloned().collect();
        assert_eq!(distinct(&scan, |c| c.port), 40, "{server}");
        // Quiet between the scans: these are several episodes.
        assert!(
            last_end.is_none_or(|end| scan[0].start - end > 1000.0),
            "{server}"
        );
        last_end = scan.last().map(|c| c.start);
    }
}

const NAMES: [(&str, &str); 9] = [
    ("port_scan", "possible_port_scan"),
    ("high_outbound", "high_outbound_bytes"),
    ("beaconing", "possible_beaconing"),
    ("lateral_movement", "possible_lateral_movement"),
    ("dns", "suspicious_dns_flow"),
    ("external_inbound", "external_inbound_sensitive"),
    ("unusual_port", "unusual_outbound_port"),
    ("dos", "possible_dos"),
    ("scan_escalation", "scan_escalation"),
];

#[test]
fn a_tag_is_the_scenario_s_other_name_and_the_bytes_are_always_the_same() {
    for (name, tag) in NAMES {
        let [first, second] =
            [name, tag].map(|name| written(&mut generate(&["--scenario", name, "--count", "9"])));
        assert!(!first.is_empty());
        assert_eq!(first, second, "{name}");
    }
}

#[test]
fn every_event_is_labelled_and_none_is_tagged_and_no_address_is_anybody_s() {
    for ipv6 in [&[][..], &["--ipv6"]] {
        let arguments = [&["--scenario", "all", "--count", "40"], ipv6].concat();
        let nets: Vec<ipnet::IpNet> = if ipv6.is_empty() {
            vec![
                "192.168.56.0/24",
                "203.0.113.0/24",
                "198.51.100.0/24",
                "192.0.2.0/24",
            ]
        } else {
            vec!["fd00:56::/64", "2001:db8::/32"]
        }
        .into_iter()
        .map(|net| net.parse().unwrap())
        .collect();
        let events = events(&arguments);
        for event in &events {
            assert_eq!(event["labels"]["synthetic"], "true");
            assert_eq!(event["event"]["action"], "network_flow");
            assert!(event.get("anomaly").is_none());
            for end in ["/source/ip", "/destination/ip"] {
                let ip: IpAddr = text(event, end).parse().unwrap();
                assert!(nets.iter().any(|net| net.contains(&ip)), "{event}");
            }
        }
        let seen = connections(&events);
        let scans = 40 + 3 * 40 + 1;
        let others = 1 + 40 + 40 + (1 + 20) + 40 + 40 + 40;
        assert_eq!(seen.len(), scans + others);
    }
}

#[test]
fn scenarios_have_no_host_in_common() {
    let mut seen = BTreeMap::new();
    for (name, _) in NAMES {
        // Nothing depends on the size of an upload.
        let count = if name == "high_outbound" { "1" } else { "1000" };
        let connections = connections(&events(&["--scenario", name, "--count", count]));
        let hosts: BTreeSet<String> = connections
            .into_iter()
            .flat_map(|c| [c.client, c.server])
            .collect();
        for host in hosts {
            // Spoofed addresses may be anybody's.
            if name == "dos" && !host.starts_with("192.168.") {
                continue;
            }
            let other = seen.insert(host.clone(), name);
            assert_eq!(other, None, "{host} is in {name} too");
        }
    }
}
