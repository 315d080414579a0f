//! Going through a whole log as a stranger: every leaf is read, every signature looked at, every receipt compared with the
//! grants and with the receipts before it. What the office finds, anybody finds (pure).

use std::collections::{BTreeMap, HashMap};

use seal::decision::is_approved;
use seal::delegation::{Delegation, Deputed};
use seal::envelope::{Envelope, Kind};
use seal::grant::{Grant, Id};
use seal::keys::{Algorithm, Digest, KeyId, digest};
use seal::notice::{Deed, Notice};
use seal::policy::{Policy, Roots};
use seal::receipt::Receipt;
use seal::trust::Trust;
use wire::{Area, GatewayId};

use super::book::{Book, Granted};
use super::deputies::{Given, lapse};
use super::draft::No;
use super::earlier::Earlier;
use super::finding::Finding;

/// What was found at a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// Number of the leaf.
    pub index: u64,
    /// The seal, as far as it is known.
    pub seal: String,
    /// What is wrong.
    pub en: String,
    /// The same in Chinese.
    pub zh: String,
}

/// An audit in progress.
#[derive(Debug)]
pub struct Audit {
    roots: Roots,
    books: HashMap<String, Book>,
    policies: HashMap<String, Vec<Policy>>,
    grants: HashMap<Id, Granted>,
    receipts: HashMap<(String, KeyId, u64), Digest>,
    earlier: HashMap<String, Vec<Earlier>>,
    /// Notices from before the first rules of a seal, with their leaves: whether an issuer has signed them those will say.
    early: HashMap<String, Vec<(u64, Vec<u8>)>>,
    delegations: HashMap<String, Vec<Given>>,
    /// Grants that deputies have approved: the rules, the leaf, its number.
    deputed: HashMap<Id, (Policy, Vec<u8>, u64)>,
    /// Leaves by kind.
    pub counts: BTreeMap<&'static str, u64>,
    /// Everything that was found.
    pub remarks: Vec<Remark>,
    next: u64,
}

/// What is said of a notice that no issuer of its time has signed.
const UNSIGNED: (&str, &str) = ("a notice that no issuer has signed", "公告没有签发机关签名");

type Said = Result<(), (String, String, String)>;

fn wrong(seal: &str, en: impl Into<String>, zh: impl Into<String>) -> Said {
    Err((seal.into(), en.into(), zh.into()))
}

/// Nobody who lacks an algorithm can say whether it is right.
fn lacks(seal: &str, en: &str, zh: &str, algorithm: Algorithm) -> Said {
    let No { en, zh } = No::lacking(en, zh, algorithm);
    wrong(seal, en, zh)
}

impl Audit {
    /// Begins with nothing but the roots.
    pub fn new(roots: Roots) -> Self {
        Self {
            roots,
            books: HashMap::new(),
            policies: HashMap::new(),
            grants: HashMap::new(),
            receipts: HashMap::new(),
            earlier: HashMap::new(),
            early: HashMap::new(),
            delegations: HashMap::new(),
            deputed: HashMap::new(),
            counts: BTreeMap::new(),
            remarks: Vec::new(),
            next: 0,
        }
    }

    /// Looks at the next leaf.
    pub fn take(&mut self, leaf: &[u8]) {
        let index = self.next;
        self.next += 1;
        let (name, said) = match Envelope::kind_of(leaf) {
            Some(Kind::Policy) => ("policy", self.policy(leaf)),
            Some(Kind::Notice) => ("notice", self.notice(leaf, index)),
            Some(Kind::Grant) => ("grant", self.grant(leaf, index)),
            Some(Kind::Delegation) => ("delegation", self.delegation(leaf, index)),
            Some(Kind::Receipt) => ("receipt", self.receipt(leaf, index)),
            _ => (
                "other",
                wrong("", "the leaf is nothing that a log of seals holds", "叶子不是印章日志应有的内容"),
            ),
        };
        *self.counts.entry(name).or_default() += 1;
        if let Err((seal, en, zh)) = said {
            self.remarks.push(Remark { index, seal, en, zh });
        }
    }

