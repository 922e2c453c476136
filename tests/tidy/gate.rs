//! The gate of the main branch: what must have passed before anything is merged.

use crate::reading::{holds_word, indented_block, read};
use crate::report;

const WORKFLOW: &str = ".github/workflows/ci.yml";
const NIGHTLY: &str = ".github/workflows/nightly.yml";
const RULES: &str = ".github/rulesets/main.json";
/// The jobs without which nothing is merged.
const REQUIRED: [&str; 2] = ["checks", "e2e"];

#[test]
fn end_to_end_tests_guard_every_merge() {
    let workflow = read(WORKFLOW);
    let job = indented_block(&workflow, "  e2e:");
    let after_step = job.lines().skip_while(|line| line.trim() != "- run: make e2e");
    let mut rest_of_step = after_step.skip(1);
    let holds = [
        (!job.is_empty(), "there is no job named e2e"),
        (
            job.lines().any(|line| line.trim() == "- run: make e2e"),
            "the job e2e has no step `- run: make e2e`",
        ),
        (
            rest_of_step
                .next()
                .is_none_or(|line| line.trim().is_empty() || line.starts_with("      - ")),
            "the step `- run: make e2e` has conditions of its own",
        ),
        (
            !job.lines().any(|line| line.starts_with("    if:")),
            "the job e2e is skipped under a condition",
        ),
        (
            !workflow.contains("continue-on-error"),
            "something may fail unnoticed (continue-on-error)",
        ),
        (
            !workflow.contains("|| true"),
            "something swallows a failure (|| true)",
        ),
        (
            workflow.contains("pull_request:"),
            "it does not run on pull requests",
        ),
        (
            !workflow.contains("paths-ignore:") && !workflow.contains("paths:"),
            "it does not run on every change",
        ),
    ];
    let found: Vec<String> = holds
        .iter()
        .filter(|(holds, _)| !holds)
        .map(|(_, otherwise)| format!("{WORKFLOW}: {otherwise}"))
        .collect();
    report(
        &found,
        "end-to-end tests that may fail guard nothing: restore the job",
    );
}

#[test]
fn the_main_branch_requires_every_job() {
    let workflow = read(WORKFLOW);
    let rules: String = read(RULES).split_whitespace().collect();
    let mut found = Vec::new();
    if !rules.contains("\"enforcement\":\"active\"") {
        found.push("it is not active".to_owned());
    }
    if !rules.contains("\"bypass_actors\":[]") {
        found.push("somebody may pass it by (bypass_actors)".to_owned());
    }
    let required = rules.split_once("\"required_status_checks\":[");
    let required = required.map_or("", |(_, rest)| rest.split(']').next().unwrap_or_default());
    for job in REQUIRED {
        if !required.contains(&format!("\"context\":\"{job}\"")) {
            found.push(format!("it does not require {job}"));
        }
        if indented_block(&workflow, &format!("  {job}:")).is_empty() {
            found.push(format!(
                "{job} is no job of {WORKFLOW}, so nothing could ever be merged"
            ));
        }
    }
    for rule in ["pull_request", "non_fast_forward", "deletion"] {
        if !rules.contains(&format!("\"type\":\"{rule}\"")) {
            found.push(format!("it lacks the rule {rule}"));
        }
    }
    let found: Vec<String> = found.iter().map(|what| format!("{RULES}: {what}")).collect();
    report(
        &found,
        "restore the requirement; a change that cannot pass the checks is not ready",
    );
}

#[test]
fn make_test_runs_what_the_jobs_run() {
    let (makefile, workflow) = (read("Makefile"), read(WORKFLOW));
    let test = makefile
        .lines()
        .find(|line| line.starts_with("test:"))
        .unwrap_or_default();
    let mut found = Vec::new();
    for target in ["lint", "unit", "e2e"] {
        if !makefile
            .lines()
            .any(|line| line.starts_with(&format!("{target}:")))
        {
            found.push(format!("the Makefile has no target {target}"));
        }
        if !holds_word(test, target) {
            found.push(format!("`make test` leaves {target} out"));
        }
        if !workflow.contains(&format!("- run: make {target}\n")) {
            found.push(format!("no job of {WORKFLOW} runs `make {target}`"));
        }
    }
    report(
        &found,
        "`make test` on a desk and the workflow are the same checks",
    );
}

#[test]
fn the_nightly_workflow_runs_what_make_nightly_runs() {
    let (makefile, workflow) = (read("Makefile"), read(NIGHTLY));
    let named = ["NIGHTLY :=", "DRILLS :="].map(|name| {
        let line = makefile.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().split_whitespace()
    });
    let parts: Vec<&str> = named.into_iter().flatten().collect();
    let matrix = workflow
        .split_once("part: [")
        .and_then(|(_, rest)| rest.split(']').next())
        .unwrap_or_default();
    let jobs: Vec<&str> = matrix.split(',').map(str::trim).collect();
    let mut found: Vec<String> = parts
        .iter()
        .filter(|part| !jobs.contains(part))
        .map(|part| format!("{NIGHTLY} leaves {part} out"))
        .collect();
    if parts.is_empty() || !workflow.contains("- run: make ${{ matrix.part }}\n") {
        found.push(format!("{NIGHTLY} runs nothing"));
    }
    report(
        &found,
        "what only runs where somebody remembers it is not run: name it in the workflow's matrix",
    );
}
