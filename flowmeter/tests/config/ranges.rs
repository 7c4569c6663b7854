//! Values of the right type that cannot be used, and those that are put right.

use crate::{from_text, set};

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
