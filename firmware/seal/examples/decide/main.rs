//! How large a grant with its proof is, and how long a seal takes to decide about it:
//! `decide [--within-ms MOST] [--story FOLDER]`.
//!
//! With a bar, it fails when the median of a decision is above it; of what an adversary has made it is only told.
//! A folder is given what a lock needs to hear for a first stamp: `benches/seal/lock` runs it on a microcontroller.
//! Built with the feature `sm`, people and devices sign with SM2.
#![allow(clippy::print_stdout, reason = "it tells what it measured")]

mod story;

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use seal::decision::{Moment, decide};
use seal::grant::{MAX_PRESENTED, Presented};
use seal::memory::Memory;
use seal::refusal::Refusal;
use seal::trust::Trust;
use story::{APPROVERS, ISSUERS, Village, adversary, presented, signed};

/// Decisions of which the median is told.
const RUNS: usize = 101;

/// Something presented, and what is expected of it.
struct Case {
    name: &'static str,
    village: Village,
    presented: Vec<u8>,
    moment: Moment,
    expected: Option<Refusal>,
    is_hostile: bool,
}

impl Case {
    fn new(name: &'static str, village: Village, expected: Option<Refusal>) -> Self {
        let (presented, moment) = (village.presented(), village.moment());
        Self { name, village, presented, moment, expected, is_hostile: false }
    }

    fn decide(&self, trust: &Trust) -> Option<Refusal> {
        decide(trust, &Memory::default(), black_box(&self.presented), &self.moment)
            .err()
            .map(|refused| refused.why)
    }

    /// The median time of a decision.
    fn measured(&self) -> Duration {
        let trust = self.village.trust();
        assert_eq!(self.decide(&trust), self.expected, "{}", self.name);
        let mut times: Vec<Duration> = (0..RUNS)
            .map(|_| {
                let start = processor_time();
                black_box(self.decide(&trust));
                processor_time() - start
            })
            .collect();
        times.sort();
        times[RUNS / 2]
    }
}

/// Time for which this thread has run: that the machine had something else to do does not count.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// In the order in which a seal asks.
fn cases() -> Vec<Case> {
    let usual = Village::usual;
    let mut all = vec![
        Case::new("leave", usual(), None),
        Case::new("leave, the largest", Village::largest(), None),
        Case::new("leave, by seven deputies", Village::deputed(), None),
        Case::new("malformed", usual(), Some(Refusal::Malformed)),
        Case::new("issuer", usual(), Some(Refusal::Issuer)),
        Case::new("approvals", usual(), Some(Refusal::Approvals)),
        Case::new("proof", usual(), Some(Refusal::Proof)),
        Case::new("witnesses", Village { cosigners: 1, ..usual() }, Some(Refusal::Witnesses)),
        Case::new("expired", usual(), Some(Refusal::Expired)),
        Case::new("elsewhere", usual(), Some(Refusal::Elsewhere)),
        Case::new("person", usual(), Some(Refusal::Person)),
        Case::new("hostile: a stranger", usual(), Some(Refusal::Issuer)),
        Case::new("hostile: a held grant", Village::busy(), Some(Refusal::Proof)),
    ];
    for case in &mut all {
        let grant = case.village.grant.to_bytes();
        let by = |signers: &[u8]| {
            let envelope = signed(seal::envelope::Kind::Grant, &grant, signers);
            presented(&envelope, &case.village.proof(&envelope))
        };
        match case.name {
            "malformed" => case.presented.push(0),
            "issuer" => case.presented = by(&case.village.signers[1..]),
            "approvals" => case.presented = by(&case.village.signers[..2]),
            "proof" => case.presented = presented(&case.village.envelope(), &case.village.proof(b"another")),
            "expired" => case.moment.scene.at_s = case.village.grant.expires_s,
            "elsewhere" => case.moment.scene.position.as_mut().expect("it is somewhere").lat_e7 += 100_000,
            "person" => case.moment.scene.person = None,
            "hostile: a stranger" => {
                // Real signatures of everybody, of something else.
                let mut other = case.village.clone();
                other.grant.pages += 1;
                other.signers = ISSUERS.into_iter().chain(APPROVERS.take(6)).collect();
                let (real, payload) = (other.envelope(), other.grant.to_bytes());
                let at =
                    real.windows(payload.len()).position(|part| part == payload).expect("it is in there");
                let mut envelope = real;
                envelope[at..at + grant.len()].copy_from_slice(&grant);
                case.presented = presented(&envelope, &case.village.proof(&envelope));
                case.is_hostile = true;
            }
            "hostile: a held grant" => {
                case.presented = adversary(&case.village);
                case.is_hostile = true;
            }
            _ => {}
        }
    }
    all
}

fn main() -> ExitCode {
    let (mut within_ms, mut folder): (Option<f64>, Option<PathBuf>) = (None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--within-ms", Some(most)) if most.parse::<f64>().is_ok() => within_ms = most.parse().ok(),
            ("--story", Some(path)) => folder = Some(path.into()),
            _ => {
                println!("usage: decide [--within-ms MOST] [--story FOLDER]");
                return ExitCode::from(64);
            }
        }
    }
    if let Some(error) = folder.and_then(|folder| tell(&folder).err()) {
        println!("the story cannot be written: {error}");
        return ExitCode::FAILURE;
    }
    let mut is_slow = false;
    println!("{:<24} {:>6} {:>6} {:>6} {:>10}", "", "grant", "proof", "both B", "median ms");
    for case in cases() {
        let total = case.presented.len();
        let parts =
            Presented::read(&case.presented).map_or((0, 0), |both| (both.grant.len(), both.proof.len()));
        let median_ms = case.measured().as_secs_f64() * 1e3;
        println!("{:<24} {:>6} {:>6} {total:>6} {median_ms:>10.3}", case.name, parts.0, parts.1);
        assert!(total <= MAX_PRESENTED, "{}: {total} bytes", case.name);
        is_slow |= !case.is_hostile && within_ms.is_some_and(|most| median_ms > most);
    }
    if is_slow {
        println!("FAILED: a decision takes longer than {} ms", within_ms.unwrap_or_default());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Writes what a lock is commissioned with and what it hears, one file each.
fn tell(folder: &Path) -> std::io::Result<()> {
    let village = Village::busy();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes);
    write("roots", &village.commissioned())?;
    write("moment", &village.told_moment())?;
    write("policy", &village.presented_policy())?;
    write("answer", &village.answer())?;
    write("grant", &village.presented())?;
    write("hostile", &adversary(&village))
}
