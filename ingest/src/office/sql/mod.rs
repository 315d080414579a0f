//! The office's statements. All of them are good to repeat: what was done before changes nothing.

use seal::keys::{Algorithm, PublicKey};
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Connection, Error, Row, Transaction};

use crate::people::role::Scope;

mod cases;
mod delegations;
mod leaves;
mod letters;
mod pictures;
mod receipts;
mod seals;

pub(super) use cases::*;
pub(super) use delegations::*;
pub(super) use leaves::*;
pub(super) use letters::*;
pub(super) use pictures::*;
pub(super) use receipts::*;
pub(super) use seals::*;

/// The condition that a row is of a seal in one of these areas, with the values that it takes from place `from` on. What is
/// of no known seal lies in the whole city only.
fn within(areas: &[Scope], from: usize) -> (String, Vec<String>) {
    let (mut tops, mut values) = (Vec::new(), Vec::new());
    for scope in areas {
        let Scope::Below(top) = scope else { return ("1 = 1".into(), Vec::new()) };
        // Level by level: a/b does not cover a/bc.
        let top = format!("{}/", top.as_str());
        tops.push(format!("substr(area || '/', 1, {}) = ${}", top.chars().count(), from + values.len()));
        values.push(top);
    }
    let any = if tops.is_empty() { "1 = 0".into() } else { tops.join(" OR ") };
    (any, values)
}

/// The same of rows that name their seal.
fn of_seals_within(areas: &[Scope], from: usize) -> (String, Vec<String>) {
    let (any, values) = within(areas, from);
    if values.is_empty() {
        (any, values)
    } else {
        (format!("seal IN (SELECT name FROM seals WHERE {any})"), values)
    }
}

/// Begins a transaction, with a write: one that reads first would fail on SQLite when another connection has written since.
pub(super) async fn begin(connection: &mut AnyConnection) -> Result<Transaction<'_, Any>, Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query("UPDATE office_turns SET nth = nth + 1").execute(&mut *transaction).await?;
    Ok(transaction)
}

fn fixed<const N: usize>(row: &AnyRow, column: &str) -> Result<[u8; N], Error> {
    let bytes: Vec<u8> = row.try_get(column)?;
    bytes.try_into().map_err(|_| Error::Decode(format!("{column} has not {N} bytes").into()))
}

fn fixed_or_none<const N: usize>(row: &AnyRow, column: &str) -> Result<Option<[u8; N]>, Error> {
    let bytes: Option<Vec<u8>> = row.try_get(column)?;
    let fixed = |bytes: Vec<u8>| {
        bytes.try_into().map_err(|_| Error::Decode(format!("{column} has not {N} bytes").into()))
    };
    bytes.map(fixed).transpose()
}

fn number<T: TryFrom<i64>>(row: &AnyRow, column: &str) -> Result<T, Error> {
    let value: i64 = row.try_get(column)?;
    T::try_from(value).map_err(|_| Error::Decode(format!("{column} is {value}").into()))
}

fn number_or_none(row: &AnyRow, column: &str) -> Result<Option<u64>, Error> {
    let value: Option<i64> = row.try_get(column)?;
    value.map(|value| u64::try_from(value).map_err(|error| Error::Decode(error.into()))).transpose()
}

fn word<T, E: std::error::Error + Send + Sync + 'static>(
    row: &AnyRow,
    column: &str,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, Error> {
    let text: String = row.try_get(column)?;
    read(&text).map_err(|error| Error::Decode(Box::new(error)))
}

/// A key. Which algorithm it is of, its length says: there are no two of one length.
fn key(row: &AnyRow, column: &str) -> Result<PublicKey, Error> {
    key_or_none(row, column)?.ok_or_else(|| Error::Decode(format!("{column} holds no key").into()))
}

fn key_or_none(row: &AnyRow, column: &str) -> Result<Option<PublicKey>, Error> {
    let Some(bytes) = row.try_get::<Option<Vec<u8>>, _>(column)? else { return Ok(None) };
    let known = Algorithm::ALL.into_iter().find_map(|algorithm| PublicKey::new(algorithm, &bytes));
    let none = || Error::Decode(format!("{column} with {} bytes is no key", bytes.len()).into());
    known.ok_or_else(none).map(Some)
}
