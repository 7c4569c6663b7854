//! What two hosts say to each other, packet by packet.

use std::{iter, net::SocketAddr, time::Duration};

use flowmeter_common::flow::tcp_flags::{ACK, FIN, PSH, RST, SYN};

use super::payload::{Payload, SEGMENT_BYTES};

/// From a packet to its answer.
const HALF_TRIP: Duration = Duration::from_millis(5);

/// One connection, or all datagrams between two sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    pub client: SocketAddr,
    pub server: SocketAddr,
    /// Its first packet, after the start of the scenario. Whole microseconds, as everything here.
    pub start: Duration,
    pub talk: Talk,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talk {
    /// A SYN, and nothing.
    Unanswered,
    /// A SYN, answered with RST: nobody listens.
    Refused,
    /// A SYN, answered with SYN-ACK, and nothing more.
    HalfOpen,
    /// The same, with RST from the client: how a scanner leaves an open port.
    Knock,
    /// A TCP connection from SYN to FIN.
    Session(Session),
    /// DNS queries over one socket, each with its answer.
    Dns {
        first: u32,
        queries: u32,
        every: Duration,
    },
}

/// Requests with responses, spread evenly over a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    pub rounds: u32,
    /// Bytes of each request and response, headers not counted.
    pub request: u64,
    pub response: u64,
    pub lasting: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Client,
    Server,
}

impl End {
    const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// One packet of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// After the start of the conversation.
    pub after: Duration,
    pub from: End,
    /// 0 for datagrams.
    pub tcp_flags: u8,
    pub payload: Payload,
}

impl Step {
    const fn bare(half_trips: u32, from: End, tcp_flags: u8) -> Self {
        Self {
            after: HALF_TRIP.saturating_mul(half_trips),
            from,
            tcp_flags,
            payload: Payload::NONE,
        }
    }
}

impl Talk {
    /// True if it is TCP, false for UDP.
    pub const fn is_tcp(self) -> bool {
        !matches!(self, Self::Dns { .. })
    }

    /// Its packets in the order of time.
    pub(super) fn steps(self) -> Box<dyn Iterator<Item = Step>> {
        const OPEN: Step = Step::bare(0, End::Client, SYN);
        const ANSWER: Step = Step::bare(1, End::Server, SYN | ACK);
        match self {
            Self::Unanswered => Box::new([OPEN].into_iter()),
            Self::Refused => Box::new([OPEN, Step::bare(1, End::Server, RST | ACK)].into_iter()),
            Self::HalfOpen => Box::new([OPEN, ANSWER].into_iter()),
            Self::Knock => Box::new([OPEN, ANSWER, Step::bare(2, End::Client, RST)].into_iter()),
            Self::Session(session) => {
                let handshake = [OPEN, ANSWER, Step::bare(2, End::Client, ACK)];
                Box::new(handshake.into_iter().chain(session.data()).chain(session.close()))
            }
            Self::Dns {
                first,
                queries,
                every,
            } => Box::new((0..queries).flat_map(move |n| {
                let at = every * n;
                let step = |after, from, payload| Step {
                    after,
                    from,
                    tcp_flags: 0,
                    payload,
                };
                [
                    step(at, End::Client, Payload::DnsQuery(first + n)),
                    step(at + HALF_TRIP, End::Server, Payload::DnsAnswer(first + n)),
                ]
            })),
        }
    }
}

impl Session {
    /// Segments and the acknowledgements of the other side, evenly over the time.
    fn data(self) -> impl Iterator<Item = Step> {
        let start = HALF_TRIP * 3;
        let steps = u64::from(self.rounds) * (burst_steps(self.request) + burst_steps(self.response));
        (0..self.rounds)
            .flat_map(move |_| burst(End::Client, self.request).chain(burst(End::Server, self.response)))
            .zip(0_u64..)
            .map(move |(step, number)| {
                let share = self.lasting.as_micros() * u128::from(number) / u128::from(steps.max(1));
                Step {
                    after: start + Duration::from_micros(u64::try_from(share).unwrap_or(u64::MAX)),
                    ..step
                }
            })
    }

