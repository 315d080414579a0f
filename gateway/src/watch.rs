//! The task that looks after everything else: announcement, health frames, the status file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use wire::status::MAX_GAUGES;
use wire::{Announcement, Health, Lane, Payload, SensorInfo};

use crate::buffer::{Buffer, Heads};
use crate::clock::{STEP_MS, Timekeeper};
use crate::config::Config;
use crate::courier::{Report, Window};
use crate::floor;
use crate::life::Beats;
use crate::notify::Manager;
use crate::pipeline::PipelineFigures;
use crate::sample::BusFigures;
use crate::seal::Link;
use crate::seal::lines::Lines;
use crate::status::{BusStatus, Status};
use crate::trend::{Trend, hours_left};
use crate::vitals::Vitals;

/// First health frame after the start, in ms: soon enough for a person who waits for it.
const FIRST_HEALTH_MS: u64 = 2_000;
/// Health frames from then on, in ms.
const HEALTH_EVERY_MS: u64 = 30_000;
/// How often the watch looks around.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The status file is written at each look for so long after the start, in ms, while a person waits for it…
const STATUS_OFTEN_MS: u64 = 20_000;
/// …and this often from then on, in ms: each time costs the card some pages.
const STATUS_EVERY_MS: u64 = 5_000;
/// How long the watch waits for the disk before it looks after the rest again.
const DISK_PATIENCE: Duration = Duration::from_secs(5);
/// Most buses with a gauge of their own: the rest of [`MAX_GAUGES`] is for the box.
const MAX_BUS_GAUGES: usize = 64;

/// Everything worth looking at.
pub(crate) struct Watch {
    pub(crate) config: Config,
    pub(crate) time: Timekeeper,
    pub(crate) buffer: Buffer,
    pub(crate) shipping: Window,
    pub(crate) pipeline: Arc<PipelineFigures>,
    pub(crate) buses: Vec<Arc<BusFigures>>,
    pub(crate) manager: Manager,
    /// Where the status file goes.
    pub(crate) status_folder: PathBuf,
    pub(crate) vitals: Vitals,
    /// Growth of what was kept in the buffer.
    pub(crate) kept: Trend,
    /// Seals at the ends of lines, if there are any.
    pub(crate) seals: Option<Link>,
    /// Starts so far, this one included.
    pub(crate) starts: u64,
}

/// What the watch has told already.
#[derive(Default)]
struct Told {
    unwritable: bool,
    status_ms: u64,
    gauges: BTreeMap<String, f64>,
    stuck_looks: u32,
    steps: u64,
    slept_ms: u64,
    sign_ms: u64,
    floor_ms: u64,
}

/// What the gateway says of itself at its start.
pub(crate) fn announcement(config: &Config, time: &Timekeeper) -> Payload {
    let stamp = time.stamp();
    let sensors = config.sensors.iter().map(|sensor| SensorInfo {
        sensor: sensor.name.clone(),
        quantity: sensor.quantity.code,
        place: sensor.place.clone(),
        chip: sensor.chip.to_owned(),
        label: sensor.label.clone(),
        every_ms: u32::try_from(sensor.every_ms).unwrap_or(u32::MAX),
    });
    Payload::Announcement(Announcement {
        boot: stamp.boot,
        clock: stamp.clock,
        mono_ms: stamp.mono_ms,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        board: config.board_word().to_owned(),
        place: config.place.clone(),
        sensors: sensors.collect(),
    })
}

