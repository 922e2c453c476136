//! What can be said of a migration's text without a database. `squawk` says more about locks; this knows our own rules.

use super::directives::{Directives, Phase, without_comments};
use crate::storage::migrations::Migration;

/// What an expand must not do, in words that begin or make up a statement: programs of the previous release would notice.
const NOT_IN_EXPAND: &[(&str, &str)] = &[
    ("drop table", "drops a table"),
    ("drop column", "drops a column"),
    ("rename", "renames something"),
    ("truncate", "empties a table"),
    (
        "set not null",
        "forbids what the previous program may still write",
    ),
    (" type ", "changes the type of a column"),
];
/// Lines to tick that a checklist has at least.
const STEPS_LEAST: usize = 4;
/// What a rollback cannot do without.
const CHECKLIST_NAMES: &[&str] = &["backup", "malote migrate down", "verify"];

/// Something that is wrong with a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub name: String,
    /// What.
    pub problem: String,
}

/// Reads all migrations against our own rules; `checklists` is the text of `docs/migrations.md`.
pub fn lint(list: &[Migration], checklists: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut last = 0;
    for migration in list {
        let mut problems = problems_of(migration, checklists);
        if migration.version <= last {
            problems.push(format!("version {} does not follow {last}", migration.version));
        }
        last = migration.version;
        findings.extend(problems.into_iter().map(|problem| Finding {
            name: migration.name.to_owned(),
            problem,
        }));
    }
    findings
}

fn problems_of(migration: &Migration, checklists: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let directives = match Directives::read(migration.up) {
        Ok(directives) => directives,
        Err(problem) => return vec![problem],
    };
    let text = plain(migration.up);
    if plain(migration.down).is_empty() {
        problems.push("its down does nothing; take back what up makes".to_owned());
    }
    if directives.phase == Phase::Expand {
        for statement in text
            .split(';')
            .filter(|statement| statement.contains("alter table") || starts_destroying(statement))
        {
            let found = NOT_IN_EXPAND
                .iter()
                .filter(|(words, _)| statement.contains(words));
            problems
                .extend(found.map(|(_, what)| {
                    format!("an expand {what}: that is a contract's work, a release later")
                }));
        }
    }
    if text.contains("concurrently") && directives.in_transaction {
        problems.push("CONCURRENTLY needs `-- transaction: off`".to_owned());
    }
    if !directives.in_transaction {
        problems.extend(problems_outside_of_transactions(migration, &text));
    }
    if directives.is_critical {
        problems.extend(problem_of_checklist(migration.name, checklists));
    }
    problems
}

fn starts_destroying(statement: &str) -> bool {
    let statement = statement.trim_start();
    statement.starts_with("drop table") || statement.starts_with("truncate")
}

fn problems_outside_of_transactions(migration: &Migration, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if migration.up.contains("$$") || text.contains("begin") {
        problems.push(
            "without a transaction, statements are split at semicolons: no functions, no blocks".to_owned(),
        );
    }
    let statements = text
        .split(';')
        .map(str::trim)
        .filter(|statement| !statement.is_empty());
    for statement in statements {
        let may_repeat = statement.contains("if not exists")
            || statement.contains("if exists")
            || statement.starts_with("alter table");
        if !may_repeat {
            problems.push(format!(
                "without a transaction, a run may repeat what it did: say IF [NOT] EXISTS in {statement:?}"
            ));
        }
    }
    problems
}

fn problem_of_checklist(name: &str, checklists: &str) -> Option<String> {
    let heading = format!("### Rollback of {name}");
    let section: Vec<&str> = checklists
        .lines()
        .skip_while(|line| line.trim() != heading)
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .collect();
    if section.is_empty() {
        return Some(format!(
            "it is critical, and docs/migrations.md has no section {heading:?}"
        ));
    }
    let steps = section.iter().filter(|line| line.starts_with("- [ ] ")).count();
    if steps < STEPS_LEAST {
        return Some(format!(
            "its rollback checklist has {steps} steps; {STEPS_LEAST} at least"
        ));
    }
    let text = section.join("\n").to_lowercase();
    let lacking = CHECKLIST_NAMES.iter().find(|word| !text.contains(**word))?;
    Some(format!("its rollback checklist does not say {lacking:?}"))
}

/// The statements in lower case, with one space between words.
fn plain(sql: &str) -> String {
    without_comments(sql)
        .to_lowercase()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(up: &'static str, checklists: &str) -> Vec<String> {
        let migration = Migration {
            version: 1,
            name: "0001_x",
            up,
            down: "SELECT 1",
        };
        lint(&[migration], checklists)
            .into_iter()
            .map(|finding| finding.problem)
            .collect()
    }

    #[test]
    fn an_expand_that_takes_away_is_found() {
        for up in [
            "-- phase: expand\nALTER TABLE a\n  DROP COLUMN b;",
            "-- phase: expand\nDROP TABLE a;",
            "-- phase: expand\nALTER TABLE a ALTER b TYPE bigint;",
            "-- phase: expand\nALTER TABLE a ALTER b SET NOT NULL;",
            "-- phase: expand\nALTER TABLE a RENAME b TO c;",
        ] {
            assert_eq!(problems(up, "").len(), 1, "{up}: {:?}", problems(up, ""));
        }
        assert!(
            problems(
                "-- phase: expand\nCREATE TABLE a (type text); -- DROP TABLE b;",
                ""
            )
            .is_empty()
        );
    }

    #[test]
    fn concurrent_work_runs_outside_of_transactions_and_may_repeat() {
        let inside = "-- phase: expand\nCREATE INDEX CONCURRENTLY IF NOT EXISTS a ON b (c);";
        assert!(problems(inside, "")[0].contains("transaction: off"));
        let once = "-- phase: expand\n-- transaction: off\nCREATE INDEX CONCURRENTLY a ON b (c);";
        assert!(problems(once, "")[0].contains("EXISTS"));
    }

    #[test]
    fn a_critical_one_needs_its_rollback_checklist() {
        let up = "-- phase: contract\n-- requires-app: 0.2.0\n-- critical: yes\nALTER TABLE a DROP COLUMN b;";
        assert!(problems(up, "# Other")[0].contains("no section"));
        let short = "### Rollback of 0001_x\n- [ ] Take a backup.\n";
        assert!(problems(up, short)[0].contains("1 steps"));
        let vague = "### Rollback of 0001_x\n- [ ] a\n- [ ] a backup\n- [ ] verify\n- [ ] d\n";
        assert!(problems(up, vague)[0].contains("malote migrate down"));
        let whole = vague.replace("- [ ] d", "- [ ] malote migrate down --to 0");
        assert!(problems(up, &whole).is_empty());
    }

    #[test]
    fn a_missing_way_back_and_a_wrong_order_are_found() {
        let one = Migration {
            version: 2,
            name: "0002_y",
            up: "-- phase: expand\nSELECT 1",
            down: "-- nothing",
        };
        let found = lint(
            &[
                one,
                Migration {
                    version: 2,
                    down: "SELECT 1",
                    ..one
                },
            ],
            "",
        );
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
