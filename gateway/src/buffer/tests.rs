use std::fs;
use std::sync::atomic::Ordering;

use tempfile::TempDir;
use wire::{BootId, Frame, Health, Loss, LossReason, Place, Quality, Reading, Series};

use super::shelf::SledShelf;
use super::store::{Gap, Store};
use super::*;
use crate::batch::pack;
use crate::testing::{clock, place, sensors, stamp};

mod notes;

fn gateway() -> GatewayId {
    GatewayId::new("gw").expect("valid")
}

/// The store without its thread.
fn open_store(folder: &TempDir) -> Result<(Store<SledShelf>, Vec<Gap>), StoreError> {
    Store::open(SledShelf::open(&folder.path().join("buffer"))?)
}

fn open_in(folder: &TempDir) -> Opened {
    open_with(folder, 1 << 30)
}

fn open_with(folder: &TempDir, quota: u64) -> Opened {
    open(folder.path(), &gateway(), quota, || stamp(77)).expect("opens")
}

/// Ends the thread as a clean stop does.
fn close(opened: Opened) {
    block_on(opened.buffer.stop());
    opened.thread.join().expect("the thread ends");
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

fn gauge(n: f64) -> Payload {
    Payload::Health(Health { boot: BootId(1), clock: clock(0), mono_ms: 1, gauges: vec![("n".into(), n)] })
}

/// Random readings that do not compress, about 20 KB.
fn readings(seed: u64) -> Payload {
    let mut random = fastrand::Rng::with_seed(seed);
    let sensor = sensors(1).remove(0);
    Payload::Readings(wire::Batch {
        boot: BootId(1),
        clock: clock(0),
        places: vec![place(0)],
        series: vec![Series { sensor: sensor.name, quantity: sensor.quantity.code, place: 0 }],
        readings: (0..2400)
            .map(|n| Reading { series: 0, mono_ms: n, value: Some(random.f64()), quality: Quality::Good })
            .collect(),
    })
}

fn alarm(place: Place) -> Payload {
    Payload::Alarms(wire::Alarms { boot: BootId(1), clock: clock(0), events: vec![event(place)] })
}

fn event(place: Place) -> AlarmEvent {
    let sensor = sensors(1).remove(0);
    AlarmEvent {
        episode: 9,
        rule: "hot".into(),
        rule_version: 1,
        kind: wire::AlarmKind::Raised,
        level: wire::Level::Red,
        sensor: sensor.name,
        quantity: sensor.quantity.code,
        place,
        mono_ms: 5,
        value: Some(80.0),
        quality: Quality::Good,
        threshold: 60.0,
        measure: wire::Measure::Value,
        worst: None,
        inputs: Vec::new(),
    }
}

fn keep(opened: &Opened, payload: Payload) {
    opened.buffer.keep_blocking(payload, Vec::new()).expect("the thread lives");
}

fn flush(opened: &Opened) {
    block_on(opened.buffer.flush()).expect("the thread lives");
}

fn heads(opened: &Opened) -> Heads {
    *opened.buffer.heads().borrow()
}

fn head(opened: &Opened, lane: Lane) -> (u64, u64) {
    let head = heads(opened).lanes[lane as usize];
    (head.floor, head.next)
}

fn read(opened: &Opened, lane: Lane, sequence: u64) -> Option<Frame> {
    let mut frames = block_on(opened.buffer.read(vec![(lane, sequence)])).expect("the thread lives");
    frames.remove(0).map(|bytes| Frame::decode(&bytes).expect("our own frame"))
}

fn losses(opened: &Opened, sequence: u64) -> Vec<(Lane, u64, u64, u64, LossReason)> {
    let Some(Frame { payload: Payload::Losses(losses), .. }) = read(opened, Lane::Health, sequence) else {
        panic!("health {sequence} is a loss record");
    };
    losses
        .losses
        .into_iter()
        .map(|Loss { lane, from, to, count, reason, .. }| (lane, from, to, count, reason))
        .collect()
}

#[test]
fn numbers_go_on_after_a_restart_even_over_an_empty_queue() {
    let folder = TempDir::new().expect("a folder");
    let opened = open_in(&folder);
    let store = heads(&opened).store;
    for n in 0..3 {
        keep(&opened, gauge(f64::from(n)));
    }
    flush(&opened);
    assert_eq!(head(&opened, Lane::Health), (1, 4));
    let kept = read(&opened, Lane::Health, 2).expect("kept");
    assert_eq!((kept.store, kept.sequence, &kept.payload), (store, 2, &gauge(1.0)));
    block_on(opened.buffer.forget(store, Lane::Health, 4)).expect("the thread lives");
    flush(&opened);
    assert!(heads(&opened).is_empty());
    close(opened);

    let opened = open_in(&folder);
    assert_eq!((heads(&opened).store, head(&opened, Lane::Health)), (store, (4, 4)));
    keep(&opened, gauge(9.0));
    flush(&opened);
    assert_eq!(read(&opened, Lane::Health, 4).map(|f| f.sequence), Some(4), "no number is used twice");
    assert_eq!(opened.buffer.gauges().blob_files.load(Ordering::Relaxed), 0);
    close(opened);
}

#[test]
fn a_forget_for_another_store_is_ignored() {
    let folder = TempDir::new().expect("a folder");
    let opened = open_in(&folder);
    keep(&opened, gauge(1.0));
    flush(&opened);
    let other = heads(&opened).store + 1;
    block_on(opened.buffer.forget(other, Lane::Health, 2)).expect("the thread lives");
    block_on(opened.buffer.set_aside(other, Lane::Health, 1, 0x99)).expect("the thread lives");
    flush(&opened);
    assert_eq!(head(&opened, Lane::Health), (1, 2));
    close(opened);
}

#[test]
fn the_folder_of_a_running_gateway_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let opened = open_in(&folder);
    let second = open(folder.path(), &gateway(), 1 << 30, || stamp(0));
    assert!(matches!(second, Err(OpenError::InUse(_))));
    close(opened);
    close(open_in(&folder));
}

