//! What a seal refuses, and in which order.

use alloc::vec;
use alloc::vec::Vec;

use wire::Datum;

use super::authority::*;
use crate::decision::{Moment, decide};
use crate::grant::{Evidence, Fence, Grant, Id, MAX_PRESENTED};
use crate::keys::{Signer as _, digest};
use crate::memory::{Contact, Entry, MAX_OPEN, MAX_REVOKED, Memory, WINDOW};
use crate::receipt::{Outcome, Position, TimeQuality, UseOf};
use crate::refusal::Refusal;
use crate::trust::{Approver, Lease, Trust};

fn ask(trust: &Trust, memory: &Memory, presented: &[u8], moment: &Moment) -> Result<UseOf, Refusal> {
    decide(trust, memory, presented, moment).map(|leave| leave.used).map_err(|refused| refused.why)
}

/// The same by a device whose counter is right.
fn try_with(memory: &Memory, grant: &Grant) -> Option<Refusal> {
    ask(&trust(), memory, &in_order(grant), &Moment { counter: memory.counter, ..moment() }).err()
}

/// Answers to a grant that is changed so.
fn changed(change: impl FnOnce(&mut Grant)) -> Result<UseOf, Refusal> {
    let mut grant = grant(1);
    change(&mut grant);
    ask(&trust(), &memory(), &in_order(&grant), &moment())
}

fn at(change: impl FnOnce(&mut Moment)) -> Result<UseOf, Refusal> {
    let mut moment = moment();
    change(&mut moment);
    ask(&trust(), &memory(), &in_order(&grant(1)), &moment)
}

fn use_of(grant: &Grant, number: u16) -> UseOf {
    let (digest, sequence, of) = (digest(&[&grant.to_bytes()]), grant.sequence, grant.max_uses);
    UseOf { grant: grant.id, digest, sequence, number, of }
}

fn consumed(memory: &Memory, used: UseOf, expires_s: u64) -> Entry {
    Entry::Consumed { used, expires_s, scene: scene(), before: None, counter: memory.counter + 1 }
}

fn receipt(memory: &Memory, settles: bool) -> Entry {
    Entry::Receipt { number: memory.receipts + 1, digest: digest(&[b"receipt"]), settles }
}

const DONE: Entry = Entry::Done { outcome: Outcome::Stamped, presses: 1, after: None };

fn spend(memory: &mut Memory, grant: &Grant, number: u16) {
    memory.add(&consumed(memory, use_of(grant, number), grant.expires_s));
    memory.add(&DONE);
    memory.add(&receipt(memory, true));
}

fn contact() -> Contact {
    Contact {
        since: 0,
        epoch: 1,
        revoked: vec![],
        lock: false,
        cleared: 0,
        min_sequence: 0,
        counter: 0,
        at_s: NOON_S,
        receipts: 0,
        last_receipt: [0; 32].into(),
        tampered: 0,
        policy: 0,
    }
}

#[test]
fn a_grant_in_order_gives_leave_as_often_as_it_says_and_no_oftener() {
    let (trust, mut memory) = (trust(), memory());
    let presented = in_order(&grant(1));
    assert!(presented.len() < 1500, "{} bytes", presented.len());
    for number in [1, 2] {
        let now = Moment { counter: memory.counter, ..moment() };
        let used = ask(&trust, &memory, &presented, &now).unwrap();
        assert_eq!(used, use_of(&grant(1), number));
        memory.add(&consumed(&memory, used, grant(1).expires_s));
        let after = Moment { counter: memory.counter, ..moment() };
        let busy = Err(if number < 2 { Refusal::Busy } else { Refusal::Replayed });
        assert_eq!(ask(&trust, &memory, &presented, &after), busy);
        memory.add(&DONE);
        assert_eq!(ask(&trust, &memory, &presented, &after), busy, "a receipt is owed");
        // Somebody is refused meanwhile: that receipt is another.
        memory.add(&receipt(&memory, false));
        assert!(memory.owed.is_some());
        memory.add(&receipt(&memory, true));
    }
    assert_eq!(try_with(&memory, &grant(1)), Some(Refusal::Replayed));
    assert!(memory.open.is_empty(), "what is used up takes no room");
}

