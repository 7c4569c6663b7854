//! A report as Markdown (CommonMark with GitHub's tables and check-lists), for tickets and repositories.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{
    chart,
    compose::words::{count, period, size},
    model::{
        Block, Card, Cell, Column, ContactsChart, Item, LanesChart, Report, Severity, Table, TimelineChart,
    },
    timeline::Bucket,
};

/// Rows of a timeline.
const ROWS: usize = 30;
/// Characters of its longest bar.
const BAR: u64 = 24;
/// Contacts that are listed.
const CONTACTS: usize = 12;

/// The whole document.
pub fn markdown(report: &Report) -> String {
    let mut page = Page(String::new());
    page.line(&format!("# {}", escaped(&report.title)));
    page.paragraph(&escaped(&report.lead));
    page.facts(&report.facts);
    for note in &report.notes {
        page.paragraph(&format!("> {}", escaped(note)));
    }
    let figures = report.figures.iter().map(|figure| {
        let more = if figure.more.is_empty() {
            String::new()
        } else {
            format!(" ({})", figure.more)
        };
        (figure.name.to_owned(), format!("{}{more}", figure.value))
    });
    page.facts(&figures.collect::<Vec<_>>());
    for section in &report.sections {
        page.paragraph(&format!("## {}", section.heading));
        for block in &section.blocks {
            page.block(block);
        }
    }
    page.paragraph(&escaped(&report.footer));
    page.0
}

struct Page(String);

impl Page {
    fn line(&mut self, line: &str) {
        self.0 += line;
        self.0.push('\n');
    }

    /// With an empty line before it.
    fn paragraph(&mut self, text: &str) {
        self.0.push('\n');
        self.line(text);
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Text(text) => self.paragraph(&escaped(text)),
            Block::Heading(heading) => self.paragraph(&format!("### {}", escaped(heading))),
            Block::Note(note) => self.paragraph(&format!("> {}", escaped(note))),
            Block::Facts(facts) => self.facts(facts),
            Block::Table(table) => self.table(table),
            Block::Items(items) => self.items(items, "- "),
            Block::Checks(items) => self.items(items, "- [ ] "),
            Block::Code(code) => self.code(code, ""),
            Block::Timeline(chart) => self.code(&timeline(chart), ""),
            Block::Lanes(chart) => self.table(&lanes(chart)),
            Block::Contacts(chart) => self.paragraph(&contacts(chart)),
            Block::Card(card) => self.card(card),
        }
    }

    fn facts(&mut self, facts: &[(String, String)]) {
        self.0.push('\n');
        for (name, value) in facts {
            if name.is_empty() {
                self.line(&format!("- {}", escaped(value)));
            } else {
                self.line(&format!("- **{}**: {}", escaped(name), escaped(value)));
            }
        }
    }

    fn items(&mut self, items: &[Item], bullet: &str) {
        self.0.push('\n');
        for item in items {
            let mut text = format!("{bullet}{}", escaped(&item.text));
            if !item.detail.is_empty() {
                // Two lines of one item.
                let _ = write!(text, "\\\n  *{}*", escaped(&item.detail));
            }
            self.line(&text);
            if !item.command.is_empty() {
                self.code(&item.command, "  ");
                self.0.push('\n');
            }
        }
    }

    /// Between fences that are longer than any run of backquotes in it.
    fn code(&mut self, code: &str, indent: &str) {
        let longest = code.split(|character| character != '`').map(str::len).max();
        let fence = "`".repeat(longest.unwrap_or(0).max(2) + 1);
        self.paragraph(&format!("{indent}{fence}text"));
        for line in code.lines() {
            self.line(format!("{indent}{line}").trim_end());
        }
        self.line(&format!("{indent}{fence}"));
    }

    fn table(&mut self, table: &Table) {
        let row = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
        let head = table.columns.iter().map(|column| column.name().to_owned());
        self.paragraph(&row(head.collect()));
        let rule = table.columns.iter().map(|column| match column {
            Column::Text(_) | Column::Short(_) => "---".to_owned(),
            Column::Number(_) | Column::Share(_) => "---:".to_owned(),
        });
        self.line(&row(rule.collect()));
        for cells in &table.rows {
            self.line(&row(cells.iter().map(cell).collect()));
        }
    }

    fn card(&mut self, card: &Card) {
        let badge = badge(card.severity);
        self.paragraph(&format!("### {badge}: {}", escaped(&card.title)));
        self.paragraph(&format!("**{}**", escaped(&card.message)));
        self.paragraph(&format!("`{}`, {}", card.tag, escaped(&card.phases)));
        self.items(&card.reasons, "- ");
        self.facts(&card.facts);
    }
}

fn badge(severity: Severity) -> String {
    format!("{} {}", severity.mark(), severity.name())
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => escaped(text),
        Cell::Severity(severity) => badge(*severity),
        Cell::Share(share) => format!("{:.1} %", share * 100.0),
    }
}

