//! What people ask the office, as the API shows it. Bytes are base64, digests and ids hexadecimal.

use base64ct::{Base64, Encoding as _};
use seal::delegation::Delegation;
use seal::envelope::{Envelope, Kind};
use seal::grant::{Evidence, Fence, Grant, Id};
use seal::keys::Digest;
use seal::policy::Policy;
use serde::Serialize;
use utoipa::ToSchema;
use wire::Area;

use super::book::Book;
use super::sql::{self, Case, Cases, FindingRow, ReceiptRow};
use super::{Office, OfficeError, hex, picture_name};
use crate::people::key_text;
use crate::people::role::Scope;

/// Most that is listed at once: an answer is some hundred kB at most.
pub const PAGE: usize = 200;

/// A seal.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SealView {
    /// Its name.
    pub seal: String,
    /// Where it belongs.
    pub area: String,
    /// The gateway that it is part of.
    pub gateway: String,
    /// The key of its device, base64url.
    pub key: String,
    /// Number of its newest rules; 0 when it has none.
    pub policy: u32,
    /// Whom its rules name: those who can be deputies.
    pub people: Vec<String>,
    /// What can be stamped with it.
    pub matters: Vec<MatterView>,
    /// Whether it is for rehearsals.
    pub is_test: bool,
    /// Whether it is locked from here.
    pub is_locked: bool,
    /// Tampering that nobody has looked into yet.
    pub tampered: u32,
    /// All that it has ever told: what a clearing names.
    pub tampered_ever: u32,
    /// Number of its last receipt.
    pub receipts: u64,
    /// When it was heard last.
    pub heard_ms: Option<i64>,
}

/// A matter on the list of powers.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MatterView {
    /// Its name.
    pub matter: String,
    /// Who may approve it.
    pub approvers: Vec<String>,
    /// How many of them have to.
    pub needed: u8,
    /// Most impressions at a time.
    pub most_uses: u16,
    /// A photograph of the paper before is taken.
    pub before: bool,
    /// A photograph of the impression is taken.
    pub after: bool,
    /// Who uses it has to show who they are.
    pub person: bool,
    /// Whether who may approve it may let a deputy do so.
    pub may_be_delegated: bool,
}

/// A circle on the ground.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FenceView {
    /// Degrees north, WGS-84 or CGCS2000.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// Metres around.
    pub radius_m: u32,
}

/// An approval.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ApprovalView {
    /// Who.
    pub person: String,
    /// For whom, when it is a deputy's.
    pub in_place_of: Option<String>,
    /// With which key, base64url.
    pub key: String,
    /// When.
    pub at_ms: i64,
}

/// An application, and the grant that it became.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CaseView {
    /// The id of the grant.
    pub grant: String,
    /// The seal.
    pub seal: String,
    /// `open`, `granted`, `rejected`, `cancelled` or `revoked`.
    pub state: String,
    /// Who applied.
    pub applicant: String,
    /// What it is about, in their words. It stands in no grant.
    pub title: String,
    /// The matter.
    pub matter: String,
    /// The digest of the document.
    pub document: String,
    /// How it was digested: `sha-256` or `sm3`.
    pub hash: &'static str,
    /// Pages of it.
    pub pages: u16,
    /// How many impressions.
    pub copies: u16,
    /// How many are used, as far as receipts have come.
    pub used: u16,
    /// From when on.
    pub not_before_ms: i64,
    /// Until when.
    pub expires_ms: i64,
    /// Where; anywhere when missing.
    pub fence: Option<FenceView>,
    /// Who may use it beside the applicant.
    pub operators: Vec<String>,
    /// A photograph of the paper before is taken.
    pub before: bool,
    /// A photograph of the impression is taken.
    pub after: bool,
    /// Who uses it has to show who they are.
    pub person: bool,
    /// The bytes that approvers sign the digest of, base64: what is shown must be read from here.
    pub payload: String,
    /// How many people have to approve.
    pub needed: usize,
    /// Who has.
    pub approvals: Vec<ApprovalView>,
    /// When it was applied for.
    pub created_ms: i64,
    /// When it was decided.
    pub decided_ms: Option<i64>,
    /// By whom.
    pub decided_by: Option<String>,
    /// Why, when it was not granted, or taken back.
    pub why: Option<String>,
    /// Whether witnesses have seen the grant: then the seal gets it.
    pub is_logged: bool,
}