#[test]
fn who_has_to_sign_has_to_sign() {
    let [one, two, three] = APPROVERS;
    for (signers, expected, why) in [
        (vec![ISSUER, one, two], None, "two of three"),
        (vec![three, ISSUER, one, two], None, "in any order, and one more"),
        (vec![ISSUER], Some(Refusal::Approvals), "the issuer alone"),
        (vec![ISSUER, one], Some(Refusal::Approvals), "one of two"),
        (vec![ISSUER, one, 99], Some(Refusal::Approvals), "a stranger does not count"),
        (vec![one, two, three], Some(Refusal::Issuer), "approvers alone"),
        (vec![ISSUER, one, one], Some(Refusal::Malformed), "one twice"),
    ] {
        let found = ask(&trust(), &memory(), &by(&grant(1), &signers), &moment());
        assert_eq!(found.err(), expected, "{why}");
    }
    let by_them = |change: fn(&mut Trust), signers: &[u8]| {
        let mut trust = trust();
        change(&mut trust);
        ask(&trust, &memory(), &by(&grant(1), signers), &moment()).err()
    };
    let few = Some(Refusal::Approvals);
    assert_eq!(by_them(|trust| trust.rules[0].needed = 0, &[ISSUER]), few, "one at least");
    let issuer = |trust: &mut Trust| {
        trust.rules[0].needed = 1;
        trust.rules[0].approvers.push(3);
        trust.approvers.push(Approver { person: "the issuer".into(), key: trust.issuers[0] });
    };
    assert_eq!(by_them(issuer, &[ISSUER]), few, "the issuer approves nothing");
    let one_person = |trust: &mut Trust| trust.approvers[1].person = "the secretary".into();
    assert_eq!(by_them(one_person, &[ISSUER, one, two]), few, "two keys of one person");
    assert_eq!(by_them(one_person, &[ISSUER, one, two, three]), None);
    let new_key = |trust: &mut Trust| trust.issuers.insert(0, key(50).public());
    assert_eq!(by_them(new_key, &[ISSUER, one, two]), None, "the key before counts until it is taken away");
    assert_eq!(by_them(new_key, &[50, one, two]), None);
    // A signature over something else.
    let envelope = signed(&grant(2), &[ISSUER, one, two]);
    let (good, at) = (signed(&grant(1), &[ISSUER, one, two]), envelope.len() - 64);
    let swapped = [&good[..at], &envelope[at..]].concat();
    let found = ask(&trust(), &memory(), &presented(&swapped, &proven(&swapped, 5, &[6])), &moment());
    assert_eq!(found.err(), few);
}

