//! What a report says.

use std::{fs, io::Read as _, path::Path, process::Stdio, sync::LazyLock};

use flowmeter::{
    config::Schema,
    detect::{Finding, Phase, Reason, Tag},
    generate::{SCENARIOS, Scenario},
};
use tempfile::NamedTempFile;

use crate::{SECOND, START_NS, alert, explain, finding, flowmeter, line, reports, told, wazuh4};

#[test]
fn a_report_has_everything_that_the_finding_holds() {
    let report = reports(wazuh4(&finding()));
    for expected in [
        "possible_beaconing: Possible beaconing\n  192.168.56.30 has contacted 203.0.113.99 11 times.\n",
        "score             87 of 100, confidence high\n",
        "seen              2026-04-26 11:45:20 UTC to 2026-04-26 11:55:20 UTC (10m)\n",
        "episode           51d39a0c77e142b6: start, no end yet\n",
        "source            192.168.56.30\n",
        "target            203.0.113.99, port 4443, TCP\n",
        "seen by           collector-1\n",
        "ATT&CK            T1071.001 Application Layer Protocol: Web Protocols\n",
        "                  T1571 Non-Standard Port\n",
        "- every 60 s, jitter 1 % (regular_gaps)\n    The gaps between contacts are nearly equal",
        "- no other inside host uses it (rare_destination)\n    Nobody else here uses",
        "- detect.beaconing.jitter_percent = 25\n    Jitter: median absolute deviation",
        "contacts          11\n",
        "distinct_sources  120,000, give or take 2 %\n",
        "bytes_sent        5,368,709,120 (5.00 GiB)\n",
        "ports, a sample   4443, 8443\n",
        "hosts, a sample   203.0.113.99\n",
        "open ports        4443\n",
        "period            60 s, jitter 0.5 s; next contact due 2026-04-26 11:56:20 UTC\n",
        "baseline          31 contacts/h; usual 2 contacts/h, 14.5 times the usual deviation off\n",
        "hardly anything is answered where this was seen",
        "12 packets were not counted in the interval\n",
        "not written       3 more of the same\n",
        "data.anomaly.episode:\"51d39a0c77e142b6\"\n",
        "data.source.ip:\"192.168.56.30\" and data.destination.ip:\"203.0.113.99\"\n",
        "until ss -Htunp dst 203.0.113.99 | grep .; do sleep 0.2; done\n",
        "flowmeter replay --summary --until 2026-04-26T11:55:21Z /var/log/netflow/netflow-wazuh.json\n",
        "[[detect.allow]]\n",
    ] {
        // A long row goes on below.
        let joined = report.replace("\n                    ", " ");
        assert!(
            report.contains(expected) || joined.contains(expected),
            "{expected:?} is not in\n{report}"
        );
    }
}

#[test]
fn what_a_finding_does_not_hold_is_not_told() {
    let bare = Finding {
        source: None,
        destination: None,
        port: None,
        protocol: None,
        reasons: Vec::new(),
        counts: Vec::new(),
        ports: Vec::new(),
        hosts: Vec::new(),
        open_ports: Vec::new(),
        period: None,
        baseline: None,
        techniques: Vec::new(),
        settings: Vec::new(),
        suppressed: 0,
        ..finding()
    };
    let report = reports(wazuh4(&bare));
    for absent in [
        "Why it was raised",
        "Against which setting",
        "ATT&CK",
        "period",
        "baseline",
        "not written",
        "whois",
        "detect.allow",
        "{",
        "dst ",
    ] {
        assert!(!report.contains(absent), "{absent} is in\n{report}");
    }
    assert!(report.contains("Likely benign causes"));
}

#[test]
fn both_schemas_give_the_same_report_but_for_the_names_in_queries() {
    let ecs = reports(line(Schema::Ecs, &finding()));
    assert_eq!(reports(wazuh4(&finding())).replace("data.", ""), ecs);
    assert!(ecs.contains(" source.ip:\"192.168.56.30\""), "{ecs}");
}

