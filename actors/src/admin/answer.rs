//! Answers of the metrics port: text, or an error as JSON.
//!
//! Must not know pages.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};

pub(super) fn error(status: StatusCode, why: &str) -> Response<Body> {
    with_type(status, "application/json", serde_json::json!({ "error": why }).to_string())
}

pub(super) fn text(status: StatusCode, body: String) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", body)
}

pub(super) fn with_type(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