impl Watch {
    /// Writes status and health, saves the time floor and gives signs of life until the stop.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut health_ms = FIRST_HEALTH_MS;
        let mut told = Told::default();
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let now_ms = self.time.now_ms();
            if now_ms >= health_ms {
                health_ms = now_ms.saturating_add(HEALTH_EVERY_MS);
                let health = self.health();
                told.gauges = health.gauges.iter().cloned().collect();
                if self.buffer.try_keep(Payload::Health(health)).is_err() {
                    tracing::warn!("the disk does not answer: a health frame is given up");
                }
            }
            let status = Status { gauges: told.gauges.clone(), ..self.status() };
            if now_ms < STATUS_OFTEN_MS || now_ms >= told.status_ms {
                told.status_ms = now_ms.saturating_add(STATUS_EVERY_MS);
                let written = status.write(&self.status_folder);
                if let (Err(error), false) = (&written, told.unwritable) {
                    tracing::warn!(%error, "the status file cannot be written");
                }
                told.unwritable = written.is_err();
            }
            self.watch_clock(&mut told);
            if now_ms >= told.floor_ms {
                told.floor_ms = now_ms.saturating_add(floor::SAVE_EVERY_MS);
                self.save_floor().await;
            }
            self.give_sign(&mut told, now_ms, &status);
        }
        // The pipeline has ended: these are the figures to hold ingest's against.
        let status = Status { gauges: told.gauges, ..self.status() };
        if let Err(error) = status.write(&self.status_folder) {
            tracing::warn!(%error, "the status file cannot be written");
        }
        self.save_floor().await;
    }

    /// Tells the service manager that the gateway lives, if it does.
    fn give_sign(&self, told: &mut Told, now_ms: u64, status: &Status) {
        let Some(part) = self.beats().stuck(now_ms) else {
            told.stuck_looks = 0;
            if now_ms >= told.sign_ms {
                told.sign_ms = now_ms.saturating_add(self.manager.sign_every_ms().unwrap_or(HEALTH_EVERY_MS));
                self.manager.alive();
                self.manager.status(&status.line());
            }
            return;
        };
        told.stuck_looks = told.stuck_looks.saturating_add(1);
        // After the box slept every part is late once: only a second look in a row is believed, and told.
        if told.stuck_looks == 2 {
            tracing::error!(%part, "a part stands still: the service manager gets no sign of life");
            self.manager.status(&format!("停滞 stands still: {part}"));
        }
    }

    fn beats(&self) -> Beats {
        let store = self.buffer.gauges();
        Beats {
            pipeline_ms: count(&self.pipeline.beat_ms),
            buffer_ms: count(&store.beat_ms),
            shipper_ms: self.shipping.look().beat_ms,
            disk_refuses: store.refuses.load(Ordering::Relaxed),
        }
    }

    fn watch_clock(&self, told: &mut Told) {
        let (steps, slept_ms) = (self.time.steps(), self.time.slept_ms());
        if steps.count > told.steps {
            told.steps = steps.count;
            tracing::warn!(by_s = steps.last_ms as f64 / 1e3, "the wall clock stepped");
        }
        if slept_ms.saturating_sub(told.slept_ms) > STEP_MS {
            tracing::warn!(for_s = (slept_ms - told.slept_ms) as f64 / 1e3, "the box slept");
            told.slept_ms = slept_ms;
        }
    }

    /// The disk may take its time, and the network must not wait for it.
    async fn save_floor(&self) {
        let (data, floor_ms) = (self.config.data.clone(), self.time.passed_ms());
        let saving = tokio::task::spawn_blocking(move || floor::save(&data, floor_ms));
        if let Ok(Ok(Err(error))) = tokio::time::timeout(DISK_PATIENCE, saving).await {
            tracing::warn!(%error, "the time floor cannot be saved: after a restart without network the box knows less of the time");
        }
    }

    fn health(&mut self) -> Health {
        let stamp = self.time.stamp();
        let heads: Heads = *self.buffer.heads().borrow();
        let report = self.shipping.look();
        let store = self.buffer.gauges();
        let mut gauges: Vec<(String, f64)> = Vec::new();
        let mut add = |name: &str, value: f64| gauges.push((name.to_owned(), value));
        for lane in [Lane::Alarm, Lane::Reading, Lane::Health] {
            add(&format!("backlog.{}", lane.as_str()), heads.backlog(lane) as f64);
        }
        add("store.bytes", count(&store.store_bytes) as f64);
        add("store.lost_frames", count(&store.lost_frames) as f64);
        add("store.damaged", count(&store.damaged) as f64);
        add("store.commits", count(&store.commits) as f64);
        add("blobs.files", count(&store.blob_files) as f64);
        add("set_aside.frames", count(&store.set_aside) as f64);
        add("oldest_unacked.s", report.oldest_unacked_ms as f64 / 1e3);
        add("readings.total", count(&self.pipeline.readings) as f64);
        add("readings.faults", count(&self.pipeline.faults) as f64);
        add("readings.dropped", count(&self.pipeline.dropped) as f64);
        add("readings.thinned", count(&store.thinned) as f64);
        add("disk.full", count(&store.disk_full) as f64);
        add("alarms.active", count(&self.pipeline.active) as f64);
        add("alarms.blind", count(&self.pipeline.blind) as f64);
        add("ship.connects", report.figures.connects as f64);
        add("ship.durable", report.figures.durable as f64);
        add("ship.refused", report.figures.refused as f64);
        add("ship.restarts", f64::from(report.rungs.restarts));
        add("ship.reboots", f64::from(report.rungs.reboots));
        let kept = self.kept.per_s(stamp.mono_ms, count(&store.kept_bytes));
        let waiting = count(&store.live_bytes);
        add("buffer.waiting.bytes", waiting as f64);
        if let Some(hours) = kept.and_then(|per_s| hours_left(count(&store.budget_bytes), waiting, per_s)) {
            add("buffer.hours_left", hours);
        }
        let steps = self.time.steps();
        add("clock.state", f64::from(stamp.clock.state as u8));
        add("clock.steps", steps.count as f64);
        add("clock.last_step.s", steps.last_ms as f64 / 1e3);
        add("box.slept.s", self.time.slept_ms() as f64 / 1e3);
        add("uptime.s", stamp.mono_ms as f64 / 1e3);
        add("process.starts", self.starts as f64);
        for (name, value) in self.seals.iter().filter_map(Link::lines).flat_map(Lines::gauges) {
            add(name, value);
        }
        for (name, value) in self.vitals.look(stamp.mono_ms) {
            add(name, value);
        }
        let room = MAX_GAUGES.saturating_sub(gauges.len()).min(MAX_BUS_GAUGES);
        let errors = |bus: &Arc<BusFigures>| (format!("bus.{}.errors", bus.name), count(&bus.errors) as f64);
        gauges.extend(self.buses.iter().take(room).map(errors));
        Health { boot: stamp.boot, clock: stamp.clock, mono_ms: stamp.mono_ms, gauges }
    }

    fn status(&self) -> Status {
        let stamp = self.time.stamp();
        let heads: Heads = *self.buffer.heads().borrow();
        let Report { figures, oldest_unacked_ms, trouble, .. } = self.shipping.look();
        let store = self.buffer.gauges();
        Status {
            gateway: self.config.id.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            written_ms: stamp.clock.wall_ms(stamp.mono_ms),
            uptime_ms: stamp.mono_ms,
            broker: self.config.broker.to_string(),
            online: figures.online,
            trouble,
            clock: stamp.clock.state,
            sensors: self.config.sensors.len(),
            readings: count(&self.pipeline.readings),
            faults: count(&self.pipeline.faults),
            dropped: count(&self.pipeline.dropped),
            alarm_events: count(&self.pipeline.alarm_events),
            alarms_active: count(&self.pipeline.active),
            rules_blind: count(&self.pipeline.blind),
            durable: figures.durable,
            refused: figures.refused,
            backlog: Lane::ALL.into_iter().map(|lane| (lane, heads.backlog(lane))).collect(),
            oldest_unacked_ms,
            store_bytes: count(&store.store_bytes),
            quota_bytes: self.config.quota_bytes,
            blob_files: count(&store.blob_files),
            set_aside: count(&store.set_aside),
            lost_frames: count(&store.lost_frames),
            damaged_stores: count(&store.damaged),
            gauges: BTreeMap::new(),
            buses: self
                .buses
                .iter()
                .map(|bus| BusStatus {
                    name: bus.name.clone(),
                    samples: count(&bus.samples),
                    errors: count(&bus.errors),
                })
                .collect(),
        }
    }
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
