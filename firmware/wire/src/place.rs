//! Places, always with their datum: a GCJ-02 point taken for WGS-84 is 300–700 m off, in another cell.

use core::fmt;

use bincode::{Decode, Encode};

use crate::ids::Area;

/// The reference a coordinate was measured in. Ingest stores WGS-84 only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, serde::Serialize, serde::Deserialize)]
pub enum Datum {
    /// GNSS receivers.
    #[serde(rename = "wgs84")]
    Wgs84,
    /// China Geodetic Coordinate System 2000; within centimetres of WGS-84 here.
    #[serde(rename = "cgcs2000")]
    Cgcs2000,
    /// Chinese map services and many handsets.
    #[serde(rename = "gcj02")]
    Gcj02,
    /// Baidu.
    #[serde(rename = "bd09")]
    Bd09,
}

/// A point on the ground and the area it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Place {
    /// Latitude in 1e-7 degrees, north positive.
    pub lat_e7: i32,
    /// Longitude in 1e-7 degrees, east positive.
    pub lon_e7: i32,
    /// What the two numbers refer to.
    pub datum: Datum,
    /// Administrative area.
    pub area: Area,
}

/// A coordinate outside what a geohash cell can hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlaceError {
    /// Latitude as given, in degrees.
    pub lat: f64,
    /// Longitude as given, in degrees.
    pub lon: f64,
}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "latitude {} and longitude {} are not a place: latitude lies in -85..85 and longitude in -180..180 degrees",
            self.lat, self.lon
        )
    }
}

impl core::error::Error for PlaceError {}

/// Latitude limit in degrees: cells degenerate at the poles, and no city lies there.
pub const MAX_LATITUDE: f64 = 85.0;

impl Place {
    /// A place from degrees.
    ///
    /// # Errors
    /// [`PlaceError`] for coordinates that are not finite or out of range.
    pub fn new(lat: f64, lon: f64, datum: Datum, area: Area) -> Result<Self, PlaceError> {
        // NaN fails both comparisons.
        if !(lat.abs() <= MAX_LATITUDE && (-180.0..180.0).contains(&lon)) {
            return Err(PlaceError { lat, lon });
        }
        Ok(Self { lat_e7: to_e7(lat), lon_e7: to_e7(lon), datum, area })
    }

    /// Latitude in degrees.
    pub fn lat(&self) -> f64 {
        f64::from(self.lat_e7) / 1e7
    }

    /// Longitude in degrees.
    pub fn lon(&self) -> f64 {
        f64::from(self.lon_e7) / 1e7
    }

    /// Whether decoded coordinates obey the rule of [`Place::new`].
    pub(crate) fn is_valid(&self) -> bool {
        self.lat().abs() <= MAX_LATITUDE && (-180.0..180.0).contains(&self.lon())
    }
}

/// Rounds half away from zero; `f64::round` is not in `core` for this toolchain's targets without std.
fn to_e7(degrees: f64) -> i32 {
    let scaled = degrees * 1e7;
    (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_round_to_a_centimetre() {
        let p = Place::new(30.66, -104.0512345, Datum::Wgs84, Area::unknown()).unwrap();
        assert_eq!((p.lat_e7, p.lon_e7), (306_600_000, -1_040_512_345));
        assert!(p.is_valid());
    }

    #[test]
    fn nowhere_is_refused() {
        for (lat, lon) in [(f64::NAN, 0.0), (0.0, f64::INFINITY), (86.0, 0.0), (0.0, 180.0), (-85.1, 0.0)] {
            assert!(Place::new(lat, lon, Datum::Wgs84, Area::unknown()).is_err(), "{lat} {lon}");
        }
    }
}
