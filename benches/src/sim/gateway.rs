//! A gateway without its threads: what pipeline, keeper and courier do, one step after the other.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use boards::{Fault, Sample};
use configs::Quantity;
use fastrand::Rng;
use gateway::batch::{Batcher, Judged, Limits as BatchLimits};
use gateway::buffer::books::{Books, Staged, Work};
use gateway::buffer::room::{Budget, free_floor};
use gateway::buffer::shelf::BALLAST_BYTES;
use gateway::buffer::store::Store;
use gateway::buffer::{Gauges, Heads, RuleMemory, SPAN, StoreError};
use gateway::clock::{BUILT_MS, Estimate, Look, Stamp, Word};
use gateway::config::{Agreement, Condition, Direction, Limit, Rule, Sensor};
use gateway::floor::SAVE_EVERY_MS;
use gateway::judge::{Judge, Rules};
use gateway::ladder::{self, Ladder, Rungs};
use gateway::ship::{Action, Answer, Limits, Send, Ship};
use wire::{
    AlarmEvent, Alarms, Area, BootId, Datum, GatewayId, Health, Lane, Level, NameError, Payload, Place,
    SensorName,
};

use super::disk::{Disk, SimShelf};
use super::truth::{Key, NUMBERS, Truth};
use super::{Broken, EPOCH_MS, broken};

/// Most commands in one commit, as the keeper takes them.
const MAX_GROUP: usize = 64;
/// The keeper looks at its disk so often, and clocks are looked at so often, in ms.
const LOOK_EVERY_MS: u64 = 5_000;
const OBSERVE_EVERY_MS: u64 = 1_000;
/// Gauges are kept so often, in ms.
const GAUGES_EVERY_MS: u64 = 30_000;
/// A disk that fails again and again in one commit is left alone until the next step.
const MAX_TRIES: u32 = 6;
/// Bytes of keys and small values beside frames: heads, marks, rules, gaps.
const META_BYTES: u64 = 16 << 10;
/// What a dangerous and a calm value are, in Cel.
const HOT: f64 = 80.0;
const CALM: f64 = 20.0;

/// What one seed makes of a gateway.
#[derive(Debug, Clone)]
pub struct Traits {
    /// Bytes that frames may fill.
    pub budget_bytes: u64,
    /// Sensors.
    pub sensors: usize,
    /// How often each is read, in ms.
    pub every_ms: u64,
    /// How long a batch gathers, in ms.
    pub batch_ms: u64,
    /// Patience of the shipper, in ms.
    pub patience_ms: u64,
    /// Whether somebody else's broker stands between.
    pub receipts: bool,
    /// How much faster its crystal runs, in ppm.
    pub drift_ppm: i64,
    /// Whether its wall clock survives without power.
    pub has_rtc: bool,
}

/// What a step asks of the world.
#[derive(Debug)]
pub enum Wish {
    /// A connection with this number.
    Connect(u64),
    /// A frame to be sent over a connection.
    Publish {
        /// The connection.
        connection: u64,
        /// Comes back with the answer.
        token: u64,
        /// The frame's name.
        key: Key,
        /// The frame.
        bytes: Vec<u8>,
    },
    /// An alarm is durable.
    AlarmKept(Key),
    /// The power has gone.
    Died,
    /// The process wants to be started again.
    Restart,
}

/// The gateway, on or off.
pub struct Gateway {
    /// Its name.
    pub id: GatewayId,
    /// What it is like.
    pub traits: Traits,
    /// Its disk.
    pub disk: Rc<RefCell<Disk>>,
    /// What it really did.
    pub truth: Truth,
    /// The process, while it runs.
    pub life: Option<Life>,
    /// How far the wall clock is off, in ms, and what the time service last said.
    pub off_ms: i64,
    word: Word,
    sensors: Vec<Sensor>,
    rules: Vec<Rule>,
    random: Rng,
    floor_ms: i64,
    rungs: Rungs,
    /// Sensors see a fire until then…
    pub fire_until_ms: u64,
    /// …and give no values until then.
    pub mute_until_ms: u64,
    /// The disk does not answer until then…
    pub stall_until_ms: u64,
    /// …and is full until then.
    pub full_until_ms: Option<u64>,
    largest_frame: u64,
}

