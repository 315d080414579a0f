//! What authority and desk want of a seal, and what is asked of the authority.

use ::seal::delegation::{Deputed, MAX_HELD};
use ::seal::memory::Entry;
use ::seal::policy::Policy;
use ::seal::refusal::Refusal;
use ::seal::talk::{Answer, Said};
use boards::seal::Shown;
use serde_json::Value;
use tokio::sync::oneshot;

use super::steps::unused;
use super::{Driver, SHOWN_MS, Wish, delegation_note, grant_note, policy_note, tell};
use crate::seal::desk::Request;
use crate::seal::grants::Held;
use crate::seal::{hex, words};

impl Driver {
    /// Does what somebody wants.
    pub(super) fn grant_wish(&mut self, wish: Wish) {
        match wish {
            // The disk must not make anybody wait while it is open; after the use it asks anyway.
            Wish::Said(_) if self.going_on.is_some() => {}
            Wish::Said(bytes) => self.listen(&bytes),
            Wish::Desk(request, reply) => self.serve(request, reply),
        }
    }

    /// Hears the authority. Nothing is believed that is not signed by whom the rules name.
    pub(super) fn listen(&mut self, bytes: &[u8]) {
        if self.read_ms.is_none() {
            return;
        }
        match Said::of(bytes) {
            Some(Said::Ask) => self.contact.want(),
            Some(Said::Answer(answer)) => self.hear(answer),
            Some(Said::Policy(policy)) => self.take_rules(policy),
            Some(Said::Delegation(presented)) => self.take_delegation(presented),
            Some(Said::Grant(grant)) => {
                if let Err(why) = self.take_grant(grant.to_vec()) {
                    tracing::warn!(
                        reason = why.as_str(),
                        "平台送来的授权不可用 a grant from the authority is no good"
                    );
                }
            }
            None => {
                tracing::warn!(bytes = bytes.len(), "what came for the seal is nothing that it listens to")
            }
        }
    }

    fn hear(&mut self, answer: &[u8]) {
        let now_ms = self.now().mono_ms;
        let Some((_, trust)) = &self.rules else {
            tracing::warn!("an answer came before any rules: it cannot be believed");
            return;
        };
        let contact = match Answer::open(answer, trust, self.contact.asked(now_ms).as_ref()) {
            Ok(answer) => answer.contact,
            Err(why) => {
                tracing::warn!(?why, "an answer counts for nothing");
                return;
            }
        };
        // Revocations before these have not reached it: as if nothing was heard.
        if contact.since > self.memory.epoch {
            tracing::warn!(since = contact.since, epoch = self.memory.epoch, "an answer begins too late");
            return;
        }
        let at_s = contact.at_s;
        if self.journal(Some(&Entry::Contact(contact)), Vec::new(), Vec::new()) {
            self.contact.hear(at_s, now_ms);
            // What was taken back is over, and receipts know their numbers.
            (self.tidied_ms, self.settled_ms) = (None, None);
        }
    }

    fn take_rules(&mut self, presented: &[u8]) {
        let log = self.rules.as_ref().map_or(&self.tools.roots.log, |(_, trust)| &trust.log);
        let Ok(policy) = Policy::open(presented, &self.tools.roots, log).inspect_err(tell) else { return };
        let had = self.rules.as_ref().map_or(0, |(policy, _)| policy.number);
        if policy.number <= had {
            tracing::debug!(number = policy.number, had, "rules that are not newer");
            return;
        }
        if self.journal(None, vec![policy_note(presented.to_vec())], Vec::new()) {
            tracing::info!(number = policy.number, "规则已更新 new rules");
            let mut trust = policy.trust();
            // Whether they still count is asked of each rule.
            trust.deputed = self.rules.take().map_or_else(Vec::new, |(_, before)| before.deputed);
            self.rules = Some((policy, trust));
            self.tidied_ms = None;
        }
    }

    /// Holds a delegation, if it is good for something. One that finds no room is sent again at the next hello.
    fn take_delegation(&mut self, presented: &[u8]) {
        let at_s = self.now().at_s;
        self.let_go(at_s);
        let Some((_, trust)) = &self.rules else {
            tracing::warn!("a delegation came before any rules: it cannot be believed");
            return;
        };
        let deputed = match Deputed::open(presented, trust) {
            Ok(deputed) => deputed,
            Err(why) => {
                tracing::error!(?why, "委托无效 a delegation is not taken");
                return;
            }
        };
        let id = deputed.delegation().id;
        let is_held = trust.deputed.iter().any(|held| held.delegation().id == id);
        if is_held || deputed.is_over(trust, &self.memory, at_s) {
            return;
        }
        if trust.deputed.len() >= MAX_HELD {
            tracing::warn!(
                most = MAX_HELD,
                "委托已满，须撤回一份或等其到期 no room for another delegation: one has to be withdrawn, or to end"
            );
            return;
        }
        if self.journal(None, vec![delegation_note(&id, Some(presented.to_vec()))], Vec::new())
            && let Some((_, trust)) = &mut self.rules
        {
            let delegation = deputed.delegation();
            tracing::info!(from = delegation.from, to = delegation.to, "收到委托 a delegation is held");
            trust.deputed.push(deputed);
        }
    }

