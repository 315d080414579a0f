//! The steps of a use, and what is felt meanwhile.

use std::collections::VecDeque;

use ::seal::decision::{Refused, decide};
use ::seal::memory::Entry;
use ::seal::receipt::{Outcome, Scene, UseOf};
use ::seal::refusal::Refusal;
use ::seal::stamping::{Action, Event};
use boards::seal::{Feeling, HandsError, Moment as When};
use serde_json::Value;
use tokio::sync::oneshot;

use super::{
    CLOSE_MS, Driver, JOURNAL_MS, Now, PICTURE_MS, PRESS_MS, SAME_TAMPERING_MS, SHOWN_MS, Use, Waits,
    forgotten,
};
use crate::seal::grants::Held;
use crate::seal::papers::{Signed, parts};
use crate::seal::words;

impl Driver {
    /// Begins a use of a grant that is held. The answer comes when it has ended.
    pub(super) fn stamp(&mut self, held: &Held, reply: oneshot::Sender<Value>) {
        // A receipt that is owed since a start has been waiting for the authority only.
        self.settle();
        let (person, denied) = self.person(held);
        let moment = self.moment(person);
        let decided = match &self.rules {
            _ if self.read_ms.is_none() => Err(Refused { why: Refusal::Journal, grant: None }),
            // Where it is locked though the journal could not take it.
            _ if self.untold.is_some() => Err(Refused { why: Refusal::Tampered, grant: None }),
            None => Err(Refused { why: Refusal::Policy, grant: None }),
            Some((_, trust)) => decide(trust, &self.memory, &held.bytes, &moment),
        };
        let decided = decided.and_then(|leave| match self.tools.hands.ready() {
            Ok(()) => Ok(leave),
            Err(why) => {
                tracing::error!(%why, "印章硬件未就绪 the seal's hands are not ready");
                let why = if why == HandsError::NotClosed { Refusal::Busy } else { Refusal::Tampered };
                Err(Refused { why, grant: None })
            }
        });
        match decided {
            Err(Refused { why, .. }) => {
                let number = self.tell_refusal(Some(unused(held)), why, moment.scene);
                // Whoever asked may have gone.
                let _ = reply.send(words::refused(why, denied.as_deref(), number));
            }
            Ok(leave) => {
                self.going_on = Some(Use { used: leave.used, reply: Some(reply), waits: None });
                let at_s = self.now().at_s;
                let actions = self.stamping.begin(leave, &self.memory, at_s);
                self.perform(actions);
            }
        }
    }

    /// Who has shown themselves, of those whom a grant names. What was shown counts once, whatever comes of it.
    fn person(&mut self, held: &Held) -> (Option<::seal::receipt::Person>, Option<String>) {
        let now_ms = self.now().mono_ms;
        let shown = self.shown.take().filter(|(_, at_ms)| now_ms.saturating_sub(*at_ms) <= SHOWN_MS);
        let Some((shown, _)) = shown.filter(|_| held.grant.evidence.person) else { return (None, None) };
        let mut names = held.grant.operators.clone();
        names.insert(0, held.grant.applicant.clone());
        match self.tools.people.check(&names, &shown, now_ms) {
            Ok(person) => (Some(person), None),
            Err(denied) => (None, Some(denied.to_string())),
        }
    }

    /// Does actions in their order, and what follows from each.
    fn perform(&mut self, actions: Vec<Action>) {
        let mut todo = VecDeque::from(actions);
        while let Some(action) = todo.pop_front() {
            if let Some(event) = self.act(action) {
                let at_s = self.now().at_s;
                todo.extend(self.stamping.on(event, &self.memory, at_s));
            }
        }
    }

    fn happen(&mut self, event: Event) {
        let at_s = self.now().at_s;
        let actions = self.stamping.on(event, &self.memory, at_s);
        self.perform(actions);
    }

