//! The keeper: makes a stretch of the log last outside the log.
//!
//! The order is the promise. Parquet files first, synced; then SQL; then the tables; then the checkpoint, which is the
//! commit point. A crash before it leaves files that the next start removes by their names, and SQL rows that the replay writes
//! again as they are. A crash after it has nothing to repeat.
//!
//! Windows do not go along with every stretch: they settle in memory, and the [`filer`](super::filer) writes them. The
//! checkpoint says up to where they are in Parquet; the others are made again from the readings, which are.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use super::checkpoint::Checkpoint;
use super::tables::Tables;
use crate::columns::{FileError, Names, PoolFolder, Stretch, write_readings};
use crate::counters::{Counters, Part};
use crate::pool::sensors::Words;
use crate::pool::snapshot::Snapshot;
use crate::pool::{Span, State};
use crate::registry::{Ended, GatewayRow, Registry, SensorRow, Write};

/// Pause before a failed attempt is repeated.
const RETRY: Duration = Duration::from_secs(1);

/// Most words of sensors that wait in memory for the next checkpoint before the database is told at once: a whole city
/// may announce itself in a minute.
pub(super) const MAX_DESCRIBED: usize = 10_000;

/// Everything a checkpoint needs of the state, taken at one position.
pub(super) struct Cut {
    pub(super) span: Arc<Span>,
    pub(super) position: u64,
    names: Names,
    snapshot: Snapshot,
    files: u64,
    rows: u64,
}

impl Cut {
    /// What there is to say when it is kept.
    fn kept(&self, files: u64) -> Kept {
        Kept { position: self.position, files, needs_log_from: self.position.min(self.snapshot.missing_from) }
    }

    /// Cuts the state here; `None` while the last cut is still being written, or when there is nothing to write: neither
    /// records nor that windows are in files.
    pub(super) fn of(state: &mut State) -> Option<Self> {
        if state.position == state.current.from && state.windows_filed() == state.windows_kept {
            return None;
        }
        let span = state.cut()?;
        let names = Names::of(&span.rows, &state.sensors);
        Some(Self {
            position: state.position,
            names,
            snapshot: state.take_snapshot(),
            files: state.totals.parquet_files,
            rows: state.totals.parquet_rows + span.rows.len() as u64,
            span,
        })
    }
}

fn degrees((lat, lon): (i32, i32)) -> (f64, f64) {
    (f64::from(lat) / 1e7, f64::from(lon) / 1e7)
}

/// Descriptions of gateways and sensors that are to be in SQL before the next checkpoint.
pub(super) fn descriptions(state: &mut State) -> Vec<Write> {
    let (gateways, sensors) = state.take_described();
    let gateways = gateways.into_iter().filter_map(|id| {
        let gateway = state.gateways.get(&id)?;
        Some(Write::Gateway(GatewayRow {
            id: id.to_string(),
            area: gateway.area.clone(),
            board: gateway.board.clone(),
            version: gateway.version.clone(),
            place: gateway.place.map(degrees),
            first_heard_ms: gateway.first_heard_ms,
            last_heard_ms: gateway.last_heard_ms,
        }))
    });
    let sensors = sensors.into_iter().filter_map(|(number, words)| sensor(state, number, Some(words)));
    gateways.chain(sensors).collect()
}

/// Some of the sensors that SQL may learn of when it has time.
pub(super) fn some_changed(state: &mut State, most: usize) -> Vec<Write> {
    let changed = state.take_changed(most);
    changed.into_iter().filter_map(|number| sensor(state, number, None)).collect()
}

fn sensor(state: &State, number: u32, words: Option<Words>) -> Option<Write> {
    let sensor = state.sensors.get(number)?;
    Some(Write::Sensor(SensorRow {
        number,
        gateway: sensor.gateway.to_string(),
        sensor: sensor.name.to_owned(),
        quantity: sensor.quantity.0,
        words,
        place: degrees((sensor.lat_e7, sensor.lon_e7)),
        area: state.sensors.area(sensor.area).to_owned(),
    }))
}

/// The steps of keeping, for tests that end in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// If windows go along: the filer's, for a start does both in turn.
    Windows,
    Started,
    Readings,
    Registry,
    Tables,
    Checkpoint,
}

