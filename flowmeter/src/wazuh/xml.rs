//! Wazuh's configuration files as XML.
//!
//! They have several roots, which XML does not allow, so a root is put around them. Wazuh's own parser is laxer
//! still (it takes `\<` and a lone `&`): a file that cannot be read here need not be wrong, but is not changed.

use std::fmt;

use roxmltree::{Document, Error, Node};

const OPEN: &str = "<root>";
const CLOSE: &str = "</root>";

/// The text of a file with a root around it.
#[derive(Debug)]
pub struct Rooted(String);

/// Where and why a text is no XML.
#[derive(Debug, PartialEq, Eq)]
pub struct NotXml {
    /// From 1 on.
    pub line: u32,
    pub column: u32,
    pub problem: String,
}

impl fmt::Display for NotXml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.problem)
    }
}

impl Rooted {
    pub fn new(text: &str) -> Self {
        Self(format!("{OPEN}{text}{CLOSE}"))
    }

    /// # Errors
    /// The first place where it is no XML.
    pub fn parse(&self) -> Result<Document<'_>, NotXml> {
        Document::parse(&self.0).map_err(|error| self.place(&error))
    }

    /// The part of the file that a node takes up, in bytes.
    pub fn range(node: Node<'_, '_>) -> std::ops::Range<usize> {
        let range = node.range();
        range.start.saturating_sub(OPEN.len())..range.end.saturating_sub(OPEN.len())
    }

    fn place(&self, error: &Error) -> NotXml {
        let place = error.pos();
        let shift = if place.row == 1 { OPEN.len() } else { 0 };
        let shift = u32::try_from(shift).unwrap_or_default();
        // What is left open in the file is only noticed at the end of the root around it.
        let problem = error.to_string();
        let problem = problem.split(" at ").next().unwrap_or_default();
        let lines = u32::try_from(self.0.lines().count()).unwrap_or(u32::MAX);
        NotXml {
            line: place.row.min(lines),
            column: place.col.saturating_sub(shift).max(1),
            problem: problem
                .replace("'root'", "the end of the file")
                .replace('\n', " "),
        }
    }
}

/// The elements of one name right below a node.
pub fn children<'a, 'input: 'a>(
    node: Node<'a, 'input>,
    name: &str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.has_tag_name(name))
}

/// The text of an element, without the space around it; comments inside do not count.
pub fn text(node: Node<'_, '_>) -> String {
    let parts: String = node
        .children()
        .filter(Node::is_text)
        .filter_map(|part| part.text())
        .collect();
    parts.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        Rooted::new(text).parse().unwrap_err().to_string()
    }

    #[test]
    fn several_roots_are_one_file() {
        let file = Rooted::new("<!-- x -->\n<a>1</a>\n<a> 2<!-- y -->3 </a>\n");
        let document = file.parse().unwrap();
        let found: Vec<_> = children(document.root_element(), "a").map(text).collect();
        assert_eq!(found, ["1", "23"]);
    }

    #[test]
    fn a_range_is_one_of_the_file() {
        let text = "ab<a>1</a>";
        let file = Rooted::new(text);
        let document = file.parse().unwrap();
        let node = children(document.root_element(), "a").next().unwrap();
        assert_eq!(&text[Rooted::range(node)], "<a>1</a>");
    }

    #[test]
    fn a_mistake_is_told_where_it_stands_in_the_file() {
        assert_eq!(problem("<a>\n  <b>1</c>\n</a>"), "2:7: expected 'b' tag, not 'c'");
        assert_eq!(problem("<a></b>"), "1:4: expected 'a' tag, not 'b'");
        assert_eq!(
            problem("<a>\n<b>1</b>\n"),
            "3:1: expected 'a' tag, not the end of the file"
        );
    }
}
