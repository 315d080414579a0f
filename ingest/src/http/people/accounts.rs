//! What admins do with the accounts of others.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::AccountView;
use super::passkeys::passkey_id;
use crate::clock::now_ms;
use crate::http::App;
use crate::http::body::Form;
use crate::http::problem::Problem;
use crate::http::query::Params;
use crate::http::who::Who;
use crate::intake::cut;
use crate::people::account::{self, Account, Login};
use crate::people::role::{Action, Duty, may_assign, may_manage};
use crate::people::{Change, NewAccount, PeopleError};
use crate::views::{MAX_PAGE, Page};

/// Accounts of a page when nobody says.
const PAGE: usize = 100;

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
pub(in crate::http) async fn accounts(
    State(app): State<Arc<App>>,
    who: Who,
    uri: Uri,
) -> Result<Json<Page<AccountView>>, Problem> {
    must_be_admin(&who)?;
    let params = Params::read(&uri, &["limit", "cursor"])?;
    let limit = params.limit(MAX_PAGE)?.unwrap_or(PAGE);
    let found = app.people.accounts(params.text("cursor").unwrap_or(""), limit).await?;
    let next = if found.len() == limit { found.last().map(|last| last.name.to_string()) } else { None };
    let items = found.iter().filter(|account| may_see(&who, account)).map(AccountView::from).collect();
    Ok(Json(Page { items, next }))
}

/// An account to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct AccountForm {
    #[schema(value_type = String)]
    name: Login,
    /// The name others see.
    shown: String,
    roles: Vec<Duty>,
}

/// An account and its password, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CreatedView {
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
pub(in crate::http) async fn create(
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
pub(in crate::http) async fn account(
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
pub(in crate::http) struct ChangeForm {
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
pub(in crate::http) async fn change(
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
pub(in crate::http) async fn reset(
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

/// Removes a passkey that somebody lost, and logs them out. The password stays.
#[utoipa::path(delete, path = "/api/v1/accounts/{name}/passkeys/{id}", tag = "people",
    params(
        ("name" = String, Path, description = "The name to log in with"),
        ("id" = String, Path, description = "The id of the passkey, base64url")
    ),
    responses(
        (status = 204, description = "It lets nobody in any more"),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "Not in this area, oneself, or no passkey was shown in this session", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "No such account or passkey", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn take_passkey(
    State(app): State<Arc<App>>,
    who: Who,
    Path((name, id)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    must_be_admin(&who)?;
    let (by, name, id) = (&who.account().name, named(&name)?, passkey_id(&id)?);
    app.people.take_passkey(&who.0, &name, id.clone()).await?;
    tracing::warn!(account = %name, %by, passkey = %id, "管理员已移除通行密钥 an admin removed a passkey");
    Ok(StatusCode::NO_CONTENT)
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
