//! What a connection slice says beyond its counts: where it crosses the perimeter, which service it is,
//! and the identifier under which other tools know it. Pure: the same slice gives the same answer.

pub mod community_id;
pub mod direction;
pub mod protocol;
pub mod service;

pub use community_id::CommunityId;
pub use direction::{Cast, Direction, Networks};
pub use service::Services;

use crate::{config::Config, flow::Slice};

/// What [`Enricher::enrich`] adds to a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enriched<'a> {
    pub direction: Direction,
    /// Of the responder's address.
    pub cast: Cast,
    /// The responder's service, `OTHER` where the port has no name.
    pub service: &'a str,
    /// `None` for fragments after the first: without ports the identifier would be that of another flow.
    pub community_id: Option<CommunityId>,
}

/// The tables behind enrichment, built once from the configuration.
#[derive(Debug)]
pub struct Enricher {
    networks: Networks,
    services: Services,
}

impl Enricher {
    /// # Errors
    /// A key or a name in `services` that cannot be understood.
    pub fn new(config: &Config) -> Result<Self, service::BadService> {
        Ok(Self {
            networks: Networks::new(&config.networks.internal),
            services: Services::new(&config.services)?,
        })
    }

    /// The part of [`Enricher::enrich`] that detectors ask for.
    pub fn perimeter(&self, slice: &Slice) -> (Direction, Cast) {
        let (initiator, responder) = (slice.initiator.ip, slice.responder.ip);
        (
            self.networks.direction(initiator, responder),
            self.networks.cast(responder),
        )
    }

    /// The name of a responder's port, `OTHER` where it has none.
    pub fn service(&self, protocol: u8, port: u16) -> &str {
        self.services.name(protocol, port)
    }

    pub fn enrich(&self, slice: &Slice) -> Enriched<'_> {
        let (initiator, responder) = (slice.initiator, slice.responder);
        let (direction, cast) = self.perimeter(slice);
        Enriched {
            direction,
            cast,
            service: if slice.fragment {
                service::OTHER
            } else {
                self.service(slice.protocol, responder.port)
            },
            community_id: (!slice.fragment).then(|| CommunityId::new(slice.protocol, initiator, responder)),
        }
    }
}
