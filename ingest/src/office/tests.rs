//! A village's seal and its office, with a real log and a real witness on a socket. The device is played by the pure parts
//! of the crate `seal`, as a gateway drives them.

use std::sync::Mutex as StdMutex;
use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use seal::decision::{Moment, decide};
use seal::delegation::Deputed;
use seal::grant::{Evidence, Grant, HashAlgorithm, Id};
use seal::keys::{Algorithm, Signer};
use seal::memory::{Entry, Memory};
use seal::policy::{Matter, Named};
use seal::receipt::{Method, Outcome, Person, Receipt, Scene, TimeQuality, UseOf};
use seal::refusal::Refusal;
use seal::talk::{Answer, Hello, Said, VERSION};
use seal::trust::{Lease, Trust};
use wire::Area;

use super::acts::Enrolment;
use super::ask::{Before, TimelineView};
use super::audit::Audit;
use super::check::{Bundle, Proven};
use super::deputies::Absence;
use super::draft::Wish;
use super::finding::Finding;
use super::sql::{Cases, ReceiptRow};
use super::*;
use crate::clock::now_ms;
use crate::http::serve_witness;
use crate::people::role::Scope;
use crate::tlog::WitnessUrl;
use crate::witness::Witness;

const SEAL: &str = "gongli-07";
/// How long something may take that takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Of these the secretary, the device and a root, and the issuer, sign with SM2 where it is built in; the others do not.
fn key(number: u8) -> MemoryKey {
    let is_sm2 = Algorithm::Sm2.is_built_in() && [SECRETARY, DEVICE, ROOTS[0]].contains(&number);
    MemoryKey::new(if is_sm2 { Algorithm::Sm2 } else { Algorithm::Ed25519 }, &[number; 32]).unwrap()
}

const ROOTS: [u8; 2] = [41, 42];
const SECRETARY: u8 = 2;
const CLERK: u8 = 3;
const TEACHER: u8 = 13;
const DEVICE: u8 = 9;

/// An office in a folder, what it has sent down, and its witness.
struct Village {
    _files: (tempfile::TempDir, database::testing::Fresh),
    office: Office,
    task: Option<OfficeTask>,
    said: Arc<StdMutex<Vec<Vec<u8>>>>,
    mail: Arc<Notify>,
    sent: i64,
    witness: JoinHandle<()>,
}

impl Village {
    /// A village on each database there is.
    async fn each() -> Vec<(Self, Device)> {
        let mut all = Vec::new();
        for fresh in database::testing::each().await {
            all.push(Self::with_seal(fresh).await);
        }
        all
    }

