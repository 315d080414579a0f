//! A run from its first event to the judgement: `line` carries and times, `weather` breaks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use configs::Catalogue;
use fastrand::Rng;
use gateway::buffer::Heads;
use gateway::ship::Answer;
use wire::{GatewayId, Lane, Receipt, Verdict};

use super::gateway::{Gateway, Traits, Wish};
use super::ingest::Ingest;
use super::truth::{Rows, ToldLoss};
use super::{Broken, Failure, Outcome, broken};

mod line;
mod weather;

use line::{Line, UNREST_MS};
use weather::{ALL, Climate};

/// Most gateways of a run.
const MAX_GATEWAYS: usize = 3;
/// How long the weather is bad, in ms.
const STORM_MS: std::ops::Range<u64> = 60_000..480_000;
/// How long everything may take to drain in fine weather, in ms: the longest pauses of the shipper, some times over.
const DRAIN_MS: u64 = 3_600_000;
/// After that so much time goes by, in ms: nobody waits longer to learn the time.
const DAY_MS: u64 = 90_000_000;
/// A gateway does something this often, in ms, and ingest commits this often.
const STEP_MS: std::ops::Range<u64> = 20..300;
const COMMIT_MS: std::ops::Range<u64> = 2..40;
/// Last events that a failure tells.
const MAX_EVENTS: usize = 60;

/// Where the answer to a frame goes.
#[derive(Debug, Clone, Copy)]
struct Mail {
    gateway: usize,
    connection: u64,
    token: u64,
}

#[derive(Debug)]
enum Event {
    Step(usize),
    Commit,
    Weather,
    Start { gateway: usize, after_power_cut: bool },
    StartIngest,
    Up { gateway: usize, connection: u64 },
    Lost { gateway: usize, connection: u64 },
    Frame { mail: Mail, lane: Lane, bytes: Vec<u8> },
    Answer { mail: Mail, answer: Answer },
    Receipt { gateway: usize, receipt: Receipt },
}

/// Everything.
pub struct World {
    now_ms: u64,
    random: Rng,
    climate: Climate,
    is_storm: bool,
    /// By time, then by the order in which they were made.
    queue: BTreeMap<(u64, u64), Event>,
    made: u64,
    gateways: Vec<Gateway>,
    ids: Vec<GatewayId>,
    lines: Vec<Line>,
    connections: u64,
    ingest: Ingest<Mail>,
    ingest_later_until_ms: u64,
    log_full_until_ms: u64,
    events: VecDeque<String>,
    outcome: Outcome,
}

fn setup(error: impl std::fmt::Display) -> Broken {
    broken("a run can be set up", error.to_string())
}

impl World {
    /// Runs one seed.
    ///
    /// # Errors
    /// The [`Failure`].
    pub fn run(seed: u64) -> Result<Outcome, Box<Failure>> {
        // The store takes its number from the generator of the thread.
        fastrand::seed(seed);
        let fail = |at_ms, broken, events| Box::new(Failure { seed, at_ms, broken, events });
        let mut world = Self::new(seed).map_err(|broken| fail(0, broken, Vec::new()))?;
        match world.live() {
            Ok(()) => Ok(world.outcome),
            Err(broken) => Err(fail(world.now_ms, broken, world.events.into())),
        }
    }

    fn new(seed: u64) -> Result<Self, Broken> {
        let mut random = Rng::with_seed(seed);
        let catalogue = Arc::new(Catalogue::builtin());
        let quantity = catalogue.by_name("air-temperature").ok_or_else(|| setup("no air-temperature"))?;
        let mut gateways = Vec::new();
        for number in 0..random.usize(1..=MAX_GATEWAYS) {
            let budget_bytes = if random.bool() { random.u64(8..40) << 10 } else { 1 << 20 };
            let traits = Traits {
                budget_bytes,
                sensors: random.usize(2..5),
                every_ms: random.u64(500..4_000),
                batch_ms: random.u64(1_000..8_000),
                patience_ms: random.u64(5_000..30_000),
                receipts: random.u32(..4) == 0,
                drift_ppm: random.i64(-100..=100),
                has_rtc: random.bool(),
            };
            gateways.push(Gateway::new(number, quantity, traits, &mut random).map_err(setup)?);
        }
        // Each seed has troubles of its own, so that some are met alone and some in every company.
        let mut faults = ALL.to_vec();
        random.shuffle(&mut faults);
        faults.truncate(random.usize(2..=ALL.len()));
        let climate = Climate {
            faults,
            pause_ms: random.u64(3_000..40_000),
            doubles_in: [0, 5, 40][random.usize(..3)],
            later_in: [0, 0, 10, 60][random.usize(..4)],
            ghosts: random.bool(),
        };
        let mut ingest = Ingest::new(&catalogue, random.u64(..))?;
        ingest.refuses_in = [0, 0, 8, 50][random.usize(..4)];
        Ok(Self {
            now_ms: 0,
            climate,
            is_storm: true,
            queue: BTreeMap::new(),
            made: 0,
            ids: gateways.iter().map(|gateway| gateway.id.clone()).collect(),
            lines: gateways
                .iter()
                .map(|_| Line { delay_ms: random.u64(1..400), ..Line::default() })
                .collect(),
            gateways,
            connections: 0,
            ingest,
            ingest_later_until_ms: 0,
            log_full_until_ms: 0,
            events: VecDeque::new(),
            outcome: Outcome::default(),
            random,
        })
    }

