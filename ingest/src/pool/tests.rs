//! The state as a whole: what a log gives, and that it gives it once.

use std::collections::BTreeMap;
use std::sync::Arc;

use configs::Catalogue;
use wire::{
    Area, Batch, BootId, Clock, ClockState, Codec, Datum, Frame, GatewayId, Lane, Loss, LossReason, Losses,
    Payload, Place, Quality, QuantityCode, Reading, SensorName, Series,
};

use super::aggregate::{Aggregate, micro};
use super::apply::{Incoming, Known, kind};
use super::snapshot::Snapshot;
use super::windows::{BASE_MS, BASE_PRECISION};
use super::*;

/// 2026-11-22 00:00 UTC.
pub(crate) const T0: i64 = 1_795_305_600_000;
pub(crate) const TEMPERATURE: QuantityCode = QuantityCode(1);

pub(crate) fn rules() -> Rules {
    Rules {
        catalogue: Arc::new(Catalogue::builtin()),
        mappings: Arc::new(Mappings::default()),
        hot_ms: 7_200_000,
        hot_bytes: 16 << 20,
    }
}

/// The windows as they settle.
pub(crate) fn packed(windows: &Windows) -> Hot {
    let mut table = Hot::default();
    windows.iter().for_each(|(key, all)| table.merge(*key, all));
    table
}

/// The windows merged to a precision and a length.
pub(crate) fn coarser(windows: &Windows, precision: u8, length_ms: i64) -> BTreeMap<WindowKey, Aggregate> {
    let mut all = BTreeMap::new();
    for (key, part) in windows.iter() {
        let window = all.entry(key.coarser(precision, length_ms));
        window.and_modify(|all: &mut Aggregate| all.merge(part)).or_insert_with(|| part.clone());
    }
    all
}

pub(crate) fn gateway(name: &str) -> GatewayId {
    GatewayId::new(name).unwrap()
}

/// Readings of sensors `s0`, `s1`, … in turn, one each 7 s from `at_ms` on.
pub(crate) fn batch(at_ms: i64, values: &[f64]) -> Batch {
    let area = Area::new("chengdu/qingyang/caotang").unwrap();
    let places = (0..3)
        .map(|step| Place::new(30.66 + f64::from(step) * 0.003, 104.02, Datum::Wgs84, area.clone()).unwrap())
        .collect();
    let series = (0..3)
        .map(|index| Series {
            sensor: SensorName::new(&format!("s{index}")).unwrap(),
            quantity: TEMPERATURE,
            place: index,
        })
        .collect();
    let readings = values.iter().enumerate().map(|(index, &value)| Reading {
        series: index as u16 % 3,
        mono_ms: index as u64 * 7000,
        value: Some(value),
        quality: Quality::Good,
    });
    let clock = Clock { state: ClockState::Synchronised, epoch_ms: at_ms };
    Batch { boot: BootId(1), clock, places, series, readings: readings.collect() }
}

pub(crate) fn frame(name: &str, sequence: u64, payload: Payload) -> Frame {
    // Decoded batches come sorted by series, as everything that is applied.
    let frame = Frame { gateway: gateway(name), store: 9, sequence, payload };
    Frame::decode(&frame.encode(Codec::Plain).unwrap()).unwrap()
}

pub(crate) fn readings(name: &str, sequence: u64, at_ms: i64, values: &[f64]) -> Frame {
    frame(name, sequence, Payload::Readings(batch(at_ms, values)))
}

fn loss(name: &str, sequence: u64, from: u64, to: u64, count: u64) -> Frame {
    let loss = Loss { lane: Lane::Reading, from, to, count, reason: LossReason::Quota, mono_ms: 1 };
    let clock = Clock { state: ClockState::Synchronised, epoch_ms: T0 };
    frame(name, sequence, Payload::Losses(Losses { boot: BootId(1), clock, losses: vec![loss] }))
}