/// One run of the process.
pub struct Life {
    boot: BootId,
    born_ms: u64,
    estimate: Estimate,
    judge: Judge,
    watch: Rules,
    batcher: Batcher,
    store: Option<Store<SimShelf>>,
    books: Books,
    keeps: VecDeque<(Payload, Vec<RuleMemory>)>,
    work: Work,
    staged: Staged,
    has_work: bool,
    heads: Heads,
    /// The shipper.
    pub ship: Ship,
    ladder: Ladder,
    /// The present connection.
    pub connection: Option<u64>,
    /// How many frames it may have in flight.
    pub receive_maximum: u16,
    sampled_ms: u64,
    observed_ms: u64,
    looked_ms: u64,
    gauged_ms: u64,
    saved_ms: u64,
}

fn place(number: usize) -> Place {
    Place::new(30.66 + number as f64 / 1e3, 104.05, Datum::Wgs84, Area::unknown())
        .unwrap_or_else(|_| unreachable!())
}

fn rule(name: &str, condition: Condition, level: Level) -> Rule {
    Rule { name: name.into(), condition, on_delay_ms: 0, off_delay_ms: 4_000, repeat_ms: Some(60_000), level }
}

impl Gateway {
    /// A gateway that was never on.
    pub fn new(
        number: usize,
        quantity: &Quantity,
        traits: Traits,
        random: &mut Rng,
    ) -> Result<Self, NameError> {
        let sensor = |n: usize| {
            Ok(Sensor {
                name: SensorName::new(&format!("s{n}"))?,
                quantity: quantity.clone(),
                place: place(number * 10 + n),
                chip: "simulated",
                label: String::new(),
                every_ms: traits.every_ms,
                spike: None,
                flat_ms: None,
                stale_ms: None,
            })
        };
        let sensors = (0..traits.sensors).map(sensor).collect::<Result<Vec<_>, NameError>>()?;
        let hot = |sensor| {
            let direction = Direction::Above;
            Condition::Limit(Limit { sensor, over_ms: None, direction, threshold: 60.0, deadband: 5.0 })
        };
        let both = Condition::Agreement(Agreement { members: vec![0, 1], needed: 2, within_ms: None });
        Ok(Self {
            id: GatewayId::new(&format!("gw-{number}"))?,
            disk: Rc::new(RefCell::new(Disk::new(random.u64(..)))),
            truth: Truth::of(traits.sensors),
            life: None,
            off_ms: 0,
            word: Word::default(),
            rules: vec![
                rule("hot-0", hot(0), Level::Orange),
                rule("hot-1", hot(1), Level::Orange),
                rule("fire", both, Level::Red),
            ],
            sensors,
            random: random.fork(),
            floor_ms: BUILT_MS,
            rungs: Rungs::default(),
            fire_until_ms: 0,
            mute_until_ms: 0,
            stall_until_ms: 0,
            full_until_ms: None,
            largest_frame: 0,
            traits,
        })
    }

    fn shelf(&self) -> SimShelf {
        SimShelf(Rc::clone(&self.disk))
    }

    fn wall_ms(&self, now_ms: u64) -> i64 {
        EPOCH_MS + now_ms as i64 + self.off_ms
    }

    /// A time service sets the clock right and says so.
    pub fn set_clock(&mut self, now_ms: u64) {
        self.off_ms = 0;
        self.word = Word::given(self.wall_ms(now_ms));
    }

    /// The power comes back, or the process is started again.
    pub fn start(&mut self, now_ms: u64, after_power_cut: bool) -> Result<(), Broken> {
        if after_power_cut {
            self.disk.borrow_mut().power_cut();
            self.word = Word::default();
            if !self.traits.has_rtc {
                self.off_ms = -(EPOCH_MS + now_ms as i64);
            }
        } else if self.off_ms != 0 {
            // A process started anew believes the time service's old word, also when the clock was moved by hand
            // since. Known, and left out here: the service has to speak again.
            self.word = Word::default();
        }
        let (mut store, gaps) = match Store::open(self.shelf()) {
            Ok(opened) => opened,
            Err(StoreError::Io(_)) => return Ok(()),
            Err(error) => return Err(broken("the store is never damaged", error.to_string())),
        };
        if !gaps.is_empty() {
            return Err(broken("the store has no holes", format!("{gaps:?}")));
        }
        self.truth.reopened(&store)?;
        let remembered = store.remembered_rules().unwrap_or_default();
        let boot = BootId(self.random.u64(1..1 << 53));
        let look = Look { mono_ms: 0, wall_ms: self.wall_ms(now_ms), word: self.word };
        let estimate = Estimate::new(self.floor_ms, look);
        let mut watch = Rules::new(&self.rules, &self.sensors, boot);
        watch.restore(remembered, 0);
        let batch = BatchLimits { readings: 200, age_ms: self.traits.batch_ms };
        let budget = Budget::exactly(self.traits.budget_bytes, true);
        let gauges = Arc::new(Gauges::default());
        let limits = Limits { patience_ms: self.traits.patience_ms, receipts: self.traits.receipts };
        // It is held at the first look, if there is room.
        let _ = store.hold_ballast();
        self.life = Some(Life {
            boot,
            born_ms: now_ms,
            judge: Judge::new(&self.sensors, 1.0, 0),
            watch,
            batcher: Batcher::new(batch, boot, estimate.clock(), &self.sensors),
            estimate,
            heads: store.heads(),
            store: Some(store),
            books: Books::new(self.id.clone(), gauges, budget, gaps),
            keeps: VecDeque::new(),
            work: Work::default(),
            staged: Staged::default(),
            has_work: false,
            ship: Ship::new(limits, self.random.u64(..), 0),
            ladder: Ladder::new(ladder::Limits { restart_ms: Some(1_800_000), reboot_after: 0 }, self.rungs),
            connection: None,
            receive_maximum: 0,
            sampled_ms: 0,
            observed_ms: 0,
            looked_ms: 0,
            gauged_ms: 0,
            saved_ms: 0,
        });
        Ok(())
    }

