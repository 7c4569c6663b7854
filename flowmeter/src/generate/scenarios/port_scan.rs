//! A SYN scan of one host. Three ports are open, a fifth of the others is filtered, the rest is closed.

use super::*;

pub(in crate::generate) const SCENARIO: Scenario = Scenario {
    name: "port_scan",
    tag: "possible_port_scan",
    rule: 117_001,
    what: "a host inside tries the ports of another, ten a second",
    unit: "ports",
    count: 100,
    conversations: |site, count| scan(site, 10, 20, 40_321, Duration::ZERO, count),
};

/// Of the ports that are always among the first to be tried.
const OPEN: [u16; 3] = [22, 80, 443];
const FIRST: [u16; 17] = [
    22, 23, 80, 443, 3389, 445, 21, 25, 53, 110, 135, 139, 143, 1433, 3306, 5900, 8080,
];
const PACE: Duration = Duration::from_millis(100);

/// `count` ports of host `target`, tried by `scanner` from one port of its own, as scanners do.
pub(super) fn scan(
    site: &Site,
    scanner: u8,
    target: u8,
    source_port: u16,
    start: Duration,
    count: u32,
) -> Vec<Conversation> {
    let others = (1..=u16::MAX).filter(|port| !FIRST.contains(port));
    let ports = FIRST.into_iter().chain(others);
    ports
        .zip(0..count)
        .map(|(port, number)| Conversation {
            client: SocketAddr::new(site.inside(scanner), source_port),
            server: SocketAddr::new(site.inside(target), port),
            start: start + PACE * number,
            talk: match number {
                _ if OPEN.contains(&port) => Talk::Knock,
                _ if number % 5 == 4 => Talk::Unanswered,
                _ => Talk::Refused,
            },
        })
        .collect()
}
