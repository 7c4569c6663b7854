//! `wazuh/dashboards/netflow-dashboards.ndjson`: saved objects for the Wazuh dashboard, written from the tables here.
//!
//! After a wanted change: `FLOWMETER_BLESS=1 cargo test -p flowmeter --test wazuh` writes them anew.

mod panels;

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use crate::{read, repository};

const FILE: &str = "wazuh/dashboards/netflow-dashboards.ndjson";
/// Wazuh's own; it is referred to, never shipped.
const INDEX_PATTERN: &str = "wazuh-alerts-*";
const INDEX_REFERENCE: &str = "kibanaSavedObjectMeta.searchSourceJSON.index";

/// In which language a query stands. DQL has no ranges of texts, such as rule ids.
#[derive(Clone, Copy)]
pub(super) enum Query {
    Dql(&'static str),
    Lucene(&'static str),
}

impl Query {
    fn json(self) -> Value {
        match self {
            Self::Dql(query) => json!({"query": query, "language": "kuery"}),
            Self::Lucene(query) => json!({"query": query, "language": "lucene"}),
        }
    }
}

fn search_source(query: Query) -> String {
    json!({"query": query.json(), "filter": [], "indexRefName": INDEX_REFERENCE}).to_string()
}

fn index_reference() -> Value {
    json!([{"name": INDEX_REFERENCE, "type": "index-pattern", "id": INDEX_PATTERN}])
}

fn visualization(panel: &panels::Panel) -> Value {
    let state = json!({
        "title": panel.title,
        "type": panel.chart.name(),
        "aggs": panel.aggregations(),
        "params": panel.parameters(),
    });
    json!({
        "id": panel.id,
        "type": "visualization",
        "attributes": {
            "title": panel.title,
            "description": panel.description,
            "visState": state.to_string(),
            "uiStateJSON": "{}",
            "version": 1,
            "kibanaSavedObjectMeta": {"searchSourceJSON": search_source(panel.query)},
        },
        "references": index_reference(),
        "migrationVersion": {"visualization": "7.10.0"},
    })
}

fn search(search: &panels::Search) -> Value {
    json!({
        "id": search.id,
        "type": "search",
        "attributes": {
            "title": search.title,
            "description": search.description,
            "columns": search.columns,
            "sort": [["timestamp", "desc"]],
            "hits": 0,
            "version": 1,
            "kibanaSavedObjectMeta": {"searchSourceJSON": search_source(search.query)},
        },
        "references": index_reference(),
        "migrationVersion": {"search": "7.9.3"},
    })
}

fn dashboard(dashboard: &panels::Dashboard) -> Value {
    let mut panels = Vec::new();
    let mut references = Vec::new();
    for (number, (id, [x, y, width, height])) in dashboard.panels.iter().enumerate() {
        let name = format!("panel_{number}");
        let index = (number + 1).to_string();
        panels.push(json!({
            "version": "7.10.2",
            "gridData": {"x": x, "y": y, "w": width, "h": height, "i": index},
            "panelIndex": index,
            "embeddableConfig": {},
            "panelRefName": name,
        }));
        let is_search = panels::SEARCHES.iter().any(|search| search.id == *id);
        let kind = if is_search { "search" } else { "visualization" };
        references.push(json!({"name": name, "type": kind, "id": id}));
    }
    let source = json!({"query": {"query": "", "language": "kuery"}, "filter": []});
    json!({
        "id": dashboard.id,
        "type": "dashboard",
        "attributes": {
            "title": dashboard.title,
            "description": dashboard.description,
            "hits": 0,
            "panelsJSON": Value::from(panels).to_string(),
            "optionsJSON": json!({"useMargins": true, "hidePanelTitles": false}).to_string(),
            "version": 1,
            "timeRestore": true,
            "timeFrom": "now-24h",
            "timeTo": "now",
            "kibanaSavedObjectMeta": {"searchSourceJSON": source.to_string()},
        },
        "references": references,
        "migrationVersion": {"dashboard": "7.9.3"},
    })
}

fn objects() -> Vec<Value> {
    let searches = panels::SEARCHES.iter().map(search);
    let visualizations = panels::PANELS.iter().map(visualization);
    let dashboards = panels::DASHBOARDS.iter().map(dashboard);
    searches.chain(visualizations).chain(dashboards).collect()
}

/// The objects as they are shipped, without the summary.
pub(super) fn shipped() -> Vec<Value> {
    let mut objects: Vec<Value> = read(FILE)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    objects.pop();
    objects
}

/// A member that holds JSON as a text.
fn inner(object: &Value, pointer: &str) -> Option<Value> {
    let text = object.pointer(pointer)?.as_str().unwrap();
    Some(serde_json::from_str(text).unwrap())
}

/// The fields that an object names outside its query.
pub(super) fn fields(object: &Value) -> Vec<String> {
    let state = inner(object, "/attributes/visState").unwrap_or_default();
    let aggregated = state["aggs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|aggregation| aggregation["params"]["field"].as_str());
    let columns = object["attributes"]["columns"].as_array();
    let sorted = object["attributes"]["sort"].as_array();
    let shown = columns.into_iter().flatten().filter_map(Value::as_str);
    let sorted = sorted.into_iter().flatten().filter_map(|sort| sort[0].as_str());
    aggregated.chain(shown).chain(sorted).map(str::to_owned).collect()
}

/// The queries of an object.
pub(super) fn queries(object: &Value) -> Vec<String> {
    inner(object, "/attributes/kibanaSavedObjectMeta/searchSourceJSON")
        .and_then(|source| source["query"]["query"].as_str().map(str::to_owned))
        .into_iter()
        .collect()
}

#[test]
fn the_file_is_what_the_tables_say() {
    let objects = objects();
    let summary = json!({"exportedCount": objects.len(), "missingRefCount": 0, "missingReferences": []});
    let text: String = objects
        .iter()
        .chain([&summary])
        .map(|object| format!("{object}\n"))
        .collect();
    if std::env::var_os("FLOWMETER_BLESS").is_some() {
        fs::write(repository(FILE), &text).unwrap();
    }
    assert_eq!(
        text,
        read(FILE),
        "if that is wanted, run this test with FLOWMETER_BLESS=1"
    );
}

#[test]
fn every_reference_is_to_an_object_of_the_file_or_to_wazuh_s_index_pattern() {
    let objects = shipped();
    let ids: BTreeSet<_> = objects
        .iter()
        .map(|object| (object["type"].as_str().unwrap(), object["id"].as_str().unwrap()))
        .collect();
    assert_eq!(ids.len(), objects.len(), "ids are unique");
    assert!(!ids.iter().any(|(kind, _)| *kind == "index-pattern"));
    let mut used = BTreeSet::new();
    for object in &objects {
        let references = object["references"].as_array().unwrap();
        for reference in references {
            let target = (
                reference["type"].as_str().unwrap(),
                reference["id"].as_str().unwrap(),
            );
            assert!(
                target == ("index-pattern", INDEX_PATTERN) || ids.contains(&target),
                "{}: {target:?}",
                object["id"]
            );
            used.insert(target);
        }
        let named: BTreeSet<_> = references
            .iter()
            .map(|reference| reference["name"].as_str().unwrap())
            .collect();
        let source = inner(object, "/attributes/kibanaSavedObjectMeta/searchSourceJSON").unwrap();
        if let Some(name) = source["indexRefName"].as_str() {
            assert!(named.contains(name), "{}", object["id"]);
        }
        for panel in inner(object, "/attributes/panelsJSON")
            .iter()
            .flat_map(|panels| panels.as_array().unwrap())
        {
            assert!(
                named.contains(panel["panelRefName"].as_str().unwrap()),
                "{}",
                object["id"]
            );
        }
    }
    for (kind, id) in &ids {
        assert!(
            *kind != "visualization" || used.contains(&(*kind, *id)),
            "{id} is on no dashboard"
        );
    }
}

#[test]
fn objects_are_no_newer_than_the_oldest_dashboard_that_takes_them() {
    for object in shipped() {
        let newest = match object["type"].as_str().unwrap() {
            "visualization" => "7.10.0",
            "dashboard" | "search" => "7.9.3",
            kind => panic!("{kind}"),
        };
        let kind = object["type"].as_str().unwrap();
        assert_eq!(
            object["migrationVersion"],
            json!({ kind: newest }),
            "{}",
            object["id"]
        );
    }
}

#[test]
fn the_file_has_one_object_a_line_and_ends_with_its_summary() {
    let text = read(FILE);
    assert!(text.ends_with('\n') && !text.contains("\n\n"));
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["exportedCount"], shipped().len());
    assert!(
        !text.contains(".keyword"),
        "Wazuh's fields are keywords themselves"
    );
}

#[test]
fn panels_of_a_dashboard_do_not_overlap() {
    for dashboard in panels::DASHBOARDS {
        for (at, (id, [x, y, width, height])) in dashboard.panels.iter().enumerate() {
            assert!(x + width <= 48 && *width > 0 && *height > 0, "{id}");
            for (other, [other_x, other_y, other_width, other_height]) in &dashboard.panels[..at] {
                let apart = x + width <= *other_x
                    || other_x + other_width <= *x
                    || y + height <= *other_y
                    || other_y + other_height <= *y;
                assert!(apart, "{id} and {other}");
            }
        }
    }
}

#[test]
fn an_aggregation_of_numbers_is_over_a_number() {
    let documented = crate::fields::documented();
    for object in shipped() {
        let state = inner(&object, "/attributes/visState").unwrap_or_default();
        for aggregation in state["aggs"].as_array().into_iter().flatten() {
            if ["sum", "max", "avg"].contains(&aggregation["type"].as_str().unwrap()) {
                let field = aggregation["params"]["field"].as_str().unwrap();
                let kind = &documented[field.strip_prefix("data.").unwrap()].kind;
                assert!(
                    kind.starts_with("count") || kind.starts_with("integer"),
                    "{field}: {kind}"
                );
            }
        }
    }
}

/// A summary stands for many flows: a count of events would take it for one.
#[test]
fn panels_of_traffic_add_up_and_take_merged_flows_in() {
    let traffic = panels::DASHBOARDS
        .iter()
        .find(|dashboard| dashboard.id == "netflow-dashboard-traffic")
        .unwrap();
    for (id, _) in traffic.panels {
        let panel = panels::PANELS.iter().find(|panel| panel.id == *id).unwrap();
        let (Query::Dql(query) | Query::Lucene(query)) = panel.query;
        assert!(query.contains("network_flow_summary"), "{id}: {query}");
        let panels::Metric::Sum(field) = panel.metric else {
            panic!("{id} counts events");
        };
        let sample: Value = serde_json::from_str(&read("samples/flow-summary.json")).unwrap();
        let pointer = format!("/{}", field.trim_start_matches("data.").replace('.', "/"));
        assert!(
            sample.pointer(&pointer).is_some(),
            "{id}: a summary has no {field}"
        );
    }
}

#[test]
fn ranges_stand_in_lucene_only() {
    let mut ranges = 0;
    for object in shipped() {
        let Some(source) = inner(&object, "/attributes/kibanaSavedObjectMeta/searchSourceJSON") else {
            continue;
        };
        let (query, language) = (
            source["query"]["query"].as_str().unwrap(),
            &source["query"]["language"],
        );
        let range = query.contains(" TO ");
        ranges += usize::from(range);
        assert!(!range || language == "lucene", "{}: {query}", object["id"]);
        let words = [" AND ", " OR ", " NOT "].iter().any(|word| query.contains(word));
        assert!(!words || language == "lucene", "{}: {query}", object["id"]);
        assert!(
            !query.contains(">=") || language == "kuery",
            "{}: {query}",
            object["id"]
        );
    }
    assert!(ranges >= 3, "{ranges}");
}