/// So that nothing in it is markup: neither Markdown's own nor HTML, and no address becomes a link.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for (index, character) in text.char_indices() {
        let before = text.get(..index).unwrap_or_default();
        let markup = match character {
            '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '&' | '~' | '@' => true,
            // Within a word it is none.
            '_' => !before.ends_with(char::is_alphanumeric),
            '#' | '-' | '+' | '=' => before.is_empty(),
            // http://
            '/' => before.ends_with(':'),
            '.' => {
                let last: String = before.chars().rev().take(3).collect();
                last.eq_ignore_ascii_case("www") || numbered(before, text.get(index + 1..))
            }
            ')' => numbered(before, text.get(index + 1..)),
            _ => false,
        };
        if markup {
            safe.push('\\');
        }
        match character {
            '\n' | '\r' => safe.push(' '),
            character => safe.push(character),
        }
    }
    safe
}

/// Digits at the start, a mark, a space: a list.
fn numbered(before: &str, after: Option<&str>) -> bool {
    let digits = !before.is_empty() && before.bytes().all(|byte| byte.is_ascii_digit());
    digits && after.is_some_and(|after| after.is_empty() || after.starts_with(char::is_whitespace))
}

/// Bars of text, in as few rows as can be read.
fn timeline(chart: &TimelineChart) -> String {
    let together = chart.buckets.len().div_ceil(ROWS).max(1);
    let rows: Vec<Bucket> = chart
        .buckets
        .chunks(together)
        .map(|chunk| {
            let mut sum = Bucket::default();
            for bucket in chunk {
                sum.add(*bucket);
            }
            sum
        })
        .collect();
    let width = chart.width * i64::try_from(together).unwrap_or(1);
    let largest = rows.iter().map(|row| row.bytes).max().unwrap_or(0).max(1);
    let mut text = format!(
        "{:<19}  {:<24}  {:>10}  {:>12}  findings\n",
        "UTC, every ".to_owned() + &chart::width_name(width),
        "bytes",
        "",
        "packets"
    );
    for (index, row) in rows.iter().enumerate() {
        let start = chart.start + width * i64::try_from(index).unwrap_or(0);
        let start = Timestamp::from_second(start).unwrap_or_default();
        let bar = u128::from(row.bytes) * u128::from(BAR) / u128::from(largest);
        let bar = usize::try_from(bar).unwrap_or(0).max(usize::from(row.bytes > 0));
        let found = Severity::ALL
            .into_iter()
            .rev()
            .zip(row.findings.into_iter().rev());
        let found: Vec<String> = found
            .filter(|(_, number)| *number > 0)
            .map(|(severity, number)| format!("{number} {}", severity.name()))
            .collect();
        let _ = writeln!(
            text,
            "{}  {:<24}  {:>10}  {:>12}  {}",
            start.strftime("%Y-%m-%d %H:%M:%S"),
            "█".repeat(bar),
            size(row.bytes),
            count(row.packets),
            found.join(", ")
        );
    }
    text
}

fn lanes(chart: &LanesChart) -> Table {
    let rows = chart.lanes.iter().flat_map(|(name, bars)| {
        bars.iter().map(|bar| {
            vec![
                Cell::text(period(bar.from, bar.until)),
                Cell::Severity(bar.severity),
                Cell::text(name.clone()),
            ]
        })
    });
    Table {
        columns: vec![
            Column::Text("When"),
            Column::Text("Severity"),
            Column::Text("Kind"),
        ],
        rows: rows.collect(),
        remainders: 0,
    }
}

fn contacts(chart: &ContactsChart) -> String {
    let shown: Vec<String> = chart
        .contacts
        .iter()
        .take(CONTACTS)
        .map(|time| time.strftime("%H:%M:%S").to_string())
        .collect();
    let more = match chart.contacts.len().saturating_sub(CONTACTS) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("{}, UTC: {}{more}.", escaped(&chart.label), shown.join(", "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        for (text, safe) in [
            ("a_b", "a_b"),
            ("_a", "\\_a"),
            ("<b>", "\\<b\\>"),
            ("a|b", "a\\|b"),
            ("[x](http://y)", "\\[x\\](http:\\//y)"),
            ("- x", "\\- x"),
            ("1. x", "1\\. x"),
            ("192.168.1.1", "192.168.1.1"),
            ("www.x", "www\\.x"),
            ("a\nb", "a b"),
        ] {
            assert_eq!(escaped(text), safe);
        }
    }

    proptest! {
        #[test]
        fn fences_are_longer_than_what_they_hold(code in "[`a\n]{0,40}") {
            let mut page = Page(String::new());
            page.code(&code, "");
            let lines: Vec<&str> = page.0.trim().lines().collect();
            let fence = lines.last().unwrap();
            prop_assert!(lines[1..lines.len() - 1].iter().all(|line| !line.contains(fence)));
        }
    }
}
