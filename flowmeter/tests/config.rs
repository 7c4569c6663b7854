//! The configuration as its callers see it: layers, ranges, and the texts that must not drift from the code.

use std::{ffi::OsString, io::Write, path::PathBuf, time::Duration};

use flowmeter::config::{Config, DEFAULT_TEXT, Loaded, Mode, Override, Sources, load};
use proptest::prelude::*;
use tempfile::NamedTempFile;
use toml::{Table, Value};

const DOCUMENT: &str = include_str!("../../docs/configuration.md");

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

fn from_text(text: &str) -> anyhow::Result<Loaded> {
    let file = file(text);
    load(&Sources {
        file: Some(file.path().to_owned()),
        ..Sources::default()
    })
}

fn set(assignments: &[&str]) -> anyhow::Result<Loaded> {
    let file = file("");
    load(&Sources {
        file: Some(file.path().to_owned()),
        set: assignments.iter().map(|&text| text.to_owned()).collect(),
        ..Sources::default()
    })
}

/// Dotted keys of the values in a table.
fn keys(table: &Table) -> Vec<String> {
    let mut keys = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(inner) => keys.extend(self::keys(inner).iter().map(|key| format!("{name}.{key}"))),
            _ => keys.push(name.clone()),
        }
    }
    keys.sort_unstable();
    keys
}

fn default_keys() -> Vec<String> {
    keys(&Table::try_from(Config::default()).unwrap())
}

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

#[test]
fn each_layer_wins_over_the_one_below() {
    let file = file("[capture]\ninterval = \"1s\"\nsampling = 2\nmax_flows = 2000\nmode = \"tc\"\n");
    let sources = Sources {
        file: Some(file.path().to_owned()),
        environment: environment(&[
            ("FLOWMETER_CAPTURE_INTERVAL", "2s"),
            ("FLOWMETER_CAPTURE_SAMPLING", "3"),
            ("FLOWMETER_CAPTURE_MAX_FLOWS", "3000"),
        ]),
        set: vec!["capture.interval=3s".to_owned(), "capture.sampling=4".to_owned()],
        options: vec![Override {
            option: "--interval",
            key: "capture.interval",
            value: "4s".into(),
        }],
    };
    let capture = load(&sources).unwrap().config.capture;
    assert_eq!(capture.interval, Duration::from_secs(4), "option");
    assert_eq!(capture.sampling, 4, "--set");
    assert_eq!(capture.max_flows, 3000, "environment");
    assert_eq!(capture.mode, Mode::Tc, "file");
    assert_eq!(capture.tunnels, Config::default().capture.tunnels, "default");
}

#[test]
fn differences_name_where_each_value_comes_from() {
    let file = file("[capture]\ninterval = \"1s\"\nsampling = 1\n");
    let sources = Sources {
        file: Some(file.path().to_owned()),
        environment: environment(&[("FLOWMETER_OUTPUT_KEEP", "3")]),
        set: vec!["collector.name=here".to_owned()],
        ..Sources::default()
    };
    let told: Vec<_> = load(&sources)
        .unwrap()
        .differences()
        .unwrap()
        .into_iter()
        .map(|(key, value, origin)| format!("{key} = {value} from {}", origin.unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            format!("capture.interval = \"1s\" from {}:2", file.path().display()),
            "collector.name = \"here\" from --set collector.name".to_owned(),
            "output.keep = 3 from environment variable FLOWMETER_OUTPUT_KEEP".to_owned(),
        ]
    );
}

#[test]
fn every_key_has_its_variable() {
    let file = file(DEFAULT_TEXT);
    for key in default_keys() {
        let name = format!("FLOWMETER_{}", key.to_uppercase().replace('.', "_"));
        let error = load(&Sources {
            file: Some(file.path().to_owned()),
            environment: environment(&[(&name, "\u{1}")]),
            ..Sources::default()
        })
        .map(|loaded| loaded.config);
        match error {
            // A path and a glob may hold anything.
            Ok(config) => assert_ne!(config, from_text("").unwrap().config, "{key}"),
            Err(error) => {
                let expected = format!("environment variable {name}: {key}: ");
                assert!(error.to_string().starts_with(&expected), "{error:#}");
            }
        }
    }
}

