//! No secret is in the repository: every tracked file is searched for what looks like one, and canaries prove that each kind is found.

use std::path::Path;
use std::process::Command;

use crate::reading::{files, root};
use crate::report;

/// Lines that look like a secret and are none, each by its file and a part of it, with the reason.
const MADE_UP: &[(&str, &str, &str)] = &[
    (
        "dev/readiness",
        "a private key",
        "the pattern of a key's first line",
    ),
    (
        "dev/try-gate",
        "a planted key",
        "the first line alone, to see it found",
    ),
];

/// A kind of secret: its name, how it begins, what follows, and how much of that at least.
struct Kind {
    name: &'static str,
    start: &'static str,
    follows: fn(char) -> bool,
    least: usize,
}

fn is_token(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == '-'
}

fn is_capital(letter: char) -> bool {
    letter.is_ascii_uppercase() || letter.is_ascii_digit()
}

/// Secrets that show by how they begin. Spelled in two parts, so that this file holds none.
const KINDS: &[Kind] = &[
    Kind {
        name: "an access token of Meta",
        start: concat!("EA", "A"),
        follows: |letter| letter.is_ascii_alphanumeric(),
        least: 40,
    },
    Kind {
        name: "an API key of ours",
        start: concat!("ml", "t_"),
        follows: is_token,
        least: 32,
    },
    Kind {
        name: "a token of OpenBao or Vault",
        start: concat!("hv", "s."),
        follows: is_token,
        least: 20,
    },
    Kind {
        name: "a token of OpenBao",
        start: concat!("s", "."),
        follows: |letter| letter.is_ascii_alphanumeric(),
        least: 24,
    },
    Kind {
        name: "a token of GitHub",
        start: concat!("gh", "p_"),
        follows: is_token,
        least: 30,
    },
    Kind {
        name: "a token of GitHub",
        start: concat!("github", "_pat_"),
        follows: is_token,
        least: 30,
    },
    Kind {
        name: "a token of GitLab",
        start: concat!("glp", "at-"),
        follows: is_token,
        least: 18,
    },
    Kind {
        name: "a token of Slack",
        start: concat!("xo", "xb-"),
        follows: is_token,
        least: 20,
    },
    Kind {
        name: "an access key of Amazon",
        start: concat!("AK", "IA"),
        follows: is_capital,
        least: 16,
    },
    Kind {
        name: "a key of Google",
        start: concat!("AI", "za"),
        follows: is_token,
        least: 30,
    },
];

/// Names of fields whose value is a secret, when it is long and looks like chance.
const FIELDS: &[&str] = &[
    "password",
    "passwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "private_key",
];
/// Characters of a value that nobody types.
const CHANCE_LEAST: usize = 32;

#[test]
fn no_secret_is_in_the_repository() {
    let tracked = tracked();
    assert!(tracked.len() > 200, "only {} files are tracked", tracked.len());
    let mut found = Vec::new();
    for file in &tracked {
        found.extend(secrets_in_file(&root().join(file), file));
    }
    report(
        &found,
        "take it out, renew it wherever it opens a door (docs/security.md), and rewrite the commit that brought it; a made-up one is named in MADE_UP of tests/tidy/leaks.rs",
    );
}

