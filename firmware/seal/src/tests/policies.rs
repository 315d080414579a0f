//! Rules as they are handed out, and the talk between a seal and its authority.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::authority::*;
use crate::decision::decide;
use crate::envelope::{Envelope, Kind};
use crate::keys::{Algorithm, MemoryKey, PublicKey, Signer};
use crate::memory::{Contact, Memory};
use crate::notice::{self, Deed, Notice};
use crate::policy::{Matter, Named, Policy, PolicyError, Roots, VERSION};
use crate::proof::LogTrust;
use crate::receipt::TimeQuality;
use crate::talk::{self, Answer, Hello, MAX_REVOKED, Said, Unheard};
use crate::trust::{Approver, Rule};

const ROOTS: [u8; 3] = [41, 42, 43];
/// The base point of the curve of SM2 (GB/T 32918.5 §2), compressed: the key of the secret number 1.
const SM2_KEY: [u8; 33] = *b"\x02\x32\xc4\xae\x2c\x1f\x19\x81\x19\x5f\x99\x04\x46\x6a\x39\xc9\x94\x8f\xe3\x0b\xbf\xf2\x66\x0b\xe1\x71\x5a\x45\x89\x33\x4c\x74\xc7";

fn named(name: &str, number: u8) -> Named {
    Named { name: name.into(), key: key(number).public() }
}

/// The rules by which [`trust`] is what it is.
fn policy() -> Policy {
    let trust = trust();
    let rule = &trust.rules[0];
    let witness = |key: &crate::note::NoteKey| Named { name: key.name.clone(), key: key.key };
    Policy {
        version: VERSION,
        seal: trust.seal.clone(),
        number: trust.policy,
        is_test: false,
        issuers: trust.issuers.clone(),
        log: witness(&trust.log.log),
        witnesses: trust.log.witnesses.iter().map(witness).collect(),
        witnesses_needed: trust.log.needed as u8,
        approvers: trust.approvers.iter().map(|a| Named { name: a.person.clone(), key: a.key }).collect(),
        matters: vec![Matter {
            matter: rule.matter.clone(),
            approvers: vec![0, 1, 2],
            needed: rule.needed as u8,
            evidence: rule.evidence,
            most_uses: rule.most_uses,
            may_be_delegated: false,
        }],
        lease: trust.lease,
    }
}

fn roots() -> Roots {
    let keys = ROOTS.map(|number| key(number).public()).into();
    Roots { seal: trust().seal, keys, needed: 2, log: trust().log }
}

fn signed_policy(policy: &Policy, signers: &[u8]) -> Vec<u8> {
    let keys: Vec<MemoryKey> = signers.iter().map(|&number| key(number)).collect();
    let keys: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
    Envelope::sign(Kind::Policy, &policy.to_bytes(), &keys).unwrap().to_bytes()
}

/// Rules signed by these and logged.
fn handed_out(policy: &Policy, signers: &[u8]) -> Vec<u8> {
    let envelope = signed_policy(policy, signers);
    presented(&envelope, &proven(&envelope, 5, &[6]))
}

#[test]
fn rules_are_taken_from_the_roots_only() {
    let (good, log) = (handed_out(&policy(), &ROOTS[..2]), roots().log);
    assert_eq!(Policy::open(&good, &roots(), &log), Ok(policy()));
    assert_eq!(policy().trust(), trust(), "and say what a device believes");
    let other = Roots { seal: "another".into(), ..roots() };
    let twice = Roots { keys: vec![key(41).public(), key(41).public()], ..roots() };
    let none = Roots { needed: 0, ..roots() };
    let stranger =
        LogTrust { log: crate::note::NoteKey { key: log_key(9).public(), ..log.log.clone() }, ..log.clone() };
    for (bytes, roots, log, expected, why) in [
        (handed_out(&policy(), &ROOTS[..1]), roots(), &log, PolicyError::Roots, "one of two"),
        (handed_out(&policy(), &[1, 2]), roots(), &log, PolicyError::Roots, "the issuer and an approver"),
        (handed_out(&policy(), &ROOTS[..1]), twice, &log, PolicyError::Roots, "a root listed twice"),
        (handed_out(&policy(), &[1]), none, &log, PolicyError::Roots, "roots that need nobody"),
        (good.clone(), other, &log, PolicyError::OtherSeal, "for another seal"),
        (good.clone(), roots(), &stranger, PolicyError::Proof, "in a log of strangers"),
        (in_order(&grant(1)), roots(), &log, PolicyError::Malformed, "a grant"),
        (good[1..].into(), roots(), &log, PolicyError::Malformed, "cut"),
    ] {
        assert_eq!(Policy::open(&bytes, &roots, log), Err(expected), "{why}");
    }
    let envelope = signed_policy(&policy(), &ROOTS);
    let unseen = presented(&envelope, &proven(&envelope, 5, &[]));
    assert_eq!(Policy::open(&unseen, &roots(), &log), Err(PolicyError::Proof), "nobody watched");
    assert!(good.len() < 2500, "{} bytes", good.len());
}

