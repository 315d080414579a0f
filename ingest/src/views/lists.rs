//! Health, counts and the lists: gateways, sensors, quantities, alarms, quarantine.

use configs::{Gauges, Hazard, Quantity};
use wire::{ClockState, GatewayId, LossReason, Measure, QuantityCode, SensorName};

use super::{
    AlarmInputView, AlarmView, BacklogView, CheckView, GatewayDetail, GatewayView, GaugeView, HealthView,
    LaneView, LastView, LossView, Page, PageQuery, QuantityBrief, QuantityView, QuarantineView, ReplayView,
    SensorView, StatsView, ViewError,
};
use crate::admit::Refusal;
use crate::cell::Cell;
use crate::counters::Part;
use crate::engine::{Engine, Stopped};
use crate::pool::State;
use crate::pool::alarms::{Alarm, AlarmState, level_word, measure_word};
use crate::pool::apply::{Known, encode, kind};
use crate::pool::gateways::Gateway;
use crate::pool::sensors::{Sensor, Words};
use crate::pool::windows::BASE_PRECISION;
use crate::quarantine::Judge;
use crate::registry::AskError;

/// A gateway heard within this is live, in milliseconds.
const LIVE_MS: i64 = 30_000;
/// A gateway heard within this is late; then it is silent.
const LATE_MS: i64 = 300_000;

impl From<Stopped> for ViewError {
    fn from(_: Stopped) -> Self {
        ViewError::Stopped
    }
}

impl From<AskError> for ViewError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Busy => ViewError::Storage("the database is busy: ask again in a moment".into()),
            AskError::Ended => ViewError::Stopped,
            AskError::Database(why) => ViewError::Storage(why),
        }
    }
}

fn degrees(e7: i32) -> f64 {
    f64::from(e7) / 1e7
}

/// The word used in JSON.
fn clock_word(clock: ClockState) -> &'static str {
    match clock {
        ClockState::Unset => "unset",
        ClockState::HeldOver => "held_over",
        ClockState::Synchronised => "synchronised",
    }
}

fn hazard_word(hazard: Hazard) -> &'static str {
    match hazard {
        Hazard::None => "none",
        Hazard::Fire => "fire",
        Hazard::Flood => "flood",
        Hazard::Air => "air",
        Hazard::Equipment => "equipment",
        Hazard::Security => "security",
        Hazard::Collapse => "collapse",
    }
}

fn brief(quantity: &Quantity) -> QuantityBrief {
    QuantityBrief {
        code: quantity.code.0,
        name: quantity.name.clone(),
        unit: quantity.unit.clone(),
        zh: quantity.label_zh.clone(),
        en: quantity.label_en.clone(),
        min: quantity.min,
        max: quantity.max,
    }
}

/// What is known of a quantity, also of one that the catalogue does not hold (a sensor may be announced before).
fn brief_of(state: &State, code: QuantityCode) -> QuantityBrief {
    state.rules.catalogue.get(code).map_or_else(
        || QuantityBrief {
            code: code.0,
            name: format!("unknown-{}", code.0),
            unit: String::new(),
            zh: "未知物理量".into(),
            en: "Unknown quantity".into(),
            min: f64::MIN,
            max: f64::MAX,
        },
        brief,
    )
}

fn gateway_view(state: &State, id: &GatewayId, gateway: &Gateway, now_ms: i64) -> GatewayView {
    let age_ms = now_ms.saturating_sub(gateway.last_heard_ms);
    let gauge = |lane: &str| gateway.gauges.get(&format!("backlog.{lane}")).copied();
    GatewayView {
        id: id.to_string(),
        area: gateway.area.clone(),
        lat: gateway.place.map(|place| degrees(place.0)),
        lon: gateway.place.map(|place| degrees(place.1)),
        board: gateway.board.clone(),
        version: gateway.version.clone(),
        last_heard_ms: gateway.last_heard_ms,
        state: if age_ms <= LIVE_MS {
            "live"
        } else if age_ms <= LATE_MS {
            "late"
        } else {
            "silent"
        },
        clock: gateway.clock.map(clock_word),
        sensors: state.sensors.count_of(id),
        backlog: match (gauge("alarm"), gauge("reading"), gauge("health")) {
            (None, None, None) => None,
            (alarm, reading, health) => Some(BacklogView {
                alarm: alarm.unwrap_or(0.0),
                reading: reading.unwrap_or(0.0),
                health: health.unwrap_or(0.0),
            }),
        },
        lanes: None,
        health: None,
    }
}

