//! Receipts and findings.

use seal::grant::Id;
use seal::keys::{Digest, PublicKey};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Error, Row as _};

use super::{fixed, fixed_or_none, key_or_none, number, of_seals_within};
use crate::office::finding::Finding;
use crate::people::role::Scope;

/// Most impressions that are told of one digest.
const IMPRESSIONS: i64 = 8;

/// A receipt as it can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::office) struct ReceiptRow {
    pub(in crate::office) digest: Digest,
    pub(in crate::office) seal: String,
    pub(in crate::office) number: u64,
    pub(in crate::office) grant: Option<Id>,
    pub(in crate::office) use_number: u16,
    pub(in crate::office) outcome: String,
    pub(in crate::office) refusal: Option<String>,
    pub(in crate::office) at_s: u64,
    pub(in crate::office) received_ms: i64,
    pub(in crate::office) before: Option<Digest>,
    pub(in crate::office) after: Option<Digest>,
    pub(in crate::office) signer: Option<PublicKey>,
}

/// A finding as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::office) struct FindingRow {
    pub(in crate::office) nth: i64,
    pub(in crate::office) seal: String,
    pub(in crate::office) word: String,
    pub(in crate::office) en: String,
    pub(in crate::office) zh: String,
    pub(in crate::office) evidence: Digest,
    pub(in crate::office) at_ms: i64,
}

const RECEIPT: &str = "digest, seal, number, grant_id, use_number, outcome, refusal, at_s, received_ms, picture_before, \
                       picture_after, signer";

fn receipt_from(row: &AnyRow) -> Result<ReceiptRow, Error> {
    Ok(ReceiptRow {
        digest: fixed(row, "digest")?.into(),
        seal: row.try_get("seal")?,
        number: number(row, "number")?,
        grant: fixed_or_none(row, "grant_id")?.map(Id::from),
        use_number: number(row, "use_number")?,
        outcome: row.try_get("outcome")?,
        refusal: row.try_get("refusal")?,
        at_s: number(row, "at_s")?,
        received_ms: row.try_get("received_ms")?,
        before: fixed_or_none(row, "picture_before")?.map(Digest::from),
        after: fixed_or_none(row, "picture_after")?.map(Digest::from),
        signer: key_or_none(row, "signer")?,
    })
}

pub(in crate::office) async fn add_receipt(
    connection: &mut AnyConnection,
    row: &ReceiptRow,
) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO receipts ({RECEIPT}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (digest) DO NOTHING"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(&row.digest[..])
        .bind(row.seal.as_str())
        .bind(row.number as i64)
        .bind(row.grant.map(|grant| grant.to_vec()))
        .bind(i64::from(row.use_number))
        .bind(row.outcome.as_str())
        .bind(row.refusal.as_deref())
        .bind(row.at_s as i64)
        .bind(row.received_ms)
        .bind(row.before.map(|digest| digest.to_vec()))
        .bind(row.after.map(|digest| digest.to_vec()))
        .bind(row.signer.map(|key| key.bytes().to_vec()))
        .execute(connection)
        .await?;
    Ok(())
}

/// Receipts that have this digest, or a photograph that has it.
pub(in crate::office) async fn receipts_named(
    connection: &mut AnyConnection,
    digest: &Digest,
) -> Result<Vec<ReceiptRow>, Error> {
    let sql = format!(
        "SELECT {RECEIPT} FROM receipts WHERE picture_before = $1 OR picture_after = $2 \
         ORDER BY CASE WHEN use_number > 0 THEN 0 ELSE 1 END, received_ms, digest LIMIT {IMPRESSIONS}"
    );
    // What has this digest is it, whatever other receipts say that they have photographed.
    let itself = format!("SELECT {RECEIPT} FROM receipts WHERE digest = $1");
    let itself = sqlx::query(sqlx::AssertSqlSafe(itself)).bind(&digest[..]);
    if let Some(row) = itself.fetch_optional(&mut *connection).await? {
        return Ok(vec![receipt_from(&row)?]);
    }
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&digest[..]).bind(&digest[..]);
    query.fetch_all(connection).await?.iter().map(receipt_from).collect()
}

