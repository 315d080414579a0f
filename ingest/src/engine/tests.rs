//! The engine whole: what it answers, what it shows, and what a kill at any step of a checkpoint leaves.

use std::collections::BTreeMap;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use wire::{Codec, Payload, QuantityCode};

use super::checkpoint::Checkpoint;
use super::filer;
use super::handle::unknown_topic;
use super::keeper::{KeepError, Step};
use super::recover::{Recovered, keep_now, lock, recover};
use super::*;
use crate::clock::now_ms;
use crate::columns::{PoolFolder, WindowFilter, read_windows};
use crate::counters::Counters;
use crate::feeds::Feed;
use crate::log::Entry;
use crate::pool::State;
use crate::pool::aggregate::Aggregate;
use crate::pool::apply::{Incoming, Known, kind};
use crate::pool::tests::{T0, batch, frame, gateway, readings};
use crate::pool::windows::WindowKey;
use crate::registry::Registry;
use crate::senml::SenmlFormat;
use crate::views::{self, CellQuery, PageQuery};
use wire::Lane;

const RIVER: &str = include_str!("../../../configs/senml/river-works.toml");

fn config(data: &Path) -> EngineConfig {
    let catalogue = Arc::new(Catalogue::builtin());
    let mut mappings = Mappings::default();
    mappings.add("river-works.toml", RIVER, &catalogue).unwrap();
    EngineConfig {
        segment_bytes: crate::log::MIN_SEGMENT_BYTES,
        ..EngineConfig::new(data.to_owned(), catalogue, Arc::new(mappings))
    }
}

fn bytes_of(name: &str, sequence: u64, at_ms: i64, values: &[f64]) -> Vec<u8> {
    readings(name, sequence, at_ms, values).encode(Codec::Zstd).unwrap()
}

/// All readings in Parquet, as text, sorted.
fn all_readings(data: &Path) -> Vec<String> {
    let pool = PoolFolder::open(&data.join("pool")).unwrap();
    let mut rows = Vec::new();
    for path in pool.reading_files(None, 0, i64::MAX / 2, u64::MAX).unwrap() {
        let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
        for row in reader.get_row_iter(None).unwrap() {
            rows.push(row.unwrap().to_string());
        }
    }
    rows.sort();
    rows
}

/// All windows in Parquet, partials folded.
fn all_windows(data: &Path) -> BTreeMap<WindowKey, Aggregate> {
    let pool = PoolFolder::open(&data.join("pool")).unwrap();
    let mut windows: BTreeMap<WindowKey, Aggregate> = BTreeMap::new();
    for path in pool.window_files(0, i64::MAX / 2, u64::MAX).unwrap() {
        for precision in crate::cell::PRECISIONS {
            let filter = WindowFilter { quantity: None, precision, from_ms: 0, to_ms: i64::MAX, bbox: None };
            read_windows(&path, &filter, |key, part| {
                windows.entry(key).and_modify(|all| all.merge(&part)).or_insert(part);
            })
            .unwrap();
        }
    }
    windows
}

/// One life of an engine without threads: recovers, appends and applies messages, keeps where told, with windows every
/// other time, dies where told; else it stops in order, and nothing is missing.
fn live(
    data: &Path,
    messages: &[(u8, &str, Vec<u8>)],
    keep_every: usize,
    die: Option<(usize, Step)>,
) -> bool {
    let config = config(data);
    let counters = Arc::new(Counters::default());
    let url = format!("sqlite://{}?mode=rwc", data.join("registry.sqlite").display());
    let lock = lock(data).unwrap();
    let (registry, thread) = Registry::start(&url, 1 << 20, Arc::clone(&counters)).unwrap();
    let recovered = recover(&config, lock, registry.clone(), &counters, T0, |folder| folder).unwrap();
    let Recovered { mut state, mut log, mut keeper, lock: _lock } = recovered;
    let mut alive = true;
    let mut keeps = 0;
    for (index, (kind, source, payload)) in messages.iter().enumerate() {
        let received_ms = T0 + 60_000 + index as i64;
        let end = log.append(&[Entry { received_ms, kind: *kind, source, payload }]).ends[0];
        state.apply(Incoming { end, received_ms, kind: *kind, source, payload, known: Known::Nothing });
        registry.write(super::recover::writes_of(&state.take_effects())).unwrap();
        if index % keep_every == keep_every - 1 || index == messages.len() - 1 {
            let this = keeps;
            keeps += 1;
            let kept = keep_now(&mut state, &mut keeper, this % 2 == 1, T0, |step| match die {
                Some((at, last)) if at == this && step == last => Err(KeepError::Killed(step)),
                _ => Ok(()),
            });
            if kept.is_err() {
                alive = false;
                break;
            }
            // As with threads: windows that are written while a checkpoint is, which cannot name them yet.
            match this % 3 {
                0 => state.note_filed(1),
                2 => {
                    if let Some(settled) = state.settle() {
                        filer::file(&keeper.folder, &settled).unwrap();
                    }
                }
                _ => {}
            }
        }
    }
    while alive && state.windows_kept < state.position {
        state.note_filed(1);
        keep_now(&mut state, &mut keeper, true, T0, |_| Ok(())).unwrap();
    }
    registry.stop();
    thread.join().unwrap();
    alive
}

