//! Questions that wait for a passkey: each is answered once, soon, and by the one who was asked. Pure.

use std::collections::HashMap;

use super::PeopleError;
use super::account::Login;
use super::passkey::ANSWER_MS;
use super::session::Digest;

/// Most questions at once, a few megabytes. Whoever gets one has given a right password.
const MOST: usize = 1024;
/// Most questions of one account: a new one ends its oldest, so that nobody fills the table alone.
const MOST_OF_ONE: usize = 4;

/// Questions by the digest of what the asked one holds: a session, or an attempt to log in.
#[derive(Debug)]
pub(super) struct Ceremonies<T>(HashMap<Digest, Ceremony<T>>);

#[derive(Debug)]
struct Ceremony<T> {
    name: Login,
    until_ms: i64,
    question: T,
}

impl<T> Default for Ceremonies<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T> Ceremonies<T> {
    /// Keeps a question for [`ANSWER_MS`]. It takes the place of the one before.
    ///
    /// # Errors
    /// [`PeopleError::Busy`].
    pub(super) fn ask(
        &mut self,
        key: Digest,
        name: &Login,
        question: T,
        now_ms: i64,
    ) -> Result<(), PeopleError> {
        self.0.remove(&key);
        self.0.retain(|_, ceremony| now_ms < ceremony.until_ms);
        let own = self.0.iter().filter(|(_, ceremony)| ceremony.name == *name);
        if own.clone().count() >= MOST_OF_ONE
            && let Some(oldest) = own.min_by_key(|(_, ceremony)| ceremony.until_ms).map(|(key, _)| *key)
        {
            self.0.remove(&oldest);
        }
        if self.0.len() >= MOST {
            return Err(PeopleError::Busy);
        }
        let until_ms = now_ms + ANSWER_MS;
        self.0.insert(key, Ceremony { name: name.clone(), until_ms, question });
        Ok(())
    }

    /// The question that is being answered: it is gone, however the answer is judged.
    ///
    /// # Errors
    /// [`PeopleError::NotAsked`] when there is none, it was answered, or it is too old.
    pub(super) fn answered(&mut self, key: &Digest, now_ms: i64) -> Result<(Login, T), PeopleError> {
        let ceremony = self.0.remove(key).filter(|ceremony| now_ms < ceremony.until_ms);
        ceremony.map(|ceremony| (ceremony.name, ceremony.question)).ok_or(PeopleError::NotAsked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> Digest {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(n as u64).to_le_bytes());
        Digest(bytes)
    }

    fn name(n: usize) -> Login {
        Login::new(&format!("li{n}")).unwrap()
    }

    #[test]
    fn a_question_is_answered_once_and_in_time() {
        let mut open = Ceremonies::default();
        open.ask(key(1), &name(1), "first", 0).unwrap();
        open.ask(key(1), &name(1), "second", 0).unwrap();
        assert!(matches!(open.answered(&key(2), 0), Err(PeopleError::NotAsked)), "somebody else");
        assert_eq!(open.answered(&key(1), ANSWER_MS - 1).unwrap(), (name(1), "second"));
        assert!(open.answered(&key(1), 0).is_err(), "once");
        open.ask(key(1), &name(1), "third", 0).unwrap();
        assert!(open.answered(&key(1), ANSWER_MS).is_err(), "too late");
    }

    #[test]
    fn questions_are_bounded() {
        let mut open = Ceremonies::default();
        for n in 0..=MOST_OF_ONE {
            open.ask(key(n), &name(0), (), n as i64).unwrap();
        }
        assert!(open.answered(&key(0), 9).is_err(), "the oldest made room");
        assert!(open.answered(&key(1), 9).is_ok());
        let mut n = 100;
        while open.ask(key(n), &name(n), (), 10).is_ok() {
            n += 1;
        }
        assert_eq!(open.0.len(), MOST);
        assert!(open.ask(key(n), &name(n), (), 10 + ANSWER_MS).is_ok(), "old ones are forgotten");
        assert_eq!(open.0.len(), 1);
    }
}