/// A gateway without lanes and gauges, as events carry it.
pub(crate) fn gateway_brief(state: &State, id: &GatewayId, now_ms: i64) -> Option<GatewayView> {
    state.gateways.get(id).map(|entry| gateway_view(state, id, entry, now_ms))
}

fn lane_views(state: &State, id: &GatewayId) -> Vec<LaneView> {
    let door = state.door.lock();
    let view = |(store, lane, ledger): (u64, wire::Lane, &crate::pool::ledger::LaneLedger)| LaneView {
        lane: lane.as_str(),
        store: format!("{store:016x}"),
        high_water: ledger.high_water(),
        missing: ledger.missing(),
        lost: ledger.lost(),
        state: match (ledger.missing(), ledger.lost()) {
            (0, 0) => "complete",
            (0, _) => "lost",
            _ => "arriving",
        },
    };
    door.ledger.lanes(id).map(view).collect()
}

/// A sensor as the state knows it, with its number while its words have to be asked of the database.
fn sensor_view(state: &State, sensor: Sensor<'_>) -> (Option<u32>, SensorView) {
    let words = state.sensors.new_words(sensor.number);
    let view = SensorView {
        id: sensor.id(),
        gateway: sensor.gateway.to_string(),
        sensor: sensor.name.to_owned(),
        label: words.map(|words| words.label.clone()).unwrap_or_default(),
        chip: words.map(|words| words.chip.clone()).unwrap_or_default(),
        quantity: brief_of(state, sensor.quantity),
        lat: degrees(sensor.lat_e7),
        lon: degrees(sensor.lon_e7),
        cell: Cell::at_e7(sensor.lat_e7, sensor.lon_e7, BASE_PRECISION).to_string(),
        area: state.sensors.area(sensor.area).to_owned(),
        last: sensor.last.map(|last| LastView {
            at_ms: last.at_ms,
            value: last.value,
            quality: last.quality.as_str(),
            clock: clock_word(last.clock),
        }),
    };
    (words.is_none().then_some(sensor.number), view)
}

/// Puts in the words that are in the database.
async fn with_words(
    engine: &Engine,
    views: Vec<(Option<u32>, SensorView)>,
) -> Result<Vec<SensorView>, ViewError> {
    let numbers = views.iter().filter_map(|(number, _)| *number).collect();
    let mut words = engine.registry().words(numbers).await?;
    let fill = |(number, mut view): (Option<u32>, SensorView)| {
        if let Some(Words { label, chip }) = number.and_then(|number| words.remove(&number)) {
            (view.label, view.chip) = (label, chip);
        }
        view
    };
    Ok(views.into_iter().map(fill).collect())
}

