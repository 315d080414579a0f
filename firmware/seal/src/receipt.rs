//! What became of a use, or of an attempt: signed by the device, each with the digest of the one before.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use wire::Datum;

use crate::form::{bytes_of, is_text, one_form};
use crate::grant::Id;
use crate::keys::Digest;
use crate::refusal::Refusal;

/// The version written here.
pub const VERSION: u8 = 1;

/// How a use ended. The numbers never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Outcome {
    /// Pressed once.
    #[n(1)]
    Stamped,
    /// Pressed more than once before it was locked again: somebody has to look.
    #[n(2)]
    PressedAgain,
    /// Not pressed in time. The use is spent.
    #[n(3)]
    NotPressed,
    /// Somebody touched what nobody may. The use is spent.
    #[n(4)]
    Tampered,
    /// The power went: nobody knows whether it was pressed. The use is spent.
    #[n(5)]
    Unknown,
    /// Nothing moved, nothing is spent.
    #[n(6)]
    Refused,
    /// It did not close again: somebody has to go there now.
    #[n(7)]
    NotClosed,
}

/// How a person showed who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Method {
    /// By a number they know.
    #[n(1)]
    Pin,
    /// By a card they have.
    #[n(2)]
    Card,
    /// By a finger or a face.
    #[n(3)]
    Body,
}

/// A person who has shown who they are.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Person {
    /// Their pseudonym, as grants name it.
    #[n(0)]
    pub name: String,
    /// How they showed it.
    #[n(1)]
    pub method: Method,
    /// Whether they showed it in the way that says that somebody makes them.
    #[n(2)]
    pub is_duress: bool,
}

/// When and where something happened, as the device knew it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Scene {
    /// Seconds since 1970 UTC.
    #[n(0)]
    pub at_s: u64,
    /// How well that is known.
    #[n(1)]
    pub time: TimeQuality,
    /// Where, if known.
    #[n(2)]
    pub position: Option<Position>,
    /// Who was there, if they have shown it.
    #[n(3)]
    pub person: Option<Person>,
}

/// What a device knows of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum TimeQuality {
    /// It is no earlier than that.
    #[n(0)]
    Floor,
    /// It is that, by a time service, and steady since.
    #[n(1)]
    Synced,
}

/// Where a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Position {
    /// On which ellipsoid.
    #[cbor(n(0), with = "crate::datum")]
    pub datum: Datum,
    /// Degrees north, times ten million.
    #[n(1)]
    pub lat_e7: i32,
    /// Degrees east, times ten million.
    #[n(2)]
    pub lon_e7: i32,
    /// Metres by which that may be wrong.
    #[n(3)]
    pub accuracy_m: u32,
}

/// Which use of which grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct UseOf {
    /// The grant.
    #[n(0)]
    pub grant: Id,
    /// The digest of what was signed: one name, one content.
    #[n(1)]
    pub digest: Digest,
    /// Its number at this seal.
    #[n(2)]
    pub sequence: u64,
    /// Which use, from 1. 0 when it was refused.
    #[n(3)]
    pub number: u16,
    /// Of how many.
    #[n(4)]
    pub of: u16,
}

/// What a device says.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Receipt {
    /// [`VERSION`].
    #[n(0)]
    pub version: u8,
    /// The seal.
    #[n(1)]
    pub seal: String,
    /// Number of this receipt at this seal, from 1, without gaps.
    #[n(2)]
    pub number: u64,
    /// Digest of the envelope of the one before; zeros for the first.
    #[n(3)]
    pub previous: Digest,
    /// The counter that never goes back, see [`memory`](crate::memory).
    #[n(4)]
    pub counter: u64,
    /// Which run of the device wrote it.
    #[n(5)]
    pub boot: Id,
    /// When and where it began: for a use that a power cut ended, long before this was written.
    #[n(6)]
    pub scene: Scene,
    /// Version of the rules that the device has.
    #[n(7)]
    pub policy: u32,
    /// The newest revocations that it has heard.
    #[n(8)]
    pub epoch: u32,
    /// Which use; `None` when what was presented could not be read, or nothing was.
    #[n(9)]
    pub used: Option<UseOf>,
    /// How it ended.
    #[n(10)]
    pub outcome: Outcome,
    /// Why it was refused, if it was.
    #[n(11)]
    pub refusal: Option<Refusal>,
    /// How often it was pressed.
    #[n(12)]
    pub presses: u8,
    /// SHA-256 of the photograph before.
    #[n(13)]
    pub before: Option<Digest>,
    /// SHA-256 of the photograph after.
    #[n(14)]
    pub after: Option<Digest>,
    /// Only a rehearsal.
    #[n(15)]
    pub is_test: bool,
    /// How many times it was tampered with, as far as it remembers.
    #[n(16)]
    pub tampered: u32,
}

impl Receipt {
    /// The bytes that are signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        bytes_of(self)
    }

    /// Reads a receipt; `None` when it is of another version, something else, or not in the one form.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        one_form(bytes).filter(|receipt: &Self| receipt.version == VERSION && receipt.is_possible())
    }

    fn is_possible(&self) -> bool {
        let is_use = self.used.is_some_and(|used| used.number > 0);
        let fits = match self.outcome {
            Outcome::Refused => !is_use && self.presses == 0,
            Outcome::Stamped => is_use && self.presses == 1,
            Outcome::PressedAgain => is_use && self.presses > 1,
            // Tampering comes without a use too.
            Outcome::Tampered => is_use || self.used.is_none(),
            Outcome::NotPressed | Outcome::Unknown | Outcome::NotClosed => is_use,
        };
        let person = self.scene.person.as_ref();
        let numbers = [self.number, self.counter, self.scene.at_s, self.used.map_or(0, |used| used.sequence)];
        // Anybody reads receipts, also the one who makes somebody stamp: see `Hello::duress`.
        let is_told = person.is_none_or(|person| is_text(&person.name) && !person.is_duress);
        is_text(&self.seal)
            && is_told
            && numbers.iter().all(|&number| number <= i64::MAX as u64)
            && fits
            && self.refusal.is_some() == (self.outcome == Outcome::Refused)
    }
}
