//! The threat model: each abuse case names the tests that prove its defence, and they exist.

use std::collections::BTreeSet;

use crate::reading::{in_backticks, read, section, sources};
use crate::report;

const MODEL: &str = "docs/threat-model.md";
/// Fewer cases than this, and somebody has emptied the table.
const CASES_LEAST: usize = 15;

#[test]
fn each_abuse_case_names_tests_that_exist() {
    let model = read(MODEL);
    let tests = tests();
    let rows = cases(&model);
    let mut found = Vec::new();
    if rows.len() < CASES_LEAST {
        found.push(format!("{MODEL} has {} abuse cases", rows.len()));
    }
    for row in rows {
        let case = row.split('|').nth(1).unwrap_or_default().trim().to_owned();
        let proofs = in_backticks(row.rsplit('|').nth(1).unwrap_or_default());
        if proofs.is_empty() {
            found.push(format!("no test proves: {case}"));
        }
        let gone = proofs.iter().filter(|proof| !tests.contains(**proof));
        found.extend(gone.map(|proof| format!("no test is named {proof}, which is to prove: {case}")));
    }
    report(
        &found,
        "name the test that goes red when the defence is gone, or move the case to what is left to the installation",
    );
}

/// The lines of the table "Abuse cases", without its head.
fn cases(model: &str) -> Vec<String> {
    let table = section(model, "## Abuse cases");
    let rows = table.lines().filter(|line| line.starts_with('|'));
    rows.skip(2).map(str::to_owned).collect()
}

/// Every function that bears a test's attribute.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in sources() {
        let mut announced = false;
        for line in read(&file).lines().map(str::trim) {
            let function = line
                .split("fn ")
                .nth(1)
                .and_then(|rest| rest.split(['(', '<']).next());
            match function {
                Some(name) if announced => {
                    names.insert(name.to_owned());
                    announced = false;
                }
                _ => announced |= line.starts_with("#[") && line.contains("test"),
            }
        }
    }
    names
}
