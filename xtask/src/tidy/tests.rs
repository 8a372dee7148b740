//! Each rule is fed what it must find, and what it must leave alone.

use super::tree::{Crate, File, Tree};
use super::{Finding, arrows, prose, rules};

fn tree(files: &[(&str, &str)]) -> Tree {
    let files = files.iter().map(|(path, text)| File {
        path: (*path).to_owned(),
        bytes: text.len(),
        text: (*text).to_owned(),
    });
    Tree { files: files.collect(), ..Tree::default() }
}

fn member(name: &str, folder: &str, needs: &[&str]) -> Tree {
    let needs = needs.iter().map(|need| (*need).to_owned()).collect();
    let member = Crate { name: name.to_owned(), folder: folder.to_owned(), needs };
    Tree { crates: vec![member], ..Tree::default() }
}

/// The findings are exactly these, by their beginnings.
#[track_caller]
fn finds(findings: &[Finding], beginnings: &[&str]) {
    assert_eq!(findings.len(), beginnings.len(), "{findings:#?}");
    for (finding, beginning) in findings.iter().zip(beginnings) {
        assert!(finding.starts_with(beginning), "{finding} does not begin with {beginning}");
    }
}

#[test]
fn a_file_over_the_budget_is_found_and_its_tests_do_not_count() {
    let code = "fn a() {}\n".repeat(601);
    let tested = format!("{}#[cfg(test)]\nmod tests {{\n{code}}}\n", "fn a() {}\n".repeat(600));
    let tree = tree(&[
        ("crates/a/src/long.rs", &code),
        ("crates/a/src/fits.rs", &tested),
        ("crates/a/tests/all/x.rs", &code),
    ]);
    finds(&rules::long_files(&tree), &["crates/a/src/long.rs: 601 lines"]);
}

#[test]
fn a_big_file_is_found() {
    let big = "x".repeat(256 * 1024 + 1);
    finds(
        &rules::big_files(&tree(&[("a.bin", &big), ("Cargo.lock", &big)])),
        &["a.bin: 262145 bytes"],
    );
}

#[test]
fn unfinished_work_is_found_with_its_line() {
    let later = concat!("fn a() {}\n// TO", "DO later\n");
    let skipped = concat!("#[ign", "ore]\nfn a() {}\n");
    let tree = tree(&[("a.rs", later), ("b.rs", skipped), ("c.rs", "fn todo_list() {}\n")]);
    finds(&rules::leftovers(&tree), &["a.rs:2:", "b.rs:1:"]);
}

#[test]
fn a_clock_in_the_rules_is_found_and_elsewhere_is_not() {
    let clock = "let now = Instant::now();\n";
    let tree = tree(&[("crates/core/src/lock.rs", clock), ("crates/log/src/clock.rs", clock)]);
    finds(&rules::impure_core(&tree), &["crates/core/src/lock.rs:1:"]);
}

#[test]
fn an_arrow_that_points_outwards_is_found() {
    finds(
        &arrows::forbidden_arrows(&member(
            "tenure-log",
            "crates/log",
            &["tenure-core", "tenure-server"],
        )),
        &["crates/log/Cargo.toml: tenure-log must not need tenure-server"],
    );
}

#[test]
fn a_stranger_in_the_rules_is_found() {
    finds(
        &arrows::forbidden_arrows(&member("tenure-core", "crates/core", &["serde", "tokio"])),
        &["crates/core/Cargo.toml: the rules must not need tokio"],
    );
}

#[test]
fn a_crate_without_arrows_is_found() {
    finds(
        &arrows::forbidden_arrows(&member("tenure-new", "crates/new", &[])),
        &["crates/new/Cargo.toml: say in"],
    );
}

#[test]
fn a_second_crypto_library_is_found() {
    let packages = ["ring", "spring"].map(str::to_owned).into();
    finds(
        &arrows::forbidden_packages(&Tree { packages, ..Tree::default() }),
        &["Cargo.toml: ring came in"],
    );
}

