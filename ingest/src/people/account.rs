//! An account: a name, roles, public keys. Nothing secret is in here; see [`super::password`].

use std::fmt;

use seal::keys::PublicKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wire::NameError;

use super::passkey::PasskeyId;
use super::role::Duty;

/// Longest [`Login`] in characters.
pub const MAX_LOGIN: usize = 32;
/// Longest shown name of a person in characters.
pub const MAX_SHOWN: usize = 64;
/// Most roles of an account: somebody who holds more holds one further up.
pub const MAX_ROLES: usize = 32;
/// Most keys of an account, retired ones included, which stay for the audit.
pub const MAX_KEYS: usize = 32;
/// Most passkeys of an account: a few devices and a spare one in a safe.
pub const MAX_PASSKEYS: usize = 8;

/// The name a person logs in with. It never changes and is never given to somebody else, so that records can name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Login(String);

impl Login {
    /// Takes `text` if it can be such a name.
    ///
    /// # Errors
    /// [`NameError`] with the rule.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let fits = (2..=MAX_LOGIN).contains(&bytes.len())
            && bytes.iter().all(|&b| plain(b) || matches!(b, b'-' | b'.' | b'_'))
            && plain(bytes[0]);
        if fits {
            return Ok(Self(text.to_owned()));
        }
        Err(NameError {
            what: "name to log in with",
            given: text.chars().take(64).collect(),
            rule: "2 to 32 characters of a-z, 0-9, '-', '.' and '_', starting with a letter or digit",
        })
    }

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Login {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// Whether an account can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It can.
    Active,
    /// It cannot. Accounts are never deleted, because records name them.
    Disabled,
}

impl State {
    /// Its word in SQL.
    pub fn word(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Disabled => "disabled",
        }
    }

    /// The state of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        [State::Active, State::Disabled].into_iter().find(|state| state.word() == word)
    }
}

/// A public key with which a person signs grants. The other half never comes here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub public: PublicKey,
    /// What the person calls it.
    pub label: String,
    /// Since when, milliseconds since 1970 UTC.
    pub added_ms: i64,
    /// Since when it counts no more. Such a key never comes back, here or elsewhere.
    pub retired_ms: Option<i64>,
}

/// A passkey with which a person logs in. It signs nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// Names it.
    pub id: PasskeyId,
    /// What the person calls it.
    pub label: String,
    /// Since when, milliseconds since 1970 UTC.
    pub added_ms: i64,
    /// When somebody last logged in with it, milliseconds since 1970 UTC.
    pub used_ms: Option<i64>,
}

/// A person who may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The name they log in with.
    pub name: Login,
    /// The name others see.
    pub shown: String,
    /// Whether it can be used.
    pub state: State,
    /// What they may do, and where.
    pub roles: Vec<Duty>,
    /// The keys they sign with, retired ones too.
    pub keys: Vec<Key>,
    /// The passkeys they log in with. Who has one does not come in by password alone.
    pub passkeys: Vec<Passkey>,
    /// Until when the password of somebody else's making may be used for choosing an own one, milliseconds since 1970
    /// UTC; `None` when they have chosen one.
    pub choose_until_ms: Option<i64>,
    /// When it was created, milliseconds since 1970 UTC.
    pub created_ms: i64,
    /// When state, name or roles last changed, milliseconds since 1970 UTC.
    pub changed_ms: i64,
}

impl Account {
    /// Whether `key` is one that this person signs with now.
    pub fn signs_with(&self, key: &PublicKey) -> bool {
        self.state == State::Active
            && self.keys.iter().any(|own| own.public == *key && own.retired_ms.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["li", "li.ming", "zhao_3", "007", &"a".repeat(32)] {
            assert!(Login::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a", ".li", "Li", "李明", "li ming", "li/ming", "li\n", &"a".repeat(33)] {
            assert!(Login::new(bad).is_err(), "{bad:?}");
        }
    }
}
