//! The repository's rules, read from its files: what `docs/architecture.md` and `CONTRIBUTING.md` promise and a program can check.
//! Needs nothing but the standard library, so that it runs first and in no time.

#[path = "tidy/doors.rs"]
mod doors;
#[path = "tidy/faults.rs"]
mod faults;
#[path = "tidy/gate.rs"]
mod gate;
#[path = "tidy/leaks.rs"]
mod leaks;
#[path = "tidy/metrics.rs"]
mod metrics;
#[path = "tidy/mutants.rs"]
mod mutants;
#[path = "tidy/reading.rs"]
mod reading;
#[path = "tidy/threats.rs"]
mod threats;

use std::collections::BTreeSet;

use reading::{
    code_of, dependencies, files, holds_word, in_backticks, lines_of, names_crate, read, root, section,
    sources, starts_path, texts,
};

/// Lines of a source file that nobody may exceed.
const LINES_MOST: usize = 500;
/// Lines of a source file outside tests that need a reason to be exceeded.
const LINES_USUAL: usize = 400;
/// Files beyond the usual length, each with its reason. The fewer the better.
const LONG_FILES: &[(&str, &str)] = &[];

/// A foreign crate, by the words its paths begin with, and the places that may know it.
struct Foreign {
    words: &'static [&'static str],
    rooms: &'static [&'static str],
}

/// The table "Foreign names" of `docs/architecture.md`.
const FOREIGN: &[Foreign] = &[
    Foreign {
        words: &["actix", "actix_rt"],
        rooms: &["actors/", "src/app/mod.rs"],
    },
    Foreign {
        words: &["warp"],
        rooms: &["src/api/", "src/webhooks/", "src/relay/door.rs"],
    },
    Foreign {
        words: &["tokio_postgres", "bb8", "bb8_postgres", "bb8_redis", "redis"],
        rooms: &["src/storage/"],
    },
    Foreign {
        words: &["lapin"],
        rooms: &["src/broker/"],
    },
    Foreign {
        words: &["hyper", "hyper_util", "hyper_rustls"],
        rooms: &[
            "src/api/connections.rs",
            "src/api/listener.rs",
            "src/config/secrets/vault.rs",
            "src/meta/",
            "src/relay/hop.rs",
            "src/trial/client.rs",
        ],
    },
    Foreign {
        words: &["ring"],
        rooms: &["src/storage/sealing.rs"],
    },
    Foreign {
        words: &["backoff"],
        rooms: &["actors/src/delays.rs"],
    },
];

/// Places that may know anything: they look at the system from outside, or are a system of their own.
const OUTSIDE: &[&str] = &["tests/", "benches/", "examples/", "simulator/", "fuzz/"];

/// What somebody left for later, spelled so that this file does not hold it.
const LOOSE_ENDS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
    concat!("dbg", "!"),
];

/// Directories of one machine, spelled so that this file does not hold them.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];

/// What `domain` may depend on: values and arithmetic.
const DOMAIN_DEPENDS_ON: &[&str] = &["base64", "hmac", "jiff", "sha2", "thiserror", "uuid"];
/// What the tests of `domain` may use besides.
const DOMAIN_TESTS_USE: &[&str] = &["criterion", "proptest", "serde_json", "toml"];

/// What the table "To add something" must answer, by words of its first column.
const TO_ADD: &[&str] = &[
    "a Meta error code",
    "a route",
    "an actor message",
    "a metric",
    "a migration",
    "an alert",
    "a golden billing case",
];

#[test]
fn foreign_names_stay_in_their_rooms() {
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| !is_outside(file)) {
        for (number, line) in code_of(file) {
            for foreign in FOREIGN {
                let known = foreign.rooms.iter().any(|room| file.starts_with(room));
                let named = foreign.words.iter().find(|word| names_crate(&line, word));
                if let (Some(word), false) = (named, known) {
                    found.push(format!(
                        "{file}:{number} names `{word}`, which only {:?} may know",
                        foreign.rooms
                    ));
                }
            }
        }
    }
    report(
        &found,
        "put the code into that room behind a function of ours, or change the table in docs/architecture.md and FOREIGN here",
    );
}

#[test]
fn only_the_settings_read_the_environment() {
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| !is_outside(file)) {
        let reads = code_of(file)
            .into_iter()
            .filter(|(_, line)| line.contains("env::var"));
        if !file.starts_with("src/config/") {
            found.extend(reads.map(|(number, _)| format!("{file}:{number} reads the environment")));
        }
    }
    report(
        &found,
        "add a setting to config/default.toml and src/config/sections.rs, and take it as an argument",
    );
}