#[test]
fn what_the_disk_spoiled_becomes_a_loss_record_told_once() {
    let folder = TempDir::new().expect("a folder");
    let opened = open_in(&folder);
    for n in 0..6 {
        keep(&opened, readings(n));
    }
    flush(&opened);
    let per_frame = head(&opened, Lane::Reading).1 - 1;
    assert_eq!(per_frame, 6, "one frame each");
    close(opened);

    let (mut store, gaps) = open_store(&folder).expect("sound");
    assert_eq!(gaps, []);
    let mut spoiled = store.read(Lane::Reading, 2).expect("sound").expect("there");
    spoiled[100] ^= 1;
    store.damage(Lane::Reading, 2, Some(&spoiled)); // a flipped bit
    store.damage(Lane::Reading, 3, None); // a hole
    let fourth = store.read(Lane::Reading, 4).expect("sound").expect("there");
    store.damage(Lane::Reading, 5, Some(&fourth)); // a sound frame under the wrong number
    drop(store);

    let opened = open_in(&folder);
    flush(&opened);
    let expected =
        [(Lane::Reading, 2, 3, 0, LossReason::Corrupt), (Lane::Reading, 5, 5, 0, LossReason::Corrupt)];
    assert_eq!(losses(&opened, 1), expected);
    assert_eq!(opened.buffer.gauges().lost_frames.load(Ordering::Relaxed), 3);
    assert!(read(&opened, Lane::Reading, 1).is_some() && read(&opened, Lane::Reading, 6).is_some());
    assert!(read(&opened, Lane::Reading, 5).is_none());
    assert_eq!(head(&opened, Lane::Reading), (1, 7), "the numbers stay");
    close(opened);

    let opened = open_in(&folder);
    flush(&opened);
    assert_eq!(head(&opened, Lane::Health), (1, 2), "the same gap is not told twice");
    let store = heads(&opened).store;
    block_on(opened.buffer.forget(store, Lane::Reading, 7)).expect("the thread lives");
    close(opened);
    let opened = open_in(&folder);
    flush(&opened);
    assert_eq!((head(&opened, Lane::Reading), head(&opened, Lane::Health)), ((7, 7), (1, 2)));
    close(opened);
}