/// A gateway that delivers again whatever may not have been acknowledged, and a third party with relative times.
fn messages() -> Vec<(u8, &'static str, Vec<u8>)> {
    let mut rng = fastrand::Rng::with_seed(5);
    let mut messages = Vec::new();
    for sequence in 1..=40_u64 {
        let values: Vec<f64> = (0..rng.usize(1..30)).map(|_| f64::from(rng.i32(0..4000)) / 100.0).collect();
        let at_ms = T0 - rng.i64(0..90_000_000);
        messages.push((kind::FRAME, "g", bytes_of("g", sequence, at_ms, &values)));
        if sequence % 5 == 0 {
            messages.push((kind::FRAME, "g", bytes_of("g", sequence - 2, at_ms, &[1.0])));
        }
        if sequence % 7 == 0 {
            let mut strange = batch(at_ms, &values);
            strange.series[0].quantity = QuantityCode(64_000);
            let frame = frame("h", sequence, Payload::Readings(strange)).encode(Codec::Zstd).unwrap();
            messages.push((kind::FRAME, "h", frame));
        }
    }
    messages
}

#[test]
fn a_kill_at_any_step_of_a_checkpoint_changes_nothing() {
    const EVERY: usize = 12;
    let messages = messages();
    let reference = tempfile::tempdir().unwrap();
    assert!(live(reference.path(), &messages, EVERY, None));
    let (rows, windows) = (all_readings(reference.path()), all_windows(reference.path()));
    assert!(rows.len() > 300 && windows.len() > 100, "{} rows, {} windows", rows.len(), windows.len());
    let mut killed = 0;
    for keep in 0..5 {
        for step in
            [Step::Windows, Step::Started, Step::Readings, Step::Registry, Step::Tables, Step::Checkpoint]
        {
            let folder = tempfile::tempdir().unwrap();
            killed += usize::from(!live(folder.path(), &messages, EVERY, Some((keep, step))));
            // Its gateway has no acknowledgement for the last messages, so it sends all of them again; another
            // rhythm of checkpoints must not matter.
            assert!(live(folder.path(), &messages, 17, None));
            assert_eq!(all_readings(folder.path()), rows, "{keep} {step:?}");
            assert_eq!(all_windows(folder.path()), windows, "{keep} {step:?}");
        }
    }
    assert_eq!(killed, 30);
}

/// Frames of many gateways, so that newest readings fill many pages.
fn many_gateways() -> Vec<(u8, &'static str, Vec<u8>)> {
    const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let mut rng = fastrand::Rng::with_seed(6);
    let mut messages = Vec::new();
    for sequence in 1..=12 {
        for name in NAMES {
            // The later ones speak seldom: their pages have to be found behind busy ones.
            if sequence == 1 || rng.u8(b'a'..=b'l') >= name.as_bytes()[0] {
                let values: Vec<f64> =
                    (0..rng.usize(1..9)).map(|_| f64::from(rng.i32(0..400)) / 10.0).collect();
                let at_ms = T0 - rng.i64(0..90_000_000);
                messages.push((kind::FRAME, name, bytes_of(name, sequence, at_ms, &values)));
            }
        }
    }
    messages
}

