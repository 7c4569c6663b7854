//! Putting the pack in place.
//!
//! What is replaced is kept below [`BEFORE`], what is put there below [`INSTALLED`]: so uninstalling knows what was
//! there before, and what somebody has changed since.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow, bail};

use super::{
    conf::{self, AGE_ALIAS, Conf, Localfile},
    host::{self, CONF, Host},
    ids,
    pack::{self, PackFile},
    uninstall::remove_empty_folders,
};
use crate::error::Failure;

pub(super) const BEFORE: &str = "backup/flowmeter/before";
pub(super) const INSTALLED: &str = "backup/flowmeter/installed";
/// What somebody made of our files, when an install replaced it.
const CHANGED: &str = "backup/flowmeter/changed";

/// What was done to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    pub what: What,
    pub path: PathBuf,
    pub note: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Wrote,
    Changed,
    Removed,
    Restored,
    /// It is as it should be.
    Unchanged,
    /// It is somebody's own.
    Kept,
    Checked,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::Wrote => "wrote",
            What::Changed => "changed",
            What::Removed => "removed",
            What::Restored => "restored",
            What::Unchanged => "unchanged",
            What::Kept => "kept",
            What::Checked => "checked",
        };
        write!(f, "{what:<9}  {}", self.path.display())?;
        if !self.note.is_empty() {
            write!(f, "  ({})", self.note)?;
        }
        Ok(())
    }
}

/// True if Wazuh has to be restarted to see it.
pub fn needs_restart(done: &[Done]) -> bool {
    let changes = [What::Wrote, What::Changed, What::Removed, What::Restored];
    done.iter().any(|done| changes.contains(&done.what))
}

/// Puts the pack in place. `program` is this command, which the agent runs for the meter's age.
///
/// # Errors
/// If something in place speaks against it, or Wazuh itself refuses the result. Nothing has changed then.
pub fn install(host: &Host, flows: bool, program: &Path) -> Result<Vec<Done>> {
    let plan = plan(host, flows, program)?;
    let mut done = Vec::new();
    let mut undo: Vec<(PathBuf, Option<Vec<u8>>)> = Vec::new();
    let result = apply(host, &plan, &mut done, &mut undo)
        .and_then(|()| check_by_wazuh(host, needs_restart(&done), &mut done));
    if let Err(error) = result {
        let stuck = put_back(undo);
        remove_empty_folders(host);
        return Err(if stuck.is_empty() {
            error.context("cannot install; everything is as it was")
        } else {
            error.context(format!(
                "cannot install, and cannot put back {}; see {}",
                stuck.join(", "),
                host.path(BEFORE).display()
            ))
        });
    }
    Ok(done)
}

/// Puts back what there was, the last first, as far as possible; tells what is left.
fn put_back(undo: Vec<(PathBuf, Option<Vec<u8>>)>) -> Vec<String> {
    let mut stuck = Vec::new();
    for (path, before) in undo.into_iter().rev() {
        let done = match before {
            Some(text) => host::write(&path, &text),
            None => host::remove(&path),
        };
        if done.is_err() {
            stuck.push(path.display().to_string());
        }
    }
    stuck
}

/// A file as it shall be.
struct Planned {
    path: &'static str,
    text: String,
    note: String,
    /// Whose it is once it is there.
    keep: bool,
}

/// What shall be where; nothing is changed yet.
fn plan(host: &Host, flows: bool, program: &Path) -> Result<Vec<Planned>> {
    let mut plan = Vec::new();
    let file = |file: PackFile, keep| Planned {
        path: file.path,
        text: file.text.to_owned(),
        note: String::new(),
        keep,
    };
    let conf_path = host.path(CONF);
    let mut conf_text = host
        .read(CONF)?
        .with_context(|| format!("{} is not there", conf_path.display()))?;
    let conf = Conf::read(&conf_text).map_err(|error| {
        let broken = anyhow!("{}:{error}", conf_path.display());
        Failure::Configuration(broken.context("cannot change Wazuh's configuration; nothing was written"))
    })?;
    let mut notes = Vec::new();
    if host.manager {
        refuse_taken_ids(host)?;
        plan.push(file(pack::RULES, false));
        if flows {
            plan.push(file(pack::FLOW_RULES, false));
        }
        plan.push(file(pack::SCANNERS, true));
        plan.push(file(pack::TEMPLATE, false));
        plan.push(file(pack::DASHBOARDS, false));
        if !conf.lists.iter().any(|list| list == pack::SCANNERS.path) {
            conf_text = conf::with_list(&conf_text, pack::SCANNERS.path)
                .ok()
                .flatten()
                .with_context(|| {
                    format!("cannot declare a list: {} has no <ruleset>", conf_path.display())
                })?;
            notes.push("list declared");
        }
    }
    if host.agent {
        let blocks = blocks(host, &conf_text, program)?;
        if !blocks.is_empty() {
            let with = conf::with_section(&conf_text, &blocks);
            if with != conf_text {
                notes.push("event file to be read");
            }
            conf_text = with;
        }
    }
    plan.push(Planned {
        path: CONF,
        text: conf_text,
        note: notes.join(", "),
        keep: false,
    });
    Ok(plan)
}

