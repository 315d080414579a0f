use wire::Level;

use super::*;
use crate::testing::sensors;

fn limit(threshold: f64, deadband: f64) -> Limit {
    Limit { sensor: 0, over_ms: None, direction: Direction::Above, threshold, deadband }
}

fn over(limit: Limit) -> Rule {
    Rule {
        name: "hot".into(),
        condition: Condition::Limit(limit),
        on_delay_ms: 0,
        off_delay_ms: 0,
        repeat_ms: None,
        level: Level::Red,
    }
}

fn rule() -> Rule {
    over(limit(60.0, 5.0))
}

fn rules(rule: &Rule) -> Rules {
    Rules::new(std::slice::from_ref(rule), &sensors(2), BootId(1))
}

const FAULT: f64 = f64::NAN;

fn reading(second: u64, value: f64) -> Judged {
    let (value, quality) = if value.is_nan() { (None, Quality::Fault) } else { (Some(value), Quality::Good) };
    Judged { sensor: 0, mono_ms: second * 1000, value, quality }
}

/// Feeds one value a second and tells what happened, as `second kind` words.
fn story(rules: &mut Rules, from: u64, values: &[f64]) -> String {
    let mut words = Vec::new();
    for (second, value) in (from..).zip(values) {
        for event in rules.judge(&reading(second, *value)) {
            words.push(format!("{second}{}", format!("{:?}", event.kind).to_lowercase()));
        }
    }
    words.join(" ")
}

#[test]
fn a_table_of_stories() {
    let delayed = Rule { on_delay_ms: 2_000, off_delay_ms: 3_000, ..rule() };
    let below = over(Limit { direction: Direction::Below, ..limit(10.0, 1.0) });
    let cases: &[(&str, &Rule, &[f64], &str)] = &[
        ("the limit itself is no alarm", &rule(), &[60.0, 60.0], ""),
        ("raised and cleared", &rule(), &[20.0, 61.0, 62.0, 50.0], "1raised 3cleared"),
        ("the deadband holds", &rule(), &[61.0, 58.0, 55.1, 61.0, 55.0], "0raised 4cleared"),
        ("a fleeting spike is ignored", &delayed, &[61.0, 61.0, 20.0, 61.0, 20.0], ""),
        ("the on-delay runs out", &delayed, &[61.0, 61.0, 61.0], "2raised"),
        (
            "chatter does not clear",
            &delayed,
            &[61.0, 61.0, 61.0, 50.0, 50.0, 61.0, 50.0, 50.0, 50.0],
            "2raised",
        ),
        ("the off-delay runs out", &delayed, &[61.0, 61.0, 61.0, 50.0, 50.0, 50.0, 50.0], "2raised 6cleared"),
        ("too little", &below, &[20.0, 9.9, 10.5, 11.0], "1raised 3cleared"),
        ("one fault is a glitch", &rule(), &[20.0, FAULT, 20.0], ""),
        ("two are blindness", &rule(), &[20.0, FAULT, FAULT, FAULT, 20.0], "2blind 4seeing"),
        ("a fault never clears", &rule(), &[61.0, FAULT, FAULT, FAULT], "0raised 2blind"),
        ("seeing, then cleared", &rule(), &[61.0, FAULT, FAULT, 20.0], "0raised 2blind 3seeing 3cleared"),
        (
            "seeing, still active",
            &rule(),
            &[61.0, FAULT, FAULT, 61.0, 20.0],
            "0raised 2blind 3seeing 4cleared",
        ),
        (
            "blind time does not count towards the off-delay",
            &delayed,
            &[61.0, 61.0, 61.0, 50.0, 50.0, FAULT, 50.0, 50.0, 50.0, 50.0],
            "2raised 9cleared",
        ),
        ("a fault does not end the on-delay", &delayed, &[61.0, FAULT, 61.0], "2raised"),
    ];
    for (name, rule, values, expected) in cases {
        assert_eq!(story(&mut rules(rule), 0, values), *expected, "{name}");
    }
}