#[test]
fn rules_name_keys_that_this_build_knows_or_are_not_taken() {
    let (mut policy, mut roots) = (policy(), roots());
    let sm2 = PublicKey::new(Algorithm::Sm2, &SM2_KEY).unwrap();
    let lacking = (!cfg!(feature = "sm")).then_some(Algorithm::Sm2);
    let open =
        |policy: &Policy, roots: &Roots| Policy::open(&handed_out(policy, &ROOTS), roots, &roots.log).err();
    policy.approvers[2].key = sm2;
    assert_eq!(open(&policy, &roots), lacking.map(PolicyError::Lacking), "an approver's");
    assert_eq!(policy.lacking(), lacking);
    policy = self::policy();
    policy.issuers.push(sm2);
    assert_eq!(open(&policy, &roots), lacking.map(PolicyError::Lacking), "an issuer's");
    roots.keys.push(sm2);
    assert_eq!(open(&self::policy(), &roots), lacking.map(PolicyError::Lacking), "a root's");
    assert_eq!(sm2.is_usable(), lacking.is_none());
}

#[test]
fn rules_that_cannot_be_are_none() {
    type Change = fn(&mut Policy);
    let changes: [(Change, &str); 15] = [
        (|p| p.version = 2, "a later version"),
        (|p| p.seal = String::new(), "no name"),
        (|p| p.number = 0, "no number"),
        (|p| p.issuers.clear(), "nobody issues"),
        (|p| p.issuers = vec![key(1).public(); 3], "three issue"),
        (|p| p.witnesses.clear(), "nobody watches"),
        (|p| p.witnesses_needed = 0, "nobody has to"),
        (|p| p.log.key = PublicKey::Sm2([2; 33]), "a log that signs no notes"),
        (|p| p.witnesses[1].key = PublicKey::Sm2([2; 33]), "a witness that signs none"),
        (|p| p.matters[0].approvers.push(3), "an approver who is not there"),
        (|p| p.matters[0].needed = 0, "nobody approves"),
        (|p| p.matters[0].most_uses = 0, "no use"),
        (|p| p.matters.push(p.matters[0].clone()), "one matter twice"),
        (|p| p.approvers = vec![named("x", 2); 25], "too many approvers"),
        (|p| p.lease.most_s = 0, "no lease"),
    ];
    for (change, why) in changes {
        let mut policy = policy();
        change(&mut policy);
        assert_eq!(Policy::read(&policy.to_bytes()), None, "{why}");
    }
}

#[test]
fn a_full_set_of_rules_fits_into_an_envelope() {
    let mut full = policy();
    full.approvers = (1..=24).map(|number| named("p-47110000", number)).collect();
    let matter = |number: u8| Matter {
        matter: alloc::format!("CUN-{number:04}"),
        approvers: (0..6).collect(),
        needed: 2,
        ..policy().matters[0].clone()
    };
    full.matters = (0..48).map(matter).collect();
    let bytes = handed_out(&full, &ROOTS);
    assert!(bytes.len() <= crate::grant::MAX_PRESENTED, "{} bytes", bytes.len());
    let opened = Policy::open(&bytes, &roots(), &roots().log).unwrap();
    assert_eq!(opened.matters.len(), 48);
    // What a lock has to hold of it: a rule points at those who approve, and copies none.
    let trust = opened.trust();
    let rule = |rule: &Rule| size_of::<Rule>() + rule.matter.len() + rule.approvers.len();
    let approver = |one: &Approver| size_of::<Approver>() + one.person.len();
    let held =
        trust.rules.iter().map(rule).sum::<usize>() + trust.approvers.iter().map(approver).sum::<usize>();
    assert!(held < 2 * crate::grant::MAX_PRESENTED, "{held} bytes");
}

