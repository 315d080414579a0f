//! Sessions, accounts, keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::body::Form;
use super::problem::{
    BAD_CONTENT, CONFLICT, FORBIDDEN, INTERNAL, NOT_FOUND, Problem, TOO_MANY, UNAVAILABLE, UNKNOWN_PERSON,
};
use super::query::Params;
use super::who::{COOKIE, Newcomer, Peer, Who};
use crate::clock::now_ms;
use crate::intake::cut;
use crate::people::account::{self, Account, Key, Login};
use crate::people::password::Password;
use crate::people::role::{Action, Duty, may_assign, may_manage};
use crate::people::session::{self, Session, Token};
use crate::people::{Change, NewAccount, NewKey, PeopleError, key_text, read_key};
use crate::views::Page;

/// Accounts of a page when nobody says.
const PAGE: usize = 100;

/// Name and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    name: String,
    #[schema(value_type = String)]
    password: Password,
}

/// Who is logged in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionView {
    /// The account.
    account: AccountView,
    /// Whether a password has to be chosen before anything else: POST /api/v1/me/password.
    choose_password: bool,
    /// When the session ends if nothing is asked any more, milliseconds since 1970 UTC.
    ends_ms: i64,
}

/// An account, as those see it who may.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AccountView {
    /// The name to log in with; never changes.
    #[schema(value_type = String)]
    name: Login,
    /// The name others see.
    shown: String,
    /// Whether it can be used.
    state: account::State,
    /// What this person may do, and where.
    roles: Vec<Duty>,
    /// The keys this person signs with, retired ones too.
    keys: Vec<KeyView>,
    /// Until when the password an admin made is good, milliseconds since 1970 UTC; null when an own one is chosen.
    choose_until_ms: Option<i64>,
    /// When it was created, milliseconds since 1970 UTC.
    created_ms: i64,
    /// When name, state or roles last changed, milliseconds since 1970 UTC.
    changed_ms: i64,
}

/// A public key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyView {
    /// The 32 bytes of an Ed25519 key, base64url without padding.
    key: String,
    /// What its owner calls it.
    label: String,
    /// Since when, milliseconds since 1970 UTC.
    added_ms: i64,
    /// Since when it signs nothing any more, milliseconds since 1970 UTC.
    retired_ms: Option<i64>,
}

impl From<&Account> for AccountView {
    fn from(account: &Account) -> Self {
        Self {
            name: account.name.clone(),
            shown: account.shown.clone(),
            state: account.state,
            roles: account.roles.clone(),
            keys: account.keys.iter().map(KeyView::from).collect(),
            choose_until_ms: account.choose_until_ms,
            created_ms: account.created_ms,
            changed_ms: account.changed_ms,
        }
    }
}

impl From<&Key> for KeyView {
    fn from(key: &Key) -> Self {
        let Key { public, label, added_ms, retired_ms } = key;
        Self { key: key_text(public), label: label.clone(), added_ms: *added_ms, retired_ms: *retired_ms }
    }
}

impl From<&Session> for SessionView {
    fn from(session: &Session) -> Self {
        Self {
            account: AccountView::from(&*session.account),
            choose_password: session.account.choose_until_ms.is_some(),
            ends_ms: session.ends_ms(),
        }
    }
}