/// The blocks that are missing but for those of an earlier install.
fn blocks(host: &Host, conf_text: &str, program: &Path) -> Result<Vec<Localfile>> {
    let text = |path: &Path| {
        let text = path
            .to_str()
            .filter(|text| !text.contains(['<', '>', '&', '\'', '"', ' ']));
        text.map(str::to_owned)
            .with_context(|| format!("cannot name {} in {CONF}; use a plainer path", path.display()))
    };
    let others = Conf::read(&conf::without_section(conf_text)).map_err(|error| anyhow!("{CONF}:{error}"))?;
    let mut blocks = Vec::new();
    if host.events == Path::new("-") {
        bail!("cannot have the agent read standard output; name a file in output.path");
    }
    let events = text(&host.events)?;
    if others.reads(&host.events).is_none() {
        blocks.push(Localfile {
            log_format: "json".to_owned(),
            location: events.clone(),
            ..Localfile::default()
        });
    }
    if !others.tells_age() {
        blocks.push(Localfile {
            log_format: "full_command".to_owned(),
            command: format!("{} wazuh age {events}", text(program)?),
            alias: AGE_ALIAS.to_owned(),
            ..Localfile::default()
        });
    }
    Ok(blocks)
}

/// Of two rules with one id the manager drops the second, with a warning that is easily missed.
fn refuse_taken_ids(host: &Host) -> Result<()> {
    for (file, line, id) in ids::of_host(host)? {
        let ours = [pack::RULES.path, pack::FLOW_RULES.path].contains(&file.as_str());
        if pack::IDS.contains(&id) && !ours {
            bail!(
                "cannot install: rule {id} is already in {}:{line}; take it out there first",
                host.path(&file).display()
            );
        }
    }
    Ok(())
}

fn apply(
    host: &Host,
    plan: &[Planned],
    done: &mut Vec<Done>,
    undo: &mut Vec<(PathBuf, Option<Vec<u8>>)>,
) -> Result<()> {
    for planned in plan {
        let path = host.path(planned.path);
        let before = host::read_bytes(&path)?;
        let mut tell = |what, note: &str| {
            done.push(Done {
                what,
                path: path.clone(),
                note: note.to_owned(),
            });
        };
        if before.as_deref() == Some(planned.text.as_bytes()) {
            tell(What::Unchanged, "");
            continue;
        }
        if planned.keep && before.is_some() {
            tell(What::Kept, "it is yours");
            continue;
        }
        let installed = host.path(INSTALLED).join(planned.path);
        let kept = host.path(BEFORE).join(planned.path);
        // What an earlier install has put there is nothing to come back to.
        if let Some(before) = &before
            && !installed.exists()
            && !kept.exists()
        {
            host::write(&kept, before)?;
            undo.push((kept.clone(), None));
        }
        let earlier = host::read_bytes(&installed)?;
        let mut notes = planned.note.clone();
        if let (Some(there), Some(ours)) = (&before, &earlier)
            && there != ours
            && planned.path != CONF
        {
            let changed = free_place(host, planned.path, there)?;
            if !changed.exists() {
                host::write(&changed, there)?;
                undo.push((changed.clone(), None));
            }
            notes = format!("it was changed since; that is now {}", changed.display());
        }
        host::write(&installed, planned.text.as_bytes())?;
        undo.push((installed, earlier));
        host::write(&path, planned.text.as_bytes())?;
        undo.push((path.clone(), before.clone()));
        match before {
            None => tell(What::Wrote, &notes),
            Some(_) if kept.exists() => {
                let note = format!("{notes}; before: {}", kept.display());
                tell(What::Changed, note.trim_start_matches("; "));
            }
            Some(_) => tell(What::Changed, &notes),
        }
    }
    Ok(())
}

/// Where a changed file is kept: where nothing is yet, or the same.
fn free_place(host: &Host, file: &str, text: &[u8]) -> Result<PathBuf> {
    let mut path = host.path(CHANGED).join(file);
    for number in 2_u32.. {
        match host::read_bytes(&path)? {
            Some(other) if other != text => path = host.path(CHANGED).join(format!("{file}.{number}")),
            _ => break,
        }
    }
    Ok(path)
}

/// Has Wazuh's own programs read the result, where they are.
fn check_by_wazuh(host: &Host, changed: bool, done: &mut Vec<Done>) -> Result<()> {
    let programs = [
        (host.manager, "bin/wazuh-analysisd"),
        (host.agent, "bin/wazuh-logcollector"),
    ];
    for (wanted, program) in programs {
        let path = host.path(program);
        if !wanted || !changed || !path.exists() {
            continue;
        }
        let output = Command::new(&path)
            .arg("-t")
            .output()
            .with_context(|| format!("cannot run {} -t", path.display()))?;
        if !output.status.success() {
            let told = [output.stdout, output.stderr].concat();
            bail!(
                "{} -t refuses it: {}",
                path.display(),
                String::from_utf8_lossy(&told).trim()
            );
        }
        done.push(Done {
            what: What::Checked,
            path,
            note: "-t takes it".to_owned(),
        });
    }
    Ok(())
}