/// An alarm as it is shown.
pub(crate) fn alarm(state: &State, alarm: &Alarm) -> AlarmView {
    let quantity = brief_of(state, alarm.quantity);
    let sensor_id = |sensor: &SensorName| format!("{}:{sensor}", alarm.gateway);
    let (over_ms, unit) = match alarm.measure {
        Measure::Value => (None, quantity.unit),
        Measure::Rise { over_ms } => (Some(over_ms), quantity.unit),
        Measure::Agreeing => (None, "1".to_owned()),
    };
    let inputs = (alarm.inputs.iter())
        .map(|input| {
            let quantity = brief_of(state, input.quantity);
            AlarmInputView {
                sensor: sensor_id(&input.sensor),
                quantity: quantity.name,
                value: input.value,
                unit: quantity.unit,
                quality: input.quality.as_str(),
                at_ms: input.at_ms,
                alarming: input.alarming,
            }
        })
        .collect();
    AlarmView {
        id: alarm.id(),
        gateway: alarm.gateway.to_string(),
        sensor: sensor_id(&alarm.sensor),
        quantity: quantity.name,
        rule: alarm.rule.clone(),
        level: level_word(alarm.level),
        state: alarm.state.as_str(),
        raised_ms: alarm.raised_ms,
        last_ms: alarm.last_ms,
        cleared_ms: alarm.cleared_ms,
        value: alarm.value,
        threshold: alarm.threshold,
        measure: measure_word(alarm.measure),
        over_ms,
        worst: alarm.worst,
        unit,
        repeated_ms: alarm.repeated_ms,
        rule_version: format!("{:08x}", alarm.rule_version),
        inputs,
        lat: degrees(alarm.lat_e7),
        lon: degrees(alarm.lon_e7),
        cell: Cell::at_e7(alarm.lat_e7, alarm.lon_e7, BASE_PRECISION).to_string(),
        area: alarm.area.clone(),
    }
}

/// Splits a city-wide sensor name.
pub(super) fn parse_sensor(id: &str) -> Option<(GatewayId, SensorName)> {
    let (gateway, name) = id.split_once(':')?;
    Some((GatewayId::new(gateway).ok()?, SensorName::new(name).ok()?))
}

/// Cuts a list that was fetched with one item too many.
fn page<T>(mut items: Vec<T>, length: usize, cursor: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > length;
    items.truncate(length);
    let next = if more { items.last().map(cursor) } else { None };
    Page { items, next }
}

fn bad_cursor(why: impl std::fmt::Display) -> ViewError {
    ViewError::BadQuery { field: "cursor", detail: format!("{why}; take it from `next` of the page before") }
}

/// Whether ingest can do its work.
pub async fn health(engine: &Engine) -> HealthView {
    let checks: Vec<CheckView> = (Part::ALL.into_iter())
        .map(|part| {
            let trouble = engine.counters().trouble(part);
            CheckView {
                name: part.as_str(),
                ok: trouble.is_none(),
                detail: trouble.unwrap_or_else(|| "ok".into()),
            }
        })
        .collect();
    let status = if checks.iter().all(|check| check.ok) { "ok" } else { "degraded" };
    HealthView { status, checks }
}

/// Counts of everything.
pub fn stats(engine: &Engine, now_ms: i64) -> StatsView {
    let counters = engine.counters();
    StatsView {
        started_ms: counters.started_ms(),
        now_ms,
        readings: counters.readings(),
        lanes: counters.lanes(),
        log: counters.log(),
        pool: counters.pool(),
    }
}

/// Gateways and sources, by name.
///
/// # Errors
/// [`ViewError`].
pub async fn gateways(
    engine: &Engine,
    query: PageQuery,
    now_ms: i64,
) -> Result<Page<GatewayView>, ViewError> {
    let length = query.length();
    let after = query.cursor.as_deref().map(GatewayId::new).transpose().map_err(bad_cursor)?;
    let items = engine
        .ask(move |state| {
            (state.gateways.after(after.as_ref()).take(length + 1))
                .map(|(id, entry)| GatewayView {
                    lanes: Some(lane_views(state, id)),
                    health: Some(entry.gauges.clone()),
                    ..gateway_view(state, id, entry, now_ms)
                })
                .collect::<Vec<_>>()
        })
        .await?;
    Ok(page(items, length, |item| item.id.clone()))
}

/// One gateway with its gauges, lanes and losses.
///
/// # Errors
/// [`ViewError`].
pub async fn gateway(engine: &Engine, id: &str, now_ms: i64) -> Result<GatewayDetail, ViewError> {
    let not_found = || ViewError::NotFound { what: "gateway", id: id.to_owned() };
    let gateway = GatewayId::new(id).map_err(|_| not_found())?;
    engine.ask(move |state| gateway_detail(state, &gateway, now_ms)).await?.ok_or_else(not_found)
}

