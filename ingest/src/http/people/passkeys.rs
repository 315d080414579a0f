//! One's own passkeys.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::PasskeyView;
use crate::clock::now_ms;
use crate::http::App;
use crate::http::body::Form;
use crate::http::problem::Problem;
use crate::http::who::Who;
use crate::intake::cut;
use crate::people::PeopleError;
use crate::people::passkey::PasskeyId;
use crate::people::password::Password;

/// My passkeys.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct PasskeysView {
    /// With each of which I log in, after the password.
    items: Vec<PasskeyView>,
}

/// The passkeys I log in with.
#[utoipa::path(get, path = "/api/v1/me/passkeys", tag = "people",
    responses(
        (status = 200, description = "The passkeys", body = PasskeysView),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn passkeys(who: Who) -> Json<PasskeysView> {
    Json(PasskeysView { items: who.account().passkeys.iter().map(PasskeyView::from).collect() })
}

/// My password once more.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Again {
    #[schema(value_type = String)]
    password: Password,
}

/// What the browser is asked.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct OptionsView {
    /// For `navigator.credentials.create`: `publicKey` of Web Authentication, as JSON. Good once, for five minutes, in
    /// this session.
    #[schema(value_type = Object)]
    options: Value,
}

/// Asks for a new passkey. Who holds one already has to have shown it within ten minutes.
#[utoipa::path(post, path = "/api/v1/me/passkeys/options", tag = "people", request_body = Again,
    responses(
        (status = 200, description = "What the browser is asked", body = OptionsView),
        (status = 400, description = "Bad content, or as many as there may be", content_type = "application/problem+json", body = Problem),
        (status = 401, description = "Not logged in, or the password is wrong", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "No passkey was shown of late", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "Passkeys are off: no origin is configured", content_type = "application/problem+json", body = Problem),
        (status = 429, description = "Too many failures", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn ask(
    State(app): State<Arc<App>>,
    who: Who,
    Form(again): Form<Again>,
) -> Result<Json<OptionsView>, Problem> {
    let options = app.people.ask_passkey(&who.0, again.password, now_ms()).await?;
    Ok(Json(OptionsView { options }))
}

/// A new passkey.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PasskeyForm {
    /// What I call it.
    label: String,
    /// What `navigator.credentials.create` gave, as JSON (`toJSON`).
    #[schema(value_type = Object)]
    credential: Value,
}

/// Registers the passkey that was asked for. Other sessions of this account end.
#[utoipa::path(post, path = "/api/v1/me/passkeys", tag = "people", request_body = PasskeyForm,
    responses(
        (status = 201, description = "The passkey", body = PasskeyView),
        (status = 400, description = "Bad content", content_type = "application/problem+json", body = Problem),
        (status = 401, description = "Not logged in, not asked here, too late, or not accepted", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "It is somebody's already", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn add(
    State(app): State<Arc<App>>,
    who: Who,
    Form(form): Form<PasskeyForm>,
) -> Result<(StatusCode, Json<PasskeyView>), Problem> {
    let passkey = app.people.add_passkey(&who.0, form.label, form.credential, now_ms()).await?;
    tracing::info!(account = %who.account().name, passkey = %passkey.id, "已登记通行密钥 a passkey was registered");
    Ok((StatusCode::CREATED, Json(PasskeyView::from(&passkey))))
}

/// Another name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NameForm {
    /// What I call it.
    label: String,
}

/// Gives one of my passkeys another name.
#[utoipa::path(patch, path = "/api/v1/me/passkeys/{id}", tag = "people", request_body = NameForm,
    params(("id" = String, Path, description = "As GET /api/v1/me/passkeys writes it")),
    responses(
        (status = 204, description = "It is called so"),
        (status = 400, description = "Bad content", content_type = "application/problem+json", body = Problem),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "Not a passkey of mine", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn rename(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<String>,
    Form(form): Form<NameForm>,
) -> Result<StatusCode, Problem> {
    app.people.rename_passkey(&who.0, passkey_id(&id)?, form.label).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes one of my passkeys, but never the last one: that takes an admin. Other sessions of this account end.
#[utoipa::path(post, path = "/api/v1/me/passkeys/{id}/removal", tag = "people", request_body = Again,
    params(("id" = String, Path, description = "As GET /api/v1/me/passkeys writes it")),
    responses(
        (status = 204, description = "It lets nobody in any more"),
        (status = 400, description = "Bad content", content_type = "application/problem+json", body = Problem),
        (status = 401, description = "Not logged in, or the password is wrong", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "The last one, or no passkey was shown of late", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "Not a passkey of mine", content_type = "application/problem+json", body = Problem),
        (status = 429, description = "Too many failures", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn remove(
    State(app): State<Arc<App>>,
    who: Who,
    Path(id): Path<String>,
    Form(again): Form<Again>,
) -> Result<StatusCode, Problem> {
    let id = passkey_id(&id)?;
    app.people.remove_passkey(&who.0, again.password, id.clone(), now_ms()).await?;
    tracing::warn!(account = %who.account().name, passkey = %id, "已移除通行密钥 a passkey was removed");
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn passkey_id(text: &str) -> Result<PasskeyId, PeopleError> {
    let missing = || PeopleError::NotFound { what: "passkey", name: cut(text, 60).to_string() };
    PasskeyId::read(text).ok_or_else(missing)
}
