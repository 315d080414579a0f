//! Seals.

use seal::grant::Id;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Error, Row as _};
use wire::{Area, GatewayId};

use super::{fixed, fixed_or_none, key, number, within, word};
use crate::office::book::Book;
use crate::office::earlier::Earlier;
use crate::people::role::Scope;

const BOOK: &str = "name, area, gateway, device_key, policy, epoch, next_sequence, min_sequence, cleared, is_locked, \
                    receipts, last_receipt, counter, tampered, heard_ms, doubted, duress, began";

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
        began: number(row, "began")?,
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

/// Seals in these areas by name, those behind `after`.
pub(in crate::office) async fn books(
    connection: &mut AnyConnection,
    areas: &[Scope],
    after: &str,
    limit: i64,
) -> Result<Vec<Book>, Error> {
    let (within, areas) = within(areas, 2);
    let sql = format!("SELECT {BOOK} FROM seals WHERE name > $1 AND ({within}) ORDER BY name LIMIT {limit}");
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(after);
    let query = areas.into_iter().fold(query, |query, area| query.bind(area));
    query.fetch_all(connection).await?.iter().map(book_from).collect()
}

pub(in crate::office) async fn put_book(connection: &mut AnyConnection, book: &Book) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO seals ({BOOK}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) \
         ON CONFLICT (name) DO UPDATE SET area = excluded.area, gateway = excluded.gateway, \
         device_key = excluded.device_key, policy = excluded.policy, epoch = excluded.epoch, \
         next_sequence = excluded.next_sequence, min_sequence = excluded.min_sequence, cleared = excluded.cleared, \
         is_locked = excluded.is_locked, receipts = excluded.receipts, last_receipt = excluded.last_receipt, \
         counter = excluded.counter, tampered = excluded.tampered, heard_ms = excluded.heard_ms, \
         doubted = excluded.doubted, duress = excluded.duress, began = excluded.began"
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
        .bind(book.began as i64)
        .execute(connection)
        .await?;
    Ok(())
}

const EARLIER: &str =
    "public, until_s, head, next_sequence, min_sequence, receipts, last_receipt, counter, late";

fn earlier_from(row: &AnyRow) -> Result<Earlier, Error> {
    Ok(Earlier {
        key: key(row, "public")?,
        until_s: number(row, "until_s")?,
        head: number(row, "head")?,
        next_sequence: number(row, "next_sequence")?,
        min_sequence: number(row, "min_sequence")?,
        receipts: number(row, "receipts")?,
        last_receipt: fixed(row, "last_receipt")?.into(),
        counter: number(row, "counter")?,
        late: number(row, "late")?,
    })
}

/// The keys that a seal had before.
pub(in crate::office) async fn earlier_keys(
    connection: &mut AnyConnection,
    seal: &str,
) -> Result<Vec<Earlier>, Error> {
    let sql = format!("SELECT {EARLIER} FROM earlier_keys WHERE seal = $1");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(seal).fetch_all(connection).await?;
    rows.iter().map(earlier_from).collect()
}

pub(in crate::office) async fn put_earlier_key(
    connection: &mut AnyConnection,
    seal: &str,
    earlier: &Earlier,
) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO earlier_keys (seal, {EARLIER}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         ON CONFLICT (seal, public) DO UPDATE SET until_s = excluded.until_s, head = excluded.head, \
         next_sequence = excluded.next_sequence, min_sequence = excluded.min_sequence, receipts = excluded.receipts, \
         last_receipt = excluded.last_receipt, counter = excluded.counter, late = excluded.late"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(seal)
        .bind(earlier.key.bytes())
        .bind(earlier.until_s as i64)
        .bind(earlier.head as i64)
        .bind(earlier.next_sequence as i64)
        .bind(earlier.min_sequence as i64)
        .bind(earlier.receipts as i64)
        .bind(&earlier.last_receipt[..])
        .bind(earlier.counter as i64)
        .bind(earlier.late as i64)
        .execute(connection)
        .await?;
    Ok(())
}
