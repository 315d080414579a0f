//! The words the stories speak in: a box that runs, an ingest that serves, and what became of each reading.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use benches::{http, pool, segments};
use gateway::buffer;
use gateway::notify::Manager;
use gateway::status::Status;
use gateway::{Config, RunError};
use ingest::Server;
use ingest::config::Intake;
use ingest::pool::apply::kind;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use wire::{Batch, Frame, Lane, Payload};

use crate::world::World;

/// How long a frame may wait for its acknowledgement before a new connection is built, in ms.
const PATIENCE_MS: u64 = 5_000;
/// The longest that data may wait, in ms: patience, then the pauses before the first four attempts (half a second, one,
/// two, four).
const LIMIT_MS: u64 = PATIENCE_MS + 7_500;
/// How long anything may take; generous, the machine may be busy with other tests.
const LONGEST: Duration = Duration::from_secs(60);

/// A box and the ingest that it ships to.
pub(crate) struct Edge {
    runtime: Runtime,
    server: Server,
    ingest: TempDir,
    data: TempDir,
}

impl Edge {
    pub(crate) fn new() -> Self {
        let ingest = TempDir::new().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = ingest::config::Config::with_data(ingest.path().to_owned()).unwrap();
        (config.intake, config.http) = (Intake::Embedded(free), free);
        let server = runtime.block_on(Server::start(config)).unwrap();
        Self { runtime, server, ingest, data: TempDir::new().unwrap() }
    }

    /// What the gateway is told: a sensor of two quantities twenty times a second, in small batches.
    pub(crate) fn config(&self) -> Config {
        let text = format!(
            "[gateway]
id = 'gw-1'
area = 'chengdu/qingyang'
data = '.'
[place]
lat = 30.66
lon = 104.05
datum = 'wgs84'
[ingest]
broker = 'mqtt://{}'
patience = '{PATIENCE_MS}ms'
[board]
kind = 'simulated'
seed = 3
[batch]
age = '200ms'
[[device]]
name = 'hall'
chip = 'sht4x'
bus = 'i2c-1'
every = '50ms'
outputs = {{ temperature = {{ sensor = 'hall.t' }}, humidity = {{ sensor = 'hall.h' }} }}
",
            self.server.mqtt_addr.unwrap()
        );
        Config::parse("test.toml", &text, self.data.path()).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// Starts the gateway in a world of its own.
    pub(crate) fn start(&self, world: World) -> Running {
        // What an earlier start said of itself would be taken for this one's.
        let _ = std::fs::remove_file(self.data.path().join("status.json"));
        let world = Arc::new(world);
        let (config, clocks) = (self.config(), world.clone());
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(gateway::run_under(Manager::none(), clocks, config, async {
                let _ = stopped.await;
            }))
        });
        Running { stop, thread, data: self.data.path().to_owned(), world }
    }

    /// What ingest answers, once it pleases.
    pub(crate) fn until(&self, path: &str, pleases: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + LONGEST;
        loop {
            let answer = http::get_json(self.server.http_addr, path);
            match answer {
                Ok(value) if pleases(&value) => return value,
                _ => assert!(Instant::now() < end, "GET {path} never became right, last: {answer:?}"),
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What ingest thinks of the clock behind the newest reading.
    pub(crate) fn newest_clock(&self) -> String {
        let answer = self.until("/api/v1/sensors/gw-1:hall.t", |answer| answer["last"].is_object());
        answer["last"]["clock"].as_str().unwrap().to_owned()
    }

    pub(crate) fn block_on(&self, work: impl Future) {
        self.runtime.block_on(work);
    }

    /// What lies in the buffer of the gateway, which does not run.
    fn buffer(&self) -> buffer::Contents {
        let found = buffer::inspect(self.data.path(), |_, _, _| {}).unwrap();
        assert!(found.is_sound(), "{found:?}");
        found.store.unwrap()
    }

    /// Frames that the stopped gateway has set aside.
    pub(crate) fn set_aside(&self) -> usize {
        self.buffer().set_aside
    }

    /// Stops ingest: what came through its door, and what lies in its pool. Each reading must be there once, and nothing
    /// may wait on the gateway, which has stopped before.
    pub(crate) fn stop(self) -> Vec<Taken> {
        let waiting: u64 = self.buffer().lanes.iter().map(|(_, lane)| lane.frames).sum();
        assert_eq!(waiting, 0, "nothing waits on the stopped gateway");
        self.runtime.block_on(self.server.stop()).unwrap();
        let mut rows: BTreeMap<u64, Vec<(i64, i32)>> = BTreeMap::new();
        for file in pool::files(&self.ingest.path().join("pool/readings")).unwrap() {
            let visit = |_: &str, row: pool::Row| {
                rows.entry(row.sequence).or_default().push((row.at_ms, row.clock));
            };
            pool::read(&file, visit).unwrap();
        }
        let taken = sent(&self.ingest.path().join("log")).into_iter().map(|(sequence, batch)| {
            let mut rows = rows.remove(&sequence).unwrap_or_default();
            assert_eq!(rows.len(), batch.readings.len(), "frame {sequence}: in the pool, and in the frame");
            rows.sort_unstable();
            Taken { sequence, batch, rows }
        });
        let taken = taken.collect();
        assert!(rows.is_empty(), "rows of frames that nobody sent: {rows:?}");
        taken
    }
}

/// A frame of readings that ingest took.
pub(crate) struct Taken {
    pub(crate) sequence: u64,
    pub(crate) batch: Batch,
    /// Its rows in the pool: when each was taken, in ms since 1970, and what is known of that time: 0 a guess, 1 held
    /// over, 2 synchronised.
    pub(crate) rows: Vec<(i64, i32)>,
}

/// What came through ingest's door, by number.
fn sent(log: &Path) -> BTreeMap<u64, Batch> {
    let mut sent = BTreeMap::new();
    for (base, path) in segments::list(log).unwrap() {
        segments::read(base, &std::fs::read(path).unwrap(), |record| {
            if record.kind == kind::FRAME
                && let Frame { sequence, payload: Payload::Readings(batch), .. } =
                    Frame::decode(record.payload).unwrap()
            {
                sent.insert(sequence, batch);
            }
        });
    }
    sent
}

/// A gateway that runs until [`Running::stop`].
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), RunError>>,
    data: PathBuf,
    pub(crate) world: Arc<World>,
}