fn gateway_detail(state: &State, id: &GatewayId, now_ms: i64) -> Option<GatewayDetail> {
    let entry = state.gateways.get(id)?;
    Some(GatewayDetail {
        gateway: GatewayView {
            lanes: Some(lane_views(state, id)),
            health: Some(entry.gauges.clone()),
            ..gateway_view(state, id, entry, now_ms)
        },
        gauges: entry.gauges.iter().map(|(name, value)| gauge_view(name, *value)).collect(),
        gauges_ms: (!entry.gauges.is_empty()).then_some(entry.gauges_ms),
        losses: (state.losses.of(id))
            .map(|loss| LossView {
                received_ms: loss.received_ms,
                store: format!("{:016x}", loss.store),
                lane: loss.lane.as_str(),
                from: loss.from,
                to: loss.to,
                count: loss.count,
                reason: loss_word(loss.reason),
            })
            .collect(),
    })
}

/// A gauge with its words; one that the catalogue does not hold goes by its name.
fn gauge_view(name: &str, value: f64) -> GaugeView {
    let (unit, zh, en) = match Gauges::builtin().get(name) {
        Some((gauge, None)) => (gauge.unit.clone(), gauge.label_zh.clone(), gauge.label_en.clone()),
        Some((gauge, Some(part))) => {
            let with = |label: &str| format!("{label} {part}");
            (gauge.unit.clone(), with(&gauge.label_zh), with(&gauge.label_en))
        }
        None => (String::new(), name.to_owned(), name.to_owned()),
    };
    GaugeView { name: name.to_owned(), value, unit, zh, en }
}

fn loss_word(reason: LossReason) -> &'static str {
    match reason {
        LossReason::Quota => "quota",
        LossReason::Thinned => "thinned",
        LossReason::Corrupt => "corrupt",
        LossReason::Refused => "refused",
    }
}

/// Sensors in the order they were first seen, of one gateway or quantity if asked for.
///
/// # Errors
/// [`ViewError`].
pub async fn sensors(
    engine: &Engine,
    of_gateway: Option<String>,
    of_quantity: Option<String>,
    query: PageQuery,
) -> Result<Page<SensorView>, ViewError> {
    let length = query.length();
    let from = query.cursor.as_deref().map(str::parse::<u32>).transpose().map_err(bad_cursor)?;
    let quantity = of_quantity.map(|name| quantity_code(engine, &name)).transpose()?;
    let gateway = of_gateway.map(|name| GatewayId::new(&name));
    if let Some(Err(_)) = gateway {
        return Ok(Page { items: Vec::new(), next: None });
    }
    let gateway = gateway.and_then(Result::ok);
    let found = engine
        .ask(move |state| {
            (state.sensors.select(gateway.as_ref(), quantity, from.unwrap_or(0)))
                .take(length + 1)
                .map(|sensor| (sensor.number, sensor_view(state, sensor)))
                .collect::<Vec<_>>()
        })
        .await?;
    let Page { items, next } = page(found, length, |(number, _)| (number + 1).to_string());
    let views = items.into_iter().map(|(_, view)| view).collect();
    Ok(Page { items: with_words(engine, views).await?, next })
}

/// One sensor by its city-wide name.
///
/// # Errors
/// [`ViewError`].
pub async fn sensor(engine: &Engine, id: &str) -> Result<SensorView, ViewError> {
    let not_found = || ViewError::NotFound { what: "sensor", id: id.to_owned() };
    let (gateway, name) = parse_sensor(id).ok_or_else(not_found)?;
    let found = engine
        .ask(move |state| {
            let number = state.sensors.find(&gateway, &name)?;
            state.sensors.get(number).map(|sensor| sensor_view(state, sensor))
        })
        .await?
        .ok_or_else(not_found)?;
    with_words(engine, vec![found]).await?.pop().ok_or_else(not_found)
}

