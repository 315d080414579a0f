//! The office's statements. All of them are good to repeat: what was done before changes nothing.

use seal::grant::Id;
use seal::keys::{Algorithm, Digest, PublicKey};
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Connection, Error, Row, Transaction};
use wire::{Area, GatewayId};

use super::answer::Revoked;
use super::book::{Book, Finding, Granted};
use super::draft::Approval;

/// Most rows that are listed at once.
pub(super) const PAGE: i64 = 200;

/// Begins a transaction, with a write: one that reads first would fail on SQLite when another connection has written since.
pub(super) async fn begin(connection: &mut AnyConnection) -> Result<Transaction<'_, Any>, Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query("UPDATE office_turns SET nth = nth + 1").execute(&mut *transaction).await?;
    Ok(transaction)
}

/// What a seal has sent and nobody has looked at.
pub(super) struct Sent {
    pub(super) number: i64,
    pub(super) gateway: String,
    pub(super) received_ms: i64,
    pub(super) envelope: Vec<u8>,
}

/// Something that is signed and stands in the log, or is about to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) digest: Digest,
    pub(super) kind: String,
    pub(super) seal: String,
    pub(super) at_ms: i64,
    pub(super) body: Vec<u8>,
    pub(super) index: Option<u64>,
}

/// What somebody has applied for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) grant: Id,
    pub(super) seal: String,
    pub(super) state: String,
    pub(super) applicant: String,
    pub(super) title: String,
    pub(super) payload: Vec<u8>,
    pub(super) needed: usize,
    pub(super) max_uses: u16,
    pub(super) expires_s: u64,
    pub(super) created_ms: i64,
    pub(super) decided_ms: Option<i64>,
    pub(super) decided_by: Option<String>,
    pub(super) why: Option<String>,
    pub(super) leaf: Option<Digest>,
    pub(super) used: u16,
    pub(super) revoked_s: Option<u64>,
}

/// A receipt as it can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReceiptRow {
    pub(super) digest: Digest,
    pub(super) seal: String,
    pub(super) number: u64,
    pub(super) grant: Option<Id>,
    pub(super) use_number: u16,
    pub(super) outcome: String,
    pub(super) refusal: Option<String>,
    pub(super) at_s: u64,
    pub(super) received_ms: i64,
    pub(super) before: Option<Digest>,
    pub(super) after: Option<Digest>,
}

/// A finding as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FindingRow {
    pub(super) seal: String,
    pub(super) word: String,
    pub(super) en: String,
    pub(super) zh: String,
    pub(super) evidence: Digest,
    pub(super) at_ms: i64,
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

const BOOK: &str = "name, area, gateway, device_key, policy, epoch, next_sequence, min_sequence, cleared, is_locked, \
                    receipts, last_receipt, counter, tampered, heard_ms";

fn book_from(row: &AnyRow) -> Result<Book, Error> {
    Ok(Book {
        seal: row.try_get("name")?,
        area: word(row, "area", Area::new)?,
        gateway: word(row, "gateway", GatewayId::new)?,
        key: key_of(fixed(row, "device_key")?),
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
    })
}

