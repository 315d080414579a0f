//! One's own password and keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::KeyView;
use crate::clock::now_ms;
use crate::http::App;
use crate::http::body::Form;
use crate::http::problem::Problem;
use crate::http::who::{Newcomer, Who};
use crate::intake::cut;
use crate::people::password::Password;
use crate::people::{NewKey, PeopleError, key_text, read_key};

/// The old and the new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PasswordForm {
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
pub(in crate::http) async fn choose(
    State(app): State<Arc<App>>,
    Newcomer(session): Newcomer,
    Form(form): Form<PasswordForm>,
) -> Result<StatusCode, Problem> {
    app.people.choose(&session, form.old, form.new, now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// My keys.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct KeysView {
    /// With which I sign grants; retired ones too.
    items: Vec<KeyView>,
}

/// The keys I sign with.
#[utoipa::path(get, path = "/api/v1/me/keys", tag = "people",
    responses(
        (status = 200, description = "The keys, retired ones too", body = KeysView),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn keys(who: Who) -> Json<KeysView> {
    Json(KeysView { items: who.account().keys.iter().map(KeyView::from).collect() })
}

/// A key to be registered.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct KeyForm {
    /// The 32 bytes of an Ed25519 key, base64url without padding: x of its JWK. Or `sm2:` and the 33 of a compressed point.
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
        (status = 403, description = "No passkey was shown in this session", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "The key is somebody's already", content_type = "application/problem+json", body = Problem),
        (status = 429, description = "Too many failures", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn add_key(
    State(app): State<Arc<App>>,
    who: Who,
    Form(form): Form<KeyForm>,
) -> Result<(StatusCode, Json<KeyView>), Problem> {
    let unusable = |field, detail: &str| PeopleError::Unusable { field, detail: detail.into() };
    let public = read_key(&form.key).map_err(|why| unusable("key", why.sentences().1))?;
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
pub(in crate::http) async fn retire_key(
    State(app): State<Arc<App>>,
    who: Who,
    Path(key): Path<String>,
) -> Result<Json<KeyView>, Problem> {
    let public =
        read_key(&key).map_err(|_| PeopleError::NotFound { what: "key", name: cut(&key, 60).to_string() })?;
    let key = app.people.retire_key(&who.0, public, now_ms()).await?;
    tracing::info!(account = %who.account().name, key = key_text(&key.public), "已停用密钥 a key was retired");
    Ok(Json(KeyView::from(&key)))
}