    fn live(&mut self) -> Result<(), Broken> {
        for gateway in 0..self.gateways.len() {
            let at_ms = self.random.u64(..5_000);
            self.at(at_ms, Event::Start { gateway, after_power_cut: true });
            self.at(at_ms, Event::Step(gateway));
        }
        self.at(1, Event::Commit);
        self.at(self.climate.pause_ms, Event::Weather);
        let storm_ms = self.random.u64(STORM_MS);
        self.go_on(storm_ms, |_| false)?;
        self.clear_up()?;
        self.drain()?;
        // Who never learned the time is dated when he has waited for a day and something comes.
        self.now_ms += DAY_MS;
        self.note(|| "a day goes by".into());
        for number in 0..self.gateways.len() {
            self.gateways[number].set_clock(self.now_ms);
            self.gateways[number].keep_gauges(self.now_ms);
            self.lines[number].calm_from_ms = self.now_ms + UNREST_MS;
        }
        // What was thinned last is told with the first commit of the day.
        self.go_on(self.now_ms + 10_000, |_| false)?;
        self.drain()?;
        self.judge()
    }

    fn at(&mut self, at_ms: u64, event: Event) {
        self.made += 1;
        self.queue.insert((at_ms, self.made), event);
    }

    fn after(&mut self, range: std::ops::Range<u64>, event: Event) {
        let at_ms = self.now_ms + self.random.u64(range);
        self.at(at_ms, event);
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(format!("{:>9} {}", self.now_ms, what()));
    }

    /// Goes on until a time, or until `done`; whether that came.
    fn go_on(&mut self, until_ms: u64, done: impl Fn(&Self) -> bool) -> Result<bool, Broken> {
        while let Some(entry) = self.queue.first_entry() {
            let at_ms = entry.key().0;
            if at_ms > until_ms {
                break;
            }
            let event = entry.remove();
            self.now_ms = self.now_ms.max(at_ms);
            let is_step = matches!(event, Event::Step(_));
            self.happen(event)?;
            if is_step && done(self) {
                return Ok(true);
            }
        }
        self.now_ms = self.now_ms.max(until_ms);
        Ok(false)
    }

    fn drain(&mut self) -> Result<(), Broken> {
        let is_drained = |world: &Self| world.gateways.iter().all(Gateway::is_drained);
        if self.go_on(self.now_ms + DRAIN_MS, is_drained)? {
            return Ok(());
        }
        let waiting: Vec<Option<Heads>> = self.gateways.iter().map(Gateway::heads).collect();
        Err(broken("everything drains in fine weather", format!("{waiting:?}")))
    }

