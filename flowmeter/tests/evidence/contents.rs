//! What is in the archive.

use flowmeter::evidence::{self, Circumstances, Files, Request, Subject};
use jiff::Timestamp;

use super::*;

fn text(files: &BTreeMap<String, Vec<u8>>, name: &str) -> String {
    String::from_utf8(files[name].clone()).unwrap()
}

fn parsed(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap()
}

#[test]
fn lines_of_rotated_and_compressed_files_are_copied_byte_for_byte_from_where_the_manifest_says() {
    let case = Case::new();
    let (mut events, id) = beacon();
    for sample in [
        include_str!("../../../samples/statistics.json"),
        include_str!("../../../samples/flow-summary.json"),
        // Of another time.
        &include_str!("../../../samples/statistics.json").replace("T11:45", "T23:45"),
    ] {
        events.extend(sample.replace("2026-04-26T11:45", "2026-01-05T08:15").bytes());
    }
    let all = lines(&events);
    let (old, rest) = all.split_at(all.len() / 3);
    let (rotated, current) = rest.split_at(rest.len() / 2);
    case.write("events.json.2.gz", gzipped(&old.concat()));
    case.write("events.json.1", rotated.concat());
    case.write("events.json", current.concat());
    case.write("other.json", &events);
    let (code, stdout, stderr) = told(&case.evidence(&["--finding", &id]));
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let files = case.unpacked();

    // Told once more, by a reader of its own.
    let episode: Vec<Value> = all
        .iter()
        .map(|line| parsed(line))
        .filter(|event| event["anomaly"]["episode"] == id.as_str())
        .collect();
    assert!(!episode.is_empty());
    let time = |event: &Value, pointer: &str| -> Timestamp {
        event.pointer(pointer).unwrap().as_str().unwrap().parse().unwrap()
    };
    let margin = std::time::Duration::from_secs(600);
    let first = episode
        .iter()
        .map(|event| time(event, "/event/start"))
        .min()
        .unwrap()
        - margin;
    let last = episode
        .iter()
        .map(|event| time(event, "/@timestamp"))
        .max()
        .unwrap()
        + margin;
    let hosts = [&episode[0]["source"]["ip"], &episode[0]["destination"]["ip"]];
    let mut expected: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for line in &all {
        let event = parsed(line);
        let at = time(&event, "/@timestamp");
        let of_hosts = [&event["source"]["ip"], &event["destination"]["ip"]]
            .iter()
            .any(|ip| !ip.is_null() && hosts.contains(ip));
        let within = first <= at && at <= last;
        let part = match event["event"]["action"].as_str().unwrap() {
            "anomaly_detected" if event["anomaly"]["episode"] == id.as_str() => "findings.jsonl",
            "anomaly_detected" if within && of_hosts => "related-findings.jsonl",
            "network_flow" if within && of_hosts => "flows.jsonl",
            "network_flow_summary" if within => "summaries.jsonl",
            "statistics" if within => "statistics.jsonl",
            _ => continue,
        };
        expected.entry(part).or_default().extend(*line);
    }
    for part in [
        "findings.jsonl",
        "related-findings.jsonl",
        "flows.jsonl",
        "summaries.jsonl",
        "statistics.jsonl",
    ] {
        let expected = expected.remove(part).unwrap_or_default();
        assert!(files[part] == expected, "{part} differs");
        let counted = format!("  {part:<24}{} lines", lines(&expected).len());
        assert!(stdout.contains(&counted), "{counted} in {stdout}");
    }
    for part in ["flows.jsonl", "summaries.jsonl", "statistics.jsonl"] {
        assert!(!files[part].is_empty(), "{part}");
    }

    let old = old.concat();
    let mut places = 0;
    for place in text(&files, "manifest.jsonl")
        .lines()
        .map(|line| parsed(line.as_bytes()))
    {
        places += 1;
        let number = |key: &str| usize::try_from(place[key].as_u64().unwrap()).unwrap();
        let source = place["source"].as_str().unwrap();
        let content = if source.ends_with(".gz") {
            old.clone()
        } else {
            fs::read(source).unwrap()
        };
        let copied = lines(&files[place["file"].as_str().unwrap()])[number("line") - 1].to_vec();
        let offset = number("offset");
        assert_eq!(content[offset..offset + number("length")], copied, "{place}");
        assert_eq!(lines(&content)[number("source_line") - 1], copied, "{place}");
    }
    let copied = ["findings", "related-findings", "flows", "summaries", "statistics"]
        .iter()
        .map(|part| lines(&files[&format!("{part}.jsonl")]).len())
        .sum::<usize>();
    assert_eq!(places, copied);

    let sources: Vec<Value> = serde_json::from_slice(&files["sources.json"]).unwrap();
    assert_eq!(sources.len(), 3);
    for source in sources {
        let path = source["path"].as_str().unwrap();
        let output = Command::new("sha256sum").arg(path).output().unwrap();
        let sum = String::from_utf8(output.stdout).unwrap();
        assert_eq!(source["sha256"], sum.split(' ').next().unwrap());
        assert_eq!(source["size"], fs::metadata(path).unwrap().len());
    }
    let explanation = text(&files, "explanation.md");
    assert!(explanation.starts_with("# possible_beaconing: "));
    assert!(explanation.contains(&id) && explanation.contains("## Evidence"));
    let configuration: toml::Table = text(&files, "configuration.toml").parse().unwrap();
    let defaults: toml::Table = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../packaging/flowmeter.toml"
    ))
    .unwrap()
    .parse()
    .unwrap();
    assert!(defaults.keys().all(|table| configuration.contains_key(table)));
    let collection = parsed(&files["collection.json"]);
    assert_eq!(collection["flowmeter"], env!("CARGO_PKG_VERSION"));
    for key in ["host", "collected_at", "clock_source", "clock_state"] {
        assert!(!collection[key].as_str().unwrap().is_empty(), "{key}");
    }
    assert!(text(&files, "README.txt").contains("sha256sum -c SHA256SUMS"));
}