/// Who I am.
#[utoipa::path(get, path = "/api/v1/session", tag = "people",
    responses(
        (status = 200, description = "The session", body = SessionView),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn session(Newcomer(session): Newcomer) -> Json<SessionView> {
    Json(SessionView::from(&session))
}

/// Logs in: a cookie holds the session. Failures make the next attempt wait.
#[utoipa::path(post, path = "/api/v1/session", tag = "people", request_body = Entry,
    responses(
        (status = 200, description = "The session", body = SessionView),
        (status = 400, description = "Bad content", content_type = "application/problem+json", body = Problem),
        (status = 401, description = "Name or password wrong, or the account disabled", content_type = "application/problem+json", body = Problem),
        (status = 429, description = "Too many failures", content_type = "application/problem+json", body = Problem),
        (status = 503, description = "Not now", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn enter(
    State(app): State<Arc<App>>,
    peer: Peer,
    Form(entry): Form<Entry>,
) -> Result<Response, Problem> {
    let entered = app.people.enter(&entry.name, entry.password, peer.ip(), now_ms()).await;
    if entered.is_err() {
        // Not by name: people type their password there.
        tracing::info!(peer = %peer.ip(), "登录失败 a login failed");
    }
    let (token, session) = entered?;
    tracing::info!(account = %session.account.name, peer = %peer.ip(), "已登录 somebody logged in");
    Ok((cookie(Some(&token)), Json(SessionView::from(&session))).into_response())
}

/// Logs out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "people",
    responses(
        (status = 204, description = "The session is over"),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn leave(
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
pub(super) struct FirstAdmin {
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
pub(super) async fn first(
    State(app): State<Arc<App>>,
    Form(first): Form<FirstAdmin>,
) -> Result<(StatusCode, Json<AccountView>), Problem> {
    let token = Token::read(&first.token).ok_or(PeopleError::NoLink)?;
    let shown = first.shown.unwrap_or_else(|| first.name.to_string());
    let account = app.people.begin(&token, first.name, shown, first.password, now_ms()).await?;
    tracing::info!(account = %account.name, "已创建首位管理员 the first admin was created");
    Ok((StatusCode::CREATED, Json(AccountView::from(&account))))
}

/// Accounts of which at least one role lies in the area of the one who asks, by name. A page may be shorter than asked
/// for and still have a next one.
#[utoipa::path(get, path = "/api/v1/accounts", tag = "people",
    params(
        ("limit" = Option<usize>, Query, description = "1 to 1000, 100 when absent"),
        ("cursor" = Option<String>, Query, description = "next of the page before")
    ),
    responses(
        (status = 200, description = "A page", body = Page<AccountView>),
        (status = 400, description = "Bad parameter", content_type = "application/problem+json", body = Problem),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "Not an admin", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn accounts(
    State(app): State<Arc<App>>,
    who: Who,
    uri: Uri,
) -> Result<Json<Page<AccountView>>, Problem> {
    must_be_admin(&who)?;
    let params = Params::read(&uri, &["limit", "cursor"])?;
    let limit = params.limit(crate::views::MAX_PAGE)?.unwrap_or(PAGE);
    let found = app.people.accounts(params.text("cursor").unwrap_or(""), limit).await?;
    let next = if found.len() == limit { found.last().map(|last| last.name.to_string()) } else { None };
    let items = found.iter().filter(|account| may_see(&who, account)).map(AccountView::from).collect();
    Ok(Json(Page { items, next }))
}

/// An account to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountForm {
    #[schema(value_type = String)]
    name: Login,
    /// The name others see.
    shown: String,
    roles: Vec<Duty>,
}

/// An account and its password, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct CreatedView {
    account: AccountView,
    /// Good for three days to log in and choose an own one.
    password: String,
}

/// Creates an account with a one-time password.
#[utoipa::path(post, path = "/api/v1/accounts", tag = "people", request_body = AccountForm,
    responses(
        (status = 201, description = "The account and its password", body = CreatedView),
        (status = 400, description = "Bad content", content_type = "application/problem+json", body = Problem),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "Not in this area", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "The name is taken", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    who: Who,
    Form(form): Form<AccountForm>,
) -> Result<(StatusCode, Json<CreatedView>), Problem> {
    let by = &who.account().name;
    let new = NewAccount { name: form.name, shown: form.shown, roles: form.roles };
    let (account, password) = app.people.create(by, new, now_ms()).await?;
    tracing::info!(account = %account.name, %by, "已创建账户 an account was created");
    Ok((StatusCode::CREATED, Json(CreatedView { account: AccountView::from(&account), password })))
}

/// One account.
#[utoipa::path(get, path = "/api/v1/accounts/{name}", tag = "people",
    params(("name" = String, Path, description = "The name to log in with")),
    responses(
        (status = 200, description = "The account", body = AccountView),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "Not an admin", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "No such account in this area", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn account(
    State(app): State<Arc<App>>,
    who: Who,
    Path(name): Path<String>,
) -> Result<Json<AccountView>, Problem> {
    must_be_admin(&who)?;
    let account = app.people.account(&named(&name)?).await?;
    if !may_see(&who, &account) {
        return Err(PeopleError::NotFound { what: "account", name }.into());
    }
    Ok(Json(AccountView::from(&account)))
}

/// What is to change; what is absent stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeForm {
    /// The name others see.
    shown: Option<String>,
    state: Option<account::State>,
    /// All roles from now on.
    roles: Option<Vec<Duty>>,
}

/// Changes name, state or roles of somebody else. Who is disabled is logged out at once.
#[utoipa::path(patch, path = "/api/v1/accounts/{name}", tag = "people", request_body = ChangeForm,
    params(("name" = String, Path, description = "The name to log in with")),
    responses(
        (status = 200, description = "The account as it is now", body = AccountView),
        (status = 400, description = "Bad content", content_type = "application/problem+json", body = Problem),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "Not in this area, or oneself", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "No such account", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    who: Who,
    Path(name): Path<String>,
    Form(form): Form<ChangeForm>,
) -> Result<Json<AccountView>, Problem> {
    must_be_admin(&who)?;
    let by = &who.account().name;
    let change = Change { shown: form.shown, state: form.state, roles: form.roles };
    let account = app.people.change(by, &named(&name)?, change, now_ms()).await?;
    tracing::info!(account = %account.name, %by, "账户已修改 an account was changed");
    Ok(Json(AccountView::from(&account)))
}

/// Gives somebody who forgot their password a one-time one, and logs them out.
#[utoipa::path(post, path = "/api/v1/accounts/{name}/password", tag = "people",
    params(("name" = String, Path, description = "The name to log in with")),
    responses(
        (status = 200, description = "The account and its password", body = CreatedView),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "Not in this area, or oneself", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "No such account", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn reset(
    State(app): State<Arc<App>>,
    who: Who,
    Path(name): Path<String>,
) -> Result<Json<CreatedView>, Problem> {
    must_be_admin(&who)?;
    let (by, name) = (&who.account().name, named(&name)?);
    let password = app.people.reset(by, &name, now_ms()).await?;
    tracing::info!(account = %name, %by, "密码已重置 a password was reset");
    let account = AccountView::from(&app.people.account(&name).await?);
    Ok(Json(CreatedView { account, password }))
}

/// The old and the new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordForm {
    #[schema(value_type = String)]
    old: Password,
    #[schema(value_type = String)]
    new: Password,
}

/// Chooses a password. Other sessions of this account end.
#[utoipa::path(post, path = "/api/v1/me/password", tag = "people", request_body = PasswordForm,
    responses(
        (status = 204, description = "It holds from now on"),
        (status = 400, description = "Bad content, or no good password", content_type = "application/problem+json", body = Problem),
        (status = 401, description = "Not logged in, or the old one is wrong", content_type = "application/problem+json", body = Problem),
        (status = 429, description = "Too many failures", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn choose(
    State(app): State<Arc<App>>,
    Newcomer(session): Newcomer,
    Form(form): Form<PasswordForm>,
) -> Result<StatusCode, Problem> {
    app.people.choose(&session, form.old, form.new, now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// My keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeysView {
    /// With which I sign grants; retired ones too.
    items: Vec<KeyView>,
}

/// The keys I sign with.
#[utoipa::path(get, path = "/api/v1/me/keys", tag = "people",
    responses(
        (status = 200, description = "The keys, retired ones too", body = KeysView),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn keys(who: Who) -> Json<KeysView> {
    Json(KeysView { items: who.account().keys.iter().map(KeyView::from).collect() })
}

/// A key to be registered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyForm {
    /// The 32 bytes of an Ed25519 key, base64url without padding: x of its JWK.
    key: String,
    /// What I call it.
    label: String,
    /// The signature, base64url without padding, with this key, of the text `watchfire person key v1`, line feed, my name,
    /// line feed, `key`, line feed.
    proof: String,
    /// My password once more.
    #[schema(value_type = String)]
    password: Password,
}

/// Registers a key to sign grants with. The private half stays where it was made.
#[utoipa::path(post, path = "/api/v1/me/keys", tag = "people", request_body = KeyForm,
    responses(
        (status = 201, description = "The key", body = KeyView),
        (status = 400, description = "Bad content, or the proof does not fit", content_type = "application/problem+json", body = Problem),
        (status = 401, description = "Not logged in, or the password is wrong", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "The key is somebody's already", content_type = "application/problem+json", body = Problem),
        (status = 429, description = "Too many failures", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn add_key(
    State(app): State<Arc<App>>,
    who: Who,
    Form(form): Form<KeyForm>,
) -> Result<(StatusCode, Json<KeyView>), Problem> {
    let unusable = |field, detail: &str| PeopleError::Unusable { field, detail: detail.into() };
    let public = read_key(&form.key)
        .ok_or_else(|| unusable("key", "32 bytes expected, base64url without padding, 43 characters"))?;
    let proof = Base64UrlUnpadded::decode_vec(&form.proof)
        .map_err(|_| unusable("proof", "a signature of 64 bytes expected, base64url without padding"))?;
    let new = NewKey { public, label: form.label, proof };
    let key = app.people.add_key(&who.0, form.password, new, now_ms()).await?;
    tracing::info!(account = %who.account().name, key = key_text(&key.public), "已登记密钥 a key was registered");
    Ok((StatusCode::CREATED, Json(KeyView::from(&key))))
}

/// Retires one of my keys for ever: it signs nothing from now on.
#[utoipa::path(delete, path = "/api/v1/me/keys/{key}", tag = "people",
    params(("key" = String, Path, description = "As GET /api/v1/me/keys writes it")),
    responses(
        (status = 200, description = "The key", body = KeyView),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "Not a key of mine", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn retire_key(
    State(app): State<Arc<App>>,
    who: Who,
    Path(key): Path<String>,
) -> Result<Json<KeyView>, Problem> {
    let public = read_key(&key)
        .ok_or_else(|| PeopleError::NotFound { what: "key", name: cut(&key, 60).to_string() })?;
    let key = app.people.retire_key(&who.0, public, now_ms()).await?;
    tracing::info!(account = %who.account().name, key = key_text(&key.public), "已停用密钥 a key was retired");
    Ok(Json(KeyView::from(&key)))
}

/// Goes on only for an admin of any area.
fn must_be_admin(who: &Who) -> Result<(), Problem> {
    if who.account().roles.iter().any(|duty| Action::ManageAccounts.roles().contains(&duty.role)) {
        return Ok(());
    }
    Err(PeopleError::Forbidden("this takes the role admin in some area").into())
}

/// An admin sees whom they manage, and whoever has a role in their area.
fn may_see(who: &Who, account: &Account) -> bool {
    let by = who.account();
    account.roles.iter().any(|duty| may_assign(by, &duty.area)) || may_manage(by, account)
}

fn named(text: &str) -> Result<Login, Problem> {
    let wrong = |_| PeopleError::NotFound { what: "account", name: cut(text, 60).to_string() };
    Ok(Login::new(text).map_err(wrong)?)
}

impl From<PeopleError> for Problem {
    fn from(error: PeopleError) -> Self {
        let detail = error.to_string();
        match error {
            PeopleError::WrongLogin => Self::new(UNKNOWN_PERSON, detail, "用户名或密码错误，或账户已停用"),
            PeopleError::TooLate => {
                Self::new(UNKNOWN_PERSON, detail, "一次性密码已过期：请联系管理员重新生成")
            }
            PeopleError::Wait { wait_ms } => {
                let wait_s = (wait_ms + 999) / 1000;
                let problem = Self::new(TOO_MANY, detail, format!("失败次数过多：请在 {wait_s} 秒后重试"));
                Self { retry_s: Some(wait_s), ..problem }
            }
            PeopleError::NoLink => {
                Self::new(FORBIDDEN, detail, "此链接已使用或已过期：请重新启动 ingest 以获得新链接")
            }
            PeopleError::Forbidden(why) => Self::new(FORBIDDEN, detail, format!("无权操作：{why}")),
            PeopleError::NotFound { name, .. } => Self::new(NOT_FOUND, detail, format!("不存在：{name:?}")),
            PeopleError::Taken { name, .. } => {
                Self::new(CONFLICT, detail, format!("{name:?} 已被占用：用户名与密钥永久属于一人"))
            }
            PeopleError::Unusable { field, detail: why } => {
                Self::new(BAD_CONTENT, detail, format!("{field} 无法使用：{why}"))
            }
            PeopleError::Busy => Self::new(UNAVAILABLE, detail, "同时登录的人过多：请几秒后重试"),
            PeopleError::Database(why) => {
                tracing::error!(error = why, "人员数据库无响应 the database of people does not answer");
                let detail = "the database does not answer; try again later";
                Self::new(UNAVAILABLE, detail, "数据库无响应，请稍后重试")
            }
            PeopleError::Stopped => Self::new(UNAVAILABLE, detail, "接入服务正在停止或操作意外中断：请重试"),
            PeopleError::System => Self::new(INTERNAL, detail, "系统无法提供随机数或内存"),
        }
    }
}