#[test]
fn a_lost_tail_is_noticed_because_the_next_number_is_known() {
    let folder = TempDir::new().expect("a folder");
    let opened = open_in(&folder);
    keep(&opened, gauge(1.0));
    keep(&opened, readings(1));
    close(opened);
    let (mut store, _) = open_store(&folder).expect("sound");
    store.damage(Lane::Reading, 1, None);
    drop(store);
    let opened = open_in(&folder);
    flush(&opened);
    assert_eq!(losses(&opened, 2), [(Lane::Reading, 1, 1, 0, LossReason::Corrupt)]);
    close(opened);
}

#[test]
fn a_damaged_store_is_set_aside_and_the_box_starts() {
    let folder = TempDir::new().expect("a folder");
    let opened = open_in(&folder);
    for n in 0..200 {
        keep(&opened, readings(n));
    }
    flush(&opened);
    let old = heads(&opened).store;
    close(opened);

    // Every way a file can be spoiled, at random: the box starts, and either every frame is right or it is explained.
    let dir = folder.path().join("buffer");
    let mut damaged = 0;
    for seed in 0..12 {
        let copy = TempDir::new().expect("a folder");
        copy_folder(&dir, &copy.path().join("buffer"));
        spoil(&copy.path().join("buffer"), seed);
        let opened = open_in(&copy);
        flush(&opened);
        if heads(&opened).store == old {
            let (floor, next) = head(&opened, Lane::Reading);
            let explained: u64 = (1..head(&opened, Lane::Health).1)
                .flat_map(|n| losses(&opened, n))
                .map(|(_, from, to, ..)| to - from + 1)
                .sum();
            let sound = (floor..next).filter(|s| read(&opened, Lane::Reading, *s).is_some()).count() as u64;
            assert_eq!(sound + explained, next - floor, "seed {seed}");
        } else {
            damaged += 1;
            assert_eq!(opened.buffer.gauges().damaged.load(Ordering::Relaxed), 1, "seed {seed}");
            let aside = fs::read_dir(copy.path()).expect("readable").flatten();
            let aside = aside
                .filter(|e| e.file_name().to_string_lossy().starts_with("buffer.damaged-19700101T000000Z"));
            assert_eq!(aside.count(), 1, "seed {seed}");
        }
        keep(&opened, gauge(1.0));
        flush(&opened);
        assert!(heads(&opened).backlog(Lane::Health) > 0, "seed {seed}: it works");
        close(opened);
    }
    assert!(damaged > 0, "at least one way was beyond repair");
}

#[test]
fn a_snapshot_that_a_kill_left_half_written_is_not_taken_for_damage() {
    let folder = TempDir::new().unwrap();
    let opened = open_in(&folder);
    keep(&opened, gauge(1.0));
    close(opened);
    // A start that finds something new writes a snapshot.
    drop(open_store(&folder).unwrap());
    let dir = folder.path().join("buffer");
    let names = || fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let whole = names().find(|name| name.starts_with("snap.")).unwrap();
    let bytes = fs::read(dir.join(&whole)).unwrap();
    // The names that sled gives this one and a later one, cut off here and there.
    for name in [whole.as_str(), "snap.00000000FFFFFFFF"] {
        for length in (0..bytes.len()).step_by(11) {
            fs::write(dir.join(format!("{name}.generating")), &bytes[..length]).unwrap();
            let (store, gaps) = open_store(&folder).unwrap();
            assert_eq!((store.range(Lane::Health), gaps), (1..2, vec![]), "{name} at {length}");
        }
    }
    assert!(names().all(|name| !name.ends_with(".generating")));
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("creates");
    for entry in fs::read_dir(from).expect("readable").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copies");
        }
    }
}

