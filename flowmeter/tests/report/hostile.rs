//! Events are other people's words: none of them becomes markup.

use serde_json::{Value, json};

use crate::{FINDING, FLOW, STATISTICS, made};

const ATTACKS: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)' x='",
    "</title></style></svg><iframe src=//evil.example>",
    "</code></pre>```\n# heading\n| a | b |\n[x](javascript:alert(1))",
    "&lt;b&gt; \u{202e}gpj.exe\u{0}\u{1b}[31m {{7*7}} <!-- --> ]]>",
];

/// Every text of an event that is free to be anything, replaced.
fn events(text: &str) -> String {
    let parsed = |line| serde_json::from_str::<Value>(line).unwrap();
    let (mut flow, mut statistics, mut finding) = (parsed(FLOW), parsed(STATISTICS), parsed(FINDING));
    for event in [&mut flow, &mut statistics, &mut finding] {
        event["collector"]["name"] = json!(text);
    }
    for part in ["direction", "transport", "community_id"] {
        flow["network"][part] = json!(text);
    }
    flow["service"]["name"] = json!(text);
    flow["flow"]["outcome"] = json!(text);
    flow["observer"]["ingress"]["interface"]["name"] = json!(text);
    // So that the conversation is one of the finding's hosts.
    flow["source"]["ip"] = finding["source"]["ip"].clone();
    statistics["flowmeter"]["interface"]["name"] = json!(text);
    statistics["flowmeter"]["lost"][text] = json!({"packets": 1, "wire_bytes": 60});
    statistics["flowmeter"]["output"]["last_error"] = json!(text);
    for part in ["episode", "confidence"] {
        finding["anomaly"][part] = json!(text);
    }
    for part in ["reasons", "explanation", "settings"] {
        finding["anomaly"][part] = json!([text]);
    }
    // A name of a count with a dot is refused: it would be another field's.
    finding["anomaly"]["counts"] = json!({ text.replace('.', ","): 3 });
    finding["anomaly"]["baseline"]["unit"] = json!(text);
    finding["message"] = json!(text);
    finding["network"]["transport"] = json!(text);
    finding["threat"]["technique"]["id"] = json!([text]);
    let broken = json!({"event": {"action": "network_flow"}, "@timestamp": text});
    format!("{finding}\n{flow}\n{statistics}\n{broken}\n")
}

/// The names of all tags in their order, with those of their attributes.
fn tags(page: &str) -> Vec<String> {
    let mut tags = Vec::new();
    for part in page.split('<').skip(1) {
        // Within the style sheet there is none, and in texts it is escaped.
        let (tag, _) = part.split_once('>').unwrap();
        let outside_of_values = tag.split('"').step_by(2).collect::<String>();
        tags.push(outside_of_values);
    }
    tags
}

#[test]
fn texts_of_events_do_not_become_markup_of_the_page() {
    for kind in ["monitoring", "anomalies", "incident"] {
        let harmless = tags(&made(events("harmless"), &["--kind", kind]));
        assert!(harmless.len() > 100);
        for attack in ATTACKS {
            let page = made(events(attack), &["--kind", kind]);
            assert!(tags(&page) == harmless, "{kind}: {attack}");
            assert!(
                page.chars()
                    .all(|character| character == '\n' || !character.is_control())
            );
            assert!(!page.contains('\u{202e}'));
        }
    }
}

#[test]
fn texts_of_events_do_not_become_markup_of_the_document() {
    // What Markdown makes of a line, outside of fences: its kind, and how many columns it has.
    let shape = |document: &str| {
        let mut fence = String::new();
        let mut shape = Vec::new();
        for line in document.lines() {
            let line = line.trim_start();
            if fence.is_empty() && line.starts_with("```") {
                fence = line.trim_end_matches("text").to_owned();
                shape.push("fence".to_owned());
            } else if !fence.is_empty() {
                if line == fence {
                    fence.clear();
                }
            } else {
                let plain = line
                    .replace("\\\\", "")
                    .replace("\\|", "")
                    .replace("\\<", "")
                    .replace("\\[", "");
                let unescaped = plain.matches(['|', '<', '[']).count();
                let start: String = line
                    .chars()
                    .take_while(|character| "#>-|".contains(*character))
                    .collect();
                shape.push(format!("{start} {unescaped}"));
            }
        }
        assert!(fence.is_empty(), "a fence does not end");
        shape
    };
    for kind in ["monitoring", "anomalies", "incident"] {
        let arguments = ["--kind", kind, "--format", "md"];
        let harmless = shape(&made(events("harmless"), &arguments));
        for attack in ATTACKS {
            let document = made(events(attack), &arguments);
            assert!(shape(&document) == harmless, "{kind}: {attack}: {document}");
        }
    }
}

#[test]
fn the_page_needs_nothing_else_and_forbids_everything_else() {
    for kind in ["monitoring", "anomalies", "incident"] {
        let page = made([FINDING, FLOW, STATISTICS].concat(), &["--kind", kind]);
        for outside in [
            "://",
            "<script",
            "<link",
            "<img",
            "<iframe",
            "url(",
            "@import",
            " src=",
            "javascript:",
        ] {
            assert!(!page.contains(outside), "{kind}: {outside}");
        }
        assert!(page.split(" href=\"").skip(1).all(|link| link.starts_with('#')));
        let policy =
            "content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\"";
        assert!(page.contains("http-equiv=\"Content-Security-Policy\"") && page.contains(policy));
        assert!(page.contains("prefers-color-scheme: dark") && page.contains("@media print"));
    }
}
