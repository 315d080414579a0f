//! Seals: what is applied for, approved, granted and stamped.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64ct::{Base64, Encoding as _};
use seal::grant::{Evidence, Fence, Id};
use seal::keys::{Digest, PublicKey};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wire::{Area, Datum, GatewayId};

use super::App;
use super::body::Form;
use super::problem::{BAD_CONTENT, INTERNAL, NOT_FOUND, Problem, REFUSED_BY_OFFICE, UNAVAILABLE};
use super::query::Params;
use super::who::Who;
use crate::clock::now_ms;
use crate::intake::cut;
use crate::office::acts::Enrolment;
use crate::office::ask::{CaseView, FindingView, SealView, TimelineView};
use crate::office::check::ImpressionView;
use crate::office::draft::Wish;
use crate::office::{Office, OfficeError, unhex};
use crate::people::role::Action;
use crate::people::{key_text, read_key};

impl From<OfficeError> for Problem {
    fn from(error: OfficeError) -> Self {
        let detail = error.to_string();
        match error {
            OfficeError::No(no) => Self::new(REFUSED_BY_OFFICE, no.en, no.zh),
            OfficeError::NotThere { what, name } => {
                Self::new(NOT_FOUND, detail, format!("没有这个 {what}：{name:?}"))
            }
            OfficeError::SetBack { .. }
            | OfficeError::Database(_)
            | OfficeError::Log(_)
            | OfficeError::File(_)
            | OfficeError::KeyFile(_)
            | OfficeError::Key => {
                tracing::error!(detail, "印章业务故障 the office of seals has a problem");
                Self::new(INTERNAL, detail.clone(), format!("印章业务故障：{detail}"))
            }
        }
    }
}

impl App {
    fn office(&self) -> Result<&Office, Problem> {
        self.office.as_ref().ok_or_else(|| {
            Problem::new(
                UNAVAILABLE,
                "there is no office of seals here: [seals] in the configuration sets one up",
                "本机未启用印章业务：请在配置中设置 [seals]",
            )
        })
    }
}

fn content(en: impl Into<String>, zh: impl Into<String>) -> Problem {
    Problem::new(BAD_CONTENT, en, zh)
}

fn id(text: &str) -> Result<Id, Problem> {
    unhex::<16>(text).map(Id::from).ok_or_else(|| {
        let shown = cut(text, 60);
        content(
            format!("{shown:?} is no id of a grant: 32 hexadecimal digits expected"),
            format!("{shown:?} 不是授权编号：应为 32 位十六进制"),
        )
    })
}

fn digest(text: &str) -> Result<Digest, Problem> {
    unhex::<32>(text).map(Digest::from).ok_or_else(|| {
        let shown = cut(text, 80);
        content(
            format!("{shown:?} is no SHA-256 digest: 64 hexadecimal digits expected"),
            format!("{shown:?} 不是 SHA-256 摘要：应为 64 位十六进制"),
        )
    })
}

fn key(text: &str) -> Result<PublicKey, Problem> {
    read_key(text).ok_or_else(|| {
        let shown = cut(text, 60);
        content(
            format!("{shown:?} is no Ed25519 key: 32 bytes in base64url without padding expected"),
            format!("{shown:?} 不是 Ed25519 公钥：应为 32 字节的 base64url（无填充）"),
        )
    })
}

fn bytes(text: &str, what: &str) -> Result<Vec<u8>, Problem> {
    Base64::decode_vec(text)
        .map_err(|_| content(format!("{what} is no base64"), format!("{what} 不是有效的 base64")))
}

