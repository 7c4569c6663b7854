//! Incident investigation: everything about one finding, and what its hosts did around it.

use std::net::IpAddr;

use jiff::Timestamp;

use super::{
    health,
    parts::{facts, findings_table, footer, notes, reasons, severity_of, volumes},
    words::{count, lasting, period, several, size, time},
};
use crate::{
    config,
    detect::Phase,
    explain::{
        episode::Episode,
        knowledge::{TECHNIQUES, kind, text},
        next,
        report::{evidence_of, facts_of},
    },
    report::{
        collect::Collected,
        model::{Block, Cell, Column, ContactsChart, Figure, Item, Report, Section, Severity, Table},
        scene::{AROUND, Conversation, Exchange, Scene},
    },
};

/// Rows of the chronology that are conversations; findings come on top.
const ROWS: usize = 60;
/// Related findings that are listed.
const RELATED: usize = 40;
/// Hosts on the other side that are listed.
const HOSTS: usize = 8;

pub(in crate::report) fn incident(
    collected: &Collected,
    episodes: &[Episode],
    chosen: &Episode,
    scene: &Scene,
    now: Timestamp,
) -> Report {
    let told = chosen.latest();
    let related = related(episodes, chosen);
    let sections = vec![
        Section {
            heading: "Assessment",
            blocks: assessment(collected, chosen, scene, &related),
        },
        Section {
            heading: "What was seen",
            blocks: seen(chosen, scene),
        },
        Section {
            heading: "Chronology",
            blocks: chronology(chosen, scene, &related),
        },
        Section {
            heading: "Who else is in it",
            blocks: others(chosen, scene),
        },
        Section {
            heading: "Related findings",
            blocks: related_findings(&related),
        },
        Section {
            heading: "Likely benign causes",
            blocks: benign(chosen, now),
        },
        Section {
            heading: "Follow-up",
            blocks: vec![Block::Checks(follow_up(chosen))],
        },
        Section {
            heading: "What decided",
            blocks: decided(chosen),
        },
        Section {
            heading: "How far this could see",
            blocks: health::health(collected),
        },
    ];
    let mut all_facts = facts(collected);
    all_facts.extend(
        facts_of(chosen)
            .into_iter()
            .filter(|(label, _)| !["score", "seen by"].contains(label))
            .map(|(label, value)| (label.to_owned(), value)),
    );
    Report {
        title: format!("Incident: {}", kind(told.tag).title.to_lowercase()),
        lead: told.message.clone(),
        facts: all_facts,
        figures: figures(chosen, scene, &related),
        notes: notes(collected),
        sections,
        footer: footer(now),
    }
}

fn figures(chosen: &Episode, scene: &Scene, related: &[&Episode]) -> Vec<Figure> {
    let told = chosen.latest();
    let severity = severity_of(chosen);
    let confidence = told.confidence.as_deref().unwrap_or("not told");
    vec![
        Figure {
            name: "Severity",
            value: format!("{} {}", severity.mark(), severity.name()),
            more: told
                .score
                .map(|score| format!("score {score} of 100"))
                .unwrap_or_default(),
        },
        Figure {
            name: "Confidence",
            value: confidence.to_owned(),
            more: "of the detector".to_owned(),
        },
        Figure {
            name: "Lasting",
            value: lasting(chosen.first_seen(), chosen.last_seen()),
            more: if chosen.has(Phase::End) {
                "has ended"
            } else {
                "no end yet"
            }
            .to_owned(),
        },
        Figure {
            name: "Its traffic",
            value: size(scene.own.bytes),
            more: format!(
                "{} sent, {} received",
                size(scene.own_sent),
                size(scene.own_received)
            ),
        },
        Figure {
            name: "Related findings",
            value: count(related.len() as u64),
            more: "of the same hosts".to_owned(),
        },
    ]
}

fn hosts(episode: &Episode) -> [Option<IpAddr>; 2] {
    [episode.latest().source, episode.latest().destination]
}

