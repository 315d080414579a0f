//! Applications, approvals, and what was granted.

use seal::grant::Id;
use seal::keys::Digest;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Error, Row as _};

use super::leaves::{LEAF, Leaf, leaf_from};
use super::{fixed, fixed_or_none, key, number, number_or_none, of_seals_within};
use crate::office::answer::Revoked;
use crate::office::book::{Book, Granted};
use crate::office::draft::Approval;
use crate::people::role::Scope;

/// What somebody has applied for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::office) struct Case {
    pub(in crate::office) grant: Id,
    pub(in crate::office) seal: String,
    pub(in crate::office) state: String,
    pub(in crate::office) applicant: String,
    pub(in crate::office) title: String,
    pub(in crate::office) payload: Vec<u8>,
    pub(in crate::office) needed: usize,
    pub(in crate::office) sequence: u64,
    pub(in crate::office) max_uses: u16,
    pub(in crate::office) expires_s: u64,
    pub(in crate::office) created_ms: i64,
    pub(in crate::office) decided_ms: Option<i64>,
    pub(in crate::office) decided_by: Option<String>,
    pub(in crate::office) why: Option<String>,
    pub(in crate::office) leaf: Option<Digest>,
    pub(in crate::office) used: u16,
    pub(in crate::office) revoked_s: Option<u64>,
}

const CASE: &str = "grant_id, seal, state, applicant, title, payload, needed, sequence, max_uses, expires_s, created_ms, \
                    decided_ms, decided_by, why, leaf, used, revoked_s";

fn case_from(row: &AnyRow) -> Result<Case, Error> {
    Ok(Case {
        grant: fixed(row, "grant_id")?.into(),
        seal: row.try_get("seal")?,
        state: row.try_get("state")?,
        applicant: row.try_get("applicant")?,
        title: row.try_get("title")?,
        payload: row.try_get("payload")?,
        needed: number(row, "needed")?,
        sequence: number(row, "sequence")?,
        max_uses: number(row, "max_uses")?,
        expires_s: number(row, "expires_s")?,
        created_ms: row.try_get("created_ms")?,
        decided_ms: row.try_get("decided_ms")?,
        decided_by: row.try_get("decided_by")?,
        why: row.try_get("why")?,
        leaf: fixed_or_none(row, "leaf")?.map(Digest::from),
        used: number(row, "used")?,
        revoked_s: number_or_none(row, "revoked_s")?,
    })
}

pub(in crate::office) async fn add_case(connection: &mut AnyConnection, case: &Case) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO applications (grant_id, seal, state, applicant, title, payload, needed, sequence, max_uses, expires_s, \
         created_ms, used) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0)",
    )
    .bind(&case.grant[..])
    .bind(case.seal.as_str())
    .bind(case.state.as_str())
    .bind(case.applicant.as_str())
    .bind(case.title.as_str())
    .bind(case.payload.as_slice())
    .bind(case.needed as i64)
    .bind(case.sequence as i64)
    .bind(i64::from(case.max_uses))
    .bind(case.expires_s as i64)
    .bind(case.created_ms)
    .execute(connection)
    .await?;
    Ok(())
}

pub(in crate::office) async fn case(
    connection: &mut AnyConnection,
    grant: &Id,
) -> Result<Option<Case>, Error> {
    let sql = format!("SELECT {CASE} FROM applications WHERE grant_id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&grant[..]).fetch_optional(connection).await?;
    row.as_ref().map(case_from).transpose()
}

/// Which cases are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::office) struct Cases<'a> {
    /// Of this state.
    pub(in crate::office) state: Option<&'a str>,
    /// Of this seal.
    pub(in crate::office) seal: Option<&'a str>,
    /// Of seals in these areas…
    pub(in crate::office) areas: &'a [Scope],
    /// …or of this person.
    pub(in crate::office) own: Option<&'a str>,
    /// Older than this one.
    pub(in crate::office) before: Option<&'a Id>,
}

