//! From an application to a grant: what is asked for, who has approved it, and when it is enough (pure).

use seal::decision::{is_approved, people};
use seal::envelope::{Envelope, Kind, Signed, to_be_signed};
use seal::grant::{Evidence, Fence, Grant, HashAlgorithm, Id, MAX_VALID_S, VERSION};
use seal::keys::{Algorithm, Digest, PublicKey, Signer};
use seal::policy::{Matter, Policy};
use seal::trust::{Rule, Trust};

use super::book::Book;

/// Furthest ahead that a grant may begin, in seconds: a month.
const MAX_AHEAD_S: u64 = 31 * 86_400;
/// Validity when nothing is said, in seconds: a working day.
const DEFAULT_VALID_S: u64 = 8 * 3600;

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The matter, as the list of powers names it.
    pub matter: String,
    /// The digest of the document.
    pub document: Digest,
    /// How it was digested.
    pub hash: HashAlgorithm,
    /// Pages of it.
    pub pages: u16,
    /// How many impressions.
    pub copies: u16,
    /// From when on, in seconds since 1970 UTC; now when `None`.
    pub not_before_s: Option<u64>,
    /// Until when; a working day later when `None`.
    pub expires_s: Option<u64>,
    /// Where; anywhere when `None`.
    pub fence: Option<Fence>,
    /// Who may use it beside the applicant.
    pub operators: Vec<String>,
    /// Photographs beyond what the rule asks for.
    pub evidence: Evidence,
}

/// Why something is not done: for people, in both languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct No {
    /// In English.
    pub en: String,
    /// In Chinese.
    pub zh: String,
}

impl No {
    /// In English and in Chinese.
    pub fn new(en: impl Into<String>, zh: impl Into<String>) -> Self {
        Self { en: en.into(), zh: zh.into() }
    }

    /// Of what names a key of an algorithm that this build lacks: nobody here can say whether it is right.
    pub(super) fn lacking(what: &str, what_zh: &str, algorithm: Algorithm) -> Self {
        let algorithm = algorithm.as_str();
        Self::new(
            format!(
                "{what} name a key of {algorithm}, which this build lacks: build ingest with --features sm"
            ),
            format!("{what_zh}含 {algorithm} 密钥，而本程序编译时未启用国密特性 sm"),
        )
    }
}

/// The grant that would fulfil a wish: what approvers sign. It goes by the rules as they are now, and by the revocations of
/// which the seal must have heard.
///
/// # Errors
/// Why no such grant can be.
pub fn draft(
    wish: Wish,
    applicant: &str,
    id: Id,
    book: &Book,
    policy: &Policy,
    now_s: u64,
) -> Result<Grant, No> {
    let Some(rule) = matter(policy, &wish.matter) else {
        let known: Vec<&str> = policy.matters.iter().map(|rule| rule.matter.as_str()).collect();
        let (asked, known) = (&wish.matter, known.join(", "));
        return Err(No::new(
            format!("matter {asked:?} is not on this seal's list of powers: one of {known} expected"),
            format!("事项 {asked:?} 不在该印章的权力清单内，应为：{known}"),
        ));
    };
    if !(1..=rule.most_uses).contains(&wish.copies) {
        let (asked, most) = (wish.copies, rule.most_uses);
        return Err(No::new(
            format!("{asked} impressions: 1 to {most} expected for this matter"),
            format!("份数 {asked} 有误：该事项应为 1 至 {most}"),
        ));
    }
    let not_before_s = wish.not_before_s.unwrap_or(now_s);
    let expires_s = wish.expires_s.unwrap_or(not_before_s.saturating_add(DEFAULT_VALID_S));
    let valid_s = expires_s.checked_sub(not_before_s).filter(|valid_s| (1..=MAX_VALID_S).contains(valid_s));
    if valid_s.is_none() || expires_s <= now_s || not_before_s > now_s + MAX_AHEAD_S {
        return Err(No::new(
            "the time is not possible: an end in the future, a week after the beginning at most, and a beginning within a month expected",
            "起止时间有误：结束须晚于现在，时长不超过一周，开始须在一个月内",
        ));
    }
    let has = |asked, more| asked || more;
    let evidence = Evidence {
        before: has(rule.evidence.before, wish.evidence.before),
        after: has(rule.evidence.after, wish.evidence.after),
        person: has(rule.evidence.person, wish.evidence.person),
    };
    let grant = Grant {
        version: VERSION,
        id,
        seal: book.seal.clone(),
        sequence: book.next_sequence,
        matter: wish.matter,
        applicant: applicant.into(),
        document: wish.document,
        pages: wish.pages,
        max_uses: wish.copies,
        not_before_s,
        expires_s,
        fence: wish.fence,
        evidence,
        min_epoch: book.epoch,
        nonce: None,
        policy: policy.number,
        is_test: policy.is_test,
        operators: wish.operators,
        hash: wish.hash,
    };
    // Whatever else a grant must be, the one reader says.
    match Grant::read(&grant.to_bytes()) {
        Ok(grant) => Ok(grant),
        Err(_) => Err(No::new(
            "pages, names or place are not possible: at least one page, names of 64 bytes at most, a place on the map with a radius of 1 to 50,000 m expected",
            "页数、姓名或地点有误：至少一页，名称不超过 64 字节，半径 1 至 50000 米",
        )),
    }
}

