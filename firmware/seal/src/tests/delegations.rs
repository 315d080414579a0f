//! Who approves in whose place, when it counts, and for how many.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::authority::{self, *};
use crate::decision::{Moment, decide};
use crate::delegation::{Delegation, DelegationError, Deputed, MAX_MATTERS, MAX_VALID_S, VERSION};
use crate::envelope::{Envelope, Kind};
use crate::grant::{Evidence, Grant};
use crate::keys::{MemoryKey, Signer};
use crate::memory::Memory;
use crate::receipt::TimeQuality;
use crate::refusal::Refusal;
use crate::trust::{Approver, Rule, Trust};

/// Keys of those who may not approve a certificate: they are named for other matters.
const DEPUTIES: [u8; 2] = [31, 32];
const PEOPLE: [&str; 5] =
    ["the secretary", "the town's clerk", "the county's clerk", "the accountant", "the teacher"];

/// Certificates may be delegated, and there are two people more.
pub(super) fn trust() -> Trust {
    let mut trust = authority::trust();
    trust.rules[0].may_be_delegated = true;
    trust.approvers.extend(
        DEPUTIES
            .iter()
            .zip(&PEOPLE[3..])
            .map(|(&number, &person)| Approver { person: person.into(), key: key(number).public() }),
    );
    trust
}

/// The secretary is away for a week; the accountant approves.
pub(super) fn delegation() -> Delegation {
    Delegation {
        version: VERSION,
        id: id(200),
        seal: "gongli-07".into(),
        from: PEOPLE[0].into(),
        to: PEOPLE[3].into(),
        matters: vec!["certificate".into(), "letter".into()],
        from_s: NOON_S,
        until_s: NOON_S + 7 * 86_400,
    }
}

fn signed(delegation: &Delegation, signers: &[u8]) -> Vec<u8> {
    let keys: Vec<MemoryKey> = signers.iter().map(|&number| key(number)).collect();
    let keys: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
    Envelope::sign(Kind::Delegation, &delegation.to_bytes(), &keys).unwrap().to_bytes()
}

fn logged(envelope: &[u8]) -> Vec<u8> {
    presented(envelope, &proven_at(4, envelope, 5, &[6]))
}

/// As it should be: the 5th leaf, and grants are the 12th.
pub(super) fn in_order() -> Vec<u8> {
    logged(&signed(&delegation(), &APPROVERS[..1]))
}

/// The key with which somebody signs.
fn number_of(person: &str) -> u8 {
    let at = PEOPLE.iter().position(|one| *one == person).unwrap();
    [&APPROVERS[..], &DEPUTIES].concat()[at]
}

/// A delegation that one gives another.
fn given(number: u8, from: &str, to: &str) -> Deputed {
    let delegation = Delegation { id: id(number), from: from.into(), to: to.into(), ..delegation() };
    let envelope = signed(&delegation, &[number_of(from)]);
    Deputed::open(&logged(&envelope), &trust()).unwrap()
}

fn refusal(trust: &Trust, memory: &Memory, signers: &[u8], moment: &Moment) -> Option<Refusal> {
    decide(trust, memory, &by(&grant(1), signers), moment).err().map(|refused| refused.why)
}

/// What becomes of a grant that these people have signed, when those have given delegations to these.
fn asked(pairs: &[(usize, usize)], people: &[usize]) -> Option<Refusal> {
    let mut trust = trust();
    trust.deputed = (1..).zip(pairs).map(|(n, &(from, to))| given(n, PEOPLE[from], PEOPLE[to])).collect();
    let signers: Vec<u8> = people.iter().map(|&at| number_of(PEOPLE[at])).collect();
    refusal(&trust, &memory(), &[&[ISSUER], &signers[..]].concat(), &moment())
}

#[test]
fn a_deputy_counts_for_who_is_away_and_nobody_counts_twice() {
    let (few, no) = (Some(Refusal::Approvals), Some(Refusal::Deputy));
    for (pairs, people, expected, why) in [
        (&[][..], &[1, 3][..], no, "nobody has said that the accountant may"),
        (&[(0, 3)], &[1, 3], None, "the accountant for the secretary"),
        (&[(0, 3)], &[3], few, "one of two"),
        (&[(0, 3), (1, 3)], &[3], few, "one deputy of two people is one"),
        (&[(0, 3), (0, 4)], &[3, 4], no, "two deputies of one person are one"),
        (&[(0, 3), (1, 4)], &[3, 4], None, "two of two people are two"),
        (&[(0, 3), (1, 3), (0, 4)], &[3, 4], None, "in whatever way it fits"),
        (&[(0, 3)], &[0, 3], no, "who signs is there: nobody stands for them"),
        (&[(0, 1)], &[1], few, "who may approve stands for themselves, once"),
        (&[(0, 1)], &[1, 2], None, "and does no harm"),
        (&[(0, 1), (1, 3)], &[1, 3], no, "who has a deputy and signs is one"),
        (&[(1, 3), (0, 1)], &[3], few, "what was delegated is not passed on"),
        (&[(0, 1), (1, 3)], &[2, 3], None, "the accountant for the clerk"),
    ] {
        assert_eq!(asked(pairs, people), expected, "{why}");
    }
}