/// Receipts of a seal, newest first: older than `before` when that is named.
pub(in crate::office) async fn receipts(
    connection: &mut AnyConnection,
    seal: &str,
    before: Option<&Digest>,
    limit: i64,
) -> Result<Vec<ReceiptRow>, Error> {
    let older = match before {
        Some(_) => "(number, digest) < (SELECT number, digest FROM receipts WHERE digest = $2)",
        None => "$2 = $2",
    };
    let sql = format!(
        "SELECT {RECEIPT} FROM receipts WHERE seal = $1 AND {older} ORDER BY number DESC, digest DESC LIMIT {limit}"
    );
    let before = before.map_or_else(Vec::new, |digest| digest.to_vec());
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(seal).bind(before);
    query.fetch_all(connection).await?.iter().map(receipt_from).collect()
}

/// Whether there is another receipt of this seal with this number by the same key.
pub(in crate::office) async fn has_twin(
    connection: &mut AnyConnection,
    seal: &str,
    number: u64,
    digest: &Digest,
    signer: &PublicKey,
) -> Result<bool, Error> {
    let row = sqlx::query(
        "SELECT digest FROM receipts WHERE seal = $1 AND number = $2 AND digest <> $3 AND signer = $4 LIMIT 1",
    )
    .bind(seal)
    .bind(number as i64)
    .bind(&digest[..])
    .bind(signer.bytes())
    .fetch_optional(connection)
    .await?;
    Ok(row.is_some())
}

pub(in crate::office) async fn add_finding(
    connection: &mut AnyConnection,
    seal: &str,
    finding: &Finding,
    evidence: &Digest,
    now_ms: i64,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO findings (nth, seal, word, en, zh, evidence, at_ms) \
         VALUES ((SELECT COALESCE(MAX(nth), 0) + 1 FROM findings), $1, $2, $3, $4, $5, $6)",
    )
    .bind(seal)
    .bind(finding.word())
    .bind(finding.to_string())
    .bind(finding.zh())
    .bind(&evidence[..])
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether something like this was found for a seal since then.
pub(in crate::office) async fn is_told(
    connection: &mut AnyConnection,
    seal: &str,
    finding: &Finding,
    since_ms: i64,
) -> Result<bool, Error> {
    let row = sqlx::query("SELECT 1 FROM findings WHERE seal = $1 AND word = $2 AND at_ms >= $3 LIMIT 1")
        .bind(seal)
        .bind(finding.word())
        .bind(since_ms)
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some())
}

/// Findings, newest first, of seals in these areas: of one when it is named, older than `before`.
pub(in crate::office) async fn findings(
    connection: &mut AnyConnection,
    seal: Option<&str>,
    areas: &[Scope],
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<FindingRow>, Error> {
    let (within, areas) = of_seals_within(areas, 3);
    let sql = format!(
        "SELECT nth, seal, word, en, zh, evidence, at_ms FROM findings WHERE ($1 = '' OR seal = $1) AND nth < $2 \
         AND ({within}) ORDER BY nth DESC LIMIT {limit}"
    );
    let query =
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(seal.unwrap_or_default()).bind(before.unwrap_or(i64::MAX));
    let query = areas.into_iter().fold(query, |query, area| query.bind(area));
    let rows = query.fetch_all(connection).await?;
    let finding = |row: &AnyRow| {
        Ok(FindingRow {
            nth: row.try_get("nth")?,
            seal: row.try_get("seal")?,
            word: row.try_get("word")?,
            en: row.try_get("en")?,
            zh: row.try_get("zh")?,
            evidence: fixed(row, "evidence")?.into(),
            at_ms: row.try_get("at_ms")?,
        })
    };
    rows.iter().map(finding).collect()
}