/// A receipt.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReceiptView {
    /// SHA-256 of it.
    pub digest: String,
    /// The seal.
    pub seal: String,
    /// Its number at the seal.
    pub number: u64,
    /// The grant, if it names one.
    pub grant: Option<String>,
    /// Which use; 0 when nothing was used.
    pub use_number: u16,
    /// How it ended.
    pub outcome: String,
    /// Why it was refused.
    pub refusal: Option<String>,
    /// The same for people.
    pub refusal_zh: Option<String>,
    /// The same in English.
    pub refusal_en: Option<String>,
    /// When, by the seal's clock.
    pub at_ms: i64,
    /// When it came here.
    pub received_ms: i64,
    /// SHA-256 of the photograph before.
    pub before: Option<String>,
    /// SHA-256 of the photograph after.
    pub after: Option<String>,
}

/// Something that does not agree.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FindingView {
    /// Its number: later ones have higher ones.
    pub number: i64,
    /// The seal.
    pub seal: String,
    /// What, in a word.
    pub word: String,
    /// For people.
    pub en: String,
    /// The same in Chinese.
    pub zh: String,
    /// SHA-256 of what it was found in.
    pub evidence: String,
    /// When.
    pub at_ms: i64,
}

/// Who approves in whose place.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct DelegationView {
    /// Its id.
    pub delegation: String,
    /// The seal.
    pub seal: String,
    /// Who is away.
    pub from: String,
    /// Who approves in their place.
    pub to: String,
    /// With which key it was signed, base64url.
    pub key: String,
    /// Which matters.
    pub matters: Vec<String>,
    /// From when on.
    pub from_ms: i64,
    /// Until when.
    pub until_ms: i64,
    /// When it was given.
    pub given_ms: i64,
    /// When it was taken back.
    pub withdrawn_ms: Option<i64>,
    /// By whom.
    pub withdrawn_by: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// Whether witnesses have seen it: then the seal gets it.
    pub is_logged: bool,
    /// The bytes that were signed, base64: what is shown can be read from here.
    pub payload: String,
}

/// All there is about a seal.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TimelineView {
    /// The seal.
    pub seal: SealView,
    /// Applications and grants, newest first.
    pub applications: Vec<CaseView>,
    /// Receipts, newest first, refusals among them.
    pub receipts: Vec<ReceiptView>,
    /// What does not agree, newest first.
    pub findings: Vec<FindingView>,
}

/// Where the older part of a timeline begins: behind these, at the newest when absent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Before {
    /// The application for this grant.
    pub application: Option<Id>,
    /// The receipt with this digest.
    pub receipt: Option<Digest>,
    /// The finding with this number.
    pub finding: Option<i64>,
}

fn base64(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

fn ms(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000)
}

fn seal_view(book: &Book, policy: Option<&Policy>) -> SealView {
    let matter = |policy: &Policy, rule: &seal::policy::Matter| {
        let name = |&at: &u8| policy.approvers.get(usize::from(at)).map(|named| named.name.clone());
        let mut approvers: Vec<String> = rule.approvers.iter().filter_map(name).collect();
        approvers.dedup();
        let Evidence { before, after, person } = rule.evidence;
        MatterView {
            matter: rule.matter.clone(),
            approvers,
            needed: rule.needed,
            most_uses: rule.most_uses,
            before,
            after,
            person,
            may_be_delegated: rule.may_be_delegated,
        }
    };
    let mut people: Vec<String> =
        policy.iter().flat_map(|policy| &policy.approvers).map(|named| named.name.clone()).collect();
    people.sort();
    people.dedup();
    SealView {
        people,
        seal: book.seal.clone(),
        area: book.area.as_str().into(),
        gateway: book.gateway.as_str().into(),
        key: key_text(&book.key),
        policy: book.policy,
        matters: policy
            .map_or_else(Vec::new, |policy| policy.matters.iter().map(|rule| matter(policy, rule)).collect()),
        is_test: policy.is_some_and(|policy| policy.is_test),
        is_locked: book.is_locked,
        tampered: book.tampered.saturating_sub(book.cleared),
        tampered_ever: book.tampered,
        receipts: book.receipts,
        heard_ms: Some(book.heard_ms).filter(|&ms| ms > 0),
    }
}

