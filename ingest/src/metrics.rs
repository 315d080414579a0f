//! The counts in OpenMetrics, for Prometheus and its kin. The only file that knows prometheus-client.

use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use prometheus_client::{collector::Collector, encoding::text::encode};

use crate::counters::{Counters, Part};
use crate::{broker, http};

/// Media type of OpenMetrics 1.0.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A count with the values of its one label, or none.
struct Family {
    name: &'static str,
    help: &'static str,
    counter: bool,
    label: &'static str,
    values: Vec<(&'static str, u64)>,
}

/// All families, taken at one moment.
#[derive(Debug)]
struct Snapshot(Vec<Family>);

impl std::fmt::Debug for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for family in &self.0 {
            let kind = if family.counter {
                ConstCounter::new(0_u64).metric_type()
            } else {
                ConstGauge::new(0_i64).metric_type()
            };
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            for (value, count) in &family.values {
                let labels = [(family.label, *value)];
                match (family.counter, family.label.is_empty()) {
                    (true, false) => ConstCounter::new(*count).encode(metric.encode_family(&labels)?)?,
                    (false, false) => {
                        ConstGauge::new(signed(*count)).encode(metric.encode_family(&labels)?)?
                    }
                    (true, true) => metric.encode_counter::<[(&str, &str); 0], _, u64>(count, None)?,
                    (false, true) => metric.encode_gauge(&signed(*count))?,
                }
            }
        }
        Ok(())
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The text of `/metrics`.
pub fn text(counters: &Counters, broker: &broker::Counts, http: &http::Counts) -> String {
    let mut registry = Registry::with_prefix("watchfire_ingest");
    registry.register_collector(Box::new(Snapshot(families(counters, broker, http))));
    let mut out = String::new();
    // Writing into memory has no way to fail.
    let _ = encode(&mut out, &registry);
    out
}

fn families(counters: &Counters, broker: &broker::Counts, http: &http::Counts) -> Vec<Family> {
    let mut all = Vec::new();
    let mut add =
        |counter, name, help, label, values| all.push(Family { name, help, counter, label, values });
    let readings = counters.readings();
    add(
        true,
        "readings",
        "Readings by what became of them, over the life of the data folder",
        "outcome",
        vec![
            ("accepted", readings.accepted),
            ("duplicate", readings.duplicate),
            ("quarantined", readings.quarantined),
        ],
    );
    add(true, "readings_lost", "Readings reported as lost by their gateways", "", vec![("", readings.lost)]);
    add(
        true,
        "readings_late",
        "Readings accepted more than two minutes after their minute",
        "",
        vec![("", readings.late)],
    );
    let lanes = counters.lanes();
    let by_lane = |count: fn(&crate::views::LaneCounts) -> u64| {
        lanes.iter().map(|lane| (lane.lane, count(lane))).collect::<Vec<_>>()
    };
    add(true, "frames", "Frames taken, by lane", "lane", by_lane(|lane| lane.frames));
    add(true, "frames_duplicate", "Repeated frames, by lane", "lane", by_lane(|lane| lane.duplicate));
    add(true, "frames_refused", "Frames refused for good, by lane", "lane", by_lane(|lane| lane.refused));
    add(
        true,
        "items",
        "Readings, events or losses in frames taken, by lane",
        "lane",
        by_lane(|lane| lane.items),
    );
    add(
        true,
        "items_lost",
        "Readings or events reported as lost, by lane",
        "lane",
        by_lane(|lane| lane.lost),
    );
    let log = counters.log();
    add(false, "log_position", "Where the next log record goes", "", vec![("", log.position)]);
    add(true, "log_bytes", "Bytes appended to the log since the start", "", vec![("", log.bytes)]);
    add(true, "log_commits", "Group commits since the start", "", vec![("", log.commits)]);
    let pool = counters.pool();
    add(false, "sensors", "Sensors ever seen", "", vec![("", pool.sensors)]);
    add(false, "gateways", "Gateways ever seen", "", vec![("", pool.gateways)]);
    add(false, "hot_windows", "Windows in memory", "", vec![("", pool.hot_windows)]);
    add(
        true,
        "parquet_files",
        "Parquet files written, over the life of the data folder",
        "",
        vec![("", pool.parquet_files)],
    );
    add(true, "parquet_rows", "Readings in them", "", vec![("", pool.parquet_rows)]);
    let questions = counters.questions();
    add(true, "questions", "Questions to the thread that takes readings in", "", vec![("", questions.count)]);
    add(true, "questions_microseconds", "How long they took it", "", vec![("", questions.took_us)]);
    add(
        false,
        "question_microseconds_max",
        "How long the longest since the start took it",
        "",
        vec![("", questions.longest_us)],
    );
    let troubles =
        Part::ALL.iter().map(|part| (part.as_str(), u64::from(counters.trouble(*part).is_some()))).collect();
    add(false, "trouble", "1 where a part does not work, see /api/v1/health", "part", troubles);
    add(
        false,
        "mqtt_connections",
        "MQTT connections open now",
        "",
        vec![("", broker.open.load(Relaxed) as u64)],
    );
    add(true, "mqtt_accepted", "MQTT connections accepted", "", vec![("", broker.accepted.load(Relaxed))]);
    add(
        true,
        "mqtt_turned_away",
        "MQTT connections above the limit",
        "",
        vec![("", broker.turned_away.load(Relaxed))],
    );
    add(
        true,
        "mqtt_publishes",
        "Publishes by what became of them",
        "outcome",
        vec![
            (
                "taken",
                broker
                    .publishes
                    .load(Relaxed)
                    .saturating_sub(broker.refused.load(Relaxed) + broker.later.load(Relaxed)),
            ),
            ("refused", broker.refused.load(Relaxed)),
            ("later", broker.later.load(Relaxed)),
        ],
    );
    add(
        true,
        "mqtt_protocol_errors",
        "MQTT connections that ended with a protocol error",
        "",
        vec![("", broker.protocol_errors.load(Relaxed))],
    );
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
    add(
        true,
        "http_answers",
        "HTTP answers by class of status",
        "status",
        classes.into_iter().zip(http.answers.iter().map(|n| n.load(Relaxed))).collect(),
    );
    add(false, "http_streams", "Event streams open now", "", vec![("", http.streams.load(Relaxed) as u64)]);
    add(
        false,
        "http_connections",
        "HTTP connections open now",
        "",
        vec![("", http.open.load(Relaxed) as u64)],
    );
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_openmetrics() {
        let http = http::Counts::default();
        http.answers[1].fetch_add(3, Relaxed);
        let text = text(&Counters::default(), &broker::Counts::default(), &http);
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert!(text.contains("# TYPE watchfire_ingest_readings counter\n"), "{text}");
        assert!(text.contains("watchfire_ingest_readings_total{outcome=\"accepted\"} 0\n"), "{text}");
        assert!(text.contains("watchfire_ingest_http_answers_total{status=\"2xx\"} 3\n"), "{text}");
        assert!(text.contains("\nwatchfire_ingest_log_position 0\n"), "{text}");
        assert!(text.contains("watchfire_ingest_frames_total{lane=\"senml\"} 0\n"), "{text}");
    }
}