    fn happen(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Step(gateway) => {
                self.step(gateway)?;
                self.after(STEP_MS, Event::Step(gateway));
            }
            Event::Commit => {
                self.commit()?;
                self.after(COMMIT_MS, Event::Commit);
            }
            Event::Weather => {
                if self.is_storm {
                    self.trouble()?;
                    let pause_ms = self.climate.pause_ms;
                    self.after(1..2 * pause_ms, Event::Weather);
                }
            }
            Event::Start { gateway, after_power_cut } => {
                if self.gateways[gateway].life.is_none() {
                    self.gateways[gateway].start(self.now_ms, after_power_cut)?;
                    if self.gateways[gateway].life.is_none() {
                        self.after(500..2_000, Event::Start { gateway, after_power_cut: true });
                    }
                    self.note(|| format!("gw-{gateway} starts"));
                }
            }
            Event::StartIngest => {
                self.ingest.recover(self.now_ms)?;
                if self.ingest.is_up() {
                    self.ingest.check_durable(&self.ids)?;
                } else {
                    self.ingest.stop(true);
                    self.after(500..2_000, Event::StartIngest);
                }
                self.note(|| "ingest starts".into());
            }
            Event::Up { gateway, connection } => self.up(gateway, connection),
            Event::Lost { gateway, connection } => self.lost(gateway, connection),
            Event::Frame { mail, lane, bytes } => self.frame(mail, lane, bytes),
            Event::Answer { mail, answer } => {
                let present = self.gateways[mail.gateway].life.as_ref().and_then(|life| life.connection);
                let is_ghost = self.climate.ghosts && mail.connection >= self.lines[mail.gateway].first;
                if present == Some(mail.connection) || is_ghost {
                    self.gateways[mail.gateway].answered(self.now_ms, mail.token, answer);
                }
            }
            Event::Receipt { gateway, receipt } => {
                let mono_ms = self.gateways[gateway].mono_ms(self.now_ms);
                if let Some(life) = &mut self.gateways[gateway].life
                    && life.connection.is_some()
                {
                    life.ship.receipt(mono_ms, &receipt);
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, number: usize) -> Result<(), Broken> {
        let late = self.lines[number].watched.iter().find(|(_, until)| **until < self.now_ms);
        if let Some((key, until_ms)) = late {
            let traits = &self.gateways[number].traits;
            let what = format!("gw-{number} {key:?} was due at {until_ms} ms; {traits:?}");
            return Err(broken("a fresh alarm arrives within its bound", what));
        }
        let durable = &self.ingest.durable;
        let is_durable = |key| durable.contains(&(number, key));
        let gateway = &mut self.gateways[number];
        let wishes = gateway.step(self.now_ms, self.is_storm, &is_durable, &mut self.connections)?;
        for wish in wishes {
            match wish {
                Wish::Connect(connection) => self.connect(number, connection),
                Wish::Publish { connection, token, key, bytes } => {
                    self.publish(Mail { gateway: number, connection, token }, key.lane, bytes);
                }
                Wish::AlarmKept(key) => self.watch(number, key),
                Wish::Died => self.crash(number, true),
                Wish::Restart => self.crash(number, false),
            }
        }
        Ok(())
    }

    fn crash(&mut self, gateway: usize, power_cut: bool) {
        self.outcome.crashes += 1;
        self.note(|| format!("gw-{gateway} {}", if power_cut { "loses power" } else { "is killed" }));
        self.gateways[gateway].stop();
        self.lines[gateway].first = self.connections + 1;
        self.unrest(gateway);
        self.after(500..60_000, Event::Start { gateway, after_power_cut: power_cut });
    }

    fn commit(&mut self) -> Result<(), Broken> {
        if self.log_full_until_ms <= self.now_ms {
            self.ingest.disk.set_full(false);
        }
        for (mail, key, is_durable) in self.ingest.commit() {
            if is_durable {
                self.settle(mail, key, Verdict::Durable);
            } else if self.ingest.is_up() {
                self.later(mail);
            }
        }
        if self.ingest.has_too_many_gaps {
            return Err(broken("the gaps of a lane stay few", "ingest had to put a frame off for them"));
        }
        if self.ingest.disk.is_dead() {
            self.note(|| "ingest loses power".into());
            self.stop_ingest(true);
        }
        Ok(())
    }

    fn stop_ingest(&mut self, power_cut: bool) {
        self.outcome.crashes += 1;
        self.ingest.stop(power_cut);
        for gateway in 0..self.gateways.len() {
            let connection = self.lines[gateway].pipe.connection;
            self.unrest(gateway);
            if !self.lines[gateway].pipe.is_half_open {
                self.after(1..500, Event::Lost { gateway, connection });
            }
        }
        self.after(500..20_000, Event::StartIngest);
    }

    fn judge(&mut self) -> Result<(), Broken> {
        let state = &self.ingest.state;
        let rows = Rows::of(state, self.ingest.rows());
        let mut lost = 0;
        for (number, gateway) in self.gateways.iter().enumerate() {
            let losses: Vec<ToldLoss> =
                self.ingest.losses.iter().filter(|(of, _)| *of == number).map(|(_, loss)| *loss).collect();
            lost +=
                losses.iter().filter(|loss| loss.lane == Lane::Reading).map(|loss| loss.count).sum::<u64>();
            let heads =
                gateway.heads().ok_or_else(|| broken("every box runs at the end", gateway.id.to_string()))?;
            let durable = |key| self.ingest.durable.contains(&(number, key));
            gateway.truth.judge(&gateway.id, &heads, state, &rows, &losses, durable)?;
        }
        let readings = self.ingest.rows().count() as u64;
        let (accepted, told) = (state.totals.accepted, state.totals.lost);
        if (accepted, told) != (readings, lost) {
            let what = format!("{accepted} accepted, {told} lost; {readings} in the pool, {lost} told");
            return Err(broken("ingest counts what it has", what));
        }
        let mut text = format!("{:?} {} {}", state.totals, self.made, self.random.u64(..));
        for row in self.ingest.rows() {
            text.push_str(&format!("{row:?}"));
        }
        let digest = wire::frame::crc32c(text.as_bytes());
        self.outcome = Outcome { digest, readings, lost, ..self.outcome };
        Ok(())
    }
}
