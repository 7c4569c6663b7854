//! An implant that asks its server for work once a minute, with a little jitter, over a connection of its own
//! each time.

use super::*;

pub(in crate::generate) const SCENARIO: Scenario = Scenario {
    name: "beaconing",
    tag: "possible_beaconing",
    rule: 117_003,
    what: "a host inside contacts a server outside every minute",
    unit: "contacts",
    count: 60,
    conversations,
};

const PERIOD: Duration = Duration::from_secs(60);
const JITTER: Duration = Duration::from_secs(4);

fn conversations(site: &Site, count: u32) -> Vec<Conversation> {
    (0..count)
        .map(|number| Conversation {
            client: SocketAddr::new(site.inside(30), client_port(number)),
            server: SocketAddr::new(site.outside(30), 443),
            start: PERIOD * number + jitter(number, JITTER),
            talk: Talk::Session(Session {
                rounds: 1,
                request: 420,
                response: 1310,
                lasting: Duration::from_millis(300),
            }),
        })
        .collect()
}
