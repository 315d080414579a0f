//! The HTTP face: the document tells the truth, mistakes are explained, the console is there.

use serde_json::{Value, json};
use wire::Lane;
use wire::alarm::AlarmKind;

use crate::schema::misfits;
use crate::vocabulary::*;

/// A city in which every list has something to show.
async fn lively() -> City {
    let city = City::start().await;
    let gateway = Client::new(city.mqtt(), "caotang-03");
    let topic = up("caotang-03", Lane::Reading);
    assert_eq!(gateway.publish(&topic, &readings("caotang-03", 1, &[20.0, 21.0])).await, Ok(()));
    assert_eq!(
        gateway.publish(&up("caotang-03", Lane::Alarm), &alarm("caotang-03", 1, AlarmKind::Raised)).await,
        Ok(())
    );
    assert!(gateway.publish(&topic, b"junk").await.is_err());
    let health = up("caotang-03", Lane::Health);
    for message in [health_frame("caotang-03", 1), loss_frame("caotang-03", 2)] {
        assert_eq!(gateway.publish(&health, &message).await, Ok(()));
    }
    city.until("/api/v1/gateways/caotang-03", |v| v["losses"].as_array().unwrap().len() == 1).await;
    city.until("/api/v1/quarantine", |v| v["items"].as_array().unwrap().len() == 1).await;
    city.until("/api/v1/alarms", |v| v["items"].as_array().unwrap().len() == 1).await;
    city
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_path_answers_as_documented() {
    let city = lively().await;
    let document = city.get("/api/v1/openapi.json").await;
    assert_eq!(document["openapi"], json!("3.1.0"));
    let held = city.get("/api/v1/quarantine").await["items"][0]["id"].clone();
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let what = format!("{method} {path}");
            if operation["tags"][0] == "people" {
                // They want somebody who is logged in: people.rs asks them all.
                continue;
            }
            if operation["tags"][0] == "seals" {
                // There is no office here, and nobody is logged in: `benches/seal` asks them where there is one.
                let target = path.replace("{digest}", &"0".repeat(64)).replace("{grant}", &"0".repeat(32));
                let answer =
                    ask(city.http(), &method.to_uppercase(), &target.replace("{seal}", "x"), &[], b"").await;
                let is_public = ["trust", "roots", "impressions"].iter().any(|word| path.contains(word));
                assert_eq!(answer.status, if is_public { 503 } else { 401 }, "{what}: {}", answer.text());
                assert!(answer.text().contains("urn:watchfire:problem"), "{what}: {}", answer.text());
                continue;
            }
            if path == "/api/v1/events" {
                // A stream has no end: its own tests read it.
                asked += 1;
                continue;
            }
            let id = match path.as_str() {
                path if path.contains("quarantine") => held.to_string(),
                path if path.contains("gateways") => "caotang-03".into(),
                path if path.contains("cells") => "wm3yr".into(),
                _ => "caotang-03:hall.t".into(),
            };
            let query = match path.as_str() {
                "/api/v1/cells" | "/api/v1/cells/top" | "/api/v1/cells/{id}/series" => {
                    "?quantity=air-temperature"
                }
                "/api/v1/senml" => "?source=river-works",
                "/api/v1/alarms" => "?state=all&limit=5",
                _ => "",
            };
            let body: &[u8] = if path == "/api/v1/senml" {
                br#"[{"n":"station/funan-1/level","u":"m","v":1}]"#
            } else {
                b""
            };
            let target = format!("{}{query}", path.replace("{id}", &id));
            let headers = [("content-type", "application/senml+json")];
            let answer = ask(city.http(), &method.to_uppercase(), &target, &headers, body).await;
            let documented = &operation["responses"][answer.status.to_string()];
            assert!(
                (200..300).contains(&answer.status) && documented.is_object(),
                "{what}: {} {}",
                answer.status,
                answer.text()
            );
            holds(&document, documented, &answer, &what);
            asked += 1;
            if operation["responses"]["400"].is_object() {
                let wrong = ask(
                    city.http(),
                    &method.to_uppercase(),
                    &format!("{}?nonsense=1", path.replace("{id}", &id)),
                    &headers,
                    body,
                )
                .await;
                assert_eq!(wrong.status, 400, "{what}: {}", wrong.text());
                holds(&document, &operation["responses"]["400"], &wrong, &what);
            }
            if operation["responses"]["404"].is_object() {
                let absent =
                    path.replace("{id}", if path.contains("quarantine") { "999999999" } else { "nobody:x" });
                let target = format!("{absent}{query}");
                let wrong = ask(city.http(), &method.to_uppercase(), &target, &[], b"").await;
                assert_eq!(wrong.status, 404, "{what}: {}", wrong.text());
                holds(&document, &operation["responses"]["404"], &wrong, &what);
            }
        }
    }
    assert!(asked >= 20, "only {asked} operations are documented");
    city.stop().await;
}

