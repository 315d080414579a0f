//! Photographs. A receipt names them by their digests and comes first; they follow in parts, in the lane that is dropped first
//! when there is no room. What no receipt names is not kept, and one that does not come is a finding.

use std::io;
use std::path::Path;

use seal::keys::digest;

use super::finding::Finding;
use super::sql::{self, Due, ReceiptRow};
use super::{Office, OfficeError, hex, picture_name};
use crate::tlog::{Folder, Storage as _, put};

impl Office {
    fn pictures(&self) -> std::path::PathBuf {
        self.shared.settings.folder.join("pictures")
    }

    /// Remembers which photographs a receipt names that have not come.
    pub(super) async fn wait_for_pictures(
        &self,
        connection: &mut sqlx::AnyConnection,
        row: &ReceiptRow,
    ) -> Result<(), OfficeError> {
        for digest in [row.before, row.after].into_iter().flatten() {
            // A folder that cannot be looked into must not keep a receipt from being taken.
            let path = self.pictures().join(picture_name(&digest));
            if tokio::fs::try_exists(path).await.unwrap_or(false) {
                continue;
            }
            let (receipt, seal, number) = (row.digest, row.seal.clone(), row.number);
            let due = Due { digest, receipt, seal, number, since_ms: row.received_ms, is_told: false };
            sql::put_due(connection, &due).await?;
        }
        Ok(())
    }

    /// Writes photographs of which all parts are there.
    pub(super) async fn keep_pictures(&self, now_ms: i64) -> Result<(), OfficeError> {
        let mut desk = self.shared.desk.lock().await;
        for (name, gateway, total) in sql::whole_pictures(&mut desk.connection).await? {
            let bytes = sql::picture(&mut desk.connection, &name, &gateway, total).await?;
            let is_it = digest(&[&bytes]) == name;
            if is_it {
                tokio::task::block_in_place(|| keep_picture(&self.pictures(), &picture_name(&name), &bytes))?;
            } else {
                let picture = hex(&name[..]);
                tracing::warn!(picture, gateway, "a photograph is not what it is named: it is dropped");
            }
            let mut transaction = sql::begin(&mut desk.connection).await?;
            sql::forget_parts(&mut transaction, &name, &gateway, total).await?;
            if is_it {
                for due in sql::due(&mut transaction, &name).await?.iter().filter(|due| due.is_told) {
                    let came = Finding::PhotoCame(due.number);
                    sql::add_finding(&mut transaction, &due.seal, &came, &due.receipt, now_ms).await?;
                }
                sql::forget_due(&mut transaction, &name).await?;
            }
            transaction.commit().await?;
        }
        Ok(())
    }

    /// Tells which photographs were waited for long enough.
    pub(super) async fn miss_pictures(&self, now_ms: i64) -> Result<(), OfficeError> {
        let patience_ms = i64::try_from(self.shared.settings.photo_patience.as_millis()).unwrap_or(i64::MAX);
        let mut desk = self.shared.desk.lock().await;
        let all = sql::overdue(&mut desk.connection, now_ms.saturating_sub(patience_ms)).await?;
        if all.is_empty() {
            return Ok(());
        }
        let mut transaction = sql::begin(&mut desk.connection).await?;
        for due in all {
            let missing = Finding::PhotoMissing(due.number);
            sql::add_finding(&mut transaction, &due.seal, &missing, &due.receipt, now_ms).await?;
            Self::tell_findings(&due.seal, &[missing], now_ms);
            sql::put_due(&mut transaction, &Due { is_told: true, ..due }).await?;
        }
        Ok(transaction.commit().await?)
    }
}

/// Writes a photograph so that it is on stable storage, whole, before its parts are forgotten.
fn keep_picture(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = Folder::open(folder)?;
    put(&folder, name, bytes)?;
    folder.sync_folder("")
}
