//! The thread of a seal: does one thing after the other, and feels meanwhile.
//!
//! What is decided is decided elsewhere: whether it may move in [`seal::decision`], what comes next in
//! [`seal::stamping`], when to ask in [`super::contact`]. Each turn looks at everything once: what was felt, photographed,
//! typed, sent, and what takes too long. Nothing here waits, except for the journal, and for that only with a closed lock.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use ::seal::decision::Moment;
use ::seal::delegation::{Deputed, MAX_HELD};
use ::seal::envelope::{Envelope, Kind};
use ::seal::grant::{Id, Presented};
use ::seal::keys::Signer;
use ::seal::memory::{Entry, Memory};
use ::seal::policy::{Policy, PolicyError, Roots};
use ::seal::receipt::{Person, Position, Scene, TimeQuality, UseOf};
use ::seal::stamping::{Action, Stamping, after_a_start};
use ::seal::trust::Trust;
use boards::seal::{Counter, FEEL_EVERY_MS, Feeling, Hands, Reader, Shown};
use tokio::sync::oneshot;
use wire::Payload;

use super::Wish;
use super::contact::Contact;
use super::eyes::Eyes;
use super::grants::Grants;
use super::journal::{Journal, delegation_note, grant_note, memory_notes, policy_note};
use super::papers::{Author, Hour};
use super::people::People;
use crate::buffer::Note;
use crate::sample::Stop;

mod steps;
mod talk;
#[cfg(test)]
mod tests;

/// How long it may be pressed after it opened, in ms: a paper is laid straight, and nobody walks away. Shorter than a lock
/// is held by its hands.
pub const PRESS_MS: u64 = 20_000;
/// How long it may take to close, in ms: longer than hands wait before they say that it does not.
pub const CLOSE_MS: u64 = 5_000;
/// How long a photograph may take, in ms: a camera starts, settles and gives a frame.
pub const PICTURE_MS: u64 = 15_000;
/// How long the journal may take before a use is too late to be made, in ms: whoever asked for it may have gone.
pub const JOURNAL_MS: u64 = 10_000;
/// How long what a person shows counts, in ms, and for one use only.
pub const SHOWN_MS: u64 = 60_000;
/// A journal that failed is read again so often, in ms.
pub const READ_EVERY_MS: u64 = 5_000;
/// Tampering that comes again within so many ms is the same one: a wire that flickers must not wear out the disk.
pub const SAME_TAMPERING_MS: u64 = 60_000;
/// Grants that are over are looked for so often, in ms.
const TIDY_EVERY_MS: u64 = 60_000;
/// A receipt that could not be signed is tried again so often, in ms.
const SETTLE_EVERY_MS: u64 = 1_000;
/// How long a use that is going on may take to end when the gateway stops, in ms.
const STOP_MS: u64 = 3_000;

/// What time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the start.
    pub mono_ms: u64,
    /// Seconds since 1970 UTC.
    pub at_s: u64,
    /// What that is worth.
    pub time: TimeQuality,
}

/// What it works with.
pub struct Tools {
    /// Lock and contacts.
    pub hands: Box<dyn Hands>,
    /// What looks at the paper, if anything does.
    pub eyes: Option<Box<dyn Eyes>>,
    /// What counts.
    pub counter: Box<dyn Counter>,
    /// What people type or hold against it.
    pub reader: Option<Box<dyn Reader>>,
    /// What it remembers.
    pub journal: Box<dyn Journal>,
    /// The key of the device.
    pub key: Box<dyn Signer + Send>,
    /// Who decides about its rules.
    pub roots: Roots,
    /// Who may use it.
    pub people: People,
    /// Where it is.
    pub position: Option<Position>,
    /// The usual pause between two hellos, in ms.
    pub hello_ms: u64,
    /// 128 bits that nobody can guess; `None` when the system has none.
    pub random: Box<dyn FnMut() -> Option<Id> + Send>,
    /// The clocks.
    pub now: Box<dyn Fn() -> Now + Send>,
}

/// What is being waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// The picture of this token.
    Picture(u64),
    Press,
    Close,
}

/// A use that is going on.
#[derive(Debug)]
struct Use {
    used: UseOf,
    reply: Option<oneshot::Sender<serde_json::Value>>,
    waits: Option<(Waits, u64)>,
}

/// A seal at work.
pub struct Driver {
    tools: Tools,
    boot: Id,
    memory: Memory,
    rules: Option<(Policy, Trust)>,
    grants: Grants,
    contact: Contact,
    hour: Hour,
    stamping: Stamping,
    going_on: Option<Use>,
    /// Photographs that go with the next entry.
    pictures: Vec<Payload>,
    /// Numbers the photographs that were asked for.
    token: u64,
    /// Tampering that is not in the journal yet.
    untold: Option<Scene>,
    told_ms: Option<u64>,
    shown: Option<(Shown, u64)>,
    /// When the journal was read last; it has to be read while this is `None`.
    read_ms: Option<u64>,
    tried_ms: Option<u64>,
    tidied_ms: Option<u64>,
    settled_ms: Option<u64>,
    /// The latest time that was told: it never goes back.
    latest_s: u64,
    is_online: bool,
    /// The keypad cannot be read, and that was told.
    is_deaf: bool,
    felt: Vec<Feeling>,
}