    fn policy(&mut self, leaf: &[u8]) -> Said {
        let envelope = Envelope::read(Kind::Policy, leaf).ok();
        let read = envelope.as_ref().and_then(|envelope| Policy::read(envelope.payload));
        let (Some(envelope), Some(policy)) = (envelope, read) else {
            return wrong("", "rules that cannot be read", "规则无法读取");
        };
        if let Some(algorithm) = policy.lacking() {
            return lacks(&policy.seal, "rules", "规则", algorithm);
        }
        let signed = self.roots.keys.iter().filter(|key| envelope.is_signed_by(key)).count();
        if signed < self.roots.needed.max(1) {
            return wrong(&policy.seal, "rules that too few roots have signed", "规则的根签名不足");
        }
        let all = self.policies.entry(policy.seal.clone()).or_default();
        if all.last().is_some_and(|last| last.number >= policy.number) {
            return wrong(
                &policy.seal,
                "rules with a number that is not higher than the last",
                "规则编号未递增",
            );
        }
        for (index, notice) in self.early.remove(&policy.seal).unwrap_or_default() {
            let envelope = Envelope::read(Kind::Notice, &notice).ok();
            let is_signed = |key| envelope.as_ref().is_some_and(|envelope| envelope.is_signed_by(key));
            if !policy.issuers.iter().any(is_signed) {
                let (seal, en, zh) = (policy.seal.clone(), UNSIGNED.0.into(), UNSIGNED.1.into());
                self.remarks.push(Remark { index, seal, en, zh });
            }
        }
        all.push(policy);
        Ok(())
    }

