//! Tables for people and figures for machines, out of the same values.

use serde_json::{Value, json};

use super::statistics::Samples;

/// What one measurement found.
pub(super) struct Report {
    /// The name of the files, without extension.
    pub(super) name: &'static str,
    pub(super) title: String,
    /// How it was taken; one paragraph.
    pub(super) how: String,
    pub(super) tables: Vec<Table>,
}

pub(super) struct Table {
    pub(super) title: String,
    /// Of the first columns, which name a row.
    pub(super) labels: Vec<&'static str>,
    /// Of the other columns, with how many decimals they are shown.
    pub(super) columns: Vec<(&'static str, usize)>,
    pub(super) rows: Vec<Row>,
}

pub(super) struct Row {
    pub(super) labels: Vec<String>,
    /// One for each column; `None` where there is nothing to measure.
    pub(super) cells: Vec<Option<Samples>>,
}

/// What stands below tables with a figure that is too noisy.
const NOISY: &str = "`?`: the repetitions are too far apart; the machine was too noisy to tell.";

impl Report {
    pub(super) fn markdown(&self) -> String {
        let mut text = format!("## {}\n\n{}\n", self.title, self.how);
        for table in &self.tables {
            text += &format!("\n### {}\n\n{}", table.title, table.markdown());
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "how": self.how,
            "tables": self.tables.iter().map(Table::json).collect::<Vec<_>>(),
        })
    }
}

impl Table {
    fn markdown(&self) -> String {
        let names = self
            .labels
            .iter()
            .copied()
            .chain(self.columns.iter().map(|column| column.0));
        let mut text = line(names.map(str::to_owned));
        text += &line(
            (self.labels.iter().map(|_| "---"))
                .chain(self.columns.iter().map(|_| "---:"))
                .map(str::to_owned),
        );
        let mut noisy = false;
        for row in &self.rows {
            let cells = row.cells.iter().zip(&self.columns).map(|(cell, (_, decimals))| {
                cell.as_ref().map_or_else(String::new, |cell| {
                    noisy |= cell.noisy();
                    cell.shown(*decimals)
                })
            });
            text += &line(row.labels.iter().cloned().chain(cells));
        }
        if noisy {
            text += &format!("\n{NOISY}\n");
        }
        text
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let labels = (self.labels.iter().map(|name| (*name).to_owned()))
                .zip(row.labels.iter().map(|label| json!(label)));
            let cells = row
                .cells
                .iter()
                .zip(&self.columns)
                .filter_map(|(cell, (name, _))| {
                    let cell = cell.as_ref()?;
                    let figures = json!({
                        "median": cell.median(), "min": cell.min(), "max": cell.max(),
                        "noisy": cell.noisy(), "values": cell.values(),
                    });
                    Some(((*name).to_owned(), figures))
                });
            Value::Object(labels.chain(cells).collect())
        });
        json!({ "title": self.title, "rows": rows.collect::<Vec<_>>() })
    }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            name: "test",
            title: "Test".to_owned(),
            how: "By hand.".to_owned(),
            tables: vec![Table {
                title: "Figures".to_owned(),
                labels: vec!["what"],
                columns: vec![("ns", 1), ("ratio", 2)],
                rows: vec![Row {
                    labels: vec!["this".to_owned()],
                    cells: vec![Some([3.0, 1.0, 2.0].into_iter().collect()), None],
                }],
            }],
        }
    }

    #[test]
    fn a_table_shows_medians_with_their_spread_and_says_what_is_too_noisy() {
        let text = report().markdown();
        assert!(
            text.contains("| what | ns | ratio |\n| --- | ---: | ---: |\n"),
            "{text}"
        );
        assert!(text.contains("| this | 2.0 (1.0 to 3.0) ? |  |\n"), "{text}");
        assert!(text.ends_with(&format!("{NOISY}\n")), "{text}");
    }

    #[test]
    fn the_json_form_holds_every_value_and_leaves_out_what_was_not_measured() {
        let json = report().json();
        let row = json.pointer("/tables/0/rows/0").unwrap();
        assert_eq!(row.pointer("/what").unwrap(), "this");
        assert_eq!(row.pointer("/ns/values").unwrap(), &json!([3.0, 1.0, 2.0]));
        assert!(row.get("ratio").is_none());
    }
}