    /// Holds a grant, if it is good for something; its name.
    fn take_grant(&mut self, bytes: Vec<u8>) -> Result<String, Refusal> {
        let moment = self.moment(None);
        if self.read_ms.is_none() {
            return Err(Refusal::Journal);
        }
        self.let_go(moment.scene.at_s);
        let (_, trust) = self.rules.as_ref().ok_or(Refusal::Policy)?;
        let held = self.grants.weigh(bytes, trust, &self.memory, &moment).map_err(|refused| refused.why)?;
        let (id, name) = (held.grant.id, hex(&held.grant.id[..]));
        if !self.grants.holds(&id) {
            let note = grant_note(&id, Some(held.bytes.clone()));
            if !self.journal(None, vec![note], Vec::new()) {
                return Err(Refusal::Journal);
            }
            tracing::info!(grant = name, matter = held.grant.matter, "收到授权 a grant is held");
            self.grants.hold(held);
        }
        Ok(name)
    }

    /// Says hello, if it is time. Nobody hears it before the connection stands, so nobody is asked before.
    pub(super) fn ask(&mut self) {
        let now_ms = self.now().mono_ms;
        let lease_s = self.rules.as_ref().map(|(_, trust)| trust.lease.most_s);
        if self.memory.pending.is_some() || !self.contact.is_due(now_ms, lease_s) {
            return;
        }
        let Some(nonce) = (self.tools.random)() else {
            tracing::error!("the system gives no random numbers: the authority is not asked");
            self.contact.postpone(now_ms);
            return;
        };
        // Asked before it is kept: after a failure nothing is known, and the journal is read again anyway.
        self.contact.ask(nonce, now_ms);
        let scene = self.scene(None);
        // One that cannot be read is not told: the authority would take it for the truth.
        let counter = self.tools.counter.read().unwrap_or(self.memory.counter);
        let grants = self.grants.all().iter().map(|held| held.grant.id);
        let deputed = self.rules.iter().flat_map(|(_, trust)| &trust.deputed);
        let held = grants.chain(deputed.map(|deputed| deputed.delegation().id)).collect();
        let answered = self.contact.answered();
        match self.author().hello(nonce, answered, &scene, counter, &self.memory, held) {
            Some(hello) => drop(self.journal(None, Vec::new(), vec![hello])),
            None => tracing::error!("the key of the device does not sign: the authority is not asked"),
        }
    }

    /// What was typed or held against it.
    pub(super) fn hear_the_keypad(&mut self) {
        let Some(reader) = &mut self.tools.reader else { return };
        match reader.shown() {
            Ok(shown) => {
                self.is_deaf = false;
                if let Some(shown) = shown {
                    self.show(shown);
                }
            }
            // Told once: it is looked at many times a second.
            Err(error) if !self.is_deaf => {
                tracing::error!(error, "键盘不可读 the keypad cannot be read");
                self.is_deaf = true;
            }
            Err(_) => {}
        }
    }

    fn show(&mut self, shown: Shown) {
        let now_ms = self.now().mono_ms;
        self.shown = Some((shown, now_ms));
    }

    fn serve(&mut self, request: Request, reply: oneshot::Sender<Value>) {
        let answer = match request {
            Request::Status => self.status(),
            Request::Ask => {
                self.contact.want();
                words::asked(self.is_online)
            }
            Request::Present { .. } if self.going_on.is_some() => words::refused(Refusal::Busy, None, None),
            Request::Present { grant } => match words::bytes_of(&grant) {
                None => words::refused(Refusal::Malformed, None, None),
                Some(bytes) => self.present(bytes),
            },
            Request::Stamp { grant, shown } => {
                if let Some(shown) = shown.as_deref().and_then(Shown::read) {
                    self.show(shown);
                }
                match self.grants.find(&grant).cloned() {
                    None => words::unknown(&grant, self.grants.all().len()),
                    Some(_) if self.going_on.is_some() => words::refused(Refusal::Busy, None, None),
                    Some(held) => return self.stamp(&held, reply),
                }
            }
        };
        // Whoever asked may have gone.
        let _ = reply.send(answer);
    }

    fn present(&mut self, bytes: Vec<u8>) -> Value {
        let read = Held::read(bytes.clone());
        match self.take_grant(bytes) {
            Ok(name) => words::held(&name),
            Err(why) => {
                let scene = self.scene(None);
                // What nobody has signed is nobody's grant.
                let is_signed = !matches!(why, Refusal::TooLarge | Refusal::Malformed | Refusal::Issuer);
                let used = read.as_ref().filter(|_| is_signed).map(unused);
                let number = self.tell_refusal(used, why, scene);
                words::refused(why, None, number)
            }
        }
    }

    fn status(&mut self) -> Value {
        let now = self.now();
        let counter = self.tools.counter.read().ok();
        let hands = self.tools.hands.ready().err().map(|why| why.to_string());
        let alone_s = self.contact.alone_s(now.mono_ms);
        let shown =
            self.shown.as_ref().is_some_and(|(_, at_ms)| now.mono_ms.saturating_sub(*at_ms) <= SHOWN_MS);
        words::Status {
            seal: &self.tools.roots.seal,
            key: self.tools.key.public(),
            policy: self.rules.as_ref().map(|(policy, _)| policy),
            deputed: self.rules.as_ref().map_or(&[], |(_, trust)| &trust.deputed),
            memory: &self.memory,
            grants: self.grants.all(),
            now,
            counter,
            hands,
            alone_s,
            is_online: self.is_online,
            is_tampered: self.untold.is_some() || self.memory.tampered > self.memory.cleared,
            has_journal: self.read_ms.is_some(),
            is_stamping: self.going_on.is_some(),
            has_shown: shown,
        }
        .to_json()
    }
}