#[test]
fn an_alert_gives_the_same_report_as_its_event() {
    let event = wazuh4(&finding());
    assert_eq!(reports(alert(&event)), reports(&event));
    // As the dashboard's JSON view shows it.
    let alert: serde_json::Value = serde_json::from_str(&alert(&event)).unwrap();
    let document = serde_json::json!({"_index": "wazuh-alerts-4.x-2026.04.26", "_source": alert});
    assert_eq!(
        reports(serde_json::to_string_pretty(&document).unwrap()),
        reports(&event)
    );
}

fn episode() -> [Finding; 3] {
    let update = Finding {
        phase: Phase::Update,
        sequence: 2,
        last_seen_ns: START_NS + 1200 * SECOND,
        score: 95,
        reasons: vec![Reason {
            id: "same_size",
            words: "660 bytes sent each time".to_owned(),
        }],
        message: "192.168.56.30 has contacted 203.0.113.99 22 times.".to_owned(),
        ..finding()
    };
    let end = Finding {
        phase: Phase::End,
        sequence: 3,
        last_seen_ns: START_NS + 1800 * SECOND,
        counts: Vec::new(),
        period: None,
        message: "It has ended.".to_owned(),
        ..update.clone()
    };
    [finding(), update, end]
}

#[test]
fn an_episode_is_one_report_with_its_latest_evidence() {
    let lines = episode().map(|finding| wazuh4(&finding));
    let report = reports(lines.concat());
    assert_eq!(report.matches("Evidence").count(), 1);
    assert!(
        report.contains("51d39a0c77e142b6: start, 1 update, ended\n"),
        "{report}"
    );
    assert!(
        report.contains("(30m)") && report.contains("95 of 100"),
        "{report}"
    );
    assert!(
        report.contains("22 times") && !report.contains("has ended."),
        "{report}"
    );
    assert!(report.contains("jitter 0.5 s"), "{report}");
    // The latest reason first, those of before after it, each once.
    let reasons: Vec<_> = report
        .lines()
        .filter(|line| line.starts_with("  - ") && line.ends_with(')'))
        .collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons[0].contains("same_size") && reasons[2].contains("rare_destination"));
    assert!(report.contains("not written       9 more"), "{report}");
    // In any order, and with the alerts about the same.
    let [start, update, end] = &lines;
    assert_eq!(
        reports(
            [end, start, &alert(start), update, update]
                .map(String::as_str)
                .concat()
        ),
        report
    );
}

#[test]
fn an_end_alone_is_told_as_what_it_is() {
    let [.., end] = episode();
    let report = reports(wazuh4(&end));
    assert!(
        report.contains("its start is not among what was read, ended\n"),
        "{report}"
    );
    assert!(report.contains("It has ended."));
}

#[test]
fn several_episodes_are_several_reports_in_the_order_of_the_file() {
    let other = Finding {
        tag: Tag::PortScan,
        episode: 7,
        ..finding()
    };
    let report = reports([wazuh4(&other), wazuh4(&finding())].concat());
    let titles: Vec<_> = report
        .lines()
        .filter(|line| line.contains(": Possible"))
        .collect();
    assert_eq!(
        titles,
        [
            "possible_port_scan: Possible port scan",
            "possible_beaconing: Possible beaconing"
        ]
    );
    // The same traffic seen by two collectors is two episodes, whatever their ids.
    let elsewhere = wazuh4(&finding()).replace("collector-1", "collector-2");
    assert_eq!(
        reports(wazuh4(&finding()) + &elsewhere)
            .matches("Evidence")
            .count(),
        2
    );
}

#[test]
fn a_reason_or_technique_of_another_version_keeps_its_words() {
    let event = wazuh4(&finding())
        .replace("regular_gaps", "lunar_phase")
        .replace("T1571", "T9999");
    let report = reports(event);
    assert!(
        report.contains("every 60 s, jitter 1 % (lunar_phase)\n    This version does not know"),
        "{report}"
    );
    assert!(report.contains("T9999 (not known to this version)"), "{report}");
}