#[test]
fn the_rules_say_who_and_what() {
    let signers = [ISSUER, APPROVERS[1], DEPUTIES[0]];
    let (few, no) = (Some(Refusal::Approvals), Some(Refusal::Deputy));
    let with = |change: fn(&mut Trust)| {
        let mut trust = trust();
        trust.deputed = vec![Deputed::open(&in_order(), &trust).unwrap()];
        change(&mut trust);
        refusal(&trust, &memory(), &signers, &moment())
    };
    assert_eq!(with(|_| ()), None);
    assert_eq!(with(|trust| trust.rules[0].may_be_delegated = false), few, "not this matter");
    assert_eq!(with(|trust| trust.rules[0].approvers = vec![1, 2]), no, "the secretary does not approve it");
    assert_eq!(with(|trust| trust.approvers[0].key = key(77).public()), no, "the secretary has another key");
    assert_eq!(with(|trust| drop(trust.approvers.pop())), None);
    assert_eq!(
        with(|trust| trust.approvers.truncate(3)),
        few,
        "the rules do not name the accountant any more"
    );
    assert_eq!(with(|trust| trust.issuers.push(trust.approvers[0].key)), no, "the issuer delegates nothing");
    assert_eq!(with(|trust| trust.issuers.push(trust.approvers[3].key)), few, "and is no deputy");
    assert_eq!(with(|trust| trust.log.log.key = key(9).public()), no, "another log");
    // A key that is good for other matters only.
    let second_key = |trust: &mut Trust| {
        trust.approvers[0].key = key(77).public();
        trust.approvers.push(Approver { person: PEOPLE[0].into(), key: key(APPROVERS[0]).public() });
    };
    assert_eq!(with(second_key), no, "the rule for the matter does not name the key");
    // The applicant has no part in it.
    for (person, expected, why) in [(PEOPLE[0], no, "the delegator"), (PEOPLE[3], few, "the deputy")] {
        let mut trust = trust();
        trust.deputed = vec![Deputed::open(&in_order(), &trust).unwrap()];
        let grant = Grant {
            applicant: person.into(),
            evidence: Evidence { person: false, ..grant(1).evidence },
            ..grant(1)
        };
        trust.rules[0].evidence.person = false;
        let refused = decide(&trust, &memory(), &by(&grant, &signers), &moment()).unwrap_err();
        assert_eq!(Some(refused.why), expected, "{why}");
    }
}