/// The keys that have to be known to check everything else.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrustView {
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
pub(super) async fn trust(State(app): State<Arc<App>>) -> Result<Json<TrustView>, Problem> {
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
pub(super) async fn roots(
    State(app): State<Arc<App>>,
    Path(seal): Path<String>,
) -> Result<Response, Problem> {
    let text = configs::roots::text(&app.office()?.roots(&cut(&seal, seal::grant::MAX_TEXT)));
    Ok(([(header::CONTENT_TYPE, "application/toml")], text).into_response())
}

/// The seals of the areas in which I may see them.
#[utoipa::path(get, path = "/api/v1/seals", tag = "seals",
    responses(
        (status = 200, description = "The seals", body = [SealView]),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn seals(State(app): State<Arc<App>>, who: Who) -> Result<Json<Vec<SealView>>, Problem> {
    let all = app.office()?.seals().await?;
    let mine = all.into_iter().filter(|(area, _)| who.must(Action::SeeSeals, area).is_ok());
    Ok(Json(mine.map(|(_, view)| view).collect()))
}

/// A seal to be brought into service.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EnrolForm {
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
pub(super) async fn enrol(
    State(app): State<Arc<App>>,
    who: Who,
    Form(form): Form<EnrolForm>,
) -> Result<StatusCode, Problem> {
    let office = app.office()?;
    let wrong = |what: &str, why: String| content(format!("{what}: {why}"), format!("{what} 有误：{why}"));
    let area = Area::new(&form.area).map_err(|error| wrong("area", error.to_string()))?;
    who.must(Action::EnrolSeal, &area)?;
    // Who moves a seal must be allowed to at both ends.
    if let Ok(before) = office.area_of(&form.seal).await {
        who.must(Action::EnrolSeal, &before)?;
    }
    let gateway = GatewayId::new(&form.gateway).map_err(|error| wrong("gateway", error.to_string()))?;
    let enrolment = Enrolment { seal: form.seal, area, gateway, key: key(&form.key)? };
    office.enrol(enrolment, who.account().name.as_str(), now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Everything about a seal: applications, grants, receipts, refusals, what does not agree.
#[utoipa::path(get, path = "/api/v1/seals/{seal}", tag = "seals",
    params(("seal" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "Its timeline", body = TimelineView),
        (status = 403, description = "Not an auditor there", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "No such seal", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn timeline(
    State(app): State<Arc<App>>,
    who: Who,
    Path(seal): Path<String>,
) -> Result<Json<TimelineView>, Problem> {
    let office = app.office()?;
    who.must(Action::SeeAudit, &office.area_of(&seal).await?)?;
    Ok(Json(office.timeline(&seal).await?))
}

/// Whether a seal is to be locked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LockForm {
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
pub(super) async fn lock(
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

/// Says that somebody has looked into the tampering that a seal has told of.
#[utoipa::path(post, path = "/api/v1/seals/{seal}/clear", tag = "seals",
    params(("seal" = String, Path, description = "Its name")),
    responses(
        (status = 204, description = "It hears of it when it is connected"),
        (status = 403, description = "Not there", content_type = "application/problem+json", body = Problem),
        (status = 404, description = "No such seal", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn clear(
    State(app): State<Arc<App>>,
    who: Who,
    Path(seal): Path<String>,
) -> Result<StatusCode, Problem> {
    let office = app.office()?;
    who.must(Action::ClearSeal, &office.area_of(&seal).await?)?;
    office.clear(&seal, who.account().name.as_str(), now_ms()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Rules that the roots have signed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyForm {
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
pub(super) async fn put_policy(
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

/// A circle on the ground, WGS-84.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FenceForm {
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
pub(super) struct ApplyForm {
    /// The seal.
    seal: String,
    /// The matter, as the list of powers names it.
    matter: String,
    /// What it is about, for those who approve. It stands in no grant.
    title: String,
    /// SHA-256 of the document, hexadecimal.
    document: String,
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
pub(super) struct AppliedView {
    /// The id of the grant that it asks for.
    grant: String,
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
pub(super) async fn apply(
    State(app): State<Arc<App>>,
    who: Who,
    Form(form): Form<ApplyForm>,
) -> Result<(StatusCode, Json<AppliedView>), Problem> {
    let office = app.office()?;
    let (seal, title, wish) = wish(form)?;
    who.must(Action::Apply, &office.area_of(&seal).await?)?;
    let grant = office.apply(&seal, &title, wish, who.account().name.as_str(), now_ms()).await?;
    let grant = grant.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((StatusCode::CREATED, Json(AppliedView { grant })))
}

/// Whether somebody may see an application: their own, or as one who decides or watches there.
async fn may_see(office: &Office, who: &Who, case: &CaseView) -> Result<bool, Problem> {
    let area = office.area_of(&case.seal).await?;
    let is_own = case.applicant == who.account().name.as_str();
    Ok(is_own || who.must(Action::SeeApplications, &area).is_ok())
}

/// Applications that I may see, newest first: 200 at most.
#[utoipa::path(get, path = "/api/v1/applications", tag = "seals",
    params(("state" = Option<String>, Query, description = "open, granted, rejected, cancelled or revoked; all when absent")),
    responses(
        (status = 200, description = "The applications", body = [CaseView]),
        (status = 400, description = "Bad parameter", content_type = "application/problem+json", body = Problem),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn applications(
    State(app): State<Arc<App>>,
    who: Who,
    uri: Uri,
) -> Result<Json<Vec<CaseView>>, Problem> {
    let office = app.office()?;
    let params = Params::read(&uri, &["state"])?;
    let mut mine = Vec::new();
    for case in office.cases(params.text("state")).await? {
        if may_see(office, &who, &case).await? {
            mine.push(case);
        }
    }
    Ok(Json(mine))
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
pub(super) async fn application(
    State(app): State<Arc<App>>,
    who: Who,
    Path(grant): Path<String>,
) -> Result<Json<CaseView>, Problem> {
    Ok(Json(seen_case(app.office()?, &who, &grant).await?.1))
}

/// What is to be signed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ToSignView {
    /// The bytes that the key signs, base64: the Sig_structure of RFC 9052 §4.4 over the grant.
    to_be_signed: String,
    /// The grant in them, base64: show it before signing.
    payload: String,
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
pub(super) async fn to_sign(
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
pub(super) struct ApprovalForm {
    /// My key, base64url.
    key: String,
    /// Its signature over `to_be_signed`, base64.
    signature: String,
}

/// What came of an approval.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApprovedView {
    /// Whether it was the last one that was needed.
    granted: bool,
}

/// Approves an application, by a signature of my own key.
#[utoipa::path(post, path = "/api/v1/applications/{grant}/approvals", tag = "seals", request_body = ApprovalForm,
    params(("grant" = String, Path, description = "The id of the grant, hexadecimal")),
    responses(
        (status = 200, description = "It counts", body = ApprovedView),
        (status = 400, description = "Bad content", content_type = "application/problem+json", body = Problem),
        (status = 403, description = "Not an approver there", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "It does not count", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn approve(
    State(app): State<Arc<App>>,
    who: Who,
    Path(grant): Path<String>,
    Form(form): Form<ApprovalForm>,
) -> Result<Json<ApprovedView>, Problem> {
    let office = app.office()?;
    let (grant, case) = seen_case(office, &who, &grant).await?;
    who.must(Action::Approve, &office.area_of(&case.seal).await?)?;
    let (key, signature) = (key(&form.key)?, bytes(&form.signature, "signature")?);
    let account = who.account();
    if !account.signs_with(&key) {
        return Err(Problem::new(
            REFUSED_BY_OFFICE,
            "this key is not registered under your name, or no longer: POST /api/v1/me/keys",
            "该密钥未登记在您名下或已停用：POST /api/v1/me/keys",
        ));
    }
    let granted = office.approve(&grant, account.name.as_str(), &key, &signature, now_ms()).await?;
    Ok(Json(ApprovedView { granted }))
}

/// A reason.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WhyForm {
    /// Why, for those who ask later.
    why: String,
}

/// Refuses an application.
#[utoipa::path(post, path = "/api/v1/applications/{grant}/rejection", tag = "seals", request_body = WhyForm,
    params(("grant" = String, Path, description = "The id of the grant, hexadecimal")),
    responses(
        (status = 204, description = "It is rejected"),
        (status = 403, description = "Not an approver there", content_type = "application/problem+json", body = Problem),
        (status = 409, description = "It is decided already", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn reject(
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
pub(super) async fn cancel(
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
pub(super) async fn revoke(
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
pub(super) struct CarriedView {
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
pub(super) async fn carried(
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

/// What does not agree, newest first, in the areas where I may see the audit.
#[utoipa::path(get, path = "/api/v1/findings", tag = "seals",
    responses(
        (status = 200, description = "The findings", body = [FindingView]),
        (status = 401, description = "Not logged in", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn findings(
    State(app): State<Arc<App>>,
    who: Who,
) -> Result<Json<Vec<FindingView>>, Problem> {
    let office = app.office()?;
    let mut mine = Vec::new();
    for finding in office.findings(None).await? {
        // What no seal has signed is for whoever sees the audit of the whole city.
        let area = office.area_of(&finding.seal).await.or_else(|_| Area::new("*"));
        if area.is_ok_and(|area| who.must(Action::SeeAudit, &area).is_ok()) {
            mine.push(finding);
        }
    }
    Ok(Json(mine))
}

/// Whether an impression is covered by a grant: for everybody, by the digest of its receipt or of a photograph of it.
#[utoipa::path(get, path = "/api/v1/impressions/{digest}", tag = "seals",
    params(("digest" = String, Path, description = "SHA-256 of a receipt or of a photograph, hexadecimal")),
    responses(
        (status = 200, description = "What is known, with proofs; nothing when there is no such impression", body = [ImpressionView]),
        (status = 400, description = "No digest", content_type = "application/problem+json", body = Problem)
    ))]
pub(super) async fn impressions(
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
pub(super) async fn picture(
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
