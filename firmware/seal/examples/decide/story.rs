//! A village with its authority: what its seal believes, and what is presented to it.

use minicbor::bytes::ByteArray;
use seal::decision::Moment;
use seal::delegation::{Delegation, Deputed};
use seal::envelope::{Envelope, Kind};
use seal::grant::{Evidence, Fence, Grant, HashAlgorithm, Presented};
use seal::keys::{Algorithm, Digest, MemoryKey, PublicKey, Signer, digest};
use seal::memory::Contact;
use seal::note::{self, Checkpoint};
use seal::policy::{Matter, Named, Policy};
use seal::proof::Proof;
use seal::receipt::{Method, Person, Position, Scene, TimeQuality};
use seal::talk::Answer;
use seal::tree;
use seal::trust::{Lease, Trust};
use wire::Datum;

/// Noon of a day in 2026, in seconds since 1970.
const NOON_S: u64 = 1_790_000_000;
/// Leaves of the log: a province's grants of some years.
const LEAVES: u64 = 100_000_000;
/// Secrets of keys, each for one body. There are more approvers than most matters need.
pub(crate) const ISSUERS: [u8; 2] = [1, 2];
pub(crate) const APPROVERS: std::ops::Range<u8> = 10..34;
const LOG: u8 = 50;
const WITNESSES: [u8; 3] = [60, 61, 62];
const ROOTS: [u8; 3] = [70, 71, 72];

/// The key with this secret: of SM2 where that is built in, unless it signs notes.
pub(crate) fn key(secret: u8) -> MemoryKey {
    let is_sm2 = Algorithm::Sm2.is_built_in() && secret != LOG && !WITNESSES.contains(&secret);
    let algorithm = if is_sm2 { Algorithm::Sm2 } else { Algorithm::Ed25519 };
    MemoryKey::new(algorithm, &[secret; 32]).expect("it is built in")
}

fn public(secret: u8) -> PublicKey {
    key(secret).public()
}

/// What lies at one seal.
#[derive(Clone)]
pub(crate) struct Village {
    pub(crate) policy: Policy,
    pub(crate) grant: Grant,
    /// Who signs the grant.
    pub(crate) signers: Vec<u8>,
    /// How many witnesses cosign.
    pub(crate) cosigners: usize,
    /// Who stands for whom, as positions in the policy.
    pub(crate) deputies: Vec<(usize, usize)>,
}

impl Village {
    /// Two of three approve a certificate, and two of three witnesses have to see it.
    pub(crate) fn usual() -> Self {
        let names = ["公里村党支部书记", "红砂镇党政办主任", "锦江区民政局"];
        let witnesses = ["witness.notary.example", "witness.county.example", "witness.university.example"];
        let named = |name: &str, secret| Named { name: name.into(), key: public(secret) };
        let evidence = Evidence { before: true, after: true, person: true };
        let id = |number: u8| ByteArray::from([number; 16]);
        Self {
            policy: Policy {
                version: seal::policy::VERSION,
                seal: "锦江区-公里村-07".into(),
                number: 3,
                is_test: false,
                issuers: ISSUERS.map(public).into(),
                log: named("seals.chengdu.example/log", LOG),
                witnesses: witnesses.into_iter().zip(WITNESSES).map(|(name, key)| named(name, key)).collect(),
                witnesses_needed: 2,
                approvers: names.into_iter().zip(APPROVERS).map(|(name, key)| named(name, key)).collect(),
                matters: vec![Matter {
                    matter: "农村集体土地承包证明".into(),
                    approvers: vec![0, 1, 2],
                    needed: 2,
                    evidence,
                    most_uses: 10,
                    may_be_delegated: false,
                }],
                lease: Lease { most_s: 86_400, most_stamps: 20, answer_s: 600 },
            },
            grant: Grant {
                version: seal::grant::VERSION,
                id: id(1),
                seal: "锦江区-公里村-07".into(),
                sequence: 4_711,
                matter: "农村集体土地承包证明".into(),
                applicant: "申请人-王秀英-4711".into(),
                document: digest(&[b"a certificate"]),
                pages: 3,
                max_uses: 2,
                not_before_s: NOON_S,
                expires_s: NOON_S + 6 * 3600,
                fence: Some(Fence {
                    datum: Datum::Cgcs2000,
                    lat_e7: 305_728_000,
                    lon_e7: 1_040_668_000,
                    radius_m: 300,
                }),
                evidence,
                min_epoch: 0,
                nonce: Some(id(2)),
                policy: 3,
                is_test: false,
                operators: vec!["经办人-李建国-4712".into(), "经办人-张敏-4713".into()],
                hash: HashAlgorithm::Sha256,
            },
            signers: vec![ISSUERS[0], APPROVERS.start, APPROVERS.start + 2],
            cosigners: 2,
            deputies: Vec::new(),
        }
    }

