//! Inside and outside of the network perimeter.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

/// Where a connection's initiator and responder are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    InternalToInternal,
    InternalToExternal,
    ExternalToInternal,
    ExternalToExternal,
}

impl Direction {
    /// As the original pipeline names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InternalToInternal => "internal_to_internal",
            Self::InternalToExternal => "internal_to_external",
            Self::ExternalToInternal => "external_to_internal",
            Self::ExternalToExternal => "external_to_external",
        }
    }

    /// As ECS `network.direction` names it.
    pub const fn ecs(self) -> &'static str {
        match self {
            Self::InternalToInternal => "internal",
            Self::InternalToExternal => "outbound",
            Self::ExternalToInternal => "inbound",
            Self::ExternalToExternal => "external",
        }
    }
}

/// `networks.internal`, less what a wider network in it covers already.
pub struct Internal(Vec<IpNet>);

impl Internal {
    pub fn new(networks: &[IpNet]) -> Self {
        Self(IpNet::aggregate(&networks.to_vec()))
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    pub fn direction(&self, initiator: IpAddr, responder: IpAddr) -> Direction {
        match (self.contains(initiator), self.contains(responder)) {
            (true, true) => Direction::InternalToInternal,
            (true, false) => Direction::InternalToExternal,
            (false, true) => Direction::ExternalToInternal,
            (false, false) => Direction::ExternalToExternal,
        }
    }

    /// The limited broadcast (RFC 919), or the last address of an internal network of at least four.
    pub fn is_broadcast(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else {
            return false;
        };
        address == Ipv4Addr::BROADCAST
            || self.0.iter().any(|network| match network {
                IpNet::V4(network) => network.prefix_len() <= 30 && network.broadcast() == address,
                IpNet::V6(_) => false,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direction_follows_the_internal_networks() {
        let internal = Internal::new(&["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let direction = |from: &str, to: &str| internal.direction(from.parse().unwrap(), to.parse().unwrap());
        assert_eq!(direction("10.1.1.1", "10.2.2.2").name(), "internal_to_internal");
        assert_eq!(direction("10.1.1.1", "192.0.2.1").name(), "internal_to_external");
        assert_eq!(direction("192.0.2.1", "10.1.1.1").name(), "external_to_internal");
        assert_eq!(
            direction("2001:db8::1", "192.0.2.1").name(),
            "external_to_external"
        );
        assert_eq!(direction("fd00::1", "2001:db8::1").ecs(), "outbound");
        assert!(internal.is_broadcast("10.255.255.255".parse().unwrap()));
        assert!(!internal.is_broadcast("10.255.255.254".parse().unwrap()));
    }
}
