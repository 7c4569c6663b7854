//! Rules as they stand in a rule file, checked as the manager checks them when it loads them.
//!
//! Source: `Rules_OP_ReadRules` of `src/analysisd/rules.c`, Wazuh 4.14.7.

use std::fmt;

use roxmltree::Node;

use super::{
    event::STATIC,
    pattern::Pattern,
    xml::{self, Rooted},
};

#[derive(Clone, Debug)]
pub struct Rule {
    pub id: u32,
    /// 0 to 16; an event of level 0 is neither written nor indexed.
    pub level: u8,
    /// With `$(field)` for a field's value.
    pub description: String,
    /// Of the file and of the rule, one after the other.
    pub groups: String,
    /// ATT&CK techniques.
    pub techniques: Vec<String>,
    /// Rules that have to match first; none: it stands at the root.
    pub parents: Vec<u32>,
    /// All have to hold.
    pub conditions: Vec<Condition>,
    pub frequency: Option<Frequency>,
    pub place: Place,
}

/// A file and a line of it, from 1 on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub line: u32,
}

#[derive(Clone, Debug)]
pub enum Condition {
    DecodedAs(String),
    /// A field of the event. An absent field fails even a negated pattern.
    Field {
        name: String,
        text: String,
        pattern: Pattern,
        negate: bool,
    },
    /// The line itself.
    Log {
        text: String,
        pattern: Pattern,
        negate: bool,
    },
    List {
        path: String,
        field: String,
        lookup: Lookup,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    Key,
    NotKey,
    Address,
    NotAddress,
}

/// Fires at the `count`th event of rule `of` within `seconds` that agrees in the fields `same`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frequency {
    pub of: u32,
    pub count: usize,
    pub seconds: u64,
    pub same: Vec<&'static str>,
}

/// What a mistake in a rule leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The manager does not start.
    Fatal,
    /// The manager warns, and goes on without the rule.
    Dropped,
    /// Wazuh may well take it; it cannot be judged here.
    NotUnderstood,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub place: Place,
    pub consequence: Consequence,
    pub problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let consequence = match self.consequence {
            Consequence::Fatal => "the manager does not start with it",
            Consequence::Dropped => "the manager drops the rule",
            Consequence::NotUnderstood => "not understood here",
        };
        let Place { file, line } = &self.place;
        write!(f, "{file}:{line}: {}: {consequence}", self.problem)
    }
}

/// The rules of a file, in its order, and the mistakes in it. A rule with a mistake is left out.
pub fn read(file: &str, text: &str) -> (Vec<Rule>, Vec<Mistake>) {
    let mut rules = Vec::new();
    let mut mistakes = Vec::new();
    let place = |line| Place {
        file: file.to_owned(),
        line,
    };
    let rooted = Rooted::new(text);
    let document = match rooted.parse() {
        Ok(document) => document,
        Err(error) => {
            mistakes.push(Mistake {
                place: place(error.line),
                consequence: Consequence::Fatal,
                problem: error.problem,
            });
            return (rules, mistakes);
        }
    };
    let line = |node: Node<'_, '_>| document.text_pos_at(node.range().start).row;
    for group in document.root_element().children().filter(Node::is_element) {
        let mut mistake = |node, consequence, problem| {
            mistakes.push(Mistake {
                place: place(line(node)),
                consequence,
                problem,
            });
        };
        let (true, Some(name)) = (group.has_tag_name("group"), group.attribute("name")) else {
            let problem = format!("<{}> is no <group name=\"...\">", group.tag_name().name());
            mistake(group, Consequence::Fatal, problem);
            continue;
        };
        for node in group.children().filter(Node::is_element) {
            match rule(node, name, place(line(node))) {
                Ok(rule) => rules.push(rule),
                Err((consequence, problem)) => {
                    let id = node.attribute("id").unwrap_or("without an id");
                    mistake(node, consequence, format!("rule {id}: {problem}"));
                }
            }
        }
    }
    (rules, mistakes)
}

