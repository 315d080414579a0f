//! Whether an impression is covered by a grant, so that anybody can check it: the office hands out a bundle of what is
//! signed and of proofs, and [`Bundle::check`] needs nobody's word for it but the roots', the log's and its witnesses' keys.

use base64ct::{Base64, Encoding as _};
use seal::decision::is_approved;
use seal::delegation::Deputed;
use seal::envelope::{Envelope, Kind};
use seal::grant::Grant;
use seal::keys::{Digest, PublicKey, digest};
use seal::notice::{Deed, Notice};
use seal::policy::{Policy, Roots};
use seal::proof::{LogTrust, Proof};
use seal::receipt::{Outcome, Receipt};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask::{ReceiptView, receipt_view};
use super::draft::No;
use super::sql::{self, Leaf};
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
    /// The rules at the time of the enrolment, when they are others: they may have named another issuer.
    #[serde(default)]
    pub enrolled_by: Option<Proven>,
    /// What speaks against it: the grant was taken back, or the key changed before the receipt came.
    #[serde(default)]
    pub notices: Vec<Proven>,
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
    /// The digest of the document that was to be stamped.
    pub document: Option<String>,
    /// How it was digested: `sha-256` or `sm3`.
    pub hash: Option<&'static str>,
    /// Pages of it.
    pub pages: Option<u16>,
    /// How many impressions were granted.
    pub copies: Option<u16>,
    /// When the grant was taken back, if it was.
    pub revoked_ms: Option<i64>,
    /// Leaves of the log that witnesses have seen: whether something was taken back is known up to here.
    pub log_size: u64,
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
    /// Leaves of the smallest log in which all of it is: what was taken back later is not known.
    pub log_size: u64,
}

impl Checked {
    /// Whether everything holds.
    pub fn holds(&self) -> bool {
        self.steps.iter().all(|step| step.wrong.is_none())
    }
}

/// What is proven: its envelope, its place in the log, and how long that was.
struct Opened {
    bytes: Vec<u8>,
    index: u64,
    size: u64,
}

impl Opened {
    fn rules(&self, roots: &Roots) -> Result<Policy, String> {
        let signed = Envelope::read(Kind::Policy, &self.bytes).map_err(|error| format!("{error:?}"))?;
        let policy = Policy::read(signed.payload).ok_or("they cannot be read")?;
        if let Some(algorithm) = policy.lacking() {
            return Err(No::lacking("they", "规则", algorithm).en);
        }
        let count = roots.keys.iter().filter(|key| signed.is_signed_by(key)).count();
        if count < roots.needed.max(1) || policy.seal != roots.seal {
            return Err(format!("{count} of the roots have signed, for seal {:?}", policy.seal));
        }
        Ok(policy)
    }

    fn notice(&self) -> Result<(Envelope<'_>, Notice), String> {
        let signed = Envelope::read(Kind::Notice, &self.bytes).map_err(|error| format!("{error:?}"))?;
        let notice = Notice::read(signed.payload).ok_or("it cannot be read")?;
        Ok((signed, notice))
    }
}

fn open(proven: &Proven, log: &LogTrust) -> Result<Opened, String> {
    let bytes = Base64::decode_vec(&proven.envelope).map_err(|_| "its bytes are no base64".to_owned())?;
    let proof = proven.proof.as_ref().ok_or("no witness has seen it yet: ask again in a moment")?;
    let proof = Base64::decode_vec(proof).map_err(|_| "its proof is no base64".to_owned())?;
    let verified = Proof::parse(&proof).and_then(|proof| Ok((proof.index, proof.verify(&bytes, log)?)));
    let (index, (checkpoint, _)) = verified.map_err(|error| format!("the proof does not hold: {error:?}"))?;
    Ok(Opened { bytes, index, size: checkpoint.size })
}

/// The key that an enrolment gives a seal.
fn key_in(enrolment: &Notice, name: &str) -> Option<PublicKey> {
    match &enrolment.deed {
        Deed::Enrolled { seal, key } if seal == name => Some(*key),
        _ => None,
    }
}

/// What a notice in SQL says.
fn notice_of(leaf: &Leaf) -> Option<Notice> {
    Notice::read(Envelope::read(Kind::Notice, &leaf.body).ok()?.payload)
}

