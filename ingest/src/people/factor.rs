//! The second factor: who holds a passkey logs in with password *and* passkey.
//!
//! The password comes first. So nobody learns without it whether a name exists or holds passkeys, no question waits for
//! a stranger, and a passkey of any make will do. The passkey has to verify its owner (a finger, a face, a PIN), so what
//! is stolen alone, password, passkey or session, lets nobody in and changes nothing.
//!
//! Nobody gets out of it: an own passkey is added or removed with the password, in a session in which one was shown
//! moments ago; the last one is removed by an admin only, and never by oneself. Whatever changes, other sessions end.

use std::net::IpAddr;

use serde_json::Value;

use super::account::{Account, Login, MAX_PASSKEYS, Passkey, State};
use super::manage::found;
use super::own::label;
use super::passkey::{PasskeyId, Refused, Site};
use super::password::Password;
use super::role::may_manage;
use super::session::{Session, Token};
use super::sql::Store;
use super::{People, PeopleError, locked, network, to_the_end};

/// How long after a passkey was shown others may be added or removed.
pub const FRESH_MS: i64 = 600_000;

const LAST: &str = "the last passkey is removed by an admin only: else a stolen session would do. Register another one first";
const ONESELF: &str = "nobody removes passkeys here for themselves: another admin has to";
const NOT_MANAGED: &str = "only an admin of all areas in which this person has a role may do that";

impl People {
    /// The site to which passkeys are bound; `None` when there are to be none.
    pub fn site(&self) -> Option<&Site> {
        self.0.site.as_ref()
    }

    /// Goes on only in a session in which a passkey was shown. Where there are no passkeys, it always does.
    ///
    /// # Errors
    /// [`PeopleError::PasskeyNeeded`].
    pub fn must_have_shown(&self, session: &Session) -> Result<(), PeopleError> {
        if self.0.site.is_some() && session.passkey_ms.is_none() {
            return Err(PeopleError::PasskeyNeeded);
        }
        Ok(())
    }

    /// Opens the session for which [`People::enter`] has asked a passkey.
    ///
    /// # Errors
    /// [`PeopleError::NotAsked`], [`PeopleError::Passkey`], [`PeopleError::WrongLogin`] when the account changed
    /// meanwhile, [`PeopleError::Wait`].
    pub async fn enter_with_passkey(
        &self,
        attempt: &Token,
        answer: Value,
        peer: IpAddr,
        now_ms: i64,
    ) -> Result<(Token, Session), PeopleError> {
        let (people, attempt, peer) = (self.clone(), attempt.digest(), network(peer));
        to_the_end(async move {
            locked(&people.0.by_peer)
                .attempt(&peer, now_ms)
                .map_err(|wait_ms| PeopleError::Wait { wait_ms })?;
            let (name, (hash, asked)) = locked(&people.0.attempts).answered(&attempt, now_ms)?;
            let shown = people.passkeys()?.judge(asked, &answer).map_err(|why| refused(&name, why))?;
            let mut store = people.store().await?;
            let account = people.unchanged(&mut store, &name, &hash, now_ms).await?;
            if !store.use_passkey(&name, &shown, now_ms).await? {
                let why = "it was removed, or shown elsewhere at the same time: log in again";
                return Err(refused(&name, Refused::Unfit(why.into())));
            }
            let opened = people.open_session(&mut store, account, Some(now_ms), now_ms).await?;
            locked(&people.0.by_peer).excused(&peer);
            Ok(opened)
        })
        .await
    }

    /// What the browser is asked for a new passkey. The password is asked again.
    ///
    /// # Errors
    /// [`PeopleError::PasskeysOff`], [`PeopleError::PasskeyStale`], [`PeopleError::WrongLogin`], [`PeopleError::Wait`],
    /// [`PeopleError::Unusable`] when there are as many as there may be.
    pub async fn ask_passkey(
        &self,
        session: &Session,
        password: Password,
        now_ms: i64,
    ) -> Result<Value, PeopleError> {
        let (people, session) = (self.clone(), session.clone());
        to_the_end(async move {
            let name = &session.account.name;
            let site = people.passkeys()?;
            let account = people.may_change(&session, password, now_ms).await?;
            check_room(&account)?;
            let (options, asked) = site.ask_new(&account).map_err(|why| refused(name, why))?;
            locked(&people.0.registrations).ask(session.digest, name, asked, now_ms)?;
            Ok(options)
        })
        .await
    }

    /// Registers the passkey that [`People::ask_passkey`] has asked for in this session. Other sessions end; in this one
    /// it counts as shown.
    ///
    /// # Errors
    /// [`PeopleError::NotAsked`], [`PeopleError::Passkey`], [`PeopleError::Taken`], [`PeopleError::Unusable`].
    pub async fn add_passkey(
        &self,
        session: &Session,
        called: String,
        answer: Value,
        now_ms: i64,
    ) -> Result<Passkey, PeopleError> {
        let (people, session) = (self.clone(), session.digest);
        to_the_end(async move {
            let (name, asked) = locked(&people.0.registrations).answered(&session, now_ms)?;
            let label = label(&called)?;
            let (id, credential) =
                people.passkeys()?.take_new(&asked, &answer).map_err(|why| refused(&name, why))?;
            let mut store = people.store().await?;
            // Whatever changed about the account meanwhile has ended the session.
            let open = store.session(&session).await?.is_some_and(|row| row.account == name);
            if !open {
                return Err(PeopleError::NotAsked);
            }
            check_room(&found(&mut store, &name).await?)?;
            if store.holds_passkey(&id).await? {
                return Err(PeopleError::Taken { what: "passkey", name: id.to_string() });
            }
            let passkey = Passkey { id, label, added_ms: now_ms, used_ms: None };
            store.add_passkey(&name, &passkey, &credential, &session).await?;
            people.forget();
            Ok(passkey)
        })
        .await
    }

