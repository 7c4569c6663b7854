//! Interactive sessions to a port that backdoors are known for. Their times follow no pattern: this is no beacon.

use super::*;

pub(in crate::generate) const SCENARIO: Scenario = Scenario {
    name: "unusual_port",
    tag: "unusual_outbound_port",
    rule: 117_007,
    what: "a host inside holds sessions with port 4444 outside",
    unit: "sessions",
    count: 5,
    conversations,
};

fn conversations(site: &Site, count: u32) -> Vec<Conversation> {
    let lasting = Duration::from_secs(30);
    let gap = |number| lasting + jitter(number, Duration::from_secs(240));
    let mut start = Duration::ZERO;
    (0..count)
        .map(|number| {
            let begins = start;
            start += gap(number);
            Conversation {
                client: SocketAddr::new(site.inside(70), client_port(number)),
                server: SocketAddr::new(site.outside(70), 4444),
                start: begins,
                talk: Talk::Session(Session {
                    rounds: 20,
                    request: 90,
                    response: 640,
                    lasting,
                }),
            }
        })
        .collect()
}