pub(super) async fn book(connection: &mut AnyConnection, seal: &str) -> Result<Option<Book>, Error> {
    let sql = format!("SELECT {BOOK} FROM seals WHERE name = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(seal).fetch_optional(connection).await?;
    row.as_ref().map(book_from).transpose()
}

pub(super) async fn books(connection: &mut AnyConnection) -> Result<Vec<Book>, Error> {
    let sql = format!("SELECT {BOOK} FROM seals ORDER BY name");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_all(connection).await?;
    rows.iter().map(book_from).collect()
}

pub(super) async fn put_book(connection: &mut AnyConnection, book: &Book) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO seals ({BOOK}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
         ON CONFLICT (name) DO UPDATE SET area = excluded.area, gateway = excluded.gateway, \
         device_key = excluded.device_key, policy = excluded.policy, epoch = excluded.epoch, \
         next_sequence = excluded.next_sequence, min_sequence = excluded.min_sequence, cleared = excluded.cleared, \
         is_locked = excluded.is_locked, receipts = excluded.receipts, last_receipt = excluded.last_receipt, \
         counter = excluded.counter, tampered = excluded.tampered, heard_ms = excluded.heard_ms"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(book.seal.as_str())
        .bind(book.area.as_str())
        .bind(book.gateway.as_str())
        .bind(&book.key.bytes[..])
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
        .execute(connection)
        .await?;
    Ok(())
}

/// The oldest that seals have sent.
pub(super) async fn inbox(connection: &mut AnyConnection, limit: i64) -> Result<Vec<Sent>, Error> {
    let rows =
        sqlx::query("SELECT number, gateway, received_ms, envelope FROM seal_inbox ORDER BY number LIMIT $1")
            .bind(limit)
            .fetch_all(connection)
            .await?;
    let sent = |row: &AnyRow| {
        Ok(Sent {
            number: row.try_get("number")?,
            gateway: row.try_get("gateway")?,
            received_ms: row.try_get("received_ms")?,
            envelope: row.try_get("envelope")?,
        })
    };
    rows.iter().map(sent).collect()
}

pub(super) async fn done(connection: &mut AnyConnection, number: i64) -> Result<(), Error> {
    sqlx::query("DELETE FROM seal_inbox WHERE number = $1").bind(number).execute(connection).await?;
    Ok(())
}

/// Remembers a hello, and forgets those from before; whether it was new.
pub(super) async fn add_hello(
    connection: &mut AnyConnection,
    digest: &Digest,
    at_ms: i64,
    forget_ms: i64,
) -> Result<bool, Error> {
    sqlx::query("DELETE FROM hellos WHERE at_ms < $1").bind(forget_ms).execute(&mut *connection).await?;
    let done =
        sqlx::query("INSERT INTO hellos (digest, at_ms) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING")
            .bind(&digest[..])
            .bind(at_ms)
            .execute(connection)
            .await?;
    Ok(done.rows_affected() > 0)
}

const LEAF: &str = "digest, kind, seal, at_ms, body, log_index";

fn leaf_from(row: &AnyRow) -> Result<Leaf, Error> {
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
pub(super) async fn add_leaf(connection: &mut AnyConnection, leaf: &Leaf) -> Result<bool, Error> {
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

pub(super) async fn leaf(connection: &mut AnyConnection, digest: &Digest) -> Result<Option<Leaf>, Error> {
    let sql = format!("SELECT {LEAF} FROM leaves WHERE digest = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&digest[..]).fetch_optional(connection).await?;
    row.as_ref().map(leaf_from).transpose()
}

/// Leaves that are not in the log yet, in their order.
pub(super) async fn unlogged(connection: &mut AnyConnection, limit: i64) -> Result<Vec<Leaf>, Error> {
    let sql = format!("SELECT {LEAF} FROM leaves WHERE log_index IS NULL ORDER BY nth LIMIT $1");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(limit).fetch_all(connection).await?;
    rows.iter().map(leaf_from).collect()
}

pub(super) async fn logged(connection: &mut AnyConnection, digest: &Digest, index: u64) -> Result<(), Error> {
    sqlx::query("UPDATE leaves SET log_index = $1 WHERE digest = $2")
        .bind(index as i64)
        .bind(&digest[..])
        .execute(connection)
        .await?;
    Ok(())
}

/// How many leaves have their place in the log.
pub(super) async fn log_size(connection: &mut AnyConnection) -> Result<u64, Error> {
    let row = sqlx::query("SELECT COALESCE(MAX(log_index) + 1, 0) AS size FROM leaves")
        .fetch_one(connection)
        .await?;
    number(&row, "size")
}

/// Seals for which something lies in the log between these places that they have to hear of.
pub(super) async fn seals_between(
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

pub(super) async fn put_policy(
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
pub(super) async fn policy(connection: &mut AnyConnection, seal: &str) -> Result<Option<Leaf>, Error> {
    let row = sqlx::query("SELECT digest FROM policies WHERE seal = $1 ORDER BY number DESC LIMIT 1")
        .bind(seal)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    leaf(connection, &fixed(&row, "digest")?.into()).await
}

/// The rules of a seal with this number.
pub(super) async fn policy_numbered(
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

/// The newest enrolment of a seal that came before something.
pub(super) async fn enrolment(
    connection: &mut AnyConnection,
    seal: &str,
    before: &Leaf,
) -> Result<Option<Leaf>, Error> {
    let sql = format!(
        "SELECT {LEAF} FROM leaves WHERE seal = $1 AND kind = 'enrolment' \
         AND nth < (SELECT nth FROM leaves WHERE digest = $2) ORDER BY nth DESC LIMIT 1"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(seal)
        .bind(&before.digest[..])
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(leaf_from).transpose()
}

const CASE: &str = "grant_id, seal, state, applicant, title, payload, needed, max_uses, expires_s, created_ms, \
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

pub(super) async fn add_case(connection: &mut AnyConnection, case: &Case) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO applications (grant_id, seal, state, applicant, title, payload, needed, max_uses, expires_s, \
         created_ms, used) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0)",
    )
    .bind(&case.grant[..])
    .bind(case.seal.as_str())
    .bind(case.state.as_str())
    .bind(case.applicant.as_str())
    .bind(case.title.as_str())
    .bind(case.payload.as_slice())
    .bind(case.needed as i64)
    .bind(i64::from(case.max_uses))
    .bind(case.expires_s as i64)
    .bind(case.created_ms)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn case(connection: &mut AnyConnection, grant: &Id) -> Result<Option<Case>, Error> {
    let sql = format!("SELECT {CASE} FROM applications WHERE grant_id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(&grant[..]).fetch_optional(connection).await?;
    row.as_ref().map(case_from).transpose()
}

/// Cases, newest first: of a state or of a seal when they are named.
pub(super) async fn cases(
    connection: &mut AnyConnection,
    state: Option<&str>,
    seal: Option<&str>,
) -> Result<Vec<Case>, Error> {
    let sql = format!(
        "SELECT {CASE} FROM applications WHERE ($1 = '' OR state = $1) AND ($2 = '' OR seal = $2) \
         ORDER BY created_ms DESC LIMIT {PAGE}"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(state.unwrap_or_default())
        .bind(seal.unwrap_or_default())
        .fetch_all(connection)
        .await?;
    rows.iter().map(case_from).collect()
}

/// Ends an open case: with a grant, or without.
pub(super) async fn decide(
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
pub(super) async fn revoke(
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

/// Revocations of a seal behind an epoch, in their order, those that have not expired.
pub(super) async fn revoked(
    connection: &mut AnyConnection,
    seal: &str,
    epoch: u32,
    now_s: u64,
) -> Result<Vec<Revoked>, Error> {
    let rows = sqlx::query(
        "SELECT grant_id, expires_s, revoked_epoch FROM applications WHERE seal = $1 AND revoked_epoch > $2 \
         AND expires_s > $3 ORDER BY revoked_epoch LIMIT 1000",
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
pub(super) async fn usable(
    connection: &mut AnyConnection,
    seal: &str,
    min_sequence_s: u64,
    limit: i64,
) -> Result<Vec<(Id, Leaf)>, Error> {
    let sql = format!(
        "SELECT grant_id, leaves.{} FROM applications JOIN leaves ON leaves.digest = applications.leaf \
         WHERE applications.seal = $1 AND state = 'granted' AND expires_s > $2 AND used < max_uses \
         AND log_index IS NOT NULL ORDER BY log_index LIMIT $3",
        LEAF.replace(", ", ", leaves.")
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(seal)
        .bind(min_sequence_s as i64)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((fixed(row, "grant_id")?.into(), leaf_from(row)?))).collect()
}

/// A grant as receipts are measured by it.
pub(super) async fn granted(connection: &mut AnyConnection, grant: &Id) -> Result<Option<Granted>, Error> {
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
    }))
}

pub(super) async fn used(connection: &mut AnyConnection, grant: &Id, used: u16) -> Result<(), Error> {
    sqlx::query("UPDATE applications SET used = $1 WHERE grant_id = $2")
        .bind(i64::from(used))
        .bind(&grant[..])
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn add_approval(
    connection: &mut AnyConnection,
    grant: &Id,
    approval: &Approval,
    now_ms: i64,
) -> Result<bool, Error> {
    let done = sqlx::query(
        "INSERT INTO approvals (grant_id, public, person, signature, at_ms) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (grant_id, public) DO NOTHING",
    )
    .bind(&grant[..])
    .bind(&approval.key.bytes[..])
    .bind(approval.person.as_str())
    .bind(approval.signature.as_slice())
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn approvals(
    connection: &mut AnyConnection,
    grant: &Id,
) -> Result<Vec<(Approval, i64)>, Error> {
    let rows = sqlx::query(
        "SELECT public, person, signature, at_ms FROM approvals WHERE grant_id = $1 ORDER BY at_ms",
    )
    .bind(&grant[..])
    .fetch_all(connection)
    .await?;
    let approval = |row: &AnyRow| {
        let key = key_of(fixed(row, "public")?);
        let approval = Approval { person: row.try_get("person")?, key, signature: row.try_get("signature")? };
        Ok((approval, row.try_get("at_ms")?))
    };
    rows.iter().map(approval).collect()
}

const RECEIPT: &str = "digest, seal, number, grant_id, use_number, outcome, refusal, at_s, received_ms, picture_before, \
                       picture_after";

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
    })
}

pub(super) async fn add_receipt(connection: &mut AnyConnection, row: &ReceiptRow) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO receipts ({RECEIPT}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
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
        .execute(connection)
        .await?;
    Ok(())
}

/// What receipts are looked for by.
#[derive(Debug, Clone, Copy)]
pub(super) enum By<'a> {
    /// Its own digest, or that of one of its photographs.
    Digest(&'a Digest),
    /// All of a seal, newest first.
    Seal(&'a str),
}

pub(super) async fn receipts(connection: &mut AnyConnection, by: By<'_>) -> Result<Vec<ReceiptRow>, Error> {
    let select = |condition: &str| {
        sqlx::AssertSqlSafe(format!("SELECT {RECEIPT} FROM receipts WHERE {condition} LIMIT {PAGE}"))
    };
    let rows = match by {
        By::Digest(digest) => {
            let sql = select("digest = $1 OR picture_before = $2 OR picture_after = $3");
            sqlx::query(sql)
                .bind(&digest[..])
                .bind(&digest[..])
                .bind(&digest[..])
                .fetch_all(connection)
                .await?
        }
        By::Seal(seal) => {
            sqlx::query(select("seal = $1 ORDER BY number DESC")).bind(seal).fetch_all(connection).await?
        }
    };
    rows.iter().map(receipt_from).collect()
}

/// Whether there is another receipt of this seal with this number.
pub(super) async fn has_twin(
    connection: &mut AnyConnection,
    seal: &str,
    number: u64,
    digest: &Digest,
) -> Result<bool, Error> {
    let row =
        sqlx::query("SELECT digest FROM receipts WHERE seal = $1 AND number = $2 AND digest <> $3 LIMIT 1")
            .bind(seal)
            .bind(number as i64)
            .bind(&digest[..])
            .fetch_optional(connection)
            .await?;
    Ok(row.is_some())
}

pub(super) async fn add_finding(
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

/// Findings, newest first: of a seal when it is named.
pub(super) async fn findings(
    connection: &mut AnyConnection,
    seal: Option<&str>,
) -> Result<Vec<FindingRow>, Error> {
    let sql = format!(
        "SELECT seal, word, en, zh, evidence, at_ms FROM findings WHERE $1 = '' OR seal = $1 ORDER BY nth DESC LIMIT {PAGE}"
    );
    let rows =
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(seal.unwrap_or_default()).fetch_all(connection).await?;
    let finding = |row: &AnyRow| {
        Ok(FindingRow {
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

/// Photographs all of whose parts are there.
pub(super) async fn whole_pictures(connection: &mut AnyConnection) -> Result<Vec<Digest>, Error> {
    let rows = sqlx::query(
        "SELECT digest FROM picture_parts GROUP BY digest, total HAVING SUM(LENGTH(part)) >= total LIMIT 16",
    )
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok(fixed(row, "digest")?.into())).collect()
}

/// The parts of a photograph, put together.
pub(super) async fn picture(connection: &mut AnyConnection, digest: &Digest) -> Result<Vec<u8>, Error> {
    let rows = sqlx::query("SELECT part FROM picture_parts WHERE digest = $1 ORDER BY start")
        .bind(&digest[..])
        .fetch_all(connection)
        .await?;
    let mut bytes = Vec::new();
    for row in &rows {
        bytes.extend(row.try_get::<Vec<u8>, _>("part")?);
    }
    Ok(bytes)
}

pub(super) async fn forget_picture(connection: &mut AnyConnection, digest: &Digest) -> Result<(), Error> {
    sqlx::query("DELETE FROM picture_parts WHERE digest = $1").bind(&digest[..]).execute(connection).await?;
    Ok(())
}
