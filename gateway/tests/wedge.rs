//! What wedges other gateways for good: a broker that forgets the session again and again, one that goes silent without
//! closing, a frame that is refused for ever. Over real sockets; whatever happens, data that waits moves on.

#![allow(clippy::unwrap_used, reason = "a test's helper functions are tests too")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gateway::status::Status;
use tempfile::TempDir;
use wire::{Lane, LossReason, Payload};

#[allow(dead_code, reason = "each test program uses its part of it")]
mod broker;
#[allow(dead_code, reason = "each test program uses its part of it")]
mod hall;

use broker::{Broker, Publish, Say};
use hall::{PATIENCE_MS, Running, config};

/// The longest that data may wait here, in ms: patience, then the pauses before the first four attempts (half a second,
/// one, two, four). Each acknowledgement takes the pauses back to the first.
const LIMIT_MS: u64 = PATIENCE_MS + 7_500;

/// A gateway with a folder of its own.
struct Watched {
    running: Running,
    data: TempDir,
}

impl Watched {
    fn start(broker: &Broker) -> Self {
        let data = TempDir::new().unwrap();
        Self { running: Running::start(config(broker, data.path(), "")), data }
    }

    /// The last status, once it holds what is wanted; the oldest unacknowledged frame is never older than the limit.
    fn until(&self, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
        for _ in 0..1200 {
            if let Ok(status) = Status::read(self.data.path()) {
                assert!(status.oldest_unacked_ms <= LIMIT_MS, "idle with data waiting: {status:?}");
                if holds(&status) {
                    return status;
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("never: {what}");
    }

    /// Stops it; its last status.
    fn stop(self) -> Status {
        self.running.stop();
        Status::read(self.data.path()).unwrap()
    }
}

/// Readings by frame, each counted once, whatever was sent again; a repeat must have the same bytes.
fn readings(heard: &[Publish]) -> BTreeMap<u64, u64> {
    let mut bytes: BTreeMap<u64, &[u8]> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for publish in heard.iter().filter(|publish| publish.lane() == Lane::Reading) {
        let frame = publish.frame();
        let first = *bytes.entry(frame.sequence).or_insert(&publish.payload);
        assert_eq!(first, publish.payload, "frame {} came again with other bytes", frame.sequence);
        counts.insert(frame.sequence, frame.payload.items() as u64);
    }
    counts
}

/// Whether every number up to the highest is there, and all readings with them.
fn assert_whole(heard: &[Publish], last: &Status) {
    let counts = readings(heard);
    let highest = counts.keys().max().copied().unwrap_or(0);
    assert_eq!(counts.keys().copied().collect::<Vec<_>>(), (1..=highest).collect::<Vec<_>>());
    assert_eq!(counts.values().sum::<u64>(), last.readings, "each reading once: {last:?}");
    assert_eq!((last.lost_frames, last.dropped), (0, 0));
}

#[test]
fn a_broker_that_loses_its_sessions_200_times_costs_nothing() {
    const GATEWAYS: usize = 8;
    const LOSSES_EACH: usize = 25;
    let lives: Vec<_> = (0..GATEWAYS as u64)
        .map(|seed| {
            std::thread::spawn(move || {
                let broker = Broker::start();
                let mut random = fastrand::Rng::with_seed(seed);
                let mut left = 3;
                // Some frames are acknowledged, then comes the restart, which forgets what else was on its way.
                broker.script(move |publish| {
                    if publish.connection >= LOSSES_EACH {
                        return Say::Ack(0);
                    }
                    left -= 1;
                    if left > 0 {
                        return Say::Ack(0);
                    }
                    left = random.i32(2..8);
                    Say::HangUp
                });
                let running = Watched::start(&broker);
                let calm = |status: &Status| status.backlog.iter().all(|(_, frames)| *frames <= 2);
                let connections = || broker.heard().iter().map(|publish| publish.connection).max();
                running.until("the last session", |status| {
                    connections() >= Some(LOSSES_EACH) && status.online && calm(status)
                });
                let last = running.stop();
                assert_whole(&broker.heard(), &last);
                connections().unwrap()
            })
        })
        .collect();
    let losses: usize = lives.into_iter().map(|life| life.join().expect("it holds")).sum();
    assert!(losses >= GATEWAYS * LOSSES_EACH, "{losses}");
}

#[test]
fn a_half_open_connection_is_given_up_and_everything_arrives_over_the_next() {
    let broker = Broker::start();
    let mut reading = 0;
    broker.script(move |publish| {
        reading += u32::from(publish.lane() == Lane::Reading);
        // In the middle of its window, with acknowledgements outstanding; and twice, for once may be luck.
        match (publish.connection, reading) {
            (0, 5) | (1, 12) => Say::Freeze,
            (_, n) if n % 3 == 0 && publish.connection < 2 => Say::Silence,
            _ => Say::Ack(0),
        }
    });
    let running = Watched::start(&broker);
    running.until("a third connection that works", |status| {
        let third = broker.heard().iter().filter(|publish| publish.connection == 2).count();
        third > 20 && status.online && status.backlog.iter().all(|(_, frames)| *frames <= 2)
    });
    let last = running.stop();
    assert_whole(&broker.heard(), &last);
    let connections: BTreeSet<usize> = broker.heard().iter().map(|publish| publish.connection).collect();
    assert_eq!(connections, BTreeSet::from([0, 1, 2]), "one new connection for each that died");
}

#[test]
fn a_frame_refused_for_ever_holds_nobody_up_over_lost_sessions_either() {
    const POISON: u64 = 4;
    let broker = Broker::start();
    let mut publishes = 0;
    broker.script(move |publish| {
        publishes += 1;
        let is_poison = publish.lane() == Lane::Reading && publish.frame().sequence == POISON;
        match publish.connection {
            // Refused, and the session lost before the next one could go: it comes again, and is refused again.
            0 if is_poison => Say::HangUp,
            _ if is_poison => Say::Ack(0x99),
            1 if publishes % 10 == 0 => Say::HangUp,
            _ => Say::Ack(0),
        }
    });
    let running = Watched::start(&broker);
    running.until("the lane goes on behind it", |status| {
        readings(&broker.heard()).keys().max() > Some(&30) && status.backlog.iter().all(|(_, n)| *n <= 2)
    });
    let last = running.stop();
    assert_eq!((last.set_aside, last.refused), (1, 1));
    assert_whole(&broker.heard(), &last);
    let told: BTreeSet<(Lane, u64, u64, u64)> = (broker.heard().iter())
        .filter_map(|publish| match publish.frame().payload {
            Payload::Losses(losses) => Some(losses.losses),
            _ => None,
        })
        .flatten()
        .inspect(|loss| assert_eq!(loss.reason, LossReason::Refused))
        .map(|loss| (loss.lane, loss.from, loss.to, loss.count))
        .collect();
    let refused = readings(&broker.heard())[&POISON];
    assert_eq!(told, BTreeSet::from([(Lane::Reading, POISON, POISON, refused)]), "with its count, once");
}
