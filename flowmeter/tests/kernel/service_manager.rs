//! What the service manager is told, as systemd.service(5) has it for `Type=notify`.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{network::Cable, support::root_or_skip};

/// A test that waits longer than this for a message has failed.
const PATIENCE: Duration = Duration::from_secs(20);

struct Manager(UnixDatagram);

impl Manager {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn hears(&self) -> String {
        let mut message = vec![0; 4096];
        let length = self.0.recv(&mut message).expect("the agent says something");
        message.truncate(length);
        String::from_utf8(message).unwrap()
    }

    /// Waits for a message that starts so; there may only be signs of life before it.
    fn waits_for(&self, start: &str) -> String {
        loop {
            let message = self.hears();
            if message.starts_with(start) {
                return message;
            }
            assert_eq!(message, "WATCHDOG=1", "waiting for {start}");
        }
    }
}

fn start(host: &str, configuration: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Child {
    Command::new("ip")
        .args([
            "netns",
            "exec",
            host,
            env!("CARGO_BIN_EXE_flowmeter"),
            "run",
            "-i",
            "in0",
        ])
        .args(["-o", "-", "--set", "detect.state=", "-c"])
        .arg(configuration)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .envs(environment.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

#[test]
fn the_service_manager_hears_of_start_reload_life_and_end() {
    if !root_or_skip("the_service_manager_hears_of_start_reload_life_and_end") {
        return;
    }
    let cable = Cable::new(1500);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let configuration = folder.path().join("flowmeter.toml");
    fs::write(&configuration, "").unwrap();
    let manager = Manager::listen(&socket);
    let environment = [
        ("NOTIFY_SOCKET", socket.to_str().unwrap()),
        ("WATCHDOG_USEC", "100000"),
    ];
    let mut child = start(&cable.receiver.name, &configuration, &[], &environment);

    assert_eq!(manager.waits_for("READY=1"), "READY=1\nSTATUS=Metering in0");
    // Nothing but time brings these.
    assert_eq!([manager.hears(), manager.hears()], ["WATCHDOG=1", "WATCHDOG=1"]);

    // Also where the new configuration is refused: the old one is in force.
    for text in ["[capture]\ninterval = \"5s\"\n", "[capture]\ninterval = 5\n"] {
        fs::write(&configuration, text).unwrap();
        signal(&child, Signal::SIGHUP);
        let reloading = manager.waits_for("RELOADING=1\nMONOTONIC_USEC=");
        let (_, time) = reloading.rsplit_once('=').unwrap();
        assert!(time.parse::<u64>().unwrap() > 0, "{reloading}");
        manager.waits_for("READY=1");
    }

    signal(&child, Signal::SIGTERM);
    manager.waits_for("STOPPING=1");
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_watchdog_of_another_process_is_not_fed() {
    if !root_or_skip("the_watchdog_of_another_process_is_not_fed") {
        return;
    }
    let cable = Cable::new(1500);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let manager = Manager::listen(&socket);
    let environment = [
        ("NOTIFY_SOCKET", socket.to_str().unwrap()),
        ("WATCHDOG_USEC", "1000"),
        ("WATCHDOG_PID", "1"),
    ];
    let arguments = ["--duration", "200ms"];
    let mut child = start(
        &cable.receiver.name,
        Path::new("/dev/null"),
        &arguments,
        &environment,
    );
    // It would have been fed four hundred times in between.
    assert_eq!(manager.hears(), "READY=1\nSTATUS=Metering in0");
    assert!(manager.hears().starts_with("STOPPING=1"));
    assert!(child.wait().unwrap().success());
}
