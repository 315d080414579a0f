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

#[cfg(test)]
pub(crate) mod testing {
    use tempfile::TempDir;

    use super::*;

    /// Names a PostgreSQL for tests: a URL with the database `/postgres?`; see `benches/people/postgres`.
    const POSTGRES: &str = "WATCHFIRE_TEST_POSTGRES";

    /// A database of a test's own.
    pub(crate) struct Fresh {
        pub(crate) url: String,
        _folder: Option<TempDir>,
    }

    /// An empty database of each kind there is: SQLite, and PostgreSQL where one is named.
    pub(crate) async fn each() -> Vec<Fresh> {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("r.sqlite").display());
        let mut all = vec![Fresh { url, _folder: Some(folder) }];
        if let Ok(server) = std::env::var(POSTGRES) {
            let name = format!("test_{:016x}", fastrand::u64(..));
            sqlx::any::install_default_drivers();
            let mut connection = AnyConnection::connect(&server).await.unwrap();
            let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
            sqlx::query(create).execute(&mut connection).await.unwrap();
            let url = server.replacen("/postgres?", &format!("/{name}?"), 1);
            assert_ne!(url, server, "{POSTGRES} names the database /postgres?");
            all.push(Fresh { url, _folder: None });
        }
        all
    }
}
