//! Faults on demand are in builds of the tests alone.

use crate::reading::{files, read};
use crate::report;

const FEATURE: &str = "fault-injection";

#[test]
fn nothing_that_is_shipped_is_built_with_faults() {
    let mut found = Vec::new();
    let shipped = |file: &String| {
        file.starts_with("deploy/")
            || file.starts_with("src/commands/")
            || (file.starts_with(".github/") && file.contains("release"))
    };
    for file in files().into_iter().filter(shipped) {
        if read_lossy(&file).contains(FEATURE) {
            found.push(format!("{file} names the feature {FEATURE}"));
        }
    }
    for target in ["demo", "bench"] {
        let recipe = recipe_of(target);
        assert!(!recipe.is_empty(), "the Makefile has no target {target}");
        if recipe.contains(FEATURE) || recipe.contains("$(TESTS)") {
            found.push(format!("`make {target}` builds with faults: {recipe}"));
        }
    }
    report(&found, "the faults of tests must not be in what people run");
}

#[test]
fn the_feature_is_nobodys_default() {
    let mut found = Vec::new();
    for manifest in ["Cargo.toml", "actors/Cargo.toml"] {
        let text = read(manifest);
        assert!(
            text.lines().any(|line| line.starts_with(FEATURE)),
            "{manifest} has no {FEATURE}"
        );
        let defaults = text
            .lines()
            .find(|line| line.trim_start().starts_with("default ="));
        if defaults.is_some_and(|line| line.contains(FEATURE)) {
            found.push(format!("{manifest} has the feature {FEATURE} by default"));
        }
    }
    report(&found, "the faults of tests must be asked for by name");
}

fn read_lossy(file: &str) -> String {
    let bytes = std::fs::read(crate::reading::root().join(file)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The lines of a target of the Makefile.
fn recipe_of(target: &str) -> String {
    let text = read("Makefile");
    let from = text
        .lines()
        .skip_while(|line| !line.starts_with(&format!("{target}:")));
    let recipe = from.skip(1).take_while(|line| line.starts_with('\t'));
    recipe.collect::<Vec<_>>().join("\n")
}
