//! The keeper: makes a stretch of the log last outside the log.
//!
//! The order is the promise. Parquet files first, synced; then SQL; then the tables; then the checkpoint, which is the
//! commit point. A crash before it leaves files that the next start removes by their names, and SQL rows that the replay writes
//! again as they are. A crash after it has nothing to repeat.
//!
//! Windows do not go along with every stretch: they settle in memory, for a minute or until they are too many, and are
//! then written for all of that time at once. The checkpoint says up to where they are in Parquet; the others are made
//! again from the readings, which are.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use super::checkpoint::Checkpoint;
use super::tables::Tables;
use crate::columns::{FileError, Names, PoolFolder, Stretch, write_readings, write_windows};
use crate::counters::{Counters, Part};
use crate::pool::hot::Hot;
use crate::pool::sensors::Words;
use crate::pool::snapshot::Snapshot;
use crate::pool::{Span, State};
use crate::registry::{Ended, GatewayRow, Registry, SensorRow, Write};

/// Pause before a failed attempt is repeated.
const RETRY: Duration = Duration::from_secs(1);

/// Most words of sensors that wait in memory for the next checkpoint before the database is told at once: a whole city
/// may announce itself in a minute.
pub(super) const MAX_DESCRIBED: usize = 10_000;

/// Bytes of windows that may settle: a minute of a city of 22 million devices takes some 100 MiB. Late readings touch
/// windows of a whole day, so that minutes alone are no bound.
pub(super) const MAX_SETTLING: usize = 128 << 20;

/// Everything a checkpoint needs of the state, taken at one position.
pub(super) struct Cut {
    pub(super) span: Arc<Span>,
    pub(super) position: u64,
    /// Windows that go along.
    pub(super) settled: Option<(Stretch, Arc<Hot>)>,
    windows_kept: u64,
    names: Names,
    snapshot: Snapshot,
    files: u64,
    rows: u64,
}

impl Cut {
    /// Position from which on the log is needed after it.
    pub(super) fn needs_log_from(&self) -> u64 {
        self.snapshot.missing_from
    }

    /// Cuts the state here, with the windows of what was kept before if they are to go along; `None` while the last cut
    /// is still being written, or when there is nothing to write.
    pub(super) fn of(state: &mut State, with_windows: bool) -> Option<Self> {
        let windows = Stretch { from: state.windows_kept, to: state.current.from };
        let with_windows = with_windows && windows.from < windows.to;
        let is_news = state.position > state.current.from;
        if state.in_flight.is_some() || !(is_news || with_windows) {
            return None;
        }
        let settled = with_windows.then(|| (windows, state.settle()));
        let span = state.cut()?;
        let names = Names::of(&span.rows, &state.sensors);
        Some(Self {
            position: state.position,
            settled,
            windows_kept: if with_windows { windows.to } else { windows.from },
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
    Started,
    Readings,
    Windows,
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
        let mut files = write_readings(&self.folder, stretch, &cut.span.rows, &cut.names)?;
        after(Step::Readings)?;
        if let Some((stretch, windows)) = &cut.settled {
            files += write_windows(&self.folder, *stretch, windows)?;
        }
        after(Step::Windows)?;
        self.registry.flush()?;
        after(Step::Registry)?;
        let map = self.tables.write(&cut.snapshot.pages).map_err(KeepError::Tables)?;
        after(Step::Tables)?;
        let checkpoint = Checkpoint {
            position: cut.position,
            files: cut.files + files,
            rows: cut.rows,
            missing_from: cut.snapshot.missing_from,
            windows_kept: cut.windows_kept,
            map,
            body: cut.snapshot.body.clone(),
        };
        checkpoint.write(&self.data).map_err(KeepError::Checkpoint)?;
        self.tables.commit(checkpoint.map);
        self.windows_kept.store(cut.windows_kept, Ordering::Release);
        after(Step::Checkpoint)?;
        Ok(files)
    }

    /// Starts the thread: cuts come in, positions and numbers of files go out. A failure is repeated until it
    /// succeeds; meanwhile the apply thread takes in as much as its bound allows.
    pub(super) fn start(
        mut self,
        cuts: Receiver<Cut>,
        kept: mpsc::Sender<(u64, u64)>,
        counters: Arc<Counters>,
    ) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("keeper".into()).spawn(move || {
            while let Ok(cut) = cuts.recv() {
                let files = loop {
                    match self.keep(&cut, |_| Ok(())) {
                        Ok(files) => break files,
                        Err(error) => {
                            tracing::error!(%error, "readings could not be written to the pool; trying again");
                            counters.set_trouble(Part::Pool, Some(format!("{error}. Readings wait in the log and in memory; free or fix the disk")));
                            if matches!(error, KeepError::Registry) || kept.is_closed() {
                                return;
                            }
                            std::thread::sleep(RETRY);
                        }
                    }
                };
                counters.set_trouble(Part::Pool, None);
                let position = cut.position;
                // The apply thread wants the rows' room and the windows back.
                drop(cut);
                if kept.blocking_send((position, files)).is_err() {
                    return;
                }
            }
        })
    }
}
