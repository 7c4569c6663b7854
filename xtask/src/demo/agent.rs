//! The agent as a child process.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::network::{INTERFACE, INTERNAL, Network};
use crate::{process, signals};

/// Ended when dropped, unless it was stopped or is kept.
pub(crate) struct Agent {
    child: Child,
    log: PathBuf,
    running: bool,
}

impl Agent {
    /// Starts the agent and waits until it says that it is metering.
    pub(crate) fn start(binary: &Path, network: &Network, events: &Path, directory: &Path) -> Result<Self> {
        let log = directory.join("agent.log");
        let file = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let mut command = network.inside.command(&binary.to_string_lossy());
        command
            .args([
                "run",
                "--interface",
                INTERFACE,
                "--interval",
                "1s",
                "--direction",
                "both",
            ])
            // The report is about every flow.
            .args(["--flows", "all"])
            .args(["--internal-networks", INTERNAL, "--log-level", "info", "--output"])
            .arg(events)
            .arg("--set")
            .arg(format!("detect.state={}", directory.join("state").display()))
            // By default a day is learned from before anything is told as new.
            .args(["--set", "detect.learning=0s"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file);
        let child = command
            .spawn()
            .with_context(|| format!("running `{}`", process::shown(&command)))?;
        let mut agent = Self {
            child,
            log,
            running: true,
        };
        let end = Instant::now() + Duration::from_secs(30);
        while !agent.said().contains("metering") {
            agent.check()?;
            ensure!(
                Instant::now() < end,
                "the agent does not start metering:\n{}",
                agent.said()
            );
            std::thread::sleep(process::POLL);
        }
        Ok(agent)
    }

    /// # Errors
    /// If it has ended, or if we were asked to.
    pub(crate) fn check(&mut self) -> Result<()> {
        signals::check()?;
        if let Some(status) = self.child.try_wait().context("looking for the agent")? {
            self.running = false;
            bail!("the agent ended ({status}):\n{}", self.said());
        }
        Ok(())
    }

    /// Asks it to end, as systemd would, and waits for that.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let status = process::end(&mut self.child, Duration::from_secs(15)).context("stopping the agent")?;
        self.running = false;
        ensure!(
            status.success(),
            "the agent did not stop in good order ({status}):\n{}",
            self.said()
        );
        Ok(())
    }

    /// Leaves it running; its process id.
    pub(crate) fn keep(&mut self) -> u32 {
        self.running = false;
        self.child.id()
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.running
            && let Err(error) = process::end(&mut self.child, Duration::from_secs(5))
        {
            eprintln!("ending the agent: {error:#}");
        }
    }
}
