//! The statements. `$1` is understood by SQLite and PostgreSQL alike.

use std::collections::HashMap;

use sqlx::AnyConnection;
use sqlx::any::AnyRow;
use sqlx::{Connection, Row};

use super::rows;
use super::{SensorRow, Write};
use crate::database;
use crate::pool::sensors::Words;
use crate::quarantine::Held;
use crate::views::{Page, QuarantineView};

/// What an entry of the quarantine costs beside its body, in bytes: bounds entries with empty bodies too.
const OVERHEAD: i64 = 512;
/// Oldest entries dropped at once when the quarantine is full.
const DROP: i64 = 64;

/// One connection.
pub(super) struct Database {
    url: String,
    connection: AnyConnection,
    limit_bytes: i64,
    /// What the quarantine holds, body and overhead.
    held_bytes: i64,
}

impl Database {
    pub(super) async fn open(url: &str, limit_bytes: u64) -> Result<Self, sqlx::Error> {
        let mut connection = database::open(url).await?;
        let held_bytes = held_bytes(&mut connection).await?;
        let limit_bytes = i64::try_from(limit_bytes).unwrap_or(i64::MAX);
        Ok(Self { url: url.to_owned(), connection, limit_bytes, held_bytes })
    }

    /// Writes all or nothing; returns how many entries of the quarantine had to go.
    pub(super) async fn write(&mut self, writes: &[Write]) -> Result<u64, sqlx::Error> {
        let written = self.try_write(writes).await;
        if written.is_err() {
            // A server may have gone away: the next try gets a fresh connection.
            if let Ok(connection) = database::connect(&self.url).await {
                self.connection = connection;
                self.held_bytes = held_bytes(&mut self.connection).await.unwrap_or(self.held_bytes);
            }
        }
        written
    }

    async fn try_write(&mut self, writes: &[Write]) -> Result<u64, sqlx::Error> {
        let mut held_bytes = self.held_bytes;
        let mut transaction = self.connection.begin().await?;
        // Rows of sensors in ascending order of their numbers share statements: a city has millions of them.
        let mut sensors: Vec<&SensorRow> = Vec::new();
        for write in writes {
            if let Write::Sensor(row) = write {
                let fits = |last: &&SensorRow| {
                    last.number < row.number && last.words.is_some() == row.words.is_some()
                };
                if sensors.len() == rows::SENSORS || !sensors.last().is_none_or(fits) {
                    rows::sensors(&mut transaction, &std::mem::take(&mut sensors)).await?;
                }
                sensors.push(row);
                continue;
            }
            match write {
                Write::Gateway(row) => rows::gateway(&mut transaction, row).await?,
                Write::Sensor(_) => {}
                Write::Alarm(alarm) => rows::alarm(&mut transaction, alarm).await?,
                Write::Held(held) => {
                    if rows::held(&mut transaction, held).await? {
                        held_bytes += held.body.len() as i64 + OVERHEAD;
                    }
                }
                Write::Envelope(envelope) => rows::envelope(&mut transaction, envelope).await?,
                Write::Picture(seen) => rows::picture(&mut transaction, seen, rows::PARTS).await?,
                Write::HeldState(id, state) => rows::held_state(&mut transaction, *id, state).await?,
            }
        }
        if !sensors.is_empty() {
            rows::sensors(&mut transaction, &sensors).await?;
        }
        let mut dropped = 0;
        while held_bytes > self.limit_bytes {
            let (entries, bytes) = drop_oldest(&mut transaction).await?;
            if entries == 0 {
                break;
            }
            dropped += entries;
            held_bytes -= bytes + entries as i64 * OVERHEAD;
        }
        transaction.commit().await?;
        self.held_bytes = held_bytes;
        Ok(dropped)
    }

    pub(super) async fn list(
        &mut self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<QuarantineView>, sqlx::Error> {
        let before = before.and_then(|id| i64::try_from(id).ok()).unwrap_or(i64::MAX);
        let found: Vec<AnyRow> = sqlx::query(
            "SELECT id, received_ms, source, kind, reason, detail, bytes, state FROM quarantine \
             WHERE id < $1 ORDER BY id DESC LIMIT $2",
        )
        .bind(before)
        .bind(limit as i64 + 1)
        .fetch_all(&mut self.connection)
        .await?;
        let mut items = found.iter().map(rows::quarantine_view).collect::<Result<Vec<_>, _>>()?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(|item| item.id.to_string()) } else { None };
        Ok(Page { items, next })
    }

    pub(super) async fn find(&mut self, id: u64) -> Result<Option<Held>, sqlx::Error> {
        let row = sqlx::query(
            "SELECT id, received_ms, source, kind, reason, detail, body, memo FROM quarantine WHERE id = $1",
        )
        .bind(id as i64)
        .fetch_optional(&mut self.connection)
        .await?;
        row.as_ref().map(rows::held_from).transpose()
    }

    pub(super) async fn words(&mut self, numbers: &[u32]) -> Result<HashMap<u32, Words>, sqlx::Error> {
        let mut words = HashMap::with_capacity(numbers.len());
        for asked in numbers.chunks(ASKED) {
            let query = sqlx::query(
                "SELECT number, label, chip FROM sensors WHERE number IN ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, \
                 $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, \
                 $30, $31, $32)",
            );
            // Places that are left over ask for the last one again.
            let last = asked.last().copied().unwrap_or_default();
            let places = asked.iter().copied().chain(std::iter::repeat(last)).take(ASKED);
            let query = places.fold(query, |query, number| query.bind(i64::from(number)));
            for row in query.fetch_all(&mut self.connection).await? {
                let (number, found) = rows::words(&row)?;
                words.insert(number, found);
            }
        }
        Ok(words)
    }
}

/// Sensors asked for at once: as many as [`Database::words`] has places for.
const ASKED: usize = 32;

#[cfg(test)]
impl Database {
    /// Takes a part of a photograph: 3 of its gateway at most, and 5 of all.
    pub(super) async fn picture(&mut self, seen: &crate::pool::Seen) {
        rows::picture(&mut self.connection, seen, [3, 5]).await.unwrap();
    }

    /// The only value of the only row.
    pub(super) async fn one_text(&mut self, sql: &'static str) -> Result<String, sqlx::Error> {
        sqlx::query(sql).fetch_one(&mut self.connection).await?.try_get(0)
    }
}

async fn held_bytes(connection: &mut AnyConnection) -> Result<i64, sqlx::Error> {
    // The cast: PostgreSQL sums whole numbers to a decimal.
    let row = sqlx::query(
        "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes, COUNT(*) AS entries FROM quarantine",
    )
    .fetch_one(connection)
    .await?;
    Ok(row.try_get::<i64, _>("bytes")? + row.try_get::<i64, _>("entries")? * OVERHEAD)
}

async fn drop_oldest(connection: &mut AnyConnection) -> Result<(u64, i64), sqlx::Error> {
    let oldest: Vec<AnyRow> = sqlx::query("SELECT id, bytes FROM quarantine ORDER BY id LIMIT $1")
        .bind(DROP)
        .fetch_all(&mut *connection)
        .await?;
    let Some(last) = oldest.last() else { return Ok((0, 0)) };
    let last: i64 = last.try_get("id")?;
    let bytes = oldest.iter().map(|row| row.try_get::<i64, _>("bytes")).sum::<Result<i64, _>>()?;
    sqlx::query("DELETE FROM quarantine WHERE id <= $1").bind(last).execute(connection).await?;
    Ok((oldest.len() as u64, bytes))
}
