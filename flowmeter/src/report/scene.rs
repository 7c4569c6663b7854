//! What the hosts of one finding did around it, in a second pass over the events.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use hashbrown::HashMap;
use jiff::{SignedDuration, Timestamp};

use super::{
    event::{Event, Flow, Volume},
    top::Top,
};
use crate::explain::{episode::Episode, told::plain};

/// How long before the first evidence and after the last one the chronology looks.
pub(super) const AROUND: SignedDuration = SignedDuration::from_mins(30);
/// Conversations that are kept apart.
const CONVERSATIONS: usize = 10_000;
/// Contacts of the two hosts that are kept apart.
const CONTACTS: usize = 5_000;
/// Hosts on the other side that are kept apart.
const HOSTS: usize = 10_000;

/// Who talked with whom, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Conversation {
    pub(super) source: Option<IpAddr>,
    pub(super) destination: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) transport: String,
}

pub(super) struct Exchange {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) sent: Volume,
    pub(super) received: Volume,
    pub(super) service: String,
    pub(super) outcomes: BTreeMap<&'static str, u64>,
}

pub(super) struct Scene {
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    port: Option<u16>,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    pub(super) conversations: HashMap<Conversation, Exchange>,
    /// What found no room among them.
    pub(super) beyond: Volume,
    /// When connections of the finding began.
    pub(super) contacts: BTreeSet<Timestamp>,
    /// They are more than are kept.
    pub(super) more_contacts: bool,
    /// What the finding's own traffic adds up to, over all events.
    pub(super) own: Volume,
    pub(super) own_sent: u64,
    pub(super) own_received: u64,
    /// Whom the source talked to, and who talked to the target, over all events.
    pub(super) targets_of_source: Top<IpAddr>,
    pub(super) sources_of_target: Top<IpAddr>,
}

impl Scene {
    pub(super) fn new(episode: &Episode) -> Self {
        let told = episode.latest();
        let (first, last) = (episode.first_seen(), episode.last_seen());
        Self {
            source: told.source,
            destination: told.destination,
            port: told.port,
            from: first.checked_sub(AROUND).unwrap_or(first),
            until: last.checked_add(AROUND).unwrap_or(last),
            conversations: HashMap::new(),
            beyond: Volume::default(),
            contacts: BTreeSet::new(),
            more_contacts: false,
            own: Volume::default(),
            own_sent: 0,
            own_received: 0,
            targets_of_source: Top::new(HOSTS),
            sources_of_target: Top::new(HOSTS),
        }
    }

    pub(super) fn take(&mut self, event: Event<'_>) {
        let Event::Flow(flow) = event else {
            return;
        };
        let is = |host: Option<IpAddr>, side: Option<IpAddr>| host.is_some() && host == side;
        if is(self.source, flow.source) {
            self.targets_of_source
                .add(flow.destination.as_ref(), flow.volume());
        }
        if is(self.destination, flow.destination) {
            self.sources_of_target.add(flow.source.as_ref(), flow.volume());
        }
        if self.is_own(&flow) {
            self.own.add(flow.volume());
            self.own_sent = self.own_sent.saturating_add(flow.sent.bytes);
            self.own_received = self.own_received.saturating_add(flow.received.bytes);
            self.contact(&flow);
        }
        let involved = [self.source, self.destination]
            .into_iter()
            .any(|host| is(host, flow.source) || is(host, flow.destination));
        if involved && self.from <= flow.time && flow.start <= self.until {
            self.conversation(&flow);
        }
    }

    /// Traffic that the finding is about, as far as it names it.
    fn is_own(&self, flow: &Flow<'_>) -> bool {
        let fits = |host: Option<IpAddr>, side: Option<IpAddr>| host.is_none() || host == side;
        (self.source.is_some() || self.destination.is_some())
            && fits(self.source, flow.source)
            && fits(self.destination, flow.destination)
            && (self.port.is_none() || self.port == flow.port)
    }

    fn contact(&mut self, flow: &Flow<'_>) {
        // A summary does not say when each one began.
        if flow.merged.is_some() || !(self.from..=self.until).contains(&flow.start) {
            return;
        }
        if self.contacts.len() < CONTACTS {
            self.contacts.insert(flow.start);
        } else if !self.contacts.contains(&flow.start) {
            self.more_contacts = true;
        }
    }

    fn conversation(&mut self, flow: &Flow<'_>) {
        let key = Conversation {
            source: flow.source,
            destination: flow.destination,
            port: flow.port,
            transport: plain(flow.transport.as_deref().unwrap_or("several protocols")),
        };
        if self.conversations.len() >= CONVERSATIONS && !self.conversations.contains_key(&key) {
            self.beyond.add(flow.volume());
            return;
        }
        let exchange = self.conversations.entry(key).or_insert_with(|| Exchange {
            first: flow.start,
            last: flow.time,
            sent: Volume::default(),
            received: Volume::default(),
            service: plain(flow.service.as_deref().unwrap_or_default()),
            outcomes: BTreeMap::new(),
        });
        exchange.first = exchange.first.min(flow.start);
        exchange.last = exchange.last.max(flow.time);
        let records = flow.merged.unwrap_or(1);
        exchange.sent.add(Volume { records, ..flow.sent });
        exchange.received.add(flow.received);
        // Only this version's names, so that their number is bounded.
        let known = crate::flow::Outcome::ALL
            .into_iter()
            .find(|known| flow.outcome.as_deref() == Some(known.name()));
        if let Some(outcome) = known {
            *exchange.outcomes.entry(outcome.name()).or_default() += 1;
        }
    }
}
