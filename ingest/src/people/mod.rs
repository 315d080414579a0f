//! People: who they are, what they may do and where, and the sessions in which they do it.
//!
//! # Layout
//! - [`role`]: who may do what, and where; [`account`]: a person; [`session`]: how long somebody is known
//! - [`password`]: argon2id, a few at once; `throttle`: how long to wait after failures
//! - `manage`: what admins do with accounts of others; `own`: what people do with their own
//! - [`passkey`]: passkeys, the only file that knows their library; `factor`: when one is asked for, and who may change
//!   them; `ceremonies`: the questions that wait for one
//! - `sql`: the statements; `error`: what goes wrong
//!
//! SQL has the word. A session is answered from memory for at most a minute, and everything known is forgotten whenever
//! something changes, which is seldom. Each change holds the connection until memory has forgotten, and goes on to its end
//! when the one who asked goes away.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::MutexGuard;

pub mod account;
mod ceremonies;
mod error;
mod factor;
mod manage;
mod own;
pub mod passkey;
#[cfg(test)]
mod passkey_tests;
pub mod password;
pub mod role;
pub mod session;
mod sql;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod throttle;

use account::{Account, Login, MAX_SHOWN, State};
use ceremonies::Ceremonies;
use passkey::{Assertion, Registration, Site};
use password::{Cost, Hasher, Password};
use role::{Duty, Role, Scope};
use session::{Digest, Session, Token, ends_ms};
use sql::Store;
use throttle::Throttle;

pub use error::PeopleError;
pub use factor::FRESH_MS;
pub use manage::{CHOOSE_MS, Change, MAX_ACCOUNTS, NewAccount};
pub use own::{NewKey, key_text, proof_message, read_key};

/// How long the link for the first admin is good.
pub const FIRST_LINK_MS: i64 = 3_600_000;
/// Failures of a name that cost no pause: typing errors.
const FREE_BY_NAME: u32 = 3;
/// Longest pause of a name: an account under attack is closed to its owner for no longer, and sessions go on.
const PAUSE_BY_NAME_MS: i64 = 300_000;
/// Failures from an address that cost no pause: a whole office may be behind it.
const FREE_BY_PEER: u32 = 20;
/// Longest pause of an address: everybody who comes by the same tunnel has it, and must still come in.
const PAUSE_BY_PEER_MS: i64 = 5_000;
/// Most sessions in memory, a few megabytes with their accounts.
const KNOWN: usize = 4096;

/// Random bytes from the system.
fn random<const N: usize>() -> Result<[u8; N], PeopleError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| PeopleError::System)?;
    Ok(bytes)
}

/// A handle to the people of the city.
#[derive(Clone)]
pub struct People(Arc<Inner>);

struct Inner {
    store: tokio::sync::Mutex<Store>,
    /// What memory answers for; only the holder of `store` adds to it.
    known: Mutex<HashMap<Digest, Session>>,
    by_name: Mutex<Throttle<String>>,
    by_peer: Mutex<Throttle<IpAddr>>,
    hasher: Hasher,
    first: tokio::sync::Mutex<Option<First>>,
    site: Option<Site>,
    /// By session: passkeys to be registered.
    registrations: Mutex<Ceremonies<Registration>>,
    /// By attempt: who has given the right password, and has to show a passkey.
    attempts: Mutex<Ceremonies<(password::Hash, Assertion)>>,
}

/// What comes of a right password.
#[derive(Debug)]
pub enum Entered {
    /// A session.
    In(Token, Session),
    /// A passkey has to be shown: [`People::enter_with_passkey`].
    Asked {
        /// Names this attempt, for the one who makes it.
        attempt: Token,
        /// What the browser is asked, `publicKey` of Web Authentication §5.5 as JSON.
        options: serde_json::Value,
    },
}

/// The right to become the first admin.
struct First {
    digest: Digest,
    until_ms: i64,
}

impl fmt::Debug for People {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("People").finish_non_exhaustive()
    }
}

