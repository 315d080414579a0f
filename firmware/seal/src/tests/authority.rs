//! An authority as the tests need it: an issuer, three approvers, a log, two witnesses.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::decision::Moment;
use crate::envelope::{Envelope, Kind};
use crate::grant::{Evidence, Grant, HashAlgorithm, Id, Presented, VERSION};
use crate::keys::{Algorithm, MemoryKey, Signer};
use crate::memory::Memory;
use crate::note::{self, Checkpoint, NoteKey};
use crate::proof::{LogTrust, Proof};
use crate::receipt::{Method, Person, Scene, TimeQuality};
use crate::tree;
use crate::tree::tests::{leaves, path, root};
use crate::trust::{Approver, Lease, Rule, Trust};

/// Noon of a day in 2026.
pub(super) const NOON_S: u64 = 1_790_000_000;

pub(super) const ISSUER: u8 = 1;
pub(super) const APPROVERS: [u8; 3] = [2, 3, 4];
const LOG: u8 = 5;
const WITNESSES: [u8; 2] = [6, 7];

/// By which everybody signs here who signs no notes: this file is read twice.
pub(super) fn algorithm() -> Algorithm {
    if module_path!().contains("by_sm2") { Algorithm::Sm2 } else { Algorithm::Ed25519 }
}

/// By which documents are digested.
pub(super) fn hash() -> HashAlgorithm {
    match algorithm() {
        Algorithm::Ed25519 => HashAlgorithm::Sha256,
        Algorithm::Sm2 => HashAlgorithm::Sm3,
    }
}

pub(super) fn key(number: u8) -> MemoryKey {
    MemoryKey::new(algorithm(), &[number; 32]).unwrap()
}

/// The key of a log or of a witness.
pub(super) fn log_key(number: u8) -> MemoryKey {
    MemoryKey::from_secret(&[number; 32])
}

pub(super) fn id(number: u8) -> Id {
    [number; 16].into()
}

fn note_key(name: &str, number: u8) -> NoteKey {
    NoteKey { name: name.into(), key: log_key(number).public() }
}

/// What the village's seal believes: two of three approve a certificate.
pub(super) fn trust() -> Trust {
    let people = ["the secretary", "the town's clerk", "the county's clerk"];
    let approver =
        |(person, number): (&str, u8)| Approver { person: person.into(), key: key(number).public() };
    let approvers = people.into_iter().zip(APPROVERS).map(approver).collect();
    let evidence = Evidence { before: false, after: true, person: true };
    Trust {
        seal: "gongli-07".into(),
        is_test: false,
        issuers: vec![key(ISSUER).public()],
        log: LogTrust {
            log: note_key("seals.example/log", LOG),
            witnesses: vec![
                note_key("notary.example", WITNESSES[0]),
                note_key("county.example", WITNESSES[1]),
            ],
            needed: 1,
        },
        policy: 3,
        approvers,
        rules: vec![Rule {
            matter: "certificate".into(),
            approvers: vec![0, 1, 2],
            needed: 2,
            evidence,
            most_uses: 10,
            may_be_delegated: false,
        }],
        lease: Lease { most_s: 86_400, most_stamps: 20, answer_s: 600 },
        deputed: Vec::new(),
    }
}

/// A grant for two stamps this afternoon.
pub(super) fn grant(sequence: u64) -> Grant {
    Grant {
        version: VERSION,
        id: id(sequence as u8),
        seal: "gongli-07".into(),
        sequence,
        matter: "certificate".into(),
        applicant: "p-4711".into(),
        document: hash().digest(b"a certificate of residence").unwrap(),
        pages: 1,
        max_uses: 2,
        not_before_s: NOON_S,
        expires_s: NOON_S + 6 * 3600,
        fence: None,
        evidence: Evidence { before: true, after: true, person: true },
        min_epoch: 0,
        nonce: None,
        policy: 3,
        is_test: false,
        operators: vec!["p-4712".into()],
        hash: hash(),
    }
}

pub(super) fn signed(grant: &Grant, signers: &[u8]) -> Vec<u8> {
    let keys: Vec<MemoryKey> = signers.iter().map(|&number| key(number)).collect();
    let keys: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
    Envelope::sign(Kind::Grant, &grant.to_bytes(), &keys).unwrap().to_bytes()
}

/// The proof that an envelope is the 12th of 21 leaves of a log, which these keys sign and witness.
pub(super) fn proven(envelope: &[u8], log: u8, witnesses: &[u8]) -> String {
    proven_at(11, envelope, log, witnesses)
}

/// The same of another leaf.
pub(super) fn proven_at(at: usize, envelope: &[u8], log: u8, witnesses: &[u8]) -> String {
    let mut leaves = leaves(21);
    leaves[at] = tree::leaf(envelope);
    let checkpoint = Checkpoint { origin: "seals.example/log".into(), size: 21, root: root(&leaves) };
    let mut signed = note::signed(&checkpoint, &log_key(log)).unwrap();
    for &witness in witnesses {
        let name = if witness == WITNESSES[0] { "notary.example" } else { "county.example" };
        signed += &note::cosignature(&checkpoint.text(), name, &log_key(witness), NOON_S).unwrap();
    }
    Proof { index: at as u64, path: path(at, &leaves), checkpoint: &signed }.text()
}

pub(super) fn presented(envelope: &[u8], proof: &str) -> Vec<u8> {
    Presented { grant: envelope, proof: proof.as_bytes() }.to_bytes()
}

/// A grant as it should be.
pub(super) fn in_order(grant: &Grant) -> Vec<u8> {
    by(grant, &[ISSUER, APPROVERS[0], APPROVERS[2]])
}

/// A grant signed by these, and logged.
pub(super) fn by(grant: &Grant, signers: &[u8]) -> Vec<u8> {
    let envelope = signed(grant, signers);
    presented(&envelope, &proven(&envelope, LOG, &WITNESSES[..1]))
}

/// The applicant at the seal, an hour after noon.
pub(super) fn scene() -> Scene {
    let person = Person { name: "p-4711".into(), method: Method::Card, is_duress: false };
    Scene { at_s: NOON_S + 3600, time: TimeQuality::Synced, position: None, person: Some(person) }
}

/// The same, an hour after the last contact.
pub(super) fn moment() -> Moment {
    Moment { scene: scene(), alone_s: Some(3600), asked: None, counter: 0 }
}

pub(super) fn memory() -> Memory {
    Memory::default()
}
