//! Questions that are folded: curves, top cells, blind spots; from memory, from files, after a restart.

use serde_json::{Value, json};
use wire::{Batch, BootId, Clock, ClockState, Lane, Payload, Place, Quality, Reading, SensorName, Series};

use crate::vocabulary::*;

const MINUTE: i64 = 60_000;

/// Twenty minutes ago, at the start of a minute: what lies there is complete.
fn start() -> i64 {
    (now_ms() - 20 * MINUTE) / MINUTE * MINUTE
}

/// Writes files at once.
async fn hasty() -> City {
    City::with(|config| config.engine.parquet_every_ms = 200).await
}

/// A frame with one reading each of sensors that hang so many steps east of the first.
fn scattered(gateway: &str, at_ms: i64, sensors: &[(&str, i32, Option<f64>)]) -> Vec<u8> {
    let place = |east: i32| Place { lon_e7: place().lon_e7 + east * 100_000, ..place() };
    let batch = Batch {
        boot: BootId(1),
        clock: Clock { state: ClockState::Synchronised, epoch_ms: at_ms - FIRST_MS as i64 },
        places: sensors.iter().map(|sensor| place(sensor.1)).collect(),
        series: (sensors.iter().zip(0..))
            .map(|((name, ..), place)| Series {
                sensor: SensorName::new(name).unwrap(),
                quantity: AIR_TEMPERATURE,
                place,
            })
            .collect(),
        readings: (sensors.iter().zip(0..))
            .map(|((.., value), series)| Reading {
                series,
                mono_ms: FIRST_MS,
                value: *value,
                quality: if value.is_some() { Quality::Good } else { Quality::Fault },
            })
            .collect(),
    };
    frame(gateway, 1, Payload::Readings(batch))
}