#[test]
fn an_impossible_value_is_as_good_as_none_and_a_suspect_one_counts() {
    let mut r = rules(&rule());
    let of = |second, quality| Judged { quality, ..reading(second, 999.0) };
    assert!(r.judge(&of(0, Quality::OutOfRange)).is_empty());
    assert_eq!(r.judge(&of(1, Quality::OutOfRange))[0].kind, AlarmKind::Blind);
    let kinds: Vec<AlarmKind> = r.judge(&of(2, Quality::Suspect)).iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [AlarmKind::Seeing, AlarmKind::Raised]);
    assert!(r.judge(&Judged { sensor: 1, ..reading(3, 99.0) }).is_empty(), "another sensor has no rule");
}

#[test]
fn one_life_one_episode() {
    let mut r = rules(&rule());
    let mut episodes = Vec::new();
    for (second, value) in (0..).zip([61.0, FAULT, FAULT, 61.0, 20.0, 61.0, 20.0, FAULT, FAULT, 20.0]) {
        for event in r.judge(&reading(second, value)) {
            assert_eq!((event.rule.as_str(), event.threshold, event.level), ("hot", 60.0, Level::Red));
            episodes.push(event.episode);
        }
    }
    // raised blind seeing cleared, raised cleared, blind seeing
    let [a, a2, a3, a4, b, b2, c, c2] = episodes[..] else { panic!("{episodes:?}") };
    assert!(a == a2 && a2 == a3 && a3 == a4, "{episodes:?}");
    assert!(b == b2 && c == c2 && a != b && b != c, "{episodes:?}");
    assert!(episodes.iter().all(|e| *e < 1 << 53));
}

#[test]
fn alarms_survive_a_restart() {
    let mut before = rules(&rule());
    let raised = before.judge(&reading(0, 61.0)).remove(0);
    let saved = before.memory(&raised);
    assert_eq!(saved.len(), 1);

    let mut after = rules(&rule());
    assert!(after.restore(saved.clone(), 0).is_empty());
    assert_eq!(after.standing(), (1, 0));
    let cleared = after.judge(&reading(5, 20.0)).remove(0);
    assert_eq!(
        (cleared.kind, cleared.episode),
        (AlarmKind::Cleared, raised.episode),
        "not raised a second time"
    );
    assert!(after.memory(&cleared).is_empty(), "nothing is left to remember");

    let mut renamed = rules(&Rule { name: "warm".into(), ..rule() });
    let orphan = renamed.restore(saved, 7).remove(0);
    assert_eq!(
        (orphan.kind, orphan.episode, orphan.rule.as_str()),
        (AlarmKind::Cleared, raised.episode, "hot")
    );
    assert_eq!(renamed.standing(), (0, 0));
}

#[test]
fn blindness_survives_a_restart_beside_the_alarm() {
    let mut before = rules(&rule());
    before.judge(&reading(0, 61.0));
    before.judge(&reading(1, FAULT));
    let blind = before.judge(&reading(2, FAULT)).remove(0);
    let saved = before.memory(&blind);
    assert_eq!(saved.iter().map(|e| e.kind).collect::<Vec<_>>(), [AlarmKind::Raised, AlarmKind::Blind]);
    let mut after = rules(&rule());
    after.restore(saved, 0);
    assert_eq!(after.standing(), (1, 1));
    assert_eq!(story(&mut after, 9, &[FAULT, 61.0, 20.0]), "10seeing 11cleared");
}

#[test]
fn the_version_of_a_rule_follows_its_settings_and_those_of_its_members() {
    let version = |rules: &[Rule]| rules.last().expect("a rule").version(rules, &sensors(3));
    assert_eq!(version(&[rule()]), version(&[rule()]));
    let changed = [
        over(limit(60.0, 4.0)),
        over(Limit { sensor: 1, ..limit(60.0, 5.0) }),
        over(Limit { over_ms: Some(60_000), ..limit(60.0, 5.0) }),
        Rule { repeat_ms: Some(60_000), ..rule() },
    ];
    for changed in changed {
        assert_ne!(version(&[rule()]), version(std::slice::from_ref(&changed)), "{changed:?}");
        let fire = agreement(2, None);
        assert_ne!(
            version(&[rule(), rule(), fire.clone()]),
            version(&[rule(), changed.clone(), fire]),
            "{changed:?}"
        );
    }
}

