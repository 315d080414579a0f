//! Logging in and out, and the first admin.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{AccountView, SessionView};
use crate::clock::now_ms;
use crate::http::App;
use crate::http::body::Form;
use crate::http::problem::Problem;
use crate::http::who::{COOKIE, Newcomer, Peer};
use crate::people::account::Login;
use crate::people::password::Password;
use crate::people::session::{self, Session, Token};
use crate::people::{Entered, PeopleError};

/// Name and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Entry {
    name: String,
    #[schema(value_type = String)]
    password: Password,
}

/// Who I am.
#[utoipa::path(get, path = "/api/v1/session", tag = "people",
    responses(
        (status = 200, description = "The session", body = SessionView),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn session(Newcomer(session): Newcomer) -> Json<SessionView> {
    Json(SessionView::from(&session))
}

/// What has to be shown after the password.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct AskedView {
    /// Names this attempt, for POST /api/v1/session/passkey; good once and for five minutes.
    attempt: String,
    /// For `navigator.credentials.get`: `publicKey` of Web Authentication, as JSON.
    #[schema(value_type = Object)]
    options: Value,
}

/// Logs in: a cookie holds the session. Who holds a passkey has to show it next. Failures make the next attempt wait.
#[utoipa::path(post, path = "/api/v1/session", tag = "people", request_body = Entry,
    responses(
        (status = 200, description = "The session", body = SessionView),
        (status = 202, description = "The password is right, and a passkey has to be shown; there is no session yet", body = AskedView),
        (status = 400, description = "Bad content", content_type = "application/problem+json", body = Problem),
        (status = 401, description = "Name or password wrong, or the account disabled", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "A passkey would have to be shown, and passkeys are off", content_type = "application/problem+json", body = Problem),
        (status = 429, description = "Too many failures", content_type = "application/problem+json", body = Problem),
        (status = 503, description = "Not now", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn enter(
    State(app): State<Arc<App>>,
    peer: Peer,
    Form(entry): Form<Entry>,
) -> Result<Response, Problem> {
    let entered = app.people.enter(&entry.name, entry.password, peer.ip(), now_ms()).await;
    if entered.is_err() {
        // Not by name: people type their password there.
        tracing::info!(peer = %peer.ip(), "登录失败 a login failed");
    }
    Ok(match entered? {
        Entered::In(token, session) => welcome(&token, &session, peer),
        Entered::Asked { attempt, options } => {
            (StatusCode::ACCEPTED, Json(AskedView { attempt: attempt.reveal(), options })).into_response()
        }
    })
}

/// What a passkey has answered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Answer {
    /// Of the answer to the password.
    attempt: String,
    /// What `navigator.credentials.get` gave, as JSON (`toJSON`).
    #[schema(value_type = Object)]
    credential: Value,
}

/// Logs in who has given the password and shows a passkey: a cookie holds the session.
#[utoipa::path(post, path = "/api/v1/session/passkey", tag = "people", request_body = Answer,
    responses(
        (status = 200, description = "The session", body = SessionView),
        (status = 400, description = "Bad content", content_type = "application/problem+json", body = Problem),
        (status = 401, description = "Not asked here, too late, or not accepted: begin with the password again", content_type = "application/problem+json", body = Problem),
        (status = 429, description = "Too many failures", content_type = "application/problem+json", body = Problem),
        (status = 503, description = "Not now", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn enter_with_passkey(
    State(app): State<Arc<App>>,
    peer: Peer,
    Form(answer): Form<Answer>,
) -> Result<Response, Problem> {
    let attempt = Token::read(&answer.attempt).ok_or(PeopleError::NotAsked)?;
    let entered = app.people.enter_with_passkey(&attempt, answer.credential, peer.ip(), now_ms()).await;
    if entered.is_err() {
        tracing::info!(peer = %peer.ip(), "登录失败 a login failed");
    }
    let (token, session) = entered?;
    Ok(welcome(&token, &session, peer))
}

fn welcome(token: &Token, session: &Session, peer: Peer) -> Response {
    let with_passkey = session.passkey_ms.is_some();
    tracing::info!(account = %session.account.name, peer = %peer.ip(), with_passkey, "已登录 somebody logged in");
    (cookie(Some(token)), Json(SessionView::from(session))).into_response()
}

/// Logs out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "people",
    responses(
        (status = 204, description = "The session is over"),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn leave(
    State(app): State<Arc<App>>,
    Newcomer(session): Newcomer,
) -> Result<Response, Problem> {
    app.people.leave(&session).await?;
    Ok((StatusCode::NO_CONTENT, cookie(None)).into_response())
}

/// Sets the cookie, or takes it away. Only our own pages send it, and no script reads it. `Secure` comes with TLS.
fn cookie(token: Option<&Token>) -> [(HeaderName, String); 1] {
    let (value, age_s) = match token {
        Some(token) => (token.reveal(), session::LIFE_MS / 1000),
        None => (String::new(), 0),
    };
    [(header::SET_COOKIE, format!("{COOKIE}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={age_s}"))]
}

/// The first admin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct FirstAdmin {
    /// What follows # in the link that ingest printed.
    token: String,
    #[schema(value_type = String)]
    name: Login,
    /// The name others see; the name to log in with when absent.
    shown: Option<String>,
    #[schema(value_type = String)]
    password: Password,
}

/// Makes the first admin of the whole city, with the link that ingest prints when there is none.
#[utoipa::path(post, path = "/api/v1/first", tag = "people", request_body = FirstAdmin,
    responses(
        (status = 201, description = "The account; log in with it", body = AccountView),
        (status = 400, description = "Bad content", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "The link was used or is too old", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "The name is taken", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn first(
    State(app): State<Arc<App>>,
    Form(first): Form<FirstAdmin>,
) -> Result<(StatusCode, Json<AccountView>), Problem> {
    let token = Token::read(&first.token).ok_or(PeopleError::NoLink)?;
    let shown = first.shown.unwrap_or_else(|| first.name.to_string());
    let account = app.people.begin(&token, first.name, shown, first.password, now_ms()).await?;
    tracing::info!(account = %account.name, "已创建首位管理员 the first admin was created");
    Ok((StatusCode::CREATED, Json(AccountView::from(&account))))
}
