//! Values to the canonical unit of their quantity.
//!
//! Units come as RFC 8428 §12.1 and RFC 8798 name them (`Cel`, `%RH`, `lx`), or as UCUM does (`[degF]`, `mm`,
//! `kPa`). Each is `value * factor + offset` away from a base of its dimension; units of different dimensions never
//! convert.

/// What a unit measures: only units of the same dimension convert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dimension {
    Temperature,
    Length,
    Pressure,
    Current,
    Voltage,
    Power,
    Energy,
    Speed,
    Acceleration,
    Flow,
    Volume,
    Ratio,
    Lel,
    Obscuration,
    Time,
    Frequency,
    Rain,
    Angle,
    Light,
    Sound,
    Signal,
    Density,
    Turbidity,
    Acidity,
    Conductivity,
    Mass,
    Resistance,
    Data,
    Irradiance,
    Luminance,
    Strain,
    Force,
    Charge,
    ApparentPower,
    ReactivePower,
    ElectricField,
    MagneticField,
    DoseRate,
    Activity,
    HeatingRate,
    PathConcentration,
    MassShare,
    MassFlow,
    DataRate,
    PerVolume,
    PerArea,
    PerLength,
}

use Dimension as D;

/// Unit, dimension, factor and offset to the dimension's base.
const UNITS: &[(&str, Dimension, f64, f64)] = &[
    // kelvin
    ("K", D::Temperature, 1.0, 0.0),
    ("Cel", D::Temperature, 1.0, 273.15),
    ("[degF]", D::Temperature, 5.0 / 9.0, 459.67 * 5.0 / 9.0),
    // metre
    ("m", D::Length, 1.0, 0.0),
    ("dm", D::Length, 0.1, 0.0),
    ("cm", D::Length, 0.01, 0.0),
    ("mm", D::Length, 0.001, 0.0),
    ("um", D::Length, 1e-6, 0.0),
    ("km", D::Length, 1000.0, 0.0),
    ("[in_i]", D::Length, 0.0254, 0.0),
    ("[ft_i]", D::Length, 0.3048, 0.0),
    // pascal
    ("Pa", D::Pressure, 1.0, 0.0),
    ("hPa", D::Pressure, 100.0, 0.0),
    ("kPa", D::Pressure, 1000.0, 0.0),
    ("MPa", D::Pressure, 1e6, 0.0),
    ("mbar", D::Pressure, 100.0, 0.0),
    ("bar", D::Pressure, 1e5, 0.0),
    ("mm[Hg]", D::Pressure, 133.322_387_415, 0.0),
    // ampere, volt, watt, joule
    ("A", D::Current, 1.0, 0.0),
    ("mA", D::Current, 0.001, 0.0),
    ("uA", D::Current, 1e-6, 0.0),
    ("kA", D::Current, 1000.0, 0.0),
    ("V", D::Voltage, 1.0, 0.0),
    ("mV", D::Voltage, 0.001, 0.0),
    ("kV", D::Voltage, 1000.0, 0.0),
    ("W", D::Power, 1.0, 0.0),
    ("mW", D::Power, 0.001, 0.0),
    ("kW", D::Power, 1000.0, 0.0),
    ("MW", D::Power, 1e6, 0.0),
    ("J", D::Energy, 1.0, 0.0),
    ("Wh", D::Energy, 3600.0, 0.0),
    ("W.h", D::Energy, 3600.0, 0.0),
    ("kWh", D::Energy, 3.6e6, 0.0),
    ("kW.h", D::Energy, 3.6e6, 0.0),
    ("MJ", D::Energy, 1e6, 0.0),
    ("GJ", D::Energy, 1e9, 0.0),
    // metre per second, per second squared
    ("m/s", D::Speed, 1.0, 0.0),
    ("cm/s", D::Speed, 0.01, 0.0),
    ("mm/s", D::Speed, 0.001, 0.0),
    ("km/h", D::Speed, 1.0 / 3.6, 0.0),
    ("m/s2", D::Acceleration, 1.0, 0.0),
    ("mm/s2", D::Acceleration, 0.001, 0.0),
    ("cm/s2", D::Acceleration, 0.01, 0.0),
    ("Gal", D::Acceleration, 0.01, 0.0),
    ("[g]", D::Acceleration, 9.806_65, 0.0),
    // cubic metre, and per second
    ("m3", D::Volume, 1.0, 0.0),
    ("l", D::Volume, 0.001, 0.0),
    ("L", D::Volume, 0.001, 0.0),
    ("m3/s", D::Flow, 1.0, 0.0),
    ("m3/h", D::Flow, 1.0 / 3600.0, 0.0),
    ("l/s", D::Flow, 0.001, 0.0),
    ("L/s", D::Flow, 0.001, 0.0),
    ("l/min", D::Flow, 0.001 / 60.0, 0.0),
    ("L/min", D::Flow, 0.001 / 60.0, 0.0),
    // one
    ("1", D::Ratio, 1.0, 0.0),
    ("/", D::Ratio, 1.0, 0.0),
    ("count", D::Ratio, 1.0, 0.0),
    ("%", D::Ratio, 0.01, 0.0),
    ("%RH", D::Ratio, 0.01, 0.0),
    ("%EL", D::Ratio, 0.01, 0.0),
    ("[ppth]", D::Ratio, 1e-3, 0.0),
    ("[ppm]", D::Ratio, 1e-6, 0.0),
    ("ppm", D::Ratio, 1e-6, 0.0),
    ("[ppb]", D::Ratio, 1e-9, 0.0),
    ("ppb", D::Ratio, 1e-9, 0.0),
    ("%{LEL}", D::Lel, 1.0, 0.0),
    ("%/m", D::Obscuration, 1.0, 0.0),
    // second, hertz
    ("s", D::Time, 1.0, 0.0),
    ("ms", D::Time, 0.001, 0.0),
    ("us", D::Time, 1e-6, 0.0),
    ("min", D::Time, 60.0, 0.0),
    ("h", D::Time, 3600.0, 0.0),
    ("d", D::Time, 86_400.0, 0.0),
    ("Hz", D::Frequency, 1.0, 0.0),
    ("kHz", D::Frequency, 1000.0, 0.0),
    ("MHz", D::Frequency, 1e6, 0.0),
    ("1/s", D::Frequency, 1.0, 0.0),
    ("/s", D::Frequency, 1.0, 0.0),
    ("1/min", D::Frequency, 1.0 / 60.0, 0.0),
    ("/min", D::Frequency, 1.0 / 60.0, 0.0),
    ("1/h", D::Frequency, 1.0 / 3600.0, 0.0),
    ("/h", D::Frequency, 1.0 / 3600.0, 0.0),
    ("beat/min", D::Frequency, 1.0 / 60.0, 0.0),
    // rain, and what creeps: a depth per time is not a speed anybody mixes up with wind
    ("mm/h", D::Rain, 1.0, 0.0),
    ("mm/min", D::Rain, 60.0, 0.0),
    ("mm/d", D::Rain, 1.0 / 24.0, 0.0),
    // degree
    ("deg", D::Angle, 1.0, 0.0),
    ("rad", D::Angle, 180.0 / std::f64::consts::PI, 0.0),
    // and those that stand alone
    ("lx", D::Light, 1.0, 0.0),
    ("klx", D::Light, 1000.0, 0.0),
    ("dB", D::Sound, 1.0, 0.0),
    ("dB[SPL]", D::Sound, 1.0, 0.0),
    ("dBA", D::Sound, 1.0, 0.0),
    ("dBm", D::Signal, 1.0, 0.0),
    ("dB[m]", D::Signal, 1.0, 0.0),
    ("dBW", D::Signal, 1.0, 30.0),
    ("ug/m3", D::Density, 1.0, 0.0),
    ("mg/m3", D::Density, 1000.0, 0.0),
    ("g/m3", D::Density, 1e6, 0.0),
    ("kg/m3", D::Density, 1e9, 0.0),
    ("mg/l", D::Density, 1e6, 0.0),
    ("mg/L", D::Density, 1e6, 0.0),
    ("ug/l", D::Density, 1000.0, 0.0),
    ("ug/L", D::Density, 1000.0, 0.0),
    ("[NTU]", D::Turbidity, 1.0, 0.0),
    ("NTU", D::Turbidity, 1.0, 0.0),
    ("pH", D::Acidity, 1.0, 0.0),
    ("[pH]", D::Acidity, 1.0, 0.0),
    ("S/m", D::Conductivity, 1.0, 0.0),
    ("mS/m", D::Conductivity, 0.001, 0.0),
    ("mS/cm", D::Conductivity, 0.1, 0.0),
    ("uS/cm", D::Conductivity, 1e-4, 0.0),
    ("kg", D::Mass, 1.0, 0.0),
    ("g", D::Mass, 0.001, 0.0),
    ("t", D::Mass, 1000.0, 0.0),
    ("Ohm", D::Resistance, 1.0, 0.0),
    ("kOhm", D::Resistance, 1000.0, 0.0),
    ("mOhm", D::Resistance, 0.001, 0.0),
    ("MOhm", D::Resistance, 1e6, 0.0),
    ("B", D::Data, 1.0, 0.0),
    ("KiB", D::Data, 1024.0, 0.0),
    ("MiB", D::Data, 1_048_576.0, 0.0),
    ("GiB", D::Data, 1_073_741_824.0, 0.0),
    ("W/m2", D::Irradiance, 1.0, 0.0),
    ("cd/m2", D::Luminance, 1.0, 0.0),
    ("um/m", D::Strain, 1.0, 0.0),
    ("mm/m", D::Strain, 1000.0, 0.0),
    ("N", D::Force, 1.0, 0.0),
    ("kN", D::Force, 1000.0, 0.0),
    ("pC", D::Charge, 1.0, 0.0),
    ("nC", D::Charge, 1000.0, 0.0),
    // UCUM has no var: the annotation keeps it apart from the volt-ampere
    ("V.A", D::ApparentPower, 1.0, 0.0),
    ("VA", D::ApparentPower, 1.0, 0.0),
    ("kV.A", D::ApparentPower, 1000.0, 0.0),
    ("kVA", D::ApparentPower, 1000.0, 0.0),
    ("V.A{reactive}", D::ReactivePower, 1.0, 0.0),
    ("var", D::ReactivePower, 1.0, 0.0),
    ("kV.A{reactive}", D::ReactivePower, 1000.0, 0.0),
    ("kvar", D::ReactivePower, 1000.0, 0.0),
    ("V/m", D::ElectricField, 1.0, 0.0),
    ("kV/m", D::ElectricField, 1000.0, 0.0),
    ("T", D::MagneticField, 1.0, 0.0),
    ("mT", D::MagneticField, 0.001, 0.0),
    ("uT", D::MagneticField, 1e-6, 0.0),
    ("nT", D::MagneticField, 1e-9, 0.0),
    ("Sv/h", D::DoseRate, 1e6, 0.0),
    ("mSv/h", D::DoseRate, 1000.0, 0.0),
    ("uSv/h", D::DoseRate, 1.0, 0.0),
    ("nSv/h", D::DoseRate, 0.001, 0.0),
    ("Bq/m3", D::Activity, 1.0, 0.0),
    ("K/min", D::HeatingRate, 1.0, 0.0),
    ("Cel/min", D::HeatingRate, 1.0, 0.0),
    ("[ppm].m", D::PathConcentration, 1.0, 0.0),
    ("mg/kg", D::MassShare, 1.0, 0.0),
    ("g/kg", D::MassShare, 1000.0, 0.0),
    ("kg/s", D::MassFlow, 3600.0, 0.0),
    ("kg/h", D::MassFlow, 1.0, 0.0),
    ("t/h", D::MassFlow, 1000.0, 0.0),
    ("bit/s", D::DataRate, 1.0, 0.0),
    ("kbit/s", D::DataRate, 1000.0, 0.0),
    ("Mbit/s", D::DataRate, 1e6, 0.0),
    // so many in a volume, on an area, along a way
    ("/m3", D::PerVolume, 1.0, 0.0),
    ("/l", D::PerVolume, 1000.0, 0.0),
    ("/cm3", D::PerVolume, 1e6, 0.0),
    ("/m2", D::PerArea, 1.0, 0.0),
    ("/m", D::PerLength, 1.0, 0.0),
    ("/km", D::PerLength, 0.001, 0.0),
];

