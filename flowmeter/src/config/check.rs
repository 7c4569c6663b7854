//! Ranges and contradictions: what a value of the right type can still get wrong.

use std::{fmt::Display, time::Duration};

use globset::Glob;
use thiserror::Error;

use super::{Config, Mode, ObservedDirection, Output, keys};
use crate::enrich::service::ServicePort;

/// One value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{key}: {message}")]
pub struct Problem {
    /// `capture.interval`
    pub key: String,
    pub message: String,
}

/// What the kernel side and the output are built from once; everything else is taken over by a reload.
const NEEDS_RESTART: [&str; 14] = [
    "capture.direction",
    "capture.drop_after_count",
    "capture.exclude",
    "capture.filter.allow",
    "capture.filter.deny",
    "capture.interfaces",
    "capture.max_flows",
    "capture.mode",
    "capture.sampling",
    "capture.tc_attach",
    "capture.tunnels",
    "detect.state",
    "output.all_flows_path",
    "output.path",
];

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

impl Config {
    /// Takes host bits off networks, and says where.
    pub fn normalise(&mut self) -> Vec<String> {
        let lists = [
            ("networks.internal", &mut self.networks.internal),
            ("networks.resolvers", &mut self.networks.resolvers),
            ("networks.proxies", &mut self.networks.proxies),
            ("networks.admin_hosts", &mut self.networks.admin_hosts),
            ("networks.scanners", &mut self.networks.scanners),
            ("networks.servers", &mut self.networks.servers),
            ("capture.filter.allow", &mut self.capture.filter.allow),
            ("capture.filter.deny", &mut self.capture.filter.deny),
        ];
        let mut notes = Vec::new();
        for (key, networks) in lists {
            for network in networks {
                let whole = network.trunc();
                if whole != *network {
                    notes.push(format!("{key}: {network} has host bits set, taken as {whole}"));
                    *network = whole;
                }
            }
        }
        notes
    }

    /// Enforces the ranges that the fields document.
    ///
    /// # Errors
    /// The first value that is out of its range or contradicts another, with key, value and range.
    pub fn check(&self) -> Result<(), Problem> {
        self.check_capture()?;
        self.check_track()?;
        self.check_detect()?;
        self.check_output()?;
        self.check_services()?;
        let name = &self.collector.name;
        if name.len() > 255 || name.chars().any(char::is_control) {
            return problem(
                "collector.name",
                format!("`{}` is not a line of up to 255 bytes", name.escape_debug()),
            );
        }
        Ok(())
    }

    fn check_capture(&self) -> Result<(), Problem> {
        let capture = &self.capture;
        globs("capture.interfaces", &capture.interfaces)?;
        globs("capture.exclude", &capture.exclude)?;
        globs("capture.drop_after_count", &capture.drop_after_count)?;
        duration(
            "capture.interval",
            capture.interval,
            Duration::from_millis(100),
            Some(HOUR),
        )?;
        number(
            "capture.max_flows",
            capture.max_flows.into(),
            1024,
            Some(16_777_216),
        )?;
        number("capture.sampling", capture.sampling.into(), 1, Some(65_536))?;
        if !capture.drop_after_count.is_empty() {
            let frames = "frames can only be dropped by XDP at ingress";
            if capture.mode == Mode::Tc {
                return problem(
                    "capture.drop_after_count",
                    format!("{frames}, but capture.mode is \"tc\""),
                );
            }
            if capture.direction == ObservedDirection::Egress {
                return problem(
                    "capture.drop_after_count",
                    format!("{frames}, but capture.direction is \"egress\""),
                );
            }
        }
        if capture.mode == Mode::Xdp && capture.direction == ObservedDirection::Egress {
            return problem(
                "capture.mode",
                "XDP does not see packets that leave: take \"tc\" or \"auto\" with capture.direction \"egress\"",
            );
        }
        Ok(())
    }

    fn check_track(&self) -> Result<(), Problem> {
        let track = &self.track;
        let connections = u64::try_from(track.max_connections).unwrap_or(u64::MAX);
        number("track.max_connections", connections, 1024, Some(16_777_216))?;
        duration(
            "track.tcp_idle_timeout",
            track.tcp_idle_timeout,
            SECOND,
            Some(DAY),
        )?;
        duration("track.idle_timeout", track.idle_timeout, SECOND, Some(DAY))?;
        duration(
            "track.active_timeout",
            track.active_timeout,
            MINUTE,
            Some(7 * DAY),
        )
    }