#[test]
fn a_frame_counts_once_and_gaps_are_explained() {
    let mut state = State::new(rules());
    let seven = [20.0, 21.0, 22.0, 23.0, 24.0, 25.0, 26.0];
    for sequence in [1, 2, 4, 2, 1, 4] {
        state.apply_frame(&readings("g", sequence, T0 + sequence as i64 * 60_000, &seven), T0 + 300_000);
    }
    assert_eq!((state.totals.accepted, state.totals.duplicate), (21, 21));
    let lane = state.lane_total(Lane::Reading);
    assert_eq!((lane.frames, lane.duplicate, lane.items), (3, 3, 21));
    assert_eq!(state.current.rows.len(), 21);
    state.apply_frame(&loss("g", 1, 3, 3, 7), T0 + 300_000);
    assert_eq!(state.totals.lost, 7);
    let door = state.door.lock();
    let (.., ledger) = door.ledger.lanes(&gateway("g")).find(|(_, lane, _)| *lane == Lane::Reading).unwrap();
    assert_eq!((ledger.high_water(), ledger.missing(), ledger.lost()), (4, 0, 1));
    drop(door);
    // Set aside on the box, replayed here: not lost after all.
    state.apply_frame(&readings("g", 3, T0 + 180_000, &seven), T0 + 400_000);
    assert_eq!((state.totals.accepted, state.totals.lost), (28, 0));
}

#[test]
fn windows_are_what_a_naive_recomputation_gives() {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut state = State::new(rules());
    for sequence in 1..=200 {
        let values: Vec<f64> =
            (0..rng.usize(1..40)).map(|_| f64::from(rng.i32(-2000..9000)) / 100.0).collect();
        // In no order, up to a day late.
        let at_ms = T0 + rng.i64(0..86_400_000);
        state.apply_frame(&readings(["a", "b"][rng.usize(0..2)], sequence, at_ms, &values), T0 + 86_400_000);
    }
    let mut naive: BTreeMap<WindowKey, (u64, i128, f64, f64)> = BTreeMap::new();
    for (row, head) in state.current.rows.iter() {
        let key = WindowKey {
            quantity: row.quantity,
            cell: Cell::at(f64::from(head.lat_e7) / 1e7, f64::from(head.lon_e7) / 1e7, 7),
            start_ms: row.at_ms - row.at_ms.rem_euclid(60_000),
        };
        let value = row.value().unwrap();
        let entry = naive.entry(key).or_insert((0, 0, f64::MAX, f64::MIN));
        *entry = (entry.0 + 1, entry.1 + micro(value), entry.2.min(value), entry.3.max(value));
    }
    assert!(naive.len() > 500);
    let found: BTreeMap<WindowKey, (u64, i128, f64, f64)> = (state.current.windows.iter())
        .map(|(key, all)| (*key, (all.count, all.sum_micro, all.min, all.max)))
        .collect();
    assert_eq!(found, naive);
    for precision in [5, 6] {
        let total: u64 =
            coarser(&state.current.windows, precision, 3_600_000).values().map(|all| all.count).sum();
        assert_eq!(total, state.totals.accepted);
    }
}

#[test]
fn only_usable_readings_of_a_known_time_enter_windows() {
    let mut state = State::new(rules());
    let mut mixed = batch(T0, &[20.0, 21.0, 22.0, 1.0, 500.0]);
    mixed.readings[1].quality = Quality::OutOfRange;
    mixed.readings[2] = Reading { value: None, quality: Quality::Fault, ..mixed.readings[2] };
    mixed.readings[3].quality = Quality::Suspect;
    state.apply_frame(&frame("g", 1, Payload::Readings(mixed.clone())), T0 + 60_000);
    assert_eq!(state.totals.accepted, 5, "all are kept");
    let counted: u64 = state.current.windows.iter().map(|(_, all)| all.count).sum();
    assert_eq!(counted, 2, "good and suspect; 500 degrees cannot be, whatever the box says");

    let mut strange = batch(T0, &[20.0, 21.0]);
    strange.series[1].quantity = QuantityCode(65_000);
    (strange.clock.state, strange.boot) = (ClockState::Unset, BootId(77));
    state.apply_frame(&frame("g", 2, Payload::Readings(strange)), T0 + 60_000);
    let counted: u64 = state.current.windows.iter().map(|(_, all)| all.count).sum();
    assert_eq!(counted, 2, "times are guesses");
    let newest = taken(&state).into_iter().filter(|row| row.1 == 0).map(|row| row.0).max();
    assert_eq!(newest, Some(T0 + 53_000), "dated by receipt: the newest of the batch was taken then");
}

