//! What a slice means here: direction, service, Community ID. Pure, one slice at a time.

pub mod community_id;
pub mod direction;
pub mod service;

use std::net::IpAddr;

pub use direction::Direction;

use self::{direction::Internal, service::Services};
use crate::{config::Config, flow::Slice};

/// Looks things up as the configuration says.
pub struct Enricher {
    internal: Internal,
    services: Services,
}

/// What is added to a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enriched<'a> {
    pub direction: Direction,
    pub service: &'a str,
    pub community_id: String,
    /// `multicast` or `broadcast`; `None` for one receiver.
    pub destination_class: Option<&'static str>,
}

impl Enricher {
    pub fn new(config: &Config) -> Self {
        Self {
            internal: Internal::new(&config.networks.internal),
            services: Services::new(&config.services.names),
        }
    }

    pub fn enrich(&self, slice: &Slice) -> Enriched<'_> {
        Enriched {
            direction: self.internal.direction(slice.initiator.ip, slice.responder.ip),
            service: self.services.name(slice),
            community_id: community_id::of(slice),
            destination_class: self.destination_class(slice.responder.ip),
        }
    }

    fn destination_class(&self, address: IpAddr) -> Option<&'static str> {
        if address.is_multicast() {
            Some("multicast")
        } else if self.internal.is_broadcast(address) {
            Some("broadcast")
        } else {
            None
        }
    }
}
