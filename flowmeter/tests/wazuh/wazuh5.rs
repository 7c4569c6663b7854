//! `wazuh/5/`: untested in a Wazuh 5, but held to what the encoder writes.

use flowmeter::{
    config::Schema,
    detect::{Phase, Tag},
};

use crate::{encoder, finding, read};

/// The texts that a rule looks for in the line, as the rule has them.
fn wanted(rule: &str) -> Vec<&str> {
    rule.lines()
        .filter_map(|line| line.trim().strip_prefix("- '")?.strip_suffix('\''))
        .collect()
}

#[test]
fn each_start_of_an_episode_fits_exactly_its_rule() {
    let text = read("wazuh/5/rules.yml");
    let rules: Vec<_> = text.split("---\n").skip(1).collect();
    assert_eq!(rules.len(), 9);
    for tag in Tag::ALL {
        for phase in [Phase::Start, Phase::Update, Phase::End] {
            let mut line = Vec::new();
            encoder(Schema::Ecs)
                .finding(&finding(tag, phase), &mut line)
                .unwrap();
            let line = String::from_utf8(line).unwrap();
            let fitting: Vec<_> = rules
                .iter()
                .filter(|rule| wanted(rule).iter().all(|text| line.contains(text)))
                .collect();
            let expected = usize::from(phase == Phase::Start && tag != Tag::Overflow);
            assert_eq!(fitting.len(), expected, "{tag:?} {phase:?}");
            if let Some(rule) = fitting.first() {
                assert_eq!(wanted(rule).len(), 2);
                assert!(rule.contains(tag.name()));
            }
            for part in [r#""kind":"alert""#, r#""action":"anomaly_detected""#] {
                assert!(line.contains(part), "{line}");
            }
        }
    }
}
