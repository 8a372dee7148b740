//! Rules about what is written for readers.

use std::collections::BTreeSet;

use super::Finding;
use super::tree::{File, Tree};

const MAP: &str = "ARCHITECTURE.md";
const GUARANTEES: &str = "docs/guarantees.md";
const ROUTES: &str = "docs/http-api.md";
const OPERATING: &str = "docs/operating.md";
/// Guarantees are numbered from 1 to this.
const GUARANTEES_LAST: usize = 12;
/// What a section says whose subject is not built yet.
const NOT_YET: &str = "Not yet";

/// Crates that the map does not show.
pub(super) fn unmapped_crates(tree: &Tree) -> Vec<Finding> {
    let map = tree.file(MAP).map_or("", |file| file.text.as_str());
    let missing =
        tree.crates.iter().filter(|member| !map.contains(&format!("`{}`", member.folder)));
    missing
        .map(|member| format!("{MAP}: give `{}` its line in the code map", member.folder))
        .collect()
}

/// Guarantees without a test, and tests that a guarantee names but nobody wrote.
///
/// A guarantee is a heading `## G1 · …`; its tests are the list lines that begin with a name in backticks. One whose
/// subject is not built yet says so.
pub(super) fn unproven_guarantees(tree: &Tree) -> Vec<Finding> {
    let page = tree.file(GUARANTEES).map_or("", |file| file.text.as_str());
    let written = test_names(tree);
    let mut findings = Vec::new();
    for number in 1..=GUARANTEES_LAST {
        let Some(section) =
            page.split("\n## ").find(|section| section.starts_with(&format!("G{number} ")))
        else {
            findings.push(format!("{GUARANTEES}: write the section `## G{number} · …`"));
            continue;
        };
        let named: Vec<&str> = section.lines().filter_map(named_test).collect();
        if named.is_empty() && !section.contains(NOT_YET) {
            findings.push(format!("{GUARANTEES}: name the tests that try to break G{number}"));
        }
        for name in named.into_iter().filter(|name| !written.contains(name)) {
            findings.push(format!("{GUARANTEES}: G{number} names `{name}`, which no test is called: write it or correct the name"));
        }
    }
    findings
}

/// Routes that the reference does not show, events that the operators' page does not show, and log lines without one.
pub(super) fn undocumented(tree: &Tree) -> Vec<Finding> {
    [undocumented_routes(tree), undocumented_events(tree)].concat()
}

fn undocumented_events(tree: &Tree) -> Vec<Finding> {
    let page = tree.file(OPERATING).map_or("", |file| file.text.as_str());
    let mut findings = Vec::new();
    let speakers = ["crates/log/src/", "crates/server/src/"];
    for file in tree.rust().filter(|file| speakers.iter().any(|at| file.path.starts_with(at))) {
        for line in file.text.split("tracing::").skip(1).filter_map(log_line) {
            let Some(rest) = line.strip_prefix("event") else {
                findings.push(format!("{}: begin each log line with its `event`", file.path));
                continue;
            };
            // One that is in a variable is found where it is written.
            let name = rest.strip_prefix(" = \"").and_then(|rest| rest.split('"').next());
            if name.is_some_and(|name| !page.contains(&format!("`{name}`"))) {
                let name = name.unwrap_or_default();
                findings.push(format!("{OPERATING}: document the event `{name}`"));
            }
        }
    }
    findings
}

/// What is said in a log line, if that is what follows.
fn log_line(rest: &str) -> Option<&str> {
    let levels = ["error!(", "warn!(", "info!(", "debug!("];
    levels.iter().find_map(|level| rest.strip_prefix(level)).map(str::trim_start)
}

fn undocumented_routes(tree: &Tree) -> Vec<Finding> {
    let page = tree.file(ROUTES).map_or("", |file| file.text.as_str());
    let server = tree.rust().filter(|file| file.path.starts_with("crates/server/src/"));
    let routes: BTreeSet<&str> = server.flat_map(|file| routes(&file.text)).collect();
    let missing = routes.into_iter().filter(|route| !page.contains(&format!("/{route}`")));
    missing.map(|route| format!("{ROUTES}: document `/{route}`")).collect()
}

/// Pages with more or less than one title, and links to nothing.
pub(super) fn broken_pages(tree: &Tree) -> Vec<Finding> {
    tree.pages().flat_map(|page| broken_page(page, tree)).collect()
}

fn broken_page(page: &File, tree: &Tree) -> Vec<Finding> {
    let prose = without_code(&page.text);
    let mut findings = Vec::new();
    let titles = prose.lines().filter(|line| line.starts_with("# ")).count();
    if titles != 1 {
        findings
            .push(format!("{}: {titles} titles: one `# Title` at the top, `##` below", page.path));
    }
    for target in links(&prose).filter(|target| !leads_somewhere(target, page, tree)) {
        findings.push(format!(
            "{}: the link to {target} leads nowhere: correct or delete it",
            page.path
        ));
    }
    findings
}

/// Names of functions and of scripts: anything that a guarantee may name.
fn test_names(tree: &Tree) -> BTreeSet<&str> {
    let functions = tree.rust().flat_map(|file| {
        let words = file.text.lines().filter_map(|line| line.trim_start().split_once("fn "));
        words.filter_map(|(_, rest)| rest.split(['(', '<']).next())
    });
    let scripts = tree.files.iter().filter(|file| file.path.contains("/tests/scripts/"));
    let scripts = scripts.filter_map(|file| file.path.rsplit('/').next()?.split('.').next());
    functions.chain(scripts).collect()
}

fn named_test(line: &str) -> Option<&str> {
    line.strip_prefix("- `")?.split('`').next()
}

/// Paths in the annotations that the OpenAPI document is generated from.
fn routes(text: &str) -> impl Iterator<Item = &str> {
    let annotations = text.split("path = \"/").skip(1);
    annotations.filter_map(|rest| rest.split('"').next())
}

/// The page without fenced code, in which `#` and `](` mean other things.
fn without_code(text: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        if !fenced && !is_fence {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

fn links(prose: &str) -> impl Iterator<Item = &str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

fn leads_somewhere(target: &str, page: &File, tree: &Tree) -> bool {
    if target.starts_with("https://")
        || target.starts_with("http://")
        || target.starts_with("mailto:")
    {
        return true;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { page.path.clone() } else { joined(&page.path, path) };
    let file = tree.file(&path);
    let is_folder = || tree.files.iter().any(|file| file.path.starts_with(&format!("{path}/")));
    match file {
        Some(file) => anchor.is_empty() || has_heading(&file.text, anchor),
        None => anchor.is_empty() && is_folder(),
    }
}

/// `target` as seen from the page at `from`.
fn joined(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn has_heading(text: &str, anchor: &str) -> bool {
    let prose = without_code(text);
    prose
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .any(|rest| slug(rest.trim_start_matches('#')) == anchor)
}

/// The anchor that hosts of Markdown give to a heading.
fn slug(heading: &str) -> String {
    let kept = heading
        .trim()
        .chars()
        .filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter.to_ascii_lowercase() }).collect()
}
