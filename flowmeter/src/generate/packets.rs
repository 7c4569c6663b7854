//! All packets of several conversations in the order of time. Nothing is held but what is going on.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, binary_heap::PeekMut},
    net::SocketAddr,
    time::Duration,
    vec,
};

use flowmeter_common::flow::tcp_flags::{ACK, FIN, SYN};

use super::{
    conversation::{Conversation, End, Step, Talk},
    payload::Payload,
};

/// One packet, to be made a frame by [`super::frame::write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// After the start of the scenario, in whole microseconds.
    pub after: Duration,
    pub source: SocketAddr,
    pub destination: SocketAddr,
    /// `None`: UDP.
    pub tcp: Option<TcpHeader>,
    pub payload: Payload,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpHeader {
    pub sequence: u32,
    pub acknowledgement: u32,
    pub flags: u8,
}

/// See the module. Of two packets at the same time, the one of the conversation that began first comes first.
pub struct Packets {
    waiting: std::iter::Peekable<std::iter::Enumerate<vec::IntoIter<Conversation>>>,
    open: BinaryHeap<Reverse<Open>>,
}

impl Packets {
    pub fn new(mut conversations: Vec<Conversation>) -> Self {
        conversations.sort_by_key(|conversation| conversation.start);
        Self {
            waiting: conversations.into_iter().enumerate().peekable(),
            open: BinaryHeap::new(),
        }
    }
}

impl Iterator for Packets {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        // What begins now has a higher number than what is open: at the same time it comes later anyway.
        let next = self.open.peek().map(|Reverse(open)| open.next.after);
        let begins =
            |(_, conversation): &(usize, Conversation)| next.is_none_or(|next| conversation.start < next);
        while let Some((number, conversation)) = self.waiting.next_if(begins) {
            self.open.extend(Open::new(number, &conversation).map(Reverse));
        }
        let mut top = self.open.peek_mut()?;
        let Reverse(open) = &mut *top;
        let packet = open.next;
        match open.speech.next() {
            Some(next) => open.next = next,
            None => {
                PeekMut::pop(top);
            }
        }
        Some(packet)
    }
}

/// A conversation that is going on.
struct Open {
    number: usize,
    next: Packet,
    speech: Speech,
}

impl Open {
    fn new(number: usize, conversation: &Conversation) -> Option<Self> {
        let mut speech = Speech::new(conversation);
        let next = speech.next()?;
        Some(Self { number, next, speech })
    }

    fn order(&self) -> (Duration, usize) {
        (self.next.after, self.number)
    }
}

impl Ord for Open {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Open {}

/// A conversation's steps, with addresses and sequence numbers.
struct Speech {
    client: SocketAddr,
    server: SocketAddr,
    start: Duration,
    is_tcp: bool,
    /// What each side sends next.
    client_sequence: u32,
    server_sequence: u32,
    steps: Box<dyn Iterator<Item = Step>>,
}

impl Speech {
    fn new(conversation: &Conversation) -> Self {
        let Conversation {
            client,
            server,
            start,
            talk,
        } = *conversation;
        let seed = u64::from(client.port()) << 16 | u64::from(server.port());
        let initial = super::noise(seed);
        Self {
            client,
            server,
            start,
            is_tcp: talk.is_tcp(),
            client_sequence: (initial >> 32) as u32,
            // The reset of a closed port has none (RFC 9293 section 3.10.7.1).
            server_sequence: if talk == Talk::Refused {
                0
            } else {
                (initial & 0xffff_ffff) as u32
            },
            steps: talk.steps(),
        }
    }

    fn tcp_header(&mut self, step: &Step) -> TcpHeader {
        let (own, other) = match step.from {
            End::Client => (&mut self.client_sequence, self.server_sequence),
            End::Server => (&mut self.server_sequence, self.client_sequence),
        };
        let header = TcpHeader {
            sequence: *own,
            acknowledgement: if step.tcp_flags & ACK == 0 { 0 } else { other },
            flags: step.tcp_flags,
        };
        // SYN and FIN take a place of their own.
        let sent = u32::from(step.payload.length()) + u32::from(step.tcp_flags & (SYN | FIN) != 0);
        *own = own.wrapping_add(sent);
        header
    }
}

impl Iterator for Speech {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        let step = self.steps.next()?;
        let (source, destination) = match step.from {
            End::Client => (self.client, self.server),
            End::Server => (self.server, self.client),
        };
        Some(Packet {
            after: self.start + step.after,
            source,
            destination,
            tcp: self.is_tcp.then(|| self.tcp_header(&step)),
            payload: step.payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use flowmeter_common::flow::tcp_flags::{PSH, RST};

    use super::*;
    use crate::generate::conversation::Session;

    fn conversation(port: u16, start_ms: u64, talk: Talk) -> Conversation {
        Conversation {
            client: SocketAddr::from(([192, 168, 56, 1], port)),
            server: SocketAddr::from(([203, 0, 113, 1], 443)),
            start: Duration::from_millis(start_ms),
            talk,
        }
    }

    fn session(seconds: u64) -> Talk {
        Talk::Session(Session {
            rounds: 2,
            request: 3000,
            response: 100,
            lasting: Duration::from_secs(seconds),
        })
    }

    #[test]
    fn conversations_are_merged_by_time() {
        let conversations = vec![
            conversation(5, 900, Talk::Refused),
            conversation(1, 0, session(1)),
            conversation(2, 0, Talk::HalfOpen),
            conversation(3, 5, Talk::Refused),
            conversation(4, 5000, Talk::Unanswered),
        ];
        let expected: usize = conversations.iter().map(|c| c.talk.steps().count()).sum();
        let packets: Vec<_> = Packets::new(conversations).collect();
        assert_eq!(packets.len(), expected);
        assert!(packets.is_sorted_by_key(|packet| packet.after));
        let client_ports: Vec<_> = packets
            .iter()
            .take(6)
            .map(|packet| packet.source.port().min(packet.destination.port()))
            .collect();
        // At 0 ms the two that begin, at 5 ms their answers and the one that begins then, at 10 ms what follows.
        assert_eq!(client_ports, [1, 2, 1, 2, 3, 1]);
    }

    #[test]
    fn sequence_numbers_follow_the_bytes() {
        let mut next = [None, None];
        for packet in Packets::new(vec![conversation(1, 0, session(1))]) {
            let tcp = packet.tcp.unwrap();
            let (own, other) = if packet.source.port() == 1 { (0, 1) } else { (1, 0) };
            if let Some(expected) = next[own] {
                assert_eq!(tcp.sequence, expected, "{packet:?}");
            }
            if tcp.flags & ACK != 0 {
                assert_eq!(Some(tcp.acknowledgement), next[other], "{packet:?}");
            }
            let sent = u32::from(packet.payload.length()) + u32::from(tcp.flags & (SYN | FIN) != 0);
            next[own] = Some(tcp.sequence.wrapping_add(sent));
            assert_eq!(tcp.flags & RST, 0);
            assert!(packet.payload.length() == 0 || tcp.flags | PSH == PSH | ACK);
        }
    }

    #[test]
    fn a_closed_port_resets_what_it_was_asked() {
        let packets: Vec<_> = Packets::new(vec![conversation(1, 0, Talk::Refused)]).collect();
        let [syn, reset] = [packets[0].tcp.unwrap(), packets[1].tcp.unwrap()];
        assert_eq!(
            (reset.sequence, reset.acknowledgement),
            (0, syn.sequence.wrapping_add(1))
        );
    }
}
