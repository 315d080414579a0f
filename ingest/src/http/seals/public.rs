//! What can be checked: keys, findings, impressions, photographs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{digest, number};
use crate::http::App;
use crate::http::problem::Problem;
use crate::http::query::Params;
use crate::http::who::Who;
use crate::intake::cut;
use crate::office::OfficeError;
use crate::office::ask::FindingView;
use crate::office::check::ImpressionView;
use crate::people::key_text;
use crate::people::role::Action;

/// The keys that have to be known to check everything else.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct TrustView {
    /// The issuer's key, base64url.
    issuer: String,
    /// The log's verifier key, as tools for signed notes take it.
    log: String,
    /// Those of its witnesses.
    witnesses: Vec<String>,
    /// How many of these have to have seen something.
    witnesses_needed: usize,
    /// The keys that sign rules, base64url.
    roots: Vec<String>,
    /// How many of these have to.
    roots_needed: usize,
}

/// The keys of the office, its log, the witnesses and the roots. Compare them with what those people have published.
#[utoipa::path(get, path = "/api/v1/trust", tag = "seals",
    responses(
        (status = 200, description = "The keys", body = TrustView),
        (status = 503, description = "No office here", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn trust(State(app): State<Arc<App>>) -> Result<Json<TrustView>, Problem> {
    let office = app.office()?;
    let (log, roots) = (office.log_trust(), office.roots(""));
    Ok(Json(TrustView {
        issuer: key_text(&office.issuer()),
        log: log.log.log_verifier(),
        witnesses: log.witnesses.iter().map(|witness| witness.witness_verifier()).collect(),
        witnesses_needed: log.needed,
        roots: roots.keys.iter().map(key_text).collect(),
        roots_needed: roots.needed,
    }))
}

/// The keys that a device of a seal goes by, and whoever checks its receipts: the file of `[seal] roots` on a gateway.
#[utoipa::path(get, path = "/api/v1/roots/{seal}", tag = "seals",
    params(("seal" = String, Path, description = "The name of the seal")),
    responses(
        (status = 200, description = "TOML", content_type = "application/toml", body = String),
        (status = 503, description = "No office here", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn roots(
    State(app): State<Arc<App>>,
    Path(seal): Path<String>,
) -> Result<Response, Problem> {
    let text = configs::roots::text(&app.office()?.roots(&cut(&seal, seal::grant::MAX_TEXT)));
    Ok(([(header::CONTENT_TYPE, "application/toml")], text).into_response())
}

/// What does not agree, newest first, in the areas where I may see the audit: 200 at most. The older ones have `before`.
#[utoipa::path(get, path = "/api/v1/findings", tag = "seals",
    params(("before" = Option<i64>, Query, description = "number of the last one that was seen: those older than that")),
    responses(
        (status = 200, description = "The findings", body = [FindingView]),
        (status = 400, description = "Bad parameter", content_type = "application/problem+json", body = Problem),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn findings(
    State(app): State<Arc<App>>,
    who: Who,
    uri: Uri,
) -> Result<Json<Vec<FindingView>>, Problem> {
    let params = Params::read(&uri, &["before"])?;
    let before = number(&params, "before")?;
    Ok(Json(app.office()?.findings(&who.scopes(Action::SeeAudit), before).await?))
}

/// Whether an impression is covered by a grant: for everybody, by the digest of its receipt or of a photograph of it.
#[utoipa::path(get, path = "/api/v1/impressions/{digest}", tag = "seals",
    params(("digest" = String, Path, description = "SHA-256 of a receipt or of a photograph, hexadecimal")),
    responses(
        (status = 200, description = "What is known, with proofs; nothing when there is no such impression", body = [ImpressionView]),
        (status = 400, description = "No digest", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn impressions(
    State(app): State<Arc<App>>,
    Path(asked): Path<String>,
) -> Result<Json<Vec<ImpressionView>>, Problem> {
    Ok(Json(app.office()?.impressions(&digest(&asked)?).await?))
}

/// A photograph.
#[utoipa::path(get, path = "/api/v1/pictures/{digest}", tag = "seals",
    params(("digest" = String, Path, description = "SHA-256 of it, hexadecimal")),
    responses(
        (status = 200, description = "The photograph", content_type = "image/jpeg", body = Vec<u8>),
        (status = 404, description = "It has not come, or is of no seal that I may look into", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn picture(
    State(app): State<Arc<App>>,
    who: Who,
    Path(asked): Path<String>,
) -> Result<Response, Problem> {
    let office = app.office()?;
    let name = digest(&asked)?;
    let mut is_seen = false;
    for impression in office.impressions(&name).await? {
        let area = office.area_of(&impression.receipt.seal).await?;
        is_seen |= who.must(Action::SeeAudit, &area).is_ok();
    }
    match office.picture(&name).await.filter(|_| is_seen) {
        Some(bytes) => Ok(([(header::CONTENT_TYPE, "image/jpeg")], bytes).into_response()),
        None => Err(OfficeError::NotThere { what: "photograph", name: asked }.into()),
    }
}