impl Bundle {
    /// Checks that `asked` is the digest of the receipt, or of one of its photographs, and that a grant covers it that was
    /// given by the rules, all in the log. `roots` is for the seal that the receipt names.
    pub fn check(&self, asked: &Digest, roots: &Roots) -> Checked {
        let mut checked = Checked { steps: Vec::new(), receipt: None, grant: None, log_size: 0 };
        let wrong = self.walk(asked, roots, &mut checked).err();
        if let Some(last) = checked.steps.last_mut() {
            last.wrong = wrong;
        }
        checked
    }

    fn walk(&self, asked: &Digest, roots: &Roots, checked: &mut Checked) -> Result<(), String> {
        let mut step = |en, zh| checked.steps.push(Step { en, zh, wrong: None });
        step("the receipt is in the log, seen by witnesses", "回执已入公开日志，并经见证");
        let receipt_leaf = open(&self.receipt, &roots.log)?;
        let receipt_bytes = &receipt_leaf.bytes;
        step("it is a receipt, and what was asked for is it or its photograph", "所查即该回执或其照片");
        let envelope = Envelope::read(Kind::Receipt, receipt_bytes).map_err(|error| format!("{error:?}"))?;
        let receipt = Receipt::read(envelope.payload).ok_or("it cannot be read")?;
        let is_it = digest(&[receipt_bytes]) == *asked;
        if !is_it && receipt.before.as_ref() != Some(asked) && receipt.after.as_ref() != Some(asked) {
            return Err("it names another receipt and other photographs".into());
        }
        step("the rules are in the log, and the roots have signed them", "规则已入公开日志，并由根密钥签名");
        let rules = self.policy.as_ref().ok_or("there are none")?;
        let rules = open(rules, &roots.log)?;
        let policy = rules.rules(roots)?;
        if roots.seal != receipt.seal {
            return Err(format!("they are for seal {:?}", roots.seal));
        }
        step("the seal's key is in the log, and signed the receipt", "印章密钥已入公开日志，并签名了回执");
        let enrolment = self.enrolment.as_ref().ok_or("the seal was never enrolled")?;
        let enrolment = open(enrolment, &roots.log)?;
        let before =
            self.enrolled_by.as_ref().map(|rules| open(rules, &roots.log)?.rules(roots)).transpose()?;
        let (signed, notice) = enrolment.notice()?;
        let is_issuer_of = |policy: &Policy| policy.issuers.iter().any(|issuer| signed.is_signed_by(issuer));
        // An issuer that the grant's rules do not name any more may have signed before them, and no later.
        let was_issuer = |before: &Policy| {
            is_issuer_of(before) && (before.number > policy.number || enrolment.index < rules.index)
        };
        if !is_issuer_of(&policy) && !before.as_ref().is_some_and(was_issuer) {
            return Err("no issuer of that time has signed the enrolment".into());
        }
        let key = key_in(&notice, &receipt.seal);
        if let Some(key) = key.filter(|key| !key.algorithm().is_built_in()) {
            return Err(No::lacking("enrolments", "登记", key.algorithm()).en);
        }
        if !key.is_some_and(|key| envelope.is_signed_by(&key)) {
            return Err("it is signed by another key".into());
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
        let grant_leaf = open(grant, &roots.log)?;
        let signed = Envelope::read(Kind::Grant, &grant_leaf.bytes).map_err(|error| format!("{error:?}"))?;
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
            let Opened { bytes, index: before, .. } = open(delegation, &roots.log)?;
            let deputed = Deputed::of_leaf(&bytes, before, &trust).ok();
            let holds = |deputed: &Deputed| {
                before < grant_leaf.index && deputed.delegation().holds_at(receipt.scene.at_s)
            };
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
        step(
            "rules, grant and receipt came in this order, and the enrolment before the receipt",
            "规则、授权、回执依次入日志，登记先于回执",
        );
        let order = [rules.index, grant_leaf.index, receipt_leaf.index];
        if !order.is_sorted() || enrolment.index > receipt_leaf.index {
            let [rules, grant, receipt] = order;
            return Err(format!(
                "leaves {rules}, {grant} and {receipt}, and the enrolment {}",
                enrolment.index
            ));
        }
        step("nothing that was shown speaks against it", "所示材料中没有与之相反的");
        // Whoever has signed it: any doubt refuses, and it lies in the log for all to see.
        for shown in &self.notices {
            let leaf = open(shown, &roots.log)?;
            let (_, Notice { at_s: shown_s, deed, .. }) = leaf.notice()?;
            match deed {
                Deed::Revoked { grant: id, .. } if id == grant.id && shown_s <= at_s => {
                    return Err(format!("the grant was taken back at {shown_s} s (leaf {})", leaf.index));
                }
                Deed::Enrolled { seal, key }
                    if seal == receipt.seal
                        && !envelope.is_signed_by(&key)
                        && (enrolment.index..receipt_leaf.index).contains(&leaf.index) =>
                {
                    return Err(format!(
                        "the key was changed (leaf {}) before the receipt came (leaf {}): nothing shows that it was made before",
                        leaf.index, receipt_leaf.index
                    ));
                }
                _ => {}
            }
        }
        let sizes = [&rules, &enrolment, &grant_leaf, &receipt_leaf].map(|leaf| leaf.size);
        checked.log_size = sizes.into_iter().min().unwrap_or_default();
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
        for row in sql::receipts_named(connection, asked).await? {
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
            // The newest first: those before the one that counts speak against it.
            let enrolments = sql::enrolments(connection, &row.seal, &leaf).await?;
            let signed = Envelope::read(Kind::Receipt, &leaf.body).ok();
            let has_signed = |enrolment: &Leaf| {
                let key = notice_of(enrolment).and_then(|notice| key_in(&notice, &row.seal));
                signed.as_ref().is_some_and(|signed| key.is_some_and(|key| signed.is_signed_by(&key)))
            };
            let at = enrolments.iter().position(has_signed);
            let enrolment = at.and_then(|at| enrolments.get(at));
            let changed = at.and_then(|at| enrolments.get(at.checked_sub(1)?));
            // A delegation that was taken back by then counts for nothing.
            let deputed = sql::delegations_between(connection, &row.seal, [row.at_s; 2], row.at_s).await?;
            let enrolled_by = match enrolment {
                Some(leaf) => sql::policy_at(connection, &row.seal, leaf).await?,
                None => None,
            };
            let revoked_s = case.as_ref().and_then(|case| case.revoked_s);
            let revocation = match (revoked_s, &row.grant) {
                (Some(at_s), Some(grant)) => {
                    let all = sql::notices_at(connection, &row.seal, at_s).await?;
                    let says = |leaf: &Leaf| {
                        let deed = notice_of(leaf).map(|notice| notice.deed);
                        matches!(deed, Some(Deed::Revoked { grant: id, .. }) if id == *grant)
                    };
                    all.into_iter().find(says)
                }
                _ => None,
            };
            let enrolled_by = enrolled_by
                .filter(|rules| policy.as_ref().is_none_or(|policy| policy.digest != rules.digest));
            let bundle = Bundle {
                receipt: self.proven(&leaf)?,
                enrolment: enrolment.map(|leaf| self.proven(leaf)).transpose()?,
                grant: granted.map(|leaf| self.proven(&leaf)).transpose()?,
                policy: policy.map(|leaf| self.proven(&leaf)).transpose()?,
                enrolled_by: enrolled_by.map(|leaf| self.proven(&leaf)).transpose()?,
                notices: revocation
                    .iter()
                    .chain(changed)
                    .map(|leaf| self.proven(leaf))
                    .collect::<Result<_, _>>()?,
                delegations: deputed.iter().map(|one| self.proven(&one.leaf)).collect::<Result<_, _>>()?,
            };
            let is_revoked = revoked_s.is_some_and(|at_s| at_s <= row.at_s);
            let is_covered = !is_revoked && bundle.check(asked, &self.roots(&row.seal)).holds();
            let grant = grant.filter(|_| leaf_of_case.is_some());
            views.push(ImpressionView {
                receipt: receipt_view(&row),
                is_covered,
                matter: grant.as_ref().map(|grant| grant.matter.clone()),
                document: grant.as_ref().map(|grant| hex(&grant.document[..])),
                hash: grant.as_ref().map(|grant| grant.hash.as_str()),
                pages: grant.as_ref().map(|grant| grant.pages),
                copies: grant.as_ref().map(|grant| grant.max_uses),
                revoked_ms: revoked_s.map(|s| s as i64 * 1000),
                log_size: self.shared.cosigned.borrow().size,
                bundle,
            });
        }
        Ok(views)
    }

    pub(super) fn proven(&self, leaf: &Leaf) -> Result<Proven, OfficeError> {
        let proof = self.proof(leaf)?.map(|proof| Base64::encode_string(proof.as_bytes()));
        Ok(Proven { envelope: Base64::encode_string(&leaf.body), proof })
    }
}