    /// The process ends at once.
    pub fn stop(&mut self) {
        self.life = None;
    }

    /// Time since the start as its crystal counts it, in ms.
    pub fn mono_ms(&self, now_ms: u64) -> u64 {
        let Some(life) = &self.life else { return 0 };
        let elapsed = now_ms.saturating_sub(life.born_ms);
        elapsed.saturating_add_signed(elapsed as i64 / 1_000 * self.traits.drift_ppm / 1_000)
    }

    /// Whether nothing waits in it.
    pub fn is_drained(&self) -> bool {
        self.life.as_ref().is_some_and(|life| {
            life.batcher.next_timeout().is_none()
                && life.heads.is_empty()
                && life.keeps.is_empty()
                && !life.has_work
                && life.store.is_some()
        })
    }

    /// What its store says of itself.
    pub fn heads(&self) -> Option<Heads> {
        self.life.as_ref().map(|life| life.heads)
    }

    /// Keeps gauges, so that there is something to send.
    pub fn keep_gauges(&mut self, now_ms: u64) {
        let mono_ms = self.mono_ms(now_ms);
        let Some(life) = &mut self.life else { return };
        let (boot, clock) = (life.boot, life.estimate.clock());
        let gauges = vec![("backlog".into(), life.heads.backlog(Lane::Reading) as f64)];
        life.keeps.push_back((Payload::Health(Health { boot, clock, mono_ms, gauges }), Vec::new()));
        life.gauged_ms = mono_ms;
    }

    /// Does everything there is to do now.
    pub fn step(
        &mut self,
        now_ms: u64,
        samples: bool,
        durable: &dyn Fn(Key) -> bool,
        connections: &mut u64,
    ) -> Result<Vec<Wish>, Broken> {
        if self.life.is_none() {
            return Ok(Vec::new());
        }
        if self.full_until_ms.is_some_and(|until| until <= now_ms) {
            self.full_until_ms = None;
            self.disk.borrow_mut().clear();
        }
        self.sample(now_ms, samples);
        let mut wishes = Vec::new();
        if self.stall_until_ms <= now_ms {
            self.keep(now_ms, &mut wishes)?;
            if !self.disk.borrow().is_dead() {
                self.ship(now_ms, durable, connections, &mut wishes)?;
            }
        }
        if self.disk.borrow().is_dead() {
            self.life = None;
            wishes.push(Wish::Died);
        }
        Ok(wishes)
    }

