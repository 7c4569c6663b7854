//! Rule ids in all rule files of a host, found without reading them as XML: Wazuh takes files that are none.

use anyhow::Result;

use super::host::Host;

/// Folders with rules: Wazuh's own and the operator's.
const FOLDERS: [&str; 2] = ["ruleset/rules", "etc/rules"];

/// File, line and id of every rule, in the order in which Wazuh reads them. Overwriting ones are left out.
///
/// # Errors
/// If a file cannot be read.
pub(super) fn of_host(host: &Host) -> Result<Vec<(String, usize, u32)>> {
    let mut files: Vec<_> = FOLDERS.iter().flat_map(|folder| host.xml_files(folder)).collect();
    files.sort_by_key(|file| file.rsplit('/').next().map(str::to_owned));
    let mut found = Vec::new();
    for file in files {
        let text = host.read(&file)?.unwrap_or_default();
        found.extend(
            of_text(&text)
                .into_iter()
                .map(|(line, id)| (file.clone(), line, id)),
        );
    }
    Ok(found)
}

fn of_text(text: &str) -> Vec<(usize, u32)> {
    let text = without_comments(text);
    let mut found = Vec::new();
    for (start, _) in text.match_indices("<rule ") {
        let (before, rest) = text.split_at(start);
        let tag = rest.split('>').next().unwrap_or_default();
        if tag.contains("overwrite=\"yes\"") {
            continue;
        }
        let id = tag
            .split_once(" id=\"")
            .and_then(|(_, rest)| rest.split('"').next());
        if let Some(id) = id.and_then(|id| id.parse().ok()) {
            found.push((before.matches('\n').count() + 1, id));
        }
    }
    found
}

/// The same with nothing but line ends in comments.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("<!--") {
        out.push_str(before);
        let (inside, after) = comment.split_once("-->").unwrap_or((comment, ""));
        out.extend(inside.matches('\n'));
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_found_with_their_lines_and_comments_are_not() {
        let text = "<group name=\"x\">\n<!-- <rule id=\"1\" level=\"3\">\n-->\n<rule id=\"2\" level=\"3\">\n<match>\\<</match>\n\
                    <rule level=\"3\" id=\"3\" overwrite=\"yes\">\n<rule\tid=\"9\">\n<rule level=\"3\" id=\"4\"></group>\n";
        assert_eq!(of_text(text), [(4, 2), (8, 4)]);
    }
}
