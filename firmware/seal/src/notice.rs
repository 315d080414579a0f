//! What the authority has done beside granting. It stands in the log like every grant, so that nothing is done in secret.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::form::{bytes_of, is_text, one_form};
use crate::grant::Id;
use crate::keys::PublicKey;

/// The version written here.
pub const VERSION: u8 = 1;

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Deed {
    /// A seal was taken into service, or its key was changed.
    #[n(0)]
    Enrolled {
        /// The seal.
        #[n(0)]
        seal: String,
        /// The key of its device.
        #[n(1)]
        key: PublicKey,
    },
    /// A grant was taken back, or a delegation.
    #[n(1)]
    Revoked {
        /// Of this seal.
        #[n(0)]
        seal: String,
        /// The grant, or the delegation.
        #[n(1)]
        grant: Id,
        /// When it would have expired.
        #[n(2)]
        expires_s: u64,
        /// The epoch of the seal from then on.
        #[n(3)]
        epoch: u32,
    },
    /// A seal was locked, or unlocked.
    #[n(2)]
    Locked {
        /// The seal.
        #[n(0)]
        seal: String,
        /// Whether it is.
        #[n(1)]
        is_locked: bool,
    },
    /// Somebody has looked into a tampering.
    #[n(3)]
    Cleared {
        /// The seal.
        #[n(0)]
        seal: String,
        /// How many times of tampering are cleared by now.
        #[n(1)]
        cleared: u32,
    },
    /// All grants of a seal below a number are over.
    #[n(4)]
    Voided {
        /// The seal.
        #[n(0)]
        seal: String,
        /// The number.
        #[n(1)]
        min_sequence: u64,
    },
    /// A person signs with this key from now on, or no more.
    #[n(5)]
    Key {
        /// The person.
        #[n(0)]
        person: String,
        /// The key.
        #[n(1)]
        key: PublicKey,
        /// Whether they do.
        #[n(2)]
        is_active: bool,
    },
}

/// A deed, when, and by whom. The issuer signs it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Notice {
    /// [`VERSION`].
    #[n(0)]
    pub version: u8,
    /// When, in seconds since 1970 UTC.
    #[n(1)]
    pub at_s: u64,
    /// Who wanted it: a pseudonym that the authority can resolve.
    #[n(2)]
    pub by: String,
    /// What was done.
    #[n(3)]
    pub deed: Deed,
}

impl Notice {
    /// The bytes that are signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        bytes_of(self)
    }

    /// Reads a notice; `None` when it is of another version, something else, or not in the one form.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        one_form(bytes).filter(|notice: &Self| notice.version == VERSION && is_text(&notice.by))
    }
}
