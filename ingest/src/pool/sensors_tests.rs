//! The table of sensors: numbers given once, bounds, what is remembered.

use super::*;

const SEEN: Sighting = Sighting { quantity: QuantityCode(1), lat_e7: 1, lon_e7: 2, area: 0 };

fn name(text: &str) -> SensorName {
    SensorName::new(text).unwrap()
}

fn one() -> (Sensors, GatewayId, u32) {
    let mut sensors = Sensors::default();
    assert_eq!(sensors.area_number(&Area::new("chengdu/qingyang").unwrap()), 0);
    let gateway = GatewayId::new("g").unwrap();
    let owner = sensors.owner(&gateway);
    (sensors, gateway, owner)
}

#[test]
fn numbers_are_given_once() {
    let (mut sensors, gateway, owner) = one();
    let other = sensors.owner(&GatewayId::new("h").unwrap());
    let changed = |sensors: &mut Sensors| -> Vec<u32> { sensors.unsaved.take_some(usize::MAX) };
    for (owner, text, number) in
        [(owner, "a", 0), (owner, "b", 1), (other, "a", 2), (owner, "a", 0), (owner, "c", 3), (other, "a", 2)]
    {
        assert_eq!(sensors.see(owner, &name(text), &SEEN), Some(number), "{text} of {owner}");
    }
    assert_eq!(changed(&mut sensors), [0, 1, 2, 3]);
    assert!(changed(&mut sensors).is_empty());
    sensors.see(owner, &name("b"), &Sighting { lat_e7: 9, ..SEEN });
    assert_eq!(changed(&mut sensors), [1]);
    assert_eq!(sensors.find(&gateway, &name("c")), Some(3));
    assert_eq!(sensors.find(&gateway, &name("d")), None);
    let ids = |sensors: &Sensors, quantity, from| -> Vec<String> {
        sensors.select(Some(&gateway), quantity, from).map(|sensor| sensor.id()).collect()
    };
    assert_eq!(ids(&sensors, None, 1), ["g:b", "g:c"]);
    sensors.see(owner, &name("c"), &Sighting { quantity: QuantityCode(2), ..SEEN });
    assert_eq!(ids(&sensors, Some(QuantityCode(2)), 0), ["g:c"]);
    let counts = [1, 2].map(|code| sensors.counts()[&QuantityCode(code)]);
    assert_eq!((counts, sensors.count_of(&gateway)), ([3, 1], 3));
}

#[test]
fn readings_lie_in_the_districts_a_sensor_was_in() {
    let (mut sensors, _, owner) = one();
    for area in ["chengdu/jinjiang", "chengdu/qingyang", "chengdu/wuhou"] {
        let area = sensors.area_number(&Area::new(area).unwrap());
        sensors.see(owner, &name("a"), &Sighting { area, ..SEEN });
    }
    let sensor = sensors.get(0).unwrap();
    assert_eq!(sensors.districts_of(&sensor), ["jinjiang", "qingyang", "wuhou"]);
    assert_eq!(sensors.area(sensor.area), "chengdu/wuhou");
}

#[test]
fn the_newest_reading_by_time_stays() {
    let (mut sensors, _, owner) = one();
    let number = sensors.see(owner, &name("a"), &SEEN).unwrap();
    assert_eq!(sensors.get(number).unwrap().last, None);
    let reading =
        |at_ms, value| Last { at_ms, value, quality: Quality::Good, clock: ClockState::Synchronised };
    let fault = Last { quality: Quality::Fault, clock: ClockState::HeldOver, ..reading(2000, None) };
    for (taken, newest) in [
        (reading(-5, Some(0.5)), reading(-5, Some(0.5))),
        (reading(2000, Some(2.0)), reading(2000, Some(2.0))),
        (reading(1000, Some(1.0)), reading(2000, Some(2.0))),
        (fault, fault),
    ] {
        sensors.reading(number, taken);
        assert_eq!(sensors.get(number).unwrap().last, Some(newest));
    }
}

#[test]
fn a_sensor_is_well_by_its_newest_reading() {
    let (mut sensors, _, owner) = one();
    let at = |at_ms, value, quality| Last { at_ms, value, quality, clock: ClockState::Synchronised };
    for (text, taken, well_ms) in [
        ("never", None, None),
        ("good", Some(at(5, Some(0.0), Quality::Good)), Some(5)),
        ("suspect", Some(at(6, Some(1.0), Quality::Suspect)), Some(6)),
        ("impossible", Some(at(7, Some(1e9), Quality::OutOfRange)), None),
        ("fault", Some(at(8, None, Quality::Fault)), None),
    ] {
        let number = sensors.see(owner, &name(text), &SEEN).unwrap();
        taken.into_iter().for_each(|taken| sensors.reading(number, taken));
        let Sighting { lat_e7, lon_e7, .. } = SEEN;
        assert_eq!(sensors.sights(number, 9), [Sight { lat_e7, lon_e7, well_ms }], "{text}");
    }
    let slices: usize = [0, 2, 4, 6].map(|from| sensors.sights(from, 2).len()).iter().sum();
    assert_eq!(slices, sensors.len());
}

#[test]
fn words_are_kept_until_they_are_taken_and_the_same_announcement_is_known_again() {
    let (mut sensors, _, owner) = one();
    let number = sensors.see(owner, &name("a"), &SEEN).unwrap();
    assert!(sensors.announced(owner, 7) && !sensors.announced(owner, 7) && sensors.announced(owner, 8));
    let info = SensorInfo {
        sensor: name("a"),
        quantity: QuantityCode(1),
        place: wire::Place::new(30.0, 104.0, wire::Datum::Wgs84, Area::unknown()).unwrap(),
        label: "大门".into(),
        chip: "sht4x".into(),
        every_ms: 5000,
    };
    sensors.describe(number, &info);
    let words = Words { label: "大门".into(), chip: "sht4x".into() };
    assert_eq!(sensors.new_words(number), Some(&words));
    assert_eq!(sensors.unsaved.take_described(), [(number, words)]);
    assert_eq!(sensors.new_words(number), None, "they are in the database now");
}

#[test]
fn names_of_one_gateway_are_bounded() {
    let (mut sensors, _, owner) = one();
    for index in 0..MAX_PER_GATEWAY {
        assert!(sensors.see(owner, &name(&format!("s{index}")), &SEEN).is_some());
    }
    assert_eq!(sensors.see(owner, &name("more"), &SEEN), None);
    assert_eq!(sensors.len(), MAX_PER_GATEWAY);
}

#[test]
fn areas_are_bounded() {
    let mut sensors = Sensors::default();
    let area = |index: usize| Area::new(&format!("city/d{index}")).unwrap();
    for index in 0..MAX_AREAS - 1 {
        assert_eq!(sensors.area_number(&area(index)), index as u32);
    }
    for index in [MAX_AREAS, MAX_AREAS + 1] {
        assert_eq!(sensors.area_number(&area(index)), MAX_AREAS as u32 - 1);
    }
    assert_eq!(sensors.area(MAX_AREAS as u32 - 1), "");
    assert_eq!(sensors.area_number(&area(5)), 5);
}
