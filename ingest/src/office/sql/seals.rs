//! Seals.

use seal::grant::Id;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Error, Row as _};
use wire::{Area, GatewayId};

use super::{fixed, fixed_or_none, key, number, word};
use crate::office::book::Book;

const BOOK: &str = "name, area, gateway, device_key, policy, epoch, next_sequence, min_sequence, cleared, is_locked, \
                    receipts, last_receipt, counter, tampered, heard_ms, doubted, duress";

fn book_from(row: &AnyRow) -> Result<Book, Error> {
    Ok(Book {
        seal: row.try_get("name")?,
        area: word(row, "area", Area::new)?,
        gateway: word(row, "gateway", GatewayId::new)?,
        key: key(row, "device_key")?,
        policy: number(row, "policy")?,
        epoch: number(row, "epoch")?,
        next_sequence: number(row, "next_sequence")?,
        min_sequence: number(row, "min_sequence")?,
        cleared: number(row, "cleared")?,
        is_locked: row.try_get::<i64, _>("is_locked")? != 0,
        receipts: number(row, "receipts")?,
        last_receipt: fixed(row, "last_receipt")?.into(),
        counter: number(row, "counter")?,
        tampered: number(row, "tampered")?,
        heard_ms: row.try_get("heard_ms")?,
        doubted: fixed_or_none(row, "doubted")?.map(Id::from),
        duress: number(row, "duress")?,
    })
}

pub(in crate::office) async fn book(
    connection: &mut AnyConnection,
    seal: &str,
) -> Result<Option<Book>, Error> {
    let sql = format!("SELECT {BOOK} FROM seals WHERE name = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(seal).fetch_optional(connection).await?;
    row.as_ref().map(book_from).transpose()
}

pub(in crate::office) async fn books(connection: &mut AnyConnection) -> Result<Vec<Book>, Error> {
    let sql = format!("SELECT {BOOK} FROM seals ORDER BY name");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(connection).await?;
    rows.iter().map(book_from).collect()
}

pub(in crate::office) async fn put_book(connection: &mut AnyConnection, book: &Book) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO seals ({BOOK}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
         ON CONFLICT (name) DO UPDATE SET area = excluded.area, gateway = excluded.gateway, \
         device_key = excluded.device_key, policy = excluded.policy, epoch = excluded.epoch, \
         next_sequence = excluded.next_sequence, min_sequence = excluded.min_sequence, cleared = excluded.cleared, \
         is_locked = excluded.is_locked, receipts = excluded.receipts, last_receipt = excluded.last_receipt, \
         counter = excluded.counter, tampered = excluded.tampered, heard_ms = excluded.heard_ms, \
         doubted = excluded.doubted, duress = excluded.duress"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(book.seal.as_str())
        .bind(book.area.as_str())
        .bind(book.gateway.as_str())
        .bind(book.key.bytes())
        .bind(i64::from(book.policy))
        .bind(i64::from(book.epoch))
        .bind(book.next_sequence as i64)
        .bind(book.min_sequence as i64)
        .bind(i64::from(book.cleared))
        .bind(i64::from(book.is_locked))
        .bind(book.receipts as i64)
        .bind(&book.last_receipt[..])
        .bind(book.counter as i64)
        .bind(i64::from(book.tampered))
        .bind(book.heard_ms)
        .bind(book.doubted.map(|nonce| nonce.to_vec()))
        .bind(book.duress as i64)
        .execute(connection)
        .await?;
    Ok(())
}
