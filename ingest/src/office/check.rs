//! Whether an impression is covered by a grant, so that anybody can check it: the office hands out a bundle of what is
//! signed and of proofs, and [`Bundle::check`] needs nobody's word for it but the roots', the log's and its witnesses' keys.

use base64ct::{Base64, Encoding as _};
use seal::decision::is_approved;
use seal::delegation::Deputed;
use seal::envelope::{Envelope, Kind};
use seal::grant::Grant;
use seal::keys::{Digest, digest};
use seal::notice::{Deed, Notice};
use seal::policy::{Policy, Roots};
use seal::proof::{LogTrust, Proof};
use seal::receipt::{Outcome, Receipt};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask::{ReceiptView, receipt_view};
use super::sql::{self, By, Leaf};
use super::{Office, OfficeError, hex};

/// Something signed, with the proof that it is in the log. Both base64; no proof while witnesses have not seen it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Proven {
    /// The envelope, COSE_Sign.
    pub envelope: String,
    /// The proof, tlog-proof v1.
    pub proof: Option<String>,
}

/// All that shows that a receipt is what it seems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bundle {
    /// The receipt.
    pub receipt: Proven,
    /// That the key which signed it is the seal's.
    pub enrolment: Option<Proven>,
    /// The grant that it names.
    pub grant: Option<Proven>,
    /// The rules by which that was given.
    pub policy: Option<Proven>,
    /// Delegations that held when it was used.
    #[serde(default)]
    pub delegations: Vec<Proven>,
}

/// What the office knows of an impression, without who applied and what for.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ImpressionView {
    /// The receipt.
    pub receipt: ReceiptView,
    /// Whether a grant covers it.
    pub is_covered: bool,
    /// The matter.
    pub matter: Option<String>,
    /// SHA-256 of the document that was to be stamped.
    pub document: Option<String>,
    /// Pages of it.
    pub pages: Option<u16>,
    /// How many impressions were granted.
    pub copies: Option<u16>,
    /// When the grant was taken back, if it was.
    pub revoked_ms: Option<i64>,
    /// What to check it with.
    pub bundle: Bundle,
}

/// A question of a check, and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was looked at, in English.
    pub en: &'static str,
    /// In Chinese.
    pub zh: &'static str,
    /// What was wrong; `None` when it holds.
    pub wrong: Option<String>,
}

/// What a check found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// One after the other; the first that does not hold ends it.
    pub steps: Vec<Step>,
    /// The receipt, as far as it could be read.
    pub receipt: Option<Receipt>,
    /// The grant that covers it, when all holds.
    pub grant: Option<Grant>,
}

impl Checked {
    /// Whether everything holds.
    pub fn holds(&self) -> bool {
        self.steps.iter().all(|step| step.wrong.is_none())
    }
}

/// What is proven: its envelope, and what it says.
struct Opened {
    bytes: Vec<u8>,
    /// Number of its leaf.
    index: u64,
}

fn open(proven: &Proven, log: &LogTrust) -> Result<Opened, String> {
    let bytes = Base64::decode_vec(&proven.envelope).map_err(|_| "its bytes are no base64".to_owned())?;
    let proof = proven.proof.as_ref().ok_or("no witness has seen it yet: ask again in a moment")?;
    let proof = Base64::decode_vec(proof).map_err(|_| "its proof is no base64".to_owned())?;
    let verified = Proof::parse(&proof).and_then(|proof| Ok((proof.index, proof.verify(&bytes, log)?)));
    let (index, _) = verified.map_err(|error| format!("the proof does not hold: {error:?}"))?;
    Ok(Opened { bytes, index })
}

impl Bundle {
    /// Checks that `asked` is the digest of the receipt, or of one of its photographs, and that a grant covers it that was
    /// given by the rules, all in the log. `roots` is for the seal that the receipt names.
    pub fn check(&self, asked: &Digest, roots: &Roots) -> Checked {
        let mut checked = Checked { steps: Vec::new(), receipt: None, grant: None };
        let wrong = self.walk(asked, roots, &mut checked).err();
        if let Some(last) = checked.steps.last_mut() {
            last.wrong = wrong;
        }
        checked
    }

