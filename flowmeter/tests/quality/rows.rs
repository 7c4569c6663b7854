//! The table of expectations, `expected.tsv`.

use std::{fs, net::IpAddr, path::Path};

use flowmeter::{
    config::{Config, Sources, load},
    detect::{Finding, Phase},
};

/// One expectation.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) path: String,
    pub(crate) internal: String,
    pub(crate) settings: String,
    /// The name of a finding, or `brute_force`, a reason.
    pub(crate) expect: String,
    /// Must not be found.
    pub(crate) not: bool,
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) note: String,
}

impl Row {
    pub(crate) fn hard(&self) -> bool {
        self.note.contains("(hard")
    }

    /// The detector that the row is about.
    pub(crate) fn group(&self) -> &str {
        &self.expect
    }

    pub(crate) fn matches(&self, finding: &Finding) -> bool {
        let one = |wanted: &str, ip: Option<IpAddr>, port: Option<u16>, sample: &[IpAddr]| {
            wanted.is_empty()
                || wanted == "*"
                || wanted.split('|').any(|wanted| {
                    let (address, wanted_port) = match wanted.rsplit_once(':') {
                        Some((address, port)) if !address.contains(':') => {
                            (address, port.parse::<u16>().ok())
                        }
                        _ => (wanted, None),
                    };
                    let Ok(address) = address.parse::<IpAddr>() else {
                        return false;
                    };
                    (ip == Some(address) || ip.is_none() && sample.contains(&address))
                        && (wanted_port.is_none() || wanted_port == port)
                })
        };
        finding.phase != Phase::End
            && is_of_kind(&self.expect, finding)
            && one(&self.source, finding.source, None, &[])
            && one(
                &self.destination,
                finding.destination,
                finding.port,
                &finding.hosts,
            )
    }
}

/// `expect`: the name of a finding, or `brute_force`, a reason.
pub(crate) fn is_of_kind(expect: &str, finding: &Finding) -> bool {
    if expect == "brute_force" {
        finding.reasons.iter().any(|reason| reason.id == "brute_force")
    } else {
        finding.tag.name() == expect
    }
}

pub(crate) fn read(data: &Path) -> anyhow::Result<Vec<Row>> {
    let text = fs::read_to_string(data.join("expected.tsv"))?;
    let row = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let field = |index: usize| fields.get(index).copied().unwrap_or("").to_owned();
        let expect = field(3);
        Row {
            path: field(0),
            internal: field(1),
            settings: field(2),
            not: expect.starts_with("not:"),
            expect: expect.trim_start_matches("not:").to_owned(),
            source: field(4),
            destination: field(5),
            note: field(6),
        }
    };
    Ok(text.lines().skip(1).map(row).collect())
}

/// The defaults with learning off, and what a row changes.
pub(crate) fn config(internal: &str, settings: &str, more: &[String]) -> anyhow::Result<Config> {
    let mut set = vec![
        "detect.learning=0s".to_owned(),
        "collector.name=quality".to_owned(),
    ];
    if !internal.is_empty() {
        let mut networks: Vec<String> = Config::default()
            .networks
            .internal
            .iter()
            .map(ToString::to_string)
            .collect();
        networks.extend(internal.split([',', ';']).map(|net| net.trim().to_owned()));
        set.push(format!("networks.internal={}", networks.join(",")));
    }
    set.extend(
        settings
            .split(';')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned),
    );
    set.extend_from_slice(more);
    let sources = Sources {
        file: Some("/dev/null".into()),
        set,
        ..Sources::default()
    };
    Ok(load(&sources)?.config)
}
