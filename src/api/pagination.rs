//! Pages: `?cursor=&limit=` in, `{items, next_cursor}` out. A cursor is the last item's id; treat it as opaque.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::ApiError;
use super::limits::{PAGE_MOST, PAGE_USUAL};

/// Which page is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// The last item of the page before.
    pub cursor: Option<Uuid>,
    /// Items at most.
    pub limit: i64,
}

impl Page {
    /// Reads the page from the query's parameters.
    ///
    /// # Errors
    /// When a value cannot be taken.
    pub(super) fn read(cursor: Option<&str>, limit: Option<i64>) -> Result<Self, ApiError> {
        let cursor = cursor
            .map(|text| {
                text.parse()
                    .map_err(|_| ApiError::invalid("cursor: use next_cursor of the page before"))
            })
            .transpose()?;
        let limit = limit.unwrap_or(PAGE_USUAL);
        if !(1..=PAGE_MOST).contains(&limit) {
            return Err(ApiError::invalid(format!("limit: 1 to {PAGE_MOST}")));
        }
        Ok(Self { cursor, limit })
    }

    /// Asks for one item more than the page has, to know whether there is another page.
    pub(super) const fn one_more(&self) -> i64 {
        self.limit + 1
    }

    /// Makes the page of what was found, `one_more` asked for.
    pub(super) fn of<T>(&self, mut items: Vec<T>, id: impl Fn(&T) -> Uuid) -> Listed<T> {
        let most = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let has_more = items.len() > most;
        items.truncate(most);
        let next_cursor = items.last().filter(|_| has_more).map(|last| id(last).to_string());
        Listed { items, next_cursor }
    }
}

/// A page of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Listed<T> {
    /// The items.
    pub items: Vec<T>,
    /// The next page's `cursor`; null on the last page.
    pub next_cursor: Option<String>,
}

impl<T> Listed<T> {
    /// Makes the only page of a short list.
    pub(super) const fn whole(items: Vec<T>) -> Self {
        Self {
            items,
            next_cursor: None,
        }
    }

    /// Makes other items of these.
    pub(super) fn map<U>(self, of: impl FnMut(T) -> U) -> Listed<U> {
        Listed {
            items: self.items.into_iter().map(of).collect(),
            next_cursor: self.next_cursor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_page_has_no_cursor_and_every_other_has() {
        let page = Page::read(None, Some(2)).unwrap();
        let ids: Vec<Uuid> = (1..=3).map(Uuid::from_u128).collect();
        let first = page.of(ids.clone(), |id| *id);
        assert_eq!(
            (first.items.len(), first.next_cursor),
            (2, Some(ids[1].to_string()))
        );
        assert_eq!(page.of(ids[2..].to_vec(), |id| *id).next_cursor, None);
    }

    #[test]
    fn a_limit_out_of_bounds_is_refused() {
        assert!(Page::read(None, Some(0)).is_err());
        assert!(Page::read(None, Some(201)).is_err());
        assert!(Page::read(Some("x"), None).is_err());
    }
}
