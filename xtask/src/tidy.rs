//! The house rules that no compiler knows. At most ten; each message says the remedy.
//!
//! A rule is a pure function of the [`Tree`]; only [`Tree::read`] touches the world.

mod arrows;
mod prose;
mod rules;
mod tree;

#[cfg(test)]
mod tests;

use std::path::Path;

use crate::Outcome;
use tree::Tree;

/// One finding: where, and what to do about it.
type Finding = String;

type Rule = fn(&Tree) -> Vec<Finding>;

/// Every rule with its name.
const RULES: [(&str, Rule); 10] = [
    ("files are short", rules::long_files),
    ("tracked files are small", rules::big_files),
    ("nothing is left for later", rules::leftovers),
    ("the rules touch no world", rules::impure_core),
    ("dependencies point one way", arrows::forbidden_arrows),
    ("one crypto library", arrows::forbidden_packages),
    ("every crate is on the map", prose::unmapped_crates),
    ("every guarantee has its tests", prose::unproven_guarantees),
    ("every route and every event is documented", prose::undocumented),
    ("pages have one title and no dead link", prose::broken_pages),
];

/// Checks the working tree against every rule.
///
/// # Errors
/// All findings of all rules, one per line.
pub(crate) fn run(root: &Path) -> Outcome {
    let tree = Tree::read(root)?;
    let mut findings = Vec::new();
    for (name, rule) in RULES {
        findings.extend(rule(&tree).into_iter().map(|finding| format!("{finding}  [{name}]")));
    }
    if findings.is_empty() {
        println!("{} files keep {} rules", tree.files.len(), RULES.len());
        return Ok(());
    }
    Err(findings.join("\n"))
}
