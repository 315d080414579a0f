//! Boxes whose clock is wrong: every reading is there once, with a right time or marked as a guess.

use serde_json::json;
use wire::{Clock, ClockState, Lane};

use crate::vocabulary::*;

const DAY_MS: i64 = 86_400_000;

/// Times of the readings of a box, once there are so many, and what is known of the newest one's clock.
async fn dated(city: &City, gateway: &str, count: usize) -> (Vec<i64>, String) {
    let sensor = format!("/api/v1/sensors/{gateway}:hall.t");
    let pleases = |v: &serde_json::Value| v["readings"].as_array().is_some_and(|all| all.len() == count);
    let readings = city.until(&format!("{sensor}/readings"), pleases).await;
    let times = readings["readings"].as_array().unwrap().iter().map(|r| r["at_ms"].as_i64().unwrap());
    let last = city.get(&sensor).await;
    (times.collect(), last["last"]["clock"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_from_before_the_first_right_time_get_it_afterwards_even_over_a_restart() {
    let city = City::start().await;
    // When the box really started, which it learns later.
    let epoch_ms = now_ms() - FIRST_MS as i64 - 60_000;
    let unset = |epoch_ms| Clock { state: ClockState::Unset, epoch_ms };
    let wrong = [("boot-1970", unset(0)), ("boot-floor", unset(epoch_ms - 3 * DAY_MS))];
    let began_ms = now_ms();
    for (name, clock) in wrong {
        let gateway = Client::new(city.mqtt(), name);
        let frame = readings_under(name, 1, FIRST_MS, &[20.0, 21.0], clock);
        for _ in 0..2 {
            assert_eq!(gateway.publish(&up(name, Lane::Reading), &frame).await, Ok(()));
        }
        let (times, state) = dated(&city, name, 2).await;
        assert_eq!((times[1] - times[0], state.as_str()), (1000, "unset"), "shown at once, as a guess");
        assert!((began_ms..=now_ms()).contains(&times[1]), "that it was taken when it came: {times:?}");
    }
    let city = city.restarted().await;
    let right = Clock { state: ClockState::Synchronised, epoch_ms };
    let first_ms = epoch_ms + FIRST_MS as i64;
    for (name, _) in wrong {
        let gateway = Client::new(city.mqtt(), name);
        let later_ms = now_ms();
        let later = readings_under(name, 2, (later_ms - epoch_ms) as u64, &[22.0], right);
        assert_eq!(gateway.publish(&up(name, Lane::Reading), &later).await, Ok(()));
        let after = dated(&city, name, 3).await;
        assert_eq!(after, (vec![first_ms, first_ms + 1000, later_ms], "synchronised".into()), "{name}");
    }
    let stats = city.get("/api/v1/stats").await;
    assert_eq!(stats["readings"]["accepted"], json!(6), "each once: {stats}");
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_a_year_ahead_is_not_believed_until_the_box_knows_better() {
    let city = City::start().await;
    let gateway = Client::new(city.mqtt(), "ahead");
    let epoch_ms = now_ms() - FIRST_MS as i64 - 60_000;
    let ahead = Clock { state: ClockState::HeldOver, epoch_ms: epoch_ms + 365 * DAY_MS };
    let began_ms = now_ms();
    let frame = readings_under("ahead", 1, FIRST_MS, &[20.0], ahead);
    assert_eq!(gateway.publish(&up("ahead", Lane::Reading), &frame).await, Ok(()));
    let (times, state) = dated(&city, "ahead", 1).await;
    assert!((began_ms..=now_ms()).contains(&times[0]), "{times:?}");
    assert_eq!(state, "unset", "marked as a guess");
    city.stop().await;
}
