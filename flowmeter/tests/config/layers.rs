//! Where values come from, and which one wins.

use std::time::Duration;

use flowmeter::config::{Config, DEFAULT_TEXT, Mode, Override, Sources, load};

use crate::{default_keys, environment, file, from_text, set};

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
