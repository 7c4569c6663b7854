//! Which rule an event fires, found as the manager finds it.
//!
//! Source: `OS_AddChild` of `rules_list.c`, `OS_CheckIfRuleMatch` of `rules.c` and `Search_LastSids` of
//! `eventinfo.c` in `src/analysisd`, Wazuh 4.14.7. Left out: what no rule of this pack uses (users, URLs, times of
//! day, groups as parents), and that the manager counts for each agent by its own clock.

use std::collections::BTreeMap;

use super::{
    event::{Event, STATIC},
    list::List,
    rule::{self, Condition, Consequence, Frequency, Lookup, Mistake, Rule},
    verdict::{Alert, Tried, Verdict, expand, list_of},
};

/// Wazuh's own rule that the pack builds on: the outputs of commands.
const STOCK: &str = r#"<group name="ossec,"><rule id="530" level="0"><match>^ossec: output: </match>
<description>Wazuh process monitoring rules.</description></rule></group>"#;

const STOCK_FILE: &str = "Wazuh's own rules";

/// Rules in the order in which they are tried, and what fired before.
#[derive(Debug)]
pub struct Engine {
    rules: Vec<Rule>,
    roots: Vec<Node>,
    lists: BTreeMap<String, List>,
    history: Vec<Fired>,
}

/// A rule's place below a parent. A rule with several parents has a place below each.
#[derive(Debug)]
struct Node {
    rule: usize,
    children: Vec<Node>,
}

#[derive(Debug)]
struct Fired {
    id: u32,
    at: u64,
    event: Event,
    /// The level of a frequency rule that has counted it.
    counted: u8,
}

