//! One line of live counters.

use std::net::SocketAddr;
use std::{fmt, io};

use crate::http::get_json;

/// What the line shows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Live {
    /// Readings accepted since ingest started.
    pub accepted: u64,
    /// Readings a second since the last look.
    pub per_second: f64,
    /// Gateways heard of lately, and all.
    pub gateways: (usize, usize),
    /// Sensors known.
    pub sensors: u64,
    /// Alarms active now.
    pub alarms: usize,
    /// Frames that wait on gateways.
    pub backlog: u64,
    /// Messages refused since ingest started.
    pub quarantined: u64,
    /// Readings lost for good, as gateways reported.
    pub lost: u64,
}

impl Live {
    /// Asks ingest. `before` and `seconds` give the rate.
    ///
    /// # Errors
    /// Of HTTP.
    pub fn ask(server: SocketAddr, before: Option<&Live>, seconds: f64) -> io::Result<Live> {
        let stats = get_json(server, "/api/v1/stats")?;
        let gateways = get_json(server, "/api/v1/gateways?limit=1000")?;
        let alarms = get_json(server, "/api/v1/alarms?state=active&limit=1000")?;
        let readings = &stats["readings"];
        let gateways = gateways["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let accepted = readings["accepted"].as_u64().unwrap_or(0);
        let backlog = |gateway: &serde_json::Value| {
            let lanes = gateway["backlog"].as_object().into_iter().flatten();
            lanes.filter_map(|(_, frames)| frames.as_f64()).sum::<f64>() as u64
        };
        Ok(Live {
            accepted,
            per_second: before
                .map_or(0.0, |before| accepted.saturating_sub(before.accepted) as f64 / seconds),
            gateways: (gateways.iter().filter(|gateway| gateway["state"] == "live").count(), gateways.len()),
            sensors: stats["pool"]["sensors"].as_u64().unwrap_or(0),
            alarms: alarms["items"].as_array().map_or(0, Vec::len),
            backlog: gateways.iter().map(backlog).sum(),
            quarantined: readings["quarantined"].as_u64().unwrap_or(0),
            lost: readings["lost"].as_u64().unwrap_or(0),
        })
    }
}

impl fmt::Display for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "读数 readings {} (+{:.0}/s) · 传感器 sensors {} · 网关 gateways {}/{} · 报警 alarms {} · 积压 backlog {} · 隔离 quarantined {} · 丢失 lost {}",
            self.accepted,
            self.per_second,
            self.sensors,
            self.gateways.0,
            self.gateways.1,
            self.alarms,
            self.backlog,
            self.quarantined,
            self.lost
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_it_in_both_languages() {
        let live = Live { accepted: 1234, per_second: 43.6, gateways: (4, 5), alarms: 2, ..Live::default() };
        let line = live.to_string();
        assert!(line.contains("读数 readings 1234 (+44/s)") && line.contains("网关 gateways 4/5"), "{line}");
        assert!(!line.contains('\n'));
    }
}
