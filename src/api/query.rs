//! Reading query strings: a parameter that does not exist is refused by its name.

use serde::de::DeserializeOwned;
use warp::{Filter, Rejection};

use super::error::{ApiError, Code};

/// Reads the query into a form that is known exactly.
pub(super) fn query<T: DeserializeOwned + Send>() -> impl Filter<Extract = (T,), Error = Rejection> + Clone {
    warp::query::raw()
        .or_else(|_| async { Ok::<_, Rejection>((String::new(),)) })
        .and_then(|raw: String| async move {
            serde_urlencoded::from_str(&raw).map_err(|error| {
                warp::reject::custom(ApiError::new(Code::Malformed, format!("the query: {error}")))
            })
        })
}