    /// As much as a grant can hold: every text at its longest, eight signatures, every witness.
    pub(crate) fn largest() -> Self {
        let long = |number: usize| format!("{number:04}{}", "章".repeat(20));
        let mut village = Self::busy();
        let Village { policy, grant, signers, cosigners, .. } = &mut village;
        (policy.seal, grant.seal) = (long(0), long(0));
        (policy.matters[0].matter, grant.matter) = (long(1), long(1));
        policy.matters[0].needed = 7;
        policy.matters[0].most_uses = 200;
        grant.max_uses = 200;
        grant.applicant = long(2);
        grant.operators = (3..11).map(long).collect();
        *signers = [ISSUERS[0]].into_iter().chain(APPROVERS.take(7)).collect();
        *cosigners = WITNESSES.len();
        policy.log.name = format!("{}.example/log", "l".repeat(52));
        for (number, witness) in policy.witnesses.iter_mut().enumerate() {
            witness.name = format!("{number}{}.example", "w".repeat(55));
        }
        village
    }

    /// The same, approved by seven deputies of seven people, who have to be found among as many delegations as a seal holds.
    pub(crate) fn deputed() -> Self {
        let mut village = Self::largest();
        let matter = &mut village.policy.matters[0];
        (matter.approvers, matter.may_be_delegated) = ((0..7).collect(), true);
        village.signers = [ISSUERS[0]].into_iter().chain(APPROVERS.skip(7).take(7)).collect();
        village.deputies = (0..7).map(|at| (at, at + 7)).collect();
        village.deputies.insert(0, (6, 7));
        village
    }

    /// What the seal believes.
    pub(crate) fn trust(&self) -> Trust {
        let mut trust = self.policy.trust();
        let deputed = (0..).zip(&self.deputies).map(|(index, &(from, to))| {
            let name = |at: usize| self.policy.approvers[at].name.clone();
            let delegation = Delegation {
                version: seal::delegation::VERSION,
                id: ByteArray::from([200 + index as u8; 16]),
                seal: self.policy.seal.clone(),
                from: name(from),
                to: name(to),
                matters: vec![self.grant.matter.clone()],
                from_s: NOON_S,
                until_s: NOON_S + 86_400,
            };
            let key = APPROVERS.start + from as u8;
            let leaf = signed(Kind::Delegation, &delegation.to_bytes(), &[key]);
            Deputed::of_leaf(&leaf, index, &trust).expect("it is in order")
        });
        trust.deputed = deputed.collect();
        trust
    }

    /// The matter may be approved by as many as a policy can name.
    pub(crate) fn busy() -> Self {
        let mut village = Self::usual();
        let all = APPROVERS.enumerate();
        village.policy.approvers =
            all.map(|(at, key)| Named { name: format!("审批人{at}"), key: public(key) }).collect();
        village.policy.matters[0].approvers = (0..APPROVERS.len() as u8).collect();
        village
    }

    /// The signed grant.
    pub(crate) fn envelope(&self) -> Vec<u8> {
        signed(Kind::Grant, &self.grant.to_bytes(), &self.signers)
    }

    /// The grant as the seal gets it.
    pub(crate) fn presented(&self) -> Vec<u8> {
        let envelope = self.envelope();
        presented(&envelope, &self.proof(&envelope))
    }

    /// The rules as the seal gets them.
    pub(crate) fn presented_policy(&self) -> Vec<u8> {
        let envelope = signed(Kind::Policy, &self.policy.to_bytes(), &ROOTS[..2]);
        presented(&envelope, &self.proof(&envelope))
    }

    /// What a device is commissioned with, as `benches/seal/lock` reads it: its seal, the roots, how many of them have to
    /// sign, the log, its witnesses, how many of these.
    pub(crate) fn commissioned(&self) -> Vec<u8> {
        let Policy { seal, log, witnesses, witnesses_needed, .. } = &self.policy;
        let all = (seal, ROOTS.map(public), 2_u8, log, witnesses, witnesses_needed);
        minicbor::to_vec(all).expect("memory takes what is written")
    }

    /// The scene of [`Village::moment`], and the question that was asked.
    pub(crate) fn told_moment(&self) -> Vec<u8> {
        let moment = self.moment();
        minicbor::to_vec((moment.scene, moment.asked)).expect("memory takes what is written")
    }