#[test]
fn it_counts_while_it_holds_and_any_doubt_refuses() {
    let at = |change: &dyn Fn(&mut Delegation, &mut Memory, &mut Moment)| {
        let (mut delegation, mut memory, mut moment) = (delegation(), memory(), moment());
        change(&mut delegation, &mut memory, &mut moment);
        let mut trust = trust();
        let envelope = signed(&delegation, &APPROVERS[..1]);
        trust.deputed = vec![Deputed::open(&logged(&envelope), &trust).unwrap()];
        refusal(&trust, &memory, &[ISSUER, APPROVERS[1], DEPUTIES[0]], &moment)
    };
    let over = Some(Refusal::Deputy);
    let now_s = scene().at_s;
    assert_eq!(at(&|_, _, _| ()), None);
    assert_eq!(at(&|one, _, _| one.from_s = now_s), None, "from this second on");
    assert_eq!(at(&|one, _, _| one.from_s = now_s + 1), over, "from the next");
    assert_eq!(at(&|one, _, _| one.until_s = now_s + 1), None, "to this second");
    assert_eq!(at(&|one, _, _| one.until_s = now_s), over, "to the one before");
    assert_eq!(at(&|one, memory, _| memory.revoked = vec![(one.id, one.until_s)]), over, "taken back");
    let remembered = |one: &mut Delegation, memory: &mut Memory, _: &mut Moment| {
        (one.until_s, memory.floor_s) = (now_s + 9, now_s + 9);
    };
    assert_eq!(at(&remembered), over, "it is later than the clock says");
    // A floor is a time that has passed: the delegation may be over.
    let floor = |moment: &mut Moment| {
        moment.scene.time = TimeQuality::Floor;
        moment.asked = Some((id(8), 1));
    };
    let mut answering = grant(1);
    answering.nonce = Some(id(8));
    let mut with_deputy = trust();
    with_deputy.deputed = vec![Deputed::open(&in_order(), &with_deputy).unwrap()];
    let mut now = moment();
    floor(&mut now);
    let why = |signers: &[u8]| {
        decide(&with_deputy, &memory(), &by(&answering, signers), &now).err().map(|refused| refused.why)
    };
    assert_eq!(why(&[ISSUER, APPROVERS[1], DEPUTIES[0]]), over, "the time is not known");
    assert_eq!(why(&[ISSUER, APPROVERS[1], APPROVERS[0]]), None, "who approves themselves needs no clock");
    // The witness saw the grant when the delegation was over, by a device whose clock stands.
    let mut still = moment();
    still.scene.at_s = NOON_S - 60;
    let mut ended = delegation();
    (ended.from_s, ended.until_s) = (NOON_S - 3600, NOON_S);
    with_deputy.deputed =
        vec![Deputed::open(&logged(&signed(&ended, &APPROVERS[..1])), &with_deputy).unwrap()];
    let early = Grant { not_before_s: NOON_S - 3600, ..grant(1) };
    let refused = decide(&with_deputy, &memory(), &by(&early, &[ISSUER, APPROVERS[1], DEPUTIES[0]]), &still);
    assert_eq!(refused.unwrap_err().why, Refusal::Deputy, "a witness knows that it is later");
    // A grant that was logged before the delegation was not approved because of it.
    let envelope = signed(&delegation(), &APPROVERS[..1]);
    let later = presented(&envelope, &proven_at(12, &envelope, 5, &[6]));
    with_deputy.deputed = vec![Deputed::open(&later, &with_deputy).unwrap()];
    assert_eq!(refusal(&with_deputy, &memory(), &[ISSUER, APPROVERS[1], DEPUTIES[0]], &moment()), over);
}

#[test]
fn only_the_delegator_gives_it_and_in_the_open() {
    let envelope = |change: fn(&mut Delegation), signers: &[u8]| {
        let mut delegation = delegation();
        change(&mut delegation);
        signed(&delegation, signers)
    };
    let [secretary, clerk, _] = APPROVERS;
    let opened = |envelope: &[u8]| Deputed::open(&logged(envelope), &trust()).map(|_| ());
    assert_eq!(opened(&envelope(|_| (), &[secretary])), Ok(()));
    for (bytes, expected, why) in [
        (envelope(|_| (), &[ISSUER]), DelegationError::Delegator, "the server makes one up"),
        (envelope(|_| (), &[clerk]), DelegationError::Delegator, "another approver does"),
        (envelope(|_| (), &[DEPUTIES[0]]), DelegationError::Delegator, "the deputy does"),
        (envelope(|_| (), &[secretary, clerk]), DelegationError::Delegator, "two sign"),
        (envelope(|one| one.from = "nobody".into(), &[secretary]), DelegationError::Delegator, "no name"),
        (
            envelope(|one| one.to = "a stranger".into(), &[secretary]),
            DelegationError::Deputy,
            "to a stranger",
        ),
        (envelope(|one| one.seal = "gongli-08".into(), &[secretary]), DelegationError::OtherSeal, "another"),
        (envelope(|one| one.until_s = one.from_s, &[secretary]), DelegationError::Malformed, "never"),
        (authority::signed(&grant(1), &[secretary]), DelegationError::Malformed, "a grant"),
    ] {
        assert_eq!(opened(&bytes), Err(expected), "{why}");
    }
    let good = envelope(|_| (), &[secretary]);
    let unseen = presented(&good, &proven_at(4, &good, 5, &[]));
    assert_eq!(Deputed::open(&unseen, &trust()), Err(DelegationError::Proof), "nobody watched");
    let moved = presented(&good, &proven_at(4, &good, 5, &[6]).replace("index 4", "index 5"));
    assert_eq!(Deputed::open(&moved, &trust()), Err(DelegationError::Proof), "another place");
    assert_eq!(Deputed::open(&good, &trust()), Err(DelegationError::Malformed), "no proof");
}