/// The state as a start finds it.
fn after_a_start(data: &Path) -> State {
    let config = config(data);
    let counters = Arc::new(Counters::default());
    let url = format!("sqlite://{}?mode=rwc", data.join("registry.sqlite").display());
    let (registry, thread) = Registry::start(&url, 1 << 20, Arc::clone(&counters)).unwrap();
    let recovered =
        recover(&config, lock(data).unwrap(), registry.clone(), &counters, T0, |folder| folder).unwrap();
    registry.stop();
    thread.join().unwrap();
    recovered.state
}

/// All windows that settle, and where they begin.
fn settling(state: &State) -> (u64, BTreeMap<WindowKey, Aggregate>) {
    let windows = state.settling.iter().map(|(key, packed)| (key, packed.unpack(key.start_ms)));
    (state.windows_kept, windows.collect())
}

#[test]
fn a_start_finds_settling_what_was_settling_before() {
    let messages = messages();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    // Killed behind the checkpoint of the 21st stretch: the one before named the windows of the first 18.
    assert!(!live(data, &messages, 2, Some((20, Step::Checkpoint))));
    let Checkpoint { position, windows_kept, .. } = Checkpoint::read(data).unwrap().unwrap();
    let found = after_a_start(data);
    assert!(0 < windows_kept && windows_kept < position && found.position == position);
    // The same life without the kill, looked at there.
    let mut expected = State::new(crate::pool::tests::rules());
    for (_, _, bytes) in &messages[..42] {
        if expected.position == 36 {
            expected.cut();
            expected.written(36, 0, T0);
            expected.settling = Default::default();
        }
        expected.apply_frame(&wire::Frame::decode(bytes).unwrap(), T0 + 60_000);
        expected.position += 1;
    }
    expected.cut();
    expected.written(42, 0, T0);
    let (expected, (from, windows)) = (settling(&expected).1, settling(&found));
    assert!(expected.len() > 20, "{} windows", expected.len());
    assert_eq!((from, windows), (windows_kept, expected));
    // Merging keeps off the readings that they come from.
    let pool = PoolFolder::open(&data.join("pool")).unwrap();
    let mut compact = || pool.compact(windows_kept, i64::MAX, &mut |_| true, |_| Ok(())).unwrap();
    assert!(std::iter::from_fn(&mut compact).count() > 1, "readings and windows");
    assert_eq!(settling(&after_a_start(data)), settling(&found));
}

/// The state as the messages make it, with no checkpoint in between.
fn straight(messages: &[(u8, &str, Vec<u8>)]) -> State {
    let mut state = State::new(crate::pool::tests::rules());
    for (_, _, bytes) in messages {
        state.apply_frame(&wire::Frame::decode(bytes).unwrap(), T0 + 60_000);
    }
    state
}

/// All sensors with their newest readings.
fn newest(state: &State) -> Vec<String> {
    state.sensors.iter().map(|sensor| format!("{sensor:?}")).collect()
}

#[test]
fn newest_readings_written_behind_the_rest_are_never_lost() {
    let messages = many_gateways();
    let reference = tempfile::tempdir().unwrap();
    assert!(live(reference.path(), &messages, 9, None));
    let checkpoint = Checkpoint::read(reference.path()).unwrap().unwrap();
    assert!(checkpoint.missing_from < checkpoint.position, "the last checkpoint left some pages for later");
    let expected = newest(&straight(&messages));
    assert!(expected.len() > 30, "{expected:?}");
    assert_eq!(newest(&after_a_start(reference.path())), expected);
    for keep in [1, 4, 7] {
        for step in [Step::Registry, Step::Tables, Step::Checkpoint] {
            let folder = tempfile::tempdir().unwrap();
            assert!(!live(folder.path(), &messages, 9, Some((keep, step))));
            // And again, soon after the start.
            assert!(!live(folder.path(), &messages, 5, Some((1, step))));
            assert!(live(folder.path(), &messages, 17, None));
            assert_eq!(newest(&after_a_start(folder.path())), expected, "{keep} {step:?}");
        }
    }
}