fn spoil(dir: &Path, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let db = dir.join("db");
    let mut bytes = fs::read(&db).expect("readable");
    match seed % 4 {
        0 => {
            for _ in 0..20 {
                let at = random.usize(..bytes.len());
                bytes[at] ^= 1 << random.u8(..8);
            }
        }
        1 => {
            let at = random.usize(..bytes.len() / 2);
            let to = (at + (2 << 20)).min(bytes.len());
            bytes[at..to].fill(0);
        }
        2 => bytes.truncate(random.usize(1..bytes.len())),
        _ => {
            fs::write(dir.join("conf"), b"nonsense").expect("writes");
        }
    }
    fs::write(&db, bytes).expect("writes");
}

/// Keeps a payload with a commit that fails.
fn keep_failing(opened: &Opened, fail: Fail, payload: Payload) {
    opened.buffer.commands.blocking_send(Command::Fail(fail, payload)).expect("the thread lives");
    flush(opened);
}

#[test]
fn a_store_whose_earlier_handle_is_not_closed_yet_is_waited_for_and_is_no_damage() {
    let folder = TempDir::new().expect("a folder");
    let opened = open_in(&folder);
    keep(&opened, alarm(place(1)));
    close(opened);
    // As sled's own threads hold it for a moment after an error.
    let dir = folder.path().join("buffer");
    let held = std::fs::File::open(dir.join("db")).expect("sled's file");
    held.lock().expect("nobody else has it");
    let refused = shelf::SledShelf::open(&dir).expect_err("it is held");
    assert!(
        matches!(&refused, StoreError::Io(error) if error.kind() == std::io::ErrorKind::WouldBlock),
        "{refused}"
    );
    drop(held);
    let opened = open_in(&folder);
    assert!(read(&opened, Lane::Alarm, 1).is_some());
    assert_eq!(opened.buffer.gauges().damaged.load(Ordering::Relaxed), 0);
    close(opened);
}

#[test]
fn a_store_that_breaks_while_running_is_replaced_and_what_was_given_is_kept() {
    let folder = TempDir::new().expect("a folder");
    let opened = open_in(&folder);
    keep(&opened, gauge(1.0));
    flush(&opened);
    let old = heads(&opened).store;
    keep_failing(&opened, Fail::Panic, gauge(2.0));
    assert_ne!(heads(&opened).store, old, "numbers of the old store are void");
    assert_eq!(head(&opened, Lane::Health), (1, 2));
    assert_eq!(
        read(&opened, Lane::Health, 1).map(|f| f.payload),
        Some(gauge(2.0)),
        "what was given is not lost"
    );
    assert_eq!(opened.buffer.gauges().damaged.load(Ordering::Relaxed), 1);
    close(opened);
}

#[test]
fn a_disk_that_refuses_is_tried_again_and_nothing_is_kept_twice() {
    for fail in [Fail::Before, Fail::After] {
        let folder = TempDir::new().expect("a folder");
        let opened = open_in(&folder);
        keep(&opened, gauge(1.0));
        flush(&opened);
        let store = heads(&opened).store;
        keep_failing(&opened, fail, gauge(2.0));
        assert_eq!((heads(&opened).store, head(&opened, Lane::Health)), (store, (1, 3)), "{fail:?}");
        assert_eq!(read(&opened, Lane::Health, 2).map(|f| f.payload), Some(gauge(2.0)), "{fail:?}");
        assert_eq!(opened.buffer.gauges().damaged.load(Ordering::Relaxed), 0, "{fail:?}");
        close(opened);
    }
}

