//! Ingest without its threads: door, log, state, checkpoints, and what it does after a power cut.

use std::collections::BTreeSet;
use std::sync::Arc;

use configs::Catalogue;
use ingest::admit::{self, Registration};
use ingest::log::{Entry, Log, LogConfig};
use ingest::pool::apply::{Incoming, Known, kind};
use ingest::pool::ledger::Standing;
use ingest::pool::rows::{Head, Row};
use ingest::pool::{Rules, State};
use ingest::senml::Mappings;
use wire::{Frame, GatewayId, Header, Lane, LossReason, Payload};

use super::log_disk::LogDisk;
use super::truth::{Key, ToldLoss};
use super::{Broken, EPOCH_MS, broken};

/// Small segments, so that a run goes through many.
const LOG: LogConfig = LogConfig { segment_bytes: 64 << 10, keep_ms: 60_000, keep_bytes: 128 << 10 };
/// Most frames that wait for a commit: as many as the log's queue takes.
const MAX_WAITING: usize = 256;

/// What became of a frame at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Durable before.
    Durable,
    /// Refused for good.
    Refused,
    /// Not now.
    Later,
    /// The commit will tell.
    Waits,
}

/// A frame that waits for a commit.
struct Waiting<M> {
    number: usize,
    frame: Frame,
    bytes: Vec<u8>,
    received_ms: i64,
    mail: M,
}

struct Checkpoint {
    position: u64,
    rows: usize,
    body: Vec<u8>,
}

/// Ingest.
pub struct Ingest<M> {
    /// Its log's disk.
    pub disk: LogDisk,
    log: Option<Log<LogDisk>>,
    /// What it knows.
    pub state: State,
    waiting: Vec<Waiting<M>>,
    /// Parquet, and the checkpoint that names it.
    kept: Vec<(Row, Head)>,
    checkpoint: Option<Checkpoint>,
    /// Frames that were answered as durable, in the order of gateways.
    pub durable: BTreeSet<(usize, Key)>,
    /// Loss records in them, by gateway.
    pub losses: Vec<(usize, ToldLoss)>,
    /// Of so many frames of readings one is refused; 0: none.
    pub refuses_in: u64,
    /// Whether a lane had more gaps than the ledger remembers.
    pub has_too_many_gaps: bool,
}

fn rules(catalogue: &Arc<Catalogue>) -> Rules {
    Rules {
        catalogue: Arc::clone(catalogue),
        mappings: Arc::new(Mappings::default()),
        hot_ms: 7_200_000,
        hot_bytes: 16 << 20,
    }
}

impl<M> Ingest<M> {
    /// An empty one.
    pub fn new(catalogue: &Arc<Catalogue>, seed: u64) -> Result<Self, Broken> {
        let mut ingest = Self {
            disk: LogDisk::new(seed),
            log: None,
            state: State::new(rules(catalogue)),
            waiting: Vec::new(),
            kept: Vec::new(),
            checkpoint: None,
            durable: BTreeSet::new(),
            losses: Vec::new(),
            refuses_in: 0,
            has_too_many_gaps: false,
        };
        ingest.recover(0)?;
        Ok(ingest)
    }

    /// Whether it runs.
    pub fn is_up(&self) -> bool {
        self.log.as_ref().is_some_and(|log| !log.is_poisoned()) && !self.disk.is_dead()
    }

    /// All readings of the pool.
    pub fn rows(&self) -> impl Iterator<Item = (Row, Head)> {
        let current = self.state.current.rows.iter().map(|(row, head)| (*row, *head));
        self.kept.iter().copied().chain(current)
    }

    /// What came through a connection.
    pub fn arrive(
        &mut self,
        now_ms: u64,
        number: usize,
        gateway: &GatewayId,
        lane: Lane,
        bytes: Vec<u8>,
        mail: M,
    ) -> Taken {
        let received_ms = EPOCH_MS + now_ms as i64;
        if self.log.is_none() || self.waiting.len() >= MAX_WAITING {
            return Taken::Later;
        }
        let Ok(header) = admit::header(gateway, lane, &bytes, &Registration::Open) else {
            return Taken::Refused;
        };
        let standing = (self.state.door.lock().ledger).standing(gateway, header.store, lane, header.sequence);
        match standing {
            Standing::Taken => {
                // It may have survived a power cut that nobody was answered before.
                if let Ok(frame) = Frame::decode(&bytes) {
                    self.note_durable(number, &frame);
                }
                return Taken::Durable;
            }
            Standing::TooManyGaps => {
                self.has_too_many_gaps = true;
                return Taken::Later;
            }
            Standing::New | Standing::Lost => {}
        }
        if self.is_refused(&header) {
            return Taken::Refused;
        }
        match admit::content(&header, &bytes, received_ms) {
            Ok(frame) => {
                self.waiting.push(Waiting { number, frame, bytes, received_ms, mail });
                Taken::Waits
            }
            Err(_) => Taken::Refused,
        }
    }

    /// The same frames each time: what is wrong with one stays wrong.
    fn is_refused(&self, header: &Header) -> bool {
        self.refuses_in > 0
            && header.lane == Lane::Reading
            && (header.store ^ header.sequence).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
                < (1 << 32) / self.refuses_in
    }