#[test]
fn a_checkpoint_from_before_there_were_tables_is_read_and_replaced() {
    let messages = many_gateways();
    let (before, after) = messages.split_at(60);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    assert!(live(data, before, 9, None));
    // The same as version 1: the sensors are in the body, and the log before it may be gone.
    let Checkpoint { position, files, rows, windows_kept, .. } = Checkpoint::read(data).unwrap().unwrap();
    assert_eq!(windows_kept, position, "it stopped in order");
    let body = after_a_start(data).snapshot();
    let mut bytes = b"WFCKPT\x00\x01".to_vec();
    bytes.extend([position, files, rows, body.len() as u64].into_iter().flat_map(u64::to_le_bytes));
    bytes.extend(body);
    bytes.extend(wire::frame::crc32c(&bytes).to_le_bytes());
    std::fs::write(super::checkpoint::path(data), bytes).unwrap();
    std::fs::remove_dir_all(data.join("tables")).unwrap();
    assert_eq!(newest(&after_a_start(data)), newest(&straight(before)));
    assert!(live(data, &after[..1], 1, None));
    let checkpoint = Checkpoint::read(data).unwrap().unwrap();
    assert_eq!(checkpoint.missing_from, checkpoint.position, "all pages are there from the first one on");
    assert_eq!(newest(&after_a_start(data)), newest(&straight(&messages[..61])));
}

fn start(data: &Path) -> (Engine, EngineThreads) {
    Engine::start(config(data), Arc::new(Feed::new(1))).unwrap()
}

async fn stop(engine: Engine, threads: EngineThreads) {
    drop(engine);
    tokio::task::spawn_blocking(|| threads.stop()).await.unwrap();
}

async fn take(engine: &Engine, name: &str, sequence: u64, at_ms: i64, values: &[f64]) -> Taken {
    let bytes = bytes_of(name, sequence, at_ms, values);
    engine.take_frame(&gateway(name), Lane::Reading, bytes, at_ms + 1000).await
}

