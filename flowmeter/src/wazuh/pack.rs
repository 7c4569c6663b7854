//! The files of `wazuh/`, in the binary: a collector needs no other file to be set up.

use super::{
    list::List,
    rule::{self, Rule},
};

/// One file of the pack.
#[derive(Clone, Copy, Debug)]
pub struct PackFile {
    /// Below Wazuh's folder.
    pub path: &'static str,
    pub text: &'static str,
}

pub const RULES: PackFile = PackFile {
    path: "etc/rules/netflow_rules.xml",
    text: include_str!("../../../wazuh/rules/netflow_rules.xml"),
};

/// Optional.
pub const FLOW_RULES: PackFile = PackFile {
    path: "etc/rules/netflow_rules_flows.xml",
    text: include_str!("../../../wazuh/rules/netflow_rules_flows.xml"),
};

/// The operator's own once it is there.
pub const SCANNERS: PackFile = PackFile {
    path: "etc/lists/netflow-authorized-scanners",
    text: include_str!("../../../wazuh/lists/netflow-authorized-scanners"),
};

/// For the indexer.
pub const TEMPLATE: PackFile = PackFile {
    path: "etc/flowmeter/netflow-template.json",
    text: include_str!("../../../wazuh/netflow-template.json"),
};

/// For the dashboard.
pub const DASHBOARDS: PackFile = PackFile {
    path: "etc/flowmeter/netflow-dashboards.ndjson",
    text: include_str!("../../../wazuh/dashboards/netflow-dashboards.ndjson"),
};

/// Rule ids of the pack; those that are free are kept for later.
pub const IDS: std::ops::Range<u32> = 117_000..117_050;

/// The rules of the pack, with the flow rules or without, and its list as it is shipped.
pub fn rules(flows: bool) -> Vec<Rule> {
    let files = [Some(RULES), flows.then_some(FLOW_RULES)];
    let read = |file: PackFile| rule::read(file.path, file.text).0;
    files.into_iter().flatten().flat_map(read).collect()
}

/// The list as it is shipped.
pub fn scanners() -> List {
    List::parse(SCANNERS.text)
}
