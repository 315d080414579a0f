use super::*;
use crate::admit::Reason;
use crate::database;
use crate::pool::alarms::Alarms;
use crate::quarantine::HeldKind;

fn held(id: u64, bytes: usize) -> Held {
    Held {
        id,
        received_ms: id as i64 * 1000,
        source: "g".into(),
        kind: HeldKind::Frame,
        reason: Reason::Damaged,
        detail: format!("number {id}"),
        body: vec![0xA5; bytes],
        memo: vec![0, 255],
    }
}

fn with_registry(limit_bytes: u64, test: impl AsyncFn(&Registry, &Counters)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for fresh in runtime.block_on(database::testing::each()) {
        // Twice: the second start finds the tables of the first.
        for _ in 0..2 {
            let (registry, thread) = Registry::start(&fresh.url, limit_bytes, Arc::default()).unwrap();
            registry.stop();
            thread.join().unwrap();
        }
        let counters = Arc::new(Counters::default());
        let (registry, thread) = Registry::start(&fresh.url, limit_bytes, Arc::clone(&counters)).unwrap();
        runtime.block_on(test(&registry, &counters));
        registry.stop();
        thread.join().unwrap();
    }
}

/// Does something with each database there is.
fn with_database(test: impl AsyncFn(Database)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for fresh in database::testing::each().await {
            test(Database::open(&fresh.url, 1 << 20).await.unwrap()).await;
        }
    });
}

#[test]
fn a_replay_of_the_log_changes_nothing() {
    with_registry(1 << 20, async |registry, _| {
        for _ in 0..3 {
            registry
                .write(vec![Write::Held(Box::new(held(7, 100))), Write::Held(Box::new(held(9, 50)))])
                .unwrap();
            registry.write(vec![Write::HeldState(7, "replayed")]).unwrap();
            registry.write(vec![Write::HeldState(7, "refused_again")]).unwrap();
        }
        registry.flush().unwrap();
        let page = registry.list(None, 10).await.unwrap();
        let found: Vec<(u64, &str)> = page.items.iter().map(|item| (item.id, item.state.as_str())).collect();
        assert_eq!(found, [(9, "held"), (7, "replayed")], "newest first; replayed stays replayed");
        assert_eq!(page.items[1].reason, "damaged");
        assert_eq!(registry.find(7).await.unwrap(), Some(held(7, 100)), "bytes come back as they went in");
        assert_eq!(registry.find(8).await.unwrap(), None);
    });
}

#[test]
fn the_quarantine_is_bounded_and_drops_its_oldest() {
    with_registry(200_000, async |registry, counters| {
        for id in 1..=500 {
            registry.write(vec![Write::Held(Box::new(held(id, 1000)))]).unwrap();
        }
        registry.flush().unwrap();
        let page = registry.list(None, 1000).await.unwrap();
        let kept = page.items.len() as u64;
        assert!((60..=132).contains(&kept), "{kept} of about 1.5 kB each fit 200 kB");
        assert_eq!(counters.quarantine_drops(), 500 - kept);
        assert_eq!((page.items[0].id, page.items.last().unwrap().id), (500, 501 - kept), "the newest stay");
        let first = registry.list(None, 10).await.unwrap();
        let second = registry.list(first.next.map(|next| next.parse().unwrap()), 10).await.unwrap();
        assert_eq!((first.items.last().unwrap().id, second.items[0].id), (491, 490));
    });
}