#[test]
fn a_flag_at_the_end_of_a_matter_is_absent_or_raised() {
    let raised = |may_be_delegated| {
        let mut policy = policy();
        policy.matters[0].may_be_delegated = may_be_delegated;
        policy.to_bytes()
    };
    let (without, with) = (raised(false), raised(true));
    assert_eq!(with.len(), without.len() + 1, "rules from before say that nothing may be delegated");
    for (bytes, expected) in [(&without, false), (&with, true)] {
        let policy = Policy::read(bytes).unwrap();
        assert_eq!(policy.matters[0].may_be_delegated, expected);
        assert_eq!(policy.trust().rules[0].may_be_delegated, expected);
    }
    let raised_at = (0..with.len()).find(|&at| with[at] != without[at] && with[at] == 0x86).unwrap();
    let end = (raised_at..with.len()).find(|&at| with[at] == 0xf5 && without[at] != 0xf5).unwrap();
    let mut lowered = with.clone();
    lowered[end] = 0xf4;
    assert_eq!(Policy::read(&lowered), None, "no has one spelling");
}

fn answer() -> Answer {
    let contact = Contact {
        since: 3,
        epoch: 5,
        revoked: vec![(id(1), NOON_S + 9)],
        lock: false,
        cleared: 0,
        min_sequence: 0,
        counter: 0,
        at_s: NOON_S,
        receipts: 0,
        last_receipt: [0; 32].into(),
        tampered: 0,
        policy: 0,
    };
    Answer { version: talk::VERSION, seal: trust().seal, nonce: id(7), contact }
}

fn answered(answer: &Answer, signer: u8) -> Vec<u8> {
    Envelope::sign(Kind::Answer, &answer.to_bytes(), &[&key(signer)]).unwrap().to_bytes()
}

#[test]
fn an_answer_is_heard_once_from_the_issuer_and_in_time() {
    let good = answered(&answer(), ISSUER);
    assert_eq!(Answer::open(&good, &trust(), Some(&(id(7), 600))), Ok(answer()));
    let other = Answer { seal: "another".into(), ..answer() };
    for (bytes, asked, expected, why) in [
        (good.clone(), Some((id(7), 601)), Unheard::Late, "a minute too late"),
        (good.clone(), Some((id(8), 1)), Unheard::OtherQuestion, "the one before"),
        (good.clone(), None, Unheard::OtherQuestion, "nothing was asked"),
        (answered(&answer(), APPROVERS[0]), Some((id(7), 1)), Unheard::Issuer, "an approver says it"),
        (answered(&other, ISSUER), Some((id(7), 1)), Unheard::OtherSeal, "another seal's"),
        (good[..good.len() - 1].into(), Some((id(7), 1)), Unheard::Malformed, "cut"),
    ] {
        assert_eq!(Answer::open(&bytes, &trust(), asked.as_ref()), Err(expected), "{why}");
    }
    let mut many = answer();
    many.contact.revoked = vec![(id(1), u64::MAX); MAX_REVOKED];
    let bytes = answered(&many, ISSUER);
    assert_eq!(Answer::open(&bytes, &trust(), Some(&(id(7), 1))), Ok(many.clone()), "{} bytes", bytes.len());
    many.contact.revoked.push((id(1), 1));
    assert_eq!(Answer::read(&many.to_bytes()), None, "more than an envelope holds");
}

#[test]
fn a_revocation_that_was_heard_holds() {
    let mut memory = Memory { epoch: 3, ..Memory::default() };
    let good = in_order(&grant(1));
    assert!(decide(&trust(), &memory, &good, &moment()).is_ok());
    let answer = Answer::open(&answered(&answer(), ISSUER), &trust(), Some(&(id(7), 1))).unwrap();
    memory.add(&crate::memory::Entry::Contact(Contact {
        revoked: vec![(grant(1).id, grant(1).expires_s)],
        ..answer.contact
    }));
    let refused = decide(&trust(), &memory, &good, &moment()).unwrap_err();
    assert_eq!(refused.why, crate::refusal::Refusal::Revoked);
}

