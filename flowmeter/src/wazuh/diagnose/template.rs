//! Index templates: a composable one takes the place of Wazuh's own, which is a legacy one.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Diagnosis;

/// An index as Wazuh names it.
const INDEX: &str = "wazuh-alerts-4.x-2026.04.26";

/// Looks at what `GET _index_template` answers, or at the body of one template.
///
/// # Errors
/// If it is no JSON.
pub fn diagnose(answer: &str) -> Result<Vec<Diagnosis>> {
    let answer: Value = serde_json::from_str(answer).context("cannot read the index templates as JSON")?;
    let listed = answer.get("index_templates").and_then(Value::as_array);
    let templates: Vec<(&str, &Value)> = match listed {
        Some(listed) => listed
            .iter()
            .filter_map(|entry| Some((entry.get("name")?.as_str()?, entry.get("index_template")?)))
            .collect(),
        // A legacy template has an order and no inner template.
        None if answer.get("template").is_some() => vec![("this template", &answer)],
        None => Vec::new(),
    };
    let shadowing: Vec<_> = templates
        .iter()
        .filter(|(_, template)| covers(template))
        .map(|(name, _)| {
            Diagnosis::error(
                format!("the index template {name} takes the place of Wazuh's own on new indexes"),
                format!(
                    "remove it (DELETE _index_template/{name}) and put netflow-template.json as a legacy one \
                     (PUT _template/wazuh-netflow)"
                ),
            )
        })
        .collect();
    Ok(if shadowing.is_empty() {
        vec![Diagnosis::good(
            "no index template takes the place of Wazuh's own",
        )]
    } else {
        shadowing
    })
}

fn covers(template: &Value) -> bool {
    let patterns = template.get("index_patterns").and_then(Value::as_array);
    patterns
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .any(|pattern| {
            globset::Glob::new(pattern).is_ok_and(|pattern| pattern.compile_matcher().is_match(INDEX))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wazuh::{diagnose::Grade, pack};

    #[test]
    fn the_article_s_template_is_found_and_ours_is_none() {
        let article = r#"{"index_patterns":["wazuh-alerts-*"],"priority":200,"template":{"mappings":{}}}"#;
        let listed = format!(
            r#"{{"index_templates":[{{"name":"wazuh-netflow-numeric","index_template":{article}}},
               {{"name":"other","index_template":{{"index_patterns":["logs-*"]}}}}]}}"#
        );
        for answer in [article, &listed] {
            let found = diagnose(answer).unwrap();
            assert_eq!((found.len(), found[0].grade), (1, Grade::Error), "{answer}");
        }
        for answer in [pack::TEMPLATE.text, r#"{"index_templates":[]}"#] {
            let found = diagnose(answer).unwrap();
            assert_eq!((found.len(), found[0].grade), (1, Grade::Good), "{answer}");
        }
        assert!(diagnose("curl: (7)").is_err());
    }
}
