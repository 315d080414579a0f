//! A village's seal and its office, with a real log and a real witness on a socket. The device is played by the pure parts
//! of the crate `seal`, as a gateway drives them.

use std::sync::Mutex as StdMutex;
use std::time::Duration;

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

use super::super::acts::Enrolment;
use super::super::ask::{Before, TimelineView};
use super::super::audit::Audit;
use super::super::deputies::Absence;
use super::super::draft::Wish;
use super::super::*;
use crate::clock::now_ms;
use crate::http::serve_witness;
use crate::tlog::WitnessUrl;
use crate::witness::Witness;

pub(super) const SEAL: &str = "gongli-07";
/// How long something may take that takes some milliseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Of these the secretary, the device and a root, and the issuer, sign with SM2 where it is built in; the others do not.
pub(super) fn key(number: u8) -> MemoryKey {
    let is_sm2 = Algorithm::Sm2.is_built_in() && [SECRETARY, DEVICE, ROOTS[0]].contains(&number);
    MemoryKey::new(if is_sm2 { Algorithm::Sm2 } else { Algorithm::Ed25519 }, &[number; 32]).unwrap()
}

pub(super) const ROOTS: [u8; 2] = [41, 42];
pub(super) const SECRETARY: u8 = 2;
pub(super) const CLERK: u8 = 3;
pub(super) const TEACHER: u8 = 13;
pub(super) const DEVICE: u8 = 9;

/// An office in a folder, what it has sent down, and its witness.
pub(super) struct Village {
    _files: (tempfile::TempDir, database::testing::Fresh),
    pub(super) office: Office,
    pub(super) task: Option<OfficeTask>,
    pub(super) said: Arc<StdMutex<Vec<Vec<u8>>>>,
    pub(super) mail: Arc<Notify>,
    pub(super) sent: i64,
    pub(super) witness: JoinHandle<()>,
}

impl Village {
    /// A village on each database there is.
    pub(super) async fn each() -> Vec<(Self, Device)> {
        let mut all = Vec::new();
        for fresh in database::testing::each().await {
            all.push(Self::with_seal(fresh).await);
        }
        all
    }

    pub(super) async fn new(fresh: database::testing::Fresh) -> Self {
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

    pub(super) async fn with_seal(fresh: database::testing::Fresh) -> (Self, Device) {
        let village = Self::new(fresh).await;
        village.enrol(DEVICE).await;
        village.office.put_policy(village.rules(1, &ROOTS), now_ms()).await.unwrap();
        let device = Device::new(village.office.roots(SEAL));
        (village, device)
    }

    pub(super) async fn enrol(&self, device: u8) {
        self.enrol_as(SEAL, "370124/gongli", device).await;
    }

    pub(super) async fn enrol_as(&self, seal: &str, area: &str, device: u8) {
        let enrolment = Enrolment {
            seal: seal.into(),
            area: Area::new(area).unwrap(),
            gateway: GatewayId::new("gongli-07").unwrap(),
            key: key(device).public(),
        };
        self.office.enrol(enrolment, "installer", now_ms()).await.unwrap();
    }

    pub(super) fn policy(&self, number: u32) -> Policy {
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

    pub(super) fn rules(&self, number: u32, signers: &[u8]) -> Vec<u8> {
        signed_rules(&self.policy(number), signers)
    }

    pub(super) async fn apply(&self) -> Id {
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

    pub(super) async fn approve(&self, grant: &Id, person: &str, number: u8) -> Result<bool, OfficeError> {
        let key = key(number);
        let message = self.office.to_sign(grant, &key.public()).await?;
        let signature = key.sign(&message).unwrap();
        self.office.approve(grant, person, &key.public(), &signature, &[], now_ms()).await
    }

    pub(super) async fn granted(&self) -> Id {
        let grant = self.apply().await;
        assert!(!self.approve(&grant, "secretary", SECRETARY).await.unwrap());
        assert!(self.approve(&grant, "clerk", CLERK).await.unwrap());
        grant
    }

    /// The secretary is away until then, and somebody approves certificates; the id.
    pub(super) async fn depute(&self, to: &str, number: u8, until_s: u64) -> Result<Id, OfficeError> {
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
    pub(super) async fn send(&mut self, envelope: &[u8]) {
        self.send_at(envelope, now_ms()).await;
    }

    pub(super) async fn send_at(&mut self, envelope: &[u8], received_ms: i64) {
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
    pub(super) async fn send_part(
        &mut self,
        gateway: &str,
        name: &Digest,
        start: usize,
        total: usize,
        part: &[u8],
    ) {
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
    pub(super) async fn settled(&self) {
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
    pub(super) async fn contact(&mut self, device: &mut Device) {
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

    pub(super) async fn timeline(&self) -> TimelineView {
        self.settled().await;
        self.office.timeline(SEAL, &Before::default()).await.unwrap()
    }

    pub(super) async fn words(&self) -> Vec<String> {
        self.timeline().await.findings.into_iter().map(|finding| finding.word).collect()
    }

    /// Goes through the log as a stranger.
    pub(super) fn audit(&self) -> Audit {
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

pub(super) fn signed_rules(policy: &Policy, signers: &[u8]) -> Vec<u8> {
    let keys: Vec<MemoryKey> = signers.iter().map(|&number| key(number)).collect();
    let keys: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
    Envelope::sign(Kind::Policy, &policy.to_bytes(), &keys).unwrap().to_bytes()
}

pub(super) async fn open(
    settings: &Settings,
) -> (Office, OfficeTask, Arc<StdMutex<Vec<Vec<u8>>>>, Arc<Notify>) {
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
pub(super) struct Device {
    pub(super) key: u8,
    pub(super) roots: Roots,
    pub(super) trust: Option<Trust>,
    pub(super) memory: Memory,
    pub(super) counter: u64,
    pub(super) held: Vec<(Id, Vec<u8>)>,
    pub(super) asked: Option<Id>,
    pub(super) answered: Option<Id>,
    pub(super) is_heard: bool,
    pub(super) hellos: u8,
}

impl Device {
    pub(super) fn new(roots: Roots) -> Self {
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

    pub(super) fn hello(&mut self) -> Vec<u8> {
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

    pub(super) fn hear(&mut self, bytes: &[u8]) {
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

    pub(super) fn scene() -> Scene {
        let person = Person { name: "bookkeeper".into(), method: Method::Pin, is_duress: false };
        Scene { at_s: seconds(now_ms()), time: TimeQuality::Synced, position: None, person: Some(person) }
    }

    /// Uses a grant that it holds; the receipt, and why not.
    pub(super) fn stamp(&mut self, grant: &Id) -> (Vec<u8>, Option<Refusal>) {
        let bytes = self.held.iter().find(|(id, _)| id == grant).expect("it has the grant").1.clone();
        self.present(&bytes)
    }

    pub(super) fn present(&mut self, bytes: &[u8]) -> (Vec<u8>, Option<Refusal>) {
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

    pub(super) fn receipt(
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
