//! Rules against events.

use std::collections::{BTreeMap, BTreeSet};

use flowmeter::{
    detect::{Phase, Tag},
    wazuh::{
        engine::Engine,
        event::{Event, MAX_FIELDS},
        list::List,
        pack,
        rule::{self, Rule},
        verdict::Verdict,
    },
};
use serde_json::{Value, json};

use crate::{finding, line, read, samples};

fn engine_with(flows: bool, scanners: &str) -> Engine {
    let lists = BTreeMap::from([(pack::SCANNERS.path.to_owned(), List::parse(scanners))]);
    let (engine, mistakes) = Engine::new(pack::rules(flows), lists);
    assert_eq!(mistakes, []);
    engine
}

fn verdict(line: &str) -> Verdict {
    engine_with(false, pack::SCANNERS.text).apply(&Event::decode(line), 0)
}

/// The id of the rule that fires.
fn fires(line: &str) -> Option<u32> {
    verdict(line).fired.map(|alert| alert.id)
}

fn fires_with_flows(line: &str) -> Option<u32> {
    let verdict = engine_with(true, "").apply(&Event::decode(line), 0);
    verdict.fired.map(|alert| alert.id)
}

pub(super) fn rule_of(tag: Tag) -> u32 {
    match tag {
        Tag::PortScan => 117_001,
        Tag::OutboundBytes => 117_002,
        Tag::Beaconing => 117_003,
        Tag::LateralMovement => 117_004,
        Tag::Dns => 117_005,
        Tag::ExternalInbound => 117_006,
        Tag::OutboundPort => 117_007,
        Tag::Dos => 117_008,
        Tag::Escalation => 117_009,
        Tag::Overflow => 117_025,
    }
}

fn rule(id: u32) -> Rule {
    let rules = pack::rules(true);
    rules.into_iter().find(|rule| rule.id == id).unwrap()
}

/// A statistics event with nothing to complain of, and one change.
fn statistics(path: &str, value: Value) -> String {
    let (_, sample) = samples()
        .into_iter()
        .find(|(name, _)| name == "statistics.json")
        .unwrap();
    let mut event: Value = serde_json::from_str(&sample).unwrap();
    let health = &mut event["flowmeter"];
    health["lost"]["map_full"]["packets"] = json!(0);
    health["withheld"]["lines"] = json!(0);
    health["output"].as_object_mut().unwrap().remove("last_error");
    if !path.is_empty() {
        let mut place = &mut event;
        for name in path.split('.') {
            place = &mut place[name];
        }
        *place = value;
    }
    event.to_string()
}

#[test]
fn each_sample_fires_its_rule() {
    for (name, line) in samples() {
        let (plain, with_flows) = match name.as_str() {
            "finding.json" => (117_001, 117_001),
            name if name.starts_with("finding-") => {
                let tag = name.trim_start_matches("finding-").trim_end_matches(".json");
                let id = rule_of(Tag::from_name(tag).unwrap());
                (id, id)
            }
            "statistics.json" => (117_021, 117_021),
            name if name.starts_with("flow-summary") => (117_000, 117_042),
            name if name.starts_with("flow-") => (117_000, 117_040),
            name => panic!("{name} has no rule in this test"),
        };
        assert_eq!(fires(&line), Some(plain), "{name}");
        assert_eq!(
            fires_with_flows(&line),
            Some(with_flows),
            "{name}, with the flow rules"
        );
        let event = Event::decode(&line);
        assert!(
            event.field_names().count() < MAX_FIELDS && event.dropped == 0,
            "{name}"
        );
    }
}

#[test]
fn only_the_start_of_an_episode_fires_the_rule_of_its_tag() {
    for tag in Tag::ALL {
        for phase in [Phase::Start, Phase::Update, Phase::End] {
            let expected = match phase {
                _ if tag == Tag::Overflow => rule_of(tag),
                Phase::Start => rule_of(tag),
                Phase::Update => 117_010,
                Phase::End => 117_011,
            };
            let line = line(&finding(tag, phase));
            assert_eq!(fires(&line), Some(expected), "{tag:?} {phase:?}");
            assert_eq!(
                fires_with_flows(&line),
                Some(expected),
                "{tag:?} {phase:?}, with the flow rules"
            );
        }
    }
}