#[test]
fn the_old_variable_sets_internal_networks_and_the_new_one_wins() {
    let internal = |variables| {
        let file = file("");
        let sources = Sources {
            file: Some(file.path().to_owned()),
            environment: environment(variables),
            ..Sources::default()
        };
        load(&sources).unwrap().config.networks.internal
    };
    let nets = |texts: &[&str]| {
        texts
            .iter()
            .map(|net| net.parse().unwrap())
            .collect::<Vec<ipnet::IpNet>>()
    };
    assert_eq!(
        internal(&[("INTERNAL_NETWORKS", "192.168.56.0/24, 10.10.10.0/24,")]),
        nets(&["192.168.56.0/24", "10.10.10.0/24"])
    );
    let both = [
        ("FLOWMETER_NETWORKS_INTERNAL", "fd00::/8"),
        ("INTERNAL_NETWORKS", "10.0.0.0/8"),
    ];
    assert_eq!(internal(&both), nets(&["fd00::/8"]));
    assert_eq!(
        internal(&[("INTERNAL_NETWORKS", "")]),
        Config::default().networks.internal
    );
    assert_eq!(
        internal(&[("INTERNAL_NETWORKS", "10.1.2.3")]),
        nets(&["10.1.2.3/32"])
    );
}

#[test]
fn variables_that_are_not_configuration_are_left_alone() {
    let file = file("");
    let load_with = |name: &str| {
        load(&Sources {
            file: Some(file.path().to_owned()),
            environment: environment(&[(name, "anything")]),
            ..Sources::default()
        })
    };
    for name in [
        "FLOWMETER_LOG",
        "FLOWMETER_DATA",
        "FLOWMETER_BLESS",
        "HOME",
        "CAPTURE_INTERVAL",
    ] {
        assert!(load_with(name).is_ok(), "{name}");
    }
    assert!(load_with("FLOWMETER_LOGS").is_err());
}

#[test]
fn host_bits_are_taken_off_and_told() {
    let loaded = from_text(
        "[networks]\ninternal = [\"192.168.56.5/24\", \"10.0.0.0/8\"]\n[capture.filter]\ndeny = [\"fd00::1/64\"]\n",
    )
    .unwrap();
    assert_eq!(loaded.config.networks.internal[0].to_string(), "192.168.56.0/24");
    assert_eq!(loaded.config.capture.filter.deny[0].to_string(), "fd00::/64");
    assert_eq!(
        loaded.notes,
        [
            "networks.internal: 192.168.56.5/24 has host bits set, taken as 192.168.56.0/24",
            "capture.filter.deny: fd00::1/64 has host bits set, taken as fd00::/64",
        ]
    );
}

#[test]
fn an_empty_collector_name_becomes_the_host_name() {
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    assert_eq!(from_text("").unwrap().config.collector.name, host);
    assert_eq!(set(&["collector.name=42"]).unwrap().config.collector.name, "42");
}

#[test]
fn services_are_set_by_port() {
    let config = set(&["services.8443/tcp=Intranet", "services.\"53/udp\"=Names = here"])
        .unwrap()
        .config;
    let names: Vec<_> = config
        .services
        .names
        .iter()
        .map(|(port, name)| (port.as_str(), name.as_str()))
        .collect();
    assert_eq!(names, [("53/udp", "Names = here"), ("8443/tcp", "Intranet")]);
}

#[test]
fn lists_are_taken_with_commas_or_in_brackets() {
    for text in [
        "capture.interfaces=eth0, ens*",
        r#"capture.interfaces=["eth0", "ens*"]"#,
    ] {
        assert_eq!(
            set(&[text]).unwrap().config.capture.interfaces,
            ["eth0", "ens*"],
            "{text}"
        );
    }
    assert_eq!(
        set(&["capture.interfaces="]).unwrap().config.capture.interfaces,
        Vec::<String>::new()
    );
}

#[test]
fn ranges_hold_at_both_ends() {
    // (key, in range, out of range)
    let cases: [(&str, &[&str], &[&str]); 14] = [
        ("capture.interval", &["100ms", "1h"], &["99ms", "1h 1ns"]),
        (
            "capture.max_flows",
            &["1024", "16777216"],
            &["1023", "16777217", "-1", "4294967296"],
        ),
        ("capture.sampling", &["1", "65536"], &["0", "65537"]),
        (
            "track.max_connections",
            &["1024", "16777216"],
            &["1023", "16777217"],
        ),
        ("track.tcp_idle_timeout", &["1s", "24h"], &["999ms", "24h 1s"]),
        ("track.idle_timeout", &["1s", "24h"], &["999ms", "24h 1s"]),
        ("track.active_timeout", &["1m", "7d"], &["59s", "7d 1s"]),
        (
            "output.rotate_bytes",
            &["1048576", "9223372036854775807"],
            &["1048575"],
        ),
        ("output.rotate_age", &["2m", "1y"], &["119s"]),
        ("output.keep", &["1", "1000"], &["0", "1001"]),
        (
            "output.mode",
            &["0", "0000", "640", "0777"],
            &["1000", "08", "+7", "rw", "\"\"", "0o640"],
        ),
        (
            "output.retry_buffer_bytes",
            &["65536", "1073741824"],
            &["65535", "1073741825"],
        ),
        ("output.path", &["-", "x"], &[""]),
        ("collector.name", &["x", "\u{e9}"], &["\"a\\nb\""]),
    ];
    for (key, good, bad) in cases {
        for value in good {
            let result = set(&[&format!("{key}={value}")]);
            assert!(result.is_ok(), "{key}={value}: {:#}", result.unwrap_err());
        }
        for value in bad {
            let error = set(&[&format!("{key}={value}")]).expect_err(&format!("{key}={value}"));
            assert!(
                error.to_string().starts_with(&format!("--set {key}: ")),
                "{error:#}"
            );
        }
    }
}

