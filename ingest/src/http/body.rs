//! Bodies: whole, in time, of a bounded size.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;

use super::problem::{BAD_CONTENT, MEDIA_TYPE, Problem, TIMEOUT, TOO_LARGE};
use crate::intake::cut;

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(20);
/// Longest JSON of a form that a person fills in, in bytes.
const MAX_FORM: usize = 64 << 10;

/// What a person or program filled in, as JSON. Nothing but `application/json` is taken: a web page of another address
/// cannot send that without asking first.
pub(super) struct Form<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let given =
            head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let media_type = given.split(';').next().unwrap_or("").trim();
        if !media_type.eq_ignore_ascii_case("application/json") {
            let shown = cut(given, 60);
            return Err(Problem::new(
                MEDIA_TYPE,
                format!("Content-Type {shown:?} is not understood: application/json expected"),
                format!("不支持 Content-Type {shown:?}：应为 application/json"),
            ));
        }
        let body = whole(&head.headers, body, MAX_FORM).await?;
        serde_json::from_slice(&body).map(Form).map_err(|error| {
            Problem::new(
                BAD_CONTENT,
                format!("the JSON cannot be used: {error}; see /api/v1/openapi.json"),
                format!("无法使用该 JSON：{error}；见 /api/v1/openapi.json"),
            )
        })
    }
}

/// Reads a body of at most `most` bytes.
///
/// # Errors
/// A problem: too large, too slow, cut off.
pub(super) async fn whole(headers: &HeaderMap, body: Body, most: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            TOO_LARGE,
            format!("the body may have {most} bytes: send less at once"),
            format!("内容最多 {most} 字节：请拆分"),
        )
    };
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let whole = tokio::time::timeout(BODY_TIME, axum::body::to_bytes(body, most)).await;
    let whole = whole.map_err(|_| {
        let seconds = BODY_TIME.as_secs();
        Problem::new(
            TIMEOUT,
            format!("the body did not arrive within {seconds} s"),
            format!("内容未在 {seconds} 秒内到达"),
        )
    })?;
    whole.map_err(|error| {
        let mut cause: Option<&dyn std::error::Error> = Some(&error);
        while let Some(inner) = cause {
            if inner.to_string().contains("length limit") {
                return too_large();
            }
            cause = inner.source();
        }
        Problem::new(
            BAD_CONTENT,
            format!("the body did not arrive whole: {error}"),
            format!("内容未完整到达：{error}"),
        )
    })
}