#[test]
fn a_canary_of_each_kind_is_found() {
    let chance = "Zk3vQ8xLw2Rt7Yp1Bn5Mc9Hd4Gf6Js0Aq";
    let hexadecimal = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let mut canaries: Vec<String> = KINDS
        .iter()
        .map(|kind| {
            let follows: String = chance.to_uppercase().chars().cycle().take(kind.least).collect();
            format!("x = \"{}{follows}\"", kind.start)
        })
        .collect();
    canaries.push(format!("-----BEGIN RSA {} KEY-----", "PRIVATE"));
    canaries.push(format!("-----BEGIN {} KEY-----", "PRIVATE"));
    canaries.push(format!("amqp://malote:{}@broker:5672/", "hunter2hunter2"));
    canaries.push(format!("password = \"{chance}\""));
    canaries.push(format!("  \"client_secret\": \"{chance}\","));
    canaries.push(format!("TOKEN={hexadecimal}"));
    canaries.push(format!("k20260101:{hexadecimal}"));
    let directory = std::env::temp_dir().join(format!("malote-canary-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let file = directory.join("canaries");
    std::fs::write(&file, canaries.join("\n")).expect("written");
    let found = secrets_in_file(&file, "canaries");
    std::fs::remove_dir_all(&directory).expect("removed");
    for (number, canary) in canaries.iter().enumerate() {
        let place = format!("canaries:{} ", number + 1);
        let shown = &canary[..canary.len().min(12)];
        assert!(
            found.iter().any(|finding| finding.starts_with(&place)),
            "not found: {shown}...: {found:#?}"
        );
    }
    assert!(
        found.iter().all(|finding| !finding.contains("hunter2")),
        "a finding shows the secret"
    );
}

#[test]
fn what_is_no_secret_is_left_alone() {
    for line in [
        "password_file = \"/run/secrets/malote/redis\"",
        "amqp://{user}:{password}@{address}/",
        "postgresql://app_rw:$PGPASSWORD@127.0.0.1/",
        "token = \"the-token-of-a-test-that-everybody-may-read\"",
        "image: postgres@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ] {
        assert_eq!(secret_in(line), None, "{line}");
    }
}

/// Every file under version control; without it, every file.
fn tracked() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output();
    match listed {
        Ok(listed) if listed.status.success() && !listed.stdout.is_empty() => {
            let names = String::from_utf8_lossy(&listed.stdout).into_owned();
            let names = names.split('\0').filter(|name| root().join(name).is_file());
            names.map(str::to_owned).collect()
        }
        _ => files(),
    }
}

/// Searches a file of any kind, line by line. Gives where and what, never the secret.
fn secrets_in_file(path: &Path, name: &str) -> Vec<String> {
    // Checksums of packages, by the thousand.
    if name == "Cargo.lock" || name.ends_with("package-lock.json") {
        return Vec::new();
    }
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("cannot read {name}: {error}"));
    let text = String::from_utf8_lossy(&bytes);
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let is_made_up = MADE_UP
            .iter()
            .any(|(file, part, _)| *file == name && line.contains(part));
        if let (Some(kind), false) = (secret_in(line), is_made_up) {
            found.push(format!("{name}:{} looks like {kind}", index + 1));
        }
    }
    found
}

fn secret_in(line: &str) -> Option<&'static str> {
    let begins = KINDS
        .iter()
        .find(|kind| begins_with(line, kind))
        .map(|kind| kind.name);
    begins
        .or_else(|| {
            (line.contains("-----BEGIN ") && line.contains(concat!("PRIVATE ", "KEY-----")))
                .then_some("a private key")
        })
        .or_else(|| has_password_in_address(line).then_some("a password in an address"))
        .or_else(|| has_secret_field(line).then_some("the value of a secret"))
        .or_else(|| has_token_key(line).then_some("a key that wraps tokens"))
}

fn begins_with(line: &str, kind: &Kind) -> bool {
    line.match_indices(kind.start).any(|(at, _)| {
        let bounded = !line[..at]
            .ends_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.');
        let rest: Vec<char> = line[at + kind.start.len()..]
            .chars()
            .take_while(|&letter| (kind.follows)(letter))
            .collect();
        // Words joined by lines are names, not chance.
        bounded && rest.len() >= kind.least && rest.iter().any(char::is_ascii_digit)
    })
}

/// An address that spells a user's password out, before its host.
fn has_password_in_address(line: &str) -> bool {
    line.match_indices("://").any(|(at, _)| {
        let authority: &str = line[at + 3..]
            .split(|letter: char| letter == '/' || letter == '"' || letter.is_whitespace())
            .next()
            .unwrap_or_default();
        let Some((user, _)) = authority.rsplit_once('@') else {
            return false;
        };
        let password = user.split_once(':').map_or("", |(_, password)| password);
        password.len() >= 6 && !password.contains(['{', '$', '<', '*', '%', '@', '('])
    })
}

/// `name = "value"` where the name says secret and the value looks like chance.
fn has_secret_field(line: &str) -> bool {
    let Some((name, value)) = line.split_once(['=', ':']) else {
        return false;
    };
    let name = name.trim().trim_matches(['"', '\'']).to_ascii_lowercase();
    let is_secret = FIELDS.iter().any(|field| name.ends_with(field));
    let value = value
        .trim()
        .trim_end_matches([',', ';'])
        .trim_matches(['"', '\'']);
    is_secret && looks_like_chance(value)
}

fn looks_like_chance(value: &str) -> bool {
    let has = |kind: fn(&char) -> bool| value.chars().filter(kind).count() >= 4;
    let only = value
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || "+/=_-".contains(letter));
    only && value.len() >= CHANCE_LEAST && has(char::is_ascii_digit) && has(char::is_ascii_alphabetic)
}

/// `id:64 hexadecimal digits`, which is no digest.
fn has_token_key(line: &str) -> bool {
    line.match_indices(':').any(|(at, _)| {
        let digits = line[at + 1..].chars().take_while(char::is_ascii_hexdigit).count();
        let id = line[..at]
            .rsplit(|letter: char| !is_token(letter))
            .next()
            .unwrap_or_default();
        digits == 64 && !id.is_empty() && id != concat!("sha", "256")
    })
}
