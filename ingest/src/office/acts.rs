//! What people do at the office. Who may do what is asked before, see `people`.

use std::io;

use seal::envelope::{Envelope, Kind, to_be_signed};
use seal::grant::{Grant, Id, MAX_PRESENTED};
use seal::keys::PublicKey;
use seal::memory::WINDOW;
use seal::notice::Deed;
use seal::policy::{Named, Policy, Roots};
use wire::{Area, GatewayId};

use super::book::Book;
use super::draft::{self, Approval, No, Wish, approval, draft};
use super::finding::Finding;
use super::sql::{self, Case};
use super::{Office, OfficeError, hex, leaf_of, seconds};

/// Longest title of an application in bytes, and longest reason.
pub const MAX_WORDS: usize = 400;
/// Most open applications of one person: more are for somebody to look at first.
const MAX_OPEN_CASES: u64 = 50;

/// Most bytes of a proof: of a log of four billion leaves with three witnesses.
const PROOF_BYTES: usize = 2048;
/// Bytes that a signature adds to an envelope, about.
const SIGNED_BYTES: usize = 92;

/// Refuses what no seal could be given: it would wait for it for ever.
pub(super) fn must_fit(bytes: usize) -> Result<(), No> {
    let most = MAX_PRESENTED - PROOF_BYTES;
    if bytes <= most {
        return Ok(());
    }
    Err(No::new(
        format!(
            "it has {bytes} bytes signed, and a seal takes {most} at most: shorter names, fewer matters or approvers expected"
        ),
        format!("签名后为 {bytes} 字节，印章最多接收 {most} 字节：请缩短名称或减少事项、审批人"),
    ))
}

/// A seal as it is brought into service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Its name.
    pub seal: String,
    /// Where it belongs.
    pub area: Area,
    /// The gateway that it is part of.
    pub gateway: GatewayId,
    /// The key of its device.
    pub key: PublicKey,
}

pub(super) fn not_there(what: &'static str, name: impl Into<String>) -> OfficeError {
    OfficeError::NotThere { what, name: name.into() }
}

pub(super) fn words(text: &str, what_en: &str, what_zh: &str) -> Result<String, No> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_WORDS || text.chars().any(|c| c.is_control() && c != '\n') {
        let bytes = text.len();
        return Err(No::new(
            format!("{what_en} has {bytes} bytes: 1 to {MAX_WORDS} without control characters expected"),
            format!("{what_zh}有 {bytes} 字节：应为 1 至 {MAX_WORDS} 字节，且不含控制字符"),
        ));
    }
    Ok(text.to_owned())
}

/// 128 bits that nobody can guess.
pub(super) fn random_id() -> Result<Id, OfficeError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| OfficeError::File(io::Error::other(error.to_string())))?;
    Ok(id.into())
}