impl Engine {
    /// Takes rules in the order of their files, and the lists that ossec.conf declares.
    pub fn new(rules: Vec<Rule>, lists: BTreeMap<String, List>) -> (Self, Vec<Mistake>) {
        let mut engine = Self {
            rules: Vec::new(),
            roots: Vec::new(),
            lists,
            history: Vec::new(),
        };
        let mut mistakes = Vec::new();
        let (stock, _) = rule::read(STOCK_FILE, STOCK);
        for rule in stock.into_iter().chain(rules) {
            if let Err(problem) = engine.add(&rule) {
                mistakes.push(Mistake {
                    place: rule.place,
                    consequence: Consequence::Dropped,
                    problem: format!("rule {}: {problem}", rule.id),
                });
            }
        }
        (engine, mistakes)
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    fn add(&mut self, rule: &Rule) -> Result<(), String> {
        if let Some(first) = self.rules.iter().find(|other| other.id == rule.id) {
            let place = &first.place;
            return Err(format!("its id is taken by {}:{}", place.file, place.line));
        }
        for condition in &rule.conditions {
            if let Condition::List { path, .. } = condition
                && !self.lists.contains_key(path)
            {
                return Err(format!("the list {path} is not declared in ossec.conf"));
            }
        }
        let index = self.rules.len();
        self.rules.push(rule.clone());
        if rule.parents.is_empty() {
            insert(&mut self.roots, index, &self.rules);
            return Ok(());
        }
        let mut placed = false;
        for parent in &rule.parents {
            placed |= insert_below(&mut self.roots, *parent, index, &self.rules);
        }
        if placed {
            return Ok(());
        }
        self.rules.pop();
        Err(format!(
            "its parent {} is not there, or comes later",
            list_of(&rule.parents)
        ))
    }

    /// Tries an event that came at `at`, in seconds; it counts for the frequency rules of later ones.
    pub fn apply(&mut self, event: &Event, at: u64) -> Verdict {
        let mut tried = Vec::new();
        let found = self
            .roots
            .iter()
            .find_map(|node| self.try_node(node, event, at, &mut tried));
        let Some(rule) = found.and_then(|index| self.rules.get(index)) else {
            return Verdict { fired: None, tried };
        };
        let alert = Alert {
            id: rule.id,
            level: rule.level,
            description: expand(&rule.description, event),
        };
        if let Some(frequency) = rule.frequency.clone() {
            let level = rule.level;
            for earlier in self.earlier(&frequency, level, event, at) {
                if let Some(earlier) = self.history.get_mut(earlier) {
                    earlier.counted = level;
                }
            }
        }
        if self.rules.iter().any(|rule| counts(rule, alert.id)) {
            self.history.push(Fired {
                id: alert.id,
                at,
                event: event.clone(),
                counted: 0,
            });
        }
        Verdict {
            fired: Some(alert),
            tried,
        }
    }

    /// The rule at `node`, or below it, that fires.
    fn try_node(&self, node: &Node, event: &Event, at: u64, tried: &mut Vec<Tried>) -> Option<usize> {
        let rule = self.rules.get(node.rule)?;
        let failed = rule
            .conditions
            .iter()
            .find_map(|condition| self.failure(condition, event))
            .or_else(|| self.too_few(rule, event, at));
        let matched = failed.is_none();
        // That an event is no output of a command is nothing to tell.
        if matched || rule.place.file != STOCK_FILE {
            tried.push(Tried { id: rule.id, failed });
        }
        if !matched {
            return None;
        }
        node.children
            .iter()
            .find_map(|child| self.try_node(child, event, at, tried))
            .or(Some(node.rule))
    }

    /// Why a condition does not hold, in words.
    fn failure(&self, condition: &Condition, event: &Event) -> Option<String> {
        match condition {
            Condition::DecodedAs(decoder) => (event.decoder != Some(decoder.as_str()))
                .then(|| format!("the line is not one for the decoder {decoder}")),
            Condition::Field {
                name,
                text,
                pattern,
                negate,
            } => {
                let Some(value) = value(event, name) else {
                    return Some(format!("{name} is absent"));
                };
                let not = if *negate { "matches" } else { "does not match" };
                (pattern.matches(value) == *negate).then(|| format!("{name} is {value}, which {not} {text}"))
            }
            Condition::Log {
                text,
                pattern,
                negate,
            } => {
                let not = if *negate { "matches" } else { "does not match" };
                (pattern.matches(&event.log) == *negate).then(|| format!("the line {not} {text}"))
            }
            Condition::List { path, field, lookup } => {
                let Some(value) = value(event, field) else {
                    return Some(format!("{field} is absent"));
                };
                let list = self.lists.get(path)?;
                let (holds, is) = match lookup {
                    Lookup::Key => (list.has(value), "is not"),
                    Lookup::NotKey => (!list.has(value), "is"),
                    Lookup::Address => (list.covers(value), "is not"),
                    Lookup::NotAddress => (!list.covers(value), "is"),
                };
                (!holds).then(|| format!("{field} {value} {is} in {path}"))
            }
        }
    }

    fn too_few(&self, rule: &Rule, event: &Event, at: u64) -> Option<String> {
        let frequency = rule.frequency.as_ref()?;
        let seen = self.earlier(frequency, rule.level, event, at).len() + 1;
        (seen < frequency.count).then(|| {
            let Frequency {
                of, count, seconds, ..
            } = frequency;
            format!("{seen} of {count} events of {of} within {seconds} s")
        })
    }

    /// The earlier events that a frequency rule counts together with this one, as many as it needs.
    fn earlier(&self, frequency: &Frequency, level: u8, event: &Event, at: u64) -> Vec<usize> {
        let same = |fired: &Fired| {
            frequency.same.iter().all(|name| {
                let value = event.static_field(name);
                value.is_some() && value == fired.event.static_field(name)
            })
        };
        self.history
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, fired)| fired.id == frequency.of)
            .take_while(|(_, fired)| at.saturating_sub(fired.at) <= frequency.seconds)
            .filter(|(_, fired)| same(fired))
            // What made the rule fire once does not make it fire again.
            .take_while(|(_, fired)| fired.counted < level)
            .map(|(index, _)| index)
            .take(frequency.count - 1)
            .collect()
    }
}

fn counts(rule: &Rule, id: u32) -> bool {
    rule.frequency
        .as_ref()
        .is_some_and(|frequency| frequency.of == id)
}

fn value<'a>(event: &'a Event, name: &str) -> Option<&'a str> {
    if STATIC.contains(&name) {
        event.static_field(name)
    } else {
        event.field(name)
    }
}

/// Behind every rule of the same or a higher level; level 0 is the highest.
fn insert(nodes: &mut Vec<Node>, index: usize, rules: &[Rule]) {
    let rank = |index: usize| match rules.get(index).map_or(0, |rule| rule.level) {
        0 => 99,
        level => level,
    };
    let place = nodes.partition_point(|node| rank(node.rule) >= rank(index));
    nodes.insert(
        place,
        Node {
            rule: index,
            children: Vec::new(),
        },
    );
}

fn insert_below(nodes: &mut [Node], parent: u32, index: usize, rules: &[Rule]) -> bool {
    let mut placed = false;
    for node in nodes {
        if rules.get(node.rule).is_some_and(|rule| rule.id == parent) {
            insert(&mut node.children, index, rules);
            return true;
        }
        placed |= insert_below(&mut node.children, parent, index, rules);
    }
    placed
}