/// The answer has a documented content type, and its body fits the schema of that type.
pub fn holds(document: &Value, documented: &Value, answer: &Answer, what: &str) {
    if documented["content"].is_null() {
        assert!(answer.body.is_empty(), "{what}: a body is not documented: {}", answer.text());
        return;
    }
    let given = answer.header("content-type").unwrap_or_default();
    let kind = given.split(';').next().unwrap();
    let content = &documented["content"][kind];
    assert!(content.is_object(), "{what}: {given:?} is not documented: {}", documented["content"]);
    if kind.ends_with("json") {
        let wrong = misfits(document, &content["schema"], &answer.json(), "$");
        assert!(wrong.is_empty(), "{what}: {wrong:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_tells_its_health_and_its_losses_in_words() {
    let city = lively().await;
    let gateway = city.get("/api/v1/gateways/caotang-03").await;
    let gauge = |name: &str| {
        let gauges = gateway["gauges"].as_array().unwrap();
        gauges.iter().find(|gauge| gauge["name"] == name).unwrap_or_else(|| panic!("{name} in {gauges:?}"))
    };
    let left = gauge("buffer.hours_left");
    assert_eq!(
        (&left["value"], &left["unit"], &left["zh"]),
        (&json!(52.5), &json!("h"), &json!("断网后还能缓存"))
    );
    assert_eq!(gauge("bus.i2c-1.errors")["en"], json!("Errors of a bus i2c-1"));
    assert_eq!(gauge("warp.factor")["en"], json!("warp.factor"), "one that only a newer gateway knows");
    let loss = &gateway["losses"][0];
    for (key, value) in [
        ("lane", json!("reading")),
        ("from", json!(7)),
        ("to", json!(9)),
        ("count", json!(3000)),
        ("reason", json!("quota")),
    ] {
        assert_eq!(loss[key], value, "{key}");
    }
    let city = city.restarted().await;
    let again = city.get("/api/v1/gateways/caotang-03").await;
    assert_eq!((&again["losses"], &again["gauges"]), (&gateway["losses"], &gateway["gauges"]));
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cells_come_as_geojson_when_asked() {
    let city = lively().await;
    let document = city.get("/api/v1/openapi.json").await;
    let documented = &document["paths"]["/api/v1/cells"]["get"]["responses"]["200"];
    let path = "/api/v1/cells?quantity=air-temperature&window=1h";
    let by_header = ask(city.http(), "GET", path, &[("accept", "application/geo+json")], b"").await;
    let by_name = ask(city.http(), "GET", &format!("{path}&format=geojson"), &[], b"").await;
    for answer in [&by_header, &by_name] {
        assert_eq!(answer.header("content-type"), Some("application/geo+json"));
        holds(&document, documented, answer, "cells");
        let ring = &answer.json()["features"][0]["geometry"]["coordinates"][0];
        assert_eq!((ring.as_array().unwrap().len(), &ring[0]), (5, &ring[4]), "closed");
    }
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_explained() {
    let city = City::start().await;
    for (method, path, status, expected) in [
        ("GET", "/nowhere", 404, "there is nothing at \"/nowhere\""),
        ("GET", "/api/v1/nowhere", 404, "/api/v1/openapi.json"),
        ("GET", "/console/nowhere.js", 404, "there is nothing at"),
        ("GET", "/console/..%2f..%2fCargo.toml", 404, "there is nothing at"),
        ("DELETE", "/api/v1/health", 405, "DELETE is not possible"),
        ("GET", "/api/v1/sensors?gatway=a", 400, "known are: gateway, quantity, limit, cursor"),
        ("GET", "/api/v1/sensors?limit=5000", 400, "a whole number from 1 to 1000 expected"),
        ("GET", "/api/v1/sensors?cursor=zzz", 400, "cursor"),
        ("GET", "/api/v1/sensors/a:b/readings?from=yesterday", 400, "RFC 3339"),
        ("GET", "/api/v1/sensors/a:b/readings?from=5&to=4", 400, "5 is not before to, 4"),
        ("GET", "/api/v1/sensors/nobody:x", 404, "there is no sensor \"nobody:x\""),
        ("GET", "/api/v1/gateways/nobody", 404, "there is no gateway \"nobody\""),
        ("GET", "/api/v1/gateways/No%20Body", 404, "there is no gateway"),
        ("GET", "/api/v1/cells", 400, "quantity: missing"),
        ("GET", "/api/v1/cells?quantity=happiness", 400, "happiness"),
        ("GET", "/api/v1/cells?quantity=rainfall&precision=9", 400, "5, 6 or 7 expected"),
        ("GET", "/api/v1/cells?quantity=rainfall&window=2m", 400, "1m, 1h or 1d expected"),
        ("GET", "/api/v1/cells?quantity=rainfall&bbox=1,2,3", 400, "west,south,east,north"),
        ("GET", "/api/v1/sensors/a:b/series?step=2m", 400, "raw, 1m, 1h or 1d expected"),
        (
            "GET",
            "/api/v1/sensors/a:b/series?from=0&to=2592000000&step=1m",
            400,
            "43200 points, at most 10000",
        ),
        ("GET", "/api/v1/sensors/nobody:x/series", 404, "there is no sensor"),
        ("GET", "/api/v1/cells/wm3yr/series", 400, "quantity: missing"),
        ("GET", "/api/v1/cells/wm3yr/series?quantity=rainfall&step=raw", 400, "raw readings are of sensors"),
        ("GET", "/api/v1/cells/atlantis/series?quantity=rainfall", 404, "there is no cell"),
        ("GET", "/api/v1/cells/top?quantity=rainfall&by=smell", 400, "last, mean or max expected"),
        ("GET", "/api/v1/cells/top?quantity=rainfall&limit=0", 400, "from 1 to 1000 expected"),
        ("GET", "/api/v1/coverage?patience=5", 400, "90s, 5m, 2h or 1d expected"),
        ("GET", "/api/v1/coverage?precision=8", 400, "5, 6 or 7 expected"),
        ("POST", "/api/v1/quarantine/x/replay", 400, "is not a number"),
        ("POST", "/api/v1/quarantine/5/replay", 404, "there is no quarantined message"),
    ] {
        let answer = ask(city.http(), method, path, &[], b"").await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{method} {path}");
        let problem = answer.json();
        assert_eq!(problem["status"], json!(status));
        assert!(problem["detail"].as_str().unwrap().contains(expected), "{expected:?} not in {problem}");
        for key in ["type", "title", "title_zh", "detail_zh"] {
            assert!(!problem[key].as_str().unwrap().is_empty(), "{path}: {key}");
        }
    }
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_web_pages_get_nothing() {
    let city = City::start().await;
    let rebound = ask(city.http(), "GET", "/api/v1/stats", &[("host", "evil.example")], b"").await;
    assert_eq!(rebound.status, 403, "{}", rebound.text());
    let foreign =
        ask(city.http(), "POST", "/api/v1/quarantine/1/replay", &[("origin", "https://evil.example")], b"")
            .await;
    assert_eq!(foreign.status, 403, "{}", foreign.text());
    let answer = ask(city.http(), "GET", "/api/v1/stats", &[("origin", "https://evil.example")], b"").await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert!(answer.header("content-security-policy").unwrap().starts_with("default-src 'self'"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_served_whole_and_cached_by_tag() {
    let city = City::start().await;
    let page = ask(city.http(), "GET", "/", &[], b"").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for address in ["/first", "/verify"] {
        assert_eq!(ask(city.http(), "GET", address, &[], b"").await.body, page.body, "{address}");
    }
    // Everything the page and its modules name is there.
    let mut wanted: Vec<String> = names(&page.text(), "/console/");
    let mut seen = std::collections::BTreeSet::new();
    while let Some(name) = wanted.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let file = ask(city.http(), "GET", &format!("/console/{name}"), &[], b"").await;
        assert_eq!(file.status, 200, "/console/{name}");
        let tag = file.header("etag").unwrap();
        let again =
            ask(city.http(), "GET", &format!("/console/{name}"), &[("if-none-match", tag)], b"").await;
        assert_eq!((again.status, again.body.len()), (304, 0), "/console/{name}");
        if name.ends_with(".js") {
            assert_eq!(file.header("content-type"), Some("text/javascript; charset=utf-8"));
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            let inside = names(&file.text(), "from './").into_iter().map(|to| match folder {
                "" => to,
                folder => format!("{folder}/{to}"),
            });
            wanted.extend(inside.chain(names(&file.text(), "from '../")));
        }
    }
    assert!(seen.len() > 10, "{seen:?}");
    city.stop().await;
}

/// What follows `marker` up to a quote.
fn names(text: &str, marker: &str) -> Vec<String> {
    text.split(marker).skip(1).filter_map(|rest| rest.split(['"', '\'']).next()).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happens() {
    let city = lively().await;
    let answer = ask(city.http(), "GET", "/metrics", &[], b"").await;
    assert!(answer.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text();
    for line in [
        "watchfire_ingest_readings_total{outcome=\"accepted\"} 2",
        "watchfire_ingest_frames_total{lane=\"alarm\"} 1",
        "watchfire_ingest_mqtt_publishes_total{outcome=\"refused\"} 1",
        "# EOF",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} not in:\n{text}");
    }
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged() {
    let city = City::start().await;
    for n in 0..5 {
        let id = format!("box-{n}");
        let gateway = Client::new(city.mqtt(), &id);
        assert_eq!(gateway.publish(&up(&id, Lane::Reading), &readings(&id, 1, &[20.0])).await, Ok(()));
    }
    for list in ["gateways", "sensors"] {
        city.until(&format!("/api/v1/{list}"), |v| v["items"].as_array().unwrap().len() == 5).await;
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = city.get(&format!("/api/v1/{list}?limit=2{cursor}")).await;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2);
            seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let mut once = seen.clone();
        once.dedup();
        assert_eq!((seen.len(), once.len()), (5, 5), "{seen:?}");
    }
    let of_one = city.get("/api/v1/sensors?gateway=box-3").await;
    assert_eq!(of_one["items"][0]["id"], json!("box-3:hall.t"));
    city.stop().await;
}