/// Other episodes in which a host of this one takes part.
fn related<'a>(episodes: &'a [Episode], chosen: &Episode) -> Vec<&'a Episode> {
    let hosts: Vec<IpAddr> = hosts(chosen).into_iter().flatten().collect();
    let takes_part = |episode: &&Episode| {
        let told = episode.latest();
        let ends = [told.source, told.destination];
        hosts
            .iter()
            .any(|host| ends.contains(&Some(*host)) || told.hosts.contains(host))
    };
    let same = |episode: &&Episode| !std::ptr::eq(*episode, chosen);
    let mut related: Vec<_> = episodes.iter().filter(same).filter(takes_part).collect();
    related.sort_by_key(|episode| episode.first_seen());
    related
}

fn assessment(collected: &Collected, chosen: &Episode, scene: &Scene, related: &[&Episode]) -> Vec<Block> {
    let told = chosen.latest();
    let severity = severity_of(chosen);
    let urgency = match severity {
        Severity::High => "Look at it now.",
        Severity::Medium => "Look at it today.",
        Severity::Low => "Look at it when there is time, or when something else points to the same hosts.",
    };
    let mut blocks = vec![
        Block::Text(format!(
            "{} of {} severity. {urgency} The detector's score is made of what speaks for it below; it knows no \
             intent and sees no content of packets.",
            kind(told.tag).title,
            severity.name()
        )),
        Block::Heading("What speaks for it".to_owned()),
        Block::Items(reasons(chosen)),
    ];
    let techniques: Vec<String> = told
        .techniques
        .iter()
        .map(|id| {
            format!(
                "{id} {}",
                text(TECHNIQUES, id).unwrap_or("(not known to this version)")
            )
        })
        .collect();
    if !techniques.is_empty() {
        blocks.push(Block::Text(format!(
            "In MITRE ATT&CK: {}.",
            techniques.join(", ")
        )));
    }
    blocks.push(Block::Heading("What weakens it".to_owned()));
    let weak = weaknesses(collected, chosen);
    blocks.push(if weak.is_empty() {
        Block::Text(
            "Nothing in how it was seen: no packet was lost meanwhile, both directions were seen, and the detector's \
             confidence is high. A harmless cause is possible all the same."
                .to_owned(),
        )
    } else {
        Block::Items(weak.into_iter().map(Item::new).collect())
    });
    blocks.push(Block::Heading("How far it reaches".to_owned()));
    blocks.push(Block::Items(
        scope(collected, chosen, scene, related)
            .into_iter()
            .map(Item::new)
            .collect(),
    ));
    blocks
}

fn weaknesses(collected: &Collected, chosen: &Episode) -> Vec<String> {
    let told = chosen.latest();
    let mut weak = Vec::new();
    if told.synthetic {
        weak.push("its traffic was made up by flowmeter generate".to_owned());
    }
    if let Some(confidence) = told
        .confidence
        .as_ref()
        .filter(|confidence| *confidence != "high")
    {
        weak.push(format!("the detector's confidence is {confidence}, not high"));
    }
    if told.one_sided {
        weak.push("hardly anything is answered where this was seen: \"no reply\" proves little".to_owned());
    }
    if told.lost_packets > 0 {
        weak.push(format!(
            "{} were not counted in the interval of the finding",
            several(told.lost_packets, "packet")
        ));
    }
    if told
        .counts
        .iter()
        .any(|(_, _, error)| error.is_some_and(|error| error > 0))
    {
        weak.push("some of its numbers are estimates".to_owned());
    }
    if told
        .baseline
        .as_ref()
        .is_some_and(|baseline| baseline.deviation.is_none())
    {
        weak.push("what is usual for this host is not known yet".to_owned());
    }
    if !chosen.has(Phase::Start) {
        weak.push("its start is not among these events".to_owned());
    }
    if collected.counts.broken > 0 {
        weak.push(format!(
            "{} could not be read",
            several(collected.counts.broken, "line")
        ));
    }
    weak
}

