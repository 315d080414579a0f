//! Who approves in whose place: what an approver signs before they are away, and until when it counts.

use seal::decision::is_approved;
use seal::delegation::{Delegation, DelegationError, Deputed, MAX_HELD, MAX_MATTERS, MAX_VALID_S, VERSION};
use seal::envelope::{Envelope, Kind, Signed, to_be_signed};
use seal::grant::{Grant, Id};
use seal::keys::PublicKey;
use seal::notice::Deed;
use seal::policy::Policy;
use seal::trust::Trust;

use super::acts::{must_fit, not_there, random_id, words};
use super::ask::{DelegationView, delegation_view};
use super::draft::No;
use super::finding::Finding;
use super::sql::{self, DelegationRow};
use super::{Office, OfficeError, hex, leaf_of, seconds};
use crate::people::role::Scope;

/// Most delegations of one person for a seal that have not ended, withdrawn ones too: a seal remembers each that was withdrawn
/// until its end, and has room for some hundreds.
const MOST_OF_ONE: usize = 8;

/// What an approver wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absence {
    /// The seal.
    pub seal: String,
    /// Who approves meanwhile.
    pub to: String,
    /// Which matters.
    pub matters: Vec<String>,
    /// From when on, in seconds since 1970 UTC; now when `None`.
    pub from_s: Option<u64>,
    /// Until when.
    pub until_s: u64,
}

/// A delegation and when it was taken back, in seconds since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The delegation.
    pub deputed: Deputed,
    /// When it was taken back.
    pub withdrawn_s: Option<u64>,
}

impl Given {
    /// Whether it held at this time.
    pub fn held_at(&self, at_s: u64) -> bool {
        self.deputed.delegation().holds_at(at_s) && self.withdrawn_s.is_none_or(|back_s| at_s < back_s)
    }
}

/// What was wrong with a use of a grant at `at_s`, as far as deputies have approved it. `leaf` is the signed grant, and
/// `index` its number in the log (pure).
pub fn lapse(policy: &Policy, leaf: &[u8], index: u64, given: &[Given], at_s: u64) -> Option<Finding> {
    let envelope = Envelope::read(Kind::Grant, leaf).ok()?;
    let grant = Grant::read(envelope.payload).ok()?;
    let is_approved_by = |given: &[&Given]| {
        let deputed = given.iter().map(|given| given.deputed.clone()).collect();
        is_approved(&Trust { deputed, ..policy.trust() }, &grant, &envelope).is_ok()
    };
    let in_time = |given: &&Given| given.deputed.delegation().holds_at(at_s) && given.deputed.index() < index;
    let in_time: Vec<&Given> = given.iter().filter(in_time).collect();
    let held: Vec<&Given> = in_time.iter().copied().filter(|given| given.held_at(at_s)).collect();
    if is_approved_by(&held) {
        return None;
    }
    let back_s = in_time.iter().filter_map(|given| given.withdrawn_s).min();
    Some(match back_s.filter(|_| is_approved_by(&in_time)) {
        Some(back_s) => Finding::AfterRevocation(at_s.saturating_sub(back_s)),
        None => Finding::Deputy,
    })
}

