//! How an answer becomes bytes of HTTP: JSON, a problem, or nothing new.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::problem::Problem;

/// A problem on its way out.
#[derive(Debug)]
pub(crate) struct No(pub(crate) Problem);

impl From<Problem> for No {
    fn from(problem: Problem) -> No {
        No(problem)
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let kind = if self.0.bare { "application/json" } else { "application/problem+json" };
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = written(status, kind, self.0.to_json().to_string());
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(allow) = self.0.allow {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

/// A response with a body of that kind.
pub(crate) fn written(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// JSON that must be asked for again each time.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response {
    // Not `to_string`: by way of a formatter, letter by letter, it takes twice as long.
    json_bytes(status, serde_json::to_vec(value).expect("a value has texts for keys and numbers that are finite"))
}

/// As [`json`], of what is written already.
pub(crate) fn json_bytes(status: StatusCode, bytes: Vec<u8>) -> Response {
    let mut response = written(status, "application/json", bytes);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Marks a response with its tag.
pub(crate) fn tagged(mut response: Response, tag: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response
}

/// What is told to who has it already.
pub(crate) fn unchanged(tag: &str) -> Response {
    tagged(StatusCode::NOT_MODIFIED.into_response(), tag)
}

/// Whether `If-None-Match` names this tag (compared weakly, as RFC 9110 §13.1.2 says). `*` is not taken: it would hide that there
/// is nothing.
pub(crate) fn has(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(|one| one.trim().trim_start_matches("W/"));
    tags.any(|one| one == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly_and_as_a_list() {
        let has = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(value));
            has(&headers, "\"abc\"")
        };
        assert!(has("\"abc\"") && has("W/\"abc\"") && has("\"x\", \"abc\""));
        assert!(!has("*") && !has("\"ab\"") && !has("abc") && !has(""));
    }
}
