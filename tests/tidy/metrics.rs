//! Metrics by their names: what dashboards and alerts ask for is what the program registers.

use crate::reading::{files, is_of_word, read, sources};
use crate::report;

/// What tells of the backups, by the textfile of node_exporter.
const BESIDE_THE_PROGRAM: &str = "deploy/backup/status";

/// What the exposition adds to a registered name.
const ENDINGS: [&str; 4] = ["_total", "_bucket", "_sum", "_count"];

#[test]
fn dashboards_and_alerts_ask_for_metrics_that_exist() {
    let code: String = sources()
        .iter()
        .filter(|file| !file.starts_with("tests/"))
        .map(|file| read(file))
        .chain([read(BESIDE_THE_PROGRAM)])
        .collect();
    let is_registered = |name: &str| {
        let bare = ENDINGS.iter().find_map(|ending| name.strip_suffix(ending));
        let names = [name, bare.unwrap_or(name)];
        names.iter().any(|name| {
            let without_prefix = name.trim_start_matches("malote_");
            code.contains(&format!("\"{name}\"")) || code.contains(&format!("\"{without_prefix}\""))
        })
    };
    let mut found = Vec::new();
    let asking = files()
        .into_iter()
        .filter(|file| file.starts_with("dashboards/") || file.starts_with("alerts/"));
    for file in asking {
        for name in metrics_in(&read(&file)) {
            if !is_registered(&name) {
                found.push(format!("{file} asks for {name}, which nothing registers"));
            }
        }
    }
    found.dedup();
    report(
        &found,
        "a metric was renamed or never existed: mend the query, or the struct Metrics of its room",
    );
}

fn metrics_in(text: &str) -> Vec<String> {
    let starts = text.match_indices("malote_").map(|(at, _)| at);
    let mut names: Vec<String> = starts
        .filter(|&at| !text[..at].ends_with(is_of_word))
        .map(|at| {
            text[at..]
                .chars()
                .take_while(|&character| is_of_word(character))
                .collect()
        })
        .collect();
    names.sort();
    names.dedup();
    names
}