fn fence_view(fence: &Fence) -> FenceView {
    let degrees = |e7| f64::from(e7) / 1e7;
    FenceView { lat: degrees(fence.lat_e7), lon: degrees(fence.lon_e7), radius_m: fence.radius_m }
}

pub(super) fn receipt_view(row: &ReceiptRow) -> ReceiptView {
    let refusal = seal::refusal::Refusal::ALL.iter().find(|why| Some(why.as_str()) == row.refusal.as_deref());
    let sentences = refusal.map(|why| why.sentences());
    let digest = |digest: &Digest| hex(&digest[..]);
    ReceiptView {
        digest: digest(&row.digest),
        seal: row.seal.clone(),
        number: row.number,
        grant: row.grant.map(|grant| hex(&grant[..])),
        use_number: row.use_number,
        outcome: row.outcome.clone(),
        refusal: row.refusal.clone(),
        refusal_zh: sentences.map(|(zh, _)| zh.into()),
        refusal_en: sentences.map(|(_, en)| en.into()),
        at_ms: ms(row.at_s),
        received_ms: row.received_ms,
        before: row.before.as_ref().map(digest),
        after: row.after.as_ref().map(digest),
    }
}

fn finding_view(row: &FindingRow) -> FindingView {
    FindingView {
        number: row.nth,
        seal: row.seal.clone(),
        word: row.word.clone(),
        en: row.en.clone(),
        zh: row.zh.clone(),
        evidence: hex(&row.evidence[..]),
        at_ms: row.at_ms,
    }
}

/// `size`: leaves that witnesses have seen.
pub(super) fn delegation_view(row: &sql::DelegationRow, size: u64) -> Option<DelegationView> {
    let envelope = Envelope::read(Kind::Delegation, &row.leaf.body).ok()?;
    let Delegation { id, seal, from, to, matters, from_s, until_s, .. } = Delegation::read(envelope.payload)?;
    Some(DelegationView {
        delegation: hex(&id[..]),
        seal,
        from,
        to,
        key: key_text(&row.key),
        matters,
        from_ms: ms(from_s),
        until_ms: ms(until_s),
        given_ms: row.given_ms,
        withdrawn_ms: row.withdrawn_s.map(ms),
        withdrawn_by: row.withdrawn_by.clone(),
        why: row.why.clone(),
        is_logged: row.leaf.index.is_some_and(|index| index < size),
        payload: base64(envelope.payload),
    })
}

