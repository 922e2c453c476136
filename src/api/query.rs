//! Reading query strings: a parameter that does not exist is refused by its name.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use warp::filters::BoxedFilter;
use warp::{Filter as _, Rejection};

use super::error::{ApiError, Code};

/// The query of a route that takes none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Reads the query into a form that is known exactly.
pub(super) fn query<T: DeserializeOwned + Send + 'static>() -> BoxedFilter<(T,)> {
    warp::query::raw()
        .or_else(|_| async { Ok::<_, Rejection>((String::new(),)) })
        .and_then(|raw: String| async move { read(&raw).map_err(warp::reject::custom) })
        .boxed()
}

/// Refuses every parameter.
pub(super) fn no_query() -> BoxedFilter<()> {
    query::<Nothing>().map(|_| ()).untuple_one().boxed()
}

fn read<T: DeserializeOwned>(raw: &str) -> Result<T, ApiError> {
    if raw.contains("%00") {
        return Err(ApiError::invalid(
            "the query: no value may contain the character %00",
        ));
    }
    serde_urlencoded::from_str(raw)
        .map_err(|error| ApiError::new(Code::Malformed, format!("the query: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        limit: Option<i64>,
    }

    #[test]
    fn a_parameter_that_does_not_exist_is_refused_by_its_name() {
        let error = read::<Wanted>("limti=5").unwrap_err();
        assert!(error.detail.contains("`limti`"), "{}", error.detail);
        assert!(read::<Nothing>("limit=5").is_err());
    }

    #[test]
    fn what_is_known_is_read() {
        assert_eq!(read::<Wanted>("limit=5").unwrap().limit, Some(5));
        assert_eq!(read::<Wanted>("").unwrap().limit, None);
        assert!(read::<Nothing>("").is_ok());
        assert_eq!(read::<Wanted>("limit=%00").unwrap_err().code, Code::Invalid);
    }
}