    fn close(self) -> impl Iterator<Item = Step> {
        let steps = [
            (3, End::Client, FIN | ACK),
            (4, End::Server, FIN | ACK),
            (5, End::Client, ACK),
        ];
        steps.into_iter().map(move |(half_trips, from, tcp_flags)| {
            let step = Step::bare(half_trips, from, tcp_flags);
            Step {
                after: step.after + self.lasting,
                ..step
            }
        })
    }
}

/// `bytes` in full segments; every second one and the last are acknowledged (RFC 9293 section 3.8.6.3).
fn burst(from: End, bytes: u64) -> impl Iterator<Item = Step> {
    let segments = bytes.div_ceil(SEGMENT_BYTES.into());
    (0..segments).flat_map(move |number| {
        let last = number + 1 == segments;
        let left = bytes - number * u64::from(SEGMENT_BYTES);
        let length = u16::try_from(left).map_or(SEGMENT_BYTES, |left| left.min(SEGMENT_BYTES));
        let segment = Step {
            payload: Payload::Text(length),
            ..Step::bare(0, from, if last { PSH | ACK } else { ACK })
        };
        let acknowledged = last || number % 2 == 1;
        iter::once(segment).chain(acknowledged.then(|| Step::bare(0, from.other(), ACK)))
    })
}

fn burst_steps(bytes: u64) -> u64 {
    let segments = bytes.div_ceil(SEGMENT_BYTES.into());
    segments + segments.div_ceil(2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flags(talk: Talk) -> Vec<(End, u8)> {
        talk.steps().map(|step| (step.from, step.tcp_flags)).collect()
    }

    #[test]
    fn attempts_end_as_they_are_called() {
        use End::{Client, Server};
        assert_eq!(flags(Talk::Unanswered), [(Client, SYN)]);
        assert_eq!(flags(Talk::Refused), [(Client, SYN), (Server, RST | ACK)]);
        assert_eq!(flags(Talk::HalfOpen), [(Client, SYN), (Server, SYN | ACK)]);
        assert_eq!(
            flags(Talk::Knock),
            [(Client, SYN), (Server, SYN | ACK), (Client, RST)]
        );
    }

    #[test]
    fn dns_is_a_query_and_an_answer_each_time() {
        let every = Duration::from_secs(4);
        let steps: Vec<_> = Talk::Dns {
            first: 7,
            queries: 3,
            every,
        }
        .steps()
        .collect();
        let seen: Vec<_> = steps
            .iter()
            .map(|step| (step.after.as_millis(), step.payload))
            .collect();
        assert_eq!(
            seen,
            [
                (0, Payload::DnsQuery(7)),
                (5, Payload::DnsAnswer(7)),
                (4000, Payload::DnsQuery(8)),
                (4005, Payload::DnsAnswer(8)),
                (8000, Payload::DnsQuery(9)),
                (8005, Payload::DnsAnswer(9)),
            ]
        );
    }

    proptest! {
        /// Both sides send what the session says, in the order of time and within its length.
        #[test]
        fn a_session_moves_its_bytes_in_its_time(
            rounds in 0_u32..20,
            request in 0_u64..20_000,
            response in 0_u64..20_000,
            seconds in 0_u64..1000,
        ) {
            let lasting = Duration::from_secs(seconds);
            let steps: Vec<_> = Talk::Session(Session { rounds, request, response, lasting }).steps().collect();
            prop_assert!(steps.is_sorted_by_key(|step| step.after));
            let bytes = |from| -> u64 {
                steps.iter().filter(|s| s.from == from).map(|s| u64::from(s.payload.length())).sum()
            };
            prop_assert_eq!(bytes(End::Client), u64::from(rounds) * request);
            prop_assert_eq!(bytes(End::Server), u64::from(rounds) * response);
            prop_assert!(steps.iter().all(|step| step.payload.length() <= SEGMENT_BYTES));
            prop_assert_eq!(steps.last().unwrap().after, lasting + HALF_TRIP * 5);
            let count = |wanted: u8| steps.iter().filter(|s| s.tcp_flags == wanted).count();
            prop_assert_eq!((count(SYN), count(SYN | ACK), count(FIN | ACK), count(RST)), (1, 1, 2, 0));
            // The spread is over the steps that there are.
            let data = steps.len() as u64 - 6;
            prop_assert_eq!(data, u64::from(rounds) * (burst_steps(request) + burst_steps(response)));
        }
    }
}
