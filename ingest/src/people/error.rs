//! What goes wrong about people.

use super::passkey::Refused;
use super::password::HashError;

/// Why something about people could not be done.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// The same for a name nobody has, a wrong password and a disabled account.
    #[error("name or password is wrong, or the account is disabled")]
    WrongLogin,
    /// The right password, but it was made by somebody else and not used in time.
    #[error("this one-time password is no longer good: ask an admin for a new one")]
    TooLate,
    /// Too many failures.
    #[error("too many failures: try again in {} s", (.wait_ms + 999) / 1000)]
    Wait {
        /// For how long, in milliseconds.
        wait_ms: i64,
    },
    /// The link for the first admin was used, is too old, or never was.
    #[error("this link was used before, or is too old: start ingest again for a new one")]
    NoLink,
    /// Nothing was asked for that this answers, or too long ago.
    #[error("no passkey is asked for here, it was shown already, or too late: begin again")]
    NotAsked,
    /// What was shown as a passkey is not one of this person's.
    #[error("the passkey was not accepted: {0}")]
    Passkey(#[from] Refused),
    /// Only in a session in which a passkey was shown.
    #[error(
        "this takes a passkey: register one on your own page first, POST /api/v1/me/passkeys/options, or log in with it"
    )]
    PasskeyNeeded,
    /// Only moments after a passkey was shown.
    #[error("the passkey was shown more than {} min ago: log out and in again first", super::factor::FRESH_MS / 60_000)]
    PasskeyStale,
    /// No site is configured, so there are none.
    #[error(
        "passkeys are off: the operator has to set http.origin to the address at which people open the console"
    )]
    PasskeysOff,
    /// Not with this person's roles.
    #[error("{0}")]
    Forbidden(&'static str),
    /// No such account or key.
    #[error("there is no {what} {name:?}")]
    NotFound {
        /// What it would be.
        what: &'static str,
        /// How it was called.
        name: String,
    },
    /// The name or key is taken.
    #[error("{what} {name:?} is taken: names and keys belong to one person for ever")]
    Taken {
        /// What it is.
        what: &'static str,
        /// How it is called.
        name: String,
    },
    /// What was given cannot be used.
    #[error("{field}: {detail}")]
    Unusable {
        /// Which part.
        field: &'static str,
        /// What is wrong and what was expected.
        detail: String,
    },
    /// Too many passwords wait to be checked.
    #[error("too many people log in at the same time: try again in a few seconds")]
    Busy,
    /// The database said no.
    #[error("the database does not answer: {0}")]
    Database(String),
    /// It was cut off in the middle.
    #[error("ingest is stopping, or this ended unexpectedly: try again")]
    Stopped,
    /// The system gives no random bytes or no memory.
    #[error("the system gives no random bytes or no memory")]
    System,
}

impl From<sqlx::Error> for PeopleError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.to_string())
    }
}

impl From<HashError> for PeopleError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy => Self::Busy,
            HashError::Failed => Self::System,
        }
    }
}
