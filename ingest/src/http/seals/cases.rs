//! From application to grant.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use base64ct::{Base64, Encoding as _};
use seal::grant::{Evidence, Fence, HashAlgorithm, Id};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wire::{Area, Datum};

use super::{bytes, content, digest, id, key, own_key};
use crate::clock::now_ms;
use crate::http::App;
use crate::http::body::Form;
use crate::http::problem::{Problem, REFUSED_BY_OFFICE};
use crate::http::query::Params;
use crate::http::who::Who;
use crate::intake::cut;
use crate::office::ask::CaseView;
use crate::office::draft::Wish;
use crate::office::{Office, OfficeError, hex};
use crate::people::account::Login;
use crate::people::read_key;
use crate::people::role::{Action, may};

/// A circle on the ground, WGS-84.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct FenceForm {
    /// Degrees north.
    lat: f64,
    /// Degrees east.
    lon: f64,
    /// Metres around.
    radius_m: u32,
}

/// What is applied for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ApplyForm {
    /// The seal.
    seal: String,
    /// The matter, as the list of powers names it.
    matter: String,
    /// What it is about, for those who approve. It stands in no grant.
    title: String,
    /// The digest of the document, hexadecimal.
    document: String,
    /// How it was digested: `sha-256`, also when absent, or `sm3` where the server is built with it.
    hash: Option<String>,
    /// Pages of it.
    pages: u16,
    /// How many impressions.
    copies: u16,
    /// From when on, milliseconds since 1970 UTC; now when absent.
    not_before_ms: Option<i64>,
    /// Until when; a working day later when absent.
    expires_ms: Option<i64>,
    /// Where; anywhere when absent.
    fence: Option<FenceForm>,
    /// Who may use it beside me.
    #[serde(default)]
    operators: Vec<String>,
    /// Take a photograph of the paper before, whatever the rules say.
    #[serde(default)]
    before: bool,
    /// Take one of the impression.
    #[serde(default)]
    after: bool,
}

/// What came of an application.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct AppliedView {
    /// The id of the grant that it asks for.
    grant: String,
}

fn hash(word: Option<&str>) -> Result<HashAlgorithm, Problem> {
    let Some(word) = word else { return Ok(HashAlgorithm::Sha256) };
    let known =
        HashAlgorithm::ALL.into_iter().find(|hash| hash.as_str() == word && hash.digest(b"").is_some());
    known.ok_or_else(|| {
        let shown = cut(word, 20);
        content(
            format!("hash is {shown:?}: sha-256 expected, or sm3 where ingest is built with --features sm"),
            format!("hash 为 {shown:?}：应为 sha-256，或 sm3（须启用国密特性 sm 编译）"),
        )
    })
}

fn wish(form: ApplyForm) -> Result<(String, String, Wish), Problem> {
    let seconds = |ms: Option<i64>, what: &str| {
        let read = |ms: i64| {
            u64::try_from(ms / 1000).map_err(|_| {
                content(format!("{what} is {ms}: not before 1970"), format!("{what} 为 {ms}：早于 1970 年"))
            })
        };
        ms.map(read).transpose()
    };
    let fence = form.fence.map(|fence| {
        let e7 = |degrees: f64, most: f64| {
            (degrees.abs() <= most).then(|| (degrees * 1e7).round() as i32).ok_or_else(|| {
                content(format!("{degrees} degrees are off the map"), format!("{degrees} 度不在地图上"))
            })
        };
        let (lat_e7, lon_e7) = (e7(fence.lat, 90.0)?, e7(fence.lon, 180.0)?);
        Ok::<_, Problem>(Fence { datum: Datum::Wgs84, lat_e7, lon_e7, radius_m: fence.radius_m })
    });
    let wish = Wish {
        matter: form.matter,
        document: digest(&form.document)?,
        hash: hash(form.hash.as_deref())?,
        pages: form.pages,
        copies: form.copies,
        not_before_s: seconds(form.not_before_ms, "not_before_ms")?,
        expires_s: seconds(form.expires_ms, "expires_ms")?,
        fence: fence.transpose()?,
        operators: form.operators,
        evidence: Evidence { before: form.before, after: form.after, person: false },
    };
    Ok((form.seal, form.title, wish))
}

