//! An authority as the tests need it: roots, an issuer, two approvers and a deputy, a log of two leaves at a time, a witness.

use ::seal::delegation::{self, Delegation};
use ::seal::envelope::{Envelope, Kind};
use ::seal::grant::{Evidence, Grant, HashAlgorithm, Id, Presented, VERSION};
use ::seal::keys::{MemoryKey, PublicKey, Signer, digest};
use ::seal::memory::Contact;
use ::seal::note::{self, Checkpoint, NoteKey};
use ::seal::policy::{self, Matter, Named, Policy, Roots};
use ::seal::proof::{LogTrust, Proof};
use ::seal::receipt::Receipt;
use ::seal::talk::{self, Answer, Hello};
use ::seal::tree;
use ::seal::trust::Lease;

pub(crate) const SEAL: &str = "gongli-07";
const LOG: &str = "seals.example/log";
const WITNESS: &str = "notary.example";
const ROOT: u8 = 1;
const OTHER_ROOT: u8 = 2;
const ISSUER: u8 = 3;
const LOG_KEY: u8 = 4;
const WITNESS_KEY: u8 = 5;
const SECRETARY: u8 = 6;
const CLERK: u8 = 7;
const TEACHER: u8 = 8;

/// What it has said so far.
pub(crate) struct Authority {
    pub(crate) device: PublicKey,
    pub(crate) now_s: u64,
    pub(crate) lease: Lease,
    pub(crate) contact: Contact,
    pub(crate) policy: u32,
    pub(crate) grants: Vec<(Id, Vec<u8>)>,
    pub(crate) delegations: Vec<(Id, Vec<u8>)>,
}

pub(crate) fn key(number: u8) -> MemoryKey {
    MemoryKey::from_secret(&[number; 32])
}

pub(crate) fn id(number: u8) -> Id {
    [number; 16].into()
}

fn note_key(name: &str, number: u8) -> NoteKey {
    NoteKey { name: name.into(), key: key(number).public() }
}

fn named(name: &str, number: u8) -> Named {
    Named { name: name.into(), key: key(number).public() }
}

/// Who decides about rules, as the device is given it.
pub(crate) fn roots() -> Roots {
    let log =
        LogTrust { log: note_key(LOG, LOG_KEY), witnesses: vec![note_key(WITNESS, WITNESS_KEY)], needed: 1 };
    let keys = [ROOT, OTHER_ROOT].map(|number| key(number).public()).to_vec();
    Roots { seal: SEAL.into(), keys, needed: 2, log }
}

impl Authority {
    pub(crate) fn new(device: PublicKey, now_s: u64) -> Self {
        let contact = Contact {
            since: 0,
            epoch: 0,
            revoked: Vec::new(),
            lock: false,
            cleared: 0,
            min_sequence: 0,
            counter: 0,
            at_s: 0,
            receipts: 0,
            last_receipt: [0; 32].into(),
            tampered: 0,
            policy: 0,
        };
        let lease = Lease { most_s: 86_400, most_stamps: 20, answer_s: 600 };
        Self { device, now_s, lease, contact, policy: 1, grants: Vec::new(), delegations: Vec::new() }
    }

    fn presented(&self, kind: Kind, payload: &[u8], signers: &[u8]) -> Vec<u8> {
        let keys: Vec<MemoryKey> = signers.iter().map(|&number| key(number)).collect();
        let keys: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
        let envelope = Envelope::sign(kind, payload, &keys).unwrap().to_bytes();
        // A delegation is the first leaf of its log, everything else the second.
        let (first, leaf) = (tree::leaf(b"the first"), tree::leaf(&envelope));
        let (index, path, root) = match kind {
            Kind::Delegation => (0, Vec::new(), leaf),
            _ => (1, vec![first], tree::node(&first, &leaf)),
        };
        let checkpoint = Checkpoint { origin: LOG.into(), size: index + 1, root };
        let mut signed = note::signed(&checkpoint, &key(LOG_KEY)).unwrap();
        signed += &note::cosignature(&checkpoint.text(), WITNESS, &key(WITNESS_KEY), self.now_s).unwrap();
        let proof = Proof { index, path, checkpoint: &signed }.text();
        Presented { grant: &envelope, proof: proof.as_bytes() }.to_bytes()
    }