/// The delegation that an approver would sign (pure).
///
/// # Errors
/// Why there can be none.
pub fn draft(absence: Absence, from: &str, id: Id, policy: &Policy, now_s: u64) -> Result<Delegation, No> {
    let Absence { seal, to, mut matters, from_s, until_s } = absence;
    matters.sort();
    matters.dedup();
    let from_s = from_s.unwrap_or(now_s);
    let delegation =
        Delegation { version: VERSION, id, seal, from: from.into(), to, matters, from_s, until_s };
    if until_s <= now_s || from_s > now_s.saturating_add(MAX_VALID_S) {
        return Err(No::new(
            "the time is not possible: an end in the future and a beginning within a month expected",
            "起止时间有误：结束须晚于现在，开始须在一个月内",
        ));
    }
    if Delegation::read(&delegation.to_bytes()).is_none() {
        return Err(No::new(
            format!("a deputy other than yourself, 1 to {MAX_MATTERS} matters and 31 days at most expected"),
            format!("应指定他人为代理人，事项 1 至 {MAX_MATTERS} 项，期限不超过 31 天"),
        ));
    }
    if policy.approvers.iter().all(|named| named.name != delegation.to) {
        let to = &delegation.to;
        return Err(No::new(
            format!("the rules do not name {to:?}: a deputy has to be an approver of something already"),
            format!("规则未列入 {to:?}：代理人须已是审批人"),
        ));
    }
    for name in &delegation.matters {
        let own = policy.matters.iter().find(|rule| rule.matter == *name).filter(|rule| {
            let mut who = rule.approvers.iter().filter_map(|&at| policy.approvers.get(usize::from(at)));
            rule.may_be_delegated && who.any(|named| named.name == from)
        });
        if own.is_none() {
            return Err(No::new(
                format!(
                    "{name:?} is not yours to delegate: a matter that you approve, and that the rules let be delegated, expected"
                ),
                format!("事项 {name:?} 不能由您委托：须由您审批，且规则允许委托"),
            ));
        }
    }
    Ok(delegation)
}

fn refused(error: DelegationError) -> No {
    match error {
        DelegationError::Malformed | DelegationError::OtherSeal | DelegationError::Proof => {
            No::new("this is no delegation for this seal", "不是该印章的委托")
        }
        DelegationError::Delegator => No::new(
            "the signature is not one of the delegator's keys in the rules over these bytes: sign the bytes of to_be_signed as they are",
            "签名无效：请用规则中列入的本人密钥，对 to_be_signed 的原始字节签名",
        ),
        DelegationError::Deputy => {
            No::new("the rules do not name the deputy any more", "规则已不再列入该代理人")
        }
    }
}

/// What a leaf says, by these rules; `None` when they want nothing of it.
fn given(row: &DelegationRow, trust: &Trust) -> Option<Given> {
    let deputed = Deputed::of_leaf(&row.leaf.body, row.leaf.index.unwrap_or(u64::MAX), trust).ok()?;
    Some(Given { deputed, withdrawn_s: row.withdrawn_s })
}

