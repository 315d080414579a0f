//! Sessions: a random token in the browser, its digest here, and when it ends. Pure.

use std::fmt;
use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};

use super::account::Account;
use super::{PeopleError, random};

/// A session ends when nothing was asked for so long: a desk that somebody left.
pub const IDLE_MS: i64 = 30 * 60_000;
/// A session ends after so long, a long working day.
pub const LIFE_MS: i64 = 12 * 3_600_000;
/// Most sessions of one account; a new one ends the oldest.
pub const MOST: i64 = 8;
/// How long a session may be answered from memory: so often SQL hears that it is in use.
pub(super) const TOLD_EVERY_MS: i64 = 60_000;

/// 256 random bits that stand for a person or a right. Only its digest is kept, and it cannot be printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(super) fn made() -> Result<Self, PeopleError> {
        Ok(Self(random()?))
    }

    /// Reads the text of a token.
    pub fn read(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let read = Base64UrlUnpadded::decode(text, &mut bytes).ok()?.len();
        (read == bytes.len()).then_some(Self(bytes))
    }

    /// Its text, base64url, for the one it belongs to.
    pub fn reveal(&self) -> String {
        Base64UrlUnpadded::encode_string(&self.0)
    }

    /// What is kept of it.
    pub(super) fn digest(&self) -> Digest {
        Digest(seal::keys::digest(&[&self.0]).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The SHA-256 of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub(super) [u8; 32]);

/// A session that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Names it.
    pub digest: Digest,
    /// Whose it is, as the account was at most a minute ago; changes made here are seen at once.
    pub account: Arc<Account>,
    /// When a passkey was shown in it, milliseconds since 1970 UTC; `None` when it came by password alone.
    pub passkey_ms: Option<i64>,
    /// When it was opened, milliseconds since 1970 UTC.
    pub created_ms: i64,
    /// When SQL last heard that it is in use, milliseconds since 1970 UTC.
    pub seen_ms: i64,
}

impl Session {
    /// When it ends if nothing is asked any more, milliseconds since 1970 UTC.
    pub fn ends_ms(&self) -> i64 {
        ends_ms(self.created_ms, self.seen_ms)
    }

    /// Whether memory may answer for it.
    pub(super) fn is_fresh(&self, now_ms: i64) -> bool {
        now_ms < self.ends_ms() && now_ms - self.seen_ms < TOLD_EVERY_MS
    }
}

/// When a session ends that was opened and last used then.
pub(super) fn ends_ms(created_ms: i64, seen_ms: i64) -> i64 {
    (created_ms + LIFE_MS).min(seen_ms + IDLE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_from_their_text_only() {
        let token = Token::made().unwrap();
        let text = token.reveal();
        assert_eq!(text.len(), 43);
        assert_eq!(Token::read(&text), Some(token.clone()));
        for wrong in ["", "x", &text[1..], &format!("{text}A"), &format!("{text}="), &"!".repeat(43)] {
            assert_eq!(Token::read(wrong), None, "{wrong:?}");
        }
        assert_ne!(Token::made().unwrap(), token);
        assert_eq!(format!("{token:?}"), "Token(…)");
        assert_eq!(Token([7; 32]).digest(), Token([7; 32]).digest());
    }

    #[test]
    fn a_session_ends_when_idle_or_old() {
        for (created_ms, seen_ms, end_ms) in
            [(0, 0, IDLE_MS), (0, LIFE_MS - 1, LIFE_MS), (0, LIFE_MS - IDLE_MS, LIFE_MS), (5, 7, 7 + IDLE_MS)]
        {
            assert_eq!(ends_ms(created_ms, seen_ms), end_ms);
        }
    }
}
