//! Where rules are applied: the files of the manager.

use std::collections::BTreeMap;

use anyhow::Result;

use super::Diagnosis;
use crate::wazuh::{
    conf::Conf,
    host::{CONF, Host},
    ids,
    list::List,
    pack::{self, PackFile},
    rule,
    xml::{self, Rooted},
};

pub(super) fn diagnose(host: &Host, found: &mut Vec<Diagnosis>) -> Result<()> {
    pack_files(host, found)?;
    duplicates(host, found)?;
    others(host, found)?;
    list(host, found)?;
    decoders(host, found)?;
    let files = [pack::RULES.path, pack::FLOW_RULES.path, pack::SCANNERS.path, CONF];
    restarted(host, "wazuh-analysisd", &files, found);
    Ok(())
}

fn pack_files(host: &Host, found: &mut Vec<Diagnosis>) -> Result<()> {
    for (file, optional) in [(pack::RULES, false), (pack::FLOW_RULES, true)] {
        let PackFile { path, text } = file;
        let shown = host.path(path);
        let shown = shown.display();
        let Some(there) = host.read(path)? else {
            found.push(if optional {
                Diagnosis::good(format!(
                    "{shown} is not installed: plain flows do not reach the index"
                ))
            } else {
                Diagnosis::error(
                    format!("{shown} is not there"),
                    "flowmeter wazuh install --manager",
                )
            });
            continue;
        };
        let (_, mistakes) = rule::read(&shown.to_string(), &there);
        let clean = mistakes.is_empty();
        for mistake in mistakes {
            let remedy = "correct it, or: flowmeter wazuh install --manager";
            found.push(match mistake.consequence {
                rule::Consequence::NotUnderstood => Diagnosis::warning(mistake.to_string(), ""),
                _ => Diagnosis::error(mistake.to_string(), remedy),
            });
        }
        if there == text {
            found.push(Diagnosis::good(format!("{shown} is this version's")));
        } else if clean {
            found.push(Diagnosis::warning(
                format!("{shown} is not this version's, or was changed"),
                "flowmeter wazuh install --manager replaces it and keeps the old one",
            ));
        }
    }
    Ok(())
}

/// Only the first rule with an id counts.
fn duplicates(host: &Host, found: &mut Vec<Diagnosis>) -> Result<()> {
    let mut first = BTreeMap::new();
    for (file, line, id) in ids::of_host(host)? {
        let place = format!("{}:{line}", host.path(&file).display());
        if let Some(earlier) = first.get(&id) {
            found.push(Diagnosis::error(
                format!("rule {id} in {place} is dropped: its id is taken by {earlier}"),
                "give one of the two another id; ids of your own start at 100000",
            ));
        } else {
            first.insert(id, place);
        }
    }
    Ok(())
}

/// The other files of the operator. Wazuh's parser takes some that are no XML, so these are no errors.
fn others(host: &Host, found: &mut Vec<Diagnosis>) -> Result<()> {
    for folder in ["etc/rules", "etc/decoders"] {
        for file in host.xml_files(folder) {
            if file == pack::RULES.path || file == pack::FLOW_RULES.path {
                continue;
            }
            let text = host.read(&file)?.unwrap_or_default();
            if let Err(error) = Rooted::new(&text).parse() {
                found.push(Diagnosis::warning(
                    format!("{}:{error}", host.path(&file).display()),
                    "the manager may not start with it: /var/ossec/bin/wazuh-analysisd -t",
                ));
            }
        }
    }
    Ok(())
}

fn list(host: &Host, found: &mut Vec<Diagnosis>) -> Result<()> {
    let path = pack::SCANNERS.path;
    let conf_path = host.path(CONF);
    let conf_path = conf_path.display();
    let text = host.read(CONF)?.unwrap_or_default();
    match Conf::read(&text) {
        Err(error) => found.push(Diagnosis::error(
            format!("{conf_path}:{error}"),
            "correct it there; the manager may not start with it",
        )),
        Ok(conf) => {
            if conf.lists.iter().any(|list| list == path) {
                found.push(Diagnosis::good(format!("{conf_path} declares {path}")));
            } else {
                found.push(Diagnosis::error(
                    format!("{conf_path} does not declare {path}: rule 117012 is dropped"),
                    "flowmeter wazuh install --manager",
                ));
            }
            if conf.rulesets > 1 {
                found.push(Diagnosis::warning(
                    format!("{conf_path} has {} <ruleset> sections", conf.rulesets),
                    "put them together: the last one replaces the folders and lists of the others",
                ));
            }
        }
    }
    match host.read(path)? {
        None => found.push(Diagnosis::error(
            format!("{} is not there", host.path(path).display()),
            "flowmeter wazuh install --manager",
        )),
        Some(text) => {
            for network in List::parse(&text).networks() {
                found.push(Diagnosis::error(
                    format!("{}: {network} matches no address", host.path(path).display()),
                    "write a prefix that ends in a dot, such as 10.99.7. for 10.99.7.0/24",
                ));
            }
        }
    }
    Ok(())
}

/// With one child of `json`, a line that fits no child is not decoded any more.
fn decoders(host: &Host, found: &mut Vec<Diagnosis>) -> Result<()> {
    let mut children = Vec::new();
    for file in host.xml_files("etc/decoders") {
        let text = host.read(&file)?.unwrap_or_default();
        let rooted = Rooted::new(&text);
        let Ok(document) = rooted.parse() else { continue };
        for decoder in xml::children(document.root_element(), "decoder") {
            let has = |name| xml::children(decoder, name).next().is_some();
            if xml::children(decoder, "parent")
                .map(xml::text)
                .any(|parent| parent == "json")
            {
                children.push((file.clone(), !has("prematch") && has("plugin_decoder")));
            }
        }
    }
    if let Some((file, _)) = children.first()
        && !children.iter().any(|(_, takes_all)| *takes_all)
    {
        found.push(Diagnosis::error(
            format!(
                "{} has a child of the decoder json and no catch-all: no other JSON log is decoded",
                host.path(file).display()
            ),
            "take it out, or see flowmeter's wazuh/decoders/netflow_decoders.xml",
        ));
    }
    Ok(())
}

/// Whether a program of Wazuh has been started since its files were changed.
pub(super) fn restarted(host: &Host, program: &str, files: &[&str], found: &mut Vec<Diagnosis>) {
    let Some(started) = host.started(program) else {
        found.push(Diagnosis::warning(
            format!("{program} does not run, or not as a service"),
            host.restart(),
        ));
        return;
    };
    let newer = files.iter().map(|file| host.path(file)).find(|path| {
        let changed = path.metadata().and_then(|metadata| metadata.modified());
        changed.is_ok_and(|changed| changed > started)
    });
    found.push(match newer {
        Some(path) => Diagnosis::error(
            format!("{} was changed after {program} was started", path.display()),
            host.restart(),
        ),
        None => Diagnosis::good(format!("{program} was started after the last change")),
    });
}
