//! The lines: connections, what travels on them in both directions, and the time a fresh alarm may take.

use std::collections::BTreeMap;

use gateway::ship::Answer;
use wire::{Lane, Receipt, Verdict};

use super::{COMMIT_MS, Event, Mail, World};
use crate::sim::ingest::Taken;
use crate::sim::truth::Key;

/// Most that a message is late beyond the delay of its connection, in ms.
const JITTER_MS: u64 = 30;
/// A fresh alarm may take this long beyond one way and one commit, in ms.
const SLACK_MS: u64 = 5;
/// After trouble an alarm's time is not measured for so long, in ms: the longest pause after "later".
pub(super) const UNREST_MS: u64 = 31_000;

/// A connection, from the gateway's side of the line.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    pub(super) connection: u64,
    /// One way, in ms.
    pub(super) delay_ms: u64,
    /// It swallows everything and says nothing.
    pub(super) is_half_open: bool,
    /// When the last message will arrive there, and here: a connection keeps its order.
    pub(super) there_ms: u64,
    pub(super) here_ms: u64,
}

/// The line of one gateway.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) pipe: Pipe,
    pub(super) delay_ms: u64,
    /// The first connection of the box's present start: what a dead process was answered reaches nobody.
    pub(super) first: u64,
    /// Connections fail until then, and get no answer until then.
    pub(super) down_until_ms: u64,
    pub(super) mute_until_ms: u64,
    /// Alarms are timed again from then on.
    pub(super) calm_from_ms: u64,
    /// Alarms that are timed, and when they must be at ingest.
    pub(super) watched: BTreeMap<Key, u64>,
}

impl World {
    /// Alarms of this gateway are not timed for a while.
    pub(super) fn unrest(&mut self, gateway: usize) {
        let line = &mut self.lines[gateway];
        line.watched.clear();
        line.calm_from_ms = line.calm_from_ms.max(self.now_ms + UNREST_MS);
    }

    /// Times a fresh alarm, if nothing stands in its way: it flies at once, whatever else does.
    pub(super) fn watch(&mut self, gateway: usize, key: Key) {
        let Some(life) = &self.gateways[gateway].life else { return };
        let line = &mut self.lines[gateway];
        // Half of what the broker takes, eight at most, is for alarms alone.
        let reserved = usize::from(life.receive_maximum / 2).min(8);
        let is_calm = line.calm_from_ms <= self.now_ms
            && life.ship.figures().online
            && self.ingest.is_up()
            && !line.pipe.is_half_open;
        if is_calm
            && self.gateways[gateway]
                .heads()
                .is_some_and(|heads| heads.backlog(Lane::Alarm) <= reserved as u64)
        {
            let there_ms = self.now_ms + line.pipe.delay_ms + JITTER_MS + COMMIT_MS.end + SLACK_MS;
            line.watched.insert(key, there_ms);
        }
    }

    pub(super) fn connect(&mut self, gateway: usize, connection: u64) {
        self.unrest(gateway);
        let line = &mut self.lines[gateway];
        line.pipe = Pipe { connection, delay_ms: line.delay_ms, ..Pipe::default() };
        if line.mute_until_ms > self.now_ms {
            return;
        }
        if line.down_until_ms > self.now_ms || !self.ingest.is_up() {
            self.after(50..3_000, Event::Lost { gateway, connection });
        } else {
            let delay_ms = 3 * line.delay_ms;
            self.after(delay_ms..delay_ms + 500, Event::Up { gateway, connection });
        }
    }

    pub(super) fn up(&mut self, gateway: usize, connection: u64) {
        let receive_maximum = [1, 2, 4, 16, 64][self.random.usize(..5)];
        let mono_ms = self.gateways[gateway].mono_ms(self.now_ms);
        if let Some(life) =
            self.gateways[gateway].life.as_mut().filter(|life| life.connection == Some(connection))
        {
            life.receive_maximum = receive_maximum;
            life.ship.connected(mono_ms, receive_maximum);
            self.note(|| format!("gw-{gateway} connects, {receive_maximum} at once"));
        }
    }

    pub(super) fn lost(&mut self, gateway: usize, connection: u64) {
        let mono_ms = self.gateways[gateway].mono_ms(self.now_ms);
        if let Some(life) =
            self.gateways[gateway].life.as_mut().filter(|life| life.connection == Some(connection))
        {
            life.connection = None;
            life.ship.disconnected(mono_ms);
            self.unrest(gateway);
            self.note(|| format!("gw-{gateway} loses its connection"));
        }
    }

