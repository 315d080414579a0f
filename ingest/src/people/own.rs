//! What people do with their own account: the password, and the keys they sign grants with.

use configs::roots::NoKey;
use seal::keys::PublicKey;

use super::account::{Account, Key, Login, MAX_KEYS, MAX_SHOWN};
use super::manage::found;
use super::password::{LONGEST, Password, SHORTEST};
use super::session::Session;
use super::{People, PeopleError, to_the_end};

/// What the owner of a key signs with it when it is registered: nobody can register the key of somebody else.
pub fn proof_message(name: &Login, public: &PublicKey) -> Vec<u8> {
    format!("watchfire person key v1\n{name}\n{}\n", key_text(public)).into_bytes()
}

/// A key as the API writes it: base64url without padding, like `x` of a JWK (RFC 8037); before one of SM2 stands `sm2:`.
pub fn key_text(public: &PublicKey) -> String {
    configs::roots::key_text(public)
}

/// Reads the text of a key.
///
/// # Errors
/// [`NoKey`].
pub fn read_key(text: &str) -> Result<PublicKey, NoKey> {
    configs::roots::read_key(text)
}

/// A key to be registered.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The key.
    pub public: PublicKey,
    /// What its owner calls it.
    pub label: String,
    /// The signature of [`proof_message`].
    pub proof: Vec<u8>,
}

impl People {
    /// Chooses a new password. All other sessions of the account end.
    ///
    /// # Errors
    /// [`PeopleError::WrongLogin`] when `old` is not the present one, [`PeopleError::Unusable`], [`PeopleError::Wait`].
    pub async fn choose(
        &self,
        session: &Session,
        old: Password,
        new: Password,
        now_ms: i64,
    ) -> Result<(), PeopleError> {
        let (people, name, digest) = (self.clone(), session.account.name.clone(), session.digest);
        to_the_end(async move {
            check(&new, &name)?;
            let before = people.proven(&name, old, now_ms).await?;
            if people.0.hasher.verify(new.clone(), Some(before.clone())).await? {
                let detail = "the same as before: another one expected".into();
                return Err(PeopleError::Unusable { field: "password", detail });
            }
            let hash = people.0.hasher.hash(new).await?;
            let mut store = people.store().await?;
            // An admin may have reset it meanwhile, and that counts.
            if store.password(&name).await? != Some(before) {
                return Err(PeopleError::WrongLogin);
            }
            store.set_password(&name, &hash, None, Some(&digest)).await?;
            people.forget();
            Ok(())
        })
        .await
    }

    /// Registers a key. The password is asked again: a key signs grants long after a session was stolen.
    ///
    /// # Errors
    /// [`PeopleError::PasskeyNeeded`], [`PeopleError::WrongLogin`], [`PeopleError::Taken`], [`PeopleError::Unusable`],
    /// [`PeopleError::Wait`].
    pub async fn add_key(
        &self,
        session: &Session,
        password: Password,
        new: NewKey,
        now_ms: i64,
    ) -> Result<Key, PeopleError> {
        let (people, name, session) = (self.clone(), session.account.name.clone(), session.clone());
        to_the_end(async move {
            people.must_have_shown(&session)?;
            people.proven(&name, password, now_ms).await?;
            let mut store = people.store().await?;
            let key = accept(&found(&mut store, &name).await?, new, now_ms)?;
            if store.owner(&key.public).await?.is_some() {
                return Err(PeopleError::Taken { what: "key", name: key_text(&key.public) });
            }
            store.add_key(&name, &key).await?;
            people.forget();
            Ok(key)
        })
        .await
    }