impl Driver {
    /// A seal that has read nothing yet. `boot` names this run.
    pub fn new(tools: Tools, boot: Id) -> Self {
        let contact = Contact::new(tools.hello_ms);
        Self {
            tools,
            boot,
            memory: Memory::default(),
            rules: None,
            grants: Grants::default(),
            contact,
            hour: Hour::default(),
            stamping: Stamping::default(),
            going_on: None,
            pictures: Vec::new(),
            token: 0,
            untold: None,
            told_ms: None,
            shown: None,
            read_ms: None,
            tried_ms: None,
            tidied_ms: None,
            settled_ms: None,
            latest_s: 0,
            is_online: false,
            is_deaf: false,
            felt: Vec::new(),
        }
    }

    /// Works until the stop, then lets a use that is going on end. `may_ask`: whether a question would reach the authority
    /// at once. The lock closes when this returns.
    pub fn run(mut self, inbox: &Receiver<Wish>, stop: &Stop, may_ask: impl Fn() -> bool) {
        let pause = Duration::from_millis(FEEL_EVERY_MS);
        while !stop.sleep(pause) {
            self.turn(may_ask());
            while let Ok(wish) = inbox.try_recv() {
                self.grant_wish(wish);
            }
        }
        let end_ms = self.now().mono_ms + STOP_MS;
        while self.going_on.is_some() && self.now().mono_ms < end_ms {
            self.hurry();
            self.turn(false);
            std::thread::sleep(pause);
        }
    }

    /// Looks at everything once.
    pub fn turn(&mut self, may_ask: bool) {
        self.is_online = may_ask;
        self.feel();
        self.see();
        self.look_at_the_clock();
        self.hear_the_keypad();
        if self.read_ms.is_none() {
            self.read();
        }
        if self.read_ms.is_some() && self.stamping.is_idle() {
            self.tell_tampering();
            self.settle_later();
            self.tidy();
            if may_ask {
                self.ask();
            }
        }
    }

    /// Nobody waits any more: what is going on ends as if it took too long.
    fn hurry(&mut self) {
        if let Some((_, until_ms)) = self.going_on.as_mut().and_then(|going_on| going_on.waits.as_mut()) {
            *until_ms = 0;
        }
    }

    fn now(&mut self) -> Now {
        let mut now = (self.tools.now)();
        // The authority's word is as good as a time service's, and signed.
        if now.time == TimeQuality::Floor
            && let Some(at_s) = self.contact.time_s(now.mono_ms)
        {
            (now.at_s, now.time) = (at_s, TimeQuality::Synced);
        }
        self.latest_s = self.latest_s.max(now.at_s).max(self.memory.floor_s);
        Now { at_s: self.latest_s, ..now }
    }

    fn scene(&mut self, person: Option<Person>) -> Scene {
        let Now { at_s, time, .. } = self.now();
        Scene { at_s, time, position: self.tools.position, person }
    }

    fn moment(&mut self, person: Option<Person>) -> Moment {
        let scene = self.scene(person);
        let now_ms = self.now().mono_ms;
        Moment {
            scene,
            alone_s: self.contact.alone_s(now_ms),
            asked: self.contact.asked(now_ms),
            counter: self.counter(),
        }
    }

    /// What the counter shows; a number that no memory has when it cannot be read.
    fn counter(&mut self) -> u64 {
        self.tools.counter.read().unwrap_or_else(|error| {
            tracing::error!(%error, "印章计数器不可读 the seal's counter cannot be read: nothing moves");
            u64::MAX
        })
    }

