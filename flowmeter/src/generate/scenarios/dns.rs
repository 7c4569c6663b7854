//! A DNS tunnel to a resolver that nobody else uses: long names on one socket all the time, and every second
//! query from a socket of its own, as stub resolvers do.

use super::*;

pub(in crate::generate) const SCENARIO: Scenario = Scenario {
    name: "dns",
    tag: "suspicious_dns_flow",
    rule: 117_005,
    what: "a host inside sends long queries to a resolver outside",
    unit: "queries",
    count: 1800,
    conversations,
};

const PERIOD: Duration = Duration::from_secs(4);

fn conversations(site: &Site, count: u32) -> Vec<Conversation> {
    let resolver = SocketAddr::new(site.outside(53), 53);
    let client = |port| SocketAddr::new(site.inside(50), port);
    let single = count / 2;
    let tunnel = Conversation {
        client: client(40_053),
        server: resolver,
        start: Duration::ZERO,
        talk: Talk::Dns {
            first: single,
            queries: count - single,
            every: 2 * PERIOD,
        },
    };
    let singles = (0..single).map(|number| Conversation {
        client: client(client_port(number)),
        server: resolver,
        start: 2 * PERIOD * number + PERIOD + jitter(number, PERIOD / 2),
        talk: Talk::Dns {
            first: number,
            queries: 1,
            every: PERIOD,
        },
    });
    std::iter::once(tunnel).chain(singles).collect()
}
