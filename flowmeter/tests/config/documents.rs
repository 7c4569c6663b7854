//! The default file and the document say what the code does.

use flowmeter::config::{Config, DEFAULT_TEXT};

use crate::{default_keys, keys, set};

const DOCUMENT: &str = include_str!("../../../docs/configuration.md");

#[test]
fn the_default_file_sets_every_key_to_its_default() {
    assert_eq!(toml::from_str::<Config>(DEFAULT_TEXT).unwrap(), Config::default());
    assert_eq!(keys(&DEFAULT_TEXT.parse().unwrap()), default_keys());
    assert!(default_keys().len() > 20);
}

#[test]
fn the_document_has_a_row_for_every_key_and_no_other() {
    let mut documented: Vec<_> = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(key, _)| key)
        .filter(|key| key.contains('.') && !key.starts_with("services."))
        .collect();
    documented.sort_unstable();
    assert_eq!(documented, default_keys());
    assert!(DOCUMENT.contains("| `services.\"PORT/PROTOCOL\"`"));
}

#[test]
fn document_and_default_file_say_restart_exactly_where_a_reload_does_not_do() {
    let changes = [
        ("collector.name", "other"),
        ("capture.interfaces", "eth0"),
        ("capture.exclude", "eth1"),
        ("capture.mode", "xdp"),
        ("capture.direction", "ingress"),
        ("capture.tc_attach", "clsact"),
        ("capture.interval", "5s"),
        ("capture.max_flows", "2048"),
        ("capture.tunnels", "inner"),
        ("capture.sampling", "2"),
        ("capture.drop_after_count", "span0"),
        ("capture.filter.allow", "10.0.0.0/8"),
        ("capture.filter.deny", "10.0.0.0/8"),
        ("networks.internal", "10.0.0.0/8"),
        ("networks.resolvers", "10.0.0.1"),
        ("networks.proxies", "10.0.0.1"),
        ("networks.admin_hosts", "10.0.0.1"),
        ("networks.scanners", "10.0.0.1"),
        ("networks.servers", "10.0.0.1"),
        ("detect.memory_bytes", "134217729"),
        ("detect.findings_per_minute", "61"),
        ("detect.learning", "2d"),
        ("detect.quiet", "1h"),
        ("detect.allow", "[{ports=[22]}]"),
        (
            "detect.groups",
            "[{networks=[\"10.1.0.0/16\"], dos={sources=77}}]",
        ),
        ("detect.port_scan.mode", "threshold"),
        ("detect.port_scan.targets", "11"),
        ("detect.port_scan.window", "2h"),
        ("detect.port_scan.slow_targets", "16"),
        ("detect.port_scan.failure_percent", "51"),
        ("detect.outbound_bytes.mode", "threshold"),
        ("detect.outbound_bytes.hour_bytes", "100000001"),
        ("detect.outbound_bytes.day_bytes", "250000001"),
        ("detect.outbound_bytes.ratio", "5"),
        ("detect.outbound_bytes.deviations", "7"),
        ("detect.beaconing.mode", "threshold"),
        ("detect.beaconing.internal", "true"),
        ("detect.beaconing.contacts", "9"),
        ("detect.beaconing.jitter_percent", "26"),
        ("detect.beaconing.score", "61"),
        ("detect.beaconing.prevalence", "6"),
        ("detect.lateral_movement.mode", "threshold"),
        ("detect.lateral_movement.ports", "[7]"),
        ("detect.lateral_movement.fan_out", "4"),
        ("detect.lateral_movement.guesses", "21"),
        ("detect.dns.mode", "threshold"),
        ("detect.dns.query_bytes", "99"),
        ("detect.dns.socket_queries", "99"),
        ("detect.dns.hours", "7"),
        ("detect.external_inbound.mode", "threshold"),
        ("detect.state", "/tmp/state"),
        ("detect.external_inbound.ports", "[7]"),
        ("detect.external_inbound.guesses", "21"),
        ("detect.outbound_port.mode", "threshold"),
        ("detect.outbound_port.hosts", "3"),
        ("detect.outbound_port.bad_ports", "[7]"),
        ("detect.outbound_port.usual_ports", "[7]"),
        ("detect.dos.mode", "threshold"),
        ("detect.dos.unfinished", "499"),
        ("detect.dos.sources", "499"),
        ("detect.dos.packets", "50001"),
        ("detect.dos.times", "9"),
        ("detect.escalation.mode", "threshold"),
        ("detect.escalation.scans", "4"),
        ("detect.escalation.victims", "6"),
        ("track.max_connections", "2048"),
        ("track.tcp_idle_timeout", "2s"),
        ("track.idle_timeout", "2s"),
        ("track.active_timeout", "2m"),
        ("output.path", "-"),
        ("output.schema", "ecs"),
        ("output.flows", "findings-only"),
        ("output.lines_per_second", "299"),
        ("output.all_flows_path", "/var/log/flows.json"),
        ("output.rotate_bytes", "1048576"),
        ("output.rotate_age", "2m"),
        ("output.keep", "1"),
        ("output.mode", "0600"),
        ("output.retry_buffer_bytes", "65536"),
    ];
    assert_eq!(changes.len(), default_keys().len());
    let default = set(&[]).unwrap().config;
    for (key, value) in changes {
        let new = set(&[&format!("{key}={value}")]).unwrap().config;
        assert_ne!(new, default, "{key}");
        let restart = default.restart_needed(&new);
        let row = DOCUMENT
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` |")))
            .unwrap();
        let takes = if restart == [key] {
            "| restart |"
        } else {
            "| reload |"
        };
        assert!(row.ends_with(takes), "{restart:?} but {row}");
        assert_eq!(
            comment_above(key).contains("[restart]"),
            restart == [key],
            "{key}"
        );
    }
    assert_eq!(default.restart_needed(&default), Vec::<&str>::new());
}

/// The comment that stands above a key in the default file.
fn comment_above(key: &str) -> String {
    let (table, name) = key.rsplit_once('.').unwrap();
    let section = DEFAULT_TEXT.split(&format!("\n[{table}]\n")).nth(1).unwrap();
    let before = section.split(&format!("\n{name} = ")).next().unwrap();
    before.rsplit("\n\n").next().unwrap().to_owned()
}