/// The rule for a matter.
pub fn matter<'p>(policy: &'p Policy, name: &str) -> Option<&'p Matter> {
    policy.matters.iter().find(|rule| rule.matter == name)
}

/// An approval that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Who, as the rules name them.
    pub person: String,
    /// For whom, when it is a deputy's.
    pub in_place_of: Option<String>,
    /// With which key.
    pub key: PublicKey,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Approval {
    fn signed(&self) -> Signed {
        let (algorithm, key) = (self.key.algorithm().number(), self.key.id());
        Signed { algorithm, key, signature: self.signature.clone() }
    }
}

/// Looks at an approval of a drafted grant by `person`. `before` are those that there are already; `trust` has the
/// delegations that hold now.
///
/// # Errors
/// Why it does not count.
pub fn approval(
    payload: &[u8],
    trust: &Trust,
    before: &[Approval],
    person: &str,
    key: &PublicKey,
    signature: &[u8],
) -> Result<Approval, No> {
    let grant = Grant::read(payload).map_err(|_| No::new("the draft cannot be read", "草案无法读取"))?;
    if grant.policy != trust.policy {
        return Err(No::new(
            "the rules have changed since it was applied for: it has to be applied for again",
            "申请后规则已变更，请重新申请",
        ));
    }
    let rule = trust.rules.iter().find(|rule| rule.matter == grant.matter);
    let rule = rule.ok_or_else(|| No::new("the matter is on no list any more", "事项已不在权力清单内"))?;
    let mut own = rule.approvers(trust).filter(|approver| approver.key == *key);
    let mut deputies =
        trust.approvers.iter().filter(|approver| approver.key == *key && rule.may_be_delegated);
    let Some(named) = own.next().map(|own| (own, false)).or(deputies.next().map(|deputy| (deputy, true)))
    else {
        return Err(No::new(
            format!(
                "this key may not approve {:?}: the rules (number {}) do not name it",
                grant.matter, trust.policy
            ),
            format!("该密钥无权审批事项 {:?}（规则第 {} 版未列入）", grant.matter, trust.policy),
        ));
    };
    let (named, is_deputy) = named;
    if named.person != person {
        return Err(No::new(
            format!("this key belongs to {}, not to {person}", named.person),
            format!("该密钥属于 {}，不属于 {person}", named.person),
        ));
    }
    if grant.applicant == person {
        return Err(No::new(
            "nobody approves what they have asked for themselves",
            "申请人不得审批自己的申请",
        ));
    }
    if !key.verifies(&to_be_signed(Kind::Grant, key, payload), signature) {
        return Err(No::new(
            "the signature is not one of this key over these bytes: sign the bytes of to_be_signed as they are",
            "签名无效：请对 to_be_signed 的原始字节签名",
        ));
    }
    let mut approval =
        Approval { person: person.into(), in_place_of: None, key: *key, signature: signature.into() };
    if is_deputy {
        approval.in_place_of = Some(absent(&grant, trust, rule, before, &approval)?);
    }
    Ok(approval)
}