/// Cases, newest first.
pub(in crate::office) async fn cases(
    connection: &mut AnyConnection,
    asked: Cases<'_>,
    limit: i64,
) -> Result<Vec<Case>, Error> {
    let (within, areas) = of_seals_within(asked.areas, 5);
    let before = match asked.before {
        Some(_) => {
            "(created_ms, grant_id) < (SELECT created_ms, grant_id FROM applications WHERE grant_id = $4)"
        }
        None => "$4 = $4",
    };
    let sql = format!(
        "SELECT {CASE} FROM applications WHERE ($1 = '' OR state = $1) AND ($2 = '' OR seal = $2) \
         AND (applicant = $3 OR {within}) AND {before} ORDER BY created_ms DESC, grant_id DESC LIMIT {limit}"
    );
    let query = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(asked.state.unwrap_or_default())
        .bind(asked.seal.unwrap_or_default())
        .bind(asked.own.unwrap_or_default())
        .bind(asked.before.map_or_else(Vec::new, |grant| grant.to_vec()));
    let query = areas.into_iter().fold(query, |query, area| query.bind(area));
    query.fetch_all(connection).await?.iter().map(case_from).collect()
}

/// How many applications of a person are open.
pub(in crate::office) async fn open_of(
    connection: &mut AnyConnection,
    applicant: &str,
    now_s: u64,
) -> Result<u64, Error> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS open FROM applications WHERE applicant = $1 AND state = 'open' AND expires_s > $2",
    )
    .bind(applicant)
    .bind(now_s as i64)
    .fetch_one(connection)
    .await?;
    number(&row, "open")
}

/// The lowest sequence of a seal that may still be used.
pub(in crate::office) async fn oldest(
    connection: &mut AnyConnection,
    seal: &str,
    now_s: u64,
) -> Result<Option<u64>, Error> {
    let row = sqlx::query(
        "SELECT MIN(sequence) AS oldest FROM applications WHERE seal = $1 AND state IN ('open', 'granted') \
         AND expires_s > $2 AND used < max_uses",
    )
    .bind(seal)
    .bind(now_s as i64)
    .fetch_one(connection)
    .await?;
    number_or_none(&row, "oldest")
}

/// Ends what a seal must not use any more because it does not know what it has used.
pub(in crate::office) async fn void(
    connection: &mut AnyConnection,
    seal: &str,
    min_sequence: u64,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE applications SET state = 'voided' WHERE seal = $1 AND state IN ('open', 'granted') AND sequence < $2",
    )
    .bind(seal)
    .bind(min_sequence as i64)
    .execute(connection)
    .await?;
    Ok(())
}

/// Ends an open case: with a grant, or without.
pub(in crate::office) async fn decide(
    connection: &mut AnyConnection,
    case: &Case,
    state: &str,
    by: &str,
    why: Option<&str>,
    leaf: Option<&Digest>,
    now_ms: i64,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE applications SET state = $1, decided_by = $2, why = $3, leaf = $4, decided_ms = $5 \
         WHERE grant_id = $6 AND state = 'open'",
    )
    .bind(state)
    .bind(by)
    .bind(why)
    .bind(leaf.map(|leaf| leaf.to_vec()))
    .bind(now_ms)
    .bind(&case.grant[..])
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Takes a grant back.
pub(in crate::office) async fn revoke(
    connection: &mut AnyConnection,
    grant: &Id,
    now_s: u64,
    epoch: u32,
    by: &str,
    why: &str,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "UPDATE applications SET state = 'revoked', revoked_s = $1, revoked_epoch = $2, decided_by = $3, why = $4 \
         WHERE grant_id = $5 AND state = 'granted'",
    )
    .bind(now_s as i64)
    .bind(i64::from(epoch))
    .bind(by)
    .bind(why)
    .bind(&grant[..])
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Grants and delegations of a seal that were taken back behind an epoch, in that order, those that have not expired.
pub(in crate::office) async fn revoked(
    connection: &mut AnyConnection,
    seal: &str,
    epoch: u32,
    now_s: u64,
) -> Result<Vec<Revoked>, Error> {
    let rows = sqlx::query(
        "SELECT grant_id, expires_s, revoked_epoch FROM applications WHERE seal = $1 AND revoked_epoch > $2 \
         AND expires_s > $3 \
         UNION ALL SELECT id, until_s, withdrawn_epoch FROM delegations WHERE seal = $1 AND withdrawn_epoch > $2 \
         AND until_s > $3 ORDER BY revoked_epoch LIMIT 1000",
    )
    .bind(seal)
    .bind(i64::from(epoch))
    .bind(now_s as i64)
    .fetch_all(connection)
    .await?;
    let revoked = |row: &AnyRow| {
        Ok(Revoked {
            grant: fixed(row, "grant_id")?.into(),
            expires_s: number(row, "expires_s")?,
            epoch: number(row, "revoked_epoch")?,
        })
    };
    rows.iter().map(revoked).collect()
}

