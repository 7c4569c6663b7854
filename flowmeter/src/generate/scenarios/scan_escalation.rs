//! Three scans, each of another host and twenty minutes after the one before; then a session with the last one.

use super::{port_scan::scan, *};

pub(in crate::generate) const SCENARIO: Scenario = Scenario {
    name: "scan_escalation",
    tag: "scan_escalation",
    rule: 117_009,
    what: "a host inside scans three others, then gets into one",
    unit: "ports each",
    count: 40,
    conversations,
};

const TARGETS: [u8; 3] = [91, 92, 93];
/// Long enough for each scan to be an episode of its own.
const PERIOD: Duration = Duration::from_secs(1200);

fn conversations(site: &Site, count: u32) -> Vec<Conversation> {
    let mut start = Duration::ZERO;
    let mut conversations = Vec::new();
    for target in TARGETS {
        let scan = scan(site, 90, target, 40_329, start, count);
        let end = scan.last().map_or(start, |last| last.start);
        conversations.extend(scan);
        start = end + PERIOD;
    }
    // Port 22 is the first that each scan finds open.
    conversations.push(Conversation {
        client: SocketAddr::new(site.inside(90), client_port(90)),
        server: SocketAddr::new(site.inside(93), 22),
        start: start - PERIOD + Duration::from_secs(60),
        talk: Talk::Session(Session {
            rounds: 30,
            request: 120,
            response: 900,
            lasting: Duration::from_secs(45),
        }),
    });
    conversations
}