/// For whom a deputy approves: somebody who is away, for whom nobody does yet where there is a choice.
fn absent(
    grant: &Grant,
    trust: &Trust,
    rule: &Rule,
    before: &[Approval],
    approval: &Approval,
) -> Result<String, No> {
    let payload = grant.to_bytes();
    let mut envelope = Envelope { kind: Kind::Grant, payload: &payload, signatures: Vec::new() };
    envelope.signatures.extend(before.iter().map(Approval::signed));
    let without = people(trust, grant, &envelope);
    envelope.signatures.push(approval.signed());
    let given = trust.deputed.iter().filter(|one| one.counts(trust, rule)).map(|one| one.delegation());
    let for_me = given.filter(|given| given.to == approval.person).map(|given| &given.from);
    let has_signed = |from: &&String| before.iter().any(|other| other.person == **from);
    let is_stood_for = |from: &&String| before.iter().any(|other| other.in_place_of.as_ref() == Some(*from));
    let absent: Vec<&String> = for_me.filter(|from| **from != grant.applicant && !has_signed(from)).collect();
    let first = absent.iter().copied().find(|from| !is_stood_for(from)).or(absent.first().copied());
    match first.filter(|_| people(trust, grant, &envelope) > without) {
        Some(from) => Ok(from.clone()),
        None => Err(No::new(
            format!(
                "{} is named for other matters, and is nobody's deputy in this one now: a delegation that holds, from somebody who has not approved, expected",
                approval.person
            ),
            format!("{} 不是该事项的审批人，现也无有效委托（或委托人已审批）", approval.person),
        )),
    }
}

