//! `/openapi.json` and `/docs`: the API's document, and a page that shows it without any other host.

use warp::Filter as _;
use warp::Reply as _;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::{openapi, reply};

const PAGE: &str = include_str!("docs.html");

/// The routes of this room.
pub(super) fn routes() -> BoxedFilter<(Response,)> {
    let document = openapi::document();
    let json = warp::path!("openapi.json")
        .and(warp::get())
        .map(move || reply::text(StatusCode::OK, document.clone()))
        .boxed();
    let page = warp::path!("docs").and(warp::get()).map(|| {
        let policy =
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'";
        warp::reply::with_header(warp::reply::html(PAGE), "content-security-policy", policy).into_response()
    })
        .boxed();
    json.or(page).unify().boxed()
}