impl Running {
    fn status(&self) -> Option<Status> {
        Status::read(&self.data).ok()
    }

    /// The last status, once it holds what is wanted. The shipper is never idle with data waiting for longer than its
    /// limit.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
        let end = Instant::now() + LONGEST;
        loop {
            if let Some(status) = self.status() {
                assert!(status.oldest_unacked_ms <= LIMIT_MS, "idle with data waiting: {status:?}");
                if holds(&status) {
                    return status;
                }
            }
            assert!(Instant::now() < end, "never: {what}; last {:?}", self.status());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until ingest has acknowledged a good deal more and next to nothing waits.
    pub(crate) fn goes_on(&self) -> Status {
        let before = self.status().map_or(0, |status| status.durable);
        self.until("it goes on", |status| {
            status.durable >= before + 10 && status.backlog.iter().all(|(_, frames)| *frames <= 2)
        })
    }

    /// The box sleeps longer than any patience. Awake again it has the limit to get rid of what waited: the age of that
    /// counts the sleep.
    pub(crate) fn sleeps(&self, time: Duration) {
        self.world.sleep(time);
        let (woke, slept_ms) = (Instant::now(), time.as_millis() as u64);
        let moves = |status: &Status| status.uptime_ms > slept_ms && status.oldest_unacked_ms <= LIMIT_MS;
        while !self.status().is_some_and(|status| moves(&status)) {
            assert!(
                woke.elapsed() < Duration::from_millis(LIMIT_MS),
                "idle after a sleep: {:?}",
                self.status()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops it; its last status, and its world.
    pub(crate) fn stop(self) -> (Status, Arc<World>) {
        let _ = self.stop.send(());
        self.thread.join().unwrap().expect("a clean stop");
        (Status::read(&self.data).unwrap(), self.world)
    }
}

/// What ingest says of a lane of its gateway.
pub(crate) fn lane(gateway: &Value, lane: Lane) -> &Value {
    gateway["lanes"].as_array().unwrap().iter().find(|found| found["lane"] == lane.as_str()).unwrap()
}