/// A rule made of the two first.
fn agreement(needed: usize, within_ms: Option<u64>) -> Rule {
    let condition = Condition::Agreement(Agreement { members: vec![0, 1], needed, within_ms });
    Rule { name: "fire".into(), condition, ..rule() }
}

/// Three detectors on sensors of their own, and a rule that is made of them.
fn house(fire: Rule) -> Rules {
    let mut rules: Vec<Rule> = (0..3)
        .map(|sensor| Rule { name: format!("d{sensor}"), ..over(Limit { sensor, ..limit(60.0, 5.0) }) })
        .collect();
    let Condition::Agreement(agreement) = fire.condition else { panic!("made of others") };
    let condition = Condition::Agreement(Agreement { members: vec![0, 1, 2], ..agreement });
    rules.push(Rule { condition, ..fire });
    Rules::new(&rules, &sensors(3), BootId(1))
}

/// Feeds `second sensor word` lines (hot, cool, fault) and tells what the rule `fire` said, as `second kind` words.
fn house_story(rules: &mut Rules, script: &str) -> String {
    let mut words = Vec::new();
    for line in script.split(", ").filter(|line| !line.is_empty()) {
        let [second, sensor, word] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let value = match word {
            "hot" => 70.0,
            "cool" => 20.0,
            "fault" => FAULT,
            other => panic!("{other}"),
        };
        let (second, sensor) = (second.parse().expect("a second"), sensor.parse().expect("a sensor"));
        for event in rules.judge(&Judged { sensor, ..reading(second, value) }) {
            if event.rule == "fire" {
                words.push(format!("{second}{}", format!("{:?}", event.kind).to_lowercase()));
            }
        }
    }
    words.join(" ")
}

#[test]
fn a_table_of_confirmations() {
    let at_once = agreement(2, None);
    let close = agreement(2, Some(60_000));
    let slow = Rule { off_delay_ms: 10_000, ..agreement(2, None) };
    let cases: &[(&str, &Rule, &str, &str)] = &[
        ("one detector warns, and that is all", &at_once, "0 0 hot, 5 0 hot", ""),
        ("two confirm", &at_once, "0 0 hot, 5 1 hot", "5raised"),
        ("a third changes nothing", &at_once, "0 0 hot, 5 1 hot, 9 2 hot", "5raised"),
        ("one after the other is no two at once", &at_once, "0 0 hot, 5 0 cool, 6 1 hot", ""),
        ("a day apart, yet at once", &at_once, "0 0 hot, 86400 1 hot", "86400raised"),
        ("not close enough", &close, "0 0 hot, 61 1 hot", ""),
        ("close enough", &close, "0 0 hot, 60 1 hot", "60raised"),
        (
            "a stuck detector does not spoil the two others",
            &close,
            "0 0 hot, 900 1 hot, 930 2 hot",
            "930raised",
        ),
        (
            "a stuck detector that begins anew",
            &close,
            "0 0 hot, 900 0 cool, 910 0 hot, 930 1 hot",
            "930raised",
        ),
        (
            "it goes on while enough are active, however far apart",
            &close,
            "0 0 hot, 5 1 hot, 900 2 hot, 901 0 cool, 950 1 hot, 960 1 cool",
            "5raised 960cleared",
        ),
        (
            "the off-delay",
            &slow,
            "0 0 hot, 1 1 hot, 2 1 cool, 9 0 hot, 10 1 hot, 11 0 cool, 20 0 cool, 21 0 cool",
            "1raised 21cleared",
        ),
        ("a dead detector leaves two", &at_once, "0 0 fault, 1 0 fault, 2 1 hot, 3 2 hot", "3raised"),
        ("two dead ones leave no two", &at_once, "0 0 fault, 1 0 fault, 2 1 fault, 3 1 fault", "3blind"),
        (
            "blind, then seeing",
            &at_once,
            "0 0 fault, 1 0 fault, 2 1 fault, 3 1 fault, 4 1 cool, 5 2 hot, 6 1 hot",
            "3blind 4seeing 6raised",
        ),
        (
            "fire eats its detectors: faults never clear",
            &at_once,
            "0 0 hot, 1 1 hot, 2 0 fault, 3 0 fault, 4 1 fault, 5 1 fault, 6 2 fault, 7 2 fault",
            "1raised",
        ),
        (
            "what failed meanwhile does not let it run out",
            &slow,
            "0 0 hot, 1 1 hot, 2 2 fault, 3 2 fault, 4 0 cool, 5 0 fault, 6 0 fault, 30 1 hot, 31 0 cool, 41 0 cool",
            "1raised 6blind 31seeing 41cleared",
        ),
    ];
    for (name, fire, script, expected) in cases {
        assert_eq!(house_story(&mut house((*fire).clone()), script), *expected, "{name}");
    }
}

