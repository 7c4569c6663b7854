//! What the hosts of a finding did, and what was found about them, in the order of time.

use std::net::IpAddr;

use jiff::Timestamp;

use super::{
    super::words::{count, period, several, size},
    hosts,
};
use crate::{
    explain::episode::Episode,
    report::{
        model::{Block, Cell, Column, Severity, Table},
        scene::{AROUND, Conversation, Exchange, Scene},
    },
};

/// Rows that are conversations; findings come on top.
const ROWS: usize = 60;

pub(super) fn chronology(chosen: &Episode, scene: &Scene, related: &[&Episode]) -> Vec<Block> {
    let mut rows: Vec<(Timestamp, Vec<Cell>)> = Vec::new();
    let names = |severity: Option<Severity>, at: Timestamp, until: String, what: String| {
        let mark = severity.map_or(Cell::Text(String::new()), Cell::Severity);
        let at_text = Cell::text(at.strftime("%Y-%m-%d %H:%M:%S").to_string());
        (at, vec![at_text, Cell::Text(until), mark, Cell::Text(what)])
    };
    for (episode, own) in related
        .iter()
        .map(|episode| (*episode, false))
        .chain([(chosen, true)])
    {
        for told in episode.findings() {
            if (scene.from..=scene.until).contains(&told.last_seen) {
                let which = if own { "this finding" } else { told.tag.name() };
                let what = format!("{which}, {}: {}", told.phase.name(), told.message);
                rows.push(names(
                    Some(Severity::of(told.score)),
                    told.last_seen,
                    String::new(),
                    what,
                ));
            }
        }
    }
    let mut conversations: Vec<(&Conversation, &Exchange)> = scene.conversations.iter().collect();
    // Those of the two hosts with each other first: the finding is about them.
    let between = |key: &Conversation| {
        let [source, destination] = hosts(chosen);
        key.source == source && key.destination == destination
    };
    conversations.sort_by_key(|(key, exchange)| {
        let bytes = exchange.sent.bytes.saturating_add(exchange.received.bytes);
        (!between(key), std::cmp::Reverse(bytes), *key)
    });
    let left_out = conversations.split_off(ROWS.min(conversations.len()));
    for (key, exchange) in conversations {
        let until = if exchange.last.as_second() == exchange.first.as_second() {
            String::new()
        } else {
            exchange.last.strftime("%H:%M:%S").to_string()
        };
        rows.push(names(None, exchange.first, until, said(key, exchange)));
    }
    rows.sort_by_key(|(at, _)| *at);
    let mut blocks = vec![
        Block::Text(format!(
            "What the hosts of the finding did from {}: {} before its first evidence to as long after its last one. \
             One row for each conversation (source, destination, port), from its first packet to its last.",
            period(scene.from, scene.until),
            humantime::format_duration(AROUND.unsigned_abs())
        )),
        Block::Table(Table {
            columns: vec![
                Column::Short("From (UTC)"),
                Column::Short("Until"),
                Column::Short("Severity"),
                Column::Text("What"),
            ],
            rows: rows.into_iter().map(|(_, cells)| cells).collect(),
            remainders: 0,
        }),
    ];
    let mut beyond = scene.beyond;
    for (_, exchange) in &left_out {
        beyond.add(exchange.sent);
        beyond.add(exchange.received);
    }
    if beyond.records > 0 {
        blocks.push(Block::Text(format!(
            "Smaller conversations of the same hosts are not listed: {} records, {} together.",
            count(beyond.records),
            size(beyond.bytes)
        )));
    }
    blocks
}

/// Who did what to whom.
fn said(key: &Conversation, exchange: &Exchange) -> String {
    let host = |ip: Option<IpAddr>| ip.map_or_else(|| "several hosts".to_owned(), |ip| ip.to_string());
    let port = key.port.map(|port| format!(", port {port}")).unwrap_or_default();
    let service = match exchange.service.as_str() {
        "" | "OTHER" => key.transport.to_uppercase(),
        name => name.to_owned(),
    };
    let outcomes: Vec<String> = exchange
        .outcomes
        .iter()
        .map(|(outcome, number)| match exchange.outcomes.len() {
            1 => outcome.replace('_', " "),
            _ => format!("{} {}", count(*number), outcome.replace('_', " ")),
        })
        .collect();
    let outcomes = if outcomes.is_empty() {
        String::new()
    } else {
        format!(", {}", outcomes.join(", "))
    };
    format!(
        "{} to {}{port} ({service}): {}{outcomes}, {} sent, {} received",
        host(key.source),
        host(key.destination),
        several(exchange.sent.records, "record"),
        size(exchange.sent.bytes),
        size(exchange.received.bytes)
    )
}
