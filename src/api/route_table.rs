//! The documented operations by method and path: what a path allows, and which answers its document names.

use std::collections::BTreeSet;

use serde_json::Value;

use super::openapi;

/// A documented operation.
#[derive(Debug)]
pub(super) struct Operation {
    /// Its method.
    pub method: String,
    /// Its path, with names in place of ids.
    pub path: String,
    statuses: BTreeSet<u16>,
}

impl Operation {
    /// Its method and path.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Tells whether its document names this status.
    pub(super) fn answers(&self, status: u16) -> bool {
        self.statuses.contains(&status)
    }

    /// Tells how many segments of the path are its own words; none if the path is another one.
    fn matches(&self, path: &str) -> Option<usize> {
        let (mut own, mut asked) = (self.path.split('/'), path.split('/'));
        let mut words = 0;
        loop {
            match (own.next(), asked.next()) {
                (None, None) => return Some(words),
                (Some(name), Some(given)) if name.starts_with('{') && !given.is_empty() => {}
                (Some(word), Some(given)) if word == given => words += 1,
                _ => return None,
            }
        }
    }
}

/// All documented operations.
#[derive(Debug)]
pub(super) struct RouteTable(Vec<Operation>);

impl RouteTable {
    /// Reads them from the document.
    pub(super) fn read() -> Self {
        let document: Value = serde_json::from_str(&openapi::document()).unwrap_or_default();
        let paths = document["paths"].as_object().into_iter().flatten();
        let operations = paths.flat_map(|(path, verbs)| {
            let verbs = verbs.as_object().into_iter().flatten();
            verbs.map(|(verb, operation)| Operation {
                method: verb.to_uppercase(),
                path: path.clone(),
                statuses: statuses(operation),
            })
        });
        Self(operations.collect())
    }

    /// Gives all of them.
    pub(super) fn operations(&self) -> &[Operation] {
        &self.0
    }

    /// Finds the operation of a call: of several that match, the one with the most words of its own.
    pub(super) fn find(&self, method: &str, path: &str) -> Option<&Operation> {
        let of_method = self.0.iter().filter(|operation| operation.method == method);
        let matching = of_method.filter_map(|operation| Some((operation.matches(path)?, operation)));
        matching
            .max_by_key(|(words, _)| *words)
            .map(|(_, operation)| operation)
    }

    /// Gives the methods that a path takes, as `Allow` names them.
    pub(super) fn allowed(&self, path: &str) -> String {
        let words = |operation: &Operation| operation.matches(path);
        let most = self.0.iter().filter_map(words).max();
        let matching = self
            .0
            .iter()
            .filter(|operation| most.is_some() && words(operation) == most);
        let methods: BTreeSet<&str> = matching.map(|operation| operation.method.as_str()).collect();
        methods.into_iter().collect::<Vec<_>>().join(", ")
    }
}

fn statuses(operation: &Value) -> BTreeSet<u16> {
    let answers = operation["responses"].as_object().into_iter().flatten();
    answers.filter_map(|(status, _)| status.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_found_by_method_and_path() {
        let table = RouteTable::read();
        let found = |method, path| table.find(method, path).map(Operation::name);
        let launch = "/v1/campaigns/0198f2c0-0000-7000-8000-000000000000/launch";
        assert_eq!(
            found("POST", launch).as_deref(),
            Some("POST /v1/campaigns/{id}/launch")
        );
        assert_eq!(found("PUT", "/v1/campaigns"), None);
        assert_eq!(found("GET", "/v1/campaigns/"), None);
        assert_eq!(found("GET", "/v1/nothing"), None);
    }

    #[test]
    fn own_words_go_before_names_and_a_path_tells_its_methods() {
        let operation = |method: &str, path: &str| Operation {
            method: method.to_owned(),
            path: path.to_owned(),
            statuses: BTreeSet::from([200]),
        };
        let table = RouteTable(vec![
            operation("GET", "/v1/letters/{id}"),
            operation("GET", "/v1/letters/count"),
            operation("DELETE", "/v1/letters/{id}"),
        ]);
        let found = table.find("GET", "/v1/letters/count").expect("found");
        assert_eq!(found.path, "/v1/letters/count");
        assert!(found.answers(200) && !found.answers(500));
        assert_eq!(table.allowed("/v1/letters/7"), "DELETE, GET");
        assert_eq!(table.allowed("/v1/letters/count"), "GET");
    }
}
