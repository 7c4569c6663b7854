//! A report as one page that needs nothing else: no script, no font, no image from anywhere.
//!
//! maud escapes whatever is put into the page; nothing here goes around that but the style sheet, which is constant.
//! Were an event to slip markup in all the same, the page's policy forbids it to load, run or send anything.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    chart::{self, Room},
    model::{Block, Card, Cell, Column, Item, Report, Section, Severity, Table},
};

const STYLE: &str = include_str!("style.css");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// The whole page.
pub fn html(report: &Report) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (report.title) " - flowmeter" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (report.title) }
                    p class="lead" { (report.lead) }
                    (facts(&report.facts))
                }
                main {
                    div class="figures" {
                        @for figure in &report.figures {
                            div class="figure" {
                                span { (figure.name) }
                                b { (figure.value) }
                                span { (figure.more) }
                            }
                        }
                    }
                    @for note in &report.notes { p class="note" { (note) } }
                    nav aria-label="Sections" {
                        ul {
                            @for section in &report.sections {
                                li { a href={ "#" (anchor(section.heading)) } { (section.heading) } }
                            }
                        }
                    }
                    @for section in &report.sections { (self::section(section)) }
                }
                footer { p { (report.footer) } }
            }
        }
    };
    page.into_string() + "\n"
}

/// Headings are constants.
fn anchor(heading: &str) -> String {
    heading.to_lowercase().replace(' ', "-")
}

fn section(section: &Section) -> Markup {
    html! {
        section {
            h2 id=(anchor(section.heading)) { (section.heading) }
            @for block in &section.blocks { (self::block(block)) }
        }
    }
}

fn block(block: &Block) -> Markup {
    match block {
        Block::Text(text) => html! { p { (text) } },
        Block::Heading(heading) => html! { h3 { (heading) } },
        Block::Note(note) => html! { p class="note" { (note) } },
        Block::Facts(facts) => self::facts(facts),
        Block::Table(table) => self::table(table),
        Block::Items(items) => html! { ul { (self::items(items)) } },
        Block::Checks(items) => html! { ul class="checks" { (self::items(items)) } },
        Block::Code(code) => html! { pre { code { (code) } } },
        Block::Timeline(timeline) => html! {
            figure {
                (chart::timeline(timeline, Room::Wide))
                (chart::timeline(timeline, Room::Narrow))
                (legend(|severity| chart::mark(severity, 6.0, 6.0, severity.name())))
            }
        },
        Block::Lanes(lanes) => html! {
            figure {
                (chart::lanes(lanes, Room::Wide))
                (chart::lanes(lanes, Room::Narrow))
                (legend(chart::bar))
            }
        },
        Block::Contacts(contacts) => html! {
            figure {
                (chart::contacts(contacts, Room::Wide))
                (chart::contacts(contacts, Room::Narrow))
                figcaption { (contacts.label) "; times are UTC" }
            }
        },
        Block::Card(card) => self::card(card),
    }
}

/// What the marks of a chart mean.
fn legend(mark: impl Fn(Severity) -> Markup) -> Markup {
    html! {
        figcaption {
            "Findings by severity:"
            @for severity in Severity::ALL.into_iter().rev() {
                svg viewBox="0 0 12 12" aria-hidden="true" { (mark(severity)) }
                (severity.name())
            }
            "; times are UTC"
        }
    }
}

fn facts(facts: &[(String, String)]) -> Markup {
    html! {
        dl {
            @for (name, value) in facts {
                dt { (name) }
                dd { (value) }
            }
        }
    }
}

fn items(items: &[Item]) -> Markup {
    html! {
        @for item in items {
            li {
                (item.text)
                @if !item.detail.is_empty() { span class="detail" { (item.detail) } }
                @if !item.command.is_empty() { pre { code { (item.command) } } }
            }
        }
    }
}

fn badge(severity: Severity) -> Markup {
    html! { span class={ "badge " (severity.name()) } { (severity.mark()) " " (severity.name()) } }
}

fn table(table: &Table) -> Markup {
    // Sentences do not fit beside each other on a telephone.
    let words = |column: &&Column| matches!(column, Column::Text(_) | Column::Short(_));
    let stacked = table.columns.iter().filter(words).count() > 2;
    let class = |column: &Column| match column {
        Column::Text(_) => None,
        Column::Short(_) => Some("short"),
        Column::Number(_) => Some("num"),
        Column::Share(_) => Some("share"),
    };
    let sums_from = table.rows.len().saturating_sub(table.remainders);
    html! {
        table class=[stacked.then_some("stack")] {
            thead { tr {
                @for column in &table.columns { th class=[class(column)] scope="col" { (column.name()) } }
            } }
            tbody {
                @for (index, row) in table.rows.iter().enumerate() {
                    tr class=[(index >= sums_from).then_some("rest")] {
                        @for (cell, column) in row.iter().zip(&table.columns) {
                            td class=[class(column)] data-name=[named(cell, column, stacked)] { (self::cell(cell)) }
                        }
                    }
                }
            }
        }
    }
}

/// The column's name, where a cell stands under others instead of under its heading.
fn named(cell: &Cell, column: &Column, stacked: bool) -> Option<&'static str> {
    match cell {
        Cell::Text(text) if stacked && !text.is_empty() => Some(column.name()),
        _ => None,
    }
}

fn cell(cell: &Cell) -> Markup {
    match cell {
        Cell::Text(text) => html! { (text) },
        Cell::Severity(severity) => badge(*severity),
        Cell::Share(share) => {
            let percent = format!("{:.1} %", share * 100.0);
            let width = format!("{:.1}", share.clamp(0.0, 1.0) * 100.0);
            html! {
                svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
                    rect class="track" width="100" height="10" {}
                    rect class="bytes" width=(width) height="10" {}
                }
                span { (percent) }
            }
        }
    }
}

fn card(card: &Card) -> Markup {
    html! {
        article class={ "card " (card.severity.name()) } {
            header {
                (badge(card.severity))
                h3 { (card.title) }
                code { (card.tag) }
                span class="soft" { (card.phases) }
            }
            p class="message" { (card.message) }
            ul { (items(&card.reasons)) }
            (facts(&card.facts))
        }
    }
}
