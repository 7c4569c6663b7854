//! Nothing that is given as a configuration makes it panic, and what is accepted is right.

use std::{io::Write, path::PathBuf};

use flowmeter::config::{Config, DEFAULT_TEXT, Sources, load};
use proptest::prelude::*;
use tempfile::NamedTempFile;

use crate::{default_keys, from_text, set};

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