    fn walk(&self, asked: &Digest, roots: &Roots, checked: &mut Checked) -> Result<(), String> {
        let mut step = |en, zh| checked.steps.push(Step { en, zh, wrong: None });
        step("the receipt is in the log, seen by witnesses", "回执已入公开日志，并经见证");
        let receipt_bytes = open(&self.receipt, &roots.log)?.bytes;
        step("it is a receipt, and what was asked for is it or its photograph", "所查即该回执或其照片");
        let envelope = Envelope::read(Kind::Receipt, &receipt_bytes).map_err(|error| format!("{error:?}"))?;
        let receipt = Receipt::read(envelope.payload).ok_or("it cannot be read")?;
        let is_it = digest(&[&receipt_bytes]) == *asked;
        if !is_it && receipt.before.as_ref() != Some(asked) && receipt.after.as_ref() != Some(asked) {
            return Err("it names another receipt and other photographs".into());
        }
        step("the rules are in the log, and the roots have signed them", "规则已入公开日志，并由根密钥签名");
        let rules = self.policy.as_ref().ok_or("there are none")?;
        let rules = open(rules, &roots.log)?.bytes;
        let signed = Envelope::read(Kind::Policy, &rules).map_err(|error| format!("{error:?}"))?;
        let policy = Policy::read(signed.payload).ok_or("they cannot be read")?;
        let count = roots.keys.iter().filter(|key| signed.is_signed_by(key)).count();
        if count < roots.needed.max(1) || policy.seal != receipt.seal || roots.seal != receipt.seal {
            return Err(format!("{count} of the roots have signed, for seal {:?}", policy.seal));
        }
        step("the seal's key is in the log, and signed the receipt", "印章密钥已入公开日志，并签名了回执");
        let enrolment = self.enrolment.as_ref().ok_or("the seal was never enrolled")?;
        let enrolment = open(enrolment, &roots.log)?.bytes;
        let signed = Envelope::read(Kind::Notice, &enrolment).map_err(|error| format!("{error:?}"))?;
        if !policy.issuers.iter().any(|issuer| signed.is_signed_by(issuer)) {
            return Err("the issuer has not signed the enrolment".into());
        }
        match Notice::read(signed.payload).map(|notice| notice.deed) {
            Some(Deed::Enrolled { seal, key }) if seal == receipt.seal && envelope.is_signed_by(&key) => {}
            _ => return Err("it is signed by another key".into()),
        }
        let step = &mut checked.steps;
        let mut step = |en, zh| step.push(Step { en, zh, wrong: None });
        step("something was stamped", "确已用印");
        let used = receipt.used.filter(|used| used.number > 0).ok_or("it is no use of a seal")?;
        if !matches!(receipt.outcome, Outcome::Stamped | Outcome::PressedAgain) {
            return Err(format!("the use ended otherwise: {:?}", receipt.outcome));
        }
        step("the grant is in the log, and is the one that was used", "授权已入公开日志，且即所用授权");
        let grant = self.grant.as_ref().ok_or("there is none")?;
        let Opened { bytes: grant, index } = open(grant, &roots.log)?;
        let signed = Envelope::read(Kind::Grant, &grant).map_err(|error| format!("{error:?}"))?;
        let grant = Grant::read(signed.payload).map_err(|error| format!("{error:?}"))?;
        let is_other_place =
            grant.seal != receipt.seal || [grant.is_test, policy.is_test] != [receipt.is_test; 2];
        if digest(&[signed.payload]) != used.digest || grant.id != used.grant || is_other_place {
            return Err("it is another one".into());
        }
        step(
            "the issuer and enough approvers have signed it, by the rules",
            "签发机关与足够的审批人已按规则签名",
        );
        let mut trust = policy.trust();
        if !trust.issuers.iter().any(|issuer| signed.is_signed_by(issuer)) {
            return Err("the issuer has not".into());
        }
        // Those of a time when the seal was used, and which were there before the grant.
        for delegation in &self.delegations {
            let Opened { bytes, index: before } = open(delegation, &roots.log)?;
            let deputed = Deputed::of_leaf(&bytes, before, &trust).ok();
            let holds =
                |deputed: &Deputed| before < index && deputed.delegation().holds_at(receipt.scene.at_s);
            trust.deputed.extend(deputed.filter(holds));
        }
        is_approved(&trust, &grant, &signed).map_err(|why| why.sentences().1.to_owned())?;
        step("within its number and its time", "在授权次数与时间之内");
        let at_s = receipt.scene.at_s;
        if receipt.is_test {
            return Err("it was a rehearsal".into());
        }
        let has = |asked: bool, picture: Option<Digest>| !asked || picture.is_some();
        if !has(grant.evidence.before, receipt.before) || !has(grant.evidence.after, receipt.after) {
            return Err("a photograph that the grant asks for is missing".into());
        }
        if at_s < grant.not_before_s {
            return Err(format!("used at {at_s} s, granted from {} s on", grant.not_before_s));
        }
        if used.number > grant.max_uses || at_s >= grant.expires_s || receipt.presses > 1 {
            let (number, of, presses) = (used.number, grant.max_uses, receipt.presses);
            return Err(format!(
                "use {number} of {of}, pressed {presses} times, {at_s} s of at most {}",
                grant.expires_s
            ));
        }
        checked.grant = Some(grant);
        checked.receipt = Some(receipt);
        Ok(())
    }
}

