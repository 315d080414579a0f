//! The office's statements. All of them are good to repeat: what was done before changes nothing.

use seal::keys::{Algorithm, PublicKey};
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Connection, Error, Row, Transaction};

mod cases;
mod delegations;
mod leaves;
mod letters;
mod receipts;
mod seals;

pub(super) use cases::*;
pub(super) use delegations::*;
pub(super) use leaves::*;
pub(super) use letters::*;
pub(super) use receipts::*;
pub(super) use seals::*;

/// Most rows that are listed at once.
pub(super) const PAGE: i64 = 200;

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

fn key_of(bytes: [u8; 32]) -> PublicKey {
    PublicKey { algorithm: Algorithm::Ed25519, bytes: bytes.into() }
}
