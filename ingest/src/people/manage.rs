//! What admins do with the accounts of others.
//!
//! Nobody changes their own roles or state. So whoever takes a right away keeps theirs, and the city never loses its last
//! admin.

use super::account::{Account, Login, MAX_ROLES, State};
use super::password::Password;
use super::role::{Duty, may_assign, may_manage};
use super::sql::Store;
use super::{People, PeopleError, blank, shown_name, to_the_end};

/// How long a password that an admin made is good for choosing an own one: a long weekend.
pub const CHOOSE_MS: i64 = 72 * 3_600_000;
/// Most accounts. A city has some thousand people with a seal in their hands.
pub const MAX_ACCOUNTS: i64 = 100_000;

/// An account to be created.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// The name to log in with.
    pub name: Login,
    /// The name others see.
    pub shown: String,
    /// What they may do, and where.
    pub roles: Vec<Duty>,
}

/// What is to change of an account; `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// The name others see.
    pub shown: Option<String>,
    /// Whether it can be used.
    pub state: Option<State>,
    /// All roles it has from now on.
    pub roles: Option<Vec<Duty>>,
}

const OUTSIDE: &str = "an admin gives and takes roles in their own area only";
const NOT_ALL: &str = "only an admin of all areas in which this person has a role may do that";
const ONESELF: &str = "nobody changes their own roles or state: another admin has to";

impl People {
    /// One account.
    ///
    /// # Errors
    /// [`PeopleError::NotFound`], [`PeopleError::Database`].
    pub async fn account(&self, name: &Login) -> Result<Account, PeopleError> {
        found(&mut *self.store().await?, name).await
    }

    /// A page of accounts by name, after `after`.
    ///
    /// # Errors
    /// [`PeopleError::Database`].
    pub async fn accounts(&self, after: &str, limit: usize) -> Result<Vec<Account>, PeopleError> {
        Ok(self.store().await?.accounts(after, limit).await?)
    }

    /// Creates an account with a password that is told once, good for [`CHOOSE_MS`], to choose an own one.
    ///
    /// # Errors
    /// [`PeopleError::Forbidden`], [`PeopleError::Taken`], [`PeopleError::Unusable`].
    pub async fn create(
        &self,
        by: &Login,
        new: NewAccount,
        now_ms: i64,
    ) -> Result<(Account, String), PeopleError> {
        let (people, by) = (self.clone(), by.clone());
        to_the_end(async move {
            let (password, told) = Password::made()?;
            let hash = people.0.hasher.hash(password).await?;
            let mut store = people.store().await?;
            let by = found(&mut store, &by).await?;
            let account = Account {
                shown: shown_name(&new.shown)?,
                roles: distinct(new.roles)?,
                choose_until_ms: Some(now_ms + CHOOSE_MS),
                ..blank(new.name, now_ms)
            };
            if !may_manage(&by, &account) {
                return Err(PeopleError::Forbidden(OUTSIDE));
            }
            check_new(&mut store, &account).await?;
            store.create(&account, &hash).await?;
            Ok((account, told))
        })
        .await
    }

    /// Changes an account. One that is disabled loses its sessions at once.
    ///
    /// # Errors
    /// [`PeopleError::NotFound`], [`PeopleError::Forbidden`], [`PeopleError::Unusable`].
    pub async fn change(
        &self,
        by: &Login,
        name: &Login,
        change: Change,
        now_ms: i64,
    ) -> Result<Account, PeopleError> {
        let (people, by, name) = (self.clone(), by.clone(), name.clone());
        to_the_end(async move {
            let mut store = people.store().await?;
            let by = found(&mut store, &by).await?;
            let mut account = found(&mut store, &name).await?;
            decide(&by, &mut account, change)?;
            account.changed_ms = now_ms;
            store.change(&account).await?;
            people.forget();
            Ok(account)
        })
        .await
    }

    /// A new password that is told once, for somebody who forgot theirs. All their sessions end.
    ///
    /// # Errors
    /// [`PeopleError::NotFound`], [`PeopleError::Forbidden`].
    pub async fn reset(&self, by: &Login, name: &Login, now_ms: i64) -> Result<String, PeopleError> {
        let (people, by, name) = (self.clone(), by.clone(), name.clone());
        to_the_end(async move {
            let (password, told) = Password::made()?;
            let hash = people.0.hasher.hash(password).await?;
            let mut store = people.store().await?;
            let by = found(&mut store, &by).await?;
            let account = found(&mut store, &name).await?;
            if by.name == account.name || !may_manage(&by, &account) {
                return Err(PeopleError::Forbidden(NOT_ALL));
            }
            store.set_password(&name, &hash, Some(now_ms + CHOOSE_MS), None).await?;
            people.forget();
            Ok(told)
        })
        .await
    }
}