/// Why a stretch could not be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    #[error("{0}")]
    File(#[from] FileError),
    #[error("checkpoint: {0}")]
    Checkpoint(std::io::Error),
    #[error("tables of the checkpoint: {0}")]
    Tables(std::io::Error),
    #[error("the registry has ended")]
    Registry,
    /// A test said so.
    #[error("killed after {0:?}")]
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests kill"))]
    Killed(Step),
}

impl From<Ended> for KeepError {
    fn from(_: Ended) -> Self {
        KeepError::Registry
    }
}

/// What has become of a cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    /// Where it was cut.
    pub(super) position: u64,
    /// How many files it took.
    pub(super) files: u64,
    /// From where on a start needs the log.
    pub(super) needs_log_from: u64,
}

/// Writes what was cut.
pub(super) struct Keeper {
    pub(super) data: PathBuf,
    pub(super) folder: PoolFolder,
    pub(super) registry: Registry,
    pub(super) tables: Tables,
    /// Log position up to which windows are in Parquet by the durable checkpoint.
    pub(super) windows_kept: Arc<AtomicU64>,
}

impl Keeper {
    /// Makes a cut last and returns how many files that took. `after` is called after each step and may end it.
    pub(super) fn keep(
        &mut self,
        cut: &Cut,
        mut after: impl FnMut(Step) -> Result<(), KeepError>,
    ) -> Result<u64, KeepError> {
        after(Step::Started)?;
        let stretch = Stretch { from: cut.span.from, to: cut.position };
        let files = write_readings(&self.folder, stretch, &cut.span.rows, &cut.names)?;
        after(Step::Readings)?;
        self.registry.flush()?;
        after(Step::Registry)?;
        let map = self.tables.write(&cut.snapshot.pages).map_err(KeepError::Tables)?;
        after(Step::Tables)?;
        let checkpoint = Checkpoint {
            position: cut.position,
            files: cut.files + files,
            rows: cut.rows,
            missing_from: cut.snapshot.missing_from,
            windows_kept: cut.span.windows_filed,
            map,
            body: cut.snapshot.body.clone(),
        };
        checkpoint.write(&self.data).map_err(KeepError::Checkpoint)?;
        self.tables.commit(checkpoint.map);
        self.windows_kept.store(cut.span.windows_filed, Ordering::Release);
        after(Step::Checkpoint)?;
        Ok(files)
    }

    /// Starts the thread: cuts come in, and what has become of them goes out.
    pub(super) fn start(
        mut self,
        cuts: Receiver<Cut>,
        kept: mpsc::Sender<Kept>,
        counters: Arc<Counters>,
    ) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("keeper".into()).spawn(move || {
            while let Ok(cut) = cuts.recv() {
                let attempt = || self.keep(&cut, |_| Ok(()));
                let Some(files) = repeated(attempt, Part::Pool, &counters, || kept.is_closed()) else {
                    return;
                };
                let done = cut.kept(files);
                // The apply thread wants the rows' room and the windows back.
                drop(cut);
                if kept.blocking_send(done).is_err() {
                    return;
                }
            }
        })
    }
}

/// Repeats a failed attempt to write until it succeeds; meanwhile the apply thread takes in as much as its bounds allow.
/// `None` when that is of no use any more.
pub(super) fn repeated<T>(
    mut attempt: impl FnMut() -> Result<T, KeepError>,
    part: Part,
    counters: &Counters,
    is_over: impl Fn() -> bool,
) -> Option<T> {
    loop {
        match attempt() {
            Ok(done) => {
                counters.set_trouble(part, None);
                return Some(done);
            }
            Err(error) => {
                tracing::error!(%error, part = part.as_str(), "the pool could not be written; trying again");
                let what =
                    if part == Part::Windows { "Windows wait" } else { "Readings wait in the log and" };
                let detail = format!("{error}. {what} in memory; free or fix the disk");
                counters.set_trouble(part, Some(detail));
                if matches!(error, KeepError::Registry) || is_over() {
                    return None;
                }
                std::thread::sleep(RETRY);
            }
        }
    }
}
