//! What to do next, and what is usually behind it when nothing is wrong.

use std::net::IpAddr;

use jiff::Timestamp;

use super::super::words::time;
use crate::{
    explain::{episode::Episode, knowledge::kind, next},
    report::model::{Block, Item},
};

pub(super) fn benign(chosen: &Episode, now: Timestamp) -> Vec<Block> {
    let kind = kind(chosen.latest().tag);
    let causes = kind.benign.iter().map(|cause| Item::new(*cause)).collect();
    let mut blocks = vec![Block::Items(causes)];
    let role = kind.role.as_ref();
    let role = role.and_then(|role| Some((role.when, next::filled(role.setting, chosen)?)));
    if let Some((when, setting)) = role {
        blocks.push(Block::Text(format!("{when}:")));
        blocks.push(Block::Code(setting));
    }
    if let Some(entry) = next::allow(chosen, now) {
        blocks.push(Block::Text(
            "If it is benign, this silences what is like it; what the entry holds back is counted \
             (detect.allow_hits):"
                .to_owned(),
        ));
        blocks.push(Block::Code(entry));
    }
    blocks
}

/// From keeping the evidence to closing the case.
pub(super) fn follow_up(chosen: &Episode) -> Vec<Item> {
    let told = chosen.latest();
    let mut items = vec![
        Item::new(
            "Keep the evidence before rotation takes it: the event files of this time, and the configuration",
        )
        .with_detail(format!(
            "from {} to {}; findings, flows and statistics",
            time(chosen.first_seen()),
            time(chosen.last_seen())
        )),
    ];
    for step in kind(told.tag).next {
        if let Some(command) = next::filled(step.command, chosen) {
            items.push(Item::new(step.what).with_command(command));
        }
    }
    for (what, command) in next::commands(chosen) {
        items.push(Item::new(what).with_command(command));
    }
    let queries: Vec<String> = next::queries(chosen)
        .into_iter()
        .map(|(label, query)| format!("{label:<14}  {query}"))
        .collect();
    items.push(Item::new("On the dashboard, in DQL").with_command(queries.join("\n")));
    let host = |ip: Option<IpAddr>| ip.map_or_else(|| "the host inside".to_owned(), |ip| ip.to_string());
    items.extend([
        Item::new(format!(
            "Ask whoever is responsible for {} whether they know of it",
            host(told.source)
        )),
        Item::new("Decide: benign, or an incident").with_detail("with the reason, and who decided"),
        Item::new("If it is an incident: contain the host, then look for the same on others")
            .with_detail("the destination, the port and the rhythm or size are what to look for"),
        Item::new("If it is benign: an entry in the configuration, with an end and a ticket").with_detail(
            "see \"Likely benign causes\"; then flowmeter check-config, and SIGHUP to the running agent",
        ),
        Item::new("A week later: did it come back?"),
    ]);
    items
}
