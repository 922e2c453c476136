//! The decision as a table by area: for a terminal, and as Markdown.

use std::fmt::Write as _;

use super::{Finding, Record};

/// The table for a terminal.
pub fn terminal(record: &Record) -> String {
    let mut text = String::new();
    for (area, findings) in by_area(record) {
        let holds = findings
            .iter()
            .filter(|finding| finding.verdict != "fail")
            .count();
        // Writing to a String does not fail.
        let _ = writeln!(text, "{area} ({holds} of {})", findings.len());
        for finding in findings {
            let _ = writeln!(
                text,
                "  {:<6} {:<8} {:<28} {}",
                finding.verdict,
                finding.severity,
                finding.id,
                because(finding)
            );
        }
    }
    let _ = writeln!(text, "\n{}: {}", record.decision.to_uppercase(), open(record));
    text
}

/// The record for people, with places for what only they can add.
pub fn markdown(record: &Record) -> String {
    let mut text = format!(
        "# Go-live decision: {}\n\nCommit `{}`, sources `{}`, as of {}. {}. Computed by `malote gate run`; `malote gate verify` computes it again.\n",
        record.decision.to_uppercase(),
        record.commit,
        record.sources,
        record.decided_at,
        open(record)
    );
    for (area, findings) in by_area(record) {
        let _ = write!(
            text,
            "\n## {area}\n\n| control | severity | verdict | requires | owner |\n|---|---|---|---|---|\n"
        );
        for finding in findings {
            let _ = writeln!(
                text,
                "| {} | {} | {} {} | {} | {} |",
                finding.id,
                finding.severity,
                finding.verdict,
                because(finding),
                finding.requires,
                finding.owner
            );
        }
    }
    text
}

fn by_area(record: &Record) -> Vec<(&str, Vec<&Finding>)> {
    let mut areas: Vec<(&str, Vec<&Finding>)> = Vec::new();
    for finding in &record.findings {
        match areas.iter_mut().find(|(area, _)| *area == finding.area) {
            Some((_, findings)) => findings.push(finding),
            None => areas.push((&finding.area, vec![finding])),
        }
    }
    areas
}

fn because(finding: &Finding) -> String {
    match (&finding.because, &finding.waiver) {
        (Some(fault), Some(waiver)) => format!("{fault}; waived: {waiver}"),
        (Some(fault), None) => fault.clone(),
        (None, _) => String::new(),
    }
}

fn open(record: &Record) -> String {
    match record.open.len() {
        0 => "nothing is open".to_owned(),
        _ => format!("open: {}", record.open.join(", ")),
    }
}