#[test]
fn delegations_that_cannot_be_are_none() {
    type Change = fn(&mut Delegation);
    let changes: [(Change, &str); 12] = [
        (|one| one.version = 2, "a later version"),
        (|one| one.seal = String::new(), "no seal"),
        (|one| one.from = "a\nb".into(), "two lines"),
        (|one| one.to = "x".repeat(65), "a long name"),
        (|one| one.to = one.from.clone(), "to themselves"),
        (|one| one.matters.clear(), "for nothing"),
        (|one| one.matters.reverse(), "in another order"),
        (|one| one.matters[1] = one.matters[0].clone(), "one matter twice"),
        (|one| one.matters = (0..=MAX_MATTERS).map(|n| alloc::format!("{n:02}")).collect(), "too many"),
        (|one| one.until_s = one.from_s, "never"),
        (|one| one.until_s = one.from_s + MAX_VALID_S + 1, "for too long"),
        (|one| (one.from_s, one.until_s) = (u64::MAX - 9, u64::MAX), "beyond all times"),
    ];
    for (change, why) in changes {
        let mut delegation = delegation();
        change(&mut delegation);
        assert_eq!(Delegation::read(&delegation.to_bytes()), None, "{why}");
    }
    let longest = Delegation {
        seal: "s".repeat(64),
        from: "f".repeat(64),
        to: "t".repeat(64),
        matters: (0..MAX_MATTERS).map(|n| alloc::format!("{n:064}")).collect(),
        until_s: NOON_S + MAX_VALID_S,
        ..delegation()
    };
    let bytes = signed(&longest, &APPROVERS[..1]);
    assert_eq!(Delegation::read(&longest.to_bytes()), Some(longest));
    assert!(bytes.len() + 2048 <= crate::grant::MAX_PRESENTED, "{} bytes, and a proof", bytes.len());
}

#[test]
fn one_that_is_over_is_let_go() {
    let trust = trust();
    let one = Deputed::open(&in_order(), &trust).unwrap();
    let end_s = delegation().until_s;
    assert!(!one.is_over(&trust, &memory(), end_s - 1) && one.is_over(&trust, &memory(), end_s));
    assert!(!one.is_over(&trust, &memory(), 0), "what has not begun may begin");
    let revoked = Memory { revoked: vec![(delegation().id, end_s)], ..memory() };
    assert!(one.is_over(&trust, &revoked, NOON_S));
    assert!(one.is_over(&authority::trust(), &memory(), NOON_S), "nothing may be delegated by these rules");
}

/// By the words of the rule, trying every way in which people could stand for one another.
fn brute(trust: &Trust, rule: &Rule, applicant: &str, signed: &[&str], pairs: &[(usize, usize)]) -> usize {
    let approves =
        |person: &str| rule.approvers.iter().any(|&at| trust.approvers[usize::from(at)].person == person);
    let (themselves, deputies): (Vec<&str>, Vec<&str>) = signed.iter().partition(|person| approves(person));
    let absent: Vec<&str> = PEOPLE
        .into_iter()
        .filter(|person| approves(person) && !signed.contains(person) && *person != applicant)
        .collect();
    // Each deputy stands for one of the absent, or for nobody.
    let mut most = 0;
    for mut way in 0..(absent.len() + 1).pow(deputies.len() as u32) {
        let mut taken: Vec<usize> = Vec::new();
        let mut fits = true;
        for deputy in &deputies {
            let choice = way % (absent.len() + 1);
            way /= absent.len() + 1;
            if choice < absent.len() {
                fits &= !taken.contains(&choice)
                    && pairs
                        .iter()
                        .any(|&(from, to)| PEOPLE[from] == absent[choice] && PEOPLE[to] == *deputy);
                taken.push(choice);
            }
        }
        if fits {
            most = most.max(taken.len());
        }
    }
    themselves.len() + most
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn no_more_count_than_there_are(
        pairs in prop::collection::vec((0..5_usize, 0..5_usize), 0..8),
        approvers in 1..32_u8,
        signing in 0..32_u8,
        applicant in 0..6_usize,
    ) {
        let chosen = |bits: u8| (0..5).filter(move |at| bits >> at & 1 == 1);
        let pairs: Vec<_> = pairs.into_iter().filter(|(from, to)| from != to).collect();
        let mut trust = trust();
        trust.rules[0].approvers = chosen(approvers).map(|at| at as u8).collect();
        trust.deputed = (1..).zip(&pairs).map(|(n, &(from, to))| given(n, PEOPLE[from], PEOPLE[to])).collect();
        let applicant = PEOPLE.get(applicant).copied().unwrap_or("p-4711");
        let grant = Grant { applicant: applicant.into(), ..grant(1) };
        let people: Vec<&str> = chosen(signing).map(|at| PEOPLE[at]).collect();
        let signers: Vec<u8> = people.iter().map(|person| number_of(person)).collect();
        let envelope = authority::signed(&grant, &[&[ISSUER], &signers[..]].concat());
        let envelope = Envelope::read(Kind::Grant, &envelope).unwrap();
        let counted = crate::decision::people(&trust, &grant, &envelope).unwrap();
        let signed: Vec<&str> = people.into_iter().filter(|person| *person != applicant).collect();
        prop_assert_eq!(counted, brute(&trust, &trust.rules[0], applicant, &signed, &pairs));
    }
}
