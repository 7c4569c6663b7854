//! ossec.conf, changed as text: what others wrote stays as it is, to the byte.

use std::path::Path;

use roxmltree::{Document, Node};

use super::xml::{self, NotXml, Rooted};

/// Around what is added at the end of the file. The empty line is part of it, so that a file without a line end
/// comes back without one.
const BEGIN: &str = "\n<!-- flowmeter: written by `flowmeter wazuh install`, taken out by `uninstall` -->\n";
const END: &str = "<!-- flowmeter: end -->\n";

/// The alias that the rules about silence know the command's output by.
pub const AGE_ALIAS: &str = "flowmeter-age";

/// A `<localfile>` block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Localfile {
    pub log_format: String,
    pub location: String,
    pub command: String,
    pub alias: String,
}

/// What of the configuration matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conf {
    pub localfiles: Vec<Localfile>,
    /// Paths of the lists that the last `<ruleset>` declares.
    pub lists: Vec<String>,
    pub rulesets: usize,
}

impl Conf {
    /// Reads ossec.conf or agent.conf.
    ///
    /// # Errors
    /// The first place where it is no XML.
    pub fn read(text: &str) -> Result<Self, NotXml> {
        let rooted = Rooted::new(text);
        let document = rooted.parse()?;
        let localfile = |node| {
            let part = |name| {
                xml::children(node, name)
                    .map(xml::text)
                    .next()
                    .unwrap_or_default()
            };
            Localfile {
                log_format: part("log_format"),
                location: part("location"),
                command: part("command"),
                alias: part("alias"),
            }
        };
        let rulesets = sections(&document, "ruleset");
        let declared = rulesets
            .last()
            .map(|node| xml::children(*node, "list").map(xml::text));
        Ok(Self {
            localfiles: sections(&document, "localfile")
                .into_iter()
                .map(localfile)
                .collect(),
            lists: declared.into_iter().flatten().collect(),
            rulesets: rulesets.len(),
        })
    }

    /// The block that has the agent read this file. Its location may be a pattern.
    pub fn reads(&self, file: &Path) -> Option<&Localfile> {
        self.localfiles.iter().find(|localfile| {
            let pattern = globset::Glob::new(&localfile.location);
            Path::new(&localfile.location) == file
                || pattern.is_ok_and(|pattern| pattern.compile_matcher().is_match(file))
        })
    }

    pub fn tells_age(&self) -> bool {
        self.localfiles
            .iter()
            .any(|localfile| localfile.alias == AGE_ALIAS)
    }
}

/// Elements of that name right below any root element.
fn sections<'a, 'input>(document: &'a Document<'input>, name: &str) -> Vec<Node<'a, 'input>> {
    let roots = document.root_element().children().filter(Node::is_element);
    roots.flat_map(|root| xml::children(root, name)).collect()
}

/// The line that declares a list. The comment tells it from one that somebody else wrote.
fn declaration(list: &str) -> String {
    format!("\n    <list>{list}</list><!-- flowmeter -->")
}

/// Declares a list in the last `<ruleset>`. A `<ruleset>` of its own would do harm: the last one replaces the
/// rule and decoder folders of those before. None: there is no `<ruleset>` with anything in it.
///
/// # Errors
/// The first place where the text is no XML.
pub fn with_list(text: &str, list: &str) -> Result<Option<String>, NotXml> {
    let rooted = Rooted::new(text);
    let document = rooted.parse()?;
    let last = sections(&document, "ruleset")
        .pop()
        .and_then(|node| node.last_element_child());
    let end = last.map(|node| Rooted::range(node).end);
    Ok(end
        .and_then(|end| text.split_at_checked(end))
        .map(|(before, after)| {
            let declaration = declaration(list);
            format!("{before}{declaration}{after}")
        }))
}

pub fn without_list(text: &str, list: &str) -> String {
    text.replacen(&declaration(list), "", 1)
}

/// Adds a section of the agent at the end, or puts it in place of the one that is there.
pub fn with_section(text: &str, blocks: &[Localfile]) -> String {
    let blocks: String = blocks.iter().map(block).collect();
    format!(
        "{}{BEGIN}<ossec_config>\n{blocks}</ossec_config>\n{END}",
        without_section(text)
    )
}

fn block(localfile: &Localfile) -> String {
    let frequency = if localfile.command.is_empty() { "" } else { "60" };
    let parts = [
        ("log_format", localfile.log_format.as_str()),
        ("location", &localfile.location),
        ("command", &localfile.command),
        ("alias", &localfile.alias),
        ("frequency", frequency),
    ];
    let part = |(name, value)| format!("    <{name}>{value}</{name}>\n");
    let parts = parts.into_iter().filter(|(_, value)| !value.is_empty()).map(part);
    format!("  <localfile>\n{}  </localfile>\n", parts.collect::<String>())
}

pub fn without_section(text: &str) -> String {
    let Some((before, rest)) = text.split_once(BEGIN) else {
        return text.to_owned();
    };
    match rest.split_once(END) {
        Some((_, after)) => format!("{before}{after}"),
        // Somebody has changed it: what is left is theirs.
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANAGER: &str = "<ossec_config>\n  <ruleset>\n    <list>etc/lists/a</list>\n    <rule_dir>etc/rules</rule_dir>\n  </ruleset>\n</ossec_config>";

    fn blocks() -> Vec<Localfile> {
        vec![Localfile {
            log_format: "json".to_owned(),
            location: "/var/log/netflow/netflow-wazuh.json".to_owned(),
            ..Localfile::default()
        }]
    }

    #[test]
    fn a_list_is_declared_in_the_last_ruleset_and_taken_out_again() {
        let two = format!("<ossec_config><ruleset><list>x</list></ruleset></ossec_config>\n{MANAGER}\n");
        let declared = with_list(&two, "etc/lists/b").unwrap().unwrap();
        let conf = Conf::read(&declared).unwrap();
        assert_eq!(
            (conf.rulesets, conf.lists),
            (2, vec!["etc/lists/a".to_owned(), "etc/lists/b".to_owned()])
        );
        assert_eq!(without_list(&declared, "etc/lists/b"), two);
        assert_eq!(with_list("<ossec_config></ossec_config>", "x").unwrap(), None);
    }

    #[test]
    fn a_section_is_added_once_and_taken_out_again() {
        for text in [MANAGER, "<ossec_config/>\n", "<ossec_config/>\n\n\n", ""] {
            let with = with_section(text, &blocks());
            assert_eq!(with_section(&with, &blocks()), with);
            assert_eq!(without_section(&with), text);
            assert_eq!(Conf::read(&with).unwrap().localfiles, blocks());
            let more = format!("{with}<!-- of somebody else -->\n");
            assert_eq!(
                without_section(&more),
                format!("{text}<!-- of somebody else -->\n")
            );
        }
    }

    #[test]
    fn a_file_is_read_by_its_name_or_by_a_pattern() {
        let conf = |location: &str| Conf {
            localfiles: vec![Localfile {
                location: location.to_owned(),
                ..Localfile::default()
            }],
            ..Conf::default()
        };
        let file = Path::new("/var/log/netflow/netflow-wazuh.json");
        assert!(conf("/var/log/netflow/netflow-wazuh.json").reads(file).is_some());
        assert!(conf("/var/log/netflow/*.json").reads(file).is_some());
        assert!(conf("/var/log/netflow/*.log").reads(file).is_none());
    }
}