#[test]
fn the_article_s_own_event_fires_the_article_s_rule() {
    let article = r#"{"@timestamp":"2026-04-26T11:45:20Z","netflow":"true","source":{"ip":"192.168.56.30","port":48739},"destination":{"ip":"192.168.56.28","port":47775},"flow":{"protocol":"TCP","direction":"internal_to_internal"},"network":{"bytes":60,"packets":1},"event":{"duration":0.001,"type":"network","category":"network_traffic"},"tcp":{"flags":"SYN"},"service":{"name":"OTHER"},"anomaly":{"tags":["possible_port_scan"]}}"#;
    let alert = verdict(article).fired.unwrap();
    assert_eq!((alert.id, alert.level), (117_001, 9));
    assert_eq!(
        alert.description,
        "NetFlow: Possible port scanning activity detected — multiple destination ports from one source"
    );
}

/// An event of the meter with the members of `anomaly` as given.
fn tagged(tags: &Value) -> String {
    json!({"@timestamp": "2026-04-26T11:45:20Z", "netflow": "true", "anomaly": {"tags": tags, "phase": "start"}})
        .to_string()
}

#[test]
fn of_several_tags_the_highest_level_wins_and_then_the_first_rule() {
    for (tags, rule) in [
        (json!(["possible_port_scan", "possible_dos"]), 117_008),
        (json!(["possible_dos", "possible_port_scan"]), 117_008),
        (json!(["scan_escalation", "possible_dos"]), 117_008),
        (
            json!(["possible_port_scan", "possible_lateral_movement"]),
            117_004,
        ),
        (json!(["possible_beaconing", "high_outbound_bytes"]), 117_002),
        (json!(["unusual_outbound_port", "suspicious_dns_flow"]), 117_005),
        (json!(["unknown", "possible_port_scan"]), 117_001),
    ] {
        assert_eq!(fires(&tagged(&tags)), Some(rule), "{tags}");
    }
}

#[test]
fn what_only_looks_like_a_finding_fires_none() {
    for tags in [
        json!([]),
        json!(["possible_port_scanner"]),
        json!(["im_possible_port_scan"]),
        json!(["Possible_Port_Scan"]),
        json!("possible_port_scan"),
        json!({"possible_port_scan": true}),
        json!(["possible_port_scan "]),
    ] {
        assert_eq!(fires(&tagged(&tags)), Some(117_000), "{tags}");
    }
    for other in [
        json!({"netflow": "true", "message": "\"possible_port_scan\""}),
        json!({"netflow": "true", "tags": ["possible_port_scan"]}),
        json!({"netflow": "true", "event": {"action": "statistics_of_others"}}),
    ] {
        assert_eq!(fires(&other.to_string()), Some(117_000), "{other}");
    }
}

#[test]
fn events_of_others_fire_none() {
    for line in [
        json!({"netflow": "truest", "anomaly": {"tags": ["possible_dos"]}}).to_string(),
        json!({"netflow": "false", "anomaly": {"tags": ["possible_dos"]}}).to_string(),
        json!({"timestamp": "x", "event_type": "flow", "anomaly": {"tags": ["possible_dos"]}}).to_string(),
        json!([{"netflow": "true"}]).to_string(),
        read("samples/finding.ecs.json"),
        "netflow true \"possible_dos\"".to_owned(),
        "{\"netflow\":\"true\",\"anomaly\":{\"tags\":[\"possible_d".to_owned(),
    ] {
        assert_eq!(fires(&line), None, "{line}");
    }
    // As a boolean it is the same text to a rule.
    assert_eq!(fires(r#"{"netflow":true}"#), Some(117_000));
}

#[test]
fn the_health_of_a_meter_has_rules() {
    assert_eq!(fires(&statistics("", Value::Null)), Some(117_020));
    assert_eq!(fires_with_flows(&statistics("", Value::Null)), Some(117_041));
    for (path, value, rule) in [
        ("flowmeter.lost.map_full.packets", json!(1), 117_021),
        ("flowmeter.lost.map_full.packets", json!("5368709120"), 117_021),
        ("flowmeter.lost.insert_failed.packets", json!(20), 117_022),
        ("flowmeter.withheld.lines", json!(10), 117_023),
        (
            "flowmeter.output.last_error",
            json!("No space left on device"),
            117_024,
        ),
        // Neither lost by the meter's fault nor worth an alert every interval.
        ("flowmeter.lost.not_ip.packets", json!(12), 117_020),
        ("flowmeter.filtered.packets", json!(12), 117_020),
    ] {
        assert_eq!(fires(&statistics(path, value)), Some(rule), "{path}");
    }
}

#[test]
fn silence_is_told_by_the_output_of_a_command() {
    let output = |text: &str| format!("ossec: output: 'flowmeter-age':\n{text}");
    let age = "flowmeter: last statistics event is 7 s old";
    let silent = "flowmeter: silent, last statistics event is 700 s old";
    assert_eq!(fires(&output(age)), Some(117_030));
    assert_eq!(fires(&output(silent)), Some(117_031));
    assert_eq!(
        fires(&format!("ossec: output: 'df -P':\n{silent}")),
        Some(530),
        "another command's"
    );
    assert_eq!(fires(silent), None, "a line of a log");
}

#[test]
fn an_authorised_scanner_is_not_told_of_as_a_scanner() {
    let mut finding = finding(Tag::PortScan, Phase::Start);
    for (tag, rule) in [
        (Tag::PortScan, 117_012),
        (Tag::LateralMovement, 117_012),
        (Tag::ExternalInbound, 117_012),
        (Tag::Escalation, 117_012),
        (Tag::OutboundBytes, 117_002),
        (Tag::Beaconing, 117_003),
        (Tag::Dns, 117_005),
        (Tag::OutboundPort, 117_007),
        (Tag::Dos, 117_008),
    ] {
        finding.tag = tag;
        for phase in [Phase::Start, Phase::Update] {
            finding.phase = phase;
            let mut engine = engine_with(false, "192.168.56.:scanners\n");
            let fired = engine.apply(&Event::decode(&line(&finding)), 0).fired.unwrap();
            let expected = if phase == Phase::Update && rule != 117_012 {
                117_010
            } else {
                rule
            };
            assert_eq!(fired.id, expected, "{tag:?} {phase:?}");
        }
    }
    finding.tag = Tag::PortScan;
    finding.phase = Phase::Start;
    finding.source = None;
    assert_eq!(
        fires(&line(&finding)),
        Some(117_001),
        "no source is no authorised one"
    );
}

#[test]
fn without_its_list_the_rule_for_scanners_is_dropped_and_the_others_stay() {
    let (engine, mistakes) = Engine::new(pack::rules(false), BTreeMap::new());
    let told: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].ends_with("rule 117012: the list etc/lists/netflow-authorized-scanners is not declared in ossec.conf: the manager drops the rule"),
        "{told:?}"
    );
    assert_eq!(engine.rules().len(), pack::rules(false).len());
}

