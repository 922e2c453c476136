//! Reading bodies: bounded, strict, and clear about what is wrong.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use serde::de::{DeserializeOwned, IgnoredAny};
use sha2::{Digest as _, Sha256};
use warp::Filter as _;
use warp::filters::BoxedFilter;

use super::error::{ApiError, Code};
use super::limits::{JSON_LONGEST, JSON_MOST};

/// A JSON body and what identifies it.
#[derive(Clone, Debug)]
pub(super) struct Json<T> {
    /// What it says.
    pub value: T,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

/// Reads a JSON body of a form that is known exactly: a field that does not exist is refused by its name.
pub(super) fn json<T: DeserializeOwned + Send + 'static>() -> BoxedFilter<(Json<T>,)> {
    warp::header::optional::<String>("content-type")
        .and(warp::body::stream())
        .and_then(|form: Option<String>, body| async move {
            let read = async {
                check_form(form.as_deref())?;
                let read = tokio::time::timeout(JSON_LONGEST, read(body)).await;
                read.unwrap_or_else(|_| {
                    Err(ApiError::new(
                        Code::TooSlow,
                        "the body came in too slowly; send it again",
                    ))
                })
            };
            read.await.map_err(warp::reject::custom)
        })
        .boxed()
}

/// Takes JSON, and what does not say what it is.
fn check_form(form: Option<&str>) -> Result<(), ApiError> {
    let named = form
        .and_then(|form| form.split(';').next())
        .unwrap_or("application/json");
    if named.trim().eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        let detail = "the body is JSON (Content-Type: application/json)";
        Err(ApiError::new(Code::UnsupportedMediaType, detail))
    }
}

async fn read<T: DeserializeOwned, B: warp::Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Json<T>, ApiError> {
    let bytes = gather(body, JSON_MOST).await?;
    // A body that says nothing is an empty object: POST without a body is a common way to say "do it".
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    if has_zero(text) {
        return Err(ApiError::invalid(
            "the body: no text may contain the character \\u0000",
        ));
    }
    // serde would take an array for an object, its values in the order of the fields.
    let begins = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if begins != Some(&b'{') && serde_json::from_slice::<IgnoredAny>(text).is_ok() {
        return Err(ApiError::invalid("the body: a JSON object"));
    }
    let value = serde_json::from_slice(text).map_err(|error| {
        let code = if error.is_data() {
            Code::Invalid
        } else {
            Code::Malformed
        };
        ApiError::new(code, format!("the body: {error}"))
    })?;
    Ok(Json {
        value,
        sha256: Sha256::digest(&bytes).into(),
    })
}

/// Tells whether a text of the JSON contains the character of number zero, which PostgreSQL cannot store.
fn has_zero(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        let escaped = &rest[at + 1..];
        if escaped.starts_with(b"u0000") {
            return true;
        }
        rest = escaped.get(1..).unwrap_or_default();
    }
    false
}

async fn gather<B: warp::Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    most: usize,
) -> Result<Bytes, ApiError> {
    let mut gathered = BytesMut::new();
    let mut body = std::pin::pin!(body);
    while let Some(part) = body.next().await {
        let mut part =
            part.map_err(|error| ApiError::new(Code::Malformed, format!("the body broke off: {error}")))?;
        if gathered.len() + part.remaining() > most {
            return Err(ApiError::new(
                Code::TooLarge,
                format!("the body may have {most} bytes"),
            ));
        }
        gathered.extend_from_slice(&part.copy_to_bytes(part.remaining()));
    }
    Ok(gathered.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Wanted {
        name: String,
    }

    async fn parse(text: &'static str) -> Result<Wanted, ApiError> {
        let body = futures_util::stream::iter([Ok(Bytes::from_static(text.as_bytes()))]);
        read(body).await.map(|json| json.value)
    }

    #[test]
    fn a_body_that_says_it_is_something_else_is_not_read() {
        assert!(check_form(None).is_ok());
        assert!(check_form(Some("Application/JSON; charset=utf-8")).is_ok());
        let refused = check_form(Some("text/plain")).unwrap_err();
        assert_eq!(refused.code, Code::UnsupportedMediaType);
    }

    #[tokio::test]
    async fn an_unknown_field_is_refused_by_its_name() {
        let error = parse(r#"{"name":"x","nmae":"y"}"#).await.unwrap_err();
        assert_eq!(error.code, Code::Invalid);
        assert!(error.detail.contains("`nmae`"), "{}", error.detail);
    }

    #[tokio::test]
    async fn what_is_no_json_is_malformed_and_what_is_missing_is_named() {
        assert_eq!(parse("{").await.unwrap_err().code, Code::Malformed);
        assert!(parse("{}").await.unwrap_err().detail.contains("`name`"));
        assert_eq!(parse(r#"{"name":"x"}"#).await.unwrap().name, "x");
    }

    #[tokio::test]
    async fn an_array_is_no_object() {
        assert_eq!(parse(r#" ["x"]"#).await.unwrap_err().code, Code::Invalid);
        assert_eq!(parse("x").await.unwrap_err().code, Code::Malformed);
    }

    #[tokio::test]
    async fn a_value_of_the_wrong_type_is_named_with_its_place() {
        let error = parse(r#"{"name":5}"#).await.unwrap_err();
        assert_eq!(error.code, Code::Invalid);
        assert!(error.detail.contains("line 1 column"), "{}", error.detail);
    }

    #[tokio::test]
    async fn what_the_database_cannot_store_is_refused_before_it() {
        assert_eq!(
            parse(r#"{"name":"a\u0000b"}"#).await.unwrap_err().code,
            Code::Invalid
        );
        assert_eq!(parse(r#"{"name":"a\\u0000b"}"#).await.unwrap().name, r"a\u0000b");
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_not_gathered() {
        let body = futures_util::stream::repeat_with(|| Ok(Bytes::from_static(&[b' '; 1024])));
        assert_eq!(gather(body, 4_000).await.unwrap_err().code, Code::TooLarge);
    }
}
