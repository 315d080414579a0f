//! Whether a seal may move: questions in a fixed order, and the first doubt refuses.

use alloc::boxed::Box;

use crate::datum::are_near;
use crate::delegation::Deputed;
use crate::envelope::{Envelope, EnvelopeError, Kind};
use crate::grant::{Evidence, Fence, Grant, GrantError, Id, MAX_PRESENTED, Presented};
use crate::keys::digest;
use crate::memory::Memory;
use crate::proof::{Proof, ProofError};
use crate::quorum::{Quorum, quorum};
use crate::receipt::{Position, Scene, TimeQuality, UseOf};
use crate::refusal::Refusal;
use crate::trust::Trust;

/// What a device knows of the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// When, where, and who is there. The time never goes back, not over a start either.
    pub scene: Scene,
    /// Seconds since the authority was last heard; `None` when nobody knows, as after a start.
    pub alone_s: Option<u64>,
    /// The question that was asked last, and how many seconds ago. A start forgets it, and so does a use.
    pub asked: Option<(Id, u64)>,
    /// What the counter that never goes back shows.
    pub counter: u64,
}

/// Leave for one use, for a moment: it is looked at again before anything is spent.
#[derive(Debug, PartialEq, Eq)]
pub struct Leave {
    /// Which use.
    pub used: UseOf,
    /// What has to be photographed.
    pub evidence: Evidence,
    /// When the grant expires.
    pub expires_s: u64,
    /// When, where, and who is there.
    pub scene: Scene,
}

/// No leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The first thing that was wrong.
    pub why: Refusal,
    /// The grant, if it could be read and the issuer has signed it.
    pub grant: Option<Box<Grant>>,
}

/// Whether what is `presented` gives leave for one use now. Whoever acts on it must journal it first, see
/// [`stamping`](crate::stamping).
///
/// # Errors
/// [`Refused`] with the first reason.
pub fn decide(trust: &Trust, memory: &Memory, presented: &[u8], moment: &Moment) -> Result<Leave, Refused> {
    let unread = |why| Refused { why, grant: None };
    if presented.len() > MAX_PRESENTED {
        return Err(unread(Refusal::TooLarge));
    }
    let Presented { grant: bytes, proof } = Presented::read(presented).ok_or(unread(Refusal::Malformed))?;
    let envelope = Envelope::read(Kind::Grant, bytes).map_err(|error| {
        unread(match error {
            EnvelopeError::TooLarge => Refusal::TooLarge,
            EnvelopeError::Malformed | EnvelopeError::Signatures => Refusal::Malformed,
        })
    })?;
    let grant = Grant::read(envelope.payload).map_err(|error| {
        unread(match error {
            GrantError::Malformed => Refusal::Malformed,
            GrantError::Version => Refusal::Version,
            GrantError::Impossible => Refusal::Impossible,
        })
    })?;
    if !trust.issuers.iter().any(|issuer| envelope.is_signed_by(issuer)) {
        return Err(unread(Refusal::Issuer));
    }
    let used = UseOf {
        grant: grant.id,
        digest: digest(&[envelope.payload]),
        sequence: grant.sequence,
        number: 0,
        of: grant.max_uses,
    };
    let judged = is_approved(trust, &grant, &envelope)
        .and_then(|()| logged(trust, bytes, proof))
        .and_then(|(index, seen_s)| {
            free(trust, memory, &grant, moment)?;
            timely(trust, memory, &grant, moment, seen_s)?;
            if trust.deputed.is_empty() {
                return Ok(());
            }
            let may_count = |deputed: &Deputed| stands(deputed, memory, moment, index, seen_s);
            is_approved_with(trust, &grant, &envelope, may_count)
        })
        .and_then(|()| here(grant.fence.as_ref(), moment.scene.position.as_ref()))
        .and_then(|()| memory.next_use(used, moment.scene.at_s, moment.counter))
        .and_then(|used| known(&grant, moment).map(|()| used));
    match judged {
        Ok(used) => {
            let (evidence, expires_s) = (grant.evidence, grant.expires_s);
            Ok(Leave { used, evidence, expires_s, scene: moment.scene.clone() })
        }
        Err(why) => Err(Refused { why, grant: Some(Box::new(grant)) }),
    }
}

fn check(holds: bool, or: Refusal) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(or) }
}

/// Whether a grant was approved by the rules, and by as many people as they want. All delegations that the trust holds are
/// looked at, whenever they hold: whoever asks leaves those away that do not.
///
/// # Errors
/// Why not.
pub fn is_approved(trust: &Trust, grant: &Grant, envelope: &Envelope<'_>) -> Result<(), Refusal> {
    is_approved_with(trust, grant, envelope, |_| true)
}

/// How many people have approved a grant, themselves or by a deputy; `None` when no rule speaks of its matter. All
/// delegations that the trust holds are looked at, whenever they hold.
pub fn people(trust: &Trust, grant: &Grant, envelope: &Envelope<'_>) -> Option<usize> {
    let rule = trust.rules.iter().find(|rule| rule.matter == grant.matter)?;
    Some(quorum(trust, rule, &grant.applicant, envelope, |_| true).people)
}