    /// The pipeline's part.
    fn sample(&mut self, now_ms: u64, samples: bool) {
        let mono_ms = self.mono_ms(now_ms);
        let wall_ms = self.wall_ms(now_ms);
        let (is_fire, is_mute) = (now_ms < self.fire_until_ms, now_ms < self.mute_until_ms);
        let Some(life) = &mut self.life else { return };
        if mono_ms >= life.observed_ms + OBSERVE_EVERY_MS {
            life.observed_ms = mono_ms;
            if let Some(clock) = life.estimate.observe(Look { mono_ms, wall_ms, word: self.word })
                && let Some(batch) = life.batcher.clock(clock)
            {
                life.keeps.push_back((Payload::Readings(batch), Vec::new()));
            }
            for fault in life.judge.silent(mono_ms).into_iter().filter(|_| samples) {
                life.judged(mono_ms, fault);
                self.truth.made += 1;
            }
        }
        if mono_ms >= life.saved_ms + SAVE_EVERY_MS {
            life.saved_ms = mono_ms;
            self.floor_ms = self.floor_ms.max(life.estimate.passed_ms(mono_ms));
        }
        if samples && mono_ms >= life.sampled_ms + self.traits.every_ms {
            life.sampled_ms = mono_ms;
            let mut made = 0;
            for (sensor, taken_ms) in (0..).zip(&mut self.truth.taken_ms) {
                let base = if is_fire { HOT } else { CALM + f64::from(self.random.u32(..3)) };
                let value = if is_mute || self.random.u32(..200) == 0 {
                    Err(Fault::Checksum)
                } else {
                    let number = taken_ms.len() as f64;
                    taken_ms.push(now_ms);
                    Ok((base * NUMBERS + number) / NUMBERS)
                };
                if let Some(judged) = life.judge.judge(mono_ms, &Sample { sensor, mono_ms, value }) {
                    life.judged(mono_ms, judged);
                    made += 1;
                }
            }
            self.truth.made += made;
        }
        let batch = if samples { life.batcher.timeout(mono_ms) } else { life.batcher.close() };
        if let Some(batch) = batch {
            life.keeps.push_back((Payload::Readings(batch), Vec::new()));
        }
        if samples && mono_ms >= life.gauged_ms + GAUGES_EVERY_MS {
            self.keep_gauges(now_ms);
        }
    }

    /// The keeper's part.
    fn keep(&mut self, now_ms: u64, wishes: &mut Vec<Wish>) -> Result<(), Broken> {
        let mono_ms = self.mono_ms(now_ms);
        let shelf = self.shelf();
        let Some(life) = &mut self.life else { return Ok(()) };
        let look_is_due = mono_ms >= life.looked_ms + LOOK_EVERY_MS;
        let is_idle = !life.has_work && life.keeps.is_empty() && life.work.forgets.is_empty();
        if is_idle && life.work.asides.is_empty() && !look_is_due {
            return Ok(());
        }
        if look_is_due && let Some(store) = &mut life.store {
            life.looked_ms = mono_ms;
            let room = store.room();
            let has_room = room.free_bytes > free_floor(room) + 2 * BALLAST_BYTES;
            if has_room && store.hold_ballast().is_ok() {
                life.books.disk_full = false;
            }
            // It is written again at the next look.
            let _ = store.write_witness();
        }
        if !life.has_work {
            life.has_work = true;
            life.staged = Staged::default();
            let count = life.keeps.len().min(MAX_GROUP);
            life.work.keeps = life.keeps.drain(..count).collect();
        }
        let stamp = Stamp { boot: life.boot, clock: life.estimate.clock(), mono_ms };
        for _ in 0..MAX_TRIES {
            if self.disk.borrow().is_dead() {
                return Ok(());
            }
            let attempt = (|| {
                let store = match &mut life.store {
                    Some(store) => store,
                    empty => {
                        let (store, gaps) = Store::open(shelf.clone())?;
                        life.books.gaps.extend(gaps);
                        empty.insert(store)
                    }
                };
                life.books.attempt(store, &mut life.work, &mut life.staged, false, stamp)
            })();
            let told = attempt.is_ok();
            self.truth.committed(life.staged.store, &life.staged.frames, told);
            let largest = life.staged.frames.iter().map(|frame| frame.bytes.len() as u64).max();
            self.largest_frame = self.largest_frame.max(largest.unwrap_or(0));
            match attempt {
                Ok(_) => {
                    let alarms = life.staged.frames.iter().filter(|frame| frame.lane == Lane::Alarm);
                    let key = |sequence| Key { store: life.staged.store, lane: Lane::Alarm, sequence };
                    wishes.extend(alarms.map(|frame| Wish::AlarmKept(key(frame.sequence))));
                    life.has_work = false;
                    life.work = Work::default();
                    return self.committed();
                }
                Err(StoreError::Io(error)) => {
                    life.store = None;
                    if error.kind() == io::ErrorKind::StorageFull && !life.books.disk_full {
                        self.disk.borrow_mut().free_ballast();
                        life.books.disk_full = true;
                    }
                }
                Err(error) => return Err(broken("the store is never damaged", error.to_string())),
            }
        }
        Ok(())
    }