/// Time and clock of each reading.
fn taken(state: &State) -> Vec<(i64, u8)> {
    state.current.rows.iter().map(|(row, head)| (row.at_ms, head.clock)).collect()
}

/// Applies a frame as the record that ends at `end`.
fn record(state: &mut State, end: u64, frame: &Frame, received_ms: i64) {
    let payload = frame.encode(Codec::Zstd).unwrap();
    let source = frame.gateway.as_str();
    let known = Known::Nothing;
    state.apply(Incoming { end, received_ms, kind: kind::FRAME, source, payload: &payload, known });
}

#[test]
fn readings_wait_until_their_box_knows_the_time() {
    let unset = |boot, sequence| {
        let mut batch = batch(-1, &[20.0, 21.0, 22.0, 23.0]);
        (batch.clock.state, batch.boot) = (ClockState::Unset, BootId(boot));
        frame("g", sequence, Payload::Readings(batch))
    };
    let mut state = State::new(rules());
    record(&mut state, 100, &unset(1, 1), T0 + 1000);
    record(&mut state, 200, &unset(2, 2), T0 + 2000);
    assert_eq!((state.totals.accepted, state.current.rows.len()), (8, 0));
    let sensor = state.sensors.get(0).unwrap();
    let last = sensor.last.unwrap();
    assert_eq!(
        (last.value, last.at_ms, last.clock),
        (Some(23.0), T0 + 2000, ClockState::Unset),
        "shown at once"
    );
    assert_eq!(state.waiting_readings(sensor.gateway, sensor.name).len(), 4);
    // A checkpoint in between must not lose them.
    let mut state = State::restore(rules(), 200, 0, 0, &state.snapshot()).unwrap();
    record(&mut state, 300, &readings("g", 3, T0, &[24.0]), T0 + 30_000);
    assert_eq!(state.totals.accepted, 9);
    assert_eq!(
        taken(&state),
        [(T0, 1), (T0 + 21_000, 1), (T0 + 7000, 1), (T0 + 14_000, 1), (T0, 2)],
        "boot 1 only"
    );
    // The other start never learns the time: after a day it goes as it is.
    record(&mut state, 400, &readings("h", 1, T0, &[24.0]), T0 + 2000 + 86_400_000);
    assert_eq!(state.current.rows.len(), 6);
    record(&mut state, 500, &readings("h", 2, T0, &[24.0]), T0 + 2001 + 86_400_000);
    assert_eq!(taken(&state).iter().filter(|row| row.1 == 0).count(), 4);
    assert_eq!((state.totals.accepted, state.current.rows.len()), (11, 11));
}

#[test]
fn a_box_that_learns_the_time_has_its_readings_restamped() {
    let mut state = State::new(rules());
    let mut early = batch(-5000, &[20.0]);
    early.clock.state = ClockState::Unset;
    let late = batch(T0, &[21.0]);
    // The newer frame comes first: the reading lane drains its backlog behind it.
    state.apply_frame(&frame("g", 2, Payload::Readings(late)), T0 + 5000);
    state.apply_frame(&frame("g", 1, Payload::Readings(early)), T0 + 6000);
    assert_eq!(taken(&state).last(), Some(&(T0, 1)), "held over: the wall clock of the same start");
}