    /// What the authority says to that question: a hundred grants were revoked.
    pub(crate) fn answer(&self) -> Vec<u8> {
        let revoked =
            (0..100).map(|number: u8| (ByteArray::from([100 + number; 16]), NOON_S + 86_400)).collect();
        let contact = Contact {
            since: 0,
            epoch: 100,
            revoked,
            lock: false,
            cleared: 0,
            min_sequence: 4_000,
            counter: 0,
            at_s: NOON_S + 3540,
            receipts: 0,
            last_receipt: [0; 32].into(),
            tampered: 0,
            policy: 0,
        };
        let answer = Answer {
            version: seal::talk::VERSION,
            seal: self.policy.seal.clone(),
            nonce: self.grant.nonce.expect("it answers a question"),
            contact,
        };
        signed(Kind::Answer, &answer.to_bytes(), &ISSUERS[..1])
    }

    /// The proof that this is a leaf, in the midst of the log.
    pub(crate) fn proof(&self, leaf: &[u8]) -> String {
        let index = 61_803_398;
        // The other leaves need not be there: any path leads to some root.
        let mut random = fastrand::Rng::with_seed(5);
        let hashes = LEAVES.next_power_of_two().ilog2();
        let path: Vec<Digest> = (0..hashes).map(|_| digest(&[&random.u64(..).to_be_bytes()])).collect();
        let root = tree::root_of_inclusion(tree::leaf(leaf), index, LEAVES, &path)
            .expect("the path is as long as it has to be");
        let checkpoint = Checkpoint { origin: self.policy.log.name.clone(), size: LEAVES, root };
        let mut note = note::signed(&checkpoint, &key(LOG)).expect("a key in memory signs");
        for (witness, secret) in self.policy.witnesses.iter().zip(WITNESSES).take(self.cosigners) {
            note += &note::cosignature(&checkpoint.text(), &witness.name, &key(secret), NOON_S)
                .expect("a key in memory signs");
        }
        Proof { index, path, checkpoint: &note }.text()
    }

    /// The applicant at the seal, an hour after noon.
    pub(crate) fn moment(&self) -> Moment {
        let person = Person { name: self.grant.applicant.clone(), method: Method::Card, is_duress: false };
        let position =
            Position { datum: Datum::Wgs84, lat_e7: 305_730_000, lon_e7: 1_040_669_000, accuracy_m: 20 };
        let (at_s, time) = (NOON_S + 3600, TimeQuality::Synced);
        Moment {
            scene: Scene { at_s, time, position: Some(position), person: Some(person) },
            alone_s: Some(3600),
            asked: self.grant.nonce.map(|nonce| (nonce, 60)),
            counter: 0,
        }
    }
}

/// A payload signed by these.
pub(crate) fn signed(kind: Kind, payload: &[u8], signers: &[u8]) -> Vec<u8> {
    let keys: Vec<MemoryKey> = signers.iter().map(|&secret| key(secret)).collect();
    let keys: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
    Envelope::sign(kind, payload, &keys).expect("keys in memory sign").to_bytes()
}

/// A grant, or rules, with a proof.
pub(crate) fn presented(envelope: &[u8], proof: &str) -> Vec<u8> {
    Presented { grant: envelope, proof: proof.as_bytes() }.to_bytes()
}

/// What somebody makes who has held a real grant and wants to keep the seal busy: as many signatures as an envelope may
/// have, of which those that were added are of another grant, and the log's own as often as a note may have it.
pub(crate) fn adversary(village: &Village) -> Vec<u8> {
    let (mut held, mut other) = (village.clone(), village.clone());
    // The issuer that is asked last has signed: the other one is asked in vain.
    held.signers[0] = ISSUERS[1];
    let good = held.envelope();
    other.grant.sequence += 1;
    other.signers = [ISSUERS[0]].into_iter().chain(APPROVERS.skip(10).take(5)).collect();
    let stolen = other.envelope();
    let mut envelope = Envelope::read(Kind::Grant, &good).expect("it was written here");
    envelope.signatures.extend(Envelope::read(Kind::Grant, &stolen).expect("it was written here").signatures);
    envelope.signatures.truncate(seal::envelope::MAX_SIGNATURES);
    let envelope = envelope.to_bytes();
    let proof = village.proof(&good);
    let Proof { index, checkpoint, .. } = Proof::parse(proof.as_bytes()).expect("it was written here");
    // The path of a changed grant leads nowhere, and witnesses are not reached: without both there is room for more lines.
    let (before, lines) = checkpoint.split_once("\n\n").expect("a note is signed");
    let line = lines.lines().next().expect("the log has signed");
    let checkpoint = format!("{before}\n\n{}", format!("{line}\n").repeat(note::MAX_SIGNATURES));
    presented(&envelope, &Proof { index, path: Vec::new(), checkpoint: &checkpoint }.text())
}
