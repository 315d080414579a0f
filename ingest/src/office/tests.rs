//! Stories of a village and its office.

use base64ct::{Base64, Encoding as _};
use seal::grant::{Grant, Id};
use seal::keys::Signer;
use seal::memory::Memory;
use seal::receipt::Receipt;
use seal::refusal::Refusal;

use super::check::{Bundle, Proven};
use super::finding::Finding;
use super::sql::{Cases, ReceiptRow};
use super::*;
use crate::clock::now_ms;
use crate::people::role::Scope;

mod deputies;
mod village;

use village::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_application_to_verification() {
    for (mut village, mut seal) in Village::each().await {
        let grant = village.granted().await;
        village.contact(&mut seal).await;
        let (first, no) = seal.stamp(&grant);
        assert_eq!(no, None);
        let (second, no) = seal.stamp(&grant);
        assert_eq!(no, None);
        let (third, no) = seal.stamp(&grant);
        assert_eq!(no, Some(Refusal::Replayed), "used up, so it is over");
        for receipt in [&first, &second, &third, &second] {
            village.send(receipt).await;
        }
        let timeline = village.timeline().await;
        let outcomes: Vec<&str> = timeline.receipts.iter().map(|receipt| receipt.outcome.as_str()).collect();
        assert_eq!(outcomes, ["refused", "stamped", "stamped"], "newest first, and once");
        assert_eq!((timeline.findings.len(), timeline.applications[0].used), (0, 2));
        assert!(timeline.applications[0].is_logged);
        // Anybody, by the receipt or by the photograph.
        for asked in [digest(&[&second]), digest(&[b"the impression", &[2]])] {
            let found = village.office.impressions(&asked).await.unwrap();
            assert_eq!(found.len(), 1);
            assert!(found[0].is_covered && found[0].matter.as_deref() == Some("certificate"));
            let checked = found[0].bundle.check(&asked, &village.office.roots(SEAL));
            assert!(checked.holds() && checked.grant.is_some(), "{:?}", checked.steps);
            let strangers = Roots { keys: vec![key(77).public()], ..village.office.roots(SEAL) };
            assert!(!found[0].bundle.check(&asked, &strangers).holds(), "by other roots it does not hold");
        }
        let refused = village.office.impressions(&digest(&[&third])).await.unwrap();
        assert!(!refused[0].is_covered, "a refusal is no impression");
        assert!(village.office.impressions(&digest(&[b"rubber"])).await.unwrap().is_empty());
        let audit = village.audit();
        assert_eq!(audit.remarks, []);
        let counts: Vec<(&str, u64)> = audit.counts.into_iter().collect();
        assert_eq!(counts, [("grant", 1), ("notice", 1), ("policy", 1), ("receipt", 3)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_reaches_the_seal_with_the_next_contact() {
    for (mut village, mut seal) in Village::each().await {
        let grant = village.granted().await;
        village.contact(&mut seal).await;
        village.office.revoke(&grant, "clerk", "asked for twice", now_ms()).await.unwrap();
        village.settled().await;
        // It has not heard yet: what the lease allows, and it is told.
        let (late, no) = seal.stamp(&grant);
        assert_eq!(no, None);
        village.send(&late).await;
        village.contact(&mut seal).await;
        assert_eq!(seal.stamp(&grant).1, Some(Refusal::Revoked));
        assert_eq!(village.words().await, ["after_revocation"]);
        // A stranger sees it in the bundle, with its proof, and needs nobody's word.
        let found = village.office.impressions(&digest(&[&late])).await.unwrap().remove(0);
        assert!(!found.is_covered && found.revoked_ms.is_some() && found.log_size > 0);
        let checked = found.bundle.check(&digest(&[&late]), &village.office.roots(SEAL));
        let wrong = checked.steps.into_iter().find_map(|step| step.wrong).unwrap();
        assert!(wrong.contains("taken back"), "{wrong}");
        let again = village.office.revoke(&grant, "clerk", "again", now_ms()).await;
        assert!(matches!(again, Err(OfficeError::No(_))));
        village.office.lock(SEAL, true, "operator", now_ms()).await.unwrap();
        village.contact(&mut seal).await;
        let other = village.granted().await;
        village.contact(&mut seal).await;
        assert_eq!(seal.stamp(&other).1, Some(Refusal::Locked));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_insider_at_the_server_stamps_nothing() {
    for (mut village, mut seal) in Village::each().await {
        let grant = village.granted().await;
        village.contact(&mut seal).await;
        let office = &village.office;
        // They have the issuer's key, and rewrite the database as they like: they lack an approver's key…
        let mut desk = office.shared.desk.lock().await;
        let case = sql::case(&mut desk.connection, &grant).await.unwrap().unwrap();
        let mut more = Grant::read(&case.payload).unwrap();
        (more.id, more.sequence, more.max_uses) = ([66; 16].into(), 40, 3);
        let payload = more.to_bytes();
        let alone = Envelope::sign(Kind::Grant, &payload, &[&office.shared.issuer]).unwrap().to_bytes();
        let leaf = leaf_of("grant", SEAL, alone, now_ms());
        sql::add_leaf(&mut desk.connection, &leaf).await.unwrap();
        drop(desk);
        office.shared.work.notify_one();
        village.settled().await;
        let mut desk = village.office.shared.desk.lock().await;
        let leaf = sql::leaf(&mut desk.connection, &leaf.digest).await.unwrap().unwrap();
        drop(desk);
        let presented = village.office.presented(&leaf).unwrap().unwrap();
        assert_eq!(seal.present(&presented).1, Some(Refusal::Approvals));
        // …and everybody sees that they tried.
        assert!(village.audit().remarks.iter().any(|remark| remark.en.contains("Too few approvers")));
        // …and with approvers who were made to sign, they lack the witness for a grant that is not shown.
        let signers = [key(SECRETARY), key(CLERK)];
        let keys: Vec<&dyn Signer> = [&village.office.shared.issuer as &dyn Signer]
            .into_iter()
            .chain(signers.iter().map(|key| key as &dyn Signer))
            .collect();
        let hidden = Envelope::sign(Kind::Grant, &payload, &keys).unwrap().to_bytes();
        let proof = village.office.proof(&leaf).unwrap().unwrap();
        let hidden = Presented { grant: &hidden, proof: proof.as_bytes() }.to_bytes();
        assert_eq!(seal.present(&hidden).1, Some(Refusal::Proof));
        // Rules of their own want the roots.
        let own = village.office.put_policy(village.rules(2, &ROOTS[..1]), now_ms()).await;
        assert!(matches!(own, Err(OfficeError::No(_))));
        let own = village.office.put_policy(village.rules(1, &ROOTS), now_ms()).await;
        assert!(matches!(own, Err(OfficeError::No(_))), "the same number");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_agree_is_found() {
    for (mut village, mut seal) in Village::each().await {
        let grant = village.granted().await;
        village.contact(&mut seal).await;
        // Two cards of one device: the old one is put in after a use.
        let old = seal.memory.clone();
        let (first, _) = seal.stamp(&grant);
        village.send(&first).await;
        village.settled().await;
        seal.memory = old;
        let (refused, no) = seal.stamp(&grant);
        assert_eq!(no, Some(Refusal::RolledBack), "the counter shows more than it remembers");
        village.send(&refused).await;
        // It is told the time first, and asked again.
        village.contact(&mut seal).await;
        assert_eq!(village.words().await, ["twin"], "two receipts with one number");
        let (refused, no) = seal.stamp(&grant);
        assert_eq!(no, Some(Refusal::Locked));
        village.send(&refused).await;
        village.contact(&mut seal).await;
        let words = village.words().await;
        assert!(words.contains(&"old_state".to_owned()) && words.contains(&"twin".to_owned()), "{words:?}");
        // Healed, with all grants over; a fresh one works.
        assert_eq!(seal.stamp(&grant).1, Some(Refusal::Replayed));
        let fresh = village.granted().await;
        village.contact(&mut seal).await;
        let (receipt, no) = seal.stamp(&fresh);
        assert_eq!(no, None);
        village.send(&receipt).await;
        // A stranger signs as the seal.
        let forged = Envelope::sign(
            Kind::Receipt,
            Envelope::read(Kind::Receipt, &receipt).unwrap().payload,
            &[&key(8)],
        );
        village.send(&forged.unwrap().to_bytes()).await;
        village.send(b"nothing").await;
        let words = village.words().await;
        let forged = |words: &[String]| words.iter().filter(|word| *word == "forged").count();
        assert_eq!(forged(&words), 1, "{words:?}");
        // Whoever goes on now and then hides nothing for longer than an hour.
        for (minutes, told) in [(40, 1), (80, 2), (120, 2), (160, 3)] {
            village.send_at(b"nothing", now_ms() + minutes * 60_000).await;
            assert_eq!(forged(&village.words().await), told, "after {minutes} minutes");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_finds_again_what_the_log_has() {
    for (mut village, mut seal) in Village::each().await {
        let grant = village.granted().await;
        village.settled().await;
        let size = village.office.tiles().size();
        // The last start ended between log and database.
        let mut desk = village.office.shared.desk.lock().await;
        let forget =
            "UPDATE leaves SET log_index = NULL WHERE log_index = (SELECT MAX(log_index) FROM leaves)";
        sqlx::query(forget).execute(&mut desk.connection).await.unwrap();
        desk.is_ahead = true;
        drop(desk);
        assert_eq!(village.office.log_leaves().await.unwrap(), 0);
        assert_eq!(village.office.tiles().size(), size, "not logged twice");
        village.contact(&mut seal).await;
        assert_eq!(seal.stamp(&grant).1, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_is_decided_once() {
    for (village, _) in Village::each().await {
        let grant = village.apply().await;
        let mine = village.approve(&grant, "clerk", SECRETARY).await;
        assert!(matches!(mine, Err(OfficeError::No(_))), "somebody else's key");
        assert!(!village.approve(&grant, "clerk", CLERK).await.unwrap());
        assert!(!village.approve(&grant, "clerk", CLERK).await.unwrap(), "twice is once");
        village.office.end_case(&grant, "rejected", "secretary", "not this paper", now_ms()).await.unwrap();
        let late = village.approve(&grant, "secretary", SECRETARY).await;
        assert!(matches!(late, Err(OfficeError::No(_))));
        let case = village.office.case(&grant).await.unwrap();
        assert_eq!(
            (case.state.as_str(), case.why.as_deref(), case.approvals.len()),
            ("rejected", Some("not this paper"), 1)
        );
        assert!(village.office.to_carry(&grant).await.unwrap().is_none());
        assert!(matches!(village.office.case(&[0; 16].into()).await, Err(OfficeError::NotThere { .. })));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replaced_device_has_stamped_is_on_record_and_no_more_than_that() {
    for (mut village, mut old) in Village::each().await {
        let grant = village.granted().await;
        village.contact(&mut old).await;
        let [first, second] = [old.stamp(&grant).0, old.stamp(&grant).0];
        village.send(&first).await;
        village.settled().await;
        // It is replaced before the second has come: the new one goes on from what is known, and nobody accuses it.
        village.enrol(10).await;
        let mut new = Device { key: 10, ..Device::new(village.office.roots(SEAL)) };
        let fresh = village.granted().await;
        village.contact(&mut new).await;
        assert_eq!(village.words().await, ["rekeyed"]);
        let (its, no) = new.stamp(&fresh);
        assert_eq!(no, None);
        let hello = old.hello();
        for bytes in [&its, &hello, &second, &first, &second] {
            village.send(bytes).await;
        }
        let timeline = village.timeline().await;
        let words: Vec<&str> = timeline.findings.iter().map(|finding| finding.word.as_str()).collect();
        assert_eq!(words, ["earlier_key", "rekeyed"], "no twin, and nothing forged");
        let numbers: Vec<u64> = timeline.receipts.iter().map(|receipt| receipt.number).collect();
        assert_eq!(numbers, [2, 2, 1]);
        assert_eq!(timeline.applications.iter().map(|case| case.used).collect::<Vec<_>>(), [1, 2]);
        for (receipt, is_covered, why) in [
            (&first, true, "it came before the change"),
            (&second, false, "nothing shows when it was made"),
            (&its, true, "by the new key"),
        ] {
            let found = village.office.impressions(&digest(&[receipt])).await.unwrap();
            assert_eq!(found[0].is_covered, is_covered, "{why}");
        }
        assert_eq!(village.audit().remarks.len(), 2, "a stranger sees the same");
        // The bundle itself says so: whoever leaves that out is not believed for what is left.
        let late = village.office.impressions(&digest(&[&second])).await.unwrap().remove(0).bundle;
        let wrong = |bundle: &Bundle| {
            let checked = bundle.check(&digest(&[&second]), &village.office.roots(SEAL));
            checked.steps.into_iter().find_map(|step| step.wrong)
        };
        assert!(wrong(&late).unwrap().contains("the key was changed"), "{:?}", wrong(&late));
        assert_eq!(wrong(&Bundle { notices: Vec::new(), ..late.clone() }), None, "absence proves nothing");
        let unseen = late.notices.iter().map(|shown| Proven { proof: None, ..shown.clone() }).collect();
        assert!(wrong(&Bundle { notices: unseen, ..late }).is_some(), "what is not proven refuses as well");
        // Who has the old device stamps nothing more with it.
        let late = Envelope::read(Kind::Receipt, &second).unwrap();
        let mut late = Receipt::read(late.payload).unwrap();
        (late.number, late.previous) = (3, digest(&[&second]));
        late.scene.at_s = seconds(now_ms()) + 5;
        let late = Envelope::sign(Kind::Receipt, &late.to_bytes(), &[&key(DEVICE)]).unwrap().to_bytes();
        village.send(&late).await;
        assert_eq!(village.words().await[0], "forged");
        assert!(village.office.impressions(&digest(&[&late])).await.unwrap().is_empty());
        // The new one was healed once: the next time it has forgotten.
        new.memory = Memory::default();
        new.counter = 0;
        village.contact(&mut new).await;
        village.contact(&mut new).await;
        assert!(village.words().await.contains(&"set_back".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_photograph_that_does_not_come_is_found_and_nobody_is_in_its_way() {
    for (mut village, mut seal) in Village::each().await {
        let grant = village.granted().await;
        village.contact(&mut seal).await;
        let receipt = seal.stamp(&grant).0;
        village.send(&receipt).await;
        village.settled().await;
        let (picture, day_ms) = ([b"the impression".as_slice(), &[1]].concat(), 86_400_000);
        let name = digest(&[&picture]);
        let office = village.office.clone();
        office.miss_pictures(now_ms() + day_ms - 60_000).await.unwrap();
        assert_eq!(village.words().await, [""; 0]);
        for _ in 0..2 {
            office.miss_pictures(now_ms() + day_ms + 60_000).await.unwrap();
            assert_eq!(village.words().await, ["photo_missing"], "told once");
        }
        // A stranger knows the digest, and is first with something else; the genuine one comes late.
        village.send_part("stranger", &name, 0, picture.len(), &[0; 15]).await;
        village.send_part("gongli-07", &name, 0, picture.len(), &picture[..9]).await;
        office.keep_pictures(now_ms()).await.unwrap();
        assert_eq!(office.picture(&name).await, None, "not whole");
        // Somebody else of this gateway sends something by the same name, which is whole before.
        village.send_part("gongli-07", &name, 500, 1, b"x").await;
        office.keep_pictures(now_ms()).await.unwrap();
        village.send_part("gongli-07", &name, 9, picture.len(), &picture[9..]).await;
        office.keep_pictures(now_ms()).await.unwrap();
        assert_eq!(office.picture(&name).await, Some(picture));
        assert_eq!(village.words().await, ["photo_came", "photo_missing"]);
        // What no receipt names is kept by nobody, and a receipt that comes again waits for nothing.
        let other = digest(&[b"a holiday"]);
        village.send_part("gongli-07", &other, 0, 9, b"a holiday").await;
        office.keep_pictures(now_ms()).await.unwrap();
        assert_eq!(office.picture(&other).await, None);
        village.send(&receipt).await;
        village.settled().await;
        office.miss_pictures(now_ms() + 3 * day_ms).await.unwrap();
        assert_eq!(village.words().await.len(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_issuer_signed_holds_and_nothing_that_it_signs_later() {
    const EARLIER: u8 = 50;
    for (mut village, mut seal) in Village::each().await {
        let enrolled = async |village: &Village, at_s| {
            let deed = Deed::Enrolled { seal: SEAL.into(), key: key(DEVICE).public() };
            let notice = Notice { version: notice::VERSION, at_s, by: "installer".into(), deed };
            let body = Envelope::sign(Kind::Notice, &notice.to_bytes(), &[&key(EARLIER)]).unwrap().to_bytes();
            let mut desk = village.office.shared.desk.lock().await;
            let leaf = leaf_of("enrolment", SEAL, body, now_ms());
            sql::add_leaf(&mut desk.connection, &leaf).await.unwrap();
        };
        let both = vec![village.office.issuer(), key(EARLIER).public()];
        let rules = signed_rules(&Policy { issuers: both, ..village.policy(2) }, &ROOTS);
        village.office.put_policy(rules, now_ms()).await.unwrap();
        enrolled(&village, 1).await;
        village.office.put_policy(village.rules(3, &ROOTS), now_ms()).await.unwrap();
        let grant = village.granted().await;
        village.contact(&mut seal).await;
        for (is_covered, remarks) in [(true, 0), (false, 1)] {
            let receipt = seal.stamp(&grant).0;
            village.send(&receipt).await;
            village.settled().await;
            let found = village.office.impressions(&digest(&[&receipt])).await.unwrap();
            let checked = found[0].bundle.check(&digest(&[&receipt]), &village.office.roots(SEAL));
            assert_eq!(found[0].is_covered, is_covered, "{:?}", checked.steps);
            assert_eq!(village.audit().remarks.len(), remarks, "{:?}", village.audit().remarks);
            // By now the rules name it no more.
            enrolled(&village, 2).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_go_on_where_they_ended_and_end_at_the_area() {
    for (mut village, mut seal) in Village::each().await {
        let scopes = |texts: &[&str]| texts.iter().map(|text| Scope::new(text).unwrap()).collect::<Vec<_>>();
        let gongli = &scopes(&["mianyang", "370124/gongli"]);
        let mut grants = Vec::new();
        for _ in 0..3 {
            grants.push(village.granted().await);
        }
        village.contact(&mut seal).await;
        for grant in &grants {
            let receipt = seal.stamp(grant).0;
            village.send(&receipt).await;
        }
        village.enrol_as("gongli-08", "370124/gongli/c8", 18).await;
        village.enrol_as("gonglim", "370124/gonglim", 19).await;
        village.settled().await;
        let mut desk = village.office.shared.desk.lock().await;
        let c = &mut desk.connection;
        for (finding, name) in (0..).zip([SEAL, "gongli-08", "gonglim", "no-seal"]) {
            sql::add_finding(c, name, &Finding::Twin(finding), &digest(&[b"x"]), 7).await.unwrap();
        }
        // Applications: two at a time, for the area, for their owner, for nobody else.
        let newest = Cases { areas: gongli, ..Cases::default() };
        let first = sql::cases(c, newest, 2).await.unwrap();
        let second = sql::cases(c, Cases { before: Some(&first[1].grant), ..newest }, 2).await.unwrap();
        let found: Vec<Id> = first.iter().chain(&second).map(|case| case.grant).collect();
        let mut all = found.clone();
        all.sort();
        grants.sort();
        assert_eq!((found.len(), all), (3, grants), "each once");
        assert!(first.iter().chain(&second).is_sorted_by_key(|case| -case.created_ms));
        let beside = &scopes(&["370124/gonglim", "370124/gongli/c8"]);
        for (areas, own, count) in [
            (beside, None, 0),
            (beside, Some("bookkeeper"), 3),
            (&vec![], None, 0),
            (&scopes(&["*"]), None, 3),
        ] {
            let asked = Cases { areas, own, ..Cases::default() };
            assert_eq!(sql::cases(c, asked, 9).await.unwrap().len(), count, "{areas:?} {own:?}");
        }
        // Receipts of a seal.
        let numbers = |rows: &[ReceiptRow]| rows.iter().map(|row| row.number).collect::<Vec<_>>();
        let first = sql::receipts(c, SEAL, None, 2).await.unwrap();
        let second = sql::receipts(c, SEAL, Some(&first[1].digest), 2).await.unwrap();
        assert_eq!((numbers(&first), numbers(&second)), (vec![3, 2], vec![1]));
        // Findings: what is of no seal is the whole city's.
        for (areas, expected) in [
            (gongli, vec!["gongli-08", SEAL]),
            (&scopes(&["*"]), vec!["no-seal", "gonglim", "gongli-08", SEAL]),
            (&vec![], vec![]),
        ] {
            let (mut found, mut before) = (Vec::new(), None);
            while let Some(row) = sql::findings(c, None, areas, before, 1).await.unwrap().pop() {
                before = Some(row.nth);
                found.push(row.seal);
            }
            assert_eq!(found, expected, "{areas:?}");
        }
        // Seals by name.
        let names = async |c: &mut AnyConnection, areas: &[Scope], after: &str| {
            let all = sql::books(c, areas, after, 2).await.unwrap();
            all.into_iter().map(|book| book.seal).collect::<Vec<_>>()
        };
        assert_eq!(names(c, gongli, "").await, [SEAL, "gongli-08"]);
        assert_eq!(names(c, gongli, SEAL).await, ["gongli-08"]);
        assert_eq!(names(c, &scopes(&["*"]), "gongli-08").await, ["gonglim"]);
        assert_eq!(names(c, &[], "").await, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_somebody_has_seen_is_cleared() {
    for (village, _) in Village::each().await {
        let mut desk = village.office.shared.desk.lock().await;
        let mut book = sql::book(&mut desk.connection, SEAL).await.unwrap().unwrap();
        book.tampered = 3;
        sql::put_book(&mut desk.connection, &book).await.unwrap();
        drop(desk);
        for (seen, left) in [(2, 1), (1, 1), (9, 0)] {
            village.office.clear(SEAL, seen, "operator", now_ms()).await.unwrap();
            assert_eq!(village.timeline().await.seal.tampered, left, "{seen} seen");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_in_the_log_in_the_wrong_order_covers_nothing() {
    for (mut village, mut seal) in Village::each().await {
        let first = village.granted().await;
        village.contact(&mut seal).await;
        let fresh = async |village: &Village, digest: &Digest| {
            let mut desk = village.office.shared.desk.lock().await;
            sql::leaf(&mut desk.connection, digest).await.unwrap().unwrap()
        };
        // A grant by rules that are not there yet: enough people were made to sign both.
        let case = village.office.case(&first).await.unwrap();
        let payload = Base64::decode_vec(&case.payload).unwrap();
        let mut early = Grant::read(&payload).unwrap();
        (early.id, early.sequence, early.policy) = ([66; 16].into(), 40, 2);
        let signers = [key(SECRETARY), key(CLERK)];
        let signers: Vec<&dyn Signer> = [&village.office.shared.issuer as &dyn Signer]
            .into_iter()
            .chain(signers.iter().map(|key| key as &dyn Signer))
            .collect();
        let body = Envelope::sign(Kind::Grant, &early.to_bytes(), &signers).unwrap().to_bytes();
        let grant = leaf_of("grant", SEAL, body, now_ms());
        let mut desk = village.office.shared.desk.lock().await;
        sql::add_leaf(&mut desk.connection, &grant).await.unwrap();
        drop(desk);
        village.office.shared.work.notify_one();
        village.settled().await;
        village.office.put_policy(village.rules(2, &ROOTS), now_ms()).await.unwrap();
        village.contact(&mut seal).await;
        let grant = fresh(&village, &grant.digest).await;
        let (receipt, no) = seal.present(&village.office.presented(&grant).unwrap().unwrap());
        assert_eq!(no, None, "a seal sees no order");
        village.send(&receipt).await;
        village.settled().await;
        let name = digest(&[&receipt]);
        let receipt = fresh(&village, &name).await;
        let mut desk = village.office.shared.desk.lock().await;
        let policy = sql::policy_numbered(&mut desk.connection, SEAL, 2).await.unwrap().unwrap();
        let enrolment = sql::enrolments(&mut desk.connection, SEAL, &receipt).await.unwrap().remove(0);
        drop(desk);
        let proven = |leaf: &Leaf| village.office.proven(leaf).unwrap();
        let bundle = Bundle {
            receipt: proven(&receipt),
            enrolment: Some(proven(&enrolment)),
            grant: Some(proven(&grant)),
            policy: Some(proven(&policy)),
            enrolled_by: None,
            delegations: Vec::new(),
            notices: Vec::new(),
        };
        let wrong =
            bundle.check(&name, &village.office.roots(SEAL)).steps.into_iter().find_map(|step| step.wrong);
        let (first, then) = (policy.index.unwrap(), grant.index.unwrap());
        assert!(then < first && wrong.unwrap().starts_with(&format!("leaves {first}, {then} and")));
        assert!(village.audit().remarks.iter().any(|remark| remark.en.contains("not the newest")));
    }
}