    /// Does one thing; what is known of it at once.
    fn act(&mut self, action: Action) -> Option<Event> {
        let now_ms = self.now().mono_ms;
        match action {
            Action::Photograph => {
                self.token += 1;
                let when = if self.memory.pending.is_none() { When::Before } else { When::After };
                let token = self.token;
                let has_begun = self.tools.eyes.as_mut().is_some_and(|eyes| eyes.begin(token, when));
                if !has_begun {
                    return Some(Event::Photographed(None));
                }
                self.wait(Waits::Picture(token), now_ms + PICTURE_MS);
                None
            }
            Action::Journal(entry) => Some(self.journal_step(&entry)),
            Action::Lock(scene) => {
                self.untold = Some(scene);
                self.tell_tampering();
                None
            }
            Action::Count(to) => Some(self.count(to)),
            Action::Open => match self.tools.hands.open(now_ms) {
                Ok(()) => {
                    self.wait(Waits::Press, now_ms + PRESS_MS);
                    None
                }
                Err(error) => {
                    tracing::error!(%error, "印章无法打开 the seal does not open: the use is lost");
                    Some(Event::TimedOut)
                }
            },
            Action::Close => {
                self.tools.hands.close(now_ms);
                self.wait(Waits::Close, now_ms + CLOSE_MS);
                None
            }
            Action::Settle => {
                let ended = self.memory.owed.as_ref().map(|owed| (owed.outcome, owed.presses));
                let number = self.settle();
                self.end(|used| words::ended(used, ended, number));
                self.contact.want();
                None
            }
            Action::Refuse(used, why) => {
                self.pictures.clear();
                let scene = self.scene(None);
                let number = self.tell_refusal(Some(used), why, scene);
                self.end(|_| words::refused(why, None, number));
                None
            }
            Action::Halt => {
                self.pictures.clear();
                self.end(|_| words::refused(Refusal::Journal, None, None));
                None
            }
        }
    }

    fn wait(&mut self, waits: Waits, until_ms: u64) {
        if let Some(going_on) = &mut self.going_on {
            going_on.waits = Some((waits, until_ms));
        }
    }

    /// Answers whoever asked for the use.
    fn end(&mut self, answer: impl FnOnce(&UseOf) -> Value) {
        if let Some(Use { used, reply: Some(reply), .. }) = self.going_on.take() {
            let _ = reply.send(answer(&used));
        }
    }

    fn journal_step(&mut self, entry: &Entry) -> Event {
        let began_ms = self.now().mono_ms;
        let pictures = std::mem::take(&mut self.pictures);
        if !self.journal(Some(entry), Vec::new(), pictures) {
            return Event::JournalFailed;
        }
        if matches!(entry, Entry::Consumed { .. }) {
            self.contact.forget_question();
            let Now { mono_ms, at_s, .. } = self.now();
            if mono_ms.saturating_sub(began_ms) > JOURNAL_MS {
                tracing::error!("磁盘过慢 the disk has taken too long: the use is lost");
                self.stamping.on(Event::TimedOut, &self.memory, at_s);
            }
        }
        Event::Journaled
    }

    pub(super) fn count(&mut self, to: u64) -> Event {
        match self.tools.counter.advance_to(to) {
            Ok(()) => Event::Counted,
            Err(error) => {
                tracing::error!(%error, "印章计数器故障 the seal's counter does not count: the use is lost");
                Event::CountFailed
            }
        }
    }

    /// What the hands have felt.
    pub(super) fn feel(&mut self) {
        let now_ms = self.now().mono_ms;
        let mut felt = std::mem::take(&mut self.felt);
        self.tools.hands.feel(now_ms, &mut felt);
        for feeling in felt.drain(..) {
            let waits = self.going_on.as_ref().and_then(|going_on| going_on.waits);
            let event = match feeling {
                Feeling::Pressed => Event::Pressed,
                Feeling::Closed => Event::Closed,
                Feeling::NotClosed => Event::CloseFailed,
                // It is on its way to being closed already, or not open at all.
                Feeling::LetGo if !matches!(waits, Some((Waits::Press, _))) => continue,
                Feeling::LetGo => Event::TimedOut,
                Feeling::Tampered(part) => {
                    tracing::error!(%part, "检测到拆动 somebody has touched what nobody may");
                    Event::Tampered
                }
            };
            if self.going_on.is_some() {
                self.happen(event);
            } else if matches!(event, Event::Pressed | Event::Tampered) {
                self.tampered();
            }
        }
        self.felt = felt;
    }