#[test]
fn the_third_scan_by_one_source_within_ten_minutes_escalates() {
    let scan = |source: &str, phase| {
        let mut finding = finding(Tag::PortScan, phase);
        finding.source = Some(source.parse().unwrap());
        Event::decode(&line(&finding))
    };
    let ids = |events: &[(u64, &str, Phase)]| -> Vec<u32> {
        let mut engine = engine_with(false, "");
        let fired = |(at, source, phase): &(u64, &str, Phase)| {
            engine.apply(&scan(source, *phase), *at).fired.unwrap().id
        };
        events.iter().map(fired).collect()
    };
    let (a, b) = ("192.168.56.30", "192.168.56.31");
    let start = Phase::Start;
    assert_eq!(
        ids(&[(0, a, start), (100, a, start), (600, a, start)]),
        [117_001, 117_001, 117_013]
    );
    assert_eq!(
        ids(&[(0, a, start), (100, a, start), (601, a, start)]),
        [117_001, 117_001, 117_001],
        "the first is too old"
    );
    assert_eq!(
        ids(&[(0, a, start), (1, b, start), (2, a, start), (3, b, start)]),
        [117_001; 4],
        "two each"
    );
    assert_eq!(
        ids(&[
            (0, a, start),
            (1, a, Phase::Update),
            (2, a, Phase::Update),
            (3, a, Phase::End)
        ]),
        [117_001, 117_010, 117_010, 117_011],
        "one episode"
    );
    assert_eq!(
        ids(&[
            (0, a, start),
            (1, a, start),
            (2, a, Phase::Update),
            (3, a, Phase::End),
            (4, a, start)
        ]),
        [117_001, 117_001, 117_010, 117_011, 117_013],
        "updates neither count nor fire"
    );
    assert_eq!(
        ids(&(0..6).map(|i| (i, a, start)).collect::<Vec<_>>()),
        [117_001, 117_001, 117_013, 117_001, 117_001, 117_013],
        "three new ones make it fire again"
    );
}

#[test]
fn levels_techniques_and_groups_are_the_documented_ones() {
    for (id, level, techniques) in [
        (117_000, 0, &[][..]),
        (117_001, 9, &["T1046", "T1595"]),
        (117_002, 10, &["T1048", "T1567"]),
        (117_003, 10, &["T1071", "T1571"]),
        (117_004, 10, &["T1021"]),
        (117_005, 8, &["T1071.004", "T1572"]),
        (117_006, 10, &["T1133", "T1190", "T1110"]),
        (117_007, 7, &["T1571", "T1095"]),
        (117_008, 12, &["T1498", "T1499"]),
        (117_009, 12, &["T1046", "T1595"]),
        (117_010, 3, &[]),
        (117_011, 3, &[]),
        (117_040, 3, &[]),
        (117_041, 3, &[]),
    ] {
        let rule = rule(id);
        assert_eq!(rule.level, level, "{id}");
        assert_eq!(rule.techniques, techniques, "{id}");
        let anomaly = (117_001..=117_009).contains(&id);
        let groups = rule.groups.strip_prefix("netflow,network_monitoring,").unwrap();
        assert_eq!(groups == "network_anomaly,", anomaly, "{id}: {groups}");
    }
    assert_eq!(rule(117_000).groups, "netflow,network_monitoring,");
}