    pub(crate) fn rules(&self) -> Vec<u8> {
        let policy = Policy {
            version: policy::VERSION,
            seal: SEAL.into(),
            number: self.policy,
            is_test: false,
            issuers: vec![key(ISSUER).public()],
            log: named(LOG, LOG_KEY),
            witnesses: vec![named(WITNESS, WITNESS_KEY)],
            witnesses_needed: 1,
            approvers: vec![
                named("the secretary", SECRETARY),
                named("the town's clerk", CLERK),
                named("the teacher", TEACHER),
            ],
            matters: vec![Matter {
                matter: "certificate".into(),
                approvers: vec![0, 1],
                needed: 2,
                evidence: Evidence::default(),
                most_uses: 10,
                may_be_delegated: true,
            }],
            lease: self.lease,
        };
        self.presented(Kind::Policy, &policy.to_bytes(), &[ROOT, OTHER_ROOT])
    }

    /// A grant for two stamps, approved by both.
    pub(crate) fn plain(&self, sequence: u16) -> Grant {
        Grant {
            version: VERSION,
            id: id(sequence as u8),
            seal: SEAL.into(),
            sequence: sequence.into(),
            matter: "certificate".into(),
            applicant: "p-4711".into(),
            document: digest(&[b"a certificate of residence"]),
            pages: 1,
            max_uses: 2,
            not_before_s: self.now_s - 60,
            expires_s: self.now_s + 6 * 3600,
            fence: None,
            evidence: Evidence::default(),
            min_epoch: 0,
            nonce: None,
            policy: self.policy,
            is_test: false,
            operators: Vec::new(),
            hash: HashAlgorithm::Sha256,
        }
    }

    pub(crate) fn issue(&mut self, grant: &Grant) -> Vec<u8> {
        let presented = self.presented(Kind::Grant, &grant.to_bytes(), &[ISSUER, SECRETARY, CLERK]);
        self.grants.push((grant.id, presented.clone()));
        presented
    }

    /// The secretary is away until then, and the teacher approves.
    pub(crate) fn depute(&mut self, number: u8, until_s: u64) -> Id {
        let delegation = Delegation {
            version: delegation::VERSION,
            id: id(number),
            seal: SEAL.into(),
            from: "the secretary".into(),
            to: "the teacher".into(),
            matters: vec!["certificate".into()],
            from_s: self.now_s,
            until_s,
        };
        let presented = self.presented(Kind::Delegation, &delegation.to_bytes(), &[SECRETARY]);
        self.delegations.push((delegation.id, presented));
        delegation.id
    }

    /// A grant that the clerk has approved, and the teacher for the secretary.
    pub(crate) fn issue_by_deputy(&mut self, grant: &Grant) {
        let presented = self.presented(Kind::Grant, &grant.to_bytes(), &[ISSUER, CLERK, TEACHER]);
        self.grants.push((grant.id, presented));
    }

    /// What is sent to a seal that says hello: rules if it has older ones, the answer, delegations and grants that it does
    /// not hold.
    pub(crate) fn answers(&mut self, hello: &Hello) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        if hello.policy < self.policy {
            said.push(self.rules());
        }
        if hello.remembered < hello.counter {
            // It has forgotten uses: whatever was granted before is over.
            self.contact.min_sequence = u64::from(u8::MAX);
            self.grants.clear();
        }
        let heard = (self.now_s, hello.counter, self.policy);
        let contact = Contact { at_s: heard.0, counter: heard.1, policy: heard.2, ..self.contact.clone() };
        let (version, seal) = (talk::VERSION, SEAL.into());
        let answer = Answer { version, seal, nonce: hello.nonce, contact };
        said.push(Envelope::sign(Kind::Answer, &answer.to_bytes(), &[&key(ISSUER)]).unwrap().to_bytes());
        let missing = self.delegations.iter().chain(&self.grants).filter(|(id, _)| !hello.held.contains(id));
        said.extend(missing.map(|(_, grant)| grant.clone()));
        said
    }

    /// Reads an envelope of the device: a hello, or a receipt with its digest.
    pub(crate) fn read(&mut self, envelope: &[u8]) -> Heard {
        if let Some(hello) = Hello::open(envelope, &self.device) {
            return Heard::Hello(hello);
        }
        let read = Envelope::read(Kind::Receipt, envelope).expect("a receipt or a hello");
        assert!(read.is_signed_by(&self.device), "the device has signed it");
        let receipt = Receipt::read(read.payload).expect("a receipt");
        assert_eq!(receipt.number, self.contact.receipts + 1, "no gaps, no twins");
        assert_eq!(receipt.previous, self.contact.last_receipt, "a chain");
        (self.contact.receipts, self.contact.last_receipt) = (receipt.number, digest(&[envelope]));
        Heard::Receipt(receipt)
    }
}

/// What a device has said.
#[derive(Debug)]
pub(crate) enum Heard {
    Hello(Hello),
    Receipt(Receipt),
}