#[test]
fn nothing_is_left_for_later() {
    let mut found = Vec::new();
    for file in texts() {
        for (number, line) in lines_of(&file) {
            for mark in LOOSE_ENDS.iter().filter(|mark| holds_word(&line, mark)) {
                found.push(format!("{file}:{number} holds {mark}"));
            }
        }
    }
    report(
        &found,
        "do it now, or open an issue and say in a sentence what the code does meanwhile",
    );
}

#[test]
fn files_are_short_enough_to_be_read() {
    let mut found = Vec::new();
    for file in sources() {
        let lines = lines_of(&file).len();
        let reason = LONG_FILES
            .iter()
            .find(|(name, _)| *name == file)
            .map(|(_, why)| *why);
        let is_test = ["tests/", "benches/", "examples/"]
            .iter()
            .any(|place| file.contains(place));
        let most = if is_test || reason.is_some_and(|why| !why.is_empty()) {
            LINES_MOST
        } else {
            LINES_USUAL
        };
        if lines > most {
            found.push(format!("{file} has {lines} lines, {most} at most"));
        }
        if reason.is_some() && lines <= LINES_USUAL {
            found.push(format!(
                "{file} has {lines} lines: it needs no line in LONG_FILES any more"
            ));
        }
    }
    report(
        &found,
        "split the file where a second purpose begins; as a last resort name it in LONG_FILES of tests/tidy.rs with a reason",
    );
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let mut found = Vec::new();
    for file in sources() {
        let first = lines_of(&file)
            .into_iter()
            .next()
            .map(|(_, line)| line)
            .unwrap_or_default();
        if !first.starts_with("//! ") {
            found.push(format!("{file} begins with {first:?}"));
        }
    }
    report(&found, "begin the file with a `//!` line that says why it exists");
}

#[test]
fn every_room_is_documented_and_on_the_map() {
    let map = section(&read("docs/architecture.md"), "## The map");
    let mut found = Vec::new();
    let rooms: Vec<String> = lines_of("src/lib.rs")
        .iter()
        .filter_map(|(_, line)| {
            line.strip_prefix("pub mod ")?
                .strip_suffix(';')
                .map(str::to_owned)
        })
        .collect();
    assert!(rooms.len() > 5, "src/lib.rs names no rooms");
    for room in rooms {
        let doors = [format!("src/{room}.rs"), format!("src/{room}/mod.rs")];
        let door = doors.iter().find(|door| root().join(door).is_file());
        if door.is_none_or(|door| !read(door).starts_with("//! ")) {
            found.push(format!("the room `{room}` has no //! line in its first line"));
        }
        if !holds_word(&map, &room) {
            found.push(format!(
                "the room `{room}` is not on the map in docs/architecture.md"
            ));
        }
    }
    report(
        &found,
        "say at the top of the room what it is for, and draw it on the map",
    );
}

#[test]
fn migrations_go_up_and_down_and_say_their_phase() {
    let list = read("src/storage/migrations.rs");
    let mut found = Vec::new();
    let (mut ups, mut downs) = (BTreeSet::new(), BTreeSet::new());
    for file in files().iter().filter_map(|file| file.strip_prefix("migrations/")) {
        if let Some(name) = file.strip_suffix(".up.sql") {
            ups.insert(name.to_owned());
        } else if let Some(name) = file.strip_suffix(".down.sql") {
            downs.insert(name.to_owned());
        } else if file != "README.md" {
            found.push(format!("migrations/{file} is neither .up.sql nor .down.sql"));
        }
    }
    found.extend(
        ups.symmetric_difference(&downs)
            .map(|name| format!("{name} lacks its .up.sql or its .down.sql")),
    );
    let mut last = 0;
    for name in &ups {
        let number: u32 = name
            .split('_')
            .next()
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(0);
        if number <= last {
            found.push(format!("{name} should have a number of its own, in four digits"));
        }
        last = number;
        let first = read(&format!("migrations/{name}.up.sql"))
            .lines()
            .next()
            .map(str::to_owned);
        let phases = ["-- phase: expand", "-- phase: backfill", "-- phase: contract"];
        if !phases.iter().any(|phase| first.as_deref() == Some(phase)) {
            found.push(format!("{name}.up.sql does not begin with one of {phases:?}"));
        }
        if !list.contains(&format!("{number} \"{name}\"")) {
            found.push(format!(
                "{name} is not number {number} of ALL in src/storage/migrations.rs"
            ));
        }
    }
    assert!(!ups.is_empty(), "there are no migrations");
    report(&found, "docs/migrations.md says how to add one");
}

