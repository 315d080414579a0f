//! Photographs: which receipts name, and what has come of them.

use seal::keys::Digest;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Error, Row as _};

use super::{fixed, number};

/// Most that is looked at at once: the next time comes soon.
const AT_ONCE: i64 = 16;

/// A photograph that a receipt names and that has not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::office) struct Due {
    pub(in crate::office) digest: Digest,
    pub(in crate::office) receipt: Digest,
    pub(in crate::office) seal: String,
    pub(in crate::office) number: u64,
    pub(in crate::office) since_ms: i64,
    pub(in crate::office) is_told: bool,
}

const DUE: &str = "digest, receipt, seal, number, since_ms, is_told";

fn due_from(row: &AnyRow) -> Result<Due, Error> {
    Ok(Due {
        digest: fixed(row, "digest")?.into(),
        receipt: fixed(row, "receipt")?.into(),
        seal: row.try_get("seal")?,
        number: number(row, "number")?,
        since_ms: row.try_get("since_ms")?,
        is_told: row.try_get::<i64, _>("is_told")? != 0,
    })
}

pub(in crate::office) async fn put_due(connection: &mut AnyConnection, due: &Due) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO pictures_due ({DUE}) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (digest, receipt) DO UPDATE SET is_told = excluded.is_told"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(&due.digest[..])
        .bind(&due.receipt[..])
        .bind(due.seal.as_str())
        .bind(due.number as i64)
        .bind(due.since_ms)
        .bind(i64::from(due.is_told))
        .execute(connection)
        .await?;
    Ok(())
}

/// Photographs that somebody has waited for since then, and nobody has said so.
pub(in crate::office) async fn overdue(
    connection: &mut AnyConnection,
    since_ms: i64,
) -> Result<Vec<Due>, Error> {
    let sql = format!(
        "SELECT {DUE} FROM pictures_due WHERE is_told = 0 AND since_ms <= $1 ORDER BY since_ms LIMIT {AT_ONCE}"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(since_ms).fetch_all(connection).await?;
    rows.iter().map(due_from).collect()
}

/// All that waits for a photograph.
pub(in crate::office) async fn due(
    connection: &mut AnyConnection,
    digest: &Digest,
) -> Result<Vec<Due>, Error> {
    let sql = format!("SELECT {DUE} FROM pictures_due WHERE digest = $1");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&digest[..]).fetch_all(connection).await?;
    rows.iter().map(due_from).collect()
}

/// Photographs that receipts name and all of whose parts are there, by which gateway they came, and how many bytes these say
/// that they are of: parts of something else by the same name do not mix with them.
pub(in crate::office) async fn whole_pictures(
    connection: &mut AnyConnection,
) -> Result<Vec<(Digest, String, i64)>, Error> {
    let sql = format!(
        "SELECT digest, gateway, total FROM picture_parts WHERE digest IN (SELECT digest FROM pictures_due) \
         GROUP BY digest, gateway, total HAVING SUM(LENGTH(part)) >= total LIMIT {AT_ONCE}"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(connection).await?;
    let whole =
        |row: &AnyRow| Ok((fixed(row, "digest")?.into(), row.try_get("gateway")?, row.try_get("total")?));
    rows.iter().map(whole).collect()
}

/// The parts of a photograph that a gateway has sent, put together.
pub(in crate::office) async fn picture(
    connection: &mut AnyConnection,
    digest: &Digest,
    gateway: &str,
    total: i64,
) -> Result<Vec<u8>, Error> {
    let sql =
        "SELECT part FROM picture_parts WHERE digest = $1 AND gateway = $2 AND total = $3 ORDER BY start";
    let query = sqlx::query(sql).bind(&digest[..]).bind(gateway).bind(total);
    let rows = query.fetch_all(connection).await?;
    let mut bytes = Vec::new();
    for row in &rows {
        bytes.extend(row.try_get::<Vec<u8>, _>("part")?);
    }
    Ok(bytes)
}

/// Forgets what a gateway has sent of a photograph.
pub(in crate::office) async fn forget_parts(
    connection: &mut AnyConnection,
    digest: &Digest,
    gateway: &str,
    total: i64,
) -> Result<(), Error> {
    sqlx::query("DELETE FROM picture_parts WHERE digest = $1 AND gateway = $2 AND total = $3")
        .bind(&digest[..])
        .bind(gateway)
        .bind(total)
        .execute(connection)
        .await?;
    Ok(())
}

/// Forgets that somebody waits for a photograph.
pub(in crate::office) async fn forget_due(
    connection: &mut AnyConnection,
    digest: &Digest,
) -> Result<(), Error> {
    sqlx::query("DELETE FROM pictures_due WHERE digest = $1").bind(&digest[..]).execute(connection).await?;
    Ok(())
}