    fn author(&self) -> Author<'_> {
        Author {
            seal: &self.tools.roots.seal,
            key: &*self.tools.key,
            boot: self.boot,
            policy: self.rules.as_ref().map_or(0, |(policy, _)| policy.number),
            is_test: self.rules.as_ref().is_some_and(|(policy, _)| policy.is_test),
        }
    }

    /// Whether receipts have their right numbers: one that was set back to an old copy hears from the authority first, and
    /// no start knows whether it was. Nothing can be stamped before that anyway.
    fn knows_its_receipts(&mut self) -> bool {
        let now_ms = self.now().mono_ms;
        self.contact.alone_s(now_ms).is_some() && self.counter() <= self.memory.counter
    }

    /// Journals something; whether it is on stable storage. After a failure nothing is journaled before it was read again.
    fn journal(&mut self, entry: Option<&Entry>, mut notes: Vec<Note>, payloads: Vec<Payload>) -> bool {
        if self.read_ms.is_none() {
            return false;
        }
        let mut memory = self.memory.clone();
        if let Some(entry) = entry {
            memory.add(entry);
            notes.extend(memory_notes(&memory));
        }
        match self.tools.journal.write(notes, payloads) {
            Ok(()) => {
                self.memory = memory;
                true
            }
            Err(error) => {
                tracing::error!(%error, "印章记录写入失败 the seal's journal has failed: it is closed until it can be read again");
                self.read_ms = None;
                false
            }
        }
    }

    /// Reads the journal, as after a start: what was asked and heard before is forgotten.
    fn read(&mut self) {
        let now_ms = self.now().mono_ms;
        let is_soon = self.tried_ms.is_some_and(|tried_ms| now_ms.saturating_sub(tried_ms) < READ_EVERY_MS);
        if is_soon || self.going_on.is_some() {
            return;
        }
        self.tried_ms = Some(now_ms);
        let state = match self.tools.journal.read() {
            Ok(state) => state,
            Err(error) => {
                tracing::error!(%error, "印章记录不可读 the seal's journal cannot be read: it stays closed");
                return;
            }
        };
        self.memory = state.memory;
        self.grants = Grants::of(state.grants);
        let policy = state.policy.as_deref().and_then(|bytes| proven_before(bytes, &self.tools.roots));
        self.rules = policy.map(|policy| (policy.clone(), policy.trust()));
        let strays = self.believe(state.delegations);
        self.contact = Contact::new(self.tools.hello_ms);
        self.stamping = Stamping::default();
        self.read_ms = Some(now_ms);
        if !strays.is_empty() {
            // What fails here is read again.
            self.journal(None, strays, Vec::new());
        }
        let counter = self.counter();
        for action in after_a_start(&self.memory, counter) {
            match action {
                // What fails here is told, and refused for until the next start.
                Action::Count(to) => drop(self.count(to)),
                Action::Journal(entry) => drop(self.journal(Some(&entry), Vec::new(), Vec::new())),
                // There are no others after a start.
                _ => {}
            }
        }
    }

    /// Takes up delegations out of the journal; notes that forget those which are none by these rules.
    fn believe(&mut self, delegations: Vec<(String, Vec<u8>)>) -> Vec<Note> {
        let mut strays = Vec::new();
        for (name, bytes) in delegations {
            let believed = self.rules.as_mut().filter(|(_, trust)| trust.deputed.len() < MAX_HELD);
            let opened = believed.and_then(|(_, trust)| Some((Deputed::open(&bytes, trust).ok()?, trust)));
            match opened {
                Some((deputed, trust)) => trust.deputed.push(deputed),
                None => strays.push((name, None)),
            }
        }
        strays
    }

    /// Signs a receipt that is owed since a start, or could not be signed when it was due.
    fn settle_later(&mut self) {
        let now_ms = self.now().mono_ms;
        let is_soon = self.settled_ms.is_some_and(|at_ms| now_ms.saturating_sub(at_ms) < SETTLE_EVERY_MS);
        if self.memory.owed.is_some() && !is_soon {
            self.settled_ms = Some(now_ms);
            self.settle();
        }
    }

    /// Looks for grants and delegations that are over, now and then.
    fn tidy(&mut self) {
        let Now { mono_ms, at_s, .. } = self.now();
        if self.tidied_ms.is_some_and(|at_ms| mono_ms.saturating_sub(at_ms) < TIDY_EVERY_MS) {
            return;
        }
        self.tidied_ms = Some(mono_ms);
        self.let_go(at_s);
    }

    /// Forgets grants and delegations that are over.
    fn let_go(&mut self, at_s: u64) {
        let over = self.grants.over(&self.memory, at_s);
        let ended: Vec<Id> =
            self.rules.iter().flat_map(|(_, trust)| ended(trust, &self.memory, at_s)).collect();
        let notes: Vec<Note> =
            forgotten(&over).into_iter().chain(ended.iter().map(|id| delegation_note(id, None))).collect();
        if !notes.is_empty() && self.journal(None, notes, Vec::new()) {
            self.grants.drop(&over);
            if let Some((_, trust)) = &mut self.rules {
                trust.deputed.retain(|deputed| !ended.contains(&deputed.delegation().id));
            }
        }
    }
}

/// Delegations that are over.
fn ended(trust: &Trust, memory: &Memory, at_s: u64) -> Vec<Id> {
    let over = trust.deputed.iter().filter(|deputed| deputed.is_over(trust, memory, at_s));
    over.map(|deputed| deputed.delegation().id).collect()
}

/// The notes that forget grants.
fn forgotten(ids: &[Id]) -> Vec<Note> {
    ids.iter().map(|id| grant_note(id, None)).collect()
}

/// Rules out of the journal. They were proven when they came, by the log that was believed then: of that, only what they say
/// themselves is looked at again; the signatures of the roots are what counts.
fn proven_before(bytes: &[u8], roots: &Roots) -> Option<Policy> {
    let envelope = Envelope::read(Kind::Policy, Presented::read(bytes)?.grant).ok()?;
    let log = Policy::read(envelope.payload)?.log_trust();
    Policy::open(bytes, roots, &log).inspect_err(tell).ok()
}

/// Tells why rules are not taken.
fn tell(why: &PolicyError) {
    match why {
        PolicyError::Lacking(algorithm) => tracing::error!(
            algorithm = algorithm.as_str(),
            "规则所列密钥的算法本程序未启用（国密特性 sm） rules are not taken: they name keys of an algorithm that this build lacks: \
             build the gateway with --features sm"
        ),
        why => tracing::error!(?why, "规则无效 rules are not taken"),
    }
}