#[test]
fn nothing_that_nobody_saw_is_believed() {
    let mut trust = trust();
    let envelope = signed(&grant(1), &[ISSUER, APPROVERS[0], APPROVERS[1]]);
    let other = signed(&grant(2), &[ISSUER, APPROVERS[0], APPROVERS[1]]);
    let mut check = |needed, proof: &str, expected, why: &str| {
        trust.log.needed = needed;
        assert_eq!(ask(&trust, &memory(), &presented(&envelope, proof), &moment()).err(), expected, "{why}");
    };
    let good = proven(&envelope, 5, &[6, 7]);
    check(2, &good, None, "both witnesses");
    check(1, &proven(&envelope, 5, &[7]), None, "one is enough");
    check(1, &proven(&envelope, 5, &[]), Some(Refusal::Witnesses), "the server alone");
    check(0, &proven(&envelope, 5, &[]), Some(Refusal::Witnesses), "one at least");
    check(2, &proven(&envelope, 5, &[6]), Some(Refusal::Witnesses), "one is not enough");
    check(2, &proven(&envelope, 5, &[6, 6]), Some(Refusal::Witnesses), "one twice");
    check(1, &proven(&envelope, 8, &[6]), Some(Refusal::Proof), "another log");
    check(1, &proven(&other, 5, &[6]), Some(Refusal::Proof), "another leaf");
    check(1, &good.replace("index 11", "index 12"), Some(Refusal::Proof), "another place");
    check(1, &good.replace("\n21\n", "\n22\n"), Some(Refusal::Proof), "another size");
    check(1, &good.replace("index 11", "extra AAAA\nindex 11"), Some(Refusal::Proof), "something more");
    check(1, "", Some(Refusal::Proof), "nothing");
    let with = |change: fn(&mut Trust)| {
        let mut trust = trust.clone();
        change(&mut trust);
        ask(&trust, &memory(), &presented(&envelope, &good), &moment()).err()
    };
    let twice: fn(&mut Trust) = |trust| {
        trust.log.witnesses[1] = trust.log.witnesses[0].clone();
        trust.log.needed = 2;
    };
    assert_eq!(with(twice), Some(Refusal::Witnesses), "a body that is listed twice");
    let itself: fn(&mut Trust) = |trust| {
        trust.log.needed = 2;
        trust.log.witnesses[1].key = trust.log.log.key;
    };
    assert_eq!(with(itself), Some(Refusal::Witnesses), "the log is no witness of itself");
}

#[test]
fn what_does_not_fit_this_seal_is_refused() {
    assert_eq!(changed(|_| ()).map(|used| used.number), Ok(1));
    let refused = |change: fn(&mut Grant)| changed(change).unwrap_err();
    assert_eq!(refused(|grant| grant.version = 2), Refusal::Version);
    assert_eq!(refused(|grant| grant.policy = 4), Refusal::Policy);
    assert_eq!(refused(|grant| grant.matter = "sale of land".into()), Refusal::Matter);
    assert_eq!(refused(|grant| grant.seal = "gongli-08".into()), Refusal::OtherSeal);
    assert_eq!(refused(|grant| grant.is_test = true), Refusal::OtherSeal);
    assert_eq!(refused(|grant| grant.min_epoch = 1), Refusal::Epoch);
    assert_eq!(refused(|grant| grant.max_uses = 11), Refusal::BeyondRule);
    assert_eq!(refused(|grant| grant.evidence.after = false), Refusal::BeyondRule);
    assert_eq!(changed(|grant| grant.evidence = Evidence { before: false, ..grant.evidence }).err(), None);
    for (change, why) in [
        ((|grant| grant.max_uses = 0) as fn(&mut Grant), "no use"),
        (|grant| grant.max_uses = 201, "too many uses"),
        (|grant| grant.pages = 0, "no page: a blank document"),
        (|grant| grant.expires_s = grant.not_before_s, "never valid"),
        (|grant| grant.expires_s += 7 * 86_400, "valid for too long"),
        (|grant| grant.sequence = 0, "no number"),
        (|grant| grant.applicant.clear(), "nobody"),
        (|grant| grant.applicant = "x".repeat(65), "a long name"),
        (|grant| grant.applicant = "a\nb".into(), "a name of two lines"),
        (|grant| grant.operators = vec!["x".into(); 9], "a crowd"),
        (|grant| grant.fence = Some(Fence { lat_e7: 900_000_001, ..FENCE }), "beyond the pole"),
        (|grant| grant.fence = Some(Fence { radius_m: 0, ..FENCE }), "no room"),
        (|grant| grant.fence = Some(Fence { radius_m: 50_001, ..FENCE }), "no fence"),
    ] {
        assert_eq!(changed(change), Err(Refusal::Impossible), "{why}");
    }
    assert_eq!(ask(&trust(), &memory(), &vec![0; MAX_PRESENTED + 1], &moment()), Err(Refusal::TooLarge));
    assert_eq!(ask(&trust(), &memory(), &[], &moment()), Err(Refusal::Malformed));
    let with_a_tail: Vec<u8> = in_order(&grant(1)).into_iter().chain([0]).collect();
    assert_eq!(ask(&trust(), &memory(), &with_a_tail, &moment()), Err(Refusal::Malformed));
}

