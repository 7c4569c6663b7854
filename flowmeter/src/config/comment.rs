//! What the default configuration says about a key.

/// The comment over a key such as `detect.port_scan.targets`, as one paragraph; `None` if there is none, or no
/// such key.
pub fn comment(key: &str) -> Option<String> {
    let (section, name) = key.rsplit_once('.')?;
    let mut here = false;
    let mut comment = Vec::new();
    for line in super::DEFAULT_TEXT.lines() {
        if let Some(header) = line.strip_prefix('[') {
            here = header.trim_end() == format!("{section}]");
        }
        let value = line.strip_prefix(name).map(str::trim_start);
        if here && value.is_some_and(|value| value.starts_with('=')) {
            return (!comment.is_empty()).then(|| comment.join(" "));
        }
        match line.strip_prefix('#') {
            Some(words) => comment.push(words.trim()),
            None => comment.clear(),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::comment;

    #[test]
    fn a_comment_is_found_by_its_key_and_only_there() {
        let targets = comment("detect.port_scan.targets").unwrap();
        assert!(
            targets.starts_with("Ports of one host, or hosts on one port, that failed within `window`, 3")
        );
        assert!(targets.ends_with("broken software."), "{targets}");
        assert!(
            comment("detect.external_inbound.guesses")
                .unwrap()
                .contains("from outside")
        );
        for key in [
            "detect.port_scan.mode",
            "detect.port_scan.target",
            "detect.targets",
            "targets",
        ] {
            assert_eq!(comment(key), None, "{key}");
        }
    }
}