/// Values of the points by what is asked.
fn points(series: &Value, key: &str) -> Vec<f64> {
    series["points"].as_array().unwrap().iter().map(|point| point[key].as_f64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_curve_is_the_same_from_memory_from_files_and_after_a_restart() {
    let mut city = hasty().await;
    let from = start();
    let topic = up("caotang-03", Lane::Reading);
    let gateway = Client::new(city.mqtt(), "caotang-03");
    // Two minutes of readings a second apart, in two frames, and a minute without any in between.
    let values: Vec<f64> = (0..60).map(f64::from).collect();
    for (sequence, minute) in [(1, 0), (2, 2)] {
        let until = from + minute * MINUTE + 59_000;
        assert_eq!(
            gateway.publish(&topic, &readings_until("caotang-03", sequence, &values, until)).await,
            Ok(())
        );
    }
    city.until("/api/v1/stats", |v| v["readings"]["accepted"] == json!(120)).await;
    let span = format!("from={from}&to={}", from + 10 * MINUTE);
    let cell = city.get("/api/v1/sensors/caotang-03:hall.t").await["cell"].as_str().unwrap().to_owned();
    let of_sensor = format!("/api/v1/sensors/caotang-03:hall.t/series?{span}");
    for state in ["in memory or on the way", "in files", "after a restart"] {
        match state {
            "in files" => {
                drop(city.until("/api/v1/stats", |v| v["pool"]["parquet_rows"] == json!(120)).await)
            }
            "after a restart" => city = city.restarted().await,
            _ => {}
        }
        let series = city.get(&format!("{of_sensor}&step=1m")).await;
        assert_eq!((&series["unit"], &series["quantity"]), (&json!("Cel"), &json!("air-temperature")));
        assert_eq!(
            points(&series, "start_ms"),
            [from as f64, (from + 2 * MINUTE) as f64],
            "{state}: {series}"
        );
        for (key, expected) in
            [("count", 60.0), ("mean", 29.5), ("min", 0.0), ("max", 59.0), ("first", 0.0), ("last", 59.0)]
        {
            assert_eq!(points(&series, key), [expected; 2], "{state}: {key}");
        }
        assert!(points(&series, "p95").iter().all(|p95| (55.0..58.0).contains(p95)), "{state}: {series}");
        let raw = city.get(&of_sensor).await;
        assert_eq!((&raw["step"], points(&raw, "last").len()), (&json!("raw"), 120), "{state}");
        for precision in [5, 6, 7] {
            let path = format!("/api/v1/cells/{}/series?quantity=air-temperature&{span}", &cell[..precision]);
            let of_cell = city.get(&path).await;
            assert_eq!(of_cell["points"], series["points"], "{state}: the only sensor of {path}");
            assert_eq!(of_cell["truncated"], json!(false));
        }
        let hours = city.get(&format!("{of_sensor}&step=1h")).await;
        assert_eq!(points(&hours, "count").iter().sum::<f64>(), 120.0, "{state}: {hours}");
        let elsewhere =
            city.get(&format!("/api/v1/cells/wm3y0/series?quantity=air-temperature&{span}")).await;
        assert_eq!(elsewhere["points"], json!([]), "{state}");
    }
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_cut_says_so() {
    let city = City::start().await;
    let topic = up("caotang-03", Lane::Reading);
    let gateway = Client::new(city.mqtt(), "caotang-03");
    let values: Vec<f64> = (0..3_000).map(|n| f64::from(n % 50)).collect();
    for sequence in 1..=4 {
        let until = now_ms() - (4 - sequence as i64) * 3_000_000;
        let frame = readings_until("caotang-03", sequence, &values, until);
        assert_eq!(gateway.publish(&topic, &frame).await, Ok(()));
    }
    city.until("/api/v1/stats", |v| v["readings"]["accepted"] == json!(12_000)).await;
    let path = "/api/v1/sensors/caotang-03:hall.t/series";
    let from = now_ms() - 4 * 3_600_000;
    let raw = city.get(&format!("{path}?from={from}&step=raw")).await;
    assert_eq!((raw["points"].as_array().unwrap().len(), &raw["truncated"]), (10_000, &json!(true)));
    let minutes = city.get(&format!("{path}?from={from}")).await;
    assert_eq!((&minutes["step"], &minutes["truncated"]), (&json!("1m"), &json!(false)));
    assert_eq!(points(&minutes, "count").iter().sum::<f64>(), 12_000.0, "folded from all of them");
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_top_cells_come_first() {
    let city = City::start().await;
    let at = now_ms();
    for (gateway, sensors) in [
        ("box-1", &[("a", 0, Some(21.0)), ("b", 1, Some(35.5)), ("c", 2, Some(-4.0))][..]),
        ("box-2", &[("a", 3, Some(99.0)), ("b", 0, Some(29.0))][..]),
    ] {
        let client = Client::new(city.mqtt(), gateway);
        let frame = scattered(gateway, at, sensors);
        assert_eq!(client.publish(&up(gateway, Lane::Reading), &frame).await, Ok(()));
    }
    city.until("/api/v1/stats", |v| v["readings"]["accepted"] == json!(5)).await;
    let path = "/api/v1/cells/top?quantity=air-temperature&precision=7";
    let shown = |view: &Value, key: &str| -> Vec<f64> {
        view["cells"].as_array().unwrap().iter().map(|cell| cell[key].as_f64().unwrap()).collect()
    };
    let by_max = city.get(&format!("{path}&by=max")).await;
    assert_eq!(shown(&by_max, "max"), [99.0, 35.5, 29.0, -4.0]);
    assert_eq!((&by_max["unit"], &by_max["by"]), (&json!("Cel"), &json!("max")));
    let by_mean = city.get(&format!("{path}&by=mean&limit=3")).await;
    assert_eq!(shown(&by_mean, "mean"), [99.0, 35.5, 25.0], "two sensors share a cell");
    let [west, south, east, north] =
        [0, 1, 2, 3].map(|edge| by_mean["cells"][1]["bbox"][edge].as_f64().unwrap());
    let inside = format!("{},{},{},{}", west + 1e-5, south + 1e-5, east - 1e-5, north - 1e-5);
    let in_box = city.get(&format!("{path}&bbox={inside}")).await;
    assert_eq!(shown(&in_box, "last"), [35.5]);
    let all = city.get("/api/v1/cells/top?quantity=air-temperature&precision=5&window=1d").await;
    assert_eq!(shown(&all, "count").iter().sum::<f64>(), 5.0, "{all}");
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blind_spots_are_cells_in_which_nothing_is_well() {
    let city = City::start().await;
    let old = now_ms() - 20 * MINUTE;
    for (gateway, at, sensors) in [
        ("box-1", now_ms(), &[("a", 0, Some(21.0)), ("b", 1, None), ("c", 2, Some(20.0))][..]),
        ("box-2", old, &[("a", 0, Some(9.0)), ("b", 3, Some(9.0)), ("c", 3, Some(9.0))][..]),
    ] {
        let client = Client::new(city.mqtt(), gateway);
        let frame = scattered(gateway, at, sensors);
        assert_eq!(client.publish(&up(gateway, Lane::Reading), &frame).await, Ok(()));
    }
    city.until("/api/v1/stats", |v| v["readings"]["accepted"] == json!(6)).await;
    let view = city.get("/api/v1/coverage?precision=7").await;
    for (key, expected) in [("sensors", 6), ("cells", 4), ("blind_cells", 2), ("patience_ms", 300_000)] {
        assert_eq!(view[key], json!(expected), "{key}: {view}");
    }
    assert_eq!((&view["blind"][0]["sensors"], &view["blind"][0]["last_ms"]), (&json!(2), &json!(old)));
    assert_eq!(view["blind"][1]["last_ms"], Value::Null, "a fault: {view}");
    let patient = city.get("/api/v1/coverage?precision=7&patience=1h").await;
    assert_eq!(patient["blind_cells"], json!(1), "{patient}");
    let coarse = city.get("/api/v1/coverage?precision=5").await;
    assert_eq!((&coarse["sensors"], &coarse["blind_cells"]), (&json!(6), &json!(0)), "{coarse}");
    let nowhere = city.get("/api/v1/coverage?bbox=0,0,1,1").await;
    assert_eq!((&nowhere["cells"], &nowhere["blind"]), (&json!(0), &json!([])), "{nowhere}");
    city.stop().await;
}
