//! The way to SQL: SQLite by default, PostgreSQL by URL, one set of statements and of tables for both.
//!
//! `$1` is understood by both. On SQLite a transaction begins with a write: one that reads first and writes after another
//! connection has written fails at once, however long it would wait.

use sqlx::{AnyConnection, Connection, Executor};

static TABLES: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Opens a connection and brings the tables up to date.
pub(crate) async fn open(url: &str) -> Result<AnyConnection, sqlx::Error> {
    sqlx::any::install_default_drivers();
    let mut connection = connect(url).await?;
    TABLES.run(&mut connection).await?;
    Ok(connection)
}

/// Opens a connection to tables that are up to date.
pub(crate) async fn connect(url: &str) -> Result<AnyConnection, sqlx::Error> {
    let mut connection = AnyConnection::connect(url).await?;
    if url.starts_with("sqlite:") {
        // FULL: what is answered after a commit, and a checkpoint, rely on it.
        for pragma in ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA busy_timeout = 5000"]
        {
            connection.execute(pragma).await?;
        }
    }
    Ok(connection)
}