#[test]
fn only_those_for_whom_it_was_granted_may_use_it() {
    let by = |name: Option<&str>, evidence: bool| {
        let mut moment = moment();
        moment.scene.person = moment.scene.person.zip(name).map(|(mut person, name)| {
            person.name = name.into();
            person
        });
        let mut trust = trust();
        trust.rules[0].evidence.person = evidence;
        let grant = Grant { evidence: Evidence { person: evidence, ..grant(1).evidence }, ..grant(1) };
        ask(&trust, &memory(), &in_order(&grant), &moment).err()
    };
    assert_eq!(by(Some("p-4711"), true), None);
    assert_eq!(by(Some("p-4712"), true), None, "who may use it beside the applicant");
    assert_eq!(by(Some("p-1"), true), Some(Refusal::Person), "somebody else, known to the device");
    assert_eq!(by(None, true), Some(Refusal::Person));
    assert_eq!(by(None, false), None);
}

#[test]
fn revocation_reaches_a_seal_or_its_lease_ends() {
    let after = |entries: &[Entry]| {
        let mut memory = memory();
        entries.iter().for_each(|entry| memory.add(entry));
        try_with(&memory, &grant(1))
    };
    let revoking = |numbers: &[u8]| {
        let revoked = numbers.iter().map(|&number| (id(number), grant(1).expires_s)).collect();
        Entry::Contact(Contact { revoked, ..contact() })
    };
    assert_eq!(after(&[revoking(&[2])]), None);
    assert_eq!(after(&[revoking(&[1, 2])]), Some(Refusal::Revoked));
    assert_eq!(after(&[revoking(&[1]), revoking(&[])]), Some(Refusal::Revoked), "for good");
    assert_eq!(after(&[Entry::Contact(Contact { lock: true, ..contact() })]), Some(Refusal::Locked));
    assert_eq!(
        after(&[Entry::Contact(Contact { min_sequence: 2, ..contact() })]),
        Some(Refusal::Replayed),
        "all before"
    );
    let crowd: Vec<(Id, u64)> = (0..=MAX_REVOKED as u64)
        .map(|number| {
            (
                [&number.to_be_bytes()[..], &[9; 8]].concat().try_into().map(<[u8; 16]>::into).unwrap(),
                NOON_S + 9,
            )
        })
        .collect();
    let crowded = |revoked| after(&[Entry::Contact(Contact { revoked, ..contact() })]);
    assert_eq!(crowded(crowd[1..].to_vec()), None);
    assert_eq!(crowded(crowd.clone()), Some(Refusal::ListFull));
    // It stays full until it has heard all of them: those that have expired leave room.
    let mut full = memory();
    let told = |revoked: &[(Id, u64)], epoch, at_s| {
        Entry::Contact(Contact { revoked: revoked.to_vec(), epoch, at_s, ..contact() })
    };
    for (said, is_full, epoch, why) in [
        (told(&crowd, 1, NOON_S), true, 0, "more than fits"),
        (told(&[], 0, NOON_S), true, 0, "no news"),
        (told(&crowd, 1, NOON_S + 1), true, 0, "still more than fits"),
        (told(&crowd[..1], 1, NOON_S + 9), false, 1, "all others have expired"),
    ] {
        full.add(&said);
        assert_eq!((full.is_list_full, full.epoch), (is_full, epoch), "{why}");
    }
    // An answer that does not begin where the device is says too little, and is no contact.
    let mut memory = memory();
    memory.stamps_alone = 5;
    memory.add(&Entry::Contact(Contact { since: 1, epoch: 2, ..contact() }));
    assert_eq!((memory.epoch, memory.stamps_alone), (0, 5));
    memory.add(&Entry::Contact(contact()));
    assert_eq!((memory.epoch, memory.stamps_alone), (1, 0));
    // Nothing heard: so many hours, and so many stamps.
    assert_eq!(at(|moment| moment.alone_s = Some(86_400)).err(), None);
    assert_eq!(at(|moment| moment.alone_s = Some(86_401)), Err(Refusal::LeaseHours));
    assert_eq!(at(|moment| moment.alone_s = None), Err(Refusal::LeaseHours), "nobody knows how long");
    let short = Trust { lease: Lease { most_stamps: 3, ..trust().lease }, ..trust() };
    let mut memory = Memory::default();
    let mut stamps = 0;
    for sequence in 1..9 {
        let presented = in_order(&grant(sequence));
        while let Ok(used) = ask(&short, &memory, &presented, &Moment { counter: memory.counter, ..moment() })
        {
            spend(&mut memory, &grant(sequence), used.number);
            stamps += 1;
        }
    }
    assert_eq!(stamps, 3, "the most that a revocation may miss");
}