#[test]
fn who_has_forgotten_goes_on_where_the_authority_is() {
    let contact = Contact { receipts: 12, last_receipt: [5; 32].into(), ..answer().contact };
    let heard = |receipts| {
        let mut memory = Memory { epoch: 3, receipts, last_receipt: [1; 32].into(), ..Memory::default() };
        memory.add(&crate::memory::Entry::Contact(contact.clone()));
        (memory.receipts, memory.last_receipt[0])
    };
    assert_eq!((heard(0), heard(12), heard(13)), ((12, 5), (12, 5), (13, 1)));
}

#[test]
fn a_hello_is_the_devices_own() {
    let hello = Hello {
        version: talk::VERSION,
        seal: trust().seal,
        nonce: id(7),
        boot: id(8),
        at_s: NOON_S,
        time: TimeQuality::Synced,
        receipts: 12,
        last_receipt: [3; 32].into(),
        epoch: 3,
        policy: 3,
        counter: 40,
        remembered: 40,
        tampered: 0,
        is_locked: false,
        held: vec![id(1), id(2)],
        answered: None,
        duress: 0,
    };
    let bytes = Envelope::sign(Kind::Hello, &hello.to_bytes(), &[&key(9)]).unwrap().to_bytes();
    assert_eq!(Envelope::kind_of(&bytes), Some(Kind::Hello));
    assert_eq!(Hello::open(&bytes, &key(9).public()), Some(hello.clone()));
    assert_eq!(Hello::open(&bytes, &key(8).public()), None, "another device's key");
    let held = vec![id(1); crate::memory::MAX_OPEN + crate::delegation::MAX_HELD + 1];
    assert_eq!(Hello::read(&Hello { held, ..hello }.to_bytes()), None, "it holds too many");
}

#[test]
fn what_is_said_is_told_apart() {
    let (answer, grant) = (answered(&answer(), ISSUER), in_order(&grant(1)));
    let rules = handed_out(&policy(), &ROOTS);
    assert_eq!(Said::of(b""), Some(Said::Ask));
    assert_eq!(Said::of(&answer), Some(Said::Answer(&answer)));
    assert_eq!(Said::of(&grant), Some(Said::Grant(&grant)));
    assert_eq!(Said::of(&rules), Some(Said::Policy(&rules)));
    let deputed = super::delegations::in_order();
    assert_eq!(Said::of(&deputed), Some(Said::Delegation(&deputed)));
    for (bytes, seal) in [
        (&b""[..], None),
        (&answer, Some("gongli-07")),
        (&grant, Some("gongli-07")),
        (&rules, Some("gongli-07")),
        (&deputed, Some("gongli-07")),
    ] {
        assert_eq!(Said::of(bytes).unwrap().addressee().as_deref(), seal);
    }
    let receipt = Envelope::sign(Kind::Receipt, b"", &[&key(9)]).unwrap().to_bytes();
    for (bytes, why) in
        [(receipt.clone(), "a receipt"), (presented(&receipt, ""), "one with a proof"), (vec![0], "a number")]
    {
        assert_eq!(Said::of(&bytes), None, "{why}");
    }
}

#[test]
fn each_deed_comes_back() {
    let (seal, key) = (trust().seal, key(9).public());
    let deeds = [
        Deed::Enrolled { seal: seal.clone(), key },
        Deed::Revoked { seal: seal.clone(), grant: id(1), expires_s: NOON_S, epoch: 4 },
        Deed::Locked { seal: seal.clone(), is_locked: true },
        Deed::Cleared { seal: seal.clone(), cleared: 2 },
        Deed::Voided { seal, min_sequence: 77 },
        Deed::Key { person: "p-1".into(), key, is_active: false },
    ];
    for deed in deeds {
        let notice = Notice { version: notice::VERSION, at_s: NOON_S, by: "p-9".into(), deed };
        let bytes = Envelope::sign(Kind::Notice, &notice.to_bytes(), &[&super::authority::key(1)])
            .unwrap()
            .to_bytes();
        let envelope = Envelope::read(Kind::Notice, &bytes).unwrap();
        assert_eq!(Notice::read(envelope.payload), Some(notice.clone()));
        assert_eq!(Notice::read(&Notice { version: 2, ..notice }.to_bytes()), None);
    }
    assert_eq!(Envelope::kind_of(b"nothing of ours"), None);
}