    /// Retires a key: from now on it signs nothing.
    ///
    /// # Errors
    /// [`PeopleError::NotFound`] when it is not one of this person's.
    pub async fn retire_key(
        &self,
        session: &Session,
        public: PublicKey,
        now_ms: i64,
    ) -> Result<Key, PeopleError> {
        let (people, name) = (self.clone(), session.account.name.clone());
        to_the_end(async move {
            let mut store = people.store().await?;
            store.retire_key(&name, &public, now_ms).await?;
            people.forget();
            let keys = found(&mut store, &name).await?.keys;
            let own = keys.into_iter().find(|key| key.public == public);
            own.ok_or_else(|| PeopleError::NotFound { what: "key", name: key_text(&public) })
        })
        .await
    }
}

/// Whether somebody may choose a password.
pub(super) fn check(password: &Password, name: &Login) -> Result<(), PeopleError> {
    if password.is_good_for(name) {
        return Ok(());
    }
    let detail = format!(
        "{SHORTEST} to {LONGEST} characters expected, not one character only and not made of the name"
    );
    Err(PeopleError::Unusable { field: "password", detail })
}

/// What somebody calls a key or passkey of theirs. Pure.
pub(super) fn label(text: &str) -> Result<String, PeopleError> {
    let label = text.trim();
    if label.is_empty() || label.chars().count() > MAX_SHOWN || label.chars().any(char::is_control) {
        let detail = format!("1 to {MAX_SHOWN} characters expected");
        return Err(PeopleError::Unusable { field: "label", detail });
    }
    Ok(label.to_owned())
}

/// The key, if its owner proves to have the other half. Pure.
fn accept(account: &Account, new: NewKey, now_ms: i64) -> Result<Key, PeopleError> {
    let unusable = |field, detail: String| Err(PeopleError::Unusable { field, detail });
    let label = label(&new.label)?;
    if account.keys.len() >= MAX_KEYS {
        return unusable("key", format!("this account had {MAX_KEYS} keys already, as many as it may"));
    }
    if !new.public.verifies(&proof_message(&account.name, &new.public), &new.proof) {
        return unusable(
            "proof",
            "it is not the signature of this account's proof message with this key".into(),
        );
    }
    Ok(Key { public: new.public, label, added_ms: now_ms, retired_ms: None })
}

#[cfg(test)]
mod tests {
    use seal::keys::{MemoryKey, Signer};

    use super::*;
    use crate::people::role::Role;
    use crate::people::testing::account;

    #[test]
    fn a_key_is_taken_from_the_one_who_has_its_other_half() {
        let li = account("li", &[(Role::Approver, "chengdu")]);
        let (own, other) = (MemoryKey::from_secret(&[1; 32]), MemoryKey::from_secret(&[2; 32]));
        let new = |signer: &MemoryKey, name: &str, label: &str| NewKey {
            public: own.public(),
            label: label.into(),
            proof: signer.sign(&proof_message(&Login::new(name).unwrap(), &own.public())).unwrap().to_vec(),
        };
        assert_eq!(accept(&li, new(&own, "li", " 办公室 "), 5).unwrap().label, "办公室");
        for (wrong, why) in [
            (new(&other, "li", "desk"), "proof"),
            (new(&own, "wang", "desk"), "proof"),
            (NewKey { proof: Vec::new(), ..new(&own, "li", "desk") }, "proof"),
            (new(&own, "li", " "), "label"),
        ] {
            let error = accept(&li, wrong, 5).unwrap_err().to_string();
            assert!(error.starts_with(why), "{error}");
        }
        let key = Key { public: other.public(), label: "old".into(), added_ms: 0, retired_ms: Some(1) };
        let full = Account { keys: vec![key; MAX_KEYS], ..li };
        assert!(accept(&full, new(&own, "li", "desk"), 5).is_err());
    }

    #[test]
    fn keys_have_one_text() {
        let public = MemoryKey::from_secret(&[1; 32]).public();
        assert_eq!(read_key(&key_text(&public)), Ok(public));
        for wrong in ["", "AA", &format!("{}=", key_text(&public)), &key_text(&public)[..42]] {
            assert_eq!(read_key(wrong), Err(NoKey::Form), "{wrong:?}");
        }
    }
}