#[test]
fn gateways_sensors_and_alarms_are_upserts() {
    let gateway = |area: &str, place| {
        Write::Gateway(GatewayRow {
            id: "g".into(),
            area: area.into(),
            board: None,
            version: Some("0.1.0".into()),
            place,
            first_heard_ms: 1,
            last_heard_ms: 2,
        })
    };
    let sensor = |label: Option<&str>| {
        Write::Sensor(SensorRow {
            number: 3,
            gateway: "g".into(),
            sensor: "kiln.t".into(),
            quantity: 1,
            words: label.map(|label| Words { label: label.into(), chip: "sht4x".into() }),
            place: (30.66, 104.02),
            area: "chengdu/qingyang".into(),
        })
    };
    let alarm = |level| {
        let event = wire::AlarmEvent {
            episode: u64::MAX,
            rule: "hot".into(),
            rule_version: 1,
            kind: wire::AlarmKind::Repeated,
            level,
            sensor: wire::SensorName::new("kiln.t").unwrap(),
            quantity: wire::QuantityCode(1),
            place: wire::Place::new(30.66, 104.02, wire::Datum::Wgs84, wire::Area::unknown()).unwrap(),
            mono_ms: 2,
            value: Some(99.5),
            quality: wire::Quality::Good,
            threshold: 80.0,
            measure: wire::Measure::Value,
            worst: Some(101.5),
            inputs: vec![wire::Input {
                sensor: wire::SensorName::new("kiln.t").unwrap(),
                quantity: wire::QuantityCode(1),
                value: None,
                quality: wire::Quality::Fault,
                mono_ms: 2,
                alarming: true,
            }],
        };
        let mut alarms = Alarms::default();
        let place = (306_600_000, 1_040_200_000);
        let alarm = alarms.event(&wire::GatewayId::new("g").unwrap(), &event, |mono| mono as i64, place);
        Write::Alarm(Box::new(alarm.clone()))
    };
    with_database(async |mut database| {
        for writes in [
            [gateway("", None), sensor(Some("窑")), alarm(wire::Level::Blue)],
            [gateway("chengdu", Some((30.66, 104.02))), sensor(Some("窑温")), alarm(wire::Level::Red)],
            // It moved, and nobody said what it is called.
            [gateway("chengdu", Some((30.66, 104.02))), sensor(None), alarm(wire::Level::Red)],
        ] {
            database.write(&writes).await.unwrap();
        }
        let one = database.one_text("SELECT area || ' ' || CAST(lat AS TEXT) FROM gateways").await;
        assert_eq!(one.unwrap(), "chengdu 30.66");
        let asked: Vec<u32> = (0..40).collect();
        let words = Words { label: "窑温".into(), chip: "sht4x".into() };
        assert_eq!(database.words(&asked).await.unwrap(), [(3, words)].into());
        let one = database.one_text("SELECT level || ' ' || episode FROM alarms").await;
        assert_eq!(one.unwrap(), "red ffffffffffffffff");
        let one = database
            .one_text("SELECT measure || ' ' || worst || ' ' || repeated_ms || ' ' || inputs FROM alarms");
        assert_eq!(
            one.await.unwrap(),
            r#"value 101.5 2 [{"alarming":true,"at_ms":2,"quality":"fault","quantity":1,"sensor":"kiln.t","value":null}]"#
        );
    });
}

#[test]
fn a_city_of_sensors_is_written_many_at_a_time() {
    let sensor = |number: u32, label: &str| {
        Write::Sensor(SensorRow {
            number,
            gateway: "g".into(),
            sensor: format!("s{number}"),
            quantity: 1,
            words: (!label.is_empty()).then(|| Words { label: label.into(), chip: String::new() }),
            place: (30.5, 104.5),
            area: "chengdu".into(),
        })
    };
    with_database(async |mut database| {
        let all = rows::SENSORS as u32 * 2 + 3;
        let mut writes: Vec<Write> = (0..all).map(|number| sensor(number, "first")).collect();
        // The same number again, and one out of order, in the same transaction.
        writes.extend([sensor(all - 1, "second"), sensor(5, "third"), sensor(6, ""), sensor(5, "")]);
        for _ in 0..2 {
            database.write(&writes).await.unwrap();
        }
        let found = database.one_text(
            "SELECT COUNT(*) || ' ' || SUM(number) || ' ' || SUM(CASE WHEN label = 'first' THEN 1 ELSE 0 END) || ' ' || SUM(CASE WHEN sensor = 's' || number THEN 1 ELSE 0 END) \
             FROM sensors",
        );
        let sum: u32 = (0..all).sum();
        assert_eq!(found.await.unwrap(), format!("{all} {sum} {} {all}", all - 2));
        assert_eq!(database.one_text("SELECT label FROM sensors WHERE number = 5").await.unwrap(), "third");
    });
}

#[test]
fn parts_of_photographs_are_bounded_and_each_gateway_fills_its_own_room() {
    with_database(async |mut database| {
        let part = |gateway: &str, number| {
            let bytes = vec![number as u8; 10];
            let part = wire::PicturePart { digest: [9; 32], total: 100, offset: number as u32, bytes };
            Seen { number, gateway: wire::GatewayId::new(gateway).unwrap(), part }
        };
        database.picture(&part("mine", 1)).await;
        for number in 2..=7 {
            database.picture(&part("stranger", number)).await;
        }
        let kept = "SELECT CAST(COUNT(*) AS TEXT) || ' ' || CAST(MIN(number) AS TEXT) FROM picture_parts WHERE gateway = ";
        for (gateway, left) in [("'mine'", "1 1"), ("'stranger'", "3 5")] {
            let sql = format!("{kept}{gateway}");
            assert_eq!(database.one_text(sql.leak()).await.unwrap(), left, "{gateway}: its newest");
        }
        for number in 8..=9 {
            database.picture(&part("third", number)).await;
        }
        let all = "SELECT CAST(MIN(number) AS TEXT) FROM picture_parts";
        assert_eq!(database.one_text(all).await.unwrap(), "5", "of all, the oldest goes");
    });
}
