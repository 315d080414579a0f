//! Who is at the other end: the Noise protocol, pattern KK, whose both sides know the other's key beforehand. The one file
//! that names snow.
//!
//! ```text
//! gateway → seal   e, es, ss        a knock
//! seal → gateway   e, ee, se        the answer
//! ```
//! Each session has keys of its own, from two random numbers that are used once. A knock can be played again by whoever has
//! recorded it; what the seal answers to that helps nobody, because only who has made the knock can read on.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, Error, HandshakeState, StatelessTransportState};

/// The handshake: X25519, ChaCha20-Poly1305 and SHA-256 need no hardware and have no tables that tell time.
const PATTERN: &str = "Noise_KK_25519_ChaChaPoly_SHA256";
/// What both sides must agree about before the first byte; the seal's name follows.
const PROLOGUE: &[u8] = b"watchfire seal line 1 ";
/// Bytes of the tag of a cipher text.
const TAG_BYTES: usize = 16;
/// Bytes of either message: a public key and a tag.
const HANDSHAKE_BYTES: usize = 32 + TAG_BYTES;

/// 32 bytes that nobody can guess.
pub type Secret = [u8; 32];
/// The public half of a key of a line.
pub type Public = [u8; 32];

/// The public half of a secret key (X25519).
pub fn public(secret: &Secret) -> Public {
    let mut public = [0; 32];
    if let Some(mut dh) = DefaultResolver.resolve_dh(&DHChoice::Curve25519) {
        dh.set(secret);
        public.copy_from_slice(dh.pubkey());
    }
    public
}

/// Both ends of a line, as one of them knows them.
#[derive(Clone)]
pub struct Pair {
    /// One's own secret key.
    pub own: Secret,
    /// The key of the other end.
    pub peer: Public,
    /// The seal's name.
    pub seal: alloc::string::String,
}

/// A knock that waits for its answer.
pub struct Knocking(HandshakeState);

/// The keys of a session, one for each direction.
pub struct Ciphers(StatelessTransportState);

impl Pair {
    fn builder<'a>(&'a self, prologue: &'a [u8], fresh: &Secret) -> Result<Builder<'a>, Error> {
        Builder::with_resolver(PATTERN.parse()?, Box::new(Once(*fresh)))
            .local_private_key(&self.own)?
            .remote_public_key(&self.peer)?
            .prologue(prologue)
    }

    fn prologue(&self) -> Vec<u8> {
        [PROLOGUE, self.seal.as_bytes()].concat()
    }

    /// Begins a handshake. `fresh` is used for this one and never again.
    pub fn knock(&self, fresh: &Secret) -> Option<(Knocking, Vec<u8>)> {
        let prologue = self.prologue();
        let mut state = self.builder(&prologue, fresh).and_then(Builder::build_initiator).ok()?;
        let mut knock = vec![0; HANDSHAKE_BYTES];
        let length = state.write_message(&[], &mut knock).ok()?;
        knock.truncate(length);
        Some((Knocking(state), knock))
    }

    /// Answers a knock; `None` when it is not by the other end. `fresh` is used for this one and never again.
    pub fn answer(&self, knock: &[u8], fresh: &Secret) -> Option<(Ciphers, Vec<u8>)> {
        let prologue = self.prologue();
        let mut state = self.builder(&prologue, fresh).and_then(Builder::build_responder).ok()?;
        if knock.len() != HANDSHAKE_BYTES {
            return None;
        }
        state.read_message(knock, &mut []).ok()?;
        let mut answer = vec![0; HANDSHAKE_BYTES];
        let length = state.write_message(&[], &mut answer).ok()?;
        answer.truncate(length);
        Some((Ciphers(state.into_stateless_transport_mode().ok()?), answer))
    }
}

impl Knocking {
    /// Whether this is the answer to it. If not, the right one may still come.
    pub fn hears(&mut self, answer: &[u8]) -> bool {
        answer.len() == HANDSHAKE_BYTES && self.0.read_message(answer, &mut []).is_ok()
    }

    /// The keys of the session, once the answer was heard.
    pub fn ciphers(self) -> Option<Ciphers> {
        self.0.into_stateless_transport_mode().ok().map(Ciphers)
    }
}

impl Ciphers {
    /// Closes something. A number is used once.
    pub fn close(&self, number: u64, plain: &[u8]) -> Option<Vec<u8>> {
        let mut closed = vec![0; plain.len() + TAG_BYTES];
        let length = self.0.write_message(number, plain, &mut closed).ok()?;
        closed.truncate(length);
        Some(closed)
    }

    /// Opens what the other end has closed under this number.
    pub fn open(&self, number: u64, closed: &[u8]) -> Option<Vec<u8>> {
        let mut plain = vec![0; closed.len()];
        let length = self.0.read_message(number, closed, &mut plain).ok()?;
        plain.truncate(length);
        Some(plain)
    }
}

/// Gives 32 bytes of chance, once: a handshake takes no more.
struct Once(Secret);

impl Random for Once {
    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Error> {
        if into.len() != self.0.len() || self.0 == [0; 32] {
            return Err(Error::Rng);
        }
        into.copy_from_slice(&self.0);
        self.0 = [0; 32];
        Ok(())
    }
}

impl CryptoResolver for Once {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Once(self.0)))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_used_once_and_none_is_no_chance() {
        let mut bytes = [0; 32];
        let mut once = Once([7; 32]);
        assert!(once.try_fill_bytes(&mut bytes).is_ok() && bytes == [7; 32]);
        assert!(once.try_fill_bytes(&mut bytes).is_err());
        assert!(Once([0; 32]).try_fill_bytes(&mut bytes).is_err());
        let pair = Pair { own: [1; 32], peer: public(&[2; 32]), seal: "gongli-07".into() };
        assert!(pair.knock(&[0; 32]).is_none() && pair.knock(&[3; 32]).is_some());
    }
}