#[test]
fn what_came_through_a_failed_commit_is_neither_given_up_nor_told_twice() {
    let folder = TempDir::new().expect("a folder");
    let opened = open_in(&folder);
    // The disk calls itself full although all was written.
    keep_failing(&opened, Fail::After, readings(1));
    assert_eq!(head(&opened, Lane::Reading), (1, 2), "the readings are there");
    assert_eq!(opened.buffer.gauges().unkept.load(Ordering::Relaxed), 0, "so they were not given up");
    close(opened);

    let opened = open_in(&folder);
    opened.buffer.gauges().unkept.store(5, Ordering::Relaxed);
    keep_failing(&opened, Fail::After, gauge(1.0));
    flush(&opened);
    assert_eq!(opened.buffer.gauges().unkept.load(Ordering::Relaxed), 0);
    assert_eq!(losses(&opened, 2), [(Lane::Reading, 2, 2, 5, LossReason::Quota)]);
    assert_eq!((head(&opened, Lane::Reading), head(&opened, Lane::Health)), ((1, 3), (1, 3)), "once");
    close(opened);
}

#[test]
fn a_refused_frame_is_set_aside_once_with_its_reason() {
    let folder = TempDir::new().expect("a folder");
    let opened = open_in(&folder);
    keep(&opened, readings(1));
    keep(&opened, readings(2));
    flush(&opened);
    let store = heads(&opened).store;
    for _ in 0..2 {
        // Refused again after a reconnect: the same frame, the same record.
        block_on(opened.buffer.set_aside(store, Lane::Reading, 1, 0x99)).expect("the thread lives");
        flush(&opened);
    }
    assert_eq!(losses(&opened, 1), [(Lane::Reading, 1, 1, 2400, LossReason::Refused)]);
    assert_eq!(head(&opened, Lane::Health), (1, 2));
    assert_eq!(opened.buffer.gauges().set_aside.load(Ordering::Relaxed), 1);
    assert_eq!(opened.buffer.gauges().lost_frames.load(Ordering::Relaxed), 0, "it lies on the box");
    block_on(opened.buffer.forget(store, Lane::Reading, 2)).expect("the thread lives");
    close(opened);
    let (store, gaps) = open_store(&folder).expect("sound");
    assert_eq!(gaps, []);
    let aside = store.list_aside();
    let packed = pack(&gateway(), store.id(), 1, readings(1)).expect("packs");
    assert_eq!(aside, [(0x99, packed[0].bytes.clone())]);
}

#[test]
fn what_is_set_aside_has_a_bound() {
    let folder = TempDir::new().expect("a folder");
    let opened = open_in(&folder);
    for _ in 0..store::MAX_SET_ASIDE + 10 {
        keep(&opened, gauge(1.0));
    }
    flush(&opened);
    let id = heads(&opened).store;
    for sequence in 1..=store::MAX_SET_ASIDE as u64 + 10 {
        block_on(opened.buffer.set_aside(id, Lane::Health, sequence, 0x87)).expect("the thread lives");
        flush(&opened);
    }
    assert_eq!(opened.buffer.gauges().set_aside.load(Ordering::Relaxed), store::MAX_SET_ASIDE as u64);
    close(opened);
}

#[test]
fn alarm_rules_are_remembered_with_their_event() {
    let folder = TempDir::new().expect("a folder");
    let opened = open_in(&folder);
    assert!(opened.rules.is_empty());
    let memory = |events| vec![RuleMemory { rule: "hot".into(), events }];
    let raised = event(place(1));
    opened.buffer.keep_blocking(alarm(place(1)), memory(vec![raised.clone()])).expect("the thread lives");
    close(opened);
    let opened = open_in(&folder);
    assert_eq!(opened.rules, [raised]);
    opened.buffer.keep_blocking(alarm(place(1)), memory(vec![])).expect("the thread lives");
    close(opened);
    assert!(open_in(&folder).rules.is_empty());
}