/// All quantities of the catalogue, with how many sensors measure them.
///
/// # Errors
/// [`ViewError`].
pub async fn quantities(engine: &Engine) -> Result<Page<QuantityView>, ViewError> {
    let counts = engine.ask(|state| state.sensors.counts().clone()).await?;
    let all = engine.config().catalogue.all();
    let items = (all.into_iter())
        .map(|quantity| QuantityView {
            quantity: brief(quantity),
            hazard: hazard_word(quantity.hazard),
            sensors: counts.get(&quantity.code).copied().unwrap_or(0),
        })
        .collect();
    Ok(Page { items, next: None })
}

/// Alarms, those that changed last first; all of them or only those that go on.
///
/// # Errors
/// [`ViewError`].
pub async fn alarms(engine: &Engine, all: bool, query: PageQuery) -> Result<Page<AlarmView>, ViewError> {
    let length = query.length();
    let after = match &query.cursor {
        None => None,
        Some(text) => {
            let (last_ms, id) =
                text.split_once('/').ok_or_else(|| bad_cursor(format!("{text:?} is no cursor")))?;
            Some((std::cmp::Reverse(last_ms.parse::<i64>().map_err(bad_cursor)?), id.to_owned()))
        }
    };
    let items = engine
        .ask(move |state| {
            let mut found: Vec<((std::cmp::Reverse<i64>, String), &Alarm)> = (state.alarms.iter())
                .filter(|alarm| all || alarm.state != AlarmState::Cleared)
                .map(|alarm| ((std::cmp::Reverse(alarm.last_ms), alarm.id()), alarm))
                .filter(|(order, _)| after.as_ref().is_none_or(|after| order > after))
                .collect();
            found.sort_by(|a, b| a.0.cmp(&b.0));
            found.truncate(length + 1);
            found.into_iter().map(|(_, found)| alarm(state, found)).collect::<Vec<_>>()
        })
        .await?;
    Ok(page(items, length, |item| format!("{}/{}", item.last_ms, item.id)))
}

/// What is held in the quarantine, newest first.
///
/// # Errors
/// [`ViewError`].
pub async fn quarantine(engine: &Engine, query: PageQuery) -> Result<Page<QuarantineView>, ViewError> {
    let before = query.cursor.as_deref().map(str::parse::<u64>).transpose().map_err(bad_cursor)?;
    Ok(engine.registry().list(before, query.length()).await?)
}

/// Judges something in the quarantine by today's rules, and takes it when it passes.
///
/// # Errors
/// [`ViewError`].
pub async fn replay(engine: &Engine, id: u64, now_ms: i64) -> Result<ReplayView, ViewError> {
    let held = engine.registry().find(id).await?;
    let held = held.ok_or_else(|| ViewError::NotFound { what: "quarantined message", id: id.to_string() })?;
    let config = engine.config();
    let judge = Judge {
        registration: &config.registration,
        catalogue: &config.catalogue,
        mappings: &config.mappings,
    };
    match judge.again(&held) {
        Ok(replay) => {
            engine
                .append(kind::REPLAY, &held.source, encode(&replay), Known::Nothing, now_ms)
                .await
                .map_err(ViewError::Storage)?;
            Ok(ReplayView { id, state: "replayed", reason: None, zh: None, en: None, detail: None })
        }
        Err(Refusal { reason, detail }) => {
            engine.registry().mark(id, "refused_again")?;
            Ok(ReplayView {
                id,
                state: "refused_again",
                reason: Some(reason.as_str()),
                zh: Some(reason.zh()),
                en: Some(reason.en()),
                detail: Some(detail),
            })
        }
    }
}

/// The code of a quantity by its word.
pub(super) fn quantity_code(engine: &Engine, name: &str) -> Result<QuantityCode, ViewError> {
    engine.config().catalogue.by_name(name).map(|quantity| quantity.code).ok_or_else(|| ViewError::BadQuery {
        field: "quantity",
        detail: format!("{name:?} is not in the catalogue; GET /api/v1/quantities lists what is"),
    })
}