#[test]
fn the_files_avoid_what_wazuh_stumbles_over() {
    let files = [
        "wazuh/rules/netflow_rules.xml",
        "wazuh/rules/netflow_rules_flows.xml",
        "wazuh/decoders/netflow_decoders.xml",
        "wazuh/ossec-localfile-netflow-snippet.xml",
        "wazuh/agent-group-netflow-snippet.xml",
    ];
    for file in files {
        let text = read(file);
        assert!(
            !text.contains("<?xml"),
            "{file}: a declaration is an element that is never closed"
        );
        assert!(!text.contains('&'), "{file}: entities are not read");
        assert!(!text.contains("!>"), "{file}: that ends a comment");
        assert!(!text.contains("if_matched_regex"), "{file}");
    }
    for rule in pack::rules(true) {
        assert!(rule.groups.ends_with(','), "{}: {}", rule.id, rule.groups);
        assert!((117_000..117_050).contains(&rule.id), "{}", rule.id);
    }
    for file in [pack::RULES, pack::FLOW_RULES] {
        let (_, mistakes) = rule::read(file.path, file.text);
        assert_eq!(mistakes, []);
    }
}

#[test]
fn the_flow_rules_come_after_their_parents_only_by_their_name() {
    assert!(pack::RULES.path < pack::FLOW_RULES.path, "files are read by name");
    let mut wrong = rule::read(pack::FLOW_RULES.path, pack::FLOW_RULES.text).0;
    wrong.extend(rule::read(pack::RULES.path, pack::RULES.text).0);
    let lists = BTreeMap::from([(pack::SCANNERS.path.to_owned(), List::default())]);
    let (mut engine, mistakes) = Engine::new(wrong, lists);
    assert_eq!(mistakes.len(), 3, "{mistakes:?}");
    let flow = samples()
        .into_iter()
        .find(|(name, _)| name == "flow-dns.json")
        .unwrap()
        .1;
    assert_eq!(engine.apply(&Event::decode(&flow), 0).fired.unwrap().id, 117_000);
}

#[test]
fn a_verdict_says_which_condition_failed() {
    let told = verdict(&tagged(&json!(["other"]))).to_string();
    assert!(
        told.contains("\n    not 117008: anomaly.tags is [\"other\"], which does not match \"possible_dos\""),
        "{told}"
    );
    let told = verdict(r#"{"netflow":"yes"}"#).to_string();
    assert_eq!(
        told,
        "no rule fires\n    not 117000: netflow is yes, which does not match ^true$"
    );
}

#[test]
fn the_rules_page_lists_every_rule() {
    let page = read("wazuh/README.md");
    let listed: BTreeSet<u32> = page
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| 1170")?
                .split(' ')
                .next()?
                .parse::<u32>()
                .ok()
        })
        .map(|last| 117_000 + last)
        .collect();
    let there: BTreeSet<u32> = pack::rules(true).iter().map(|rule| rule.id).collect();
    assert_eq!(listed, there);
    for rule in pack::rules(true) {
        let row = format!("| {} | {} |", rule.id, rule.level);
        assert!(page.contains(&row), "{row}");
    }
}

#[test]
fn the_example_of_an_exception_on_the_pack_s_page_works() {
    let page = read("wazuh/README.md");
    let (_, rest) = page.split_once("```xml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let (own, mistakes) = rule::read("etc/rules/site_rules.xml", example);
    assert_eq!(mistakes, []);
    let lists = BTreeMap::from([(pack::SCANNERS.path.to_owned(), List::default())]);
    let rules = pack::rules(false).into_iter().chain(own).collect();
    let (mut engine, mistakes) = Engine::new(rules, lists);
    assert_eq!(mistakes, []);
    let mut beacon = finding(Tag::Beaconing, Phase::Start);
    let mut fired = |finding: &_| engine.apply(&Event::decode(&line(finding)), 0).fired.unwrap().id;
    assert_eq!(fired(&beacon), 100_117);
    beacon.destination = Some("198.51.100.99".parse().unwrap());
    assert_eq!(fired(&beacon), 117_003);
}