#[test]
fn tampering_locks_until_the_authority_has_looked_into_it() {
    let mut memory = memory();
    spend(&mut memory, &grant(1), 1);
    assert_eq!(try_with(&memory, &grant(1)), None);
    memory.add(&Entry::Tampered { scene: scene() });
    assert_eq!(try_with(&memory, &grant(2)), Some(Refusal::Tampered));
    let told = memory.owed.clone().unwrap();
    assert_eq!((told.used, told.outcome), (None, Outcome::Tampered));
    memory.add(&receipt(&memory, true));
    let hear = |memory: &mut Memory, cleared| {
        let counter = memory.counter;
        memory.add(&Entry::Contact(Contact { cleared, counter, ..contact() }));
    };
    hear(&mut memory, 0);
    assert_eq!(try_with(&memory, &grant(2)), Some(Refusal::Tampered), "a word from before changes nothing");
    memory.add(&Entry::Tampered { scene: scene() });
    memory.add(&receipt(&memory, true));
    hear(&mut memory, 1);
    assert_eq!(try_with(&memory, &grant(2)), Some(Refusal::Tampered), "only the first was looked into");
    hear(&mut memory, 2);
    assert_eq!(try_with(&memory, &grant(2)), None);
    assert_eq!(try_with(&memory, &grant(1)), Some(Refusal::Replayed), "what lay open is over");
}

#[test]
fn an_old_card_opens_nothing() {
    let mut memory = memory();
    spend(&mut memory, &grant(1), 1);
    let old = memory.clone();
    spend(&mut memory, &grant(1), 2);
    let presented = in_order(&grant(1));
    let with =
        |memory: &Memory, counter| ask(&trust(), memory, &presented, &Moment { counter, ..moment() }).err();
    assert_eq!(with(&old, old.counter), None);
    assert_eq!(with(&old, memory.counter), Some(Refusal::RolledBack), "the card of an hour ago");
    assert_eq!(with(&Memory::default(), memory.counter), Some(Refusal::RolledBack), "a blank one");
    assert_eq!(with(&memory, 0), Some(Refusal::RolledBack), "its card in another device");
    // The authority knows the receipts: it says from where on to go on.
    let mut blank = Memory::default();
    blank.add(&Entry::Contact(Contact { counter: memory.counter, min_sequence: 2, ..contact() }));
    assert_eq!(try_with(&blank, &grant(1)), Some(Refusal::Replayed));
    assert_eq!(try_with(&blank, &grant(2)), None);
}