/// Carries out a change if `by` may make it. Pure.
fn decide(by: &Account, account: &mut Account, change: Change) -> Result<(), PeopleError> {
    if by.name == account.name && (change.state.is_some() || change.roles.is_some()) {
        return Err(PeopleError::Forbidden(ONESELF));
    }
    // As it was before: else whoever takes all roles away could do the rest too.
    let is_manager = by.name == account.name || may_manage(by, account);
    let is_about_roles = change.roles.is_some() && change.state.is_none() && change.shown.is_none();
    if !is_about_roles && !is_manager {
        return Err(PeopleError::Forbidden(NOT_ALL));
    }
    if let Some(roles) = change.roles {
        let roles = distinct(roles)?;
        let given = roles.iter().filter(|duty| !account.roles.contains(duty));
        let taken = account.roles.iter().filter(|duty| !roles.contains(duty));
        let touched: Vec<&Duty> = given.chain(taken).collect();
        let is_inside = touched.iter().all(|duty| may_assign(by, &duty.area));
        if !is_inside || (touched.is_empty() && !is_manager) {
            return Err(PeopleError::Forbidden(OUTSIDE));
        }
        account.roles = roles;
    }
    if let Some(shown) = change.shown {
        account.shown = shown_name(&shown)?;
    }
    account.state = change.state.unwrap_or(account.state);
    Ok(())
}

/// Sorted, each once, not too many.
fn distinct(mut roles: Vec<Duty>) -> Result<Vec<Duty>, PeopleError> {
    roles.sort();
    roles.dedup();
    if roles.len() > MAX_ROLES {
        let detail =
            format!("{} given, at most {MAX_ROLES} expected: give one further up instead", roles.len());
        return Err(PeopleError::Unusable { field: "roles", detail });
    }
    Ok(roles)
}

pub(super) async fn found(store: &mut Store, name: &Login) -> Result<Account, PeopleError> {
    let account = store.account(name).await?;
    account.ok_or_else(|| PeopleError::NotFound { what: "account", name: name.to_string() })
}

/// Whether there is room for an account and nobody has its name.
pub(super) async fn check_new(store: &mut Store, account: &Account) -> Result<(), PeopleError> {
    if store.password(&account.name).await?.is_some() {
        return Err(PeopleError::Taken { what: "name", name: account.name.to_string() });
    }
    if store.count().await? >= MAX_ACCOUNTS {
        return Err(PeopleError::Forbidden("there are as many accounts as there may be"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::people::role::Role;
    use crate::people::testing::{account, duties};

    /// What an admin of a district may change, told as before, change, and whether it happens.
    #[test]
    fn an_admin_changes_what_lies_in_their_area() {
        let by = account("wang", &[(Role::Admin, "chengdu/qingyang")]);
        let inside = (Role::Approver, "chengdu/qingyang/caotang");
        let within = (Role::Auditor, "chengdu/qingyang");
        let beside = (Role::Approver, "chengdu/jinjiang");
        let roles = |roles: &[(Role, &str)]| Change { roles: Some(duties(roles)), ..Change::default() };
        let disable = || Change { state: Some(State::Disabled), ..Change::default() };
        for (before, change, happens) in [
            (&[][..], roles(&[inside]), true),
            (&[inside], roles(&[inside, within, within]), true),
            (&[inside, beside], roles(&[beside]), true),
            (&[inside], roles(&[inside, beside]), false),
            (&[inside, beside], roles(&[inside]), false),
            (&[inside], roles(&[(Role::Admin, "*")]), false),
            (&[inside, within], disable(), true),
            (&[inside, beside], disable(), false),
            (&[inside, beside], Change { roles: Some(duties(&[beside])), ..disable() }, false),
            (&[(Role::Admin, "*")], disable(), false),
            (&[], disable(), false),
            (&[inside], Change::default(), true),
            (&[beside], Change::default(), false),
            (&[beside], roles(&[beside]), false),
        ] {
            let mut li = account("li", before);
            let told = format!("{before:?} {change:?}");
            assert_eq!(decide(&by, &mut li, change).is_ok(), happens, "{told}");
        }
    }

    #[test]
    fn nobody_changes_themself_but_their_shown_name() {
        let wang = account("wang", &[(Role::Admin, "*")]);
        for (change, happens) in [
            (Change { state: Some(State::Disabled), ..Change::default() }, false),
            (Change { roles: Some(Vec::new()), ..Change::default() }, false),
            (Change { shown: Some("王".into()), ..Change::default() }, true),
            (Change { shown: Some(" \n".into()), ..Change::default() }, false),
        ] {
            assert_eq!(decide(&wang, &mut wang.clone(), change.clone()).is_ok(), happens, "{change:?}");
        }
    }

    #[test]
    fn roles_are_bounded() {
        let areas: Vec<String> = (0..=MAX_ROLES).map(|n| format!("chengdu/d{n}")).collect();
        let many: Vec<(Role, &str)> = areas.iter().map(|area| (Role::Applicant, area.as_str())).collect();
        assert!(distinct(duties(&many)).is_err());
        assert_eq!(distinct(duties(&many[1..])).unwrap().len(), MAX_ROLES);
    }
}
