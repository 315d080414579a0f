//! One record ↔ one row.

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Error, Row};

use super::{GatewayRow, SensorRow};
use crate::admit::Reason;
use crate::pool::alarms::{Alarm, level_word, measure_word};
use crate::pool::sensors::Words;
use crate::pool::{Envelope, Seen};
use crate::quarantine::{Held, HeldKind};
use crate::views::QuarantineView;

/// A double, or the null that becomes one: sqlx 0.9 mixes up the nulls of f32 and f64, and PostgreSQL refuses what a
/// statement is given after the wrong one.
fn bind_double<'q>(query: Query<'q, Any, AnyArguments>, value: Option<f64>) -> Query<'q, Any, AnyArguments> {
    match value {
        Some(value) => query.bind(value),
        None => query.bind(None::<f32>),
    }
}

pub(super) async fn gateway(connection: &mut AnyConnection, row: &GatewayRow) -> Result<(), Error> {
    let query = sqlx::query(
        "INSERT INTO gateways (id, area, board, version, lat, lon, first_heard_ms, last_heard_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (id) DO UPDATE SET area = excluded.area, board = excluded.board, version = excluded.version, \
         lat = excluded.lat, lon = excluded.lon, last_heard_ms = excluded.last_heard_ms",
    )
    .bind(row.id.as_str())
    .bind(row.area.as_str())
    .bind(row.board.as_deref())
    .bind(row.version.as_deref());
    let query = bind_double(query, row.place.map(|place| place.0));
    let query = bind_double(query, row.place.map(|place| place.1));
    query.bind(row.first_heard_ms).bind(row.last_heard_ms).execute(connection).await?;
    Ok(())
}

/// Sensors of one statement. A statement costs two changes of thread, so more are better; but each named value is
/// looked for among all before it, so 256 take three times as long as one by one.
pub(super) const SENSORS: usize = 16;

/// Writes sensors with different numbers, at most [`SENSORS`]; all with words, or all without: those keep theirs.
pub(super) async fn sensors(connection: &mut AnyConnection, rows: &[&SensorRow]) -> Result<(), Error> {
    let mut sql =
        "INSERT INTO sensors (number, gateway, sensor, quantity, label, chip, lat, lon, area) VALUES "
            .to_owned();
    for (first, comma) in
        (1..).step_by(9).zip(std::iter::once("").chain(std::iter::repeat(", "))).take(rows.len())
    {
        let values: Vec<String> = (first..first + 9).map(|value| format!("${value}")).collect();
        sql.push_str(&format!("{comma}({})", values.join(", ")));
    }
    sql.push_str(
        " ON CONFLICT (number) DO UPDATE SET gateway = excluded.gateway, sensor = excluded.sensor, \
         quantity = excluded.quantity, lat = excluded.lat, lon = excluded.lon, area = excluded.area",
    );
    if rows.first().is_some_and(|row| row.words.is_some()) {
        sql.push_str(", label = excluded.label, chip = excluded.chip");
    }
    // Only a full one comes again and again.
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(rows.len() == SENSORS);
    for row in rows {
        query = query
            .bind(i64::from(row.number))
            .bind(row.gateway.as_str())
            .bind(row.sensor.as_str())
            .bind(i64::from(row.quantity))
            .bind(row.words.as_ref().map_or("", |words| &words.label))
            .bind(row.words.as_ref().map_or("", |words| &words.chip))
            .bind(row.place.0)
            .bind(row.place.1)
            .bind(row.area.as_str());
    }
    query.execute(connection).await?;
    Ok(())
}

pub(super) async fn alarm(connection: &mut AnyConnection, alarm: &Alarm) -> Result<(), Error> {
    let query = sqlx::query(
        "INSERT INTO alarms (gateway, episode, rule, level, state, sensor, quantity, raised_ms, last_ms, cleared_ms, \
         value, threshold, lat, lon, area, rule_version, measure, worst, repeated_ms, inputs) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) \
         ON CONFLICT (gateway, episode) DO UPDATE SET level = excluded.level, state = excluded.state, \
         raised_ms = excluded.raised_ms, last_ms = excluded.last_ms, cleared_ms = excluded.cleared_ms, \
         value = excluded.value, threshold = excluded.threshold, rule_version = excluded.rule_version, \
         measure = excluded.measure, worst = excluded.worst, repeated_ms = excluded.repeated_ms, \
         inputs = excluded.inputs",
    )
    .bind(alarm.gateway.as_str())
    .bind(format!("{:016x}", alarm.episode))
    .bind(alarm.rule.as_str())
    .bind(level_word(alarm.level))
    .bind(alarm.state.as_str())
    .bind(alarm.sensor.as_str())
    .bind(i64::from(alarm.quantity.0))
    .bind(alarm.raised_ms)
    .bind(alarm.last_ms)
    .bind(alarm.cleared_ms);
    let query = bind_double(query, alarm.value)
        .bind(alarm.threshold)
        .bind(f64::from(alarm.lat_e7) / 1e7)
        .bind(f64::from(alarm.lon_e7) / 1e7)
        .bind(alarm.area.as_str())
        .bind(format!("{:08x}", alarm.rule_version))
        .bind(measure_word(alarm.measure));
    let query = bind_double(query, alarm.worst);
    query.bind(alarm.repeated_ms).bind(inputs_json(alarm)).execute(connection).await?;
    Ok(())
}