#[test]
fn the_margin_is_kept_to_the_millisecond_on_both_sides() {
    let case = Case::new();
    let of_time = |time: &str| flow(time, "192.0.2.1", "192.0.2.9");
    // The finding: 12:00:00 to 12:01:00.
    let kept = [
        of_time("2026-01-05T11:59:30.000Z"),
        of_time("2026-01-05T12:01:30.000Z"),
    ];
    let events = [
        of_time("2026-01-05T11:59:29.999Z"),
        kept[0].clone(),
        flow("2026-01-05T12:00:30.000Z", "192.0.2.9", "192.0.2.8"),
        finding(Some("192.0.2.1"), Some("192.0.2.2"), &["192.0.2.8"]),
        kept[1].clone(),
        of_time("2026-01-05T12:01:30.001Z"),
    ];
    case.write("events.json", events.concat());
    assert_eq!(
        told(&case.evidence(&["--finding", EPISODE, "--margin", "30s"])).0,
        0
    );
    assert_eq!(text(&case.unpacked(), "flows.jsonl"), kept.concat());
}

#[test]
fn where_a_side_has_several_hosts_those_of_the_sample_count() {
    let case = Case::new();
    let flows = [
        flow("2026-01-05T12:00:30Z", "192.0.2.8", "192.0.2.9"),
        flow("2026-01-05T12:00:31Z", "192.0.2.7", "2001:db8::8"),
    ];
    let other = flow("2026-01-05T12:00:32Z", "192.0.2.7", "192.0.2.6");
    let finding = finding(Some("192.0.2.1"), None, &["192.0.2.8", "2001:db8::8"]);
    case.write("events.json", [flows.concat(), other, finding].concat());
    assert_eq!(told(&case.evidence(&["--finding", EPISODE])).0, 0);
    assert_eq!(text(&case.unpacked(), "flows.jsonl"), flows.concat());
}