/// Waits until everything durable is applied: the apply thread answers in order.
async fn settled(engine: &Engine) {
    let position = engine.counters().log().position;
    for _ in 0..2000 {
        if engine.ask(move |state| state.position >= position).await.unwrap() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    panic!("the log was not applied in 2 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_is_shown_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let minute = now_ms().div_euclid(60_000) * 60_000 - 60_000;
    let (engine, threads) = start(folder.path());
    assert_eq!(take(&engine, "g", 1, minute, &[20.0, 21.0, 22.0, 23.0]).await, Taken::Durable);
    settled(&engine).await;
    assert_eq!(take(&engine, "g", 1, minute, &[20.0, 21.0, 22.0, 23.0]).await, Taken::Duplicate);
    for restarts in 0..2 {
        let sensor = views::sensor(&engine, "g:s0").await.unwrap();
        assert_eq!(sensor.last.unwrap().value, Some(23.0));
        assert_eq!(
            (sensor.quantity.name.as_str(), sensor.area.as_str()),
            ("air-temperature", "chengdu/qingyang/caotang")
        );
        let view = views::readings(&engine, "g:s0", minute, minute + 60_000, 100).await.unwrap();
        let values: Vec<Option<f64>> = view.readings.iter().map(|reading| reading.value).collect();
        assert_eq!(values, [Some(20.0), Some(23.0)], "after {restarts} restarts");
        for (precision, window_ms, span) in [
            (7, 60_000, None),
            (6, 60_000, Some(minute)),
            (5, 3_600_000, None),
            (5, 86_400_000, None),
            (5, 86_400_000, Some(minute)),
        ] {
            let query = CellQuery {
                quantity: "air-temperature".into(),
                window_ms,
                from_ms: span,
                to_ms: span.map(|at| at + 1),
                precision,
                bbox: Some([104.0, 30.0, 105.0, 31.0]),
            };
            let view = views::cells(&engine, query).await.unwrap();
            let count: u64 = view.cells.iter().map(|cell| cell.count).sum();
            let sum: f64 = view.cells.iter().map(|cell| cell.sum).sum();
            assert_eq!((count, sum), (4, 86.0), "precision {precision}, {window_ms} ms, {restarts} restarts");
            assert!(view.cells.iter().all(|cell| cell.cell.starts_with("wm3")), "{:?}", view.cells);
        }
        let gateways = views::gateways(&engine, PageQuery::default(), now_ms()).await.unwrap();
        let lanes = gateways.items[0].lanes.as_ref().unwrap();
        assert_eq!((lanes[0].lane, lanes[0].high_water, lanes[0].state), ("reading", 1, "complete"));
        assert_eq!(engine.counters().readings().accepted, 4);
        assert_eq!(views::health(&engine).await.status, "ok");
        if restarts == 0 {
            drop(engine);
            tokio::task::spawn_blocking(|| threads.stop()).await.unwrap();
            let (engine, threads) = start(folder.path());
            assert_eq!(take(&engine, "g", 1, minute, &[20.0, 21.0, 22.0, 23.0]).await, Taken::Duplicate);
            check_second_life(&engine, minute).await;
            return stop(engine, threads).await;
        }
    }
}

#[test]
fn a_start_takes_the_newest_minutes_that_have_room() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let minute = |sequence: u64| T0 - 600_000 + sequence as i64 * 60_000;
    let frames = [3, 1, 5, 2, 4, 5];
    let messages: Vec<_> = (1..)
        .zip(frames)
        .map(|(sequence, at)| (kind::FRAME, "g", bytes_of("g", sequence, minute(at), &[20.0])))
        .collect();
    assert!(live(data, &messages, 1, None));
    let room_of = |minutes: usize| {
        let config = EngineConfig { hot_bytes: minutes * 150, ..config(data) };
        let counters = Arc::new(Counters::default());
        let url = format!("sqlite://{}?mode=rwc", data.join("registry.sqlite").display());
        let (registry, thread) = Registry::start(&url, 1 << 20, Arc::clone(&counters)).unwrap();
        let lock = lock(data).unwrap();
        let recovered = recover(&config, lock, registry.clone(), &counters, T0, |folder| folder).unwrap();
        registry.stop();
        thread.join().unwrap();
        let State { hot, hot_from_ms, .. } = &recovered.state;
        let counts: Vec<u64> =
            hot.of(1, 0, i64::MAX).map(|(key, all)| all.unpack(key.start_ms).count).collect();
        (counts, *hot_from_ms)
    };
    assert_eq!(room_of(2), (vec![1, 2], minute(4)), "both parts of the last one");
    assert_eq!(room_of(9), (vec![1, 1, 1, 1, 2], T0 - 7_200_000));
}

async fn check_second_life(engine: &Engine, minute: i64) {
    let view = views::readings(engine, "g:s0", minute, minute + 60_000, 1).await.unwrap();
    assert!(view.truncated);
    assert_eq!(view.readings[0].value, Some(23.0), "the newest is kept");
    let query = CellQuery {
        quantity: "air-temperature".into(),
        window_ms: 60_000,
        from_ms: None,
        to_ms: None,
        precision: 7,
        bbox: None,
    };
    let view = views::cells(engine, query).await.unwrap();
    assert_eq!(
        view.cells.iter().map(|cell| cell.count).sum::<u64>(),
        4,
        "hot windows are rebuilt from files"
    );
    let pool = engine.counters().pool();
    assert_eq!((pool.sensors, pool.gateways, pool.parquet_rows), (3, 1, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_messages_are_held_and_pass_when_the_reason_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let now = now_ms();
    let mut listed = config(folder.path());
    listed.registration = Registration::Listed([gateway("known")].into());
    let (engine, threads) = Engine::start(listed, Arc::new(Feed::new(1))).unwrap();
    let Taken::Refused { reason, detail } = take(&engine, "stranger", 1, now, &[20.0]).await else {
        panic!()
    };
    assert_eq!(reason, Reason::UnknownGateway);
    assert!(detail.contains("stranger"), "{detail}");
    let damaged = {
        let mut bytes = bytes_of("known", 1, now, &[20.0]);
        bytes[40] ^= 1;
        engine.take_frame(&gateway("known"), Lane::Reading, bytes, now).await
    };
    assert!(matches!(damaged, Taken::Refused { reason: Reason::Damaged, .. }));
    let ahead = take(&engine, "known", 2, now, &[20.0]).await;
    assert_eq!(ahead, Taken::Durable);
    let clock = engine
        .take_frame(&gateway("known"), Lane::Reading, bytes_of("known", 3, now + 90_000_000, &[1.0]), now)
        .await;
    assert!(matches!(clock, Taken::Refused { reason: Reason::ClockAhead, .. }));
    let other =
        engine.take_frame(&gateway("known"), Lane::Alarm, bytes_of("known", 4, now, &[1.0]), now).await;
    assert!(matches!(other, Taken::Refused { reason: Reason::OtherLane, .. }));
    engine.refuse("who", None, unknown_topic("a/b"), b"x".to_vec(), now).await;
    settled(&engine).await;
    let page = views::quarantine(&engine, PageQuery { limit: 3, cursor: None }).await.unwrap();
    assert_eq!(page.items.len(), 3);
    let rest = views::quarantine(&engine, PageQuery { limit: 3, cursor: page.next }).await.unwrap();
    assert_eq!((rest.items.len(), rest.next), (2, None));
    let stranger = rest.items.last().unwrap();
    assert_eq!((stranger.reason.as_str(), stranger.state.as_str()), ("unknown_gateway", "held"));
    let again = views::replay(&engine, stranger.id, now).await.unwrap();
    assert_eq!((again.state, again.reason), ("refused_again", Some("unknown_gateway")));
    assert_eq!(engine.counters().readings().quarantined, 3, "the damaged one cannot be counted");
    stop(engine, threads).await;

    // The stranger is put on the list.
    let (engine, threads) = start(folder.path());
    let id = stranger.id;
    for _ in 0..2 {
        assert_eq!(views::replay(&engine, id, now).await.unwrap().state, "replayed");
    }
    settled(&engine).await;
    assert_eq!(views::sensor(&engine, "stranger:s0").await.unwrap().last.unwrap().value, Some(20.0));
    let counts = engine.counters().readings();
    assert_eq!((counts.accepted, counts.quarantined, counts.duplicate), (2, 2, 0), "once");
    let page = views::quarantine(&engine, PageQuery::default()).await.unwrap();
    assert_eq!(page.items.iter().find(|item| item.id == id).unwrap().state, "replayed");
    let missing = views::replay(&engine, 1, now).await.unwrap_err();
    assert!(matches!(missing, views::ViewError::NotFound { .. }), "{missing}");
    stop(engine, threads).await;
}

fn announcement(name: &str, sequence: u64, at_ms: i64, label: &str) -> Vec<u8> {
    let place = batch(at_ms, &[1.0]).places[0].clone();
    let announcement = wire::Announcement {
        boot: wire::BootId(1),
        clock: wire::Clock { state: wire::ClockState::Synchronised, epoch_ms: at_ms },
        mono_ms: 0,
        board: "simulated".into(),
        version: "0.1.0".into(),
        place: place.clone(),
        sensors: ["s0", "s1"]
            .map(|sensor| wire::SensorInfo {
                sensor: wire::SensorName::new(sensor).unwrap(),
                quantity: QuantityCode(1),
                place: place.clone(),
                chip: "sht4x".into(),
                label: format!("{label} {sensor}"),
                every_ms: 1000,
            })
            .into(),
    };
    frame(name, sequence, Payload::Announcement(announcement)).encode(Codec::Zstd).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_are_shown_at_once_and_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let now = now_ms();
    let (mut engine, mut threads) = start(folder.path());
    for (sequence, label) in [(1, "大门"), (2, "后门")] {
        assert_eq!(take(&engine, "g", sequence, now, &[20.0]).await, Taken::Durable);
        let told = announcement("g", sequence, now, label);
        assert_eq!(engine.take_frame(&gateway("g"), Lane::Health, told, now).await, Taken::Durable);
        settled(&engine).await;
        for life in 0..2 {
            let sensor = views::sensor(&engine, "g:s1").await.unwrap();
            assert_eq!((sensor.label, sensor.chip), (format!("{label} s1"), "sht4x".into()), "life {life}");
            let page = views::sensors(&engine, Some("g".into()), None, PageQuery::default()).await.unwrap();
            let labels: Vec<&str> = page.items.iter().map(|sensor| sensor.label.as_str()).collect();
            assert_eq!(labels, [&format!("{label} s0"), &format!("{label} s1")], "life {life}");
            stop(engine, threads).await;
            (engine, threads) = start(folder.path());
        }
    }
    stop(engine, threads).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_engines_never_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, threads) = start(folder.path());
    let second = Engine::start(config(folder.path()), Arc::new(Feed::new(1)));
    let Err(error) = second else { panic!("a second engine started") };
    assert!(error.to_string().contains("another ingest"), "{error}");
    stop(engine, threads).await;
    let (engine, threads) = start(folder.path());
    stop(engine, threads).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packs_are_taken_once_and_their_refused_records_are_held() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, threads) = start(folder.path());
    let source = gateway("river-works");
    let now = now_ms();
    let body = br#"[{"bn":"nowhere:","n":"x","u":"m","v":1}]"#.to_vec();
    let taken = engine.take_senml(&source, SenmlFormat::Json, body.clone(), now).await;
    let SenmlTaken::Refused { refused } = taken else { panic!("{taken:?}") };
    assert_eq!(refused.len(), 1);
    settled(&engine).await;
    let page = views::quarantine(&engine, PageQuery::default()).await.unwrap();
    assert_eq!((page.items[0].kind.as_str(), page.items[0].source.as_str()), ("senml+json", "river-works"));
    let again = views::replay(&engine, page.items[0].id, now).await.unwrap();
    assert_eq!(again.state, "refused_again");
    stop(engine, threads).await;
}

fn alarm(name: &str, sequence: u64, at_ms: i64, kind: wire::AlarmKind) -> Vec<u8> {
    let event = wire::AlarmEvent {
        episode: 0xA1,
        rule: "kiln-hot".into(),
        rule_version: 1,
        kind,
        level: wire::Level::Red,
        sensor: wire::SensorName::new("s0").unwrap(),
        quantity: QuantityCode(1),
        place: batch(at_ms, &[1.0]).places[0].clone(),
        mono_ms: 0,
        value: Some(140.0),
        quality: wire::Quality::Good,
        threshold: 80.0,
        measure: wire::Measure::Value,
        worst: None,
        inputs: Vec::new(),
    };
    let clock = wire::Clock { state: wire::ClockState::Synchronised, epoch_ms: at_ms };
    let alarms = wire::Alarms { boot: wire::BootId(1), clock, events: vec![event] };
    frame(name, sequence, Payload::Alarms(alarms)).encode(Codec::Zstd).unwrap()
}

/// Waits for an event of a kind and returns its data.
async fn event(feed: &Feed, kind: &str) -> serde_json::Value {
    for _ in 0..500 {
        let topics = crate::feeds::Topics::parse(kind).unwrap();
        if let crate::feeds::Next::Events { events, .. } = feed.after(0, topics)
            && let Some(event) = events.last()
        {
            return serde_json::from_str(&event.data).unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no {kind} event in 5 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_hear_of_alarms_cells_and_gateways() {
    let folder = tempfile::tempdir().unwrap();
    let feed = Arc::new(Feed::new(1));
    let (engine, threads) = Engine::start(config(folder.path()), Arc::clone(&feed)).unwrap();
    let now = now_ms();
    let raised = alarm("g", 1, now, wire::AlarmKind::Raised);
    assert_eq!(engine.take_frame(&gateway("g"), Lane::Alarm, raised, now).await, Taken::Durable);
    let heard = event(&feed, "alarm").await;
    assert_eq!(
        (&heard["id"], &heard["state"], &heard["level"]),
        (&"g:00000000000000a1".into(), &"active".into(), &"red".into())
    );
    assert_eq!((&heard["sensor"], &heard["unit"]), (&"g:s0".into(), &"Cel".into()));
    assert_eq!(take(&engine, "g", 1, now - 30_000, &[20.0, 21.0, 22.0]).await, Taken::Durable);
    let cells = event(&feed, "cells").await;
    assert_eq!((&cells["quantity"], &cells["precision"]), (&"air-temperature".into(), &7.into()));
    assert!(cells["cells"][0]["count"].as_u64() > Some(0), "{cells}");
    let heard = event(&feed, "gateway").await;
    assert_eq!((&heard["id"], &heard["state"]), (&"g".into(), &"live".into()));
    assert!(heard.get("lanes").is_none());
    let active = views::alarms(&engine, false, PageQuery::default()).await.unwrap();
    assert_eq!(active.items.len(), 1);
    let cleared = alarm("g", 2, now + 500, wire::AlarmKind::Cleared);
    assert_eq!(engine.take_frame(&gateway("g"), Lane::Alarm, cleared, now + 500).await, Taken::Durable);
    settled(&engine).await;
    assert!(views::alarms(&engine, false, PageQuery::default()).await.unwrap().items.is_empty());
    let all = views::alarms(&engine, true, PageQuery::default()).await.unwrap();
    assert_eq!((all.items[0].state, all.items[0].cleared_ms), ("cleared", Some(now + 500)));
    let lanes = views::stats(&engine, now).lanes;
    assert_eq!((lanes[0].lane, lanes[0].frames, lanes[0].items), ("alarm", 2, 2));
    stop(engine, threads).await;
}