#[test]
fn every_reading_of_a_wrong_clock_is_taken_once_with_a_right_time_or_a_doubt() {
    use ClockState::{HeldOver, Synchronised, Unset};
    const DAY: i64 = 86_400_000;
    const YEAR: i64 = 365 * DAY;
    const RECEIVED: i64 = T0 + 2000;
    // What the box claims of a reading that it took at T0, in which state; its row, time and clock (none: it waits);
    // and the row of another one that comes after the box said, in the same start, what time T0 really was.
    for (what, state_then, claimed_ms, row, after) in [
        ("boot in 1970", Unset, 5_000, None, (T0, 1)),
        ("boot in 1970, with a floor", Unset, T0 - DAY, None, (T0, 1)),
        ("set by hand, a year ahead", HeldOver, T0 + YEAR, Some((RECEIVED, 0)), (T0, 1)),
        ("set by hand, a day behind", HeldOver, T0 - DAY, Some((T0 - DAY, 1)), (T0, 1)),
        ("slept, or jumped, and knew better", HeldOver, T0, Some((T0, 1)), (T0, 1)),
        ("synchronised", Synchronised, T0, Some((T0, 2)), (T0, 2)),
    ] {
        let mut state = State::new(rules());
        let with = |sequence, state, epoch_ms| {
            let mut batch = batch(epoch_ms, &[20.0]);
            batch.clock.state = state;
            frame("g", sequence, Payload::Readings(batch))
        };
        for _ in 0..2 {
            state.apply_frame(&with(1, state_then, claimed_ms), RECEIVED);
        }
        assert_eq!(taken(&state), Vec::from_iter(row), "{what}");
        state.apply_frame(&with(2, Synchronised, T0), RECEIVED);
        state.apply_frame(&with(3, state_then, claimed_ms), RECEIVED);
        assert_eq!(taken(&state).last(), Some(&after), "{what}");
        assert_eq!((state.totals.accepted, state.current.rows.len()), (3, 3), "{what}");
    }
}

#[test]
fn what_was_thinned_is_told_and_opens_no_gap() {
    let mut state = State::new(rules());
    let mut record = loss("g", 1, 1, 40, 700);
    let Payload::Losses(losses) = &mut record.payload else { panic!("a loss record") };
    losses.losses[0].reason = LossReason::Thinned;
    state.apply_frame(&record, T0);
    state.apply_frame(&readings("g", 1, T0, &[20.0]), T0);
    assert_eq!((state.totals.lost, state.totals.accepted), (700, 1), "its frames still come");
    let told: Vec<_> = state.losses.of(&gateway("g")).map(|r| (r.from, r.to, r.count, r.reason)).collect();
    assert_eq!(told, [(1, 40, 700, LossReason::Thinned)]);
}

