//! GCJ-02 and BD-09 to WGS-84, by the public approximation of the Chinese offset.
//!
//! There is no closed inverse, so it is iterated: with `f` = WGS-84 → GCJ-02 and a given `g`, start with `w = g`
//! and repeat `w ← w + (g − f(w))`. Each step gains two to three decimal places; four steps end below a
//! millimetre. This is self-consistency with the approximation, not survey accuracy.

use std::f64::consts::PI;

use wire::{Datum, Place};

/// Semi-major axis of the Krasovsky 1940 ellipsoid, in metres: what the offset is defined on.
const AXIS_M: f64 = 6_378_245.0;
/// Its eccentricity squared.
const ECCENTRICITY: f64 = 0.006_693_421_622_965_943;
/// The frequency in Baidu's second offset.
const BAIDU: f64 = PI * 3000.0 / 180.0;
/// Steps of the iteration; three reach a millimetre, one is spare.
const STEPS: usize = 4;

/// A point in degrees: latitude, longitude.
type Point = (f64, f64);

/// Whether the offset applies at all: a rectangle around China, as the map services use it.
fn in_china((lat, lon): Point) -> bool {
    (0.8293..=55.8271).contains(&lat) && (72.004..=137.8347).contains(&lon)
}

/// WGS-84 to GCJ-02, in degrees. Outside China they are the same.
pub fn wgs84_to_gcj02(point: Point) -> Point {
    if !in_china(point) {
        return point;
    }
    let (lat, lon) = point;
    let (x, y) = (lon - 105.0, lat - 35.0);
    let root = x.abs().sqrt();
    let short = (20.0 * (6.0 * x * PI).sin() + 20.0 * (2.0 * x * PI).sin()) * 2.0 / 3.0;
    let north = -100.0
        + 2.0 * x
        + 3.0 * y
        + 0.2 * y * y
        + 0.1 * x * y
        + 0.2 * root
        + short
        + (20.0 * (y * PI).sin() + 40.0 * (y / 3.0 * PI).sin()) * 2.0 / 3.0
        + (160.0 * (y / 12.0 * PI).sin() + 320.0 * (y * PI / 30.0).sin()) * 2.0 / 3.0;
    let east = 300.0
        + x
        + 2.0 * y
        + 0.1 * x * x
        + 0.1 * x * y
        + 0.1 * root
        + short
        + (20.0 * (x * PI).sin() + 40.0 * (x / 3.0 * PI).sin()) * 2.0 / 3.0
        + (150.0 * (x / 12.0 * PI).sin() + 300.0 * (x / 30.0 * PI).sin()) * 2.0 / 3.0;
    let radians = lat.to_radians();
    let magic = 1.0 - ECCENTRICITY * radians.sin().powi(2);
    let root = magic.sqrt();
    let per_lat = AXIS_M * (1.0 - ECCENTRICITY) / (magic * root) * PI / 180.0;
    let per_lon = AXIS_M / root * radians.cos() * PI / 180.0;
    (lat + north / per_lat, lon + east / per_lon)
}

/// GCJ-02 to BD-09, in degrees.
pub fn gcj02_to_bd09((lat, lon): Point) -> Point {
    let z = lon.hypot(lat) + 0.000_02 * (lat * BAIDU).sin();
    let theta = lat.atan2(lon) + 0.000_003 * (lon * BAIDU).cos();
    (z * theta.sin() + 0.006, z * theta.cos() + 0.0065)
}

fn invert(given: Point, forward: impl Fn(Point) -> Point) -> Point {
    let mut guess = given;
    for _ in 0..STEPS {
        let there = forward(guess);
        guess = (guess.0 + given.0 - there.0, guess.1 + given.1 - there.1);
    }
    guess
}

/// A point of any datum in WGS-84 degrees. CGCS2000 is within centimetres of WGS-84 and taken as it is.
pub fn to_wgs84(lat: f64, lon: f64, datum: Datum) -> Point {
    match datum {
        Datum::Wgs84 | Datum::Cgcs2000 => (lat, lon),
        Datum::Gcj02 => invert((lat, lon), wgs84_to_gcj02),
        // Baidu's offset bends faster: invert it by itself first.
        Datum::Bd09 => {
            let start = (lat - 0.006, lon - 0.0065);
            let gcj = (0..STEPS + 2).fold(start, |guess, _| {
                let there = gcj02_to_bd09(guess);
                (guess.0 + lat - there.0, guess.1 + lon - there.1)
            });
            invert(gcj, wgs84_to_gcj02)
        }
    }
}

/// A place as WGS-84 in units of 1e-7 degrees (a centimetre).
pub fn wgs84_e7(place: &Place) -> (i32, i32) {
    match place.datum {
        Datum::Wgs84 | Datum::Cgcs2000 => (place.lat_e7, place.lon_e7),
        datum => {
            let (lat, lon) = to_wgs84(place.lat(), place.lon(), datum);
            ((lat * 1e7).round() as i32, (lon * 1e7).round() as i32)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wire::Area;

    /// Distance on the sphere in metres: good to half a percent here.
    fn metres(a: Point, b: Point) -> f64 {
        let (dlat, dlon) = ((b.0 - a.0).to_radians(), (b.1 - a.1).to_radians());
        let mean = ((a.0 + b.0) / 2.0).to_radians();
        6_371_008.8 * dlat.hypot(dlon * mean.cos())
    }

    #[test]
    fn offsets_are_those_of_the_literature() {
        // DOMAIN: Chengdu 361 m, Chongqing 479 m, Beijing 555 m, by the public approximation.
        for (city, point, offset) in [
            ("Chengdu", (30.6586, 104.0648), 361.0),
            ("Chongqing", (29.5630, 106.5516), 479.0),
            ("Beijing", (39.9042, 116.4074), 555.0),
        ] {
            let found = metres(point, wgs84_to_gcj02(point));
            assert!((found - offset).abs() < 12.0, "{city}: {found:.1} m, expected about {offset} m");
        }
    }

    #[test]
    fn outside_china_nothing_moves() {
        let berlin = (52.52, 13.405);
        assert_eq!(wgs84_to_gcj02(berlin), berlin);
        assert_eq!(to_wgs84(berlin.0, berlin.1, Datum::Gcj02), berlin);
    }

    #[test]
    fn a_datum_changes_the_cell() {
        let gcj = Place::new(30.6586, 104.0648, Datum::Gcj02, Area::unknown()).unwrap();
        let plain = Place { datum: Datum::Cgcs2000, ..gcj.clone() };
        assert_eq!(wgs84_e7(&plain), (306_586_000, 1_040_648_000));
        let (lat, lon) = wgs84_e7(&gcj);
        let cell = |lat, lon| crate::cell::Cell::at_e7(lat, lon, 7);
        assert_ne!(
            cell(lat, lon),
            cell(plain.lat_e7, plain.lon_e7),
            "361 m is more than a cell of 131 x 153 m"
        );
    }

    proptest! {
        #[test]
        fn the_way_back_is_exact_to_a_millimetre(lat in 18.0..53.0_f64, lon in 74.0..135.0_f64) {
            let gcj = wgs84_to_gcj02((lat, lon));
            let back = to_wgs84(gcj.0, gcj.1, Datum::Gcj02);
            prop_assert!(metres((lat, lon), back) < 0.001, "{} m", metres((lat, lon), back));
            let baidu = gcj02_to_bd09(gcj);
            let back = to_wgs84(baidu.0, baidu.1, Datum::Bd09);
            prop_assert!(metres((lat, lon), back) < 0.001, "{} m", metres((lat, lon), back));
        }
    }
}
