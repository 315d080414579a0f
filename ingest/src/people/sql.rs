//! The statements about people, for SQLite and PostgreSQL.

use std::collections::BTreeMap;

use seal::keys::{Algorithm, PublicKey};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Connection, Error, Row};

use super::account::{Account, Key, Login, State};
use super::password::Hash;
use super::role::{Duty, Role, Scope};
use super::session::{self, Digest};
use crate::database;

mod passkeys;

/// One connection.
pub(super) struct Store {
    url: String,
    connection: AnyConnection,
}

/// What a session's row says.
pub(super) struct SessionRow {
    pub(super) account: Login,
    pub(super) created_ms: i64,
    pub(super) seen_ms: i64,
    pub(super) passkey_ms: Option<i64>,
}

impl Store {
    pub(super) async fn open(url: &str) -> Result<Self, Error> {
        Ok(Self { url: url.to_owned(), connection: database::open(url).await? })
    }

    /// A server may have gone away and come back: a fresh connection then.
    pub(super) async fn mend(&mut self) -> Result<(), Error> {
        if self.connection.ping().await.is_err() {
            self.connection = database::connect(&self.url).await?;
        }
        Ok(())
    }

    /// Whether somebody active manages the whole city.
    pub(super) async fn has_admin(&mut self) -> Result<bool, Error> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS admins FROM roles JOIN accounts ON accounts.name = roles.account \
             WHERE role = 'admin' AND area = '*' AND state = 'active'",
        )
        .fetch_one(&mut self.connection)
        .await?;
        Ok(row.try_get::<i64, _>("admins")? > 0)
    }

    pub(super) async fn count(&mut self) -> Result<i64, Error> {
        let row =
            sqlx::query("SELECT COUNT(*) AS accounts FROM accounts").fetch_one(&mut self.connection).await?;
        row.try_get("accounts")
    }

    pub(super) async fn account(&mut self, name: &Login) -> Result<Option<Account>, Error> {
        let row = sqlx::query(
            "SELECT name, shown, state, choose_until_ms, created_ms, changed_ms FROM accounts WHERE name = $1",
        )
        .bind(name.as_str())
        .fetch_optional(&mut self.connection)
        .await?;
        let found = self.filled(row.as_slice()).await?;
        Ok(found.into_iter().next())
    }

    /// Accounts by name, after `after`.
    pub(super) async fn accounts(&mut self, after: &str, limit: usize) -> Result<Vec<Account>, Error> {
        let rows = sqlx::query(
            "SELECT name, shown, state, choose_until_ms, created_ms, changed_ms FROM accounts WHERE name > $1 \
             ORDER BY name LIMIT $2",
        )
        .bind(after)
        .bind(limit as i64)
        .fetch_all(&mut self.connection)
        .await?;
        self.filled(&rows).await
    }

    /// Accounts of neighbouring rows with their roles and keys.
    async fn filled(&mut self, rows: &[AnyRow]) -> Result<Vec<Account>, Error> {
        let mut accounts = rows.iter().map(account).collect::<Result<Vec<_>, _>>()?;
        let (Some(first), Some(last)) = (accounts.first(), accounts.last()) else { return Ok(accounts) };
        let (first, last) = (first.name.clone(), last.name.clone());
        let by_name: BTreeMap<String, usize> =
            accounts.iter().enumerate().map(|(at, account)| (account.name.to_string(), at)).collect();
        let roles =
            sqlx::query("SELECT account, role, area FROM roles WHERE account >= $1 AND account <= $2")
                .bind(first.as_str())
                .bind(last.as_str())
                .fetch_all(&mut self.connection)
                .await?;
        for row in &roles {
            if let Some(at) = by_name.get(&row.try_get::<String, _>("account")?) {
                accounts[*at].roles.push(duty(row)?);
            }
        }
        accounts.iter_mut().for_each(|account| account.roles.sort());
        let keys = sqlx::query(
            "SELECT account, public, algorithm, label, added_ms, retired_ms FROM person_keys \
             WHERE account >= $1 AND account <= $2 ORDER BY added_ms, public",
        )
        .bind(first.as_str())
        .bind(last.as_str())
        .fetch_all(&mut self.connection)
        .await?;
        for row in &keys {
            if let Some(at) = by_name.get(&row.try_get::<String, _>("account")?) {
                accounts[*at].keys.push(key(row)?);
            }
        }
        let rows = sqlx::query(
            "SELECT account, id, label, added_ms, used_ms FROM passkeys \
             WHERE account >= $1 AND account <= $2 ORDER BY added_ms, id",
        )
        .bind(first.as_str())
        .bind(last.as_str())
        .fetch_all(&mut self.connection)
        .await?;
        for row in &rows {
            if let Some(at) = by_name.get(&row.try_get::<String, _>("account")?) {
                accounts[*at].passkeys.push(passkeys::passkey(row)?);
            }
        }
        Ok(accounts)
    }

    pub(super) async fn password(&mut self, name: &Login) -> Result<Option<Hash>, Error> {
        let row = sqlx::query("SELECT password FROM accounts WHERE name = $1")
            .bind(name.as_str())
            .fetch_optional(&mut self.connection)
            .await?;
        row.map(|row| row.try_get("password").map(Hash)).transpose()
    }

    /// A new account with its roles.
    pub(super) async fn create(&mut self, account: &Account, password: &Hash) -> Result<(), Error> {
        let mut transaction = self.connection.begin().await?;
        sqlx::query(
            "INSERT INTO accounts (name, shown, state, password, choose_until_ms, created_ms, changed_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(account.name.as_str())
        .bind(account.shown.as_str())
        .bind(account.state.word())
        .bind(password.0.as_str())
        .bind(account.choose_until_ms)
        .bind(account.created_ms)
        .bind(account.changed_ms)
        .execute(&mut *transaction)
        .await?;
        insert_roles(&mut transaction, account).await?;
        transaction.commit().await
    }

    /// Name, state and roles of an account; one that is disabled has no sessions any more.
    pub(super) async fn change(&mut self, account: &Account) -> Result<(), Error> {
        let mut transaction = self.connection.begin().await?;
        sqlx::query("UPDATE accounts SET shown = $1, state = $2, changed_ms = $3 WHERE name = $4")
            .bind(account.shown.as_str())
            .bind(account.state.word())
            .bind(account.changed_ms)
            .bind(account.name.as_str())
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM roles WHERE account = $1")
            .bind(account.name.as_str())
            .execute(&mut *transaction)
            .await?;
        insert_roles(&mut transaction, account).await?;
        if account.state == State::Disabled {
            end_sessions(&mut transaction, &account.name, None).await?;
        }
        transaction.commit().await
    }

    /// A new password; all sessions of the account end but `keep`.
    pub(super) async fn set_password(
        &mut self,
        name: &Login,
        password: &Hash,
        choose_until_ms: Option<i64>,
        keep: Option<&Digest>,
    ) -> Result<(), Error> {
        let mut transaction = self.connection.begin().await?;
        sqlx::query("UPDATE accounts SET password = $1, choose_until_ms = $2 WHERE name = $3")
            .bind(password.0.as_str())
            .bind(choose_until_ms)
            .bind(name.as_str())
            .execute(&mut *transaction)
            .await?;
        end_sessions(&mut transaction, name, keep).await?;
        transaction.commit().await
    }

    pub(super) async fn session(&mut self, digest: &Digest) -> Result<Option<SessionRow>, Error> {
        let row =
            sqlx::query("SELECT account, created_ms, seen_ms, passkey_ms FROM sessions WHERE digest = $1")
                .bind(digest.0.as_slice())
                .fetch_optional(&mut self.connection)
                .await?;
        row.map(|row| {
            let (created_ms, seen_ms) = (row.try_get("created_ms")?, row.try_get("seen_ms")?);
            let passkey_ms = row.try_get("passkey_ms")?;
            Ok(SessionRow { account: login(&row, "account")?, created_ms, seen_ms, passkey_ms })
        })
        .transpose()
    }

    /// A new session; those that are over go, and the oldest of this account when there are too many.
    pub(super) async fn open_session(
        &mut self,
        digest: &Digest,
        name: &Login,
        passkey_ms: Option<i64>,
        now_ms: i64,
    ) -> Result<(), Error> {
        let mut transaction = self.connection.begin().await?;
        sqlx::query(
            "INSERT INTO sessions (digest, account, created_ms, seen_ms, passkey_ms) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(digest.0.as_slice())
        .bind(name.as_str())
        .bind(now_ms)
        .bind(now_ms)
        .bind(passkey_ms)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM sessions WHERE created_ms <= $1 OR seen_ms <= $2")
            .bind(now_ms - session::LIFE_MS)
            .bind(now_ms - session::IDLE_MS)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "DELETE FROM sessions WHERE account = $1 AND digest NOT IN \
             (SELECT digest FROM sessions WHERE account = $2 ORDER BY created_ms DESC LIMIT $3)",
        )
        .bind(name.as_str())
        .bind(name.as_str())
        .bind(session::MOST)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    }

    pub(super) async fn touch_session(&mut self, digest: &Digest, now_ms: i64) -> Result<(), Error> {
        sqlx::query("UPDATE sessions SET seen_ms = $1 WHERE digest = $2")
            .bind(now_ms)
            .bind(digest.0.as_slice())
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    pub(super) async fn end_session(&mut self, digest: &Digest) -> Result<(), Error> {
        sqlx::query("DELETE FROM sessions WHERE digest = $1")
            .bind(digest.0.as_slice())
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Whose a key is or was.
    pub(super) async fn owner(&mut self, public: &PublicKey) -> Result<Option<Login>, Error> {
        let row = sqlx::query("SELECT account FROM person_keys WHERE public = $1")
            .bind(public.bytes())
            .fetch_optional(&mut self.connection)
            .await?;
        row.map(|row| login(&row, "account")).transpose()
    }

    pub(super) async fn add_key(&mut self, name: &Login, key: &Key) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO person_keys (public, algorithm, account, label, added_ms) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(key.public.bytes())
        .bind(i64::from(key.public.algorithm().number()))
        .bind(name.as_str())
        .bind(key.label.as_str())
        .bind(key.added_ms)
        .execute(&mut self.connection)
        .await?;
        Ok(())
    }

    /// What is retired stays so since then.
    pub(super) async fn retire_key(
        &mut self,
        name: &Login,
        public: &PublicKey,
        now_ms: i64,
    ) -> Result<(), Error> {
        sqlx::query(
            "UPDATE person_keys SET retired_ms = $1 WHERE public = $2 AND account = $3 AND retired_ms IS NULL",
        )
        .bind(now_ms)
        .bind(public.bytes())
        .bind(name.as_str())
        .execute(&mut self.connection)
        .await?;
        Ok(())
    }
}

async fn insert_roles(connection: &mut AnyConnection, account: &Account) -> Result<(), Error> {
    for duty in &account.roles {
        sqlx::query("INSERT INTO roles (account, role, area) VALUES ($1, $2, $3)")
            .bind(account.name.as_str())
            .bind(duty.role.word())
            .bind(duty.area.as_str())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn end_sessions(
    connection: &mut AnyConnection,
    name: &Login,
    keep: Option<&Digest>,
) -> Result<(), Error> {
    let keep = keep.map_or(&[][..], |digest| digest.0.as_slice());
    sqlx::query("DELETE FROM sessions WHERE account = $1 AND digest <> $2")
        .bind(name.as_str())
        .bind(keep)
        .execute(connection)
        .await?;
    Ok(())
}

fn unreadable(what: impl std::fmt::Display) -> Error {
    Error::Decode(what.to_string().into())
}

fn login(row: &AnyRow, column: &str) -> Result<Login, Error> {
    Login::new(&row.try_get::<String, _>(column)?).map_err(unreadable)
}

fn account(row: &AnyRow) -> Result<Account, Error> {
    let state: String = row.try_get("state")?;
    Ok(Account {
        name: login(row, "name")?,
        shown: row.try_get("shown")?,
        state: State::from_word(&state).ok_or_else(|| unreadable(format!("state {state:?}")))?,
        roles: Vec::new(),
        keys: Vec::new(),
        passkeys: Vec::new(),
        choose_until_ms: row.try_get("choose_until_ms")?,
        created_ms: row.try_get("created_ms")?,
        changed_ms: row.try_get("changed_ms")?,
    })
}

fn duty(row: &AnyRow) -> Result<Duty, Error> {
    let (role, area): (String, String) = (row.try_get("role")?, row.try_get("area")?);
    Ok(Duty {
        role: Role::from_word(&role).ok_or_else(|| unreadable(format!("role {role:?}")))?,
        area: Scope::new(&area).map_err(unreadable)?,
    })
}

fn key(row: &AnyRow) -> Result<Key, Error> {
    let number: i64 = row.try_get("algorithm")?;
    let algorithm = Algorithm::ALL.into_iter().find(|algorithm| i64::from(algorithm.number()) == number);
    let algorithm = algorithm.ok_or_else(|| unreadable(format!("algorithm {number} of a key")))?;
    let bytes: Vec<u8> = row.try_get("public")?;
    let public = PublicKey::new(algorithm, &bytes);
    Ok(Key {
        public: public.ok_or_else(|| unreadable(format!("a key of {} bytes", bytes.len())))?,
        label: row.try_get("label")?,
        added_ms: row.try_get("added_ms")?,
        retired_ms: row.try_get("retired_ms")?,
    })
}
