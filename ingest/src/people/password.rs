//! Passwords: argon2id, a few at once.

use std::fmt;
use std::sync::Arc;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::account::Login;
use super::random;

/// Fewest characters of a password that somebody chooses: the length NIST SP 800-63B wants is 8, ours guards seals.
pub const SHORTEST: usize = 10;
/// Most characters of a password: a sentence fits.
pub const LONGEST: usize = 128;
/// Passwords checked at the same time. Each takes 19 MiB and some 15 ms of a core, and the other cores take readings in.
const AT_ONCE: usize = 2;
/// Passwords that wait to be checked, half a second's work; more are told to come again.
const WAITING: usize = 64;
/// Characters of passwords we make: no two look alike.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A password as somebody typed it. It cannot be printed or sent.
#[derive(Clone, Deserialize)]
pub struct Password(String);

impl Password {
    /// Takes what was typed.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Makes one of 80 random bits, to be said once: `k7mq-2xbd-…`.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(super) fn made() -> Result<(Self, String), super::PeopleError> {
        let bytes: [u8; 16] = random()?;
        let mut text = String::with_capacity(19);
        for (at, byte) in bytes.into_iter().enumerate() {
            if at % 4 == 0 && at > 0 {
                text.push('-');
            }
            text.push(char::from(ALPHABET[usize::from(byte % 32)]));
        }
        Ok((Self(text.clone()), text))
    }

    /// Whether somebody may choose it. Length is what counts; composition rules make passwords worse.
    pub fn is_good_for(&self, name: &Login) -> bool {
        let length = self.0.chars().count();
        let is_mostly_name =
            self.0.to_lowercase().contains(name.as_str()) && name.as_str().len() * 2 > length;
        (SHORTEST..=LONGEST).contains(&length)
            && !is_mostly_name
            && self.0.chars().any(|c| !self.0.starts_with(c))
    }

    /// Longer ones were never chosen: not worth a hash.
    fn is_possible(&self) -> bool {
        self.0.len() <= 4 * LONGEST
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// A password at rest, a PHC string.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Hash(pub(super) String);

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(…)")
    }
}

/// What hashing a password costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// 19 MiB and two passes, as OWASP advises for argon2id.
    Full,
    /// As little as there is, for tests.
    Least,
}

/// Why there is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HashError {
    /// Too many wait.
    Busy,
    /// The system gives no random bytes or no memory, or the thread ended.
    Failed,
}

/// Hashes passwords on threads that may block, a few at once.
#[derive(Debug)]
pub(super) struct Hasher {
    argon: Argon2<'static>,
    places: Arc<Semaphore>,
    waiting: Semaphore,
    /// Verified when there is no such account, so that the answer takes as long.
    nobody: Hash,
}

impl Hasher {
    pub(super) fn new(cost: Cost) -> Result<Self, HashError> {
        let params = match cost {
            Cost::Full => Params::DEFAULT,
            Cost::Least => Params::new(8, 1, 1, None).map_err(|_| HashError::Failed)?,
        };
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody = hash(&argon, &Password::new("nobody"))?;
        Ok(Self {
            argon,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: Semaphore::new(WAITING),
            nobody,
        })
    }

    /// Hashes with fresh salt.
    pub(super) async fn hash(&self, password: Password) -> Result<Hash, HashError> {
        let argon = self.argon.clone();
        self.run(move || hash(&argon, &password)).await?
    }

    /// Whether `password` is the one behind `known`; false, after as long, without one.
    pub(super) async fn verify(&self, password: Password, known: Option<Hash>) -> Result<bool, HashError> {
        if !password.is_possible() {
            return Ok(false);
        }
        let argon = self.argon.clone();
        let is_known = known.is_some();
        let hash = known.unwrap_or_else(|| self.nobody.clone());
        let fits = move || argon.verify_password(password.0.as_bytes(), hash.0.as_str()).is_ok();
        Ok(self.run(fits).await? && is_known)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let _waits = self.waiting.try_acquire().map_err(|_| HashError::Busy)?;
        let place = self.places.clone().acquire_owned().await.map_err(|_| HashError::Failed)?;
        let done = tokio::task::spawn_blocking(move || {
            // Held to the end of the work, also when nobody waits for it any more.
            let _place = place;
            work()
        });
        done.await.map_err(|_| HashError::Failed)
    }
}

fn hash(argon: &Argon2<'static>, password: &Password) -> Result<Hash, HashError> {
    let salt: [u8; 16] = random().map_err(|_| HashError::Failed)?;
    let hash = argon.hash_password_with_salt(password.0.as_bytes(), &salt).map_err(|_| HashError::Failed)?;
    Ok(Hash(hash.to_string()))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let hasher = Hasher::new(Cost::Least).unwrap();
        let hash = hasher.hash(Password::new("correct horse")).await.unwrap();
        assert!(hash.0.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{}", hash.0);
        let again = hasher.hash(Password::new("correct horse")).await.unwrap();
        assert_ne!(hash, again, "salted");
        for (typed, known, fits) in [
            ("correct horse", Some(&hash), true),
            ("correct horsf", Some(&hash), false),
            ("", Some(&hash), false),
            ("correct horse", None, false),
            ("nobody", None, false),
            ("correct horse", Some(&Hash("no PHC string".into())), false),
        ] {
            assert_eq!(
                hasher.verify(Password::new(typed), known.cloned()).await,
                Ok(fits),
                "{typed:?} {known:?}"
            );
        }
    }

    #[tokio::test]
    async fn few_are_checked_at_once_and_few_wait() {
        let hasher = Hasher::new(Cost::Least).unwrap();
        let places = hasher.places.clone().acquire_many_owned(AT_ONCE as u32).await.unwrap();
        let mut waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(hasher.hash(Password::new("p")))).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        assert_eq!(hasher.hash(Password::new("p")).await, Err(HashError::Busy));
        drop(places);
        for one in waiting {
            assert!(one.await.is_ok());
        }
    }

    #[test]
    fn good_passwords_are_long_and_not_the_name() {
        let li = Login::new("li.ming").unwrap();
        for (text, good) in [
            ("correct horse", true),
            ("青羊区草堂街道浣花溪社区", true),
            ("short", false),
            ("aaaaaaaaaaaa", false),
            ("Li.Ming-2026", false),
            ("", false),
            (&"ab".repeat(65), false),
        ] {
            assert_eq!(Password::new(text).is_good_for(&li), good, "{text:?}");
        }
        let (made, text) = Password::made().unwrap();
        assert!(made.is_good_for(&li) && text.len() == 19);
    }

    #[test]
    fn nothing_secret_is_printed() {
        let shown = format!("{:?} {:?}", Password::new("correct horse"), Hash("$argon2id$x".into()));
        assert_eq!(shown, "Password(…) Hash(…)");
    }
}
