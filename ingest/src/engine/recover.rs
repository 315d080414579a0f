//! Starting from what is on disk: checkpoint, windows that were not in Parquet yet, then the log behind it.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use super::checkpoint::{self, Checkpoint};
use super::filer::{self, MAX_SETTLING};
use super::keeper::{Cut, KeepError, Keeper, MAX_DESCRIBED, Step, descriptions};
use super::progress::Progress;
use super::tables::Tables;
use super::{EngineConfig, StartError};
use crate::columns::{PoolFolder, Stretch, WindowFilter, read_measured};
use crate::counters::{Counters, Part};
use crate::log::{Folder, Log, LogConfig, MIN_SEGMENT_BYTES, OpenError, Record, Storage, make_folder, visit};
use crate::pool::apply::{Incoming, Known};
use crate::pool::windows::{BASE_PRECISION, Windows};
use crate::pool::{Effect, Rules, State};
use crate::registry::{Registry, Write};

/// The engine's parts before its threads start.
pub(super) struct Recovered<S: Storage> {
    pub(super) state: State,
    pub(super) log: Log<S>,
    pub(super) keeper: Keeper,
    /// Held while the engine lives: two engines in one folder would ruin it.
    pub(super) lock: File,
}

/// What must reach SQL of what applying a record gave.
pub(super) fn writes_of(effects: &[Effect]) -> Vec<Write> {
    effects
        .iter()
        .map(|effect| match effect {
            Effect::Alarm(alarm) => Write::Alarm(alarm.clone()),
            Effect::Held(held) => Write::Held(held.clone()),
            Effect::Envelope(envelope) => Write::Envelope(envelope.clone()),
            Effect::Picture(part) => Write::Picture(part.clone()),
            Effect::Replayed { id } => Write::HeldState(*id, "replayed"),
        })
        .collect()
}

fn io<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> StartError + 'a {
    move |error| StartError::Io { what, path: path.to_owned(), error }
}

/// Locks the data folder against a second engine.
pub(super) fn lock(data: &Path) -> Result<File, StartError> {
    make_folder(data).map_err(io("make the data folder", data))?;
    let path = data.join("lock");
    let file = File::create(&path).map_err(io("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let error = std::io::Error::other("another ingest is running in this folder: stop it first");
            Err(io("lock", &path)(error))
        }
        Err(TryLockError::Error(error)) => Err(io("lock", &path)(error)),
    }
}

/// Brings the state to the end of the log, which lies on `disk`. With `lock` held.
pub(super) fn recover<S: Storage>(
    config: &EngineConfig,
    lock: File,
    registry: Registry,
    counters: &Arc<Counters>,
    now_ms: i64,
    disk: impl FnOnce(Folder) -> S,
) -> Result<Recovered<S>, StartError> {
    let data = &config.data;
    let rules = Rules {
        catalogue: Arc::clone(&config.catalogue),
        mappings: Arc::clone(&config.mappings),
        hot_ms: config.hot_ms,
        hot_bytes: config.hot_bytes,
    };
    let broken = |why: String| StartError::Checkpoint { path: checkpoint::path(data), why };
    let checkpoint = Checkpoint::read(data).map_err(broken)?;
    let map = checkpoint.as_ref().map(|checkpoint| checkpoint.map.clone()).unwrap_or_default();
    let tables = Tables::open(data, map).map_err(io("open the tables in", data))?;
    let missing_from = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.missing_from);
    let mut state = match checkpoint {
        None => State::new(rules),
        Some(checkpoint) => restored(rules, &tables, checkpoint).map_err(broken)?,
    };
    let pool = |error: crate::columns::FileError| StartError::Pool(error.to_string());
    let folder = PoolFolder::open(&data.join("pool")).map_err(pool)?;
    let removed = folder.remove_beyond(state.checkpoint, state.windows_kept).map_err(pool)?;
    if removed > 0 {
        tracing::info!(
            removed,
            "removed files of a run that ended before its checkpoint; the log gives them again"
        );
    }
    let merged = folder.finish_merges().map_err(pool)?;
    if merged > 0 {
        tracing::info!(files = merged, "removed files whose content a merged file holds");
    }
    warm(&mut state, &folder, now_ms).map_err(pool)?;
    settle_again(&mut state, &folder).map_err(pool)?;

    let windows_kept = Arc::new(state.windows_kept.into());
    let mut keeper = Keeper { data: data.clone(), folder, registry, tables, windows_kept };
    let log_path = data.join("log");
    let mut storage = disk(Folder::open(&log_path).map_err(io("open the log folder", &log_path))?);
    let log_config = LogConfig {
        segment_bytes: config.segment_bytes.max(MIN_SEGMENT_BYTES),
        keep_ms: config.keep_log_ms,
        keep_bytes: config.keep_log_bytes,
    };
    let from = state.checkpoint;
    refresh(&mut state, &mut storage, missing_from..from).map_err(io("read the log in", &log_path))?;
    let opened = Log::open(storage, log_config, from, now_ms, |record| {
        replay(&mut state, &mut keeper, record, config.parquet_rows, now_ms)
    });
    let (log, opened) = opened.map_err(|error| match error {
        OpenError::Io(error) => io("read the log in", &log_path)(error),
        OpenError::Visitor(error) => StartError::Pool(error.to_string()),
    })?;
    if opened.cut_bytes > 0 {
        tracing::warn!(
            bytes = opened.cut_bytes,
            "cut an unfinished commit off the log; nobody had been told it was durable"
        );
    }
    if !opened.damaged.is_empty() {
        let ranges: Vec<String> =
            opened.damaged.iter().map(|range| format!("{}..{}", range.start, range.end)).collect();
        let detail = format!(
            "the log is damaged at {}: messages there were acknowledged and are lost here. Check the disk; the gateways' own counts show what is missing",
            ranges.join(", ")
        );
        tracing::error!("{detail}");
        counters.set_trouble(Part::LogHistory, Some(detail));
    }
    tracing::info!(records = opened.records, position = log.position(), "log replayed");
    counters.set_position(log.position());
    Ok(Recovered { state, log, keeper, lock })
}