#[test]
fn services_are_checked() {
    for (port, name) in [
        ("8443", "x"),
        ("8443/ip", "x"),
        ("65536/tcp", "x"),
        ("/tcp", "x"),
        ("8443/tcp", ""),
        ("8443/tcp", &"x".repeat(65)),
    ] {
        let error = set(&[&format!("services.{port}={name}")])
            .expect_err(port)
            .to_string();
        assert!(error.starts_with(&format!("--set services.{port}: ")), "{error}");
    }
}

#[test]
fn contradictions_are_refused() {
    let drop = "capture.drop_after_count=span0";
    for assignments in [
        [drop, "capture.mode=tc"],
        [drop, "capture.direction=egress"],
        ["capture.mode=xdp", "capture.direction=egress"],
    ] {
        assert!(set(&assignments).is_err(), "{assignments:?}");
        assert!(set(&assignments[..1]).is_ok());
        assert!(set(&assignments[1..]).is_ok());
    }
}

#[test]
fn deep_nesting_is_an_error_not_an_overflow() {
    for text in [
        "a.".repeat(100_000) + "b = 1",
        format!("[{}b]", "a.".repeat(100_000)),
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a = ".repeat(100_000)),
    ] {
        assert!(from_text(&text).is_err());
    }
}

#[test]
fn a_file_that_is_no_text_is_told() {
    let error = |bytes: &[u8]| {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let sources = Sources {
            file: Some(file.path().to_owned()),
            ..Sources::default()
        };
        load(&sources).unwrap_err().to_string()
    };
    assert!(error(b"[capture]\n\n# \xff").ends_with("is not UTF-8 text in line 3"));
    assert!(error(&vec![b'#'; (1 << 20) + 1]).ends_with("is longer than 1 MiB"));
    let missing = Sources {
        file: Some(PathBuf::from("/nowhere/at/all.toml")),
        ..Sources::default()
    };
    let error = load(&missing).unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot read configuration /nowhere/at/all.toml: no such file"
    );
}

/// Text that gets past the first checks often enough: real keys, damaged.
fn almost_configuration() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "\\PC{0,12}",
        prop::sample::select(vec![
            "\n",
            "=",
            "[capture]\n",
            "[capture.filter]\n",
            "[services]\n\"1/tcp\" = \"\u{e9}\t\"\n",
            "interval = \"5s\"\n",
            "interval = \"99999999999999999999y\"\n",
            "max_flows = 18446744073709551616\n",
            "deny = [\"::/0\", \n\"\u{2192}\"]\n",
            "\"\"\"",
            "\r\n\u{feff}",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// A byte changed anywhere in the default file.
fn damaged_default() -> impl Strategy<Value = String> {
    (0..DEFAULT_TEXT.len(), any::<u8>()).prop_map(|(at, byte)| {
        let mut bytes = DEFAULT_TEXT.as_bytes().to_vec();
        bytes[at] = byte;
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(text in prop_oneof![".*", almost_configuration(), damaged_default()]) {
        if let Ok(loaded) = from_text(&text) {
            prop_assert_eq!(loaded.config.check(), Ok(()));
        }
    }

    #[test]
    fn what_is_accepted_can_be_written_down_again(key in prop::sample::select(default_keys()), value in "\\PC*") {
        if let Ok(loaded) = set(&[&format!("{key}={value}")]) {
            prop_assert_eq!(loaded.config.check(), Ok(()));
            let text = toml::to_string(&loaded.config).unwrap();
            prop_assert_eq!(toml::from_str::<Config>(&text).unwrap(), loaded.config);
        }
    }

    #[test]
    fn no_assignment_makes_it_panic(text in "\\PC*") {
        // None of this is a key.
        prop_assert!(set(&[&text]).is_err() || text.starts_with("services."));
    }
}
