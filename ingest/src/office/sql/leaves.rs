//! What is signed, and where it lies in the log.

use seal::keys::Digest;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Error, Row as _};

use super::{fixed, number, number_or_none};

/// Something that is signed and stands in the log, or is about to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::office) struct Leaf {
    pub(in crate::office) digest: Digest,
    pub(in crate::office) kind: String,
    pub(in crate::office) seal: String,
    pub(in crate::office) at_ms: i64,
    pub(in crate::office) body: Vec<u8>,
    pub(in crate::office) index: Option<u64>,
}

pub(super) const LEAF: &str = "digest, kind, seal, at_ms, body, log_index";

pub(super) fn leaf_from(row: &AnyRow) -> Result<Leaf, Error> {
    Ok(Leaf {
        digest: fixed(row, "digest")?.into(),
        kind: row.try_get("kind")?,
        seal: row.try_get("seal")?,
        at_ms: row.try_get("at_ms")?,
        body: row.try_get("body")?,
        index: number_or_none(row, "log_index")?,
    })
}

/// Puts a leaf behind all others; whether it was new.
pub(in crate::office) async fn add_leaf(connection: &mut AnyConnection, leaf: &Leaf) -> Result<bool, Error> {
    let done = sqlx::query(
        "INSERT INTO leaves (digest, nth, kind, seal, at_ms, body) \
         VALUES ($1, (SELECT COALESCE(MAX(nth), 0) + 1 FROM leaves), $2, $3, $4, $5) ON CONFLICT (digest) DO NOTHING",
    )
    .bind(&leaf.digest[..])
    .bind(leaf.kind.as_str())
    .bind(leaf.seal.as_str())
    .bind(leaf.at_ms)
    .bind(leaf.body.as_slice())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub(in crate::office) async fn leaf(
    connection: &mut AnyConnection,
    digest: &Digest,
) -> Result<Option<Leaf>, Error> {
    let sql = format!("SELECT {LEAF} FROM leaves WHERE digest = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&digest[..]).fetch_optional(connection).await?;
    row.as_ref().map(leaf_from).transpose()
}

/// Leaves that are not in the log yet, in their order.
pub(in crate::office) async fn unlogged(
    connection: &mut AnyConnection,
    limit: i64,
) -> Result<Vec<Leaf>, Error> {
    let sql = format!("SELECT {LEAF} FROM leaves WHERE log_index IS NULL ORDER BY nth LIMIT $1");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(limit).fetch_all(connection).await?;
    rows.iter().map(leaf_from).collect()
}

/// Says where a leaf lies; false when there is no such leaf.
pub(in crate::office) async fn logged(
    connection: &mut AnyConnection,
    digest: &Digest,
    index: u64,
) -> Result<bool, Error> {
    let done = sqlx::query("UPDATE leaves SET log_index = $1 WHERE digest = $2")
        .bind(index as i64)
        .bind(&digest[..])
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// How many leaves have their place in the log.
pub(in crate::office) async fn log_size(connection: &mut AnyConnection) -> Result<u64, Error> {
    let row = sqlx::query("SELECT COALESCE(MAX(log_index) + 1, 0) AS size FROM leaves")
        .fetch_one(connection)
        .await?;
    number(&row, "size")
}

/// Seals for which something lies in the log between these places that they have to hear of.
pub(in crate::office) async fn seals_between(
    connection: &mut AnyConnection,
    from: u64,
    to: u64,
) -> Result<Vec<String>, Error> {
    let rows = sqlx::query(
        "SELECT DISTINCT seal FROM leaves WHERE log_index >= $1 AND log_index < $2 AND kind <> 'receipt'",
    )
    .bind(from as i64)
    .bind(to as i64)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| row.try_get("seal")).collect()
}

pub(in crate::office) async fn put_policy(
    connection: &mut AnyConnection,
    seal: &str,
    number: u32,
    digest: &Digest,
) -> Result<(), Error> {
    sqlx::query("INSERT INTO policies (seal, number, digest) VALUES ($1, $2, $3) ON CONFLICT (seal, number) DO NOTHING")
        .bind(seal)
        .bind(i64::from(number))
        .bind(&digest[..])
        .execute(connection)
        .await?;
    Ok(())
}

/// The newest rules of a seal.
pub(in crate::office) async fn policy(
    connection: &mut AnyConnection,
    seal: &str,
) -> Result<Option<Leaf>, Error> {
    let row = sqlx::query("SELECT digest FROM policies WHERE seal = $1 ORDER BY number DESC LIMIT 1")
        .bind(seal)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    leaf(connection, &fixed(&row, "digest")?.into()).await
}

/// The rules of a seal with this number.
pub(in crate::office) async fn policy_numbered(
    connection: &mut AnyConnection,
    seal: &str,
    number: u32,
) -> Result<Option<Leaf>, Error> {
    let row = sqlx::query("SELECT digest FROM policies WHERE seal = $1 AND number = $2")
        .bind(seal)
        .bind(i64::from(number))
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    leaf(connection, &fixed(&row, "digest")?.into()).await
}

/// Enrolments of a seal that came before something, newest first: more keys than a seal has in its life.
pub(in crate::office) async fn enrolments(
    connection: &mut AnyConnection,
    seal: &str,
    before: &Leaf,
) -> Result<Vec<Leaf>, Error> {
    let sql = format!(
        "SELECT {LEAF} FROM leaves WHERE seal = $1 AND kind = 'enrolment' \
         AND nth < (SELECT nth FROM leaves WHERE digest = $2) ORDER BY nth DESC LIMIT 100"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(seal)
        .bind(&before.digest[..])
        .fetch_all(connection)
        .await?;
    rows.iter().map(leaf_from).collect()
}

/// The rules of a seal that were in force when something came; the first, when it came before them.
pub(in crate::office) async fn policy_at(
    connection: &mut AnyConnection,
    seal: &str,
    came: &Leaf,
) -> Result<Option<Leaf>, Error> {
    let row = sqlx::query(
        "SELECT COALESCE((SELECT MAX(number) FROM policies JOIN leaves ON leaves.digest = policies.digest \
         WHERE policies.seal = $1 AND nth < (SELECT nth FROM leaves WHERE digest = $2)), \
         (SELECT MIN(number) FROM policies WHERE seal = $1), 0) AS number",
    )
    .bind(seal)
    .bind(&came.digest[..])
    .fetch_one(&mut *connection)
    .await?;
    policy_numbered(connection, seal, number(&row, "number")?).await
}

/// Notices of a seal from a second.
pub(in crate::office) async fn notices_at(
    connection: &mut AnyConnection,
    seal: &str,
    at_s: u64,
) -> Result<Vec<Leaf>, Error> {
    let sql = format!(
        "SELECT {LEAF} FROM leaves WHERE seal = $1 AND kind = 'notice' AND at_ms >= $2 AND at_ms < $3 ORDER BY nth"
    );
    let at_ms = at_s as i64 * 1000;
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(seal).bind(at_ms).bind(at_ms + 1000);
    query.fetch_all(connection).await?.iter().map(leaf_from).collect()
}
