//! From an application to a grant: what is asked for, who has approved it, and when it is enough (pure).

use seal::envelope::{Envelope, Kind, Signed, to_be_signed};
use seal::grant::{Evidence, Fence, Grant, HashAlgorithm, Id, MAX_VALID_S, VERSION};
use seal::keys::{Digest, PublicKey, Signer};
use seal::policy::{Matter, Policy};

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
    /// SHA-256 of the document.
    pub document: Digest,
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
        hash: HashAlgorithm::Sha256,
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
    /// With which key.
    pub key: PublicKey,
    /// The signature.
    pub signature: Vec<u8>,
}

/// Looks at an approval of a drafted grant by `person`.
///
/// # Errors
/// Why it does not count.
pub fn approval(
    payload: &[u8],
    policy: &Policy,
    person: &str,
    key: &PublicKey,
    signature: &[u8],
) -> Result<Approval, No> {
    let grant = Grant::read(payload).map_err(|_| No::new("the draft cannot be read", "草案无法读取"))?;
    if grant.policy != policy.number {
        return Err(No::new(
            "the rules have changed since it was applied for: it has to be applied for again",
            "申请后规则已变更，请重新申请",
        ));
    }
    let rule = matter(policy, &grant.matter)
        .ok_or_else(|| No::new("the matter is on no list any more", "事项已不在权力清单内"))?;
    let named = |&at: &u8| policy.approvers.get(usize::from(at)).filter(|named| named.key == *key);
    let Some(named) = rule.approvers.iter().find_map(named) else {
        return Err(No::new(
            format!(
                "this key may not approve {:?}: the rules (number {}) do not name it",
                grant.matter, policy.number
            ),
            format!("该密钥无权审批事项 {:?}（规则第 {} 版未列入）", grant.matter, policy.number),
        ));
    };
    if named.name != person {
        return Err(No::new(
            format!("this key belongs to {}, not to {person}", named.name),
            format!("该密钥属于 {}，不属于 {person}", named.name),
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
    Ok(Approval { person: named.name.clone(), key: *key, signature: signature.into() })
}

/// How many people have approved: a person with two keys is one.
pub fn people(approvals: &[Approval]) -> usize {
    let is_first = |at: &usize| approvals[..*at].iter().all(|other| other.person != approvals[*at].person);
    (0..approvals.len()).filter(is_first).count()
}

/// The grant with all signatures, when enough people have approved; `None` before, or when the issuer cannot sign.
pub fn issue(payload: &[u8], approvals: &[Approval], needed: usize, issuer: &dyn Signer) -> Option<Vec<u8>> {
    if people(approvals) < needed.max(1) {
        return None;
    }
    let mut envelope = Envelope::sign(Kind::Grant, payload, &[issuer])?;
    for approval in approvals {
        envelope.signatures.push(Signed {
            algorithm: approval.key.algorithm.number(),
            key: approval.key.id(),
            signature: approval.signature.clone(),
        });
    }
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
        Book {
            seal: "gongli-07".into(),
            area: Area::new("370124/gongli").unwrap(),
            gateway: GatewayId::new("gongli-07").unwrap(),
            key: key(9).public(),
            policy: 3,
            epoch: 7,
            next_sequence: 12,
            min_sequence: 0,
            cleared: 0,
            is_locked: false,
            receipts: 0,
            last_receipt: [0; 32].into(),
            counter: 0,
            tampered: 0,
            heard_ms: 0,
            doubted: None,
            duress: 0,
        }
    }

    pub(in crate::office) fn wish() -> Wish {
        Wish {
            matter: "certificate".into(),
            document: digest(&[b"a certificate of residence"]),
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
        let good = approval(&payload, &policy(), "secretary", &second, &sign(&payload, 2)).unwrap();
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
            assert!(approval(payload, &policy, person, key, &signature).is_err(), "{why}");
        }
        let approve = |person, public, number| {
            approval(&payload, &policy(), person, public, &sign(&payload, number)).unwrap()
        };
        let (clerk, again) = (approve("clerk", &third, 3), approve("clerk", &fourth, 4));
        assert_eq!(issue(&payload, &[clerk.clone(), again], 2, &key(1)), None, "one person with two keys");
        let bytes = issue(&payload, &[good, clerk], 2, &key(1)).unwrap();
        let envelope = Envelope::read(Kind::Grant, &bytes).unwrap();
        assert!([1, 2, 3].iter().all(|&number| envelope.is_signed_by(&key(number).public())));
        assert_eq!(issue(&payload, &[], 0, &key(1)), None, "somebody has to, whatever the rule says");
    }
}
