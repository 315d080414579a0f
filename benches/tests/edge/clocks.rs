//! Boxes whose clock is wrong: every reading ends in the pool once, with the time it was taken or marked as uncertain.

use std::fmt::Debug;
use std::thread;
use std::time::Duration;

use gateway::clock::STEP_MS;
use wire::ClockState::{HeldOver, Synchronised, Unset};

use crate::vocabulary::*;
use crate::world::World;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
const YEAR_MS: i64 = 365 * DAY_MS;
const SLEEP: Duration = Duration::from_secs(3600);
/// A time is right when it is off by no more than this, in ms: the clock is only told to have changed beyond the first.
const RIGHT_MS: u64 = STEP_MS + 50;
/// The gateway looks at its clocks four times a second, and a batch is open for a fifth of one: what was taken so shortly
/// after a turn, in ms, may be dated as before it or as after it.
const TURN_MS: i64 = 1_000;
/// How Parquet numbers what is known of a time: dated by its receipt; by a clock that nobody confirms now; by one that a
/// time service has confirmed.
const GUESS: i32 = 0;
const HELD_OVER: i32 = 1;
const SYNCHRONISED: i32 = 2;

/// A reading in the pool, and when it was really taken.
#[derive(Debug, Clone, Copy)]
struct Dated {
    /// In ms since 1970, by the story.
    taken_ms: i64,
    /// The same, by ingest.
    at_ms: i64,
    /// What ingest knows of that time.
    clock: i32,
}

impl Dated {
    fn is_right(&self) -> bool {
        self.at_ms.abs_diff(self.taken_ms) <= RIGHT_MS
    }

    fn is_marked(&self) -> bool {
        self.clock < SYNCHRONISED
    }
}

/// Ends a story: all that its gateway sampled, each reading once, none wrong without a mark. `worlds` are those of the
/// gateway's starts, in order.
fn end(edge: Edge, worlds: &[&World], sampled: u64) -> Vec<Dated> {
    let frames = edge.stop();
    let numbers: Vec<u64> = frames.iter().map(|frame| frame.sequence).collect();
    assert_eq!(numbers, (1..=frames.len() as u64).collect::<Vec<_>>());
    let mut boots = Vec::new();
    let mut readings = Vec::new();
    for frame in frames {
        if !boots.contains(&frame.batch.boot) {
            boots.push(frame.batch.boot);
        }
        let began_ms = worlds[boots.len() - 1].began_ms();
        let mut taken: Vec<_> = frame.batch.readings.iter().map(|r| began_ms + r.mono_ms as i64).collect();
        taken.sort_unstable();
        let dated = |(taken_ms, (at_ms, clock))| Dated { taken_ms, at_ms, clock };
        readings.extend(taken.into_iter().zip(frame.rows).map(dated));
    }
    assert_eq!((boots.len(), readings.len() as u64), (worlds.len(), sampled), "starts, and readings");
    let wrong = readings.iter().find(|reading| !reading.is_right() && !reading.is_marked());
    assert!(wrong.is_none(), "wrong, and not marked: {wrong:?}");
    readings
}

fn assert_right(readings: &[Dated]) {
    let wrong = readings.iter().find(|reading| !reading.is_right());
    assert!(!readings.is_empty() && wrong.is_none(), "{wrong:?} of {}", readings.len());
}

/// Stories that mostly wait, told at the same time.
fn at_once<S: Copy + Debug + Send + 'static, const N: usize>(stories: [S; N], tell: fn(S)) {
    let told = stories.map(|story| (story, thread::spawn(move || tell(story))));
    for (story, told) in told {
        assert!(told.join().is_ok(), "{story:?}: see above");
    }
}

/// A box in 1970, with or without a floor of an earlier start, that learns the time after a while.
fn boot_in_1970(with_floor: bool) {
    let edge = Edge::new();
    let mut worlds = Vec::new();
    let mut sampled = 0;
    let floor_ms = with_floor.then(|| {
        let world = World::new();
        world.confirm();
        let box_ = edge.start(world);
        box_.goes_on();
        let (last, world) = box_.stop();
        sampled += last.readings;
        let stopped_ms = world.right_ms();
        worlds.push(world);
        stopped_ms
    });
    let world = World::new();
    world.forget_the_year();
    let box_ = edge.start(world);
    let guessing = box_.goes_on();
    assert_eq!(guessing.clock, Unset);
    if let Some(floor_ms) = floor_ms {
        let (least_ms, most_ms) = (floor_ms - TURN_MS, box_.world.right_ms() + TURN_MS);
        assert!((least_ms..=most_ms).contains(&guessing.written_ms), "{floor_ms}: {guessing:?}");
    }
    assert_eq!(edge.newest_clock(), "unset", "shown at once, as a guess");
    box_.world.set_right();
    box_.until("it knows the time", |status| status.clock == Synchronised);
    box_.goes_on();
    assert_eq!(edge.newest_clock(), "synchronised");
    let (last, world) = box_.stop();
    worlds.push(world);
    let worlds: Vec<&World> = worlds.iter().map(|world| &**world).collect();
    let readings = end(edge, &worlds, sampled + last.readings);
    // Also what was taken before the box knew.
    assert_right(&readings);
    let guess = readings.iter().find(|reading| reading.clock == GUESS);
    assert!(guess.is_none(), "{guess:?}");
}

#[test]
fn a_boot_in_1970_is_dated_once_the_time_is_known() {
    at_once([false, true], boot_in_1970);
}

