//! A SYN flood of ten seconds from spoofed addresses. The server answers every fourth; nobody goes on.

use super::*;

pub(in crate::generate) const SCENARIO: Scenario = Scenario {
    name: "dos",
    tag: "possible_dos",
    rule: 117_008,
    what: "spoofed addresses outside flood a host inside with SYNs",
    unit: "SYNs",
    count: 10_000,
    conversations,
};

/// Ends, with its answers, within an interval of ten seconds.
const LASTING: Duration = Duration::from_millis(9_900);

fn conversations(site: &Site, count: u32) -> Vec<Conversation> {
    // The addresses come again sooner than the ports, and not in step with them: no two ends are alike.
    (0..count)
        .zip((1024..=u16::MAX).cycle())
        .map(|(number, port)| Conversation {
            client: SocketAddr::new(site.spoofed(number), port),
            server: SocketAddr::new(site.inside(80), 443),
            start: micros(LASTING.as_micros() * u128::from(number) / u128::from(count)),
            talk: match number % 4 {
                0 => Talk::HalfOpen,
                _ => Talk::Unanswered,
            },
        })
        .collect()
}

/// A part of [`LASTING`].
fn micros(micros: u128) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}
