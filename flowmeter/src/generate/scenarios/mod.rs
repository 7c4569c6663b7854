//! One file per scenario. Hosts are numbered so that no two scenarios share one:
//!
//! | scenario         | inside           | outside |
//! |------------------|------------------|---------|
//! | port_scan        | 10, 20           |         |
//! | high_outbound    | 11               | 99      |
//! | beaconing        | 30               | 30      |
//! | lateral_movement | 40, 101 to 250   |         |
//! | dns              | 50               | 53      |
//! | external_inbound | 60               | 66      |
//! | unusual_port     | 70               | 70      |
//! | dos              | 80               | many    |
//! | scan_escalation  | 90, 91, 92, 93   |         |

pub(super) mod beaconing;
pub(super) mod dns;
pub(super) mod dos;
pub(super) mod external_inbound;
pub(super) mod high_outbound;
pub(super) mod lateral_movement;
pub(super) mod port_scan;
pub(super) mod scan_escalation;
pub(super) mod unusual_port;

use std::{net::SocketAddr, time::Duration};

use super::{
    Scenario, client_port,
    conversation::{Conversation, Session, Talk},
    jitter,
    site::Site,
};
