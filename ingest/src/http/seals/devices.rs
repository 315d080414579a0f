//! Seals themselves: enrolling, locking, rules, and all that happened to one.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use utoipa::ToSchema;
use wire::{Area, GatewayId};

use super::{bytes, content, digest, id, key, number};
use crate::clock::now_ms;
use crate::http::App;
use crate::http::body::Form;
use crate::http::problem::Problem;
use crate::http::query::Params;
use crate::http::who::Who;
use crate::office::acts::Enrolment;
use crate::office::ask::{Before, SealView, TimelineView};
use crate::people::role::Action;

/// The seals of the areas in which I may see them, by name: 200 at most. Those behind them have `after`.
#[utoipa::path(get, path = "/api/v1/seals", tag = "seals",
    params(("after" = Option<String>, Query, description = "name of the last one that was seen")),
    responses(
        (status = 200, description = "The seals", body = [SealView]),
        (status = 400, description = "Bad parameter", content_type = "application/problem+json", body = Problem),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn seals(
    State(app): State<Arc<App>>,
    who: Who,
    uri: Uri,
) -> Result<Json<Vec<SealView>>, Problem> {
    let params = Params::read(&uri, &["after"])?;
    let after = params.text("after").unwrap_or_default();
    Ok(Json(app.office()?.seals(&who.scopes(Action::SeeSeals), after).await?))
}

/// A seal to be brought into service.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct EnrolForm {
    /// Its name.
    seal: String,
    /// Where it belongs.
    area: String,
    /// The gateway that it is part of.
    gateway: String,
    /// The key of its device, base64url: what `gateway seal init` has shown.
    key: String,
}

/// Brings a seal into service, or gives it another key.
#[utoipa::path(post, path = "/api/v1/seals", tag = "seals", request_body = EnrolForm,
    responses(
        (status = 204, description = "It is enrolled"),
        (status = 400, description = "Bad content", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "Not an installer there", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn enrol(
    State(app): State<Arc<App>>,
    who: Who,
    Form(form): Form<EnrolForm>,
) -> Result<StatusCode, Problem> {
    let office = app.office()?;
    let wrong = |what: &str, why: String| content(format!("{what}: {why}"), format!("{what} 有误：{why}"));
    let area = Area::new(&form.area).map_err(|error| wrong("area", error.to_string()))?;
    who.must(Action::EnrolSeal, &area)?;
    // Who moves a seal must be allowed to at both ends; and nobody gives a seal another key with the roles of one.
    if let Ok(before) = office.area_of(&form.seal).await {
        who.must(Action::EnrolSeal, &before)?;
        who.must(Action::ClearSeal, &before)?;
    }
    let gateway = GatewayId::new(&form.gateway).map_err(|error| wrong("gateway", error.to_string()))?;
    let enrolment = Enrolment { seal: form.seal, area, gateway, key: key(&form.key)? };
    office.enrol(enrolment, who.account().name.as_str(), now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Everything about a seal: applications, grants, receipts, refusals, what does not agree, 200 of each at most. What is older
/// has the parameters, each the last one that was seen.
#[utoipa::path(get, path = "/api/v1/seals/{seal}", tag = "seals",
    params(
        ("seal" = String, Path, description = "Its name"),
        ("application" = Option<String>, Query, description = "grant of an application: those older than that"),
        ("receipt" = Option<String>, Query, description = "digest of a receipt: those older than that"),
        ("finding" = Option<i64>, Query, description = "number of a finding: those older than that")
    ),
    responses(
        (status = 200, description = "Its timeline", body = TimelineView),
        (status = 400, description = "Bad parameter", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "Not an auditor there", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "No such seal", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn timeline(
    State(app): State<Arc<App>>,
    who: Who,
    Path(seal): Path<String>,
    uri: Uri,
) -> Result<Json<TimelineView>, Problem> {
    let office = app.office()?;
    let params = Params::read(&uri, &["application", "receipt", "finding"])?;
    let before = Before {
        application: params.text("application").map(id).transpose()?,
        receipt: params.text("receipt").map(digest).transpose()?,
        finding: number(&params, "finding")?,
    };
    who.must(Action::SeeAudit, &office.area_of(&seal).await?)?;
    Ok(Json(office.timeline(&seal, &before).await?))
}

/// Whether a seal is to be locked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct LockForm {
    /// True locks it, false unlocks it.
    locked: bool,
}

/// Locks a seal from afar, or unlocks it.
#[utoipa::path(post, path = "/api/v1/seals/{seal}/lock", tag = "seals", request_body = LockForm,
    params(("seal" = String, Path, description = "Its name")),
    responses(
        (status = 204, description = "It hears of it when it is connected"),
        (status = 403, description = "Not there", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "No such seal", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn lock(
    State(app): State<Arc<App>>,
    who: Who,
    Path(seal): Path<String>,
    Form(form): Form<LockForm>,
) -> Result<StatusCode, Problem> {
    let office = app.office()?;
    let action = if form.locked { Action::LockSeal } else { Action::ClearSeal };
    who.must(action, &office.area_of(&seal).await?)?;
    office.lock(&seal, form.locked, who.account().name.as_str(), now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What somebody has looked into.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ClearForm {
    /// `tampered_ever` of the seal as they have seen it: what came since is not cleared.
    tampered_ever: u32,
}

/// Says that somebody has looked into the tampering that a seal has told of.
#[utoipa::path(post, path = "/api/v1/seals/{seal}/clear", tag = "seals", request_body = ClearForm,
    params(("seal" = String, Path, description = "Its name")),
    responses(
        (status = 204, description = "It hears of it when it is connected"),
        (status = 403, description = "Not there", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "No such seal", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn clear(
    State(app): State<Arc<App>>,
    who: Who,
    Path(seal): Path<String>,
    Form(form): Form<ClearForm>,
) -> Result<StatusCode, Problem> {
    let office = app.office()?;
    who.must(Action::ClearSeal, &office.area_of(&seal).await?)?;
    office.clear(&seal, form.tampered_ever, who.account().name.as_str(), now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Rules that the roots have signed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PolicyForm {
    /// What `ingest seal policy` has written, base64.
    policy: String,
}

/// Takes rules for a seal. It is the roots' signatures that count.
#[utoipa::path(post, path = "/api/v1/policies", tag = "seals", request_body = PolicyForm,
    responses(
        (status = 204, description = "They are in force as soon as the seal has heard of them"),
        (status = 400, description = "Not signed rules", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "Not an admin", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "They cannot be taken", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn put_policy(
    State(app): State<Arc<App>>,
    who: Who,
    Form(form): Form<PolicyForm>,
) -> Result<StatusCode, Problem> {
    let office = app.office()?;
    let bytes = bytes(&form.policy, "policy")?;
    // Of no seal that is known here: the office says so better.
    if let Some(seal) = crate::office::seal_of_policy(&bytes) {
        who.must(Action::ProposePolicy, &office.area_of(&seal).await?)?;
    }
    office.put_policy(bytes, now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}