fn is_approved_with(
    trust: &Trust,
    grant: &Grant,
    envelope: &Envelope<'_>,
    may_count: impl Fn(&Deputed) -> bool,
) -> Result<(), Refusal> {
    check(grant.policy == trust.policy, Refusal::Policy)?;
    let rule = trust.rules.iter().find(|rule| rule.matter == grant.matter).ok_or(Refusal::Matter)?;
    let Quorum { people, signed } = quorum(trust, rule, &grant.applicant, envelope, may_count);
    let needed = rule.needed.max(1);
    // Enough have signed whom the rules name: what is missing is a delegation, or its time is over.
    let is_deputed = rule.may_be_delegated && signed >= needed;
    check(people >= needed, if is_deputed { Refusal::Deputy } else { Refusal::Approvals })?;
    let has = |asked: bool, given: bool| given || !asked;
    let (asked, given) = (rule.evidence, grant.evidence);
    let is_within = grant.max_uses <= rule.most_uses
        && has(asked.before, given.before)
        && has(asked.after, given.after)
        && has(asked.person, given.person);
    check(is_within, Refusal::BeyondRule)
}

/// In the log, under the eyes of witnesses: which leaf, and when they saw it. That time is past.
fn logged(trust: &Trust, envelope: &[u8], proof: &[u8]) -> Result<(u64, u64), Refusal> {
    let proof = Proof::parse(proof);
    let verified = proof.and_then(|proof| Ok((proof.index, proof.verify(envelope, &trust.log)?.1)));
    verified.map_err(|error| match error {
        ProofError::Malformed | ProofError::Log | ProofError::Path => Refusal::Proof,
        ProofError::Witnesses => Refusal::Witnesses,
    })
}

/// Whether this is the first use of a grant that answers what this device asked a moment ago.
fn answers(trust: &Trust, memory: &Memory, grant: &Grant, moment: &Moment) -> bool {
    let is_answer = |&(asked, ago_s): &(Id, u64)| grant.nonce == Some(asked) && ago_s <= trust.lease.answer_s;
    memory.last_use(&grant.id).is_none() && moment.asked.as_ref().is_some_and(is_answer)
}

/// For this seal, and the authority has not taken it back as far as it can be known.
fn free(trust: &Trust, memory: &Memory, grant: &Grant, moment: &Moment) -> Result<(), Refusal> {
    check(trust.policy >= memory.policy, Refusal::Policy)?;
    check(grant.seal == trust.seal && grant.is_test == trust.is_test, Refusal::OtherSeal)?;
    memory.is_free(&grant.id)?;
    check(grant.min_epoch <= memory.epoch, Refusal::Epoch)?;
    // An answer to a fresh question is contact.
    let is_near = moment.alone_s.is_some_and(|alone_s| alone_s <= trust.lease.most_s);
    check(is_near || answers(trust, memory, grant, moment), Refusal::LeaseHours)?;
    check(memory.stamps_alone < trust.lease.most_stamps, Refusal::LeaseStamps)
}

/// At a time for which it was granted. What is only known to be past is enough to know that it has expired.
fn timely(
    trust: &Trust,
    memory: &Memory,
    grant: &Grant,
    moment: &Moment,
    seen_s: u64,
) -> Result<(), Refusal> {
    let Scene { at_s, time, .. } = moment.scene;
    let answers = answers(trust, memory, grant, moment);
    check(at_s.max(seen_s).max(memory.floor_s) < grant.expires_s, Refusal::Expired)?;
    match time {
        TimeQuality::Synced => check(grant.not_before_s <= at_s, Refusal::TooEarly)?,
        TimeQuality::Floor => check(answers, Refusal::TimeUnknown)?,
    }
    check(grant.nonce.is_none() || answers || memory.last_use(&grant.id).is_some(), Refusal::Nonce)
}

/// Whether a delegation holds now, for a grant with this leaf. A time that is only known to be past is no time within it.
fn stands(deputed: &Deputed, memory: &Memory, moment: &Moment, grant: u64, seen_s: u64) -> bool {
    let (delegation, Scene { at_s, time, .. }) = (deputed.delegation(), &moment.scene);
    *time == TimeQuality::Synced
        && delegation.holds_at(*at_s)
        && delegation.holds_at((*at_s).max(seen_s).max(memory.floor_s))
        && deputed.index() < grant
        && !memory.is_revoked(&delegation.id)
}

fn here(fence: Option<&Fence>, position: Option<&Position>) -> Result<(), Refusal> {
    let Some(fence) = fence else { return Ok(()) };
    let position =
        position.filter(|position| are_near(position.datum, fence.datum)).ok_or(Refusal::PlaceUnknown)?;
    check(position.accuracy_m <= fence.radius_m, Refusal::PlaceUnknown)?;
    let farthest_m = distance_m(fence, position) + f64::from(position.accuracy_m);
    check(farthest_m <= f64::from(fence.radius_m), Refusal::Elsewhere)
}

/// Metres between the middle of a fence and a position, on a plane: right to some metres within a hundred kilometres.
fn distance_m(fence: &Fence, position: &Position) -> f64 {
    // A ten-millionth of a degree of a great circle of 40,030 km.
    const METRES: f64 = 40_030_174.0 / 3.6e9;
    let middle = (f64::from(fence.lat_e7) + f64::from(position.lat_e7)) / 2.0;
    let north = f64::from(position.lat_e7) - f64::from(fence.lat_e7);
    let apart = (f64::from(position.lon_e7) - f64::from(fence.lon_e7)).abs();
    let east = apart.min(3.6e9 - apart) * libm::cos((middle / 1e7).to_radians());
    libm::sqrt(north * north + east * east) * METRES
}

/// Somebody for whom it was granted has shown who they are, if the grant asks for that.
fn known(grant: &Grant, moment: &Moment) -> Result<(), Refusal> {
    let is_theirs =
        |name: &str| grant.applicant == name || grant.operators.iter().any(|operator| operator == name);
    let is_known = moment.scene.person.as_ref().is_some_and(|person| is_theirs(&person.name));
    check(is_known || !grant.evidence.person, Refusal::Person)
}