    /// Somebody touched it while no use was going on.
    fn tampered(&mut self) {
        let now_ms = self.now().mono_ms;
        let is_told = self.told_ms.is_some_and(|told_ms| now_ms.saturating_sub(told_ms) < SAME_TAMPERING_MS);
        if is_told && self.memory.tampered > self.memory.cleared {
            return;
        }
        if self.untold.is_none() {
            self.untold = Some(self.scene(None));
        }
    }

    /// Journals tampering; until that is done it is locked all the same.
    pub(super) fn tell_tampering(&mut self) {
        let Some(scene) = self.untold.clone() else { return };
        // What nobody has used yet is over too.
        let ids: Vec<_> = self.grants.all().iter().map(|held| held.grant.id).collect();
        if self.journal(Some(&Entry::Tampered { scene }), forgotten(&ids), Vec::new()) {
            self.grants.drop(&ids);
            self.untold = None;
            self.told_ms = Some(self.now().mono_ms);
            self.contact.want();
        }
    }

    /// What the camera has taken.
    pub(super) fn see(&mut self) {
        while let Some((token, picture)) = self.tools.eyes.as_mut().and_then(|eyes| eyes.seen()) {
            let waits = self.going_on.as_ref().and_then(|going_on| going_on.waits);
            // One of a use before this one, or that came too late, is nobody's.
            if !matches!(waits, Some((Waits::Picture(wanted), _)) if wanted == token) {
                continue;
            }
            let digest = picture.map(|picture| {
                let (digest, parts) = parts(&picture);
                self.pictures.extend(parts);
                digest
            });
            self.happen(Event::Photographed(digest));
        }
    }

    /// What takes too long.
    pub(super) fn look_at_the_clock(&mut self) {
        let now_ms = self.now().mono_ms;
        let Some(going_on) = &mut self.going_on else { return };
        if going_on.waits.is_some_and(|(_, until_ms)| now_ms >= until_ms) {
            going_on.waits = None;
            self.happen(Event::TimedOut);
        }
    }

    /// Signs the receipt that is owed; its number.
    pub(super) fn settle(&mut self) -> Option<u64> {
        let owed = self.memory.owed.clone()?;
        if !self.knows_its_receipts() {
            return None;
        }
        let Signed { entry, payload, number } = self.author().settles(&owed, &self.memory)?;
        let over = self.grants.over(&self.memory, self.latest_s);
        if !self.journal(Some(&entry), forgotten(&over), vec![payload]) {
            return None;
        }
        self.grants.drop(&over);
        self.contact.want();
        let level = if owed.outcome == Outcome::Stamped { "stamped" } else { "not as it should be" };
        tracing::info!(receipt = number, outcome = ?owed.outcome, "用印回执 receipt: {level}");
        Some(number)
    }

    /// Signs the receipt of a refusal, if there were not too many; its number.
    pub(super) fn tell_refusal(&mut self, used: Option<UseOf>, why: Refusal, scene: Scene) -> Option<u64> {
        tracing::warn!(reason = why.as_str(), "拒绝用印 refused");
        let now_ms = self.now().mono_ms;
        // The receipt that is owed comes first.
        if self.read_ms.is_none() || self.memory.owed.is_some() || self.memory.pending.is_some() {
            return None;
        }
        if !self.knows_its_receipts() || !self.hour.may_tell(now_ms) {
            return None;
        }
        let Signed { entry, payload, number } = self.author().refused(used, why, scene, &self.memory)?;
        self.journal(Some(&entry), Vec::new(), vec![payload]).then_some(number)
    }
}

/// Which grant, and that nothing of it was used.
pub(super) fn unused(held: &Held) -> UseOf {
    let (grant, digest) = (held.grant.id, held.digest);
    UseOf { grant, digest, sequence: held.grant.sequence, number: 0, of: held.grant.max_uses }
}