type Fault = (Consequence, String);

fn fatal(problem: impl Into<String>) -> Fault {
    (Consequence::Fatal, problem.into())
}

fn number<T: std::str::FromStr>(node: Node<'_, '_>, name: &str) -> Result<Option<T>, Fault> {
    let parse = |text: &str| {
        let wrong = || fatal(format!("{name}=\"{text}\" is out of range"));
        text.parse().map_err(|_| wrong())
    };
    node.attribute(name).map(parse).transpose()
}

fn rule(node: Node<'_, '_>, group: &str, place: Place) -> Result<Rule, Fault> {
    if !node.has_tag_name("rule") {
        return Err(fatal(format!(
            "<{}> stands where a <rule> should",
            node.tag_name().name()
        )));
    }
    let id = number(node, "id")?.ok_or_else(|| fatal("it has no id"))?;
    let level = number(node, "level")?.ok_or_else(|| fatal("it has no level"))?;
    if level > 16 {
        return Err(fatal(format!("level {level} is above 16")));
    }
    let mut rule = Rule {
        id,
        level,
        description: String::new(),
        groups: group.to_owned(),
        techniques: Vec::new(),
        parents: Vec::new(),
        conditions: Vec::new(),
        frequency: None,
        place,
    };
    let mut same = Vec::new();
    let mut matched = None;
    for element in node.children().filter(Node::is_element) {
        let text = xml::text(element);
        match element.tag_name().name() {
            "description" => rule.description = text,
            "group" => rule.groups.push_str(&text),
            "mitre" => rule
                .techniques
                .extend(xml::children(element, "id").map(xml::text)),
            "if_sid" => rule.parents = ids(&text)?,
            "if_matched_sid" => matched = ids(&text)?.first().copied(),
            "same_srcip" | "same_source_ip" => same.push("srcip"),
            "same_dstip" => same.push("dstip"),
            "same_srcport" => same.push("srcport"),
            "same_dstport" => same.push("dstport"),
            "same_protocol" => same.push("protocol"),
            // What is told of a match, not what matches.
            "options" | "info" | "cve" => {}
            name => rule.conditions.push(condition(name, &text, element)?),
        }
    }
    if rule.description.is_empty() {
        return Err(fatal("it has no description"));
    }
    let count: Option<usize> = number(node, "frequency")?;
    if let Some(count) = count
        && !(2..=9999).contains(&count)
    {
        return Err(fatal(format!("frequency {count} is not from 2 to 9999")));
    }
    rule.frequency = match (matched, count) {
        (Some(of), Some(count)) => Some(Frequency {
            of,
            count,
            seconds: number(node, "timeframe")?.unwrap_or(360),
            same,
        }),
        (None, None) if same.is_empty() => None,
        // Wazuh takes `if_matched_group` and others too.
        _ => {
            let problem = "a frequency without <if_matched_sid>, or the other way round".to_owned();
            return Err((Consequence::NotUnderstood, problem));
        }
    };
    if let Some(frequency) = &rule.frequency
        && rule.parents.is_empty()
    {
        rule.parents.push(frequency.of);
    }
    Ok(rule)
}

/// Rule ids, separated by commas or spaces.
fn ids(text: &str) -> Result<Vec<u32>, Fault> {
    text.split([',', ' '])
        .filter(|id| !id.is_empty())
        .map(|id| {
            id.parse()
                .map_err(|_| (Consequence::Dropped, format!("`{id}` is no rule id")))
        })
        .collect()
}

