//! The statements about passkeys.

use sqlx::any::AnyRow;
use sqlx::{Connection, Error, Row};

use super::{Store, end_sessions};
use crate::people::account::{Login, Passkey};
use crate::people::passkey::{PasskeyId, Shown, Stored};
use crate::people::session::Digest;

impl Store {
    /// What the passkeys of an account are judged by.
    pub(in crate::people) async fn credentials(&mut self, name: &Login) -> Result<Vec<Stored>, Error> {
        let rows = sqlx::query("SELECT credential FROM passkeys WHERE account = $1 ORDER BY added_ms, id")
            .bind(name.as_str())
            .fetch_all(&mut self.connection)
            .await?;
        rows.iter().map(|row| row.try_get("credential").map(Stored)).collect()
    }

    /// Whether anybody holds this passkey.
    pub(in crate::people) async fn holds_passkey(&mut self, id: &PasskeyId) -> Result<bool, Error> {
        let row = sqlx::query("SELECT id FROM passkeys WHERE id = $1")
            .bind(id.0.as_slice())
            .fetch_optional(&mut self.connection)
            .await?;
        Ok(row.is_some())
    }

    /// A new passkey, which was shown in `session`; all other sessions of the account end.
    pub(in crate::people) async fn add_passkey(
        &mut self,
        name: &Login,
        passkey: &Passkey,
        credential: &Stored,
        session: &Digest,
    ) -> Result<(), Error> {
        let mut transaction = self.connection.begin().await?;
        sqlx::query(
            "INSERT INTO passkeys (id, account, label, credential, added_ms) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(passkey.id.0.as_slice())
        .bind(name.as_str())
        .bind(passkey.label.as_str())
        .bind(credential.0.as_str())
        .bind(passkey.added_ms)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("UPDATE sessions SET passkey_ms = $1 WHERE digest = $2")
            .bind(passkey.added_ms)
            .bind(session.0.as_slice())
            .execute(&mut *transaction)
            .await?;
        end_sessions(&mut transaction, name, Some(session)).await?;
        transaction.commit().await
    }

    /// Keeps the counter of a passkey that was shown. False when it is gone or was shown elsewhere meanwhile: then its
    /// counter was judged by an old one.
    pub(in crate::people) async fn use_passkey(
        &mut self,
        name: &Login,
        shown: &Shown,
        now_ms: i64,
    ) -> Result<bool, Error> {
        let done = sqlx::query(
            "UPDATE passkeys SET credential = $1, used_ms = $2 WHERE id = $3 AND account = $4 AND credential = $5",
        )
        .bind(shown.after.0.as_str())
        .bind(now_ms)
        .bind(shown.id.0.as_slice())
        .bind(name.as_str())
        .bind(shown.before.0.as_str())
        .execute(&mut self.connection)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// False when it is not one of this account.
    pub(in crate::people) async fn rename_passkey(
        &mut self,
        name: &Login,
        id: &PasskeyId,
        label: &str,
    ) -> Result<bool, Error> {
        let done = sqlx::query("UPDATE passkeys SET label = $1 WHERE id = $2 AND account = $3")
            .bind(label)
            .bind(id.0.as_slice())
            .bind(name.as_str())
            .execute(&mut self.connection)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Removes a passkey; all sessions of the account end but `keep`. False when it is not one of this account.
    pub(in crate::people) async fn remove_passkey(
        &mut self,
        name: &Login,
        id: &PasskeyId,
        keep: Option<&Digest>,
    ) -> Result<bool, Error> {
        let mut transaction = self.connection.begin().await?;
        let done = sqlx::query("DELETE FROM passkeys WHERE id = $1 AND account = $2")
            .bind(id.0.as_slice())
            .bind(name.as_str())
            .execute(&mut *transaction)
            .await?;
        end_sessions(&mut transaction, name, keep).await?;
        let removed = done.rows_affected() == 1;
        if removed {
            transaction.commit().await?;
        }
        Ok(removed)
    }
}

/// A passkey as its owner sees it.
pub(super) fn passkey(row: &AnyRow) -> Result<Passkey, Error> {
    Ok(Passkey {
        id: PasskeyId(row.try_get("id")?),
        label: row.try_get("label")?,
        added_ms: row.try_get("added_ms")?,
        used_ms: row.try_get("used_ms")?,
    })
}
