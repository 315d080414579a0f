//! What seals have sent and is not taken yet, and what was strange.

use seal::keys::Digest;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Error, Row as _};

/// Most letters of a gateway that are kept although no seal has signed them: some 4 MB. One pushes out none of another.
const MAX_STRANGE: i64 = 1_000;

/// What a seal has sent and nobody has looked at.
pub(in crate::office) struct Sent {
    pub(in crate::office) number: i64,
    pub(in crate::office) gateway: String,
    pub(in crate::office) received_ms: i64,
    pub(in crate::office) envelope: Vec<u8>,
}

/// The oldest that seals have sent.
pub(in crate::office) async fn inbox(connection: &mut AnyConnection, limit: i64) -> Result<Vec<Sent>, Error> {
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

pub(in crate::office) async fn done(connection: &mut AnyConnection, number: i64) -> Result<(), Error> {
    sqlx::query("DELETE FROM seal_inbox WHERE number = $1").bind(number).execute(connection).await?;
    Ok(())
}

/// Remembers a hello, and forgets those from before; whether it was new.
pub(in crate::office) async fn add_hello(
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

/// Keeps what no seal has signed, and forgets the oldest of a gateway for which there is no room.
pub(in crate::office) async fn add_strange(connection: &mut AnyConnection, sent: &Sent) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO strange (number, gateway, received_ms, envelope) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (number) DO NOTHING",
    )
    .bind(sent.number)
    .bind(sent.gateway.as_str())
    .bind(sent.received_ms)
    .bind(sent.envelope.as_slice())
    .execute(&mut *connection)
    .await?;
    let sql = format!(
        "DELETE FROM strange WHERE gateway = $1 AND number < \
         (SELECT number FROM strange WHERE gateway = $1 ORDER BY number DESC LIMIT 1 OFFSET {MAX_STRANGE})"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(sent.gateway.as_str()).execute(connection).await?;
    Ok(())
}