/// Grants for a seal that can still be used, oldest first, with where their leaves lie.
pub(in crate::office) async fn usable(
    connection: &mut AnyConnection,
    book: &Book,
    now_s: u64,
    limit: i64,
) -> Result<Vec<(Id, Leaf)>, Error> {
    let sql = format!(
        "SELECT grant_id, leaves.{} FROM applications JOIN leaves ON leaves.digest = applications.leaf \
         WHERE applications.seal = $1 AND state = 'granted' AND expires_s > $2 AND used < max_uses \
         AND sequence >= $3 AND log_index IS NOT NULL ORDER BY log_index LIMIT $4",
        LEAF.replace(", ", ", leaves.")
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(book.seal.as_str())
        .bind(now_s as i64)
        .bind(book.min_sequence as i64)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((fixed(row, "grant_id")?.into(), leaf_from(row)?))).collect()
}

/// A grant as receipts are measured by it.
pub(in crate::office) async fn granted(
    connection: &mut AnyConnection,
    grant: &Id,
) -> Result<Option<Granted>, Error> {
    let Some(case) = case(connection, grant).await? else { return Ok(None) };
    if case.leaf.is_none() {
        return Ok(None);
    }
    let Ok(grant) = seal::grant::Grant::read(&case.payload) else { return Ok(None) };
    Ok(Some(Granted {
        digest: seal::keys::digest(&[&case.payload]),
        sequence: grant.sequence,
        max_uses: grant.max_uses,
        used: case.used,
        revoked_s: case.revoked_s,
        evidence: grant.evidence,
    }))
}

pub(in crate::office) async fn used(
    connection: &mut AnyConnection,
    grant: &Id,
    used: u16,
) -> Result<(), Error> {
    sqlx::query("UPDATE applications SET used = $1 WHERE grant_id = $2")
        .bind(i64::from(used))
        .bind(&grant[..])
        .execute(connection)
        .await?;
    Ok(())
}

pub(in crate::office) async fn add_approval(
    connection: &mut AnyConnection,
    grant: &Id,
    approval: &Approval,
    now_ms: i64,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "INSERT INTO approvals (grant_id, public, person, signature, at_ms, in_place_of) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (grant_id, public) DO NOTHING",
    )
    .bind(&grant[..])
    .bind(approval.key.bytes())
    .bind(approval.person.as_str())
    .bind(approval.signature.as_slice())
    .bind(now_ms)
    .bind(approval.in_place_of.as_deref())
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub(in crate::office) async fn approvals(
    connection: &mut AnyConnection,
    grant: &Id,
) -> Result<Vec<(Approval, i64)>, Error> {
    let rows = sqlx::query(
        "SELECT public, person, signature, at_ms, in_place_of FROM approvals WHERE grant_id = $1 ORDER BY at_ms",
    )
    .bind(&grant[..])
    .fetch_all(connection)
    .await?;
    let approval = |row: &AnyRow| {
        let approval = Approval {
            person: row.try_get("person")?,
            in_place_of: row.try_get("in_place_of")?,
            key: key(row, "public")?,
            signature: row.try_get("signature")?,
        };
        Ok((approval, row.try_get("at_ms")?))
    };
    rows.iter().map(approval).collect()
}