impl Office {
    /// The bytes of a delegation and what the owner of a key signs to give it. Nothing is kept.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn draft_delegation(
        &self,
        absence: Absence,
        from: &str,
        key: &PublicKey,
        now_ms: i64,
    ) -> Result<(Vec<u8>, Vec<u8>), OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        let seal = absence.seal.clone();
        let policy = Self::policy(&mut desk.connection, &seal).await?;
        let policy = policy.ok_or_else(|| not_there("rules of seal", seal))?;
        let payload = draft(absence, from, random_id()?, &policy, seconds(now_ms))?.to_bytes();
        let message = to_be_signed(Kind::Delegation, key, &payload);
        Ok((payload, message))
    }

    /// Takes a delegation that somebody has signed; its id.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn depute(
        &self,
        payload: &[u8],
        person: &str,
        key: &PublicKey,
        signature: &[u8],
        now_ms: i64,
    ) -> Result<Id, OfficeError> {
        let read = Delegation::read(payload).ok_or_else(|| refused(DelegationError::Malformed))?;
        if read.from != person {
            return Err(refused(DelegationError::Delegator).into());
        }
        let now_s = seconds(now_ms);
        let mut desk = self.shared.desk.lock().await;
        let mut transaction = sql::begin(&mut desk.connection).await?;
        let policy = Self::policy(&mut transaction, &read.seal).await?;
        let policy = policy.ok_or_else(|| not_there("rules of seal", read.seal.clone()))?;
        // What was drafted here may have lain: it is measured again, and by what a seal would say.
        let absence = Absence {
            seal: read.seal.clone(),
            to: read.to.clone(),
            matters: read.matters.clone(),
            from_s: Some(read.from_s),
            until_s: read.until_s,
        };
        let delegation = draft(absence, person, read.id, &policy, now_s)?;
        let signed =
            Signed { algorithm: key.algorithm().number(), key: key.id(), signature: signature.into() };
        let body = Envelope { kind: Kind::Delegation, payload, signatures: vec![signed] }.to_bytes();
        let trust = policy.trust();
        let deputed = Deputed::of_leaf(&body, 0, &trust).map_err(refused)?;
        // A key that the rules name for other matters only gives nothing here: the seal would take it for nothing.
        let counts = |matter: &String| {
            trust.rules.iter().any(|rule| rule.matter == *matter && deputed.counts(&trust, rule))
        };
        if let Some(matter) = delegation.matters.iter().find(|matter| !counts(matter)) {
            return Err(No::new(
                format!("the rules do not name this key for {matter:?}: sign with the key that they name"),
                format!("规则中事项 {matter:?} 未列入该密钥：请用规则所列密钥签名"),
            )
            .into());
        }
        must_fit(body.len())?;
        let others = sql::delegations_between(&mut transaction, &read.seal, [now_s, u64::MAX], now_s).await?;
        let own = sql::delegations_of(&mut transaction, &read.seal, person, now_s).await?;
        if own >= MOST_OF_ONE {
            return Err(No::new(
                format!("you have given {own} delegations for this seal that have not ended, withdrawn ones too: {MOST_OF_ONE} at most, because the seal remembers each that was withdrawn until its end"),
                format!("您为该印章作出的未到期委托（含已撤回的）已有 {own} 份，最多 {MOST_OF_ONE} 份：印章须记住已撤回的委托直至其到期"),
            )
            .into());
        }
        if others.len() >= MAX_HELD {
            return Err(No::new(
                format!("the seal holds {MAX_HELD} delegations at most: one has to be withdrawn, or to end"),
                format!("该印章最多同时有 {MAX_HELD} 份委托：须先撤回一份或等其到期"),
            )
            .into());
        }
        let leaf = leaf_of("delegation", &read.seal, body, now_ms);
        let is_new = sql::add_leaf(&mut transaction, &leaf).await?
            && sql::add_delegation(&mut transaction, &delegation, key, &leaf.digest, now_ms).await?;
        if !is_new {
            return Err(No::new(
                "there is something of this id already: draft another",
                "编号已被使用：请重新起草",
            )
            .into());
        }
        transaction.commit().await?;
        tracing::info!(
            seal = delegation.seal,
            from = delegation.from,
            to = delegation.to,
            "委托审批 a delegation is given"
        );
        self.tell_delegation(&delegation.seal, now_ms);
        Ok(delegation.id)
    }

    /// Takes a delegation back: what the deputy has approved and is not used is over with it. A seal that is not connected
    /// hears of it when it is, or stops when its lease ends.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn withdraw(&self, id: &Id, by: &str, why: &str, now_ms: i64) -> Result<(), OfficeError> {
        let why = words(why, "the reason", "理由")?;
        let mut desk = self.shared.desk.lock().await;
        let mut transaction = sql::begin(&mut desk.connection).await?;
        let row = sql::delegation(&mut transaction, id).await?;
        let row = row.ok_or_else(|| not_there("delegation", hex(&id[..])))?;
        let book = sql::book(&mut transaction, &row.seal).await?;
        let mut book = book.ok_or_else(|| not_there("seal", row.seal.clone()))?;
        book.epoch += 1;
        if !sql::withdraw(&mut transaction, id, seconds(now_ms), book.epoch, by, &why).await? {
            return Err(
                No::new("the delegation has ended or is withdrawn already", "该委托已到期或已撤回").into()
            );
        }
        sql::put_book(&mut transaction, &book).await?;
        // Seals know it by its id, as they know grants.
        let (seal, expires_s, epoch) = (row.seal.clone(), row.until_s, book.epoch);
        let notice =
            self.notice(&row.seal, by, Deed::Revoked { seal, grant: *id, expires_s, epoch }, now_ms)?;
        sql::add_leaf(&mut transaction, &notice).await?;
        transaction.commit().await?;
        // It need not wait for witnesses to be safer.
        (self.shared.downlink)(&book.gateway, Vec::new());
        self.tell_delegation(&row.seal, now_ms);
        Ok(())
    }

    /// Delegations from or to `own`, and those for seals in these areas, newest first: of a seal when it is named.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn delegations(
        &self,
        seal: Option<&str>,
        areas: &[Scope],
        own: &str,
    ) -> Result<Vec<DelegationView>, OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        let rows = sql::delegations(&mut desk.connection, seal, areas, own).await?;
        let size = self.shared.cosigned.borrow().size;
        Ok(rows.iter().filter_map(|row| delegation_view(row, size)).collect())
    }

    /// Delegations of a seal that hold now.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn delegations_now(&self, seal: &str, now_ms: i64) -> Result<Vec<DelegationView>, OfficeError> {
        let (now_s, size) = (seconds(now_ms), self.shared.cosigned.borrow().size);
        let mut desk = self.shared.desk.lock().await;
        let rows = sql::delegations_between(&mut desk.connection, seal, [now_s; 2], now_s).await?;
        Ok(rows.iter().filter_map(|row| delegation_view(row, size)).collect())
    }

    /// One delegation.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn delegation(&self, id: &Id) -> Result<DelegationView, OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        let row = sql::delegation(&mut desk.connection, id).await?;
        let size = self.shared.cosigned.borrow().size;
        row.and_then(|row| delegation_view(&row, size)).ok_or_else(|| not_there("delegation", hex(&id[..])))
    }

    /// Whom to believe by these rules, with the delegations that hold now but for those `without`.
    pub(super) async fn trust(
        connection: &mut sqlx::AnyConnection,
        policy: &Policy,
        without: &[Id],
        now_s: u64,
    ) -> Result<Trust, OfficeError> {
        let mut trust = policy.trust();
        let rows = sql::delegations_between(connection, &policy.seal, [now_s; 2], now_s).await?;
        let rows = rows.iter().filter(|row| !without.contains(&row.id));
        trust.deputed = rows.filter_map(|row| given(row, &trust)).map(|given| given.deputed).collect();
        Ok(trust)
    }

    /// What was wrong with a use of a grant, as far as deputies have approved it.
    pub(super) async fn lapse(
        connection: &mut sqlx::AnyConnection,
        seal: &str,
        grant: &Id,
        at_s: u64,
    ) -> Result<Option<Finding>, OfficeError> {
        let case = sql::case(connection, grant).await?;
        let Some(digest) = case.and_then(|case| case.leaf) else { return Ok(None) };
        let Some(leaf) = sql::leaf(connection, &digest).await? else { return Ok(None) };
        let number = Envelope::read(Kind::Grant, &leaf.body).ok();
        let number = number.and_then(|envelope| Grant::read(envelope.payload).ok()).map(|grant| grant.policy);
        let rules = match number {
            Some(number) => sql::policy_numbered(connection, seal, number).await?,
            None => None,
        };
        let Some(policy) = rules.as_ref().and_then(super::policy_of) else { return Ok(None) };
        let trust = policy.trust();
        let rows = sql::delegations_between(connection, seal, [at_s; 2], 0).await?;
        let given: Vec<Given> = rows.iter().filter_map(|row| given(row, &trust)).collect();
        Ok(lapse(&policy, &leaf.body, leaf.index.unwrap_or(u64::MAX), &given, at_s))
    }

    fn tell_delegation(&self, seal: &str, now_ms: i64) {
        self.publish(&serde_json::json!({ "seal": seal, "what": "delegation", "at_ms": now_ms }));
        self.shared.work.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use seal::keys::Signer;
    use seal::policy::Named;

    use super::*;
    use crate::office::draft::tests::{book, key, policy as plain, wish};
    use crate::office::draft::{Approval, approval, draft as draft_grant, issue};

    const NOW_S: u64 = 1_000_000;

    /// Certificates may be delegated, and the teacher is named.
    fn policy() -> Policy {
        let mut policy = plain();
        policy.matters[0].may_be_delegated = true;
        policy.approvers.push(Named { name: "teacher".into(), key: key(13).public() });
        policy
    }

    fn absence() -> Absence {
        let (seal, to, matters) = ("gongli-07".into(), "teacher".into(), vec!["certificate".into()]);
        Absence { seal, to, matters, from_s: None, until_s: NOW_S + 3600 }
    }

    fn drafted(absence: Absence, from: &str) -> Result<Delegation, No> {
        draft(absence, from, [7; 16].into(), &policy(), NOW_S)
    }

    /// Signed by the secretary; the 5th leaf.
    fn deputed(delegation: &Delegation, policy: &Policy) -> Deputed {
        let payload = delegation.to_bytes();
        let body = Envelope::sign(Kind::Delegation, &payload, &[&key(2)]).unwrap().to_bytes();
        Deputed::of_leaf(&body, 5, &policy.trust()).unwrap()
    }

    #[test]
    fn only_what_is_ones_own_and_may_be_is_delegated() {
        let delegation = drafted(absence(), "secretary").unwrap();
        assert_eq!((delegation.from_s, delegation.until_s), (NOW_S, NOW_S + 3600));
        let certificate = || "certificate".to_owned();
        let twice = drafted(Absence { matters: vec![certificate(); 2], ..absence() }, "secretary").unwrap();
        assert_eq!(twice.matters, [certificate()], "said twice is said once");
        for (bad, from, why) in [
            (absence(), "teacher", "to themselves"),
            (Absence { to: "clerk".into(), ..absence() }, "teacher", "not the teacher's"),
            (absence(), "stranger", "nobody's"),
            (Absence { to: "stranger".into(), ..absence() }, "secretary", "to a stranger"),
            (Absence { matters: vec!["land".into()], ..absence() }, "secretary", "no matter"),
            (Absence { matters: Vec::new(), ..absence() }, "secretary", "nothing"),
            (Absence { until_s: NOW_S, ..absence() }, "secretary", "over"),
            (Absence { until_s: NOW_S + MAX_VALID_S + 1, ..absence() }, "secretary", "too long"),
            (Absence { from_s: Some(NOW_S + 7200), ..absence() }, "secretary", "backwards"),
            (
                Absence { from_s: Some(NOW_S + MAX_VALID_S + 1), until_s: u64::MAX, ..absence() },
                "secretary",
                "some day",
            ),
        ] {
            let no = drafted(bad, from).expect_err(why);
            assert!(!no.zh.is_ascii(), "{why}");
        }
        let fixed = draft(absence(), "secretary", [7; 16].into(), &plain(), NOW_S);
        assert!(fixed.is_err(), "the rules do not let it be");
    }

    /// A grant of the bookkeeper's, approvals of it one after the other, and what was said to each.
    fn approved(trust: &Trust, people: &[(&str, u8)]) -> (Vec<u8>, Vec<Approval>, Vec<Result<(), No>>) {
        let grant = draft_grant(wish(), "bookkeeper", [1; 16].into(), &book(), &policy(), NOW_S).unwrap();
        let payload = grant.to_bytes();
        let (mut all, mut said) = (Vec::new(), Vec::new());
        for &(person, number) in people {
            let key = key(number);
            let signature = key.sign(&to_be_signed(Kind::Grant, &key.public(), &payload)).unwrap();
            let looked = approval(&payload, trust, &all, person, &key.public(), &signature);
            said.push(looked.map(|approval| all.push(approval)));
        }
        (payload, all, said)
    }

    #[test]
    fn a_grant_carries_the_signatures_that_count() {
        let policy = policy();
        let delegation = drafted(absence(), "secretary").unwrap();
        let trust = Trust { deputed: vec![deputed(&delegation, &policy)], ..policy.trust() };
        let given = |trust: &Trust, people: &[(&str, u8)]| {
            let (payload, all, _) = approved(trust, people);
            let bytes = issue(&payload, &all, trust, &key(1))?;
            let envelope = Envelope::read(Kind::Grant, &bytes).unwrap();
            let grant = Grant::read(envelope.payload).unwrap();
            assert_eq!(is_approved(trust, &grant, &envelope), Ok(()), "a seal says the same");
            let signed =
                [2, 3, 13].into_iter().filter(|&number| envelope.is_signed_by(&key(number).public()));
            Some(signed.collect::<Vec<u8>>())
        };
        assert_eq!(given(&trust, &[("teacher", 13), ("clerk", 3)]), Some(vec![3, 13]));
        assert_eq!(given(&trust, &[("teacher", 13), ("secretary", 2)]), None, "one and the same");
        let came_back = [("teacher", 13), ("secretary", 2), ("clerk", 3)];
        assert_eq!(
            given(&trust, &came_back),
            Some(vec![2, 3]),
            "who came back signs, and the deputy is left out"
        );
        assert_eq!(given(&policy.trust(), &[("teacher", 13), ("clerk", 3)]), None, "nobody's deputy");
        let (_, all, said) = approved(&trust, &[("secretary", 2), ("teacher", 13)]);
        assert!(said[0].is_ok() && said[1].is_err() && all.len() == 1, "the secretary is there");
        let (_, all, _) = approved(&trust, &[("teacher", 13), ("clerk", 3)]);
        let shown: Vec<_> = all.iter().map(|one| one.in_place_of.as_deref()).collect();
        assert_eq!(shown, [Some("secretary"), None]);
    }

    #[test]
    fn a_use_is_measured_by_the_time_at_which_it_was_made() {
        let policy = policy();
        let delegation = drafted(absence(), "secretary").unwrap();
        let deputed = deputed(&delegation, &policy);
        let trust = Trust { deputed: vec![deputed.clone()], ..policy.trust() };
        let (payload, all, _) = approved(&trust, &[("teacher", 13), ("clerk", 3)]);
        let leaf = issue(&payload, &all, &trust, &key(1)).unwrap();
        let (payload, all, _) = approved(&trust, &[("secretary", 2), ("clerk", 3)]);
        let alone = issue(&payload, &all, &trust, &key(1)).unwrap();
        let at = |leaf: &[u8], index, withdrawn_s, at_s| {
            let given = [Given { deputed: deputed.clone(), withdrawn_s }];
            lapse(&policy, leaf, index, &given, at_s)
        };
        for (index, withdrawn_s, at_s, expected, why) in [
            (6, None, NOW_S, None, "while it holds"),
            (6, None, NOW_S + 3600, Some(Finding::Deputy), "when it is over"),
            (6, None, NOW_S - 1, Some(Finding::Deputy), "before it has begun"),
            (4, None, NOW_S, Some(Finding::Deputy), "the grant was logged before"),
            (6, Some(NOW_S + 60), NOW_S + 59, None, "before it was withdrawn"),
            (6, Some(NOW_S + 60), NOW_S + 70, Some(Finding::AfterRevocation(10)), "after"),
            (6, Some(NOW_S + 60), NOW_S + 3600, Some(Finding::Deputy), "over anyway"),
        ] {
            assert_eq!(at(&leaf, index, withdrawn_s, at_s), expected, "{why}");
            assert_eq!(
                at(&alone, index, withdrawn_s, at_s),
                None,
                "who signs themselves needs no deputy: {why}"
            );
        }
    }
}
