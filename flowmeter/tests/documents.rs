//! The pages lead where they say, and the pages of the detections say what the default configuration says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics fails"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()))
}

/// Markdown files of the folder and, for `docs` and `wazuh`, those below.
fn pages(folder: &Path, below: bool) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && below {
            pages.extend(pages_of(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages
}

fn pages_of(folder: &Path) -> Vec<PathBuf> {
    pages(folder, true)
}

fn all_pages() -> Vec<PathBuf> {
    let mut all = pages(root(), false);
    all.extend(pages_of(&root().join("docs")));
    all.extend(pages_of(&root().join("wazuh")));
    all
}

/// Lines outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// Targets of `[text](target)`; what stands in backquotes is no link.
fn links(text: &str) -> Vec<String> {
    let prose: Vec<&str> = prose(text).collect();
    let prose = prose.join("\n");
    let outside: String = prose.split('`').step_by(2).collect();
    let targets = outside.split("](").skip(1);
    targets
        .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .collect()
}

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
        .collect::<String>();
    kept.trim().replace(' ', "-")
}

fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

#[test]
fn every_link_between_pages_leads_to_a_file_and_a_heading_in_it() {
    let mut broken = Vec::new();
    let mut followed = 0;
    for page in all_pages() {
        let text = read(&page);
        for link in links(&text) {
            if link.contains("://") {
                continue;
            }
            followed += 1;
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            let there = target.exists() && (heading.is_empty() || anchors(&read(&target)).contains(heading));
            if !there {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "links that lead nowhere:\n{}",
        broken.join("\n")
    );
    assert!(followed > 50, "only {followed} links were found");
}

#[test]
fn every_page_is_reached_from_the_readme() {
    let mut reached = BTreeSet::new();
    let mut next = vec![root().join("README.md")];
    while let Some(page) = next.pop() {
        let Ok(page) = page.canonicalize() else {
            continue;
        };
        if page.extension().is_none_or(|extension| extension != "md") || !reached.insert(page.clone()) {
            continue;
        }
        for link in links(&read(&page)) {
            let path = link.split('#').next().unwrap_or_default();
            next.push(page.parent().unwrap().join(path));
        }
    }
    let missed: Vec<PathBuf> = pages_of(&root().join("docs"))
        .into_iter()
        .filter(|page| !reached.contains(&page.canonicalize().unwrap()))
        .collect();
    assert!(missed.is_empty(), "pages that no link leads to: {missed:?}");
}

/// `detect.DETECTOR.KEY` and its value as the default file has it, without line breaks, quotes and underscores.
fn defaults() -> BTreeMap<String, String> {
    let text = read(&root().join("packaging/flowmeter.toml"));
    let mut defaults = BTreeMap::new();
    let mut section = String::new();
    let mut lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            continue;
        }
        let (key, value) = line.split_once(" = ").unwrap();
        let mut value = value.to_owned();
        while value.starts_with('[') && !value.ends_with(']') {
            value = format!("{value} {}", lines.next().unwrap().trim());
        }
        if section.starts_with("detect.") {
            defaults.insert(format!("{section}.{key}"), value.replace(['"', '_'], ""));
        }
    }
    defaults
}

#[test]
fn the_pages_of_the_detections_have_every_setting_with_its_default() {
    let mut documented = BTreeMap::new();
    for page in pages_of(&root().join("docs/detections")) {
        for line in read(&page).lines() {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            if let [_, key, value, ..] = cells[..]
                && key.starts_with("`detect.")
            {
                let plain = |cell: &str| cell.trim_matches('`').to_owned();
                assert!(
                    documented.insert(plain(key), plain(value)).is_none(),
                    "{key} stands twice"
                );
            }
        }
    }
    assert_eq!(documented, defaults());
}
