use std::collections::BTreeMap;

use wire::{Payload, Quality, Reading};

use super::*;
use crate::cell::Bbox;
use crate::pool::State;
use crate::pool::aggregate::Aggregate;
use crate::pool::rows::{Head, Row};
use crate::pool::tests::{T0, batch, coarser, frame, packed, rules};
use crate::pool::windows::{WindowKey, Windows};

/// A state with readings of an hour before and after midnight.
fn state() -> State {
    let mut state = State::new(rules());
    let midnight = T0;
    for sequence in 1..=120 {
        let at_ms = midnight - 3_600_000 + sequence as i64 * 60_000;
        let values: Vec<f64> = (0..9).map(|index| 20.0 + f64::from(index) * 0.25).collect();
        let mut batch = batch(at_ms, &values);
        if sequence == 1 {
            batch.readings[4] = Reading { value: None, quality: Quality::Fault, ..batch.readings[4] };
        }
        state.apply_frame(&frame("g", sequence, Payload::Readings(batch)), at_ms);
    }
    state
}

fn names(state: &State) -> Names {
    Names::of(&state.current.rows, &state.sensors)
}

const STRETCH: Stretch = Stretch { from: 0, to: 5000 };
const ALWAYS: (i64, i64) = (T0 - 86_400_000, T0 + 86_400_000);

#[test]
fn readings_come_back_by_sensor_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let pool = PoolFolder::open(folder.path()).unwrap();
    let state = state();
    let files = write_readings(&pool, STRETCH, &state.current.rows, &names(&state)).unwrap();
    assert_eq!(files, 2, "two days, one district");
    let paths = pool.reading_files(Some("qingyang"), ALWAYS.0, ALWAYS.1, 5000).unwrap();
    assert!(paths[0].to_str().unwrap().contains("readings/day=2026-11-21/district=qingyang/"), "{paths:?}");
    assert_eq!(paths.len(), 2);
    assert!(pool.reading_files(Some("qingyang"), ALWAYS.0, ALWAYS.1, 4999).unwrap().is_empty());
    assert_eq!(pool.reading_files(None, T0, ALWAYS.1, 5000).unwrap().len(), 1, "the second day only");
    for sensor in 0..3 {
        for (from_ms, to_ms) in [ALWAYS, (T0 - 600_000, T0 + 60_000), (T0 + 90_000_000, T0 + 90_000_001)] {
            let mut found = Vec::new();
            for path in &paths {
                let filter = ReadingFilter { sensor, from_ms, to_ms };
                read_readings(path, &filter, |at_ms, value, quality| {
                    found.push((at_ms, value, quality as u8));
                })
                .unwrap();
            }
            let mut expected: Vec<(i64, Option<f64>, u8)> = (state.current.rows.as_slice().iter())
                .filter(|row| row.sensor == sensor && (from_ms..to_ms).contains(&row.at_ms))
                .map(|row| (row.at_ms, row.value(), row.quality))
                .collect();
            expected.sort_by_key(|row| row.0);
            assert_eq!(found, expected, "sensor {sensor} {from_ms}..{to_ms}");
        }
    }
}

#[test]
fn frames_of_one_sensor_that_overlap_are_sorted_row_by_row() {
    let folder = tempfile::tempdir().unwrap();
    let pool = PoolFolder::open(folder.path()).unwrap();
    let mut state = state();
    // Resent readings between those of sensor 1, newest first, as a mended clock may leave them.
    let late: Vec<(Row, Head)> = (state.current.rows.iter().rev())
        .filter(|(row, _)| row.sensor == 1)
        .map(|(row, head)| (Row { at_ms: row.at_ms - 90_001, ..*row }, Head { store: 5, ..*head }))
        .collect();
    for (row, head) in late {
        let head = state.current.rows.head(head);
        state.current.rows.push(Row { head, ..row });
    }
    write_readings(&pool, STRETCH, &state.current.rows, &names(&state)).unwrap();
    let (mut found, mut expected) = (Vec::new(), Vec::new());
    for path in pool.reading_files(None, ALWAYS.0, ALWAYS.1, 5000).unwrap() {
        let filter = ReadingFilter { sensor: 1, from_ms: ALWAYS.0, to_ms: ALWAYS.1 };
        read_readings(&path, &filter, |at_ms, value, _| found.push((at_ms, value))).unwrap();
    }
    expected.extend(
        state
            .current
            .rows
            .as_slice()
            .iter()
            .filter(|row| row.sensor == 1)
            .map(|row| (row.at_ms, row.value())),
    );
    expected.sort_by_key(|row| row.0);
    assert_eq!(found, expected);
}

