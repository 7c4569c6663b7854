//! What became of an event, and why, in words.

use std::fmt;

use super::event::Event;

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub fired: Option<Alert>,
    /// The rules that were tried, in order, each with the condition that failed.
    pub tried: Vec<Tried>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    pub id: u32,
    pub level: u8,
    /// With the values of its fields.
    pub description: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    pub id: u32,
    /// None: it matched.
    pub failed: Option<String>,
}

impl fmt::Display for Verdict {
    /// The rule that fires; if that alerts nobody, also why no other did.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fired {
            Some(alert) => write!(f, "{} (level {}) {}", alert.id, alert.level, alert.description)?,
            None => f.write_str("no rule fires")?,
        }
        if self.fired.as_ref().is_some_and(|alert| alert.level > 0) {
            return Ok(());
        }
        let mut reasons: Vec<(Vec<u32>, &str)> = Vec::new();
        for tried in &self.tried {
            let Some(failed) = &tried.failed else { continue };
            match reasons.iter_mut().find(|(_, reason)| reason == failed) {
                Some((ids, _)) => ids.push(tried.id),
                None => reasons.push((vec![tried.id], failed)),
            }
        }
        for (mut ids, reason) in reasons {
            ids.sort_unstable();
            write!(f, "\n    not {}: {reason}", list_of(&ids))?;
        }
        Ok(())
    }
}

/// A description with the values of its fields; `$(name)` of an absent field is empty.
pub(super) fn expand(description: &str, event: &Event) -> String {
    let mut expanded = String::new();
    let mut rest = description;
    while let Some((before, (name, after))) = rest
        .split_once("$(")
        .and_then(|(before, tail)| Some((before, tail.split_once(')')?)))
    {
        expanded.push_str(before);
        expanded.push_str(event.any_field(name).unwrap_or_default());
        rest = after;
    }
    expanded + rest
}

/// `1, 2, 3`
pub(super) fn list_of(ids: &[u32]) -> String {
    let ids: Vec<_> = ids.iter().map(u32::to_string).collect();
    ids.join(", ")
}