impl Office {
    /// Impressions of which this is the receipt's digest, or a photograph's.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn impressions(&self, asked: &Digest) -> Result<Vec<ImpressionView>, OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        let connection = &mut desk.connection;
        let mut views = Vec::new();
        for row in sql::receipts(connection, By::Digest(asked)).await? {
            let Some(leaf) = sql::leaf(connection, &row.digest).await? else { continue };
            let case = match &row.grant {
                Some(grant) => sql::case(connection, grant).await?,
                None => None,
            };
            let leaf_of_case = case.as_ref().and_then(|case| case.leaf);
            let granted = match &leaf_of_case {
                Some(digest) => sql::leaf(connection, digest).await?,
                None => None,
            };
            let grant = case.as_ref().and_then(|case| Grant::read(&case.payload).ok());
            let number = grant.as_ref().map_or(0, |grant| grant.policy);
            let policy = sql::policy_numbered(connection, &row.seal, number).await?;
            let enrolment = sql::enrolment(connection, &row.seal, &leaf).await?;
            // One that was taken back by then counts for nothing.
            let deputed = sql::delegations_between(connection, &row.seal, row.at_s, row.at_s).await?;
            let held = |one: &&sql::DelegationRow| one.withdrawn_s.is_none_or(|back_s| row.at_s < back_s);
            let delegations = deputed.iter().filter(held).map(|one| self.proven(&one.leaf));
            let delegations = delegations.collect::<Result<_, _>>()?;
            let bundle = Bundle {
                receipt: self.proven(&leaf)?,
                enrolment: enrolment.map(|leaf| self.proven(&leaf)).transpose()?,
                grant: granted.map(|leaf| self.proven(&leaf)).transpose()?,
                policy: policy.map(|leaf| self.proven(&leaf)).transpose()?,
                delegations,
            };
            let revoked_s = case.as_ref().and_then(|case| case.revoked_s);
            let is_revoked = revoked_s.is_some_and(|at_s| at_s <= row.at_s);
            let is_covered = !is_revoked && bundle.check(asked, &self.roots(&row.seal)).holds();
            let grant = grant.filter(|_| leaf_of_case.is_some());
            views.push(ImpressionView {
                receipt: receipt_view(&row),
                is_covered,
                matter: grant.as_ref().map(|grant| grant.matter.clone()),
                document: grant.as_ref().map(|grant| hex(&grant.document[..])),
                pages: grant.as_ref().map(|grant| grant.pages),
                copies: grant.as_ref().map(|grant| grant.max_uses),
                revoked_ms: case.and_then(|case| case.revoked_s).map(|s| s as i64 * 1000),
                bundle,
            });
        }
        Ok(views)
    }

    fn proven(&self, leaf: &Leaf) -> Result<Proven, OfficeError> {
        let proof = self.proof(leaf)?.map(|proof| Base64::encode_string(proof.as_bytes()));
        Ok(Proven { envelope: Base64::encode_string(&leaf.body), proof })
    }
}
