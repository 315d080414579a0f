//! Who approves in whose place.

use seal::delegation::Delegation;
use seal::grant::Id;
use seal::keys::{Digest, PublicKey};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Error, Row as _};

use super::leaves::{LEAF, Leaf, leaf_from};
use super::{fixed, key, number, number_or_none};
use crate::office::ask::PAGE;

/// A delegation as it was given, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::office) struct DelegationRow {
    pub(in crate::office) id: Id,
    pub(in crate::office) seal: String,
    pub(in crate::office) key: PublicKey,
    pub(in crate::office) until_s: u64,
    pub(in crate::office) given_ms: i64,
    pub(in crate::office) withdrawn_s: Option<u64>,
    pub(in crate::office) withdrawn_by: Option<String>,
    pub(in crate::office) why: Option<String>,
    pub(in crate::office) leaf: Leaf,
}

/// What is asked for; `leaves.` stands before what both tables have.
fn select(rest: &str) -> String {
    let leaf = LEAF.replace("seal, ", "").replace(", ", ", leaves.");
    format!(
        "SELECT id, delegations.seal, public, until_s, given_ms, withdrawn_s, withdrawn_by, why, leaves.{leaf} \
         FROM delegations JOIN leaves ON leaves.digest = delegations.leaf {rest}"
    )
}

fn row_from(row: &AnyRow) -> Result<DelegationRow, Error> {
    Ok(DelegationRow {
        id: fixed(row, "id")?.into(),
        seal: row.try_get("seal")?,
        key: key(row, "public")?,
        until_s: number(row, "until_s")?,
        given_ms: row.try_get("given_ms")?,
        withdrawn_s: number_or_none(row, "withdrawn_s")?,
        withdrawn_by: row.try_get("withdrawn_by")?,
        why: row.try_get("why")?,
        leaf: leaf_from(row)?,
    })
}

/// Keeps a delegation; false when there is one of this name, or a grant.
pub(in crate::office) async fn add_delegation(
    connection: &mut AnyConnection,
    delegation: &Delegation,
    key: &PublicKey,
    leaf: &Digest,
    now_ms: i64,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "INSERT INTO delegations (id, seal, delegator, deputy, public, from_s, until_s, leaf, given_ms) \
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 WHERE NOT EXISTS (SELECT 1 FROM applications WHERE grant_id = $1) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(&delegation.id[..])
    .bind(delegation.seal.as_str())
    .bind(delegation.from.as_str())
    .bind(delegation.to.as_str())
    .bind(&key.bytes()[..])
    .bind(delegation.from_s as i64)
    .bind(delegation.until_s as i64)
    .bind(&leaf[..])
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub(in crate::office) async fn delegation(
    connection: &mut AnyConnection,
    id: &Id,
) -> Result<Option<DelegationRow>, Error> {
    let sql = select("WHERE id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&id[..]).fetch_optional(connection).await?;
    row.as_ref().map(row_from).transpose()
}

/// Delegations, newest first: of a seal when it is named.
pub(in crate::office) async fn delegations(
    connection: &mut AnyConnection,
    seal: Option<&str>,
) -> Result<Vec<DelegationRow>, Error> {
    let sql = select(&format!(
        "WHERE $1 = '' OR delegations.seal = $1 ORDER BY given_ms DESC, leaves.nth DESC LIMIT {PAGE}"
    ));
    let rows =
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(seal.unwrap_or_default()).fetch_all(connection).await?;
    rows.iter().map(row_from).collect()
}

/// Delegations of a seal that had not ended at `from_s` and have begun by `to_s`, oldest first, withdrawn ones too.
pub(in crate::office) async fn delegations_between(
    connection: &mut AnyConnection,
    seal: &str,
    from_s: u64,
    to_s: u64,
) -> Result<Vec<DelegationRow>, Error> {
    let sql = select(&format!(
        "WHERE delegations.seal = $1 AND until_s > $2 AND from_s <= $3 ORDER BY leaves.nth LIMIT {PAGE}"
    ));
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(seal)
        .bind(i64::try_from(from_s).unwrap_or(i64::MAX))
        .bind(i64::try_from(to_s).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?;
    rows.iter().map(row_from).collect()
}

/// Takes a delegation back; whether that changes something.
pub(in crate::office) async fn withdraw(
    connection: &mut AnyConnection,
    id: &Id,
    now_s: u64,
    epoch: u32,
    by: &str,
    why: &str,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE delegations SET withdrawn_s = $1, withdrawn_epoch = $2, withdrawn_by = $3, why = $4 \
         WHERE id = $5 AND withdrawn_s IS NULL AND until_s > $1",
    )
    .bind(now_s as i64)
    .bind(i64::from(epoch))
    .bind(by)
    .bind(why)
    .bind(&id[..])
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}