impl Office {
    /// Brings a seal into service, or gives it another key after its device was replaced: then all its grants are over.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn enrol(&self, enrolment: Enrolment, by: &str, now_ms: i64) -> Result<(), OfficeError> {
        let Enrolment { seal, area, gateway, key } = enrolment;
        let is_name = (1..=seal::grant::MAX_TEXT).contains(&seal.len())
            && seal.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c));
        if !is_name {
            return Err(No::new(
                format!("{seal:?} names no seal: 1 to 64 lower-case letters, digits, - and . expected"),
                format!("{seal:?} 不能作为印章名称：应为 1 至 64 个小写字母、数字、- 或 ."),
            )
            .into());
        }
        let mut desk = self.shared.desk.lock().await;
        let mut transaction = sql::begin(&mut desk.connection).await?;
        let before = sql::book(&mut transaction, &seal).await?;
        let is_other = before.as_ref().is_some_and(|book| book.key != key);
        let mut book = before.unwrap_or_else(|| Book::new(&seal, area.clone(), gateway.clone(), key));
        if is_other {
            let earlier = book.rekey(key, seconds(now_ms));
            sql::put_earlier_key(&mut transaction, &seal, &earlier).await?;
            book.min_sequence = book.next_sequence;
            sql::void(&mut transaction, &seal, book.min_sequence).await?;
        }
        (book.area, book.gateway) = (area, gateway);
        sql::put_book(&mut transaction, &book).await?;
        let notice = self.notice(&seal, by, Deed::Enrolled { seal: seal.clone(), key }, now_ms)?;
        sql::add_leaf(&mut transaction, &notice).await?;
        if is_other {
            let (seal, min_sequence) = (seal.clone(), book.min_sequence);
            let voided = self.notice(&seal, by, Deed::Voided { seal: seal.clone(), min_sequence }, now_ms)?;
            sql::add_leaf(&mut transaction, &voided).await?;
            sql::add_finding(&mut transaction, &seal, &Finding::Rekeyed, &notice.digest, now_ms).await?;
        }
        transaction.commit().await?;
        self.shared.work.notify_one();
        Ok(())
    }

    /// Takes rules for a seal that the roots have signed.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn put_policy(&self, bytes: Vec<u8>, now_ms: i64) -> Result<Policy, OfficeError> {
        let envelope = Envelope::read(Kind::Policy, &bytes);
        let read = envelope.as_ref().ok().and_then(|envelope| Policy::read(envelope.payload));
        let (Ok(envelope), Some(policy)) = (&envelope, read) else {
            return Err(No::new(
                "these are no signed rules, or rules that cannot be: a file made by `ingest seal policy` expected",
                "不是有效的已签名规则：应为 `ingest seal policy` 生成的文件",
            )
            .into());
        };
        if let Some(algorithm) = policy.lacking() {
            return Err(No::lacking("these rules", "规则", algorithm).into());
        }
        let Roots { keys, needed, .. } = self.roots(&policy.seal);
        let signed = keys.iter().filter(|key| envelope.is_signed_by(key)).count();
        if signed < needed.max(1) {
            return Err(No::new(
                format!("{signed} of the roots have signed these rules, {needed} are needed"),
                format!("仅 {signed} 个根密钥签名，需要 {needed} 个"),
            )
            .into());
        }
        let trusted = self.log_trust();
        let is_log = policy.log.key == trusted.log.key && policy.log.name == trusted.log.name;
        if !policy.issuers.contains(&self.issuer()) || !is_log {
            return Err(No::new(
                "these rules name another issuer or another log than this office has: the seal would take nothing from here",
                "规则中的签发机关或日志与本机构不符，印章将不接受本机构的授权",
            )
            .into());
        }
        must_fit(bytes.len())?;
        let asked = |named: &&Named| trusted.witnesses.iter().any(|witness| witness.key == named.key);
        let (asked, wanted) = (policy.witnesses.iter().filter(asked).count(), policy.witnesses_needed);
        if asked < usize::from(wanted) {
            return Err(No::new(
                format!("{asked} of the witnesses in these rules are asked here, and they want {wanted}"),
                format!("规则要求 {wanted} 个见证，而本机构只联系其中 {asked} 个"),
            )
            .into());
        }
        let mut desk = self.shared.desk.lock().await;
        let mut transaction = sql::begin(&mut desk.connection).await?;
        let Some(mut book) = sql::book(&mut transaction, &policy.seal).await? else {
            return Err(not_there("seal", policy.seal));
        };
        if policy.number <= book.policy {
            let (given, known) = (policy.number, book.policy);
            return Err(No::new(
                format!("these are rules number {given}, and number {known} are in force: a higher number expected"),
                format!("规则编号 {given} 不高于现行的 {known}"),
            )
            .into());
        }
        let leaf = leaf_of("policy", &policy.seal, bytes.clone(), now_ms);
        sql::add_leaf(&mut transaction, &leaf).await?;
        sql::put_policy(&mut transaction, &policy.seal, policy.number, &leaf.digest).await?;
        book.policy = policy.number;
        sql::put_book(&mut transaction, &book).await?;
        transaction.commit().await?;
        self.shared.work.notify_one();
        Ok(policy)
    }

    /// Applies for stamps; the id of the grant that would be given.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn apply(
        &self,
        seal: &str,
        title: &str,
        wish: Wish,
        applicant: &str,
        now_ms: i64,
    ) -> Result<Id, OfficeError> {
        let title = words(title, "the title", "标题")?;
        let id = random_id()?;
        let mut desk = self.shared.desk.lock().await;
        let mut transaction = sql::begin(&mut desk.connection).await?;
        let mut book = sql::book(&mut transaction, seal).await?.ok_or_else(|| not_there("seal", seal))?;
        let Some(policy) = Self::policy(&mut transaction, seal).await? else {
            return Err(No::new(
                format!("seal {seal:?} has no rules yet: nothing can be stamped with it"),
                format!("印章 {seal:?} 尚无规则，不能用印"),
            )
            .into());
        };
        let now_s = seconds(now_ms);
        if sql::open_of(&mut transaction, applicant, now_s).await? >= MAX_OPEN_CASES {
            return Err(No::new(
                format!("{applicant} has {MAX_OPEN_CASES} open applications: cancel some, or let them be decided first"),
                format!("{applicant} 已有 {MAX_OPEN_CASES} 份未决申请，请先取消或等待审批"),
            )
            .into());
        }
        // A seal knows so many numbers behind its newest: what is older could not be told from what was used.
        let oldest = sql::oldest(&mut transaction, seal, now_s).await?;
        if oldest.is_some_and(|oldest| book.next_sequence - oldest >= WINDOW) {
            return Err(No::new(
                format!("{WINDOW} applications have come since the oldest that is not used: let that be used or cancelled first"),
                format!("自最早一份未用完的申请以来已有 {WINDOW} 份申请，请先用完或取消较早的"),
            )
            .into());
        }
        let grant = draft(wish, applicant, id, &book, &policy, now_s)?;
        let signatures = 1 + draft::matter(&policy, &grant.matter).map_or(1, |rule| usize::from(rule.needed));
        must_fit(grant.to_bytes().len() + signatures * SIGNED_BYTES)?;
        let needed = draft::matter(&policy, &grant.matter).map_or(1, |rule| usize::from(rule.needed));
        book.next_sequence += 1;
        sql::put_book(&mut transaction, &book).await?;
        let case = Case {
            grant: grant.id,
            seal: seal.into(),
            state: "open".into(),
            applicant: applicant.into(),
            title,
            payload: grant.to_bytes(),
            needed,
            sequence: grant.sequence,
            max_uses: grant.max_uses,
            expires_s: grant.expires_s,
            created_ms: now_ms,
            decided_ms: None,
            decided_by: None,
            why: None,
            leaf: None,
            used: 0,
            revoked_s: None,
        };
        sql::add_case(&mut transaction, &case).await?;
        transaction.commit().await?;
        self.tell_case(&case, "open", now_ms);
        Ok(grant.id)
    }

    /// What the owner of a key signs to approve a grant.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn to_sign(&self, grant: &Id, key: &PublicKey) -> Result<Vec<u8>, OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        let case = sql::case(&mut desk.connection, grant)
            .await?
            .ok_or_else(|| not_there("application", hex(&grant[..])))?;
        Ok(to_be_signed(Kind::Grant, key, &case.payload))
    }

    /// Takes an approval. When it is enough the grant is given; whether it was. Delegations that are `stale` count for nothing:
    /// who knows keys knows that theirs does no more.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn approve(
        &self,
        grant: &Id,
        person: &str,
        key: &PublicKey,
        signature: &[u8],
        stale: &[Id],
        now_ms: i64,
    ) -> Result<bool, OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        let mut transaction = sql::begin(&mut desk.connection).await?;
        let case = open_case(&mut transaction, grant, now_ms).await?;
        let Some(policy) = Self::policy(&mut transaction, &case.seal).await? else {
            return Err(not_there("rules of seal", case.seal));
        };
        let trust = Self::trust(&mut transaction, &policy, stale, seconds(now_ms)).await?;
        let before = sql::approvals(&mut transaction, grant).await?;
        let mut all: Vec<Approval> = before.into_iter().map(|(approval, _)| approval).collect();
        if all.iter().all(|before| before.key != *key) {
            let approval = approval(&case.payload, &trust, &all, person, key, signature)?;
            sql::add_approval(&mut transaction, grant, &approval, now_ms).await?;
            all.push(approval);
        }
        let given = draft::issue(&case.payload, &all, &trust, &self.shared.issuer);
        if let Some(bytes) = &given {
            let leaf = leaf_of("grant", &case.seal, bytes.clone(), now_ms);
            sql::add_leaf(&mut transaction, &leaf).await?;
            sql::decide(&mut transaction, &case, "granted", person, None, Some(&leaf.digest), now_ms).await?;
        }
        transaction.commit().await?;
        self.tell_case(&case, if given.is_some() { "granted" } else { "approved" }, now_ms);
        self.shared.work.notify_one();
        Ok(given.is_some())
    }

    /// Ends an application without a grant: `state` is `rejected` or `cancelled`.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn end_case(
        &self,
        grant: &Id,
        state: &'static str,
        by: &str,
        why: &str,
        now_ms: i64,
    ) -> Result<(), OfficeError> {
        let why = words(why, "the reason", "理由")?;
        let mut desk = self.shared.desk.lock().await;
        let mut transaction = sql::begin(&mut desk.connection).await?;
        let case = undecided(&mut transaction, grant).await?;
        sql::decide(&mut transaction, &case, state, by, Some(&why), None, now_ms).await?;
        transaction.commit().await?;
        self.tell_case(&case, state, now_ms);
        Ok(())
    }

    /// Takes a grant back. A seal that is not connected hears of it when it is, or stops when its lease ends.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn revoke(&self, grant: &Id, by: &str, why: &str, now_ms: i64) -> Result<(), OfficeError> {
        let why = words(why, "the reason", "理由")?;
        let mut desk = self.shared.desk.lock().await;
        let mut transaction = sql::begin(&mut desk.connection).await?;
        let case =
            sql::case(&mut transaction, grant).await?.ok_or_else(|| not_there("grant", hex(&grant[..])))?;
        let book = sql::book(&mut transaction, &case.seal).await?;
        let mut book = book.ok_or_else(|| not_there("seal", case.seal.clone()))?;
        book.epoch += 1;
        if !sql::revoke(&mut transaction, grant, seconds(now_ms), book.epoch, by, &why).await? {
            let state = &case.state;
            return Err(No::new(
                format!("the application is {state}: only what is granted can be taken back"),
                format!("申请状态为 {state}：只有已授权的才能撤销"),
            )
            .into());
        }
        sql::put_book(&mut transaction, &book).await?;
        let (seal, expires_s, epoch) = (case.seal.clone(), case.expires_s, book.epoch);
        let deed = Deed::Revoked { seal, grant: *grant, expires_s, epoch };
        let notice = self.notice(&case.seal, by, deed, now_ms)?;
        sql::add_leaf(&mut transaction, &notice).await?;
        transaction.commit().await?;
        // It need not wait for witnesses to be safer.
        (self.shared.downlink)(&book.gateway, Vec::new());
        self.tell_case(&case, "revoked", now_ms);
        self.shared.work.notify_one();
        Ok(())
    }

    /// Locks a seal from afar, or unlocks it.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn lock(&self, seal: &str, is_locked: bool, by: &str, now_ms: i64) -> Result<(), OfficeError> {
        let deed = Deed::Locked { seal: seal.into(), is_locked };
        self.change(seal, by, now_ms, |book| book.is_locked = is_locked, |_| deed).await
    }

    /// Says that somebody has looked into the tampering that they have seen: the first `seen` times of all that the seal has
    /// told. What came since keeps it locked.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn clear(&self, seal: &str, seen: u32, by: &str, now_ms: i64) -> Result<(), OfficeError> {
        let deed = |book: &Book| Deed::Cleared { seal: seal.into(), cleared: book.cleared };
        let clear = |book: &mut Book| book.cleared = book.cleared.max(seen.min(book.tampered));
        self.change(seal, by, now_ms, clear, deed).await
    }

    async fn change(
        &self,
        seal: &str,
        by: &str,
        now_ms: i64,
        change: impl FnOnce(&mut Book),
        deed: impl FnOnce(&Book) -> Deed,
    ) -> Result<(), OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        let mut transaction = sql::begin(&mut desk.connection).await?;
        let mut book = sql::book(&mut transaction, seal).await?.ok_or_else(|| not_there("seal", seal))?;
        change(&mut book);
        sql::put_book(&mut transaction, &book).await?;
        let notice = self.notice(seal, by, deed(&book), now_ms)?;
        sql::add_leaf(&mut transaction, &notice).await?;
        transaction.commit().await?;
        // It need not wait for witnesses to be safer.
        (self.shared.downlink)(&book.gateway, Vec::new());
        self.shared.work.notify_one();
        Ok(())
    }

    fn tell_case(&self, case: &Case, state: &str, now_ms: i64) {
        let grant = hex(&case.grant[..]);
        tracing::info!(seal = case.seal, grant, state, "用印申请 application");
        self.publish(&serde_json::json!({
            "seal": case.seal, "what": "application", "at_ms": now_ms,
        }));
    }
}

async fn undecided(connection: &mut sqlx::AnyConnection, grant: &Id) -> Result<Case, OfficeError> {
    let case =
        sql::case(connection, grant).await?.ok_or_else(|| not_there("application", hex(&grant[..])))?;
    if case.state != "open" {
        let state = &case.state;
        return Err(No::new(
            format!("the application is {state} already"),
            format!("申请已处理，状态为 {state}"),
        )
        .into());
    }
    Ok(case)
}

async fn open_case(
    connection: &mut sqlx::AnyConnection,
    grant: &Id,
    now_ms: i64,
) -> Result<Case, OfficeError> {
    let case = undecided(connection, grant).await?;
    let is_over = Grant::read(&case.payload).map_or(true, |grant| grant.expires_s <= seconds(now_ms));
    if is_over {
        return Err(No::new(
            "the time that was applied for is over: it has to be applied for again",
            "申请的用印时间已过，请重新申请",
        )
        .into());
    }
    Ok(case)
}