fn inputs_json(alarm: &Alarm) -> String {
    let inputs: Vec<serde_json::Value> = (alarm.inputs.iter())
        .map(|input| {
            serde_json::json!({
                "sensor": input.sensor.as_str(), "quantity": input.quantity.0, "value": input.value,
                "quality": input.quality.as_str(), "at_ms": input.at_ms, "alarming": input.alarming,
            })
        })
        .collect();
    serde_json::Value::from(inputs).to_string()
}

pub(super) fn words(row: &AnyRow) -> Result<(u32, Words), Error> {
    let number = u32::try_from(row.try_get::<i64, _>("number")?).map_err(|e| Error::Decode(e.into()))?;
    Ok((number, Words { label: row.try_get("label")?, chip: row.try_get("chip")? }))
}

/// Whether it was new.
pub(super) async fn held(connection: &mut AnyConnection, held: &Held) -> Result<bool, Error> {
    let done = sqlx::query(
        "INSERT INTO quarantine (id, received_ms, source, kind, reason, detail, bytes, state, body, memo) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'held', $8, $9) ON CONFLICT (id) DO NOTHING",
    )
    .bind(held.id as i64)
    .bind(held.received_ms)
    .bind(held.source.as_str())
    .bind(held.kind.as_str())
    .bind(held.reason.as_str())
    .bind(held.detail.as_str())
    .bind(held.body.len() as i64)
    .bind(held.body.as_slice())
    .bind(held.memo.as_slice())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Puts something that a seal has sent where the office finds it.
pub(super) async fn envelope(connection: &mut AnyConnection, envelope: &Envelope) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO seal_inbox (number, gateway, received_ms, envelope) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (number) DO NOTHING",
    )
    .bind(envelope.number as i64)
    .bind(envelope.gateway.as_str())
    .bind(envelope.received_ms)
    .bind(envelope.bytes.as_slice())
    .execute(connection)
    .await?;
    Ok(())
}

/// Most parts of photographs that wait: 100 MB of one gateway, and 1.6 GB of all. A gateway sends one photograph after the
/// other, and the office takes it out as soon as it is whole and a receipt names it.
pub(super) const PARTS: [i64; 2] = [4096, 16 * 4096];

/// The same with a part of a photograph, and at most so many of its gateway and of all. What there is no room for displaces the oldest: a photograph that does not come is
/// found by its receipt.
pub(super) async fn picture(
    connection: &mut AnyConnection,
    seen: &Seen,
    [of_gateway, of_all]: [i64; 2],
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO picture_parts (digest, gateway, start, total, number, part) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (digest, gateway, start) DO NOTHING",
    )
    .bind(seen.part.digest.as_slice())
    .bind(seen.gateway.as_str())
    .bind(i64::from(seen.part.offset))
    .bind(i64::from(seen.part.total))
    .bind(seen.number as i64)
    .bind(seen.part.bytes.as_slice())
    .execute(&mut *connection)
    .await?;
    for (whose, most) in [("gateway = $1", of_gateway), ("$1 = $1", of_all)] {
        let newest = format!(
            "SELECT number FROM picture_parts WHERE {whose} ORDER BY number DESC LIMIT 1 OFFSET {most}"
        );
        let sql = format!("DELETE FROM picture_parts WHERE {whose} AND number <= ({newest})");
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(seen.gateway.as_str()).execute(&mut *connection).await?;
    }
    Ok(())
}

pub(super) async fn held_state(connection: &mut AnyConnection, id: u64, state: &str) -> Result<(), Error> {
    // What was replayed stays replayed, whatever is tried afterwards.
    sqlx::query("UPDATE quarantine SET state = $1 WHERE id = $2 AND state <> 'replayed'")
        .bind(state)
        .bind(id as i64)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) fn quarantine_view(row: &AnyRow) -> Result<QuarantineView, Error> {
    let word: String = row.try_get("reason")?;
    let reason = Reason::from_word(&word).unwrap_or(Reason::Malformed);
    Ok(QuarantineView {
        id: row.try_get::<i64, _>("id")? as u64,
        received_ms: row.try_get("received_ms")?,
        source: row.try_get("source")?,
        kind: row.try_get("kind")?,
        reason: word,
        zh: reason.zh(),
        en: reason.en(),
        detail: row.try_get("detail")?,
        bytes: row.try_get::<i64, _>("bytes")?.max(0) as u64,
        state: row.try_get("state")?,
    })
}

pub(super) fn held_from(row: &AnyRow) -> Result<Held, Error> {
    let unreadable = |what: String| Error::Decode(what.into());
    let kind: String = row.try_get("kind")?;
    let reason: String = row.try_get("reason")?;
    Ok(Held {
        id: row.try_get::<i64, _>("id")? as u64,
        received_ms: row.try_get("received_ms")?,
        source: row.try_get("source")?,
        kind: HeldKind::from_word(&kind).ok_or_else(|| unreadable(format!("kind {kind:?}")))?,
        reason: Reason::from_word(&reason).ok_or_else(|| unreadable(format!("reason {reason:?}")))?,
        detail: row.try_get("detail")?,
        body: row.try_get("body")?,
        memo: row.try_get("memo")?,
    })
}
