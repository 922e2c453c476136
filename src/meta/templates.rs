//! Reading an account's templates.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A template as Meta knows it.
#[derive(Debug)]
pub struct FoundTemplate {
    /// Meta's id.
    pub meta_id: String,
    /// Its name.
    pub name: String,
    /// Its language, such as `en_US`.
    pub language: String,
    /// Its category, in Meta's spelling.
    pub category: String,
    /// Its status, such as `APPROVED`.
    pub status: String,
    /// Its components, as JSON.
    pub components: String,
}

/// A page of Meta's answer.
#[derive(Deserialize)]
pub(super) struct Page {
    data: Vec<Entry>,
    #[serde(default)]
    paging: Option<Paging>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    name: String,
    language: String,
    category: String,
    status: String,
    components: Box<RawValue>,
}

#[derive(Deserialize)]
struct Paging {
    #[serde(default)]
    cursors: Option<Cursors>,
    #[serde(default)]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Cursors {
    after: String,
}

impl Page {
    /// The templates of this page, and where the next one begins.
    pub(super) fn split(self) -> (Vec<FoundTemplate>, Option<String>) {
        let next = self.paging.and_then(|paging| {
            paging.next?;
            paging.cursors.map(|cursors| cursors.after)
        });
        let templates = self.data.into_iter().map(|entry| FoundTemplate {
            meta_id: entry.id,
            name: entry.name,
            language: entry.language,
            category: entry.category,
            status: entry.status,
            components: entry.components.get().to_owned(),
        });
        (templates.collect(), next)
    }
}