impl People {
    /// Opens the database and brings its tables up to date. Passkeys are bound to `site`; without one there are none.
    ///
    /// # Errors
    /// [`PeopleError::Database`], [`PeopleError::System`].
    pub async fn open(url: &str, cost: Cost, site: Option<Site>) -> Result<Self, PeopleError> {
        Ok(Self(Arc::new(Inner {
            store: tokio::sync::Mutex::new(Store::open(url).await?),
            known: Mutex::default(),
            by_name: Mutex::new(Throttle::new(FREE_BY_NAME, PAUSE_BY_NAME_MS)),
            by_peer: Mutex::new(Throttle::new(FREE_BY_PEER, PAUSE_BY_PEER_MS)),
            hasher: Hasher::new(cost)?,
            first: tokio::sync::Mutex::new(None),
            site,
            registrations: Mutex::default(),
            attempts: Mutex::default(),
        })))
    }

    /// A token that makes the first admin, good for [`FIRST_LINK_MS`] and once; `None` when somebody active manages the
    /// whole city. It takes the place of the one before.
    ///
    /// # Errors
    /// [`PeopleError::Database`], [`PeopleError::System`].
    pub async fn first_token(&self, now_ms: i64) -> Result<Option<Token>, PeopleError> {
        let mut first = self.0.first.lock().await;
        *first = None;
        if self.store().await?.has_admin().await? {
            return Ok(None);
        }
        let token = Token::made()?;
        *first = Some(First { digest: token.digest(), until_ms: now_ms + FIRST_LINK_MS });
        Ok(Some(token))
    }

    /// Makes the first admin of the whole city.
    ///
    /// # Errors
    /// [`PeopleError::NoLink`]; as for any new account.
    pub async fn begin(
        &self,
        token: &Token,
        name: Login,
        shown: String,
        password: Password,
        now_ms: i64,
    ) -> Result<Account, PeopleError> {
        let (people, digest) = (self.clone(), token.digest());
        to_the_end(async move {
            let mut first = people.0.first.lock().await;
            if !first.as_ref().is_some_and(|first| first.digest == digest && now_ms < first.until_ms) {
                return Err(PeopleError::NoLink);
            }
            let roles = vec![Duty { role: Role::Admin, area: Scope::City }];
            let account = Account { shown: shown_name(&shown)?, roles, ..blank(name, now_ms) };
            own::check(&password, &account.name)?;
            let hash = people.0.hasher.hash(password).await?;
            let mut store = people.store().await?;
            manage::check_new(&mut store, &account).await?;
            store.create(&account, &hash).await?;
            *first = None;
            Ok(account)
        })
        .await
    }

    /// Opens a session, or asks who holds a passkey to show it.
    ///
    /// # Errors
    /// [`PeopleError::WrongLogin`], [`PeopleError::TooLate`], [`PeopleError::Wait`], [`PeopleError::Busy`],
    /// [`PeopleError::PasskeysOff`] when a passkey is held and none can be shown.
    pub async fn enter(
        &self,
        name: &str,
        password: Password,
        peer: IpAddr,
        now_ms: i64,
    ) -> Result<Entered, PeopleError> {
        let (people, name, peer) = (self.clone(), name.to_owned(), network(peer));
        to_the_end(async move {
            locked(&people.0.by_peer)
                .attempt(&peer, now_ms)
                .map_err(|wait_ms| PeopleError::Wait { wait_ms })?;
            let name = Login::new(&name).map_err(|_| PeopleError::WrongLogin)?;
            let proven = people.proven(&name, password, now_ms).await;
            if !matches!(proven, Err(PeopleError::WrongLogin)) {
                locked(&people.0.by_peer).excused(&peer);
            }
            let hash = proven?;
            let mut store = people.store().await?;
            let account = people.unchanged(&mut store, &name, &hash, now_ms).await?;
            if account.passkeys.is_empty() {
                let (token, session) = people.open_session(&mut store, account, None, now_ms).await?;
                return Ok(Entered::In(token, session));
            }
            let (options, asked) = people.passkeys()?.ask(store.credentials(&name).await?)?;
            let attempt = Token::made()?;
            locked(&people.0.attempts).ask(attempt.digest(), &name, (hash, asked), now_ms)?;
            Ok(Entered::Asked { attempt, options })
        })
        .await
    }

    async fn open_session(
        &self,
        store: &mut Store,
        account: Account,
        passkey_ms: Option<i64>,
        now_ms: i64,
    ) -> Result<(Token, Session), PeopleError> {
        let token = Token::made()?;
        store.open_session(&token.digest(), &account.name, passkey_ms, now_ms).await?;
        // The oldest session may have ended for this one.
        self.forget();
        let (digest, account) = (token.digest(), Arc::new(account));
        Ok((token, Session { digest, account, passkey_ms, created_ms: now_ms, seen_ms: now_ms }))
    }