#[test]
fn the_quota_thins_then_drops_accounts_for_every_reading_and_spares_alarms() {
    const QUOTA: u64 = crate::config::MIN_QUOTA_BYTES;
    const BATCHES: u64 = 4_000;
    let folder = TempDir::new().expect("a folder");
    let second = Arc::new(AtomicU64::new(1));
    let clock = Arc::clone(&second);
    let later = move || stamp(1000 * clock.load(Ordering::Relaxed));
    let opened = open(folder.path(), &gateway(), QUOTA, later).expect("opens");
    keep(&opened, alarm(place(1)));
    let mut most = 0;
    for n in 0..BATCHES {
        keep(&opened, readings(n % 50));
        if n % 64 == 0 {
            flush(&opened);
            most = most.max(opened.buffer.gauges().store_bytes.load(Ordering::Relaxed));
        }
    }
    flush(&opened);
    // 78 MB went in.
    assert!(most < QUOTA, "{} MiB", most >> 20);
    assert_eq!(opened.buffer.gauges().blob_files.load(Ordering::Relaxed), 0);
    assert_eq!(head(&opened, Lane::Alarm), (1, 2));
    assert!(read(&opened, Lane::Alarm, 1).is_some());

    // Read first: what is handed out stays, what is not there is in the ledger by then.
    let (floor, next) = head(&opened, Lane::Reading);
    assert_eq!((floor, next), (1, BATCHES + 1), "what may have been sent stays");
    let (mut kept, mut absent) = (0, Vec::new());
    for sequence in floor..next {
        match read(&opened, Lane::Reading, sequence) {
            Some(frame) => kept += frame.payload.items() as u64,
            None => absent.push(sequence),
        }
    }
    // What was thinned shares a record for a minute.
    second.store(100, Ordering::Relaxed);
    flush(&opened);
    let (mut dropped, mut thinned, mut lost) = (Vec::new(), 0, 0);
    for sequence in 1..head(&opened, Lane::Health).1 {
        for (lane, from, to, count, reason) in losses(&opened, sequence) {
            assert_eq!(lane, Lane::Reading);
            lost += count;
            match reason {
                LossReason::Quota => dropped.extend(from..=to),
                LossReason::Thinned => thinned += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(thinned > 0 && !dropped.is_empty(), "first one, then the other");
    assert_eq!(
        dropped,
        (1 + SPAN..1 + SPAN + dropped.len() as u64).collect::<Vec<u64>>(),
        "the oldest, once"
    );
    assert_eq!(absent, dropped, "and nothing else");
    assert_eq!(kept + lost, BATCHES * 2400, "every reading is there, or in the ledger");

    // Once the flight window is through, the gap behind it holds nobody up.
    let store = heads(&opened).store;
    block_on(opened.buffer.forget(store, Lane::Reading, 1 + SPAN)).expect("the thread lives");
    flush(&opened);
    assert_eq!(head(&opened, Lane::Reading).0, dropped.last().expect("some") + 1);
    close(opened);
}

#[test]
fn what_was_handed_out_is_neither_thinned_nor_dropped() {
    let folder = TempDir::new().expect("a folder");
    let opened = open_with(&folder, crate::config::MIN_QUOTA_BYTES);
    let store = heads(&opened).store;
    for n in 0..200 {
        keep(&opened, readings(n));
    }
    flush(&opened);
    let sent = read(&opened, Lane::Reading, 150).expect("kept");
    for n in 0..2_000 {
        keep(&opened, readings(n % 50));
    }
    flush(&opened);
    assert_eq!(read(&opened, Lane::Reading, 150), Some(sent), "ingest may have it already");
    assert_eq!(
        read(&opened, Lane::Reading, 151).map(|frame| frame.payload.items()),
        None,
        "nobody saw this one"
    );
    block_on(opened.buffer.forget(store, Lane::Reading, 151)).expect("the thread lives");
    close(opened);
}

#[test]
fn a_full_disk_costs_readings_which_are_counted_and_nothing_else() {
    let folder = TempDir::new().expect("a folder");
    let second = Arc::new(AtomicU64::new(1));
    let clock = Arc::clone(&second);
    let later = move || stamp(1000 * clock.load(Ordering::Relaxed));
    let opened = open(folder.path(), &gateway(), 1 << 30, later).expect("opens");
    keep(&opened, gauge(0.0));
    flush(&opened);
    assert!(folder.path().join("buffer/ballast").exists(), "room is held back");

    block_on(opened.buffer.commands.send(Command::Fail(Fail::Before, readings(1))))
        .expect("the thread lives");
    keep(&opened, alarm(place(1)));
    keep(&opened, readings(2));
    flush(&opened);
    assert!(!folder.path().join("buffer/ballast").exists(), "alarms have it now");
    assert_eq!(head(&opened, Lane::Alarm), (1, 2));
    assert!(read(&opened, Lane::Alarm, 1).is_some());
    assert_eq!(head(&opened, Lane::Reading), (1, 1), "no reading was kept");
    assert_eq!(head(&opened, Lane::Health), (1, 2), "and not every one gets a record");

    // Somebody deletes something.
    second.store(10, Ordering::Relaxed);
    keep(&opened, readings(3));
    flush(&opened);
    assert!(folder.path().join("buffer/ballast").exists());
    assert_eq!(losses(&opened, 2), [(Lane::Reading, 1, 1, 2 * 2400, LossReason::Quota)]);
    assert_eq!(read(&opened, Lane::Reading, 2).map(|frame| frame.payload), Some(readings(3)));
    assert_eq!(opened.buffer.gauges().unkept.load(Ordering::Relaxed), 0);
    close(opened);
    let opened = open_in(&folder);
    assert_eq!(
        (head(&opened, Lane::Reading), head(&opened, Lane::Health)),
        ((1, 3), (1, 3)),
        "nothing twice"
    );
    close(opened);
}

/// A frame-like value of a lane's next number, put in a commit of its own.
fn put(store: &mut Store<SledShelf>, lane: Lane, size: usize) {
    let sequence = store.next(lane);
    store.put(&crate::batch::Packed { lane, sequence, items: 1, bytes: vec![sequence as u8; size] });
    store.apply().expect("a sound store");
}

#[test]
fn what_waits_is_written_little_more_than_once() {
    let folder = TempDir::new().expect("a folder");
    let (mut store, _) = open_store(&folder).expect("a fresh store");
    for _ in 0..2_000 {
        put(&mut store, Lane::Reading, 8_000);
    }
    store.commit().expect("a sound store");
    // Dead copies lie on the disk until they are cleaned away: without places there are more of them than frames.
    let (used, live) = (store.room().used_bytes, store.live_bytes());
    assert!(used < live * 3 / 2, "{used} bytes on disk for {live} bytes of frames");
}

#[test]
fn empty_places_are_no_frames_and_go_with_the_numbers_that_are_skipped() {
    let folder = TempDir::new().expect("a folder");
    let opened = open_in(&folder);
    for n in 0..20 {
        keep(&opened, gauge(f64::from(n)));
    }
    close(opened);
    let places = |store: &Store<SledShelf>| store.places(Lane::Health);
    let (mut store, gaps) = open_store(&folder).expect("sound");
    assert_eq!((gaps, store.range(Lane::Health)), (Vec::new(), 1..21));
    assert_eq!(places(&store), (21..44).collect::<Vec<_>>(), "laid with the 17th and the 18th");
    let _ = store.skip(Lane::Health, 1, stamp(1));
    store.commit().expect("a sound store");
    assert_eq!(places(&store), (22..44).collect::<Vec<_>>());
    drop(store);
    // The place of a frame that is lost is nothing to go on with, and neither is what lies behind a lost place.
    let (mut store, _) = open_store(&folder).expect("sound");
    store.damage(Lane::Health, 20, Some(b""));
    store.damage(Lane::Health, 30, None);
    drop(store);
    let (store, gaps) = open_store(&folder).expect("sound");
    assert_eq!((gaps, store.range(Lane::Health)), (vec![(Lane::Health, 20, 20)], 1..22));
    assert_eq!(store.read(Lane::Health, 20).expect("a sound store"), None);
    drop(store);
    let opened = open_in(&folder);
    keep(&opened, gauge(22.0));
    flush(&opened);
    block_on(opened.buffer.forget(heads(&opened).store, Lane::Health, 24)).expect("the thread lives");
    close(opened);
    let (store, _) = open_store(&folder).expect("sound");
    assert_eq!((store.range(Lane::Health), places(&store)), (24..24, (24..48).collect::<Vec<_>>()));
}
