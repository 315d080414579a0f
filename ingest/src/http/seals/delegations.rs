//! Who approves in whose place.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use base64ct::{Base64, Encoding as _};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::cases::{ToSignView, WhyForm};
use super::{bytes, content, id, key, own_key};
use crate::clock::now_ms;
use crate::http::App;
use crate::http::body::Form;
use crate::http::problem::Problem;
use crate::http::query::Params;
use crate::http::who::Who;
use crate::office::ask::DelegationView;
use crate::office::deputies::Absence;
use crate::office::{Office, OfficeError, hex};
use crate::people::role::Action;

/// What I want a deputy to approve.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct AbsenceForm {
    /// The seal.
    seal: String,
    /// Who approves in my place: somebody whom the rules of the seal name.
    to: String,
    /// Which matters: mine, and such as may be delegated.
    matters: Vec<String>,
    /// From when on, milliseconds since 1970 UTC; now when absent.
    from_ms: Option<i64>,
    /// Until when, 31 days later at most.
    until_ms: i64,
    /// The key that will sign, base64url.
    key: String,
}

/// Drafts a delegation of mine: the bytes that I sign. Nothing is kept.
#[utoipa::path(post, path = "/api/v1/delegations/draft", tag = "seals", request_body = AbsenceForm,
    responses(
        (status = 200, description = "The bytes", body = ToSignView),
        (status = 400, description = "Bad content", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "Not an approver there", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "By the rules it cannot be", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn draft(
    State(app): State<Arc<App>>,
    who: Who,
    Form(form): Form<AbsenceForm>,
) -> Result<Json<ToSignView>, Problem> {
    let office = app.office()?;
    who.must(Action::Approve, &office.area_of(&form.seal).await?)?;
    let seconds = |ms: i64| {
        u64::try_from(ms / 1000)
            .map_err(|_| content(format!("{ms} ms is before 1970"), format!("{ms} 毫秒早于 1970 年")))
    };
    let absence = Absence {
        from_s: form.from_ms.map(seconds).transpose()?,
        until_s: seconds(form.until_ms)?,
        seal: form.seal,
        to: form.to,
        matters: form.matters,
    };
    let from = who.account().name.as_str();
    let (payload, to_be_signed) = office.draft_delegation(absence, from, &key(&form.key)?, now_ms()).await?;
    Ok(Json(ToSignView {
        to_be_signed: Base64::encode_string(&to_be_signed),
        payload: Base64::encode_string(&payload),
    }))
}

/// A delegation that was signed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct DelegationForm {
    /// The delegation, base64, as it was drafted.
    payload: String,
    /// My key, base64url.
    key: String,
    /// Its signature over `to_be_signed`, base64.
    signature: String,
}

/// What came of a delegation.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct DeputedView {
    /// Its id.
    delegation: String,
}

/// Gives a delegation, by a signature of my own key.
#[utoipa::path(post, path = "/api/v1/delegations", tag = "seals", request_body = DelegationForm,
    responses(
        (status = 201, description = "The seal is given it when it is connected", body = DeputedView),
        (status = 400, description = "Bad content", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "Not an approver there", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "It cannot be taken", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn give(
    State(app): State<Arc<App>>,
    who: Who,
    Form(form): Form<DelegationForm>,
) -> Result<(StatusCode, Json<DeputedView>), Problem> {
    let office = app.office()?;
    app.people.must_have_shown(&who.0)?;
    let (payload, signature) = (bytes(&form.payload, "payload")?, bytes(&form.signature, "signature")?);
    // What cannot be read the office refuses, and says why.
    if let Some(read) = seal::delegation::Delegation::read(&payload) {
        who.must(Action::Approve, &office.area_of(&read.seal).await?)?;
    }
    let (key, person) = (own_key(&who, &form.key)?, who.account().name.as_str());
    let id = office.depute(&payload, person, &key, &signature, now_ms()).await?;
    Ok((StatusCode::CREATED, Json(DeputedView { delegation: hex(&id[..]) })))
}

/// Whether somebody may see a delegation: those whom it names, and who sees applications or may withdraw it there.
async fn may_see(office: &Office, who: &Who, view: &DelegationView) -> Result<bool, Problem> {
    let name = who.account().name.as_str();
    let area = office.area_of(&view.seal).await?;
    let has_part = [&view.from, &view.to].into_iter().any(|person| person == name);
    let may = |action| who.must(action, &area).is_ok();
    Ok(has_part || may(Action::SeeApplications) || may(Action::WithdrawDelegation))
}

/// Delegations that I may see, newest first: 200 at most.
#[utoipa::path(get, path = "/api/v1/delegations", tag = "seals",
    params(("seal" = Option<String>, Query, description = "Of this seal; of all when absent")),
    responses(
        (status = 200, description = "The delegations", body = [DelegationView]),
        (status = 400, description = "Bad parameter", content_type = "application/problem+json", body = Problem),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn delegations(
    State(app): State<Arc<App>>,
    who: Who,
    uri: Uri,
) -> Result<Json<Vec<DelegationView>>, Problem> {
    let office = app.office()?;
    let params = Params::read(&uri, &["seal"])?;
    let mut areas = who.scopes(Action::SeeApplications);
    areas.extend(who.scopes(Action::WithdrawDelegation));
    let own = who.account().name.as_str();
    Ok(Json(office.delegations(params.text("seal"), &areas, own).await?))
}

/// Withdraws a delegation: who has given it may, and an admin there.
#[utoipa::path(post, path = "/api/v1/delegations/{delegation}/withdrawal", tag = "seals", request_body = WhyForm,
    params(("delegation" = String, Path, description = "Its id, hexadecimal")),
    responses(
        (status = 204, description = "The seal hears of it when it is connected, or stops when its lease ends"),
        (status = 403, description = "Not there", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "None that I may see", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "It has ended", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn withdraw(
    State(app): State<Arc<App>>,
    who: Who,
    Path(delegation): Path<String>,
    Form(form): Form<WhyForm>,
) -> Result<StatusCode, Problem> {
    let office = app.office()?;
    let id = id(&delegation)?;
    let view = office.delegation(&id).await?;
    if !may_see(office, &who, &view).await? {
        return Err(OfficeError::NotThere { what: "delegation", name: view.delegation }.into());
    }
    let name = who.account().name.as_str();
    if view.from != name {
        who.must(Action::WithdrawDelegation, &office.area_of(&view.seal).await?)?;
    }
    office.withdraw(&id, name, &form.why, now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}
