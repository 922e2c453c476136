//! Reading the repository's files for its rules: lists of files, words in lines, tables, manifests.

use std::path::{Path, PathBuf};

/// The root of the checkout.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads a file of the repository.
pub(crate) fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("cannot read {file}: {error}"))
}

/// Every file of the repository, by its path from the root.
pub(crate) fn files() -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(directory) = waiting.pop() {
        let entries = std::fs::read_dir(root().join(&directory)).expect("a readable directory");
        for entry in entries {
            let entry = entry.expect("a directory entry");
            let name = entry.file_name().into_string().expect("a name in UTF-8");
            let path = directory.join(&name);
            let kind = entry.file_type().expect("a kind of file");
            let is_hidden = name.starts_with('.') && ![".github", ".ci"].contains(&name.as_str());
            if kind.is_dir()
                && !is_hidden
                && !["target", "node_modules", "__pycache__"].contains(&name.as_str())
            {
                waiting.push(path);
            } else if kind.is_file() {
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file of the repository.
pub(crate) fn sources() -> Vec<String> {
    let found: Vec<String> = files().into_iter().filter(|file| file.ends_with(".rs")).collect();
    assert!(found.len() > 100, "only {} source files were found", found.len());
    found
}

/// Files that people write, without those that tools lock or that hold recorded data.
pub(crate) fn texts() -> Vec<String> {
    let endings = [
        ".rs", ".md", ".toml", ".sql", ".yml", ".yaml", ".json", ".py", ".sh", ".html",
    ];
    let others = ["Makefile", "dev/", ".ci/", "deploy/", ".gitignore"];
    files()
        .into_iter()
        .filter(|file| {
            endings.iter().any(|ending| file.ends_with(ending))
                || others.iter().any(|other| file.starts_with(other))
        })
        .filter(|file| !file.contains("/secrets/") && !file.contains("/fixtures/"))
        .filter(|file| {
            std::fs::read(root().join(file)).is_ok_and(|bytes| std::str::from_utf8(&bytes).is_ok())
        })
        .collect()
}

/// The lines of a file with their numbers.
pub(crate) fn lines_of(file: &str) -> Vec<(usize, String)> {
    read(file)
        .lines()
        .map(str::to_owned)
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .collect()
}

/// The lines of a source file without their comments.
pub(crate) fn code_of(file: &str) -> Vec<(usize, String)> {
    lines_of(file)
        .into_iter()
        .map(|(number, line)| {
            let code = if line.trim_start().starts_with("//") {
                ""
            } else {
                line.split(" // ").next().unwrap_or_default()
            };
            (number, code.to_owned())
        })
        .collect()
}

/// Whether a character can be part of a name.
pub(crate) fn is_of_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Where a word stands by itself in a text.
fn places<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let after = text[at + word.len()..].chars().next();
        let bounded = word.ends_with(|last: char| !is_of_word(last));
        !text[..at].ends_with(is_of_word) && (bounded || !after.is_some_and(is_of_word))
    })
}

/// Whether a word stands by itself in a text.
pub(crate) fn holds_word(text: &str, word: &str) -> bool {
    places(text, word).next().is_some()
}

/// Whether a line of code has a path that begins with this crate, or imports it.
pub(crate) fn names_crate(line: &str, name: &str) -> bool {
    places(line, name).any(|at| {
        let (before, after) = (&line[..at], &line[at + name.len()..]);
        let is_ours = before
            .strip_suffix("::")
            .is_some_and(|parent| parent.ends_with(|last| is_of_word(last) || last == '>'));
        let is_imported = before.trim_end().ends_with("use") || before.trim_end().ends_with("extern crate");
        let is_path = after.starts_with("::") && !before.ends_with('.');
        !is_ours && (is_imported || is_path)
    })
}

/// Whether a path of this beginning stands in the text, and not merely the middle of another one.
pub(crate) fn starts_path(text: &str, path: &str) -> bool {
    text.match_indices(path)
        .any(|(at, _)| !text[..at].ends_with(|before: char| is_of_word(before) || "./-}~@".contains(before)))
}

/// What stands between backticks.
pub(crate) fn in_backticks(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The text under a heading, up to the next one of its rank.
pub(crate) fn section(text: &str, heading: &str) -> String {
    let found: Vec<&str> = text
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .collect();
    assert!(!found.is_empty(), "there is nothing under {heading:?}");
    found.join("\n")
}

/// The lines under a key of a YAML file, while they are indented deeper than it.
pub(crate) fn indented_block(text: &str, key: &str) -> String {
    let depth = key.len() - key.trim_start().len();
    text.lines()
        .skip_while(|line| line.trim_end() != key)
        .skip(1)
        .take_while(|line| line.trim().is_empty() || line.len() - line.trim_start().len() > depth)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The dependencies of a manifest, each with the section that has it.
pub(crate) fn dependencies(manifest: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut section = String::new();
    for line in read(manifest).lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = header.to_owned();
            // [dependencies.name] is a dependency by itself.
            if let Some((kind, name)) = header.split_once("dependencies.") {
                found.push((format!("{kind}dependencies"), name.trim_matches('"').to_owned()));
            }
        } else if section.ends_with("dependencies")
            && !section.starts_with("workspace")
            && !line.starts_with('#')
            && let Some((name, rest)) = line.split_once('=')
        {
            let name = name.trim().split('.').next().unwrap_or_default();
            found.push((section.clone(), name.trim_matches('"').to_owned()));
            // A dependency under another name is the crate that it names.
            if let Some((_, package)) = rest.split_once("package = \"") {
                let package = package.split('"').next().unwrap_or_default();
                found.push((section.clone(), package.to_owned()));
            }
        }
    }
    found
}