fn scope(collected: &Collected, chosen: &Episode, scene: &Scene, related: &[&Episode]) -> Vec<String> {
    let told = chosen.latest();
    let mut scope = Vec::new();
    if let Some(ip) = told.source {
        let ranking = scene.targets_of_source.largest(HOSTS);
        let all = ranking.rows.len() as u64 + ranking.other_rows;
        scope.push(format!(
            "{ip} opened connections to {} in these events",
            several(all, "host")
        ));
    }
    if let Some(ip) = told.destination {
        let ranking = scene.sources_of_target.largest(HOSTS);
        let all = ranking.rows.len() as u64 + ranking.other_rows;
        scope.push(format!(
            "{ip} was called by {} in these events",
            several(all, "host")
        ));
    }
    let unnamed = [&collected.sources, &collected.destinations].map(|top| top.largest(0).several.records);
    let unnamed = unnamed.into_iter().max().unwrap_or(0);
    if unnamed > 0 {
        scope.push(format!(
            "{} stand in summaries of several hosts, which these may be among (output.flows)",
            several(unnamed, "flow record")
        ));
    }
    scope.push(match related.len() {
        0 => "no other finding names its hosts".to_owned(),
        some => format!("{} its hosts", several_name(some as u64)),
    });
    scope
}

fn several_name(number: u64) -> String {
    match number {
        1 => "one more finding names".to_owned(),
        more => format!("{} more findings name", count(more)),
    }
}

fn seen(chosen: &Episode, scene: &Scene) -> Vec<Block> {
    let mut blocks = vec![Block::Facts(evidence_of(chosen))];
    let contacts: Vec<Timestamp> = scene.contacts.iter().copied().collect();
    if contacts.is_empty() {
        return blocks;
    }
    let first = contacts
        .first()
        .copied()
        .unwrap_or_default()
        .min(chosen.first_seen());
    let last = contacts
        .last()
        .copied()
        .unwrap_or_default()
        .max(chosen.last_seen());
    let number = several(contacts.len() as u64, "connection");
    let mut label = format!("{number} as in this finding, each at its start");
    if scene.more_contacts {
        label += "; more are not shown";
    }
    blocks.push(Block::Contacts(ContactsChart {
        from: first,
        until: last,
        label,
        contacts,
        findings: chosen
            .findings()
            .filter(|told| told.phase != Phase::End)
            .map(|told| (told.last_seen, Severity::of(told.score)))
            .collect(),
    }));
    blocks
}

fn chronology(chosen: &Episode, scene: &Scene, related: &[&Episode]) -> Vec<Block> {
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

fn others(chosen: &Episode, scene: &Scene) -> Vec<Block> {
    let [source, destination] = hosts(chosen);
    let mut blocks = Vec::new();
    for (host, what, column, top) in [
        (
            source,
            "opened connections to",
            "Destination",
            &scene.targets_of_source,
        ),
        (destination, "was called by", "Source", &scene.sources_of_target),
    ] {
        let Some(host) = host else {
            continue;
        };
        let ranking = top.largest(0);
        let mut total = ranking.others;
        total.add(ranking.several);
        if total.records == 0 {
            continue;
        }
        blocks.push(Block::Heading(format!("{host} {what}")));
        blocks.extend(volumes(column, top, HOSTS, total));
    }
    if blocks.is_empty() {
        blocks.push(Block::Text(
            "No flow event here names its hosts: the events may hold findings only (output.flows)."
                .to_owned(),
        ));
    }
    blocks
}

fn related_findings(related: &[&Episode]) -> Vec<Block> {
    if related.is_empty() {
        return vec![Block::Text("No other finding names its hosts.".to_owned())];
    }
    let shown = related.iter().take(RELATED).copied();
    let mut blocks = vec![Block::Table(findings_table(shown))];
    if related.len() > RELATED {
        blocks.push(Block::Text(format!(
            "{} later ones are not listed.",
            related.len() - RELATED
        )));
    }
    blocks
}

fn benign(chosen: &Episode, now: Timestamp) -> Vec<Block> {
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
fn follow_up(chosen: &Episode) -> Vec<Item> {
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

fn decided(chosen: &Episode) -> Vec<Block> {
    let settings = &chosen.latest().settings;
    if settings.is_empty() {
        return vec![Block::Text("The event names no setting.".to_owned())];
    }
    let items = settings.iter().map(|setting| {
        let key = setting.split(" = ").next().unwrap_or_default();
        Item::new(setting.trim_end_matches(" = ")).with_detail(config::comment(key).unwrap_or_default())
    });
    vec![
        Block::Text("The values were those of the agent at the time, as the event has them.".to_owned()),
        Block::Items(items.collect()),
    ]
}