#[test]
fn a_clock_that_was_set_back_or_is_unknown_opens_nothing() {
    let (from, to) = (grant(1).not_before_s, grant(1).expires_s);
    for (now_s, time, expected) in [
        (from - 1, TimeQuality::Synced, Some(Refusal::TooEarly)),
        (from, TimeQuality::Synced, None),
        (to - 1, TimeQuality::Synced, None),
        (to, TimeQuality::Synced, Some(Refusal::Expired)),
        (from, TimeQuality::Floor, Some(Refusal::TimeUnknown)),
        (to, TimeQuality::Floor, Some(Refusal::Expired)),
    ] {
        let found = at(|moment| (moment.scene.at_s, moment.scene.time) = (now_s, time));
        assert_eq!(found.err(), expected, "{now_s} {time:?}");
    }
    // Set back behind what the authority said, or a witness.
    let mut memory = memory();
    memory.add(&Entry::Contact(Contact { at_s: to, ..contact() }));
    assert_eq!(try_with(&memory, &grant(1)), Some(Refusal::Expired));
    let early = Grant { not_before_s: NOON_S - 60, expires_s: NOON_S, ..grant(1) };
    let mut then = moment();
    then.scene.at_s = NOON_S - 30;
    assert_eq!(
        ask(&trust(), &Memory::default(), &in_order(&early), &then),
        Err(Refusal::Expired),
        "seen at noon"
    );
}

#[test]
fn an_answer_needs_no_clock_and_is_good_once_and_soon() {
    let answer = |memory: &Memory, nonce: u8, asked: Option<(u8, u64)>, time, alone_s| {
        let grant = Grant { nonce: Some(id(nonce)), ..grant(1) };
        let asked = asked.map(|(number, ago_s)| (id(number), ago_s));
        let mut moment = Moment { asked, alone_s, counter: memory.counter, ..moment() };
        (moment.scene.time, moment.scene.at_s) = (time, 5);
        ask(&trust(), memory, &in_order(&grant), &moment).err()
    };
    let (mut memory, floor) = (memory(), TimeQuality::Floor);
    assert_eq!(answer(&memory, 9, Some((9, 600)), floor, None), None);
    assert_eq!(answer(&memory, 9, Some((9, 601)), floor, None), Some(Refusal::LeaseHours), "too late");
    assert_eq!(
        answer(&memory, 9, Some((8, 0)), floor, Some(0)),
        Some(Refusal::TimeUnknown),
        "another question"
    );
    assert_eq!(answer(&memory, 9, None, floor, None), Some(Refusal::LeaseHours), "no question");
    let kept_back = Grant { nonce: Some(id(9)), ..grant(1) };
    assert_eq!(try_with(&memory, &kept_back), Some(Refusal::Nonce), "with a clock too");
    spend(&mut memory, &kept_back, 1);
    assert_eq!(
        answer(&memory, 9, Some((9, 0)), floor, None),
        Some(Refusal::LeaseHours),
        "the first use only"
    );
    assert_eq!(try_with(&memory, &kept_back), None, "the second is like any other");
}

const FENCE: Fence = Fence { datum: Datum::Wgs84, lat_e7: 362_870_000, lon_e7: 1_164_360_000, radius_m: 200 };