#[test]
fn unknown_quantities_are_held_and_the_rest_is_taken() {
    let mut state = State::new(rules());
    let mut batch = batch(T0, &[20.0, 21.0, 22.0, 23.0]);
    batch.series[1].quantity = QuantityCode(65_000);
    let bytes = frame("g", 1, Payload::Readings(batch)).encode(Codec::Zstd).unwrap();
    state.apply(Incoming {
        end: 800,
        received_ms: T0,
        kind: kind::FRAME,
        source: "g",
        payload: &bytes,
        known: Known::Nothing,
    });
    assert_eq!((state.totals.accepted, state.totals.quarantined), (3, 1));
    let effects = state.take_effects();
    let [Effect::Held(held)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!((held.id, held.reason), (800, crate::admit::Reason::UnknownQuantity));
    assert!(held.detail.contains("65000"), "{}", held.detail);
    assert_eq!(held.body, bytes);
}

#[test]
fn late_is_two_minutes_after_the_minute() {
    let mut state = State::new(rules());
    state.apply_frame(&readings("g", 1, T0, &[20.0]), T0 + 60_000 + 120_000);
    assert_eq!(state.totals.late, 0);
    state.apply_frame(&readings("g", 2, T0, &[20.0]), T0 + 60_000 + 120_001);
    assert_eq!((state.totals.late, state.totals.accepted), (1, 2));
}

#[test]
fn a_snapshot_comes_back_as_it_was() {
    let mut state = State::new(rules());
    for sequence in 1..50 {
        state
            .apply_frame(&readings(["a", "b"][sequence as usize % 2], sequence, T0, &[20.0, 21.5, 3.25]), T0);
    }
    state.apply_frame(&loss("a", 7, 100, 200, 5), T0);
    state.position = 4242;
    let bytes = state.snapshot();
    let back = State::restore(rules(), 4242, 3, 147, &bytes).unwrap();
    assert_eq!((back.position, back.checkpoint, back.current.from), (4242, 4242, 4242));
    assert_eq!((back.totals.parquet_files, back.totals.parquet_rows), (3, 147));
    state.totals = back.totals;
    assert_eq!(back.snapshot(), state.snapshot());
    let lost: Vec<_> = back.losses.of(&gateway("a")).map(|loss| (loss.from, loss.to, loss.count)).collect();
    assert_eq!(lost, [(100, 200, 5)]);
    // A checkpoint from before there were reports.
    let older = &bytes[..bytes.len() - super::apply::encode(&back.losses).len()];
    let older = State::restore(rules(), 4242, 3, 147, older).unwrap();
    assert_eq!((older.losses, older.totals), (losses::Reports::default(), back.totals));
    assert!(State::restore(rules(), 0, 0, 0, &bytes[..bytes.len() / 2]).is_none());
}

#[test]
fn a_checkpoint_remembers_what_sql_was_not_told() {
    let mut state = State::new(rules());
    for (number, name) in ["a", "b", "c", "d", "e", "f"].into_iter().enumerate() {
        state.apply_frame(&readings(name, 1, T0 + number as i64, &[20.0]), T0);
    }
    assert_eq!(state.take_changed(usize::MAX), [0, 1, 2, 3, 4, 5]);
    state.apply_frame(&readings("g", 1, T0, &[20.0]), T0);
    let Snapshot { body, pages, missing_from } = state.take_snapshot();
    let page = |kind, number| {
        let page = pages.iter().find(|page| page.kind == kind && page.number == number);
        Some(page.map(|page| page.bytes.clone()).unwrap_or_default())
    };
    let mut back = State::restore_with(rules(), 0, 0, 0, &body, missing_from, page).unwrap();
    assert_eq!(back.sensors.len(), 7);
    assert_eq!(back.take_changed(usize::MAX), [4, 5, 6], "the page that the new one lies in");
    assert!(back.take_changed(usize::MAX).is_empty());
}

/// Readings in windows at each stage: that wait, in flight, that settle, settled, cooling, hot.
fn stages(state: &State) -> [u64; 6] {
    let of_span = |span: &Span| span.windows.iter().map(|(_, all)| all.count).sum();
    let of_table = |table: &Hot| table.iter().map(|(key, all)| all.unpack(key.start_ms).count).sum();
    [
        of_span(&state.current),
        state.in_flight.as_deref().map_or(0, of_span),
        of_table(&state.settling),
        state.settled.as_ref().map_or(0, |settled| of_table(&settled.windows)),
        of_table(&state.cooling),
        of_table(&state.hot),
    ]
}

#[test]
fn a_cut_stays_visible_until_it_is_written() {
    let mut state = State::new(rules());
    state.apply_frame(&readings("g", 1, T0, &[20.0, 21.0]), T0);
    state.position = 100;
    let span = state.cut().unwrap();
    assert_eq!((span.from, span.rows.len()), (0, 2));
    assert!(state.cut().is_none(), "one at a time");
    state.apply_frame(&readings("g", 2, T0, &[22.0]), T0);
    assert_eq!((state.current.from, state.current.rows.len()), (100, 1));
    assert_eq!(state.in_flight.as_ref().unwrap().rows.len(), 2);
    state.written(100, 2, T0 + 60_000);
    assert!(state.in_flight.is_none());
    assert_eq!((state.checkpoint, state.totals.parquet_rows, state.totals.parquet_files), (100, 2, 2));
    assert_eq!((state.windows_kept, stages(&state)), (0, [1, 0, 2, 0, 0, 0]));
}

#[test]
fn a_window_settles_cools_and_is_hot_and_counts_once_everywhere() {
    let mut state = State::new(rules());
    let mut next = 0;
    let mut apply = |state: &mut State| {
        next += 1;
        state.apply_frame(&readings("g", next, T0, &[20.0, 21.0]), T0);
        state.position = 100 * next;
    };
    let now_ms = T0 + 60_000;
    assert!(state.settle().is_none(), "nothing is in files yet");
    for with_windows in [false, true] {
        apply(&mut state);
        if with_windows {
            let settled = state.settle().unwrap();
            assert_eq!((settled.from, settled.to, settled.are_filed), (0, 100, false));
            drop(settled);
            assert!(state.settle().is_none(), "one at a time");
            state.note_filed(3);
        }
        state.cut();
        apply(&mut state);
        let expected = if with_windows { [2, 4, 0, 2, 0, 0] } else { [2, 2, 0, 0, 0, 0] };
        assert_eq!((state.windows_kept, stages(&state)), (0, expected));
        state.written(state.position - 100, 1, now_ms);
    }
    assert_eq!((state.windows_kept, stages(&state)), (100, [2, 0, 4, 0, 2, 0]));
    assert_eq!(state.totals.parquet_files, 5);
    state.cool(1);
    assert_eq!(stages(&state), [2, 0, 4, 0, 0, 2], "what is new moves as it is");
    state.cut();
    state.settle();
    state.note_filed(1);
    assert_eq!((state.windows_kept, state.windows_filed()), (100, 300));
    state.written(400, 1, now_ms);
    assert_eq!(
        (state.windows_kept, stages(&state)),
        (100, [0, 0, 2, 4, 0, 2]),
        "that checkpoint did not know of the files yet"
    );
    state.cut();
    state.written(400, 0, now_ms);
    assert_eq!((state.windows_kept, stages(&state)), (300, [0, 0, 2, 0, 4, 2]));
    state.cool(1);
    assert_eq!(stages(&state), [0, 0, 2, 0, 2, 4], "the others are merged one by one: there are two places");
    // Ended in a hurry: the next ones come before these are through.
    state.settle();
    state.note_filed(1);
    state.cut();
    state.written(400, 0, now_ms);
    assert_eq!((state.windows_kept, stages(&state)), (400, [0, 0, 0, 0, 2, 6]));
    // Old ones are dropped on the way.
    state.hot_from_ms = T0 + 60_000;
    state.cool(usize::MAX);
    assert_eq!(stages(&state), [0; 6]);
}

#[test]
fn neither_windows_that_wait_nor_one_from_the_future_push_the_present_minute_out() {
    let mut state = State::new(Rules { hot_bytes: 8_000, ..rules() });
    let window = |minute: i64, step: i32| {
        let cell = Cell::at_e7(306_600_000 + step * 20_000, 1_040_600_000, BASE_PRECISION);
        let start_ms = T0 + minute * BASE_MS;
        (WindowKey { quantity: 1, cell, start_ms }, Aggregate::of(start_ms, 1, 1.0))
    };
    for (minute, step) in (-9..1).flat_map(|minute| (0..5).map(move |step| (minute, step))).chain([(1200, 0)])
    {
        let (key, part) = window(minute, step);
        state.hot.merge(key, &part);
    }
    for step in 0..200 {
        let (key, part) = window(-600, step);
        state.settling.merge(key, &part);
    }
    assert!(state.settling.bytes() > 8_000);
    state.cool(1);
    assert!(state.hot_from_ms <= T0 && state.hot.get(&window(0, 4).0).is_some());
    assert!(state.hot.bytes() <= 4_000 && state.hot.get(&window(-9, 0).0).is_none(), "the oldest went");
}

#[test]
fn what_a_seal_says_is_heard_whatever_its_number() {
    let mut state = State::new(rules());
    let said = |sequence, byte: u8| {
        frame(
            "seal",
            sequence,
            Payload::Envelopes(wire::Envelopes { envelopes: vec![vec![byte; 20], vec![byte; 21]] }),
        )
    };
    let mut heard = |position, frame: &Frame| {
        state.position = position;
        state.apply_frame(frame, T0);
        let effects = state.take_effects();
        effects
            .iter()
            .map(|effect| match effect {
                Effect::Envelope(envelope) => (envelope.number, envelope.bytes[0]),
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(heard(100, &said(1, 7)), [(400, 7), (401, 7)]);
    assert_eq!(heard(200, &said(1, 8)), [(800, 8), (801, 8)], "an old copy of its store, and something new");
    assert_eq!(state.totals.lanes[Lane::Seal as usize].frames, 1, "counted once all the same");
}
