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
        ("track.max_connections", "2048"),
        ("track.tcp_idle_timeout", "2s"),
        ("track.idle_timeout", "2s"),
        ("track.active_timeout", "2m"),
        ("output.path", "-"),
        ("output.schema", "ecs"),
        ("output.rotate_bytes", "1048576"),
        ("output.rotate_age", "2m"),
        ("output.keep", "1"),
        ("output.mode", "0600"),
        ("output.retry_buffer_bytes", "65536"),
    ];
    // `output.flows` has a single value so far and cannot change.
    assert_eq!(changes.len() + 1, default_keys().len());
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