    fn notice(&mut self, leaf: &[u8], index: u64) -> Said {
        let envelope = Envelope::read(Kind::Notice, leaf).ok();
        let read = envelope.as_ref().and_then(|envelope| Notice::read(envelope.payload));
        let (Some(envelope), Some(notice)) = (envelope, read) else {
            return wrong("", "a notice that cannot be read", "公告无法读取");
        };
        let seal = match &notice.deed {
            Deed::Enrolled { seal, .. }
            | Deed::Revoked { seal, .. }
            | Deed::Locked { seal, .. }
            | Deed::Cleared { seal, .. }
            | Deed::Voided { seal, .. } => seal.clone(),
            Deed::Key { .. } => return Ok(()),
        };
        // By the rules of its time; enrolments stand before the first.
        match self.policies.get(&seal).and_then(|all| all.last()) {
            Some(policy) if !policy.issuers.iter().any(|key| envelope.is_signed_by(key)) => {
                return wrong(&seal, UNSIGNED.0, UNSIGNED.1);
            }
            Some(_) => {}
            None => self.early.entry(seal.clone()).or_default().push((index, leaf.to_vec())),
        }
        match notice.deed {
            Deed::Enrolled { key, .. } if !key.algorithm().is_built_in() => {
                return lacks(&seal, "enrolments", "登记", key.algorithm());
            }
            Deed::Enrolled { key, .. } => {
                let (Ok(area), Ok(gateway)) = (Area::new("0"), GatewayId::new("0")) else { return Ok(()) };
                let fresh = Book::new(&seal, area, gateway, key);
                let book = self.books.entry(seal.clone()).or_insert(fresh);
                if book.key != key {
                    let earlier = book.rekey(key, notice.at_s);
                    let all = self.earlier.entry(seal.clone()).or_default();
                    all.retain(|one| one.key != earlier.key);
                    all.push(earlier);
                    return wrong(&seal, Finding::Rekeyed.to_string(), Finding::Rekeyed.zh());
                }
            }
            Deed::Voided { min_sequence, .. } => {
                if let Some(book) = self.books.get_mut(&seal) {
                    book.min_sequence = book.min_sequence.max(min_sequence);
                }
            }
            Deed::Revoked { grant, .. } => {
                let all = self.delegations.get_mut(&seal).into_iter().flatten();
                let mut given = all.filter(|given| given.deputed.delegation().id == grant);
                let back_s = match (self.grants.get_mut(&grant), given.next()) {
                    (Some(granted), _) => Some(&mut granted.revoked_s),
                    (None, Some(given)) => Some(&mut given.withdrawn_s),
                    (None, None) => None,
                };
                if let Some(back_s) = back_s {
                    // A second one must not move the first.
                    if let Some(first_s) = *back_s {
                        *back_s = Some(first_s.min(notice.at_s));
                        return wrong(&seal, "something was taken back twice", "同一授权或委托被撤销两次");
                    }
                    *back_s = Some(notice.at_s);
                } else {
                    return wrong(
                        &seal,
                        "a grant was taken back that was never given",
                        "撤销了从未签发的授权",
                    );
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn delegation(&mut self, leaf: &[u8], index: u64) -> Said {
        let envelope = Envelope::read(Kind::Delegation, leaf).ok();
        let Some(read) = envelope.and_then(|envelope| Delegation::read(envelope.payload)) else {
            return wrong("", "a delegation that cannot be read", "委托无法读取");
        };
        let seal = read.seal;
        let Some(policy) = self.policies.get(&seal).and_then(|all| all.last()) else {
            return wrong(&seal, "a delegation before any rules", "委托先于规则");
        };
        let Ok(deputed) = Deputed::of_leaf(leaf, index, &policy.trust()) else {
            return wrong(
                &seal,
                "a delegation that is not signed by whom it names, or to somebody whom the rules do not name",
                "委托未由委托人签名，或代理人未列入规则",
            );
        };
        let all = self.delegations.entry(seal.clone()).or_default();
        if self.grants.contains_key(&read.id)
            || all.iter().any(|given| given.deputed.delegation().id == read.id)
        {
            return wrong(&seal, "a second delegation or grant with the same id", "委托编号重复");
        }
        all.push(Given { deputed, withdrawn_s: None });
        Ok(())
    }

    fn grant(&mut self, leaf: &[u8], index: u64) -> Said {
        let envelope = Envelope::read(Kind::Grant, leaf).ok();
        let read = envelope.as_ref().and_then(|envelope| Grant::read(envelope.payload).ok());
        let (Some(envelope), Some(grant)) = (envelope, read) else {
            return wrong("", "a grant that cannot be read", "授权无法读取");
        };
        let seal = grant.seal.clone();
        let all = self.policies.get(&seal).map_or(&[][..], Vec::as_slice);
        let Some(policy) = all.last().filter(|policy| policy.number == grant.policy) else {
            return wrong(&seal, "a grant by rules that are not the newest", "授权所依据的不是最新规则");
        };
        if !policy.issuers.iter().any(|key| envelope.is_signed_by(key)) {
            return wrong(&seal, "a grant that the issuer has not signed", "授权没有签发机关签名");
        }
        let given = self.delegations.get(&seal).into_iter().flatten();
        let given = given.filter(|given| given.withdrawn_s.is_none()).map(|given| given.deputed.clone());
        let alone = policy.trust();
        // Whether a delegation held is asked for each use.
        let is_deputed = is_approved(&alone, &grant, &envelope).is_err();
        let deputed = (policy.clone(), leaf.to_vec(), index);
        let trust = Trust { deputed: given.collect(), ..alone };
        if let Err(why) = is_approved(&trust, &grant, &envelope) {
            let (zh, en) = why.sentences();
            return wrong(&seal, format!("a grant against the rules: {en}"), format!("授权违反规则：{zh}"));
        }
        if let Some(book) = self.books.get_mut(&seal) {
            book.next_sequence = book.next_sequence.max(grant.sequence.saturating_add(1));
        }
        let granted = Granted {
            digest: digest(&[envelope.payload]),
            sequence: grant.sequence,
            max_uses: grant.max_uses,
            used: 0,
            revoked_s: None,
            evidence: grant.evidence,
        };
        // What was first stays: uses are measured by it.
        if self.grants.contains_key(&grant.id) {
            return wrong(&seal, "a second grant with the same id", "授权编号重复");
        }
        self.grants.insert(grant.id, granted);
        if is_deputed {
            self.deputed.insert(grant.id, deputed);
        }
        Ok(())
    }

    fn receipt(&mut self, leaf: &[u8], index: u64) -> Said {
        let envelope = Envelope::read(Kind::Receipt, leaf).ok();
        let read = envelope.as_ref().and_then(|envelope| Receipt::read(envelope.payload));
        let (Some(envelope), Some(receipt)) = (envelope, read) else {
            return wrong("", "a receipt that cannot be read", "回执无法读取");
        };
        let nobody =
            || wrong(&receipt.seal, "a receipt that no enrolled seal has signed", "回执不是已登记印章签名的");
        let Some(book) = self.books.get_mut(&receipt.seal) else { return nobody() };
        let mut earlier = match self.earlier.get_mut(&receipt.seal) {
            Some(all) if !envelope.is_signed_by(&book.key) => {
                all.iter_mut().find(|earlier| envelope.is_signed_by(&earlier.key))
            }
            _ => None,
        };
        let signer = earlier.as_ref().map_or(book.key, |earlier| earlier.key);
        let name = digest(&[leaf]);
        let at = (receipt.seal.clone(), signer.id(), receipt.number);
        let twin = self.receipts.get(&at).is_some_and(|before| *before != name);
        let can_say = match &earlier {
            Some(earlier) => earlier.can_say(&receipt, twin),
            None => envelope.is_signed_by(&book.key),
        };
        if !can_say {
            return nobody();
        }
        self.receipts.insert(at, name);
        let granted = receipt.used.and_then(|used| self.grants.get_mut(&used.grant));
        let used = receipt.used.filter(|used| used.number > 0);
        let deputed = used.and_then(|used| self.deputed.get(&used.grant));
        let given = self.delegations.get(&receipt.seal).map_or(&[][..], Vec::as_slice);
        let lapsed =
            deputed.and_then(|(policy, leaf, index)| lapse(policy, leaf, *index, given, receipt.scene.at_s));
        let found = match &mut earlier {
            Some(earlier) => book.take_late(earlier, &receipt, name, granted),
            None => book.take(&receipt, name, granted, twin),
        };
        for finding in found.into_iter().chain(lapsed) {
            let (seal, en, zh) = (receipt.seal.clone(), finding.to_string(), finding.zh());
            self.remarks.push(Remark { index, seal, en, zh });
        }
        Ok(())
    }
}