    /// After a commit: nothing is larger than its bound.
    fn committed(&mut self) -> Result<(), Broken> {
        let Some(life) = &mut self.life else { return Ok(()) };
        let Some(store) = &life.store else { return Ok(()) };
        life.heads = store.heads();
        let held = store.set_aside_frames() as u64;
        // What was handed out stays, and one group may come before room is made for it.
        let window = (SPAN + MAX_GROUP as u64) * self.largest_frame;
        let live_bound = self.traits.budget_bytes + window;
        let bytes_bound = live_bound + held * (self.largest_frame + 16) + META_BYTES;
        let (live, bytes) = (store.live_bytes(), self.disk.borrow().bytes());
        if live > live_bound || bytes > bytes_bound {
            let what = format!(
                "{}: {live} of {live_bound} bytes of frames, {bytes} of {bytes_bound} in all",
                self.id
            );
            return Err(broken("the shelf stays in its bounds", what));
        }
        Ok(())
    }

    /// The courier's part.
    fn ship(
        &mut self,
        now_ms: u64,
        durable: &dyn Fn(Key) -> bool,
        connections: &mut u64,
        wishes: &mut Vec<Wish>,
    ) -> Result<(), Broken> {
        let mono_ms = self.mono_ms(now_ms);
        let Some(life) = &mut self.life else { return Ok(()) };
        let Some(store) = &mut life.store else { return Ok(()) };
        life.ship.heads(mono_ms, &life.heads);
        life.ship.timeout(mono_ms);
        loop {
            while let Some(action) = life.ship.next_action() {
                match action {
                    Action::Connect => {
                        *connections += 1;
                        life.connection = Some(*connections);
                        wishes.push(Wish::Connect(*connections));
                    }
                    Action::Drop(_) => life.connection = None,
                    Action::Forget { store: of, lane, below } => {
                        for sequence in store.range(lane).start..below {
                            let key = Key { store: of, lane, sequence };
                            let is_aside =
                                life.work.asides.iter().any(|a| (a.0, a.1, a.2) == (of, lane, sequence));
                            if !durable(key) && !store.is_explained(lane, sequence) && !is_aside {
                                return Err(broken(
                                    "only what ingest has is forgotten",
                                    format!("{} {key:?}", self.id),
                                ));
                            }
                        }
                        life.work.forgets.push((of, lane, below));
                    }
                    Action::SetAside { store: of, lane, sequence, reason } => {
                        life.work.asides.push((of, lane, sequence, reason));
                    }
                }
            }
            let sends: Vec<Send> = std::iter::from_fn(|| life.ship.next_send(mono_ms)).collect();
            if sends.is_empty() {
                break;
            }
            for Send { token, lane, sequence } in sends {
                let key = Key { store: life.heads.store, lane, sequence };
                let forgets = life.work.forgets.iter().filter(|forget| forget.1 == lane);
                let floor = forgets.map(|forget| forget.2).fold(store.range(lane).start, u64::max);
                if sequence >= floor + SPAN {
                    return Err(broken(
                        "a lane is sent no further than its span",
                        format!("{} {key:?}", self.id),
                    ));
                }
                match (life.books.hand_out(store, lane, sequence), life.connection) {
                    (Some(bytes), Some(connection)) => {
                        self.truth.handed_out(key, &bytes)?;
                        wishes.push(Wish::Publish { connection, token, key, bytes });
                    }
                    (None, _) => life.ship.answered(mono_ms, token, Answer::Gone),
                    (Some(_), None) => {}
                }
            }
        }
        let figures = life.ship.figures();
        if figures.in_flight > u64::from(life.receive_maximum) {
            let what = format!("{}: {} of {}", self.id, figures.in_flight, life.receive_maximum);
            return Err(broken("no more is in flight than the broker takes", what));
        }
        let answers = figures.durable + figures.refused;
        if life.ladder.look(mono_ms, answers, !life.heads.is_empty()).is_some() {
            wishes.push(Wish::Restart);
        }
        self.rungs = life.ladder.rungs();
        Ok(())
    }

    /// What became of a frame.
    pub fn answered(&mut self, now_ms: u64, token: u64, answer: Answer) {
        let mono_ms = self.mono_ms(now_ms);
        if let Some(life) = &mut self.life {
            life.ship.answered(mono_ms, token, answer);
        }
    }
}

impl Life {
    fn judged(&mut self, mono_ms: u64, judged: Judged) {
        let events: Vec<AlarmEvent> = self.watch.judge(&judged);
        if !events.is_empty() {
            let memory = |event: &AlarmEvent| RuleMemory {
                rule: event.rule.clone(),
                events: self.watch.memory(event),
            };
            let rules = events.iter().map(memory).collect();
            let alarms = Alarms { boot: self.boot, clock: self.estimate.clock(), events };
            self.keeps.push_back((Payload::Alarms(alarms), rules));
        }
        if let Some(batch) = self.batcher.push(mono_ms, judged) {
            self.keeps.push_back((Payload::Readings(batch), Vec::new()));
        }
    }
}