    /// Gives one of this person's passkeys another name.
    ///
    /// # Errors
    /// [`PeopleError::NotFound`] when it is not one of theirs, [`PeopleError::Unusable`].
    pub async fn rename_passkey(
        &self,
        session: &Session,
        id: PasskeyId,
        called: String,
    ) -> Result<(), PeopleError> {
        let (people, name) = (self.clone(), session.account.name.clone());
        to_the_end(async move {
            let label = label(&called)?;
            let mut store = people.store().await?;
            let renamed = store.rename_passkey(&name, &id, &label).await?;
            people.forget();
            if renamed { Ok(()) } else { Err(no_such(&id)) }
        })
        .await
    }

    /// Removes one of this person's passkeys, never the last one. The password is asked again; other sessions end.
    ///
    /// # Errors
    /// [`PeopleError::NotFound`], [`PeopleError::Forbidden`], [`PeopleError::PasskeyStale`],
    /// [`PeopleError::WrongLogin`], [`PeopleError::Wait`].
    pub async fn remove_passkey(
        &self,
        session: &Session,
        password: Password,
        id: PasskeyId,
        now_ms: i64,
    ) -> Result<(), PeopleError> {
        let (people, session) = (self.clone(), session.clone());
        to_the_end(async move {
            people.may_change(&session, password, now_ms).await?;
            let mut store = people.store().await?;
            let name = &session.account.name;
            let held = found(&mut store, name).await?.passkeys;
            if !held.iter().any(|held| held.id == id) {
                return Err(no_such(&id));
            }
            if held.len() == 1 {
                return Err(PeopleError::Forbidden(LAST));
            }
            store.remove_passkey(name, &id, Some(&session.digest)).await?;
            people.forget();
            Ok(())
        })
        .await
    }

    /// Removes the passkey of somebody else, who lost it. All their sessions end. The admin has to have shown one too: else
    /// an admin's password would be enough to get around everybody's.
    ///
    /// # Errors
    /// [`PeopleError::NotFound`], [`PeopleError::Forbidden`], [`PeopleError::PasskeyNeeded`].
    pub async fn take_passkey(&self, by: &Session, name: &Login, id: PasskeyId) -> Result<(), PeopleError> {
        let (people, by, name) = (self.clone(), by.clone(), name.clone());
        to_the_end(async move {
            people.must_have_shown(&by)?;
            let mut store = people.store().await?;
            let by = found(&mut store, &by.account.name).await?;
            let account = found(&mut store, &name).await?;
            if by.name == account.name {
                return Err(PeopleError::Forbidden(ONESELF));
            }
            if !may_manage(&by, &account) {
                return Err(PeopleError::Forbidden(NOT_MANAGED));
            }
            let removed = store.remove_passkey(&name, &id, None).await?;
            people.forget();
            if removed { Ok(()) } else { Err(no_such(&id)) }
        })
        .await
    }

    pub(super) fn passkeys(&self) -> Result<&Site, PeopleError> {
        self.0.site.as_ref().ok_or(PeopleError::PasskeysOff)
    }

    /// The account, if this session may change its passkeys.
    async fn may_change(
        &self,
        session: &Session,
        password: Password,
        now_ms: i64,
    ) -> Result<Account, PeopleError> {
        let account = self.account(&session.account.name).await?;
        let is_fresh = session.passkey_ms.is_some_and(|shown_ms| now_ms - shown_ms < FRESH_MS);
        if !account.passkeys.is_empty() && !is_fresh {
            return Err(PeopleError::PasskeyStale);
        }
        self.proven(&account.name, password, now_ms).await?;
        Ok(account)
    }

    /// The account as it is now, if somebody who gave the password of `hash` may still come in.
    pub(super) async fn unchanged(
        &self,
        store: &mut Store,
        name: &Login,
        hash: &super::password::Hash,
        now_ms: i64,
    ) -> Result<Account, PeopleError> {
        let account = store.account(name).await?.filter(|account| account.state == State::Active);
        let account = account.ok_or(PeopleError::WrongLogin)?;
        // It may have changed while the old one was verified.
        if store.password(name).await?.as_ref() != Some(hash) {
            return Err(PeopleError::WrongLogin);
        }
        if account.choose_until_ms.is_some_and(|until_ms| until_ms <= now_ms) {
            return Err(PeopleError::TooLate);
        }
        Ok(account)
    }
}

/// Says in the log what was refused, and to whom.
fn refused(name: &Login, why: Refused) -> PeopleError {
    tracing::warn!(account = %name, %why, "通行密钥未被接受 a passkey was refused");
    PeopleError::Passkey(why)
}

fn no_such(id: &PasskeyId) -> PeopleError {
    PeopleError::NotFound { what: "passkey", name: id.to_string() }
}

fn check_room(account: &Account) -> Result<(), PeopleError> {
    if account.passkeys.len() < MAX_PASSKEYS {
        return Ok(());
    }
    let detail = format!("this account holds {MAX_PASSKEYS}, as many as it may: remove one first");
    Err(PeopleError::Unusable { field: "passkey", detail })
}