impl Office {
    /// The seals of these areas by name, those behind `after`: [`PAGE`] at most.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn seals(&self, areas: &[Scope], after: &str) -> Result<Vec<SealView>, OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        let mut views = Vec::new();
        for book in sql::books(&mut desk.connection, areas, after, PAGE as i64).await? {
            let policy = Self::policy(&mut desk.connection, &book.seal).await?;
            views.push(seal_view(&book, policy.as_ref()));
        }
        Ok(views)
    }

    /// Where a seal belongs.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn area_of(&self, seal: &str) -> Result<Area, OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        let book = sql::book(&mut desk.connection, seal).await?;
        book.map(|book| book.area).ok_or_else(|| OfficeError::NotThere { what: "seal", name: seal.into() })
    }

    /// Everything about a seal: [`PAGE`] of each kind at most.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn timeline(&self, seal: &str, before: &Before) -> Result<TimelineView, OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        let connection = &mut desk.connection;
        let book = sql::book(connection, seal).await?;
        let book = book.ok_or_else(|| OfficeError::NotThere { what: "seal", name: seal.into() })?;
        let policy = Self::policy(connection, seal).await?;
        let mut applications = Vec::new();
        let before_case = before.application.as_ref();
        let asked =
            Cases { seal: Some(seal), areas: &[Scope::City], before: before_case, ..Cases::default() };
        for case in sql::cases(connection, asked, PAGE as i64).await? {
            applications.push(self.case_view(connection, &case).await?);
        }
        let receipts = sql::receipts(connection, seal, before.receipt.as_ref(), PAGE as i64).await?;
        let findings =
            sql::findings(connection, Some(seal), &[Scope::City], before.finding, PAGE as i64).await?;
        Ok(TimelineView {
            seal: seal_view(&book, policy.as_ref()),
            applications,
            receipts: receipts.iter().map(receipt_view).collect(),
            findings: findings.iter().map(finding_view).collect(),
        })
    }

    /// Applications for seals of these areas, and those of `own`, newest first: of a state when it is named, older than the
    /// one for `before`, [`PAGE`] at most.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn cases(
        &self,
        state: Option<&str>,
        areas: &[Scope],
        own: &str,
        before: Option<&Id>,
    ) -> Result<Vec<CaseView>, OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        let mut views = Vec::new();
        let asked = Cases { state, areas, own: Some(own), before, seal: None };
        for case in sql::cases(&mut desk.connection, asked, PAGE as i64).await? {
            views.push(self.case_view(&mut desk.connection, &case).await?);
        }
        Ok(views)
    }

    /// One application.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn case(&self, grant: &Id) -> Result<CaseView, OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        let case = sql::case(&mut desk.connection, grant).await?;
        let name = hex(&grant[..]);
        let case = case.ok_or(OfficeError::NotThere { what: "application", name })?;
        self.case_view(&mut desk.connection, &case).await
    }

    /// The grant with its proof, to be carried to a seal by hand; `None` while witnesses have not seen it.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn to_carry(&self, grant: &Id) -> Result<Option<Vec<u8>>, OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        let case = sql::case(&mut desk.connection, grant).await?;
        let Some(digest) = case.and_then(|case| case.leaf) else { return Ok(None) };
        let leaf = sql::leaf(&mut desk.connection, &digest).await?;
        leaf.map_or(Ok(None), |leaf| self.presented(&leaf))
    }

    /// What does not agree in these areas, newest first, older than the one with the number `before`: [`PAGE`] at most. What
    /// no seal has signed is for whoever sees the whole city.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn findings(
        &self,
        areas: &[Scope],
        before: Option<i64>,
    ) -> Result<Vec<FindingView>, OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        let found = sql::findings(&mut desk.connection, None, areas, before, PAGE as i64).await?;
        Ok(found.iter().map(finding_view).collect())
    }

    /// A photograph, if it has come.
    pub async fn picture(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.shared.settings.folder.join("pictures").join(picture_name(digest));
        tokio::fs::read(path).await.ok()
    }

    async fn case_view(
        &self,
        connection: &mut sqlx::AnyConnection,
        case: &Case,
    ) -> Result<CaseView, OfficeError> {
        let Ok(grant) = Grant::read(&case.payload) else {
            return Err(OfficeError::NotThere { what: "readable application", name: hex(&case.grant[..]) });
        };
        let approval = |(approval, at_ms): (super::draft::Approval, i64)| ApprovalView {
            person: approval.person,
            in_place_of: approval.in_place_of,
            key: key_text(&approval.key),
            at_ms,
        };
        let approvals = sql::approvals(connection, &case.grant).await?.into_iter().map(approval).collect();
        let size = self.shared.cosigned.borrow().size;
        let leaf = match &case.leaf {
            Some(digest) => sql::leaf(connection, digest).await?,
            None => None,
        };
        let Evidence { before, after, person } = grant.evidence;
        Ok(CaseView {
            grant: hex(&case.grant[..]),
            seal: case.seal.clone(),
            state: case.state.clone(),
            applicant: case.applicant.clone(),
            title: case.title.clone(),
            matter: grant.matter,
            document: hex(&grant.document[..]),
            hash: grant.hash.as_str(),
            pages: grant.pages,
            copies: grant.max_uses,
            used: case.used,
            not_before_ms: ms(grant.not_before_s),
            expires_ms: ms(grant.expires_s),
            fence: grant.fence.as_ref().map(fence_view),
            operators: grant.operators,
            before,
            after,
            person,
            payload: base64(&case.payload),
            needed: case.needed,
            approvals,
            created_ms: case.created_ms,
            decided_ms: case.decided_ms,
            decided_by: case.decided_by.clone(),
            why: case.why.clone(),
            is_logged: leaf.and_then(|leaf| leaf.index).is_some_and(|index| index < size),
        })
    }
}