/// The grant with the signatures that count, when they are enough; `None` before, or when the issuer cannot sign. It is
/// measured as a seal does, by `trust` with the delegations that hold now.
pub fn issue(payload: &[u8], approvals: &[Approval], trust: &Trust, issuer: &dyn Signer) -> Option<Vec<u8>> {
    let grant = Grant::read(payload).ok()?;
    let mut envelope = Envelope::sign(Kind::Grant, payload, &[issuer])?;
    // Who approves themselves goes first: a deputy may have signed before they came back. An envelope has little room, so
    // what does not make it more is left out.
    let (themselves, deputies): (Vec<_>, Vec<_>) =
        approvals.iter().partition(|approval| approval.in_place_of.is_none());
    for approval in themselves.into_iter().chain(deputies) {
        if is_approved(trust, &grant, &envelope).is_ok() {
            break;
        }
        let before = people(trust, &grant, &envelope);
        envelope.signatures.push(approval.signed());
        if people(trust, &grant, &envelope) == before {
            envelope.signatures.pop();
        }
    }
    is_approved(trust, &grant, &envelope).ok()?;
    // One form, and within bounds: what a seal will read.
    let bytes = envelope.to_bytes();
    Envelope::read(Kind::Grant, &bytes).is_ok().then_some(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use seal::keys::{MemoryKey, digest};
    use seal::policy::Named;
    use seal::trust::Lease;
    use wire::{Area, GatewayId};

    use super::*;

    pub(in crate::office) fn key(number: u8) -> MemoryKey {
        MemoryKey::from_secret(&[number; 32])
    }

    fn named(name: &str, number: u8) -> Named {
        Named { name: name.into(), key: key(number).public() }
    }

    pub(in crate::office) fn policy() -> Policy {
        Policy {
            version: seal::policy::VERSION,
            seal: "gongli-07".into(),
            number: 3,
            is_test: false,
            issuers: vec![key(1).public()],
            log: named("seals.example/log", 5),
            witnesses: vec![named("notary.example", 6)],
            witnesses_needed: 1,
            approvers: vec![named("secretary", 2), named("clerk", 3), named("clerk", 4)],
            matters: vec![Matter {
                matter: "certificate".into(),
                approvers: vec![0, 1, 2],
                needed: 2,
                evidence: Evidence { before: false, after: true, person: true },
                most_uses: 3,
                may_be_delegated: false,
            }],
            lease: Lease { most_s: 86_400, most_stamps: 20, answer_s: 600 },
        }
    }

    pub(in crate::office) fn book() -> Book {
        let (area, gateway) = (Area::new("370124/gongli").unwrap(), GatewayId::new("gongli-07").unwrap());
        let fresh = Book::new("gongli-07", area, gateway, key(9).public());
        Book { policy: 3, epoch: 7, next_sequence: 12, ..fresh }
    }

    pub(in crate::office) fn wish() -> Wish {
        Wish {
            matter: "certificate".into(),
            document: digest(&[b"a certificate of residence"]),
            hash: HashAlgorithm::Sha256,
            pages: 1,
            copies: 2,
            not_before_s: None,
            expires_s: None,
            fence: None,
            operators: Vec::new(),
            evidence: Evidence { before: true, ..Evidence::default() },
        }
    }

    fn drafted(wish: Wish) -> Result<Grant, No> {
        draft(wish, "bookkeeper", [1; 16].into(), &book(), &policy(), 1_000_000)
    }

    fn sign(payload: &[u8], number: u8) -> Vec<u8> {
        let key = key(number);
        key.sign(&to_be_signed(Kind::Grant, &key.public(), payload)).unwrap().into()
    }

    #[test]
    fn a_wish_becomes_a_grant_by_the_rules() {
        let grant = drafted(wish()).unwrap();
        assert_eq!((grant.sequence, grant.min_epoch, grant.policy, grant.max_uses), (12, 7, 3, 2));
        assert_eq!(grant.evidence, Evidence { before: true, after: true, person: true });
        assert_eq!((grant.not_before_s, grant.expires_s), (1_000_000, 1_000_000 + DEFAULT_VALID_S));
        let place = Fence { datum: wire::Datum::Wgs84, lat_e7: 1, lon_e7: 1, radius_m: 0 };
        for (bad, why) in [
            (Wish { matter: "land sale".into(), ..wish() }, "not on the list"),
            (Wish { copies: 4, ..wish() }, "more than the rule allows"),
            (Wish { copies: 0, ..wish() }, "none"),
            (Wish { expires_s: Some(1_000_000), ..wish() }, "over already"),
            (Wish { expires_s: Some(1_000_001 + MAX_VALID_S), ..wish() }, "too long"),
            (Wish { not_before_s: Some(u64::MAX), ..wish() }, "never"),
            (Wish { not_before_s: Some(1_000_001 + MAX_AHEAD_S), ..wish() }, "too far ahead"),
            (Wish { pages: 0, ..wish() }, "no page"),
            (Wish { operators: vec![String::new()], ..wish() }, "nobody may use it"),
            (Wish { fence: Some(place), ..wish() }, "nowhere"),
        ] {
            let no = drafted(bad).expect_err(why);
            assert!(no.en.is_ascii() && !no.zh.is_ascii(), "{why}");
        }
    }

    #[test]
    fn only_those_whom_the_rules_name_approve_and_only_these_bytes() {
        let payload = drafted(wish()).unwrap().to_bytes();
        let [second, third, fourth] = [2, 3, 4].map(|number| key(number).public());
        let good =
            approval(&payload, &policy().trust(), &[], "secretary", &second, &sign(&payload, 2)).unwrap();
        assert_eq!(good.person, "secretary");
        let other = drafted(Wish { copies: 1, ..wish() }).unwrap().to_bytes();
        let own = draft(wish(), "clerk", [1; 16].into(), &book(), &policy(), 1_000_000).unwrap().to_bytes();
        let later = Policy { number: 4, ..policy() };
        for (payload, policy, person, key, signature, why) in [
            (&payload, policy(), "clerk", &second, sign(&payload, 2), "somebody else's key"),
            (&payload, policy(), "secretary", &key(8).public(), sign(&payload, 8), "a key of no list"),
            (&payload, policy(), "issuer", &key(1).public(), sign(&payload, 1), "the issuer"),
            (&payload, policy(), "clerk", &third, sign(&payload, 4), "signed by another key"),
            (&payload, policy(), "clerk", &third, sign(&other, 3), "for another grant"),
            (&payload, policy(), "clerk", &third, vec![0; 10], "no signature"),
            (&payload, later, "clerk", &third, sign(&payload, 3), "by old rules"),
            (&own, policy(), "clerk", &third, sign(&own, 3), "their own application"),
        ] {
            assert!(approval(payload, &policy.trust(), &[], person, key, &signature).is_err(), "{why}");
        }
        let approve = |person, public, number| {
            approval(&payload, &policy().trust(), &[], person, public, &sign(&payload, number)).unwrap()
        };
        let (clerk, again) = (approve("clerk", &third, 3), approve("clerk", &fourth, 4));
        let trust = policy().trust();
        assert_eq!(
            issue(&payload, &[clerk.clone(), again], &trust, &key(1)),
            None,
            "one person with two keys"
        );
        let bytes = issue(&payload, &[good, clerk], &trust, &key(1)).unwrap();
        let envelope = Envelope::read(Kind::Grant, &bytes).unwrap();
        assert!([1, 2, 3].iter().all(|&number| envelope.is_signed_by(&key(number).public())));
        let mut none = trust;
        none.rules[0].needed = 0;
        assert_eq!(issue(&payload, &[], &none, &key(1)), None, "somebody has to, whatever the rule says");
    }
}