    /// One group commit: those who are to be answered, and whether theirs is durable.
    pub fn commit(&mut self) -> Vec<(M, Key, bool)> {
        let group = std::mem::take(&mut self.waiting);
        let Some(log) = self.log.as_mut().filter(|_| !group.is_empty()) else { return Vec::new() };
        let entries: Vec<Entry<'_>> = (group.iter())
            .map(|waiting| Entry {
                received_ms: waiting.received_ms,
                kind: kind::FRAME,
                source: waiting.frame.gateway.as_str(),
                payload: &waiting.bytes,
            })
            .collect();
        let ends = log.append(&entries).ends;
        let mut answers = Vec::with_capacity(group.len());
        for (number, waiting) in group.into_iter().enumerate() {
            let Waiting { number: gateway, frame, bytes, received_ms, mail } = waiting;
            let key = Key::of(&frame);
            let end = ends.get(number).copied();
            if let Some(end) = end {
                self.note_durable(gateway, &frame);
                let source = frame.gateway.as_str().to_owned();
                let known = Known::Frame(Box::new(frame));
                self.state.apply(Incoming {
                    end,
                    received_ms,
                    kind: kind::FRAME,
                    source: &source,
                    payload: &bytes,
                    known,
                });
            }
            answers.push((mail, key, end.is_some()));
        }
        // What leaves for SQL and listeners is not looked at here.
        self.state.take_effects();
        answers
    }

    fn note_durable(&mut self, gateway: usize, frame: &Frame) {
        if self.durable.insert((gateway, Key::of(frame)))
            && let Payload::Losses(losses) = &frame.payload
        {
            let told = losses.losses.iter().map(|loss| ToldLoss::of(frame.store, loss));
            self.losses.extend(told.map(|loss| (gateway, loss)));
        }
    }

    /// Readings to Parquet and a checkpoint; `dies` in the middle leaves neither.
    pub fn keep(&mut self, now_ms: u64, dies: bool) {
        let Some(log) = self.log.as_mut().filter(|_| self.state.position > self.state.current.from) else {
            return;
        };
        let position = self.state.position;
        if self.state.settle().is_some() {
            self.state.note_filed(1);
        }
        let Some(span) = self.state.cut() else { return };
        if dies {
            // The next start finds neither; a running one would go on, so this one has to end.
            self.log = None;
            return;
        }
        self.kept.extend(span.rows.iter().map(|(row, head)| (*row, *head)));
        self.checkpoint = Some(Checkpoint { position, rows: self.kept.len(), body: self.state.snapshot() });
        let now_ms = EPOCH_MS + now_ms as i64;
        self.state.written(position, 1, now_ms);
        self.state.cool(usize::MAX);
        // A segment that cannot be deleted stays until the next time.
        let _ = log.retire(position, now_ms);
    }

    /// Ends it, as a power cut or a kill does; what waits is answered by nobody.
    pub fn stop(&mut self, power_cut: bool) {
        self.log = None;
        self.waiting.clear();
        if power_cut {
            self.disk.power_cut();
        }
    }

    /// Starts it from what the disk holds.
    pub fn recover(&mut self, now_ms: u64) -> Result<(), Broken> {
        let rules = self.state.rules.clone();
        let (position, mut state) = match &self.checkpoint {
            None => (0, State::new(rules)),
            Some(Checkpoint { position, rows, body }) => {
                self.kept.truncate(*rows);
                let state = State::restore(rules, *position, 1, *rows as u64, body);
                (*position, state.ok_or_else(|| broken("a checkpoint is read back", "its own version"))?)
            }
        };
        let opened = Log::open(
            self.disk.clone(),
            LOG,
            position,
            EPOCH_MS + now_ms as i64,
            |record| -> Result<(), ()> {
                state.apply(Incoming {
                    end: record.end,
                    received_ms: record.received_ms,
                    kind: record.kind,
                    source: &record.source,
                    payload: &record.payload,
                    known: Known::Nothing,
                });
                Ok(())
            },
        );
        state.take_effects();
        self.state = state;
        match opened {
            Ok((log, opened)) if opened.damaged.is_empty() => {
                self.log = Some(log);
                Ok(())
            }
            Ok((_, opened)) => Err(broken("a torn tail is no damage", format!("{opened:?}"))),
            // The power went again, or there is no room: the next try will do.
            Err(_) => Ok(()),
        }
    }

    /// Everything that was answered is still known.
    pub fn check_durable(&self, ids: &[GatewayId]) -> Result<(), Broken> {
        let door = self.state.door.lock();
        for &(gateway, key) in &self.durable {
            let standing = door.ledger.standing(&ids[gateway], key.store, key.lane, key.sequence);
            if standing != Standing::Taken {
                let what = format!("{} {key:?} was answered as durable and is {standing:?}", ids[gateway]);
                return Err(broken("an answer survives ingest's power cut", what));
            }
        }
        Ok(())
    }
}

impl ToldLoss {
    fn of(store: u64, loss: &wire::Loss) -> Self {
        let wire::Loss { lane, from, to, count, reason, .. } = *loss;
        Self { store, lane, from, to, count, is_thinned: reason == LossReason::Thinned }
    }
}