#[test]
fn a_crate_missing_from_the_map_is_found() {
    let mut tree = member("tenure-log", "crates/log", &[]);
    finds(&prose::unmapped_crates(&tree), &["ARCHITECTURE.md: give `crates/log`"]);
    tree.files = self::tree(&[("ARCHITECTURE.md", "| `crates/log` | the log |")]).files;
    finds(&prose::unmapped_crates(&tree), &[]);
}

/// All guarantees but the first two, each with a test that exists.
fn other_guarantees() -> String {
    (3..=12).map(|number| format!("\n## G{number} · x\n\n- `it_holds`\n")).collect()
}

#[test]
fn a_guarantee_without_a_test_or_with_an_invented_one_is_found() {
    let page = format!(
        "# G\n\n## G1 · x\n\nProse.\n\n## G2 · y\n\n- `nobody_wrote_me` – why\n{}",
        other_guarantees()
    );
    let tree = tree(&[
        ("docs/guarantees.md", &page),
        ("crates/core/tests/all/x.rs", "#[test]\nfn it_holds() {}\n"),
    ]);
    finds(
        &prose::unproven_guarantees(&tree),
        &[
            "docs/guarantees.md: name the tests that try to break G1",
            "docs/guarantees.md: G2 names `nobody_wrote_me`",
        ],
    );
}

#[test]
fn a_guarantee_may_say_that_it_is_not_built_and_may_name_a_script() {
    let page = format!(
        "# G\n\n## G1 · x\n\nNot yet.\n\n## G2 · y\n\n- `fifo` – why\n{}",
        other_guarantees()
    );
    let tree = tree(&[
        ("docs/guarantees.md", &page),
        ("crates/core/tests/scripts/fifo.txt", "acquire a"),
        ("a.rs", "fn it_holds() {}"),
    ]);
    finds(&prose::unproven_guarantees(&tree), &[]);
}

#[test]
fn a_missing_guarantee_is_found() {
    let page = format!("# G\n\n## G1 · x\n\nNot yet.\n{}", other_guarantees());
    let tree = tree(&[("docs/guarantees.md", &page), ("a.rs", "fn it_holds() {}")]);
    finds(&prose::unproven_guarantees(&tree), &["docs/guarantees.md: write the section `## G2"]);
}

#[test]
fn a_route_without_documentation_is_found() {
    let code = "#[utoipa::path(get, path = \"/v1/stats\")]\n#[utoipa::path(\n    post, path = \"/v1/drain\")]";
    let tree =
        tree(&[("crates/server/src/routes.rs", code), ("docs/http-api.md", "| GET `/v1/stats` |")]);
    finds(&prose::undocumented(&tree), &["docs/http-api.md: document `/v1/drain`"]);
}

#[test]
fn an_event_that_operators_cannot_look_up_is_found_and_so_is_a_line_without_one() {
    let code = "tracing::info!(event = \"known\"); tracing::warn!(\n    event = \"new\", 1);\n\
                tracing::info!(event, x); use tracing::Level; tracing::error!(\"plain\");";
    let tree = tree(&[("crates/log/src/a.rs", code), ("docs/operating.md", "| `known` | info |")]);
    finds(
        &prose::undocumented(&tree),
        &["docs/operating.md: document the event `new`", "crates/log/src/a.rs: begin each"],
    );
}

#[test]
fn a_page_has_one_title() {
    let tree = tree(&[
        ("two.md", "# A\n# B\n"),
        ("none.md", "## A\n"),
        ("one.md", "# A\n```sh\n# a comment\n```\n"),
    ]);
    finds(&prose::broken_pages(&tree), &["two.md: 2 titles", "none.md: 0 titles"]);
}

#[test]
fn a_link_to_nothing_is_found_and_a_good_one_is_not() {
    let page = "# A\n[x](gone.md) [x](../README.md) [x](../README.md#two-words) [x](../README.md#three) [x](https://example.org/)\n";
    let tree = tree(&[
        ("docs/a.md", page),
        ("README.md", "# R\n## Two words\n"),
        ("docs/design/b.md", "# B\n[x](.)\n"),
    ]);
    finds(
        &prose::broken_pages(&tree),
        &[
            "docs/a.md: the link to gone.md leads nowhere",
            "docs/a.md: the link to ../README.md#three leads nowhere",
        ],
    );
}
