//! Errors as people and programs can read them: RFC 9457 problem details, in English and Chinese.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::views::ViewError;

/// A problem, RFC 9457.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Problem {
    /// Names the kind of problem for programs: `urn:watchfire:problem:unknown-parameter`.
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    pub(super) kind: &'static str,
    /// The kind of problem in a few words.
    pub(super) title: &'static str,
    /// The HTTP status.
    pub(super) status: u16,
    /// What was wrong, what was expected, the value, and what to do.
    pub(super) detail: String,
    /// The title in Chinese.
    pub(super) title_zh: &'static str,
    /// The detail in Chinese.
    pub(super) detail_zh: String,
    /// Seconds until it may be tried again, for the header.
    #[serde(skip)]
    pub(super) retry_s: Option<i64>,
}

/// A kind of problem: status, word, titles.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind(StatusCode, &'static str, &'static str, &'static str);

/// A query parameter that nobody knows.
pub(super) const UNKNOWN_PARAMETER: Kind = Kind(
    StatusCode::BAD_REQUEST,
    "urn:watchfire:problem:unknown-parameter",
    "Unknown query parameter",
    "未知的查询参数",
);
/// A query parameter with a value that cannot be.
pub(super) const BAD_PARAMETER: Kind = Kind(
    StatusCode::BAD_REQUEST,
    "urn:watchfire:problem:bad-parameter",
    "Bad query parameter",
    "查询参数有误",
);
/// The content cannot be used.
pub(super) const BAD_CONTENT: Kind = Kind(
    StatusCode::BAD_REQUEST,
    "urn:watchfire:problem:bad-content",
    "The content cannot be used",
    "内容无法使用",
);
/// A request from another web page.
pub(super) const FOREIGN: Kind =
    Kind(StatusCode::FORBIDDEN, "urn:watchfire:problem:foreign-origin", "Not from this address", "来源不符");
/// Nobody is logged in.
pub(super) const UNKNOWN_PERSON: Kind =
    Kind(StatusCode::UNAUTHORIZED, "urn:watchfire:problem:not-logged-in", "Not logged in", "未登录");
/// Not with this person's roles.
pub(super) const FORBIDDEN: Kind =
    Kind(StatusCode::FORBIDDEN, "urn:watchfire:problem:forbidden", "Not allowed", "无权操作");
/// A password of somebody else's making has to be replaced first.
pub(super) const CHOOSE_PASSWORD: Kind = Kind(
    StatusCode::FORBIDDEN,
    "urn:watchfire:problem:choose-password",
    "Choose a password first",
    "请先设置密码",
);
/// A passkey has to be shown first.
pub(super) const PASSKEY_NEEDED: Kind = Kind(
    StatusCode::FORBIDDEN,
    "urn:watchfire:problem:passkey-needed",
    "Show a passkey first",
    "请先使用通行密钥",
);
/// It exists, or stands in the way.
pub(super) const CONFLICT: Kind =
    Kind(StatusCode::CONFLICT, "urn:watchfire:problem:conflict", "In the way of something else", "冲突");
/// Too many failures.
pub(super) const TOO_MANY: Kind =
    Kind(StatusCode::TOO_MANY_REQUESTS, "urn:watchfire:problem:too-many-failures", "Too often", "尝试过多");
/// Nothing there.
pub(super) const NOT_FOUND: Kind =
    Kind(StatusCode::NOT_FOUND, "urn:watchfire:problem:not-found", "Not found", "不存在");
/// The path is right, the method is not.
pub(super) const METHOD: Kind = Kind(
    StatusCode::METHOD_NOT_ALLOWED,
    "urn:watchfire:problem:method-not-allowed",
    "Method not allowed",
    "方法不允许",
);
/// The body did not come in time.
pub(super) const TIMEOUT: Kind = Kind(
    StatusCode::REQUEST_TIMEOUT,
    "urn:watchfire:problem:timeout",
    "The request took too long",
    "请求超时",
);
/// More than is taken at once.
pub(super) const TOO_LARGE: Kind =
    Kind(StatusCode::PAYLOAD_TOO_LARGE, "urn:watchfire:problem:too-large", "Too large", "内容过大");
/// A content type that is not understood.
pub(super) const MEDIA_TYPE: Kind = Kind(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "urn:watchfire:problem:unsupported-media-type",
    "Unsupported media type",
    "不支持的内容类型",
);
/// Nothing of it could be taken.
pub(super) const UNPROCESSABLE: Kind =
    Kind(StatusCode::UNPROCESSABLE_ENTITY, "urn:watchfire:problem:refused", "Refused", "拒收");
/// The office says no.
pub(super) const REFUSED_BY_OFFICE: Kind =
    Kind(StatusCode::CONFLICT, "urn:watchfire:problem:not-granted", "It cannot be done", "不能办理");
/// Our fault.
pub(super) const INTERNAL: Kind = Kind(
    StatusCode::INTERNAL_SERVER_ERROR,
    "urn:watchfire:problem:internal",
    "Stored data could not be read",
    "无法读取已存数据",
);
/// Try again.
pub(super) const UNAVAILABLE: Kind =
    Kind(StatusCode::SERVICE_UNAVAILABLE, "urn:watchfire:problem:unavailable", "Not now", "暂不可用");

impl Problem {
    /// A problem with its particulars in both languages.
    pub(super) fn new(kind: Kind, detail: impl Into<String>, detail_zh: impl Into<String>) -> Self {
        let Kind(status, word, title, title_zh) = kind;
        Self {
            kind: word,
            title,
            status: status.as_u16(),
            detail: detail.into(),
            title_zh,
            detail_zh: detail_zh.into(),
            retry_s: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(5),
        }
    }
}

impl From<ViewError> for Problem {
    fn from(error: ViewError) -> Self {
        let detail = error.to_string();
        match error {
            ViewError::Stopped => Self::new(UNAVAILABLE, detail, "接入服务正在停止，不再回答查询"),
            ViewError::NotFound { what, id } => {
                Self::new(NOT_FOUND, detail, format!("没有这个 {what}：{id:?}"))
            }
            ViewError::BadQuery { field, detail: why } => {
                Self::new(BAD_PARAMETER, detail, format!("参数 {field} 有误：{why}"))
            }
            ViewError::Storage(why) => {
                tracing::error!(error = why, "无法读取已存数据 stored data could not be read");
                Self::new(INTERNAL, detail, format!("无法读取已存数据：{why}"))
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_s = self.retry_s;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = retry_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
