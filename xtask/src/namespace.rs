//! Network namespaces that go when their owner goes.

use std::{fs::File, io, process::Command, thread};

use anyhow::{Result, anyhow};
use nix::sched::{CloneFlags, setns};

use crate::process;

/// Removed when dropped, with everything in it, unless kept.
pub(crate) struct Namespace {
    pub(crate) name: String,
    keep: bool,
}

impl Namespace {
    pub(crate) fn new(name: String) -> Result<Self> {
        ip(&format!("netns add {name}"))?;
        Ok(Self { name, keep: false })
    }

    pub(crate) fn ip(&self, arguments: &str) -> Result<()> {
        ip(&format!("-n {} {arguments}", self.name))
    }

    /// A command that will run in the namespace.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    pub(crate) fn run(&self, line: &str) -> Result<()> {
        let mut words = line.split(' ');
        let mut command = self.command(words.next().unwrap_or_default());
        command.args(words);
        process::output(&mut command).map(drop)
    }

    /// What `work` returns, run by a thread inside. A socket made there stays there, whoever uses it later.
    ///
    /// # Errors
    /// What `work` returns, and if the namespace cannot be entered.
    pub(crate) fn inside<T: Send, E: From<io::Error> + Send>(
        &self,
        work: impl FnOnce() -> Result<T, E> + Send,
    ) -> Result<T, E> {
        let namespace = File::open(format!("/run/netns/{}", self.name))?;
        thread::scope(|scope| {
            // A thread of its own: setns moves the calling thread, and it is not moved back.
            scope
                .spawn(move || {
                    setns(namespace, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)?;
                    work()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Leaves the namespace in place when this is dropped.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // The veth pair goes with its namespaces.
        if let Err(error) = ip(&format!("netns delete {}", self.name)) {
            eprintln!("removing the namespace {}: {error:#}", self.name);
        }
    }
}

pub(crate) fn ip(arguments: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(arguments.split(' '));
    process::run(&mut command).map_err(|error| anyhow!("setting up the network: {error}"))
}