/// Name of each scenario's finding, and its events. Made once: an upload has many packets.
static SCENARIO_EVENTS: LazyLock<Vec<(&str, String)>> = LazyLock::new(|| {
    let events = |scenario: &Scenario| {
        // No more megabytes than it takes.
        let count = if scenario.unit == "MB" {
            101
        } else {
            scenario.count
        }
        .to_string();
        let mut command = flowmeter(&["generate", "-c", "/dev/null", "--as", "events"]);
        // No summaries, which a replay cannot take apart.
        command.args(["--set", "output.flows=all"]);
        command.args(["--scenario", scenario.name, "--count", &count]);
        let (code, events, _) = told(&mut command);
        assert_eq!(code, 0);
        (scenario.tag, events)
    };
    SCENARIOS.iter().map(events).collect()
});

#[test]
fn the_findings_of_every_scenario_are_explained_in_full() {
    for (tag, events) in SCENARIO_EVENTS.iter() {
        let report = reports(events);
        assert!(
            report.lines().any(|line| line.starts_with(&format!("{tag}: "))),
            "{report}"
        );
        assert!(
            !report.contains("this version") && !report.contains("This version"),
            "{report}"
        );
        // Nothing that was to be filled in is left.
        assert!(!report.contains('{') && !report.contains('}'), "{report}");
        assert!(report.contains("by flowmeter generate"), "{report}");
    }
}

#[test]
fn the_entry_of_the_allow_list_that_it_offers_silences_the_finding() {
    const ENTRY: [&str; 7] = [
        "[[detect.allow]]",
        "findings =",
        "source =",
        "destination =",
        "ports =",
        "until =",
        "comment =",
    ];
    for (tag, events) in SCENARIO_EVENTS.iter() {
        let file = NamedTempFile::new().unwrap();
        fs::write(file.path(), events).unwrap();
        let findings = |config: &Path| {
            let files = [config, file.path()].map(|path| path.to_str().unwrap());
            let (code, events, _) = told(&mut flowmeter(&["replay", "-c", files[0], files[1]]));
            assert_eq!(code, 0);
            events
                .lines()
                .filter(|line| line.contains("\"anomaly\":{"))
                .count()
        };
        assert!(findings(Path::new("/dev/null")) > 0, "{tag}");
        let config = NamedTempFile::new().unwrap();
        let offered: String = reports(events)
            .lines()
            .filter_map(|line| line.strip_prefix("      "))
            .filter(|line| ENTRY.iter().any(|start| line.starts_with(start)))
            .map(|line| format!("{line}\n"))
            .collect();
        fs::write(config.path(), offered).unwrap();
        assert_eq!(findings(config.path()), 0, "{tag}");
    }
}

#[test]
fn colours_are_for_terminals() {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), wazuh4(&finding())).unwrap();
    let path = file.path().to_str().unwrap();
    let on_terminal = |no_color: Option<&str>| {
        let terminal = nix::pty::openpty(None, None).unwrap();
        let mut command = flowmeter(&["explain", path]);
        command.envs(no_color.map(|value| ("NO_COLOR", value)));
        let mut child = command.stdout(Stdio::from(terminal.slave)).spawn().unwrap();
        // The command holds the other end as long as it is there.
        drop(command);
        let mut shown = Vec::new();
        // A terminal whose other end is closed ends with an error.
        let _ = fs::File::from(terminal.master).read_to_end(&mut shown);
        assert!(child.wait().unwrap().success());
        String::from_utf8(shown).unwrap().replace("\r\n", "\n")
    };
    let plain = reports(wazuh4(&finding()));
    let coloured = on_terminal(None);
    assert!(!plain.contains('\x1b'));
    assert!(
        coloured.starts_with("\x1b[1;31mpossible_beaconing\x1b[0m: "),
        "{coloured:?}"
    );
    assert_eq!(on_terminal(Some("1")), plain);
    let mut stripped = coloured;
    for style in ["1;31", "1;33", "1", "2", "0"] {
        stripped = stripped.replace(&format!("\x1b[{style}m"), "");
    }
    assert_eq!(stripped, plain);
}

#[test]
fn what_a_finding_says_cannot_steer_the_terminal() {
    let hostile = Finding {
        message: "\x1b[2J\u{9b}2J\x07gone\r\n".to_owned(),
        ..finding()
    };
    let (_, report, _) = explain(wazuh4(&hostile));
    assert!(
        report
            .chars()
            .all(|character| character == '\n' || !character.is_control()),
        "{report:?}"
    );
    assert!(report.contains("\\u{1b}[2J"), "{report}");
}
