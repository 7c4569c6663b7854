//! What the kernel half and the agent share: the flow key, its counters, the table they stand in, the reasons why a packet is
//! not counted, and the one frame parser.
//!
//! Every type that crosses the kernel boundary is `repr(C)`, has no hidden padding and derives bytemuck's
//! `Pod`, so that user space reads map memory without `unsafe` and a layout change fails to compile.

#![no_std]

pub mod flow;
pub mod parse;
pub mod table;
pub mod uncounted;

pub use flow::{FlowCounters, FlowKey, KeyFlags, Tunnel};
pub use parse::{Frame, Gso, Link, Packet, Sizes, parse};
pub use table::{FlowPage, FlowSlot, TableSize};
pub use uncounted::{Count, InterfaceCounters, InterfaceSlot, SpillCounters, SpillKey, Uncounted};
