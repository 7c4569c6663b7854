//! What the agent tells the service manager that started it: sd_notify(3), a datagram of lines to a socket.

use std::{
    env,
    ffi::OsString,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

/// The manager's socket. Without a manager everything that is told goes nowhere.
pub(super) struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Manager {
    /// As `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` say.
    pub(super) fn of_this_process() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let socket = socket.and_then(|name| match connect(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                log::warn!("cannot reach the service manager at {}: {error}", name.display());
                None
            }
        });
        // sd_watchdog_enabled(3): the time is meant for the process with that id alone.
        let number = |name| env::var(name).ok()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|&micros| ours && micros > 0 && socket.is_some());
        Self {
            socket,
            watchdog: watchdog.map(Duration::from_micros),
        }
    }

    /// How often [`Self::alive`] has to be told, if at all: twice as often as the manager wants to hear it.
    pub(super) fn heartbeat(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    /// Everything that was asked for is metered from now on.
    pub(super) fn ready(&self, metered: &str) {
        self.tell(&format!("READY=1\nSTATUS=Metering {metered}"));
    }

    /// The configuration is being read again, until [`Self::ready`].
    pub(super) fn reloading(&self) {
        // systemd.service(5), `Type=notify-reload`, tells this reload from an earlier one by the time.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| {
            now.tv_sec().saturating_mul(1_000_000) + now.tv_nsec() / 1000
        });
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}"));
    }

    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Writing what was counted");
    }

    /// The loop still goes round.
    pub(super) fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, state: &str) {
        let Some((socket, address)) = &self.socket else {
            return;
        };
        // A manager that is being restarted listens again later, on the same socket; what is told meanwhile is lost,
        // which it knows.
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            log::debug!("telling the service manager {state:?}: {error}");
        }
    }
}

fn connect(name: &OsString) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not hold up the loop.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}
