//! Somebody outside guesses passwords on an SSH server that should not be reachable: one short session after
//! the other.

use super::*;

pub(in crate::generate) const SCENARIO: Scenario = Scenario {
    name: "external_inbound",
    tag: "external_inbound_sensitive",
    rule: 117_006,
    what: "a host outside opens short SSH sessions to one inside",
    unit: "sessions",
    count: 40,
    conversations,
};

fn conversations(site: &Site, count: u32) -> Vec<Conversation> {
    (0..count)
        .map(|number| Conversation {
            client: SocketAddr::new(site.outside(66), client_port(number)),
            server: SocketAddr::new(site.inside(60), 22),
            start: Duration::from_secs(3) * number + jitter(number, Duration::from_secs(1)),
            talk: Talk::Session(Session {
                rounds: 8,
                request: 210,
                response: 260,
                lasting: Duration::from_millis(2200),
            }),
        })
        .collect()
}