    /// Whose token it is; `None` when its session is over or never was.
    ///
    /// # Errors
    /// [`PeopleError::Database`].
    pub async fn who(&self, token: &Token, now_ms: i64) -> Result<Option<Session>, PeopleError> {
        let digest = token.digest();
        let known = locked(&self.0.known).get(&digest).cloned();
        if let Some(session) = known
            && session.is_fresh(now_ms)
        {
            return Ok(Some(session));
        }
        let people = self.clone();
        to_the_end(async move {
            let mut store = people.store().await?;
            let Some(row) = store.session(&digest).await? else { return Ok(None) };
            if ends_ms(row.created_ms, row.seen_ms) <= now_ms {
                store.end_session(&digest).await?;
                return Ok(None);
            }
            let account = store.account(&row.account).await?;
            let Some(account) = account.filter(|account| account.state == State::Active) else {
                return Ok(None);
            };
            store.touch_session(&digest, now_ms).await?;
            let (account, passkey_ms) = (Arc::new(account), row.passkey_ms);
            let session =
                Session { digest, account, passkey_ms, created_ms: row.created_ms, seen_ms: now_ms };
            let mut known = locked(&people.0.known);
            if known.len() >= KNOWN {
                known.clear();
            }
            known.insert(digest, session.clone());
            Ok(Some(session))
        })
        .await
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`PeopleError::Database`].
    pub async fn leave(&self, session: &Session) -> Result<(), PeopleError> {
        let (people, digest) = (self.clone(), session.digest);
        to_the_end(async move {
            people.store().await?.end_session(&digest).await?;
            people.forget();
            Ok(())
        })
        .await
    }

    /// The hash that `password` fits; failures make the next ones wait.
    async fn proven(
        &self,
        name: &Login,
        password: Password,
        now_ms: i64,
    ) -> Result<password::Hash, PeopleError> {
        let key = name.to_string();
        locked(&self.0.by_name).attempt(&key, now_ms).map_err(|wait_ms| PeopleError::Wait { wait_ms })?;
        let verified = self.verified(name, password).await;
        match &verified {
            Ok(_) => locked(&self.0.by_name).succeeded(&key),
            Err(PeopleError::WrongLogin) => {}
            // Nobody's fault: too many at once, no database.
            Err(_) => locked(&self.0.by_name).excused(&key),
        }
        verified
    }

    async fn verified(&self, name: &Login, password: Password) -> Result<password::Hash, PeopleError> {
        let hash = self.store().await?.password(name).await?;
        let fits = self.0.hasher.verify(password, hash.clone()).await?;
        hash.filter(|_| fits).ok_or(PeopleError::WrongLogin)
    }

    /// The connection, whole.
    async fn store(&self) -> Result<MutexGuard<'_, Store>, PeopleError> {
        let mut store = self.0.store.lock().await;
        store.mend().await?;
        Ok(store)
    }

    /// Forgets what memory answers for. To be called with the connection held.
    fn forget(&self) {
        locked(&self.0.known).clear();
    }
}

/// Goes on when the one who asked goes away, so that memory follows what SQL did.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, PeopleError>> + Send + 'static,
) -> Result<T, PeopleError> {
    tokio::spawn(work).await.unwrap_or(Err(PeopleError::Stopped))
}

/// What a panicking thread left behind is still a table of numbers.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What one subscriber has: an address, or the first half of one of version 6.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 => v4,
    }
}

/// A name as others see it.
fn shown_name(text: &str) -> Result<String, PeopleError> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > MAX_SHOWN || text.chars().any(char::is_control) {
        let detail = format!("1 to {MAX_SHOWN} characters expected, none of them a control character");
        return Err(PeopleError::Unusable { field: "shown", detail });
    }
    Ok(text.to_owned())
}

/// An account that may do nothing yet.
fn blank(name: Login, now_ms: i64) -> Account {
    Account {
        name,
        shown: String::new(),
        state: State::Active,
        roles: Vec::new(),
        keys: Vec::new(),
        passkeys: Vec::new(),
        choose_until_ms: None,
        created_ms: now_ms,
        changed_ms: now_ms,
    }
}