/// The state of a checkpoint, or what is wrong with it.
fn restored(rules: Rules, tables: &Tables, checkpoint: Checkpoint) -> Result<State, String> {
    let Checkpoint { position, files, rows, missing_from, windows_kept, map, body } = checkpoint;
    let mut progress = Progress::new("读取传感器表 reading the table of sensors", map.bytes());
    let mut reader = tables.reader();
    let page = |kind, number| {
        let page = reader.page(kind, number)?;
        progress.add(page.len() as u64);
        Some(page)
    };
    let state = State::restore_with(rules, position, files, rows, &body, missing_from, page);
    let why = || reader.wrong.unwrap_or_else(|| "its body is of another version".into());
    let mut state = state.ok_or_else(why)?;
    state.windows_kept = windows_kept;
    Ok(state)
}

/// Takes the newest readings of a stretch of the log that the tables do not have.
fn refresh<S: Storage>(
    state: &mut State,
    storage: &mut S,
    missing: std::ops::Range<u64>,
) -> std::io::Result<()> {
    let mut progress = Progress::new("读取最新读数 reading newest values", missing.end - missing.start);
    let mut before = missing.start;
    let damaged = visit(storage, missing, |record| {
        progress.add(record.end - before);
        before = record.end;
        state.refresh(&Incoming {
            end: record.end,
            received_ms: record.received_ms,
            kind: record.kind,
            source: &record.source,
            payload: &record.payload,
            known: Known::Nothing,
        });
    })?;
    if !damaged.is_empty() {
        tracing::error!(
            ?damaged,
            "the log is damaged there: the newest value shown of a sensor may be an older one, until it reports again; its readings are in the pool"
        );
    }
    Ok(())
}

fn replay(
    state: &mut State,
    keeper: &mut Keeper,
    record: Record,
    parquet_rows: usize,
    now_ms: i64,
) -> Result<(), KeepError> {
    state.apply(Incoming {
        end: record.end,
        received_ms: record.received_ms,
        kind: record.kind,
        source: &record.source,
        payload: &record.payload,
        known: Known::Nothing,
    });
    let effects = state.take_effects();
    keeper.registry.write(writes_of(&effects))?;
    if state.described() >= MAX_DESCRIBED {
        keeper.registry.write(descriptions(state))?;
    }
    if state.current.rows.burden() >= parquet_rows {
        // Time stands still in a replay.
        let with_windows = state.settling.bytes() > MAX_SETTLING;
        keep_now(state, keeper, with_windows, now_ms, |_| Ok(()))?;
    }
    Ok(())
}

/// Makes everything applied so far last, with the windows of what was kept before if they are to go along, and waits for
/// it. No cut may be in flight.
pub(super) fn keep_now(
    state: &mut State,
    keeper: &mut Keeper,
    with_windows: bool,
    now_ms: i64,
    mut after: impl FnMut(Step) -> Result<(), KeepError>,
) -> Result<(), KeepError> {
    if with_windows && let Some(settled) = state.settle() {
        let files = filer::file(&keeper.folder, &settled)?;
        // The state wants them back.
        drop(settled);
        state.note_filed(files);
    }
    after(Step::Windows)?;
    keeper.registry.write(descriptions(state))?;
    if let Some(cut) = Cut::of(state) {
        let (files, position) = (keeper.keep(&cut, after)?, cut.position);
        // The state wants the rows' room back.
        drop(cut);
        state.written(position, files, now_ms);
        state.cool(usize::MAX);
    }
    Ok(())
}

/// Fills the hot windows from the newest files on, as far back as they have room. What lies further back is passed over
/// by what the files say of themselves.
fn warm(state: &mut State, folder: &PoolFolder, now_ms: i64) -> Result<(), crate::columns::FileError> {
    let mut from_ms = now_ms - state.rules.hot_ms;
    // A gateway may be ahead of us by as much as `admit` lets pass.
    let to_ms = now_ms + crate::admit::MAX_AHEAD_MS;
    let files = folder.window_files(from_ms, to_ms, state.windows_kept)?;
    let mut progress =
        Progress::new("读取最新窗口 reading newest windows", files.iter().map(|file| bytes(file)).sum());
    for file in files.iter().rev() {
        let filter = WindowFilter { quantity: None, precision: BASE_PRECISION, from_ms, to_ms, bbox: None };
        folder.read_windows(file, &filter, |key, aggregate| state.hot.merge(key, &aggregate))?;
        from_ms = state.hot.keep(from_ms, state.rules.hot_bytes);
        progress.add(bytes(file));
    }
    state.hot_from_ms = from_ms;
    Ok(())
}

/// Makes the windows again that were not in Parquet, from the readings that were.
fn settle_again(state: &mut State, folder: &PoolFolder) -> Result<(), crate::columns::FileError> {
    let files = folder.reading_files_of(Stretch { from: state.windows_kept, to: state.checkpoint })?;
    let mut progress =
        Progress::new("重算窗口 making the last windows again", files.iter().map(|file| bytes(file)).sum());
    for file in &files {
        read_measured(file, |readings| {
            let mut windows = Windows::default();
            readings.iter().for_each(|reading| reading.add_to(&mut windows));
            windows.iter().for_each(|(key, part)| state.settling.merge(*key, part));
        })?;
        progress.add(bytes(file));
    }
    Ok(())
}

fn bytes(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |metadata| metadata.len())
}
