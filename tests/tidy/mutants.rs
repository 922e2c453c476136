//! Mutants by their headers: each says which guard it breaks, and names a test that exists.

use crate::reading::{files, read, sources};
use crate::report;

/// How many guards are broken at least.
const MUTANTS_LEAST: usize = 15;

#[test]
fn every_mutant_names_its_guard_and_a_test_that_exists() {
    let tests: String = sources().iter().map(|file| read(file)).collect();
    let mut found = Vec::new();
    let patches: Vec<String> = files()
        .into_iter()
        .filter(|file| file.starts_with("tests/mutants/"))
        .collect();
    for file in &patches {
        let text = read(file);
        let field = |name: &str| text.lines().take(3).find_map(|line| line.strip_prefix(name));
        if field("Guard: ").is_none_or(str::is_empty) {
            found.push(format!("{file} does not begin with `Guard: ...`"));
        }
        let command = field("Test: ").unwrap_or_default();
        let test = command.rsplit([' ', ':']).next().unwrap_or_default();
        if !command.starts_with("cargo test ") || !tests.contains(&format!("fn {test}(")) {
            found.push(format!("{file} names a test that does not exist: {command:?}"));
        }
        for line in text.lines().filter_map(|line| line.strip_prefix("+++ b/")) {
            if !files().iter().any(|known| known == line) {
                found.push(format!("{file} changes {line}, which does not exist"));
            }
        }
    }
    if patches.len() < MUTANTS_LEAST {
        found.push(format!("there are {} mutants", patches.len()));
    }
    report(
        &found,
        "dev/mutants --help says what a patch needs; write it anew when its guard moved",
    );
}