#[test]
fn a_confirmation_tells_which_sensors_agreed() {
    let mut rules = house(agreement(2, None));
    house_story(&mut rules, "0 0 hot, 1 2 cool");
    let raised = rules.judge(&Judged { sensor: 1, ..reading(3, 90.0) });
    let fire = raised.iter().find(|event| event.rule == "fire").expect("confirmed");
    assert_eq!((fire.value, fire.threshold, fire.measure), (Some(2.0), 2.0, Measure::Agreeing));
    assert_eq!(fire.sensor.as_str(), "s0", "the first member names the place");
    let inputs: Vec<_> = (fire.inputs.iter())
        .map(|input| (input.sensor.as_str(), input.value, input.mono_ms, input.alarming))
        .collect();
    assert_eq!(
        inputs,
        [("s0", Some(70.0), 0, true), ("s1", Some(90.0), 3_000, true), ("s2", Some(20.0), 1_000, false)]
    );
    // A member whose sensor died still counts, and its quality tells.
    rules.judge(&Judged { sensor: 0, ..reading(4, FAULT) });
    let repeated =
        rules.rules[3].event(AlarmKind::Repeated, 1, 5_000, &rules.agreed(3).expect("has members"));
    assert_eq!((repeated.value, repeated.quality), (Some(2.0), Quality::Suspect));
    assert_eq!((repeated.inputs[0].quality, repeated.inputs[0].value), (Quality::Fault, None));
}

#[test]
fn a_confirmation_survives_a_restart_with_its_members() {
    let mut before = house(agreement(2, Some(60_000)));
    let mut saved = Vec::new();
    for sensor in [0, 1] {
        for event in before.judge(&Judged { sensor, ..reading(1, 70.0) }) {
            saved.extend(before.memory(&event));
        }
    }
    assert!(saved.iter().all(|event| event.inputs.is_empty()), "inputs are of their run");
    let mut after = house(agreement(2, Some(60_000)));
    assert!(after.restore(saved, 500_000).is_empty());
    assert_eq!(after.standing(), (3, 0));
    assert_eq!(house_story(&mut after, "501 0 hot, 502 1 hot"), "", "not a second time");
    assert_eq!(house_story(&mut after, "503 0 cool"), "503cleared");
    assert_eq!(
        house_story(&mut after, "510 2 hot"),
        "510raised",
        "raised at the restart, as far as it knows"
    );
}