#[test]
fn damaged_lines_near_the_finding_are_kept_and_counted_and_others_only_counted() {
    let case = Case::new();
    let near: [&[u8]; 4] = [
        b"{\"@timestamp\":\"2026-01-05T12:00:00Z\",\"event\":{\"acti\n",
        b"\xff\x00\x1b[31m\r\n",
        b"\n",
        b"{\"@timestamp\":\"2026-01-05T12:00:30Z\",\"event\":{\"action\":\"network_flow\"},\"source\":{\"ip\":\"<script>\"}}\n",
    ];
    let mut events = b"damaged before anything\n".to_vec();
    events.extend(flow("2026-01-05T08:00:00Z", "192.0.2.1", "192.0.2.2").bytes());
    events.extend(b"damaged far away\n");
    events.extend(flow("2026-01-05T12:00:00Z", "192.0.2.1", "192.0.2.2").bytes());
    events.extend(near.concat());
    events.extend(vec![b'x'; 2 << 20]);
    events.extend(b"\n");
    events.extend(finding(Some("192.0.2.1"), None, &[]).bytes());
    events.extend(b"{\"cut");
    case.write("events.json", &events);
    let (code, stdout, _) = told(&case.evidence(&["--finding", EPISODE]));
    assert_eq!(code, 0, "{stdout}");
    let files = case.unpacked();
    assert_eq!(
        files["not-understood.txt"],
        [&near.concat()[..], b"{\"cut\n"].concat()
    );
    let sources: Vec<Value> = serde_json::from_slice(&files["sources.json"]).unwrap();
    assert_eq!(sources[0]["not_understood"], 7);
    assert_eq!(sources[0]["too_long"], 1);
    let readme = text(&files, "README.txt");
    assert!(
        readme.contains("7 of them no event, 1 of over 1 MiB and not copied"),
        "{readme}"
    );
    assert_eq!(lines(&files["flows.jsonl"]).len(), 1);
}

#[test]
fn a_host_s_findings_and_flows_of_a_time_are_taken() {
    let case = Case::new();
    let at = |time: &str| flow(time, "2001:db8::1", "192.0.2.2");
    let within = at("2026-01-05T12:00:30Z");
    let done_to_it = finding(Some("192.0.2.9"), Some("2001:db8::1"), &[]);
    let its = finding(Some("2001:db8::1"), None, &[]);
    let events = [
        at("2026-01-05T11:00:00Z"),
        within.clone(),
        done_to_it.clone(),
        its.clone(),
        at("2026-01-05T13:00:00Z"),
    ];
    case.write("events.json", events.concat());
    let arguments = [
        "--source",
        "2001:db8::1",
        "--since",
        "2026-01-05T12:00:00Z",
        "--until",
        "2026-01-05T12:30:00Z",
    ];
    let (code, stdout, _) = told(&case.evidence(&arguments));
    assert_eq!(code, 0);
    assert!(stdout.contains("flowmeter-evidence-2001-db8--1-"), "{stdout}");
    let files = case.unpacked();
    assert_eq!(text(&files, "flows.jsonl"), within);
    assert_eq!(text(&files, "findings.jsonl"), its);
    assert_eq!(text(&files, "related-findings.jsonl"), done_to_it);
}

#[test]
fn the_same_files_make_the_same_archive_and_it_is_never_overwritten() {
    let case = Case::new();
    let (events, episode) = beacon();
    let events = case.write("events.json", events);
    let circumstances = Circumstances {
        flowmeter: "1.2.3",
        host: "collector-1".to_owned(),
        collected_at: "2026-01-06T09:10:11Z".parse().unwrap(),
        clock_source: "tsc".to_owned(),
        clock_state: "synchronised".to_owned(),
    };
    let collect = |folder: &str| {
        let request = Request {
            subject: Subject::Finding {
                episode: episode.clone(),
                margin: std::time::Duration::from_secs(600),
            },
            since: None,
            until: None,
            directory: case.path(folder),
        };
        evidence::collect(
            &request,
            Files::Named(std::slice::from_ref(&events)),
            "[capture]\n",
            &circumstances,
        )
    };
    let archives = ["one", "two"].map(|folder| collect(folder).unwrap().archive);
    assert_eq!(
        archives[0].file_name().unwrap(),
        format!("flowmeter-evidence-{episode}-20260106T091011Z.tar.gz").as_str()
    );
    let bytes = archives.each_ref().map(|archive| fs::read(archive).unwrap());
    assert!(bytes[0] == bytes[1], "the archives differ");

    fs::write(&archives[0], "kept").unwrap();
    let refused = format!("{:#}", collect("one").unwrap_err());
    assert!(refused.contains("never overwritten"), "{refused}");
    assert_eq!(fs::read(&archives[0]).unwrap(), b"kept");
    assert_eq!(
        fs::read_dir(case.path("one")).unwrap().count(),
        2,
        "nothing is left behind"
    );
}