/// A value in unit `from` as a value in unit `to`; `None` when they do not measure the same, or one is unknown.
/// The same unit always converts, known or not, without touching the value.
pub fn convert(value: f64, from: &str, to: &str) -> Option<f64> {
    if from == to {
        return Some(value);
    }
    let find = |name: &str| UNITS.iter().find(|(unit, ..)| *unit == name);
    let (&(_, from_dimension, from_factor, from_offset), &(_, to_dimension, to_factor, to_offset)) =
        (find(from)?, find(to)?);
    if from_dimension != to_dimension {
        return None;
    }
    // Factors of one scale and no offset are names of the same unit: keep every bit.
    if from_factor == to_factor && from_offset == to_offset {
        return Some(value);
    }
    Some(tidy((value * from_factor + from_offset - to_offset) / to_factor))
}

/// Takes away the dust of a conversion beyond twelve digits: 21.5 °C in kelvin and back is 21.5 again.
fn tidy(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let digits = 12 - value.abs().log10().floor() as i32;
    let scale = 10_f64.powi(digits.clamp(-300, 300));
    let rounded = (value * scale).round() / scale;
    if rounded.is_finite() { rounded } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyday_conversions() {
        for (value, from, to, expected) in [
            (70.7, "[degF]", "Cel", 21.5),
            (294.65, "K", "Cel", 21.5),
            (21.5, "Cel", "K", 294.65),
            (0.545, "/", "%", 54.5),
            (54.5, "%RH", "%", 54.5),
            (1.25, "m", "mm", 1250.0),
            (12.5, "cm", "mm", 125.0),
            (1.013_25, "bar", "hPa", 1013.25),
            (101_325.0, "Pa", "kPa", 101.325),
            (0.004, "A", "mA", 4.0),
            (36.0, "km/h", "m/s", 10.0),
            (3.0, "%", "[ppm]", 30_000.0),
            (3.5, "mg/m3", "ug/m3", 3500.0),
            (30.0, "/min", "Hz", 0.5),
            (20.0, "/min", "/h", 1200.0),
            (0.01, "mg/l", "ug/l", 10.0),
            (120.0, "nSv/h", "uSv/h", 0.12),
            (45.0, "kvar", "V.A{reactive}", 45_000.0),
            (0.012, "/m", "/km", 12.0),
            (980.665, "Gal", "[g]", 1.0),
            (2.5, "kg/s", "t/h", 9.0),
            (1.0, "kW.h", "GJ", 0.0036),
            (120.0, "lx", "lx", 120.0),
            (7.0, "[furlong]", "[furlong]", 7.0),
        ] {
            let found = convert(value, from, to).unwrap_or_else(|| panic!("{from} to {to}"));
            assert!((found - expected).abs() <= expected.abs() * 1e-11, "{value} {from} = {found} {to}");
        }
    }

    #[test]
    fn apples_are_not_pears() {
        for (from, to) in [
            ("Cel", "%"),
            ("m", "m/s"),
            ("[ppm]", "%{LEL}"),
            ("furlong", "m"),
            ("m", "furlong"),
            ("mm/h", "m/s"),
            ("kW", "kV.A"),
            ("kV.A", "kV.A{reactive}"),
            ("um/m", "[ppm]"),
        ] {
            assert_eq!(convert(1.0, from, to), None, "{from} {to}");
        }
    }

    #[test]
    fn names_are_listed_once() {
        for (index, (unit, ..)) in UNITS.iter().enumerate() {
            assert!(UNITS[..index].iter().all(|(other, ..)| other != unit), "{unit} twice");
        }
    }

    #[test]
    fn every_canonical_unit_of_the_catalogue_is_known() {
        for quantity in configs::Catalogue::builtin().all() {
            assert!(
                UNITS.iter().any(|(unit, ..)| *unit == quantity.unit),
                "{}: {}",
                quantity.name,
                quantity.unit
            );
        }
    }
}