#[test]
fn a_box_that_never_learns_the_time_is_shown_with_a_guess() {
    let edge = Edge::new();
    let world = World::new();
    world.forget_the_year();
    let box_ = edge.start(world);
    box_.goes_on();
    let (last, world) = box_.stop();
    assert_eq!((last.clock, edge.newest_clock().as_str()), (Unset, "unset"));
    let stats = edge.until("/api/v1/stats", |stats| stats["readings"]["accepted"] == last.readings);
    assert_eq!((&stats["readings"]["lost"], &stats["readings"]["quarantined"]), (&0.into(), &0.into()));
    // Sampled twenty times a second: the guess is when they came.
    let shown = edge.until("/api/v1/sensors/gw-1:hall.t/readings?limit=10000", |_| true);
    let times: Vec<i64> =
        shown["readings"].as_array().unwrap().iter().map(|r| r["at_ms"].as_i64().unwrap()).collect();
    assert_eq!(times.len() as u64 * 2, last.readings, "each of two quantities once");
    let told = world.began_ms() - TURN_MS..=world.right_ms() + TURN_MS;
    assert!(times.iter().all(|at_ms| told.contains(at_ms)), "{told:?} {times:?}");
}

/// The wall clock jumps while the gateway runs; later a time service sets it right.
#[derive(Debug, Clone, Copy)]
struct Jump {
    by_ms: i64,
    /// Whether a time service had spoken before.
    confirmed: bool,
    /// How the readings in between are marked, where their time need not be right.
    doubt: Option<i32>,
}

fn jump(Jump { by_ms, confirmed, doubt }: Jump) {
    let edge = Edge::new();
    let world = World::new();
    if confirmed {
        world.confirm();
    }
    let box_ = edge.start(world);
    box_.goes_on();
    let jumped_ms = box_.world.right_ms();
    box_.world.wrong_by(by_ms);
    box_.until("it sees the jump", |status| {
        status.uptime_ms as i64 > jumped_ms - box_.world.began_ms() + TURN_MS
    });
    let doubting = box_.goes_on();
    assert_eq!(doubting.clock, HeldOver);
    let off_ms = doubting.written_ms - box_.world.right_ms();
    // Its word is some seconds old.
    assert!(!confirmed || off_ms.abs() < HOUR_MS, "the box itself is not misled: {doubting:?}");
    let mended_ms = box_.world.right_ms();
    box_.world.set_right();
    box_.until("it knows the time", |status| status.clock == Synchronised);
    box_.goes_on();
    let (last, world) = box_.stop();
    let between = |reading: &Dated| (jumped_ms..mended_ms + TURN_MS).contains(&reading.taken_ms);
    let readings = end(edge, &[&world], last.readings);
    match doubt {
        None => assert_right(&readings),
        Some(mark) => {
            let (doubtful, rest): (Vec<Dated>, Vec<Dated>) = readings.iter().copied().partition(between);
            assert_right(&rest);
            assert!(doubtful.iter().any(|reading| reading.clock == mark), "{doubtful:?}");
        }
    }
}

#[test]
fn a_jump_moves_no_reading_of_a_box_that_knew_the_time_and_marks_those_of_one_that_did_not() {
    let stories = [
        Jump { by_ms: YEAR_MS, confirmed: true, doubt: None },
        Jump { by_ms: -DAY_MS, confirmed: true, doubt: None },
        // Too far ahead to be believed: dated by receipt.
        Jump { by_ms: YEAR_MS, confirmed: false, doubt: Some(GUESS) },
        // It could be true.
        Jump { by_ms: -DAY_MS, confirmed: false, doubt: Some(HELD_OVER) },
    ];
    at_once(stories, jump);
}

/// The box sleeps for an hour, far longer than any patience.
#[derive(Debug, Clone, Copy)]
struct Sleep {
    /// Whether a time service had spoken before.
    confirmed: bool,
    /// How far its wall clock is off when it wakes.
    wakes_wrong_by_ms: i64,
}

fn sleep(Sleep { confirmed, wakes_wrong_by_ms }: Sleep) {
    let edge = Edge::new();
    let world = World::before(SLEEP);
    if confirmed {
        world.confirm();
    }
    let box_ = edge.start(world);
    box_.goes_on();
    box_.world.wrong_by(wakes_wrong_by_ms);
    box_.sleeps(SLEEP);
    let awake = box_.goes_on();
    let expected = if confirmed && wakes_wrong_by_ms == 0 { Synchronised } else { HeldOver };
    assert_eq!(awake.clock, expected);
    box_.world.set_right();
    box_.until("it knows the time", |status| status.clock == Synchronised);
    box_.goes_on();
    let (last, world) = box_.stop();
    assert!(last.gauges["box.slept.s"] > 3_599.0, "{last:?}");
    let readings = end(edge, &[&world], last.readings);
    assert_right(&readings);
    let asleep = readings.windows(2).filter(|pair| pair[1].at_ms - pair[0].at_ms > 3_500_000).count();
    assert_eq!(asleep, 1, "one night, and nothing was moved into it");
}

#[test]
fn a_sleep_moves_no_reading_whatever_the_clock_shows_afterwards() {
    let stories = [
        Sleep { confirmed: true, wakes_wrong_by_ms: 0 },
        Sleep { confirmed: false, wakes_wrong_by_ms: 0 },
        Sleep { confirmed: true, wakes_wrong_by_ms: -DAY_MS },
    ];
    at_once(stories, sleep);
}