#[test]
fn a_table_of_trends() {
    let rises = over(Limit { over_ms: Some(10_000), ..limit(8.0, 3.0) });
    let falls = over(Limit { over_ms: Some(10_000), direction: Direction::Below, ..limit(-8.0, 3.0) });
    let calm = || std::iter::repeat_n(20.0, 11);
    let up = |per_second: f64| (1..12).map(move |n| 20.0 + per_second * f64::from(n));
    let cases: Vec<(&str, &Rule, Vec<f64>, &str)> = vec![
        ("hot is no rise", &rises, vec![90.0; 20], ""),
        ("slowly", &rises, calm().chain(up(0.7)).collect(), ""),
        ("quickly", &rises, calm().chain(up(2.0)).collect(), "15raised"),
        ("falling is no rise", &rises, calm().chain(up(-2.0)).collect(), ""),
        ("falling", &falls, calm().chain(up(-2.0)).collect(), "15raised"),
        ("two noisy samples", &rises, calm().chain([900.0, -900.0]).chain(calm()).collect(), ""),
        ("it ends when the rise does", &rises, up(2.0).chain([42.0; 12]).collect(), "8raised 17cleared"),
        ("after a start nobody knows", &rises, up(2.0).take(7).collect(), ""),
        (
            "faults in between do not count",
            &rises,
            up(2.0).take(5).chain([FAULT]).chain(up(2.0).skip(6)).collect(),
            "8raised",
        ),
        (
            "a fault ends no rise",
            &rises,
            up(2.0).chain([FAULT; 3]).chain([44.0]).collect(),
            "8raised 12blind 14seeing",
        ),
    ];
    for (name, rule, values, expected) in cases {
        assert_eq!(story(&mut rules(rule), 0, &values), expected, "{name}");
    }
    let mut r = rules(&rises);
    let events: Vec<AlarmEvent> =
        (0..).zip(up(2.0)).flat_map(|(second, value)| r.judge(&reading(second, value))).collect();
    let raised = &events[0];
    assert_eq!((raised.value, raised.measure), (Some(20.0), Measure::Rise { over_ms: 10_000 }));
    assert_eq!(raised.inputs[0].value, Some(38.0), "the input is the reading itself");
}

#[test]
fn a_table_of_re_alarms() {
    let again = Rule { repeat_ms: Some(60_000), off_delay_ms: 100_000, ..rule() };
    let every_20 = |values: &[f64]| {
        let mut r = rules(&again);
        let mut words = Vec::new();
        for (second, value) in (0..).step_by(20).zip(values) {
            for event in r.judge(&reading(second, *value)) {
                words.push(format!("{second}{}", format!("{:?}", event.kind).to_lowercase()));
            }
        }
        words.join(" ")
    };
    for (name, values, expected) in [
        ("it goes on", &[61.0; 8][..], "0raised 60repeated 120repeated"),
        ("also while it is clearing", &[61.0, 50.0, 50.0, 50.0, 50.0], "0raised 60repeated"),
        ("also while it is blind", &[61.0, FAULT, FAULT, FAULT, FAULT], "0raised 40blind 60repeated"),
        (
            "not once it is cleared",
            &[61.0, 50.0, 50.0, 50.0, 50.0, 50.0, 50.0, 50.0],
            "0raised 60repeated 120cleared",
        ),
    ] {
        assert_eq!(every_20(values), expected, "{name}");
    }
}

#[test]
fn a_re_alarm_tells_the_newest_and_the_worst_and_starts_anew_after_a_restart() {
    let again = Rule { repeat_ms: Some(60_000), ..rule() };
    let mut before = rules(&again);
    let raised = before.judge(&reading(0, 61.0)).remove(0);
    assert_eq!((raised.worst, raised.inputs.len()), (Some(61.0), 1));
    before.judge(&reading(30, 99.0));
    let repeated = before.judge(&reading(60, 70.0)).remove(0);
    assert_eq!(
        (repeated.kind, repeated.value, repeated.worst),
        (AlarmKind::Repeated, Some(70.0), Some(99.0))
    );
    assert_eq!(repeated.episode, raised.episode, "not a second alarm");

    let mut after = rules(&again);
    after.restore(before.memory(&repeated), 1_000);
    assert!(after.judge(&reading(60, 70.0)).is_empty(), "59 s after the start");
    let repeated = after.judge(&reading(61, 65.0)).remove(0);
    assert_eq!((repeated.kind, repeated.worst), (AlarmKind::Repeated, Some(99.0)));
    let cleared = after.judge(&reading(62, 20.0)).remove(0);
    assert_eq!((cleared.kind, cleared.worst), (AlarmKind::Cleared, Some(99.0)));
}

#[test]
fn re_alarms_end() {
    let mut r = rules(&Rule { repeat_ms: Some(1_000), ..rule() });
    let events: usize = (0..1_000).map(|second| r.judge(&reading(second, 61.0)).len()).sum();
    assert_eq!(events, 1 + super::super::phase::MAX_REPEATS as usize);
}
