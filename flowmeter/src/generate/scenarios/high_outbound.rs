//! One upload over HTTPS, hardly answered.

use super::*;

pub(in crate::generate) const SCENARIO: Scenario = Scenario {
    name: "high_outbound",
    tag: "high_outbound_bytes",
    rule: 117_002,
    what: "a host inside sends a server outside far more than it gets",
    unit: "MB",
    count: 200,
    conversations,
};

const MEGABYTE: u64 = 1_000_000;
const PACE_PER_MEGABYTE: Duration = Duration::from_millis(1500);

fn conversations(site: &Site, count: u32) -> Vec<Conversation> {
    vec![Conversation {
        client: SocketAddr::new(site.inside(11), client_port(11)),
        server: SocketAddr::new(site.outside(99), 443),
        start: Duration::ZERO,
        talk: Talk::Session(Session {
            rounds: 1,
            request: MEGABYTE * u64::from(count),
            response: 4000,
            lasting: PACE_PER_MEGABYTE * count,
        }),
    }]
}
