//! The way to SQL: SQLite by default, PostgreSQL by URL, one set of statements and of tables for both.
//!
//! `$1` is understood by both. Transactions begin by [`begin`].

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

/// Begins a transaction. On SQLite it takes the lock for writing at once: one that reads first is refused its first write,
/// without any waiting, when another connection has written meanwhile, and people, registry and office are three.
pub(crate) async fn begin(
    connection: &mut AnyConnection,
) -> Result<sqlx::Transaction<'_, sqlx::Any>, sqlx::Error> {
    if connection.backend_name() == "SQLite" {
        return connection.begin_with("BEGIN IMMEDIATE").await;
    }
    connection.begin().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_reads_first_may_still_write() {
        let fresh = testing::each().await.swap_remove(0);
        let mut one = open(&fresh.url).await.unwrap();
        let mut other = connect(&fresh.url).await.unwrap();
        one.execute("CREATE TABLE story (word TEXT)").await.unwrap();
        other.execute("PRAGMA busy_timeout = 0").await.unwrap();
        let mut transaction = begin(&mut one).await.unwrap();
        transaction.fetch_all("SELECT word FROM story").await.unwrap();
        let between = other.execute("INSERT INTO story VALUES ('between')").await;
        assert!(between.is_err(), "others wait until it is done");
        transaction.execute("INSERT INTO story VALUES ('first')").await.unwrap();
        transaction.commit().await.unwrap();
        other.execute("INSERT INTO story VALUES ('second')").await.unwrap();
    }
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
