//! A meter as a process: in a control group of its own, which tells the CPU time of all it has started, also of what
//! has ended by then, and with which all of it can be ended.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{namespace::Namespace, process, signals};

/// Ended when dropped, with all it has started.
pub(super) struct Process {
    child: Child,
    group: PathBuf,
    log: PathBuf,
}

/// What a meter holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Memory {
    /// Proportional set sizes: what two processes share counts once.
    pub(super) processes: u64,
    /// Maps of BPF programs, as the kernel charges them.
    pub(super) maps: u64,
}

/// Less than this part of a CPU is idle.
const IDLE: f64 = 0.05;
const LOOK: Duration = Duration::from_millis(100);

impl Process {
    /// Starts `command` on one CPU in `namespace`; what it says goes to `directory/name.log`.
    pub(super) fn start(
        namespace: &Namespace,
        cpu: usize,
        name: &str,
        directory: &Path,
        command: &[String],
    ) -> Result<Self> {
        let group = control_groups()?.join(format!("flowmeter-bench-{}-{name}", std::process::id()));
        fs::create_dir(&group).with_context(|| format!("creating the control group {}", group.display()))?;
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let mut shell = Command::new("sh");
        // The group first: `ip netns exec` puts another /sys in place.
        shell
            .args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec ip netns exec "$@""#])
            .arg(&group)
            .args([&namespace.name, "taskset", "-c", &cpu.to_string()])
            .args(command)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = shell
            .spawn()
            .with_context(|| format!("running `{}`", command.join(" ")))
            .inspect_err(|_| drop(fs::remove_dir(&group)))?;
        Ok(Self { child, group, log })
    }

    /// CPU time of all in the group since it was made, interrupts on top of it included.
    pub(super) fn cpu_ns(&self) -> Result<u64> {
        let text = fs::read_to_string(self.group.join("cpu.stat")).context("reading the CPU time")?;
        let microseconds = text
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec ")?.parse::<u64>().ok())
            .context("the control group tells no CPU time")?;
        Ok(microseconds * 1000)
    }

    pub(super) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for `condition`.
    ///
    /// # Errors
    /// The process has ended, we were asked to, or it takes longer than half a minute.
    pub(super) fn wait_for(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        while !condition(self) {
            signals::check()?;
            self.alive()?;
            ensure!(
                Instant::now() < end,
                "no {what} after 30 s; it said:\n{}",
                self.said()
            );
            thread::sleep(process::POLL);
        }
        Ok(())
    }

    fn alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("it ended ({status}) and said:\n{}", self.said());
        }
        Ok(())
    }

    /// Waits until it has nothing more to do: three looks in a row.
    pub(super) fn settle(&mut self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        let (mut idle, mut last) = (0, self.cpu_ns()?);
        while idle < 3 {
            signals::check()?;
            self.alive()?;
            ensure!(Instant::now() < end, "it does not come to rest within 60 s");
            thread::sleep(LOOK);
            let now = self.cpu_ns()?;
            let busy = (now - last) as f64 / LOOK.as_nanos() as f64;
            idle = if busy < IDLE { idle + 1 } else { 0 };
            last = now;
        }
        Ok(())
    }

    pub(super) fn memory(&self) -> Memory {
        let (mut processes, mut maps) = (0, BTreeMap::new());
        // One that ends meanwhile holds nothing any more.
        for pid in self.pids() {
            let directory = Path::new("/proc").join(pid);
            let rollup = fs::read_to_string(directory.join("smaps_rollup")).unwrap_or_default();
            processes += field(&rollup, "Pss:").unwrap_or(0) * 1024;
            let descriptors = fs::read_dir(directory.join("fdinfo")).into_iter().flatten();
            for descriptor in descriptors.flatten() {
                let info = fs::read_to_string(descriptor.path()).unwrap_or_default();
                if let (Some(id), Some(bytes)) = (field(&info, "map_id:"), field(&info, "memlock:")) {
                    maps.insert(id, bytes);
                }
            }
        }
        Memory {
            processes,
            maps: maps.values().sum(),
        }
    }

    fn pids(&self) -> Vec<String> {
        let text = fs::read_to_string(self.group.join("cgroup.procs")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Asks it to end by `signal` and waits until all of the group has. The most that it held meanwhile.
    pub(super) fn stop(&mut self, signal: Signal) -> Result<Memory> {
        let mut most = self.memory();
        let pid = Pid::from_raw(i32::try_from(self.child.id()).context("process id out of range")?);
        self.alive()?;
        kill(pid, signal).with_context(|| format!("sending {signal}"))?;
        let end = Instant::now() + Duration::from_secs(120);
        while self.child.try_wait()?.is_none() || !self.pids().is_empty() {
            signals::check()?;
            ensure!(
                Instant::now() < end,
                "it does not end within 120 s after {signal}"
            );
            thread::sleep(process::POLL);
            let now = self.memory();
            if now.processes > most.processes {
                most.processes = now.processes;
            }
        }
        Ok(most)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Of what has ended already there is nothing to end; what stays is told by the removal of the group.
        drop(fs::write(self.group.join("cgroup.kill"), "1"));
        drop(self.child.wait());
        let end = Instant::now() + Duration::from_secs(5);
        while let Err(error) = fs::remove_dir(&self.group) {
            if Instant::now() > end {
                eprintln!("removing the control group {}: {error}", self.group.display());
                return;
            }
            thread::sleep(process::POLL);
        }
    }
}

/// The number behind `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Where control groups of version 2 are.
fn control_groups() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").context("reading /proc/mounts")?;
    mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>())
        .find_map(|words| match *words.as_slice() {
            [_, path, "cgroup2", ..] => Some(PathBuf::from(path)),
            _ => None,
        })
        .context("control groups of version 2 are needed: mount -t cgroup2 none /sys/fs/cgroup")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_name_at_the_start_of_a_line() {
        let text = "Rss:  12 kB\nPss:        3456 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(field(text, "Pss:"), Some(3456));
        assert_eq!(field(text, "memlock:"), None);
    }
}