    /// Puts a frame on the line.
    pub(super) fn publish(&mut self, mail: Mail, lane: Lane, bytes: Vec<u8>) {
        let pipe = &mut self.lines[mail.gateway].pipe;
        if pipe.is_half_open || pipe.connection != mail.connection {
            return;
        }
        let late_ms = pipe.delay_ms + self.random.u64(..JITTER_MS);
        pipe.there_ms = pipe.there_ms.max(self.now_ms + late_ms);
        let at_ms = pipe.there_ms;
        if self.climate.doubles_in > 0 && self.random.u32(..self.climate.doubles_in) == 0 {
            let bytes = bytes.clone();
            // Both may come in one commit of ingest, or far apart.
            let apart_ms = [1, 20_000][self.random.usize(..2)];
            self.after(late_ms..late_ms + apart_ms, Event::Frame { mail, lane, bytes });
        }
        self.at(at_ms, Event::Frame { mail, lane, bytes });
    }

    /// A frame has come through.
    pub(super) fn frame(&mut self, mail: Mail, lane: Lane, bytes: Vec<u8>) {
        let pipe = &self.lines[mail.gateway].pipe;
        // What was on its way when its connection broke may arrive all the same.
        let is_stale = pipe.connection != mail.connection || pipe.is_half_open;
        if is_stale && !self.climate.ghosts {
            return;
        }
        let receipts = self.gateways[mail.gateway].traits.receipts;
        if receipts {
            self.answer(mail, Answer::Durable);
        }
        let is_later = self.ingest_later_until_ms > self.now_ms
            || (self.is_storm && self.climate.later_in > 0 && self.random.u32(..self.climate.later_in) == 0);
        if !self.ingest.is_up() || is_later {
            if self.ingest.is_up() && !receipts {
                self.answer(mail, Answer::Later(0x83));
            }
            self.unrest(mail.gateway);
            return;
        }
        let Ok(header) = wire::Header::peek(&bytes) else { return };
        let key = Key { store: header.store, lane, sequence: header.sequence };
        let id = &self.ids[mail.gateway];
        match self.ingest.arrive(self.now_ms, mail.gateway, id, lane, bytes, mail) {
            Taken::Waits => {}
            Taken::Durable => self.settle(mail, key, Verdict::Durable),
            Taken::Refused => self.settle(mail, key, Verdict::Refused),
            Taken::Later => self.later(mail),
        }
    }

    pub(super) fn later(&mut self, mail: Mail) {
        self.unrest(mail.gateway);
        if !self.gateways[mail.gateway].traits.receipts {
            self.answer(mail, Answer::Later(0x83));
        }
    }

    /// Ingest's word on a frame goes back: as the answer, or over another's broker as a receipt.
    pub(super) fn settle(&mut self, mail: Mail, key: Key, verdict: Verdict) {
        if verdict == Verdict::Durable && self.lines[mail.gateway].watched.remove(&key).is_some() {
            self.outcome.timely_alarms += 1;
        }
        let Key { store, lane, sequence } = key;
        if self.gateways[mail.gateway].traits.receipts {
            let receipt = Receipt { store, lane, sequences: vec![sequence], verdict };
            if !self.is_storm || self.random.u32(..20) > 0 {
                let delay_ms = self.lines[mail.gateway].delay_ms;
                self.after(delay_ms..delay_ms + 2_000, Event::Receipt { gateway: mail.gateway, receipt });
            }
        } else if verdict == Verdict::Durable {
            self.answer(mail, Answer::Durable);
        } else {
            self.answer(mail, Answer::Refused(0x99));
        }
    }

    fn answer(&mut self, mail: Mail, answer: Answer) {
        let pipe = &mut self.lines[mail.gateway].pipe;
        let late_ms = pipe.delay_ms + self.random.u64(..JITTER_MS);
        if pipe.connection == mail.connection {
            if pipe.is_half_open {
                return;
            }
            pipe.here_ms = pipe.here_ms.max(self.now_ms + late_ms);
            let at_ms = pipe.here_ms;
            self.at(at_ms, Event::Answer { mail, answer });
        } else if self.climate.ghosts {
            self.after(late_ms..late_ms + 5_000, Event::Answer { mail, answer });
        }
    }
}