#[test]
fn the_table_of_additions_is_complete_and_true() {
    let table = section(&read("docs/architecture.md"), "## To add something");
    let rows: Vec<&str> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .collect();
    let mut found = Vec::new();
    for wanted in TO_ADD {
        if !rows.iter().any(|row| row.starts_with(&format!("| {wanted} |"))) {
            found.push(format!("no row begins with `| {wanted} |`"));
        }
    }
    for row in &rows {
        let paths: Vec<&str> = in_backticks(row)
            .into_iter()
            .filter(|word| word.contains('/'))
            .collect();
        if paths.is_empty() {
            found.push(format!("a row names no path: {row}"));
        }
        let gone = paths.into_iter().filter(|path| !root().join(path).exists());
        found.extend(gone.map(|path| format!("`{path}` does not exist: {row}")));
    }
    report(
        &found,
        "mend the table `To add something` in docs/architecture.md",
    );
}

#[test]
fn documents_name_only_files_that_exist() {
    let tops: BTreeSet<String> = files()
        .iter()
        .filter_map(|file| file.split_once('/'))
        .map(|(top, _)| top.to_owned())
        .collect();
    let ignored: Vec<String> = lines_of(".gitignore")
        .iter()
        .filter_map(|(_, line)| line.strip_prefix('/').map(str::to_owned))
        .collect();
    let mut found = Vec::new();
    for file in texts().iter().filter(|file| file.ends_with(".md")) {
        for (number, line) in lines_of(file) {
            for path in in_backticks(&line) {
                let Some((top, _)) = path.split_once('/') else {
                    continue;
                };
                let is_ours = tops.contains(top) && !path.contains(['*', '{', '<', ' ', ':', '"']);
                let is_made_later =
                    path.contains("NNNN") || ignored.iter().any(|prefix| path.starts_with(prefix));
                if is_ours && !is_made_later && !root().join(path).exists() {
                    found.push(format!("{file}:{number}: `{path}` does not exist"));
                }
            }
        }
    }
    report(&found, "name the file where it is now");
}

#[test]
fn dependencies_run_one_way() {
    let mut found = Vec::new();
    for (section, name) in dependencies("domain/Cargo.toml") {
        let is_pure = DOMAIN_DEPENDS_ON.contains(&name.as_str());
        let is_for_tests = section == "dev-dependencies" && DOMAIN_TESTS_USE.contains(&name.as_str());
        if !is_pure && !is_for_tests {
            found.push(format!(
                "domain/Cargo.toml has `{name}` in [{section}]; domain is pure"
            ));
        }
    }
    for line in read("domain/Cargo.toml").lines() {
        if !line.trim_start().starts_with('#') && line.contains("\"serde\"") {
            found.push(format!("domain/Cargo.toml turns on serde: {line}"));
        }
    }
    let not_in_actors = [
        "malote",
        "simulator",
        "warp",
        "lapin",
        "tokio-postgres",
        "bb8",
        "redis",
        "hyper",
        "serde",
        "serde_json",
    ];
    for (section, name) in dependencies("actors/Cargo.toml") {
        if not_in_actors.contains(&name.as_str()) {
            found.push(format!(
                "actors/Cargo.toml has `{name}` in [{section}]; actors knows domain and its ports only"
            ));
        }
    }
    for (section, name) in dependencies("simulator/Cargo.toml") {
        if ["malote", "actors", "domain"].contains(&name.as_str()) {
            found.push(format!(
                "simulator/Cargo.toml has `{name}` in [{section}]; a witness must not share our code"
            ));
        }
    }
    for manifest in ["Cargo.toml", "domain/Cargo.toml", "simulator/Cargo.toml"] {
        if dependencies(manifest).iter().any(|(_, name)| name == "backoff") {
            found.push(format!("{manifest} has `backoff`; only actors may"));
        }
    }
    report(
        &found,
        "the way is: root package, actors, domain; see `The map` in docs/architecture.md",
    );
}

#[test]
fn nothing_names_a_directory_of_one_machine() {
    let mut found = Vec::new();
    for file in texts() {
        for (number, line) in lines_of(&file) {
            for path in MACHINE_PATHS.iter().filter(|path| starts_path(&line, path)) {
                found.push(format!("{file}:{number} names {path}"));
            }
        }
    }
    report(
        &found,
        "write the path from the root of the checkout, or as a setting",
    );
}

fn is_outside(file: &str) -> bool {
    OUTSIDE
        .iter()
        .any(|place| file.starts_with(place) || file.contains(&format!("/{place}")))
}

/// Fails with all findings at once.
fn report(found: &[String], what_to_do: &str) {
    assert!(found.is_empty(), "\n  {}\n{what_to_do}\n", found.join("\n  "));
}