/// Applies for stamps.
#[utoipa::path(post, path = "/api/v1/applications", tag = "seals", request_body = ApplyForm,
    responses(
        (status = 201, description = "It waits for approval", body = AppliedView),
        (status = 400, description = "Bad content", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "Not an applicant there", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "By the rules it cannot be", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn apply(
    State(app): State<Arc<App>>,
    who: Who,
    Form(form): Form<ApplyForm>,
) -> Result<(StatusCode, Json<AppliedView>), Problem> {
    let office = app.office()?;
    let (seal, title, wish) = wish(form)?;
    who.must(Action::Apply, &office.area_of(&seal).await?)?;
    let grant = office.apply(&seal, &title, wish, who.account().name.as_str(), now_ms()).await?;
    Ok((StatusCode::CREATED, Json(AppliedView { grant: hex(&grant[..]) })))
}

/// Whether somebody may see an application: their own, or as one who decides or watches there.
async fn may_see(office: &Office, who: &Who, case: &CaseView) -> Result<bool, Problem> {
    let area = office.area_of(&case.seal).await?;
    let is_own = case.applicant == who.account().name.as_str();
    Ok(is_own || who.must(Action::SeeApplications, &area).is_ok())
}

/// Applications that I may see, newest first: 200 at most. The older ones have `before`.
#[utoipa::path(get, path = "/api/v1/applications", tag = "seals",
    params(
        ("state" = Option<String>, Query, description = "open, granted, rejected, cancelled or revoked; all when absent"),
        ("before" = Option<String>, Query, description = "grant of the last one that was seen: those older than that")
    ),
    responses(
        (status = 200, description = "The applications", body = [CaseView]),
        (status = 400, description = "Bad parameter", content_type = "application/problem+json", body = Problem),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn applications(
    State(app): State<Arc<App>>,
    who: Who,
    uri: Uri,
) -> Result<Json<Vec<CaseView>>, Problem> {
    let office = app.office()?;
    let params = Params::read(&uri, &["state", "before"])?;
    let before = params.text("before").map(id).transpose()?;
    let (areas, own) = (who.scopes(Action::SeeApplications), who.account().name.as_str());
    Ok(Json(office.cases(params.text("state"), &areas, own, before.as_ref()).await?))
}

async fn seen_case(office: &Office, who: &Who, grant: &str) -> Result<(Id, CaseView), Problem> {
    let grant = id(grant)?;
    let case = office.case(&grant).await?;
    if may_see(office, who, &case).await? {
        return Ok((grant, case));
    }
    Err(OfficeError::NotThere { what: "application", name: case.grant }.into())
}

/// One application.
#[utoipa::path(get, path = "/api/v1/applications/{grant}", tag = "seals",
    params(("grant" = String, Path, description = "The id of the grant, hexadecimal")),
    responses(
        (status = 200, description = "The application", body = CaseView),
        (status = 404, description = "None that I may see", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn application(
    State(app): State<Arc<App>>,
    who: Who,
    Path(grant): Path<String>,
) -> Result<Json<CaseView>, Problem> {
    Ok(Json(seen_case(app.office()?, &who, &grant).await?.1))
}

/// What is to be signed.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ToSignView {
    /// The bytes that the key signs, base64: the Sig_structure of RFC 9052 §4.4 over the payload.
    pub(super) to_be_signed: String,
    /// The grant or delegation in them, base64: show it before signing.
    pub(super) payload: String,
}

/// What the owner of a key signs to approve.
#[utoipa::path(get, path = "/api/v1/applications/{grant}/to-sign", tag = "seals",
    params(
        ("grant" = String, Path, description = "The id of the grant, hexadecimal"),
        ("key" = String, Query, description = "The key, base64url")
    ),
    responses(
        (status = 200, description = "The bytes", body = ToSignView),
        (status = 404, description = "None that I may see", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn to_sign(
    State(app): State<Arc<App>>,
    who: Who,
    Path(grant): Path<String>,
    uri: Uri,
) -> Result<Json<ToSignView>, Problem> {
    let office = app.office()?;
    let params = Params::read(&uri, &["key"])?;
    let key = key(params.text("key").unwrap_or_default())?;
    let (grant, case) = seen_case(office, &who, &grant).await?;
    let to_be_signed = Base64::encode_string(&office.to_sign(&grant, &key).await?);
    Ok(Json(ToSignView { to_be_signed, payload: case.payload }))
}

/// An approval.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ApprovalForm {
    /// My key, base64url.
    key: String,
    /// Its signature over `to_be_signed`, base64.
    signature: String,
}

/// What came of an approval.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ApprovedView {
    /// Whether it was the last one that was needed.
    granted: bool,
}

/// Approves an application, by a signature of my own key.
#[utoipa::path(post, path = "/api/v1/applications/{grant}/approvals", tag = "seals", request_body = ApprovalForm,
    params(("grant" = String, Path, description = "The id of the grant, hexadecimal")),
    responses(
        (status = 200, description = "It counts", body = ApprovedView),
        (status = 400, description = "Bad content", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "Not an approver there, or no passkey was shown in this session", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "It does not count", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn approve(
    State(app): State<Arc<App>>,
    who: Who,
    Path(grant): Path<String>,
    Form(form): Form<ApprovalForm>,
) -> Result<Json<ApprovedView>, Problem> {
    let office = app.office()?;
    app.people.must_have_shown(&who.0)?;
    let (grant, case) = seen_case(office, &who, &grant).await?;
    let area = office.area_of(&case.seal).await?;
    who.must(Action::Approve, &area)?;
    let (key, signature) = (own_key(&who, &form.key)?, bytes(&form.signature, "signature")?);
    let account = who.account();
    // A key that was retired since, or whose owner is gone or does something else now, must not count towards the grant.
    for before in &case.approvals {
        if !signs_still(&app, &area, &before.person, &before.key).await? {
            let person = &before.person;
            return Err(Problem::new(
                REFUSED_BY_OFFICE,
                format!(
                    "{person} has approved with a key that counts no more: reject this, it has to be applied for again"
                ),
                format!("{person} 审批所用密钥已停用：请驳回并重新申请"),
            ));
        }
    }
    // Nor must a delegation by such a key.
    let mut stale = Vec::new();
    let now_ms = now_ms();
    for given in office.delegations_now(&case.seal, now_ms).await? {
        if !signs_still(&app, &area, &given.from, &given.key).await? {
            stale.push(id(&given.delegation)?);
        }
    }
    let granted = office.approve(&grant, account.name.as_str(), &key, &signature, &stale, now_ms).await?;
    Ok(Json(ApprovedView { granted }))
}

/// Whether somebody approves there and signs with a key to this day.
async fn signs_still(app: &App, area: &Area, person: &str, key: &str) -> Result<bool, Problem> {
    let login = Login::new(person).map_err(|error| content(error.to_string(), error.to_string()))?;
    let owner = app.people.account(&login).await?;
    Ok(may(&owner, Action::Approve, area) && read_key(key).is_ok_and(|key| owner.signs_with(&key)))
}

/// A reason.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct WhyForm {
    /// Why, for those who ask later.
    pub(super) why: String,
}

/// Refuses an application.
#[utoipa::path(post, path = "/api/v1/applications/{grant}/rejection", tag = "seals", request_body = WhyForm,
    params(("grant" = String, Path, description = "The id of the grant, hexadecimal")),
    responses(
        (status = 204, description = "It is rejected"),
        (status = 403, description = "Not an approver there", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "It is decided already", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn reject(
    State(app): State<Arc<App>>,
    who: Who,
    Path(grant): Path<String>,
    Form(form): Form<WhyForm>,
) -> Result<StatusCode, Problem> {
    let office = app.office()?;
    let (grant, case) = seen_case(office, &who, &grant).await?;
    who.must(Action::Approve, &office.area_of(&case.seal).await?)?;
    office.end_case(&grant, "rejected", who.account().name.as_str(), &form.why, now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Cancels an application of my own that is not decided.
#[utoipa::path(post, path = "/api/v1/applications/{grant}/cancellation", tag = "seals", request_body = WhyForm,
    params(("grant" = String, Path, description = "The id of the grant, hexadecimal")),
    responses(
        (status = 204, description = "It is cancelled"),
        (status = 404, description = "None of my own", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "It is decided already", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn cancel(
    State(app): State<Arc<App>>,
    who: Who,
    Path(grant): Path<String>,
    Form(form): Form<WhyForm>,
) -> Result<StatusCode, Problem> {
    let office = app.office()?;
    let (grant, case) = seen_case(office, &who, &grant).await?;
    if case.applicant != who.account().name.as_str() {
        return Err(OfficeError::NotThere { what: "application of your own", name: case.grant }.into());
    }
    office.end_case(&grant, "cancelled", &case.applicant, &form.why, now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a grant back: the applicant may, and who may revoke there.
#[utoipa::path(post, path = "/api/v1/applications/{grant}/revocation", tag = "seals", request_body = WhyForm,
    params(("grant" = String, Path, description = "The id of the grant, hexadecimal")),
    responses(
        (status = 204, description = "The seal hears of it when it is connected, or stops when its lease ends"),
        (status = 403, description = "Not there", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "It is not granted", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn revoke(
    State(app): State<Arc<App>>,
    who: Who,
    Path(grant): Path<String>,
    Form(form): Form<WhyForm>,
) -> Result<StatusCode, Problem> {
    let office = app.office()?;
    let (grant, case) = seen_case(office, &who, &grant).await?;
    if case.applicant != who.account().name.as_str() {
        who.must(Action::RevokeGrant, &office.area_of(&case.seal).await?)?;
    }
    office.revoke(&grant, who.account().name.as_str(), &form.why, now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A grant to be carried to a seal.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct CarriedView {
    /// The grant with its proof, base64: `gateway seal present` takes it.
    presented: String,
}

/// The grant with its proof, for a seal that is not connected.
#[utoipa::path(get, path = "/api/v1/applications/{grant}/grant", tag = "seals",
    params(("grant" = String, Path, description = "The id of the grant, hexadecimal")),
    responses(
        (status = 200, description = "The grant", body = CarriedView),
        (status = 404, description = "None that I may see", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "Not granted, or no witness has seen it yet", content_type = "application/problem+json", body = Problem)
    ))]
pub(in crate::http) async fn carried(
    State(app): State<Arc<App>>,
    who: Who,
    Path(grant): Path<String>,
) -> Result<Json<CarriedView>, Problem> {
    let office = app.office()?;
    let (grant, _) = seen_case(office, &who, &grant).await?;
    match office.to_carry(&grant).await? {
        Some(bytes) => Ok(Json(CarriedView { presented: Base64::encode_string(&bytes) })),
        None => Err(Problem::new(
            REFUSED_BY_OFFICE,
            "it is not granted, or not enough witnesses have seen it yet: ask again in a moment",
            "尚未授权，或见证机构尚未签名：请稍后再试",
        )),
    }
}

#[cfg(test)]
mod tests {
    use seal::keys::Algorithm;

    use super::*;

    #[test]
    fn a_document_is_digested_as_the_application_says_and_this_build_knows() {
        for (word, expected) in [
            (None, Some(HashAlgorithm::Sha256)),
            (Some("sha-256"), Some(HashAlgorithm::Sha256)),
            (Some("sm3"), Algorithm::Sm2.is_built_in().then_some(HashAlgorithm::Sm3)),
            (Some("SHA-256"), None),
            (Some("md5"), None),
            (Some(""), None),
        ] {
            assert_eq!(hash(word).ok(), expected, "{word:?}");
        }
    }
}
