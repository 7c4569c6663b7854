//! One workstation logs in to others, on one administrative service after the other.

use super::*;

pub(in crate::generate) const SCENARIO: Scenario = Scenario {
    name: "lateral_movement",
    tag: "possible_lateral_movement",
    rule: 117_004,
    what: "a host inside opens SMB, RDP, SSH and WinRM sessions",
    unit: "sessions",
    count: 12,
    conversations,
};

const SERVICES: [u16; 5] = [445, 3389, 22, 5985, 5986];
const TARGETS: std::ops::RangeInclusive<u8> = 101..=250;

fn conversations(site: &Site, count: u32) -> Vec<Conversation> {
    (0..count)
        .zip((0..).flat_map(|round: usize| {
            // Each round, every target is tried with its next service.
            TARGETS.zip(SERVICES.into_iter().cycle().skip(round % SERVICES.len()))
        }))
        .map(|(number, (target, service))| Conversation {
            client: SocketAddr::new(site.inside(40), client_port(number)),
            server: SocketAddr::new(site.inside(target), service),
            start: Duration::from_secs(10) * number + jitter(number, Duration::from_secs(5)),
            talk: Talk::Session(Session {
                rounds: 12,
                request: 1800,
                response: 5200,
                lasting: Duration::from_secs(5),
            }),
        })
        .collect()
}
