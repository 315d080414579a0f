//! What real ingest refuses for good holds nobody up, and is told of at both ends.

use benches::city::{Gateway, Habits, SEED};
use gateway::buffer;
use gateway::clock::{Clocks, Machine, Timekeeper};
use serde_json::json;
use wire::{Clock, ClockState, Lane, Payload};

use crate::vocabulary::*;
use crate::world::World;

const YEAR_MS: i64 = 365 * 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// Lays batches of so many readings each into the buffer, under a confirmed clock that is off by so much, in ms.
fn lay(edge: &Edge, batches: &[(usize, i64)]) {
    let config = edge.config();
    let began_ms = Machine.wall_ms() - HOUR_MS;
    let mut street = Gateway::new("laid", 0, 8, SEED, began_ms, Habits::default()).unwrap();
    let time = Timekeeper::start();
    let opened = buffer::open(&config.data, &config.id, config.quota_bytes, move || time.stamp()).unwrap();
    for &(readings, wrong_ms) in batches {
        let mut batch = street.batch(readings);
        batch.clock = Clock { state: ClockState::Synchronised, epoch_ms: began_ms + wrong_ms };
        opened.buffer.keep_blocking(Payload::Readings(batch), Vec::new()).unwrap();
    }
    edge.block_on(opened.buffer.stop());
    opened.thread.join().unwrap();
}

#[test]
fn a_batch_that_ingest_refuses_for_good_is_set_aside_and_everything_else_arrives_once() {
    const POISON: u64 = 2;
    let edge = Edge::new();
    lay(&edge, &[(50, 0), (7, YEAR_MS), (60, 0)]);
    let box_ = edge.start(World::new());
    box_.goes_on();
    // The report of the loss is at ingest, too.
    let told = edge.until("/api/v1/gateways/gw-1", |gateway| gateway["losses"] != json!([]));
    let idle = box_.goes_on();
    assert_eq!((idle.set_aside, idle.refused, idle.lost_frames), (1, 1, 0));
    let losses = told["losses"].as_array().unwrap();
    let loss = &losses[0];
    assert_eq!(
        (losses.len(), &loss["lane"], &loss["from"], &loss["to"], &loss["count"], &loss["reason"]),
        (1, &json!("reading"), &json!(POISON), &json!(POISON), &json!(7), &json!("refused"))
    );
    let held = edge.until("/api/v1/quarantine", |_| true);
    let held = held["items"].as_array().unwrap();
    assert_eq!(
        (held.len(), &held[0]["source"], &held[0]["reason"]),
        (1, &json!("gw-1"), &json!("clock_ahead"))
    );
    let (last, _) = box_.stop();
    let gateway = edge.until("/api/v1/gateways/gw-1", |gateway| lane(gateway, Lane::Reading)["missing"] == 0);
    assert_eq!(lane(&gateway, Lane::Reading)["lost"], 1, "a frame: {gateway}");
    let stats = edge.until("/api/v1/stats", |stats| stats["readings"]["accepted"] == last.readings + 110);
    assert_eq!((&stats["readings"]["lost"], &stats["readings"]["quarantined"]), (&json!(7), &json!(7)));
    assert_eq!(edge.set_aside(), 1, "kept on the box");
    let numbers: Vec<u64> = edge.stop().iter().map(|frame| frame.sequence).collect();
    let highest = numbers.last().copied().unwrap();
    assert_eq!(numbers, (1..=highest).filter(|number| *number != POISON).collect::<Vec<_>>());
}

#[test]
fn a_time_service_that_is_a_year_ahead_costs_what_was_taken_under_it_and_no_more() {
    let edge = Edge::new();
    let world = World::new();
    world.confirm();
    let box_ = edge.start(world);
    box_.goes_on();
    box_.world.wrong_by(YEAR_MS);
    box_.world.confirm();
    box_.until("frames are refused", |status| status.refused >= 10);
    box_.world.set_right();
    let refused = box_.until("the clock is mended", |status| status.written_ms < Machine.wall_ms() + HOUR_MS);
    let durable = refused.durable;
    box_.until("it goes on", |status| status.durable > durable + 20);
    box_.goes_on();
    let (last, _) = box_.stop();
    assert_eq!((last.set_aside, last.lost_frames), (last.refused, 0));
    let gateway = edge.until("/api/v1/gateways/gw-1", |gateway| lane(gateway, Lane::Reading)["missing"] == 0);
    assert!(
        gateway["losses"].as_array().unwrap().iter().all(|loss| loss["reason"] == "refused"),
        "{gateway}"
    );
    let stats = edge.until("/api/v1/stats", |stats| {
        let count = |what: &str| stats["readings"][what].as_u64().unwrap();
        count("accepted") + count("lost") == last.readings
    });
    assert!(stats["readings"]["lost"].as_u64() > Some(0), "{stats}");
    edge.stop();
}