    fn check_output(&self) -> Result<(), Problem> {
        let output = &self.output;
        if output.path.as_os_str().is_empty() {
            return problem("output.path", "is empty: give a file, or - for standard output");
        }
        let all_flows = &output.all_flows_path;
        if all_flows.as_os_str() == "-" || (*all_flows == output.path && !output.path.as_os_str().is_empty())
        {
            return problem(
                "output.all_flows_path",
                format!("`{}` is no file beside output.path", all_flows.display()),
            );
        }
        number(
            "output.lines_per_second",
            output.lines_per_second.into(),
            1,
            Some(100_000),
        )?;
        number("output.rotate_bytes", output.rotate_bytes, 1 << 20, None)?;
        duration("output.rotate_age", output.rotate_age, 2 * MINUTE, None)?;
        number("output.keep", output.keep.into(), 1, Some(1000))?;
        if output.mode_bits().is_none() {
            return problem(
                "output.mode",
                format!(
                    "`{}` is not a file mode in octal, \"0000\" to \"0777\"",
                    output.mode.escape_debug()
                ),
            );
        }
        let buffer = u64::try_from(output.retry_buffer_bytes).unwrap_or(u64::MAX);
        number("output.retry_buffer_bytes", buffer, 64 << 10, Some(1 << 30))
    }

    fn check_services(&self) -> Result<(), Problem> {
        for (port, name) in &self.services.names {
            if let Err(error) = ServicePort::named(port, name) {
                return problem(keys::join("services", port), error.to_string());
            }
        }
        Ok(())
    }

    /// The keys that differ in `new` and that a reload cannot take over, in alphabetical order.
    pub fn restart_needed(&self, new: &Self) -> Vec<&'static str> {
        // A value that cannot be written as TOML cannot have come from a file, and so not from a reload.
        let (Ok(old), Ok(new)) = (keys::flatten(self), keys::flatten(new)) else {
            return NEEDS_RESTART.to_vec();
        };
        NEEDS_RESTART
            .into_iter()
            .filter(|key| old.get(*key) != new.get(*key))
            .collect()
    }
}

impl Output {
    /// [`Output::mode`] as a number; `Some` in a checked configuration.
    pub fn mode_bits(&self) -> Option<u32> {
        let octal = !self.mode.is_empty() && self.mode.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        let bits = u32::from_str_radix(&self.mode, 8).ok()?;
        (octal && bits <= 0o777).then_some(bits)
    }
}

pub(super) fn problem(key: impl Into<String>, message: impl Into<String>) -> Result<(), Problem> {
    Err(Problem {
        key: key.into(),
        message: message.into(),
    })
}

pub(super) fn number(key: &str, value: u64, least: u64, most: Option<u64>) -> Result<(), Problem> {
    range(key, value, least, most, |value| *value)
}

pub(super) fn duration(
    key: &str,
    value: Duration,
    least: Duration,
    most: Option<Duration>,
) -> Result<(), Problem> {
    range(key, value, least, most, |value| {
        humantime::format_duration(*value)
    })
}

fn range<T: PartialOrd, D: Display>(
    key: &str,
    value: T,
    least: T,
    most: Option<T>,
    show: impl Fn(&T) -> D,
) -> Result<(), Problem> {
    if value >= least && most.as_ref().is_none_or(|most| value <= *most) {
        return Ok(());
    }
    let range = match &most {
        Some(most) => format!("{} to {}", show(&least), show(most)),
        None => format!("at least {}", show(&least)),
    };
    problem(key, format!("{} is out of range: {range}", show(&value)))
}

fn globs(key: &str, patterns: &[String]) -> Result<(), Problem> {
    for pattern in patterns {
        if pattern.is_empty() {
            return problem(key, "an interface name is empty");
        }
        if let Err(error) = Glob::new(pattern) {
            return problem(
                key,
                format!("`{pattern}` is not an interface name or glob: {}", error.kind()),
            );
        }
    }
    Ok(())
}
