//! The configuration: every key, its default, its range.
//!
//! [`load()`] reads it in layers (defaults, file, environment, command line), [`Config::check`] enforces the
//! ranges that stand here, and everything behind trusts the result. `packaging/flowmeter.toml` and
//! `docs/configuration.md` say the same to the operator; tests hold the three together.

mod check;
mod comment;
pub mod detect;
mod file;
mod form;
mod keys;
mod load;
mod times;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use check::Problem;
pub use comment::comment;
pub use detect::Detect;
pub use form::{duration, network};
pub use load::{DEFAULT_FILE, Loaded, Origin, Override, Sources, load};
pub use times::Times;

/// The commented default configuration, as `print-default-config` prints it and packages install it.
pub const DEFAULT_TEXT: &str = include_str!("../../../packaging/flowmeter.toml");

/// What `flowmeter.toml` holds. Parsed once, checked once, trusted afterwards.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub collector: Collector,
    pub capture: Capture,
    pub networks: Networks,
    pub services: Services,
    pub track: Track,
    pub detect: Detect,
    pub output: Output,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Collector {
    /// `collector.name` in every event, up to 255 bytes; [`load()`] puts the host name where it is empty.
    pub name: String,
}

/// Where packets are metered, and how.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capture {
    /// Interface names or globs; empty: every interface that is up, less loopback and stacked devices.
    pub interfaces: Vec<String>,
    /// Names or globs that are never metered.
    pub exclude: Vec<String>,
    pub mode: Mode,
    pub direction: ObservedDirection,
    /// How TC programs are attached; `auto` takes TCX where the kernel has it (6.6).
    pub tc_attach: TcAttach,
    /// 100 ms to 1 h.
    #[serde(with = "form::durations")]
    pub interval: Duration,
    /// Flows per interval over all interfaces, 1,024 to 16,777,216; the maps have room for a quarter more at
    /// least.
    #[serde(deserialize_with = "form::whole_number")]
    pub max_flows: u32,
    pub tunnels: Tunnels,
    /// Count one packet in this many, 1 to 65,536; 1 counts all.
    #[serde(deserialize_with = "form::whole_number")]
    pub sampling: u32,
    /// Interfaces (names or globs) whose frames are dropped in the driver after counting: dedicated mirror
    /// ports only. XDP only.
    pub drop_after_count: Vec<String>,
    pub filter: Filter,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Native XDP on hardware whose driver has it, TC on everything else; never generic XDP.
    #[default]
    Auto,
    /// Native XDP at ingress (and TC at egress, which XDP does not see).
    Xdp,
    /// TC at ingress and egress.
    Tc,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ObservedDirection {
    Ingress,
    Egress,
    #[default]
    Both,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TcAttach {
    #[default]
    Auto,
    Tcx,
    Clsact,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tunnels {
    /// Count the packet as it is on the wire.
    #[default]
    Outer,
    /// Count the innermost packet; kind and id of the tunnel stand in the record.
    Inner,
}

/// Which packets are counted at all, decided in the kernel by longest prefix.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// If any is given, only packets with an end in one of these are counted.
    #[serde(deserialize_with = "form::networks")]
    pub allow: Vec<IpNet>,
    /// Packets with an end in one of these are not counted, unless a longer `allow` prefix covers that end.
    #[serde(deserialize_with = "form::networks")]
    pub deny: Vec<IpNet>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Networks {
    /// What counts as inside. Default: private (RFC 1918), unique local (RFC 4193) and link-local addresses.
    #[serde(deserialize_with = "form::networks")]
    pub internal: Vec<IpNet>,
    /// Name servers that inside hosts are meant to ask; without any they are learned.
    #[serde(deserialize_with = "form::networks")]
    pub resolvers: Vec<IpNet>,
    /// Proxies and gateways that speak for many hosts.
    #[serde(deserialize_with = "form::networks")]
    pub proxies: Vec<IpNet>,
    /// Hosts from which others are administered.
    #[serde(deserialize_with = "form::networks")]
    pub admin_hosts: Vec<IpNet>,
    /// Hosts that scan on purpose: vulnerability scanners, monitoring.
    #[serde(deserialize_with = "form::networks")]
    pub scanners: Vec<IpNet>,
    /// Hosts that outsiders are meant to reach.
    #[serde(deserialize_with = "form::networks")]
    pub servers: Vec<IpNet>,
}

/// Own names for ports: `"8443/tcp" = "Intranet"`. Port 0 to 65,535; tcp, udp, sctp or dccp; name of 1
/// to 64 bytes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Services {
    pub names: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Track {
    /// Connections kept at a time, 1,024 to 16,777,216; over it the longest idle ones are ended early.
    #[serde(deserialize_with = "form::whole_number")]
    pub max_connections: usize,
    /// TCP without a packet for this long has ended, 1 s to 24 h.
    #[serde(with = "form::durations")]
    pub tcp_idle_timeout: Duration,
    /// The same for everything else, 1 s to 24 h.
    #[serde(with = "form::durations")]
    pub idle_timeout: Duration,
    /// A connection is ended and goes on as a new record after this long, 1 min to 7 d.
    #[serde(with = "form::durations")]
    pub active_timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Output {
    /// The event file, or `-` for standard output.
    pub path: PathBuf,
    pub schema: Schema,
    pub flows: Flows,
    /// Lines that may be written in a second, 1 to 100,000, with `flows = "budget"`.
    #[serde(deserialize_with = "form::whole_number")]
    pub lines_per_second: u32,
    /// A second file that takes every flow; empty: none.
    pub all_flows_path: PathBuf,
    /// Rotate at this size in bytes, 1 MiB and more; never sooner than 64 s after the last rotation.
    #[serde(deserialize_with = "form::whole_number")]
    pub rotate_bytes: u64,
    /// Rotate at this age, 2 min and more.
    #[serde(with = "form::durations")]
    pub rotate_age: Duration,
    /// Rotated files kept, 1 to 1,000.
    #[serde(deserialize_with = "form::whole_number")]
    pub keep: u32,
    /// Permission bits of a new file, octal text, 0000 to 0777.
    pub mode: String,
    /// Bytes of lines kept in memory while the file cannot be written, 64 KiB to 1 GiB; what is over is withheld
    /// and counted.
    #[serde(deserialize_with = "form::whole_number")]
    pub retry_buffer_bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Schema {
    /// The article's shape with the five static fields that Wazuh 4 needs.
    #[default]
    Wazuh4,
    /// ECS names and units only.
    Ecs,
}

/// Which flows get a line of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Flows {
    All,
    /// As many as `lines_per_second` lets through, the largest first; the others are merged into summaries.
    #[default]
    Budget,
    /// None.
    FindingsOnly,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            exclude: Vec::new(),
            mode: Mode::default(),
            direction: ObservedDirection::default(),
            tc_attach: TcAttach::default(),
            interval: Duration::from_secs(10),
            max_flows: 65_536,
            tunnels: Tunnels::default(),
            sampling: 1,
            drop_after_count: Vec::new(),
            filter: Filter::default(),
        }
    }
}

impl Default for Networks {
    fn default() -> Self {
        let internal = [
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "fc00::/7",
            "fe80::/10",
        ];
        Self {
            internal: internal.iter().filter_map(|net| net.parse().ok()).collect(),
            resolvers: Vec::new(),
            proxies: Vec::new(),
            admin_hosts: Vec::new(),
            scanners: Vec::new(),
            servers: Vec::new(),
        }
    }
}

impl Default for Track {
    fn default() -> Self {
        Self {
            max_connections: 262_144,
            tcp_idle_timeout: Duration::from_secs(300),
            idle_timeout: Duration::from_secs(60),
            active_timeout: Duration::from_secs(3600),
        }
    }
}

impl Default for Output {
    fn default() -> Self {
        Self {
            path: PathBuf::from("/var/log/netflow/netflow-wazuh.json"),
            schema: Schema::default(),
            flows: Flows::default(),
            // A Wazuh agent with its own defaults carries about 430.
            lines_per_second: 300,
            all_flows_path: PathBuf::new(),
            rotate_bytes: 256 << 20,
            rotate_age: Duration::from_secs(24 * 3600),
            keep: 7,
            mode: "0640".to_owned(),
            retry_buffer_bytes: 64 << 20,
        }
    }
}