    async fn new(fresh: database::testing::Fresh) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        keyfile::make(&path("log.key"), "seals.example/log", KeyRole::Log).unwrap();
        if Algorithm::Sm2.is_built_in() {
            keyfile::make_sm2(&path("issuer.key"), "issuer").unwrap();
        } else {
            keyfile::make(&path("issuer.key"), "issuer", KeyRole::Signer).unwrap();
        }
        keyfile::make(&path("witness.key"), "notary.example/w1", KeyRole::Witness).unwrap();
        let log = keyfile::load(&path("log.key"), KeyRole::Log).unwrap().public;
        let witness_key = keyfile::load(&path("witness.key"), KeyRole::Witness).unwrap();
        let at = witness_key.public.clone();
        let storage = Folder::open(&path("witness")).unwrap();
        let witness = Witness::open(storage, witness_key, vec![log]).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = WitnessUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let witness = tokio::spawn(async move {
            serve_witness(listener, witness, std::future::pending()).await.unwrap();
        });
        let settings = Settings {
            database: fresh.url.clone(),
            folder: path("seals"),
            log_key: path("log.key"),
            issuer_key: path("issuer.key"),
            witnesses: vec![WitnessAt { url, key: at }],
            witnesses_needed: 1,
            roots: ROOTS.map(|number| key(number).public()).into(),
            roots_needed: 2,
            photo_patience: Duration::from_secs(86_400),
        };
        let (office, task, said, mail) = open(&settings).await;
        Self { _files: (folder, fresh), office, task: Some(task), said, mail, sent: 0, witness }
    }

    async fn with_seal(fresh: database::testing::Fresh) -> (Self, Device) {
        let village = Self::new(fresh).await;
        village.enrol(DEVICE).await;
        village.office.put_policy(village.rules(1, &ROOTS), now_ms()).await.unwrap();
        let device = Device::new(village.office.roots(SEAL));
        (village, device)
    }

    async fn enrol(&self, device: u8) {
        self.enrol_as(SEAL, "370124/gongli", device).await;
    }

    async fn enrol_as(&self, seal: &str, area: &str, device: u8) {
        let enrolment = Enrolment {
            seal: seal.into(),
            area: Area::new(area).unwrap(),
            gateway: GatewayId::new("gongli-07").unwrap(),
            key: key(device).public(),
        };
        self.office.enrol(enrolment, "installer", now_ms()).await.unwrap();
    }

    fn policy(&self, number: u32) -> Policy {
        let named = |key: &NoteKey| Named { name: key.name.clone(), key: key.key };
        let trust = self.office.log_trust();
        let approver = |name: &str, number| Named { name: name.into(), key: key(number).public() };
        Policy {
            version: seal::policy::VERSION,
            seal: SEAL.into(),
            number,
            is_test: false,
            issuers: vec![self.office.issuer()],
            log: named(&trust.log),
            witnesses: trust.witnesses.iter().map(named).collect(),
            witnesses_needed: 1,
            approvers: vec![
                approver("secretary", SECRETARY),
                approver("clerk", CLERK),
                approver("teacher", TEACHER),
            ],
            matters: vec![Matter {
                matter: "certificate".into(),
                approvers: vec![0, 1],
                needed: 2,
                evidence: Evidence { before: false, after: true, person: true },
                most_uses: 3,
                may_be_delegated: true,
            }],
            lease: Lease { most_s: 86_400, most_stamps: 20, answer_s: 600 },
        }
    }

    fn rules(&self, number: u32, signers: &[u8]) -> Vec<u8> {
        signed_rules(&self.policy(number), signers)
    }

    async fn apply(&self) -> Id {
        let wish = Wish {
            matter: "certificate".into(),
            document: digest(&[b"a certificate of residence"]),
            hash: HashAlgorithm::Sha256,
            pages: 1,
            copies: 2,
            not_before_s: None,
            expires_s: None,
            fence: None,
            operators: Vec::new(),
            evidence: Evidence::default(),
        };
        self.office.apply(SEAL, "certificate for Li", wish, "bookkeeper", now_ms()).await.unwrap()
    }

    async fn approve(&self, grant: &Id, person: &str, number: u8) -> Result<bool, OfficeError> {
        let key = key(number);
        let message = self.office.to_sign(grant, &key.public()).await?;
        let signature = key.sign(&message).unwrap();
        self.office.approve(grant, person, &key.public(), &signature, &[], now_ms()).await
    }

    async fn granted(&self) -> Id {
        let grant = self.apply().await;
        assert!(!self.approve(&grant, "secretary", SECRETARY).await.unwrap());
        assert!(self.approve(&grant, "clerk", CLERK).await.unwrap());
        grant
    }

    /// The secretary is away until then, and somebody approves certificates; the id.
    async fn depute(&self, to: &str, number: u8, until_s: u64) -> Result<Id, OfficeError> {
        let absence = Absence {
            seal: SEAL.into(),
            to: to.into(),
            matters: vec!["certificate".into()],
            from_s: None,
            until_s,
        };
        let key = key(number);
        let drafted = self.office.draft_delegation(absence, "secretary", &key.public(), now_ms()).await?;
        let (payload, message) = drafted;
        let signature = key.sign(&message).unwrap();
        self.office.depute(&payload, "secretary", &key.public(), &signature, now_ms()).await
    }

    /// Puts something into the inbox, as the engine does.
    async fn send(&mut self, envelope: &[u8]) {
        self.send_at(envelope, now_ms()).await;
    }

    async fn send_at(&mut self, envelope: &[u8], received_ms: i64) {
        self.sent += 1;
        let mut connection = database::connect(&self.office.shared.settings.database).await.unwrap();
        sqlx::query("INSERT INTO seal_inbox (number, gateway, received_ms, envelope) VALUES ($1, 'gongli-07', $2, $3)")
            .bind(self.sent)
            .bind(received_ms)
            .bind(envelope)
            .execute(&mut connection)
            .await
            .unwrap();
        self.mail.notify_one();
    }

    /// Puts a part of a photograph where the engine does.
    async fn send_part(&mut self, gateway: &str, name: &Digest, start: usize, total: usize, part: &[u8]) {
        self.sent += 1;
        let mut connection = database::connect(&self.office.shared.settings.database).await.unwrap();
        sqlx::query("INSERT INTO picture_parts (digest, gateway, start, total, number, part) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(&name[..])
            .bind(gateway)
            .bind(start as i64)
            .bind(total as i64)
            .bind(self.sent)
            .bind(part)
            .execute(&mut connection)
            .await
            .unwrap();
    }

    /// Waits until everything is looked at, logged, and seen by the witness.
    async fn settled(&self) {
        let settled = async {
            loop {
                let mut desk = self.office.shared.desk.lock().await;
                let waits = !sql::inbox(&mut desk.connection, 1).await.unwrap().is_empty()
                    || !sql::unlogged(&mut desk.connection, 1).await.unwrap().is_empty();
                let size = desk.log.tiles().size();
                drop(desk);
                if !waits && self.office.shared.cosigned.borrow().size == size {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.expect("the office does not come to rest");
    }

    /// The seal says hello and hears what it is told.
    async fn contact(&mut self, device: &mut Device) {
        self.settled().await;
        self.said.lock().unwrap().clear();
        let hello = device.hello();
        self.send(&hello).await;
        self.settled().await;
        for _ in 0..400 {
            let said = std::mem::take(&mut *self.said.lock().unwrap());
            said.iter().for_each(|bytes| device.hear(bytes));
            if device.asked.is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn timeline(&self) -> TimelineView {
        self.settled().await;
        self.office.timeline(SEAL, &Before::default()).await.unwrap()
    }

    async fn words(&self) -> Vec<String> {
        self.timeline().await.findings.into_iter().map(|finding| finding.word).collect()
    }

    /// Goes through the log as a stranger.
    fn audit(&self) -> Audit {
        let mut audit = Audit::new(self.office.roots(SEAL));
        let tiles = self.office.tiles();
        (0..tiles.size()).for_each(|index| audit.take(&tiles.leaf(index).unwrap()));
        audit
    }
}

impl Drop for Village {
    fn drop(&mut self) {
        self.witness.abort();
        if let Some(task) = self.task.take() {
            task.stop();
        }
    }
}

fn signed_rules(policy: &Policy, signers: &[u8]) -> Vec<u8> {
    let keys: Vec<MemoryKey> = signers.iter().map(|&number| key(number)).collect();
    let keys: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
    Envelope::sign(Kind::Policy, &policy.to_bytes(), &keys).unwrap().to_bytes()
}

async fn open(settings: &Settings) -> (Office, OfficeTask, Arc<StdMutex<Vec<Vec<u8>>>>, Arc<Notify>) {
    let said = Arc::new(StdMutex::new(Vec::new()));
    let (way, mail) = (said.clone(), Arc::new(Notify::new()));
    let downlink: Downlink = Arc::new(move |_, bytes| {
        way.lock().unwrap().push(bytes);
        true
    });
    let (office, task) =
        Office::start(settings.clone(), mail.clone(), downlink, Arc::new(Feed::new(1))).await.unwrap();
    (office, task, said, mail)
}

/// The seal, as a gateway drives it.
struct Device {
    key: u8,
    roots: Roots,
    trust: Option<Trust>,
    memory: Memory,
    counter: u64,
    held: Vec<(Id, Vec<u8>)>,
    asked: Option<Id>,
    answered: Option<Id>,
    is_heard: bool,
    hellos: u8,
}

impl Device {
    fn new(roots: Roots) -> Self {
        Self {
            key: DEVICE,
            roots,
            trust: None,
            memory: Memory::default(),
            counter: 0,
            held: Vec::new(),
            asked: None,
            answered: None,
            is_heard: false,
            hellos: 0,
        }
    }

    fn hello(&mut self) -> Vec<u8> {
        self.hellos += 1;
        let nonce = Id::from([self.hellos; 16]);
        self.asked = Some(nonce);
        let hello = Hello {
            version: VERSION,
            seal: SEAL.into(),
            nonce,
            boot: [1; 16].into(),
            at_s: seconds(now_ms()),
            time: TimeQuality::Synced,
            receipts: self.memory.receipts,
            last_receipt: self.memory.last_receipt,
            epoch: self.memory.epoch,
            policy: self.trust.as_ref().map_or(0, |trust| trust.policy),
            counter: self.counter,
            remembered: self.memory.counter,
            tampered: self.memory.tampered,
            is_locked: self.memory.is_locked,
            held: self
                .held
                .iter()
                .map(|(id, _)| *id)
                .chain(self.trust.iter().flat_map(|trust| &trust.deputed).map(|one| one.delegation().id))
                .collect(),
            answered: self.answered,
            duress: self.memory.duress,
        };
        Envelope::sign(Kind::Hello, &hello.to_bytes(), &[&key(self.key)]).unwrap().to_bytes()
    }

    fn hear(&mut self, bytes: &[u8]) {
        match Said::of(bytes).expect("something that a seal listens to") {
            Said::Ask => {}
            Said::Policy(bytes) => {
                let log = self.trust.as_ref().map_or(&self.roots.log, |trust| &trust.log);
                self.trust = Some(Policy::open(bytes, &self.roots, log).unwrap().trust());
            }
            Said::Answer(bytes) => {
                let asked = self.asked.map(|nonce| (nonce, 1));
                if let Ok(answer) = Answer::open(bytes, self.trust.as_ref().unwrap(), asked.as_ref()) {
                    self.memory.add(&Entry::Contact(answer.contact));
                    self.answered = self.asked.take();
                    self.is_heard = true;
                }
            }
            Said::Delegation(bytes) => {
                let trust = self.trust.as_mut().unwrap();
                trust.deputed.push(Deputed::open(bytes, trust).unwrap());
            }
            Said::Grant(bytes) => {
                let grant = Presented::read(bytes).unwrap().grant;
                let id = Grant::read(Envelope::read(Kind::Grant, grant).unwrap().payload).unwrap().id;
                self.held.push((id, bytes.into()));
            }
        }
    }

    fn scene() -> Scene {
        let person = Person { name: "bookkeeper".into(), method: Method::Pin, is_duress: false };
        Scene { at_s: seconds(now_ms()), time: TimeQuality::Synced, position: None, person: Some(person) }
    }

    /// Uses a grant that it holds; the receipt, and why not.
    fn stamp(&mut self, grant: &Id) -> (Vec<u8>, Option<Refusal>) {
        let bytes = self.held.iter().find(|(id, _)| id == grant).expect("it has the grant").1.clone();
        self.present(&bytes)
    }

    fn present(&mut self, bytes: &[u8]) -> (Vec<u8>, Option<Refusal>) {
        let moment = Moment {
            scene: Self::scene(),
            alone_s: self.is_heard.then_some(1),
            asked: None,
            counter: self.counter,
        };
        match decide(self.trust.as_ref().unwrap(), &self.memory, bytes, &moment) {
            Ok(leave) => {
                self.counter += 1;
                let (used, scene) = (leave.used, leave.scene);
                self.memory.add(&Entry::Consumed {
                    used,
                    expires_s: leave.expires_s,
                    scene: scene.clone(),
                    before: None,
                    counter: self.counter,
                });
                let after = Some(digest(&[b"the impression", &[used.number as u8]]));
                self.memory.add(&Entry::Done { outcome: Outcome::Stamped, presses: 1, after });
                (self.receipt(Some(used), scene, Outcome::Stamped, None, after), None)
            }
            Err(refused) => {
                let used = refused.grant.map(|grant| UseOf {
                    grant: grant.id,
                    digest: digest(&[&grant.to_bytes()]),
                    sequence: grant.sequence,
                    number: 0,
                    of: grant.max_uses,
                });
                (
                    self.receipt(used, moment.scene, Outcome::Refused, Some(refused.why), None),
                    Some(refused.why),
                )
            }
        }
    }

    fn receipt(
        &mut self,
        used: Option<UseOf>,
        scene: Scene,
        outcome: Outcome,
        refusal: Option<Refusal>,
        after: Option<Digest>,
    ) -> Vec<u8> {
        let receipt = Receipt {
            version: seal::receipt::VERSION,
            seal: SEAL.into(),
            number: self.memory.receipts + 1,
            previous: self.memory.last_receipt,
            counter: self.counter,
            boot: [1; 16].into(),
            scene,
            policy: 1,
            epoch: self.memory.epoch,
            used,
            outcome,
            refusal,
            presses: u8::from(outcome == Outcome::Stamped),
            before: None,
            after,
            is_test: false,
            tampered: self.memory.tampered,
        };
        let bytes = Envelope::sign(Kind::Receipt, &receipt.to_bytes(), &[&key(self.key)]).unwrap().to_bytes();
        let settles = outcome != Outcome::Refused;
        self.memory.add(&Entry::Receipt { number: receipt.number, digest: digest(&[&bytes]), settles });
        bytes
    }
}

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
async fn a_deputy_approves_until_the_delegation_is_withdrawn() {
    for (mut village, mut seal) in Village::each().await {
        let hour_s = seconds(now_ms()) + 3600;
        for (to, number, until_s, why) in [
            ("teacher", TEACHER, hour_s, "signed by the deputy"),
            ("secretary", SECRETARY, hour_s, "to themselves"),
            ("stranger", SECRETARY, hour_s, "to whom the rules do not name"),
            ("teacher", SECRETARY, seconds(now_ms()), "over already"),
            ("teacher", SECRETARY, hour_s + 31 * 86_400, "for too long"),
        ] {
            let given = village.depute(to, number, until_s).await;
            assert!(matches!(given, Err(OfficeError::No(_))), "{why}");
        }
        let early = village.apply().await;
        let nobody = village.approve(&early, "teacher", TEACHER).await;
        assert!(matches!(nobody, Err(OfficeError::No(_))), "nobody's deputy");
        let delegation = village.depute("teacher", SECRETARY, hour_s).await.unwrap();
        assert!(!village.approve(&early, "teacher", TEACHER).await.unwrap(), "one of two");
        assert!(village.approve(&early, "clerk", CLERK).await.unwrap());
        let approvals = village.office.case(&early).await.unwrap().approvals;
        let shown: Vec<_> = approvals.iter().map(|one| (&*one.person, one.in_place_of.as_deref())).collect();
        assert_eq!(shown, [("teacher", Some("secretary")), ("clerk", None)]);
        village.contact(&mut seal).await;
        let (receipt, no) = seal.stamp(&early);
        assert_eq!(no, None);
        village.send(&receipt).await;
        village.settled().await;
        let found = village.office.impressions(&digest(&[&receipt])).await.unwrap();
        assert!(
            found[0].is_covered,
            "{:?}",
            found[0].bundle.check(&digest(&[&receipt]), &village.office.roots(SEAL))
        );
        let mut alone = found[0].bundle.clone();
        alone.delegations.clear();
        assert!(
            !alone.check(&digest(&[&receipt]), &village.office.roots(SEAL)).holds(),
            "it is counted by that"
        );
        assert_eq!(village.audit().remarks, []);

        // Who comes back and signs themself is one, however many stand for them.
        let again = village.apply().await;
        assert!(!village.approve(&again, "teacher", TEACHER).await.unwrap());
        assert!(!village.approve(&again, "secretary", SECRETARY).await.unwrap(), "the same one of two");
        assert!(village.approve(&again, "clerk", CLERK).await.unwrap());
        let late = village.apply().await;
        assert!(!village.approve(&late, "secretary", SECRETARY).await.unwrap());
        let useless = village.approve(&late, "teacher", TEACHER).await;
        assert!(matches!(useless, Err(OfficeError::No(_))), "the secretary is there");

        village.office.withdraw(&delegation, "secretary", "back at work", now_ms()).await.unwrap();
        let twice = village.office.withdraw(&delegation, "secretary", "back at work", now_ms()).await;
        assert!(matches!(twice, Err(OfficeError::No(_))));
        // It has not heard yet: what the lease allows, and it is told.
        let (late, no) = seal.stamp(&early);
        assert_eq!(no, None);
        village.send(&late).await;
        village.contact(&mut seal).await;
        let third = village.apply().await;
        let nobody = village.approve(&third, "teacher", TEACHER).await;
        assert!(matches!(nobody, Err(OfficeError::No(_))), "nobody's deputy any more");
        assert_eq!(village.words().await, ["after_revocation"]);
        let remarks = village.audit().remarks;
        assert!(
            remarks.len() == 1 && remarks[0].en.contains("after the grant was taken back"),
            "{remarks:?}"
        );
        let found = village.office.impressions(&digest(&[&late])).await.unwrap();
        assert!(!found[0].is_covered);
        let (_, no) = seal.stamp(&again);
        assert_eq!(no, None, "the two who may have signed it");
        let views = village.office.delegations(Some(SEAL), &[], "teacher").await.unwrap();
        assert!(
            views.len() == 1 && views[0].withdrawn_by.as_deref() == Some("secretary") && views[0].is_logged
        );

        // The issuer says it again with a later time: the first one counts.
        village.settled().await;
        let deed = Deed::Revoked { seal: SEAL.into(), grant: delegation, expires_s: hour_s, epoch: 9 };
        let second = village.office.notice(SEAL, "insider", deed, now_ms() + 3_000_000).unwrap();
        let (mut audit, tiles) = (Audit::new(village.office.roots(SEAL)), village.office.tiles());
        for leaf in (0..tiles.size()).map(|index| tiles.leaf(index).unwrap()) {
            if leaf == late {
                audit.take(&second.body);
            }
            audit.take(&leaf);
        }
        let found: Vec<&str> = audit.remarks.iter().map(|remark| &*remark.en).collect();
        assert!(
            found.len() == 2 && found[0].contains("taken back twice") && found[1].contains("after the grant"),
            "{found:?}"
        );

        // A seal remembers what was withdrawn, so that nobody may withdraw without end.
        for n in 1..9 {
            match village.depute("teacher", SECRETARY, hour_s).await {
                Ok(id) => village.office.withdraw(&id, "secretary", "again", now_ms()).await.unwrap(),
                Err(error) => assert!(n == 8 && matches!(error, OfficeError::No(_)), "{n}: {error}"),
            }
        }
        assert_eq!(village.office.delegations(Some(SEAL), &[], "teacher").await.unwrap().len(), 8);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_deputy_has_approved_is_over_with_their_time() {
    for (mut village, mut seal) in Village::each().await {
        let soon_s = seconds(now_ms()) + 6;
        let delegation = village.depute("teacher", SECRETARY, soon_s).await.unwrap();
        let grant = village.apply().await;
        assert!(!village.approve(&grant, "clerk", CLERK).await.unwrap());
        assert!(village.approve(&grant, "teacher", TEACHER).await.unwrap());
        // A second one is approved by the deputy first, and too late by the clerk.
        let open = village.apply().await;
        assert!(!village.approve(&open, "teacher", TEACHER).await.unwrap());
        village.contact(&mut seal).await;
        while seconds(now_ms()) < soon_s {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (receipt, no) = seal.stamp(&grant);
        assert_eq!(no, Some(Refusal::Deputy));
        village.send(&receipt).await;
        assert!(!village.approve(&open, "clerk", CLERK).await.unwrap(), "the deputy counts no more");
        assert!(village.approve(&open, "secretary", SECRETARY).await.unwrap());
        let over = village.office.withdraw(&delegation, "secretary", "over", now_ms()).await;
        assert!(matches!(over, Err(OfficeError::No(_))));
        // A device that stamps all the same is found out by anybody.
        seal.trust.as_mut().unwrap().rules[0].needed = 1;
        let (forbidden, no) = seal.stamp(&grant);
        assert_eq!(no, None);
        village.send(&forbidden).await;
        assert_eq!(village.words().await, ["deputy"]);
        let remarks = village.audit().remarks;
        assert!(remarks.len() == 1 && remarks[0].en.contains("deputy"), "{remarks:?}");
        let found = village.office.impressions(&digest(&[&forbidden])).await.unwrap();
        assert!(!found[0].is_covered);
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