#[test]
fn a_seal_works_where_it_was_granted() {
    let here = Position { datum: Datum::Wgs84, lat_e7: FENCE.lat_e7, lon_e7: FENCE.lon_e7, accuracy_m: 0 };
    let check = |fence: Fence, position: Option<Position>| {
        let mut moment = moment();
        moment.scene.position = position;
        ask(&trust(), &memory(), &in_order(&Grant { fence: Some(fence), ..grant(1) }), &moment).err()
    };
    for (position, expected, why) in [
        (here, None, "in the middle"),
        (Position { datum: Datum::Cgcs2000, ..here }, None, "as surveyors say it"),
        (Position { lat_e7: here.lat_e7 + 17_900, ..here }, None, "199 m north"),
        (Position { lat_e7: here.lat_e7 - 18_100, ..here }, Some(Refusal::Elsewhere), "201 m south"),
        (Position { lon_e7: here.lon_e7 + 22_200, ..here }, None, "199 m east: degrees are shorter there"),
        (Position { lon_e7: here.lon_e7 - 22_500, ..here }, Some(Refusal::Elsewhere), "201 m west"),
        (Position { accuracy_m: 200, ..here }, None, "somewhere inside"),
        (
            Position { accuracy_m: 20, lat_e7: here.lat_e7 + 17_900, ..here },
            Some(Refusal::Elsewhere),
            "perhaps outside",
        ),
        (Position { accuracy_m: 201, ..here }, Some(Refusal::PlaceUnknown), "too vague"),
        (Position { datum: Datum::Gcj02, ..here }, Some(Refusal::PlaceUnknown), "as another map shows it"),
    ] {
        assert_eq!(check(FENCE, Some(position)), expected, "{why}");
    }
    assert_eq!(check(FENCE, None), Some(Refusal::PlaceUnknown), "nobody knows");
    let far = Fence { lon_e7: 1_799_999_000, lat_e7: 0, ..FENCE };
    let across = Position { lon_e7: -1_799_999_000, lat_e7: 0, ..here };
    assert_eq!(check(far, Some(across)), None, "22 m across the date line");
}

#[test]
fn a_grant_comes_once_and_in_any_order() {
    let mut memory = memory();
    spend(&mut memory, &grant(70), 1);
    assert_eq!(try_with(&memory, &grant(70)), None, "one use is left");
    for changed in [
        Grant { max_uses: 9, ..grant(70) },
        Grant { sequence: 71, ..grant(70) },
        Grant { document: digest(&[b"another"]), ..grant(70) },
    ] {
        assert_eq!(try_with(&memory, &changed), Some(Refusal::Changed));
    }
    assert_eq!(try_with(&memory, &Grant { id: id(77), ..grant(70) }), Some(Refusal::Replayed), "a twin");
    assert_eq!(try_with(&memory, &grant(71 - WINDOW)), None, "an earlier one: people come in any order");
    assert_eq!(try_with(&memory, &grant(70 - WINDOW)), Some(Refusal::Replayed), "nobody can tell any more");
    spend(&mut memory, &grant(68), 1);
    spend(&mut memory, &grant(68), 2);
    spend(&mut memory, &grant(72), 2);
    for sequence in [68, 72] {
        assert_eq!(try_with(&memory, &grant(sequence)), Some(Refusal::Replayed), "{sequence} is used up");
    }
    for sequence in [69, 70, 71, 73] {
        assert_eq!(try_with(&memory, &grant(sequence)), None, "{sequence}");
    }
    // A use that is in the sum stays there, whatever comes in which order.
    memory.add(&consumed(&memory, use_of(&Grant { max_uses: 5, ..grant(80) }, 4), grant(80).expires_s));
    memory.add(&consumed(&memory, use_of(&Grant { max_uses: 5, ..grant(80) }, 1), grant(80).expires_s));
    assert_eq!(memory.last_use(&id(80)).unwrap().used.number, 4);
    spend(&mut memory, &grant(1000), 1);
    assert_eq!(memory.seen, 1, "far ahead");
}

#[test]
fn what_lies_open_has_a_bound() {
    let mut memory = memory();
    for sequence in 1..=MAX_OPEN as u64 {
        spend(&mut memory, &grant(sequence), 1);
    }
    let counter = memory.counter;
    memory.add(&Entry::Contact(Contact { counter, ..contact() }));
    assert_eq!(try_with(&memory, &grant(65)), Some(Refusal::TooManyOpen));
    assert_eq!(try_with(&memory, &grant(3)), None, "those go on");
    spend(&mut memory, &grant(3), 2);
    assert_eq!(try_with(&memory, &grant(65)), None, "one was used up");
}
