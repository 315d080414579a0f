//! Who approves in whose place.

use seal::delegation::Delegation;
use seal::grant::Id;
use seal::keys::{Digest, PublicKey};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Error, Row as _};

use super::leaves::{LEAF, Leaf, leaf_from};
use super::{fixed, key, number, number_or_none, of_seals_within};
use crate::office::ask::PAGE;
use crate::people::role::Scope;

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

/// Delegations of which this holds, with their leaves.
fn select(which: &str, rest: &str) -> String {
    let leaf = LEAF.replace("seal, ", "").replace(", ", ", leaves.");
    format!(
        "SELECT id, given.seal, public, until_s, given_ms, withdrawn_s, withdrawn_by, why, leaves.{leaf} \
         FROM (SELECT * FROM delegations WHERE {which}) AS given JOIN leaves ON leaves.digest = given.leaf {rest}"
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
    .bind(key.bytes())
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
    let sql = select("id = $1", "");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&id[..]).fetch_optional(connection).await?;
    row.as_ref().map(row_from).transpose()
}

/// Delegations from or to this person, or for seals in these areas, newest first: of one seal when it is named.
pub(in crate::office) async fn delegations(
    connection: &mut AnyConnection,
    seal: Option<&str>,
    areas: &[Scope],
    own: &str,
) -> Result<Vec<DelegationRow>, Error> {
    let (within, areas) = of_seals_within(areas, 3);
    let sql = select(
        &format!("($1 = '' OR seal = $1) AND (delegator = $2 OR deputy = $2 OR {within})"),
        &format!("ORDER BY given_ms DESC, leaves.nth DESC LIMIT {PAGE}"),
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(seal.unwrap_or_default()).bind(own);
    let query = areas.into_iter().fold(query, |query, area| query.bind(area));
    query.fetch_all(connection).await?.iter().map(row_from).collect()
}

/// Delegations of a seal that hold somewhen from `from_s` to `to_s` and were not taken back by `back_s`, oldest first.
pub(in crate::office) async fn delegations_between(
    connection: &mut AnyConnection,
    seal: &str,
    [from_s, to_s]: [u64; 2],
    back_s: u64,
) -> Result<Vec<DelegationRow>, Error> {
    let sql = select(
        "seal = $1 AND until_s > $2 AND from_s <= $3 AND (withdrawn_s IS NULL OR withdrawn_s > $4)",
        &format!("ORDER BY leaves.nth LIMIT {PAGE}"),
    );
    let number = |s: u64| i64::try_from(s).unwrap_or(i64::MAX);
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(seal);
    let query = query.bind(number(from_s)).bind(number(to_s)).bind(number(back_s));
    query.fetch_all(connection).await?.iter().map(row_from).collect()
}

/// How many delegations for a seal somebody has given that have not ended, withdrawn ones too.
pub(in crate::office) async fn delegations_of(
    connection: &mut AnyConnection,
    seal: &str,
    delegator: &str,
    now_s: u64,
) -> Result<usize, Error> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS n FROM delegations WHERE seal = $1 AND delegator = $2 AND until_s > $3",
    )
    .bind(seal)
    .bind(delegator)
    .bind(now_s as i64)
    .fetch_one(connection)
    .await?;
    number(&row, "n")
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