fn condition(name: &str, text: &str, element: Node<'_, '_>) -> Result<Condition, Fault> {
    let negate = element.attribute("negate") == Some("yes");
    let not_understood = |what: String| (Consequence::NotUnderstood, what);
    let pattern = |default: &str| match element.attribute("type").unwrap_or(default) {
        "pcre2" => Pattern::pcre2(text).map_err(|why| fatal(format!("<{name}> does not compile: {why}"))),
        "osmatch" => Ok(Pattern::osmatch(text)),
        kind => Err(not_understood(format!(
            "<{name}> of type {kind}; write it as pcre2"
        ))),
    };
    let field = |name: &str, pattern| Condition::Field {
        name: name.to_owned(),
        text: text.to_owned(),
        pattern,
        negate,
    };
    Ok(match name {
        "decoded_as" => Condition::DecodedAs(text.to_owned()),
        "field" => {
            let of = element
                .attribute("name")
                .ok_or_else(|| fatal("a <field> has no name"))?;
            if STATIC.contains(&of) {
                return Err(fatal(format!("<field name=\"{of}\"> is a static field: <{of}>")));
            }
            field(of, pattern("osregex")?)
        }
        "srcip" | "dstip" => field(name, Pattern::network(text).map_err(fatal)?),
        "srcport" | "dstport" | "protocol" => field(name, pattern("osmatch")?),
        "match" | "regex" => Condition::Log {
            text: text.to_owned(),
            pattern: pattern(if name == "match" { "osmatch" } else { "osregex" })?,
            negate,
        },
        "list" => Condition::List {
            path: text.to_owned(),
            field: element
                .attribute("field")
                .ok_or_else(|| fatal("a <list> has no field"))?
                .to_owned(),
            lookup: match element.attribute("lookup").unwrap_or("match_key") {
                "match_key" => Lookup::Key,
                "not_match_key" => Lookup::NotKey,
                "address_match_key" => Lookup::Address,
                "not_address_match_key" => Lookup::NotAddress,
                lookup => return Err(not_understood(format!("lookup=\"{lookup}\""))),
            },
        },
        name => return Err(not_understood(format!("<{name}>"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(rule: &str) -> String {
        let (rules, mistakes) = read(
            "x.xml",
            &format!("<group name=\"g,\">\n<!-- c -->\n{rule}</group>\n"),
        );
        assert_eq!((rules.len(), mistakes.len()), (0, 1), "{rules:?} {mistakes:?}");
        mistakes[0].to_string()
    }

    #[test]
    fn what_keeps_the_manager_from_starting_is_told() {
        for (rule, problem) in [
            (
                "<rule id=\"7\" level=\"17\"><description>d</description></rule>",
                "x.xml:3: rule 7: level 17 is above 16: the manager does not start with it",
            ),
            (
                "<rule id=\"7\" level=\"3\"></rule>",
                "x.xml:3: rule 7: it has no description: the manager does not start with it",
            ),
            (
                "<rule id=\"7\" level=\"3\" frequency=\"1\"><if_matched_sid>1</if_matched_sid><description>d</description></rule>",
                "x.xml:3: rule 7: frequency 1 is not from 2 to 9999: the manager does not start with it",
            ),
            (
                "<rule id=\"7\" level=\"3\"><field name=\"srcip\">1</field><description>d</description></rule>",
                "x.xml:3: rule 7: <field name=\"srcip\"> is a static field: <srcip>: the manager does not start with it",
            ),
            (
                "<rule id=\"7\" level=\"3\"><field name=\"a\" type=\"pcre2\">(</field><description>d</description></rule>",
                "x.xml:3: rule 7: <field> does not compile: unclosed group: the manager does not start with it",
            ),
            (
                "<rule id=\"7\" level=\"3\">\n<description>d</descriptio></rule>",
                "x.xml:4: expected 'description' tag, not 'descriptio': the manager does not start with it",
            ),
        ] {
            assert_eq!(told(rule), problem);
        }
    }

    #[test]
    fn what_cannot_be_judged_here_is_told_as_that() {
        assert_eq!(
            told(
                "<rule id=\"7\" level=\"3\"><field name=\"a\">\\.+</field><description>d</description></rule>"
            ),
            "x.xml:3: rule 7: <field> of type osregex; write it as pcre2: not understood here"
        );
        assert_eq!(
            told("<rule id=\"7\" level=\"3\"><weekday>monday</weekday><description>d</description></rule>"),
            "x.xml:3: rule 7: <weekday>: not understood here"
        );
    }
}