#[test]
fn windows_come_back_exactly_at_every_precision() {
    let folder = tempfile::tempdir().unwrap();
    let pool = PoolFolder::open(folder.path()).unwrap();
    let state = state();
    assert_eq!(write_windows(&pool, STRETCH, &packed(&state.current.windows)).unwrap(), 2);
    for precision in crate::cell::PRECISIONS {
        let filter =
            WindowFilter { quantity: Some(1), precision, from_ms: ALWAYS.0, to_ms: ALWAYS.1, bbox: None };
        let mut found: BTreeMap<WindowKey, Aggregate> = BTreeMap::new();
        for path in pool.window_files(ALWAYS.0, ALWAYS.1, 5000).unwrap() {
            read_windows(&path, &filter, |key, aggregate| {
                assert!(found.insert(key, aggregate).is_none());
            })
            .unwrap();
        }
        let expected = coarser(&state.current.windows, precision, 60_000);
        assert!(!expected.is_empty());
        assert_eq!(found, expected);
        let nowhere = Bbox { west: 0.0, south: 0.0, east: 1.0, north: 1.0 };
        for other in [
            WindowFilter { quantity: Some(2), ..filter },
            WindowFilter { to_ms: ALWAYS.0 + 1, ..filter },
            WindowFilter { bbox: Some(nowhere), ..filter },
        ] {
            for path in pool.window_files(ALWAYS.0, ALWAYS.1, 5000).unwrap() {
                read_windows(&path, &other, |key, _| panic!("{key:?}")).unwrap();
            }
        }
    }
}

#[test]
fn files_beyond_the_checkpoint_and_unfinished_ones_go() {
    let folder = tempfile::tempdir().unwrap();
    let pool = PoolFolder::open(folder.path()).unwrap();
    let state = state();
    for (from, to) in [(0, 100), (100, 200), (200, 300)] {
        write_readings(&pool, Stretch { from, to }, &state.current.rows, &names(&state)).unwrap();
        write_windows(&pool, Stretch { from, to }, &packed(&state.current.windows)).unwrap();
    }
    let day = folder.path().join("windows/day=2026-11-22");
    std::fs::write(day.join("00000000000000000300-00000000000000000400.new"), b"PAR1").unwrap();
    assert_eq!(
        pool.remove_beyond(200, 100).unwrap(),
        2 + 4 + 1,
        "two days: readings, windows, unfinished ones"
    );
    assert_eq!(pool.window_files(ALWAYS.0, ALWAYS.1, u64::MAX).unwrap().len(), 2);
    assert_eq!(pool.reading_files(None, ALWAYS.0, ALWAYS.1, u64::MAX).unwrap().len(), 4);
    assert_eq!(pool.remove_beyond(200, 100).unwrap(), 0);
    let missing = pool.reading_files_of(Stretch { from: 100, to: 200 }).unwrap();
    assert_eq!(missing.len(), 2);
    assert!(
        missing.iter().all(|file| Stretch::of(file) == Some(Stretch { from: 100, to: 200 })),
        "{missing:?}"
    );
}

#[test]
fn windows_are_made_again_from_the_readings_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let pool = PoolFolder::open(folder.path()).unwrap();
    let mut state = state();
    // Neither what nobody can trust nor what was taken nobody knows when enters a window.
    let mut strange = crate::pool::tests::batch(T0, &[-300.0, 20.0, 21.0]);
    strange.readings[1].quality = Quality::OutOfRange;
    (strange.readings[2].value, strange.readings[2].quality) = (None, Quality::Fault);
    let frame = crate::pool::tests::frame("h", 1, wire::Payload::Readings(strange));
    state.apply_frame(&frame, T0 + 60_000);
    let expected = coarser(&state.current.windows, 7, 60_000);
    write_readings(&pool, STRETCH, &state.current.rows, &names(&state)).unwrap();
    let (mut windows, mut rows) = (Windows::default(), 0);
    for file in pool.reading_files_of(STRETCH).unwrap() {
        read_measured(&file, |readings| {
            rows += readings.len();
            readings.iter().for_each(|reading| reading.add_to(&mut windows));
        })
        .unwrap();
    }
    assert_eq!(rows, state.current.rows.len());
    let counted: u64 = expected.values().map(|all| all.count).sum();
    assert_eq!(counted as usize, rows - 4, "the three and a fault");
    assert_eq!(coarser(&windows, 7, 60_000), expected);
}

#[test]
fn a_foreign_file_is_an_error_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.parquet");
    std::fs::write(&path, b"PAR1 nothing PAR1").unwrap();
    let filter = ReadingFilter { sensor: 0, from_ms: 0, to_ms: 1 };
    let error = read_readings(&path, &filter, |_, _, _| {}).unwrap_err();
    assert!(error.to_string().contains("x.parquet"), "{error}");
}
