//! Who somebody is who types a PIN or shows a card.
//!
//! A file names people by the pseudonyms that grants have for them:
//! ```toml
//! [[person]]
//! name = "p-7f3a"
//! pin = "$argon2id$v=19$m=7168,t=5,p=1$…"    # as `hash` makes it
//! duress = "$argon2id$…"                     # another PIN, which also says that somebody makes them
//! card = "04a2f35b"                          # a card can be copied: weaker than a PIN
//! ```
//! # What it is worth
//! It is one lock of several: what moves the seal is a grant. Whoever steals the file tries all PINs of six digits in hours
//! (14 ms each on a core of a PC), argon2 or not; without it, in a second. Whoever stands at the keypad gets [`FREE_TRIES`],
//! then one after each pause. The pauses survive nothing: a restart gives the free tries again, but restarts are counted and
//! told to the city.

use std::collections::BTreeSet;

use ::seal::receipt::{Method, Person};
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use boards::seal::Shown;
use configs::{Document, Problems};

/// Most people at one seal: a village has a handful of clerks.
pub const MAX_PEOPLE: usize = 64;
/// Digits of a PIN.
pub const PIN_DIGITS: std::ops::RangeInclusive<usize> = 4..=12;
/// Wrong tries before the first pause: people slip.
pub const FREE_TRIES: u32 = 3;
/// The first pause, in ms. Each further wrong try doubles it.
pub const FIRST_PAUSE_MS: u64 = 30_000;
/// The longest: 24 tries a day, so half of all PINs of four digits take 200 days.
pub const LONGEST_PAUSE_MS: u64 = 3_600_000;

/// Memory for one PIN, in KiB, and passes over it: the smallest of the equals that OWASP's password storage cheat sheet
/// lists. A try that took more would push the rest of a small Pi out of its memory.
const MEMORY_KIB: u32 = 7 * 1_024;
const PASSES: u32 = 5;
/// Most of both that a file may ask for: a slip must not stop the gateway.
const MOST_MEMORY_KIB: u32 = 64 * 1_024;
const MOST_PASSES: u32 = 16;

/// Why a person was not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Not one of those who may. Nobody is told whether the PIN or the person was wrong.
    #[error("不正确 not right")]
    Wrong,
    /// After too many wrong tries, nothing is looked at for so long.
    #[error("尝试过多，请等待 {} 秒 too many tries, wait {} s", .ms.div_ceil(1_000), .ms.div_ceil(1_000))]
    Wait {
        /// Milliseconds.
        ms: u64,
    },
}

/// Why no hash could be made of a PIN.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// It is none.
    #[error(
        "PIN 应为 {} 至 {} 位数字 a PIN has {} to {} digits",
        PIN_DIGITS.start(), PIN_DIGITS.end(), PIN_DIGITS.start(), PIN_DIGITS.end()
    )]
    Digits,
    /// Memory, or the system's source of chance.
    #[error("the PIN cannot be hashed: {0}")]
    Argon(String),
}

/// What stands in the file for a PIN: argon2id with a salt of its own, as a PHC string.
///
/// # Errors
/// [`HashError`].
pub fn hash(pin: &str) -> Result<String, HashError> {
    if !PIN_DIGITS.contains(&pin.len()) || !pin.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HashError::Digits);
    }
    let params =
        Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|error| HashError::Argon(error.to_string()))?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon.hash_password(pin.as_bytes()).map_err(|error| HashError::Argon(error.to_string()))?;
    Ok(hash.to_string())
}

#[derive(Debug, Default)]
struct Known {
    name: String,
    pin: Option<PasswordHash>,
    duress: Option<PasswordHash>,
    card: Option<String>,
    wrong: u32,
    waits_until_ms: u64,
}

/// The people of a seal. Each has their own pauses: a right PIN of one gives no tries at another's.
#[derive(Debug, Default)]
pub struct People(Vec<Known>);

impl People {
    /// Reads the file.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let document = Document::parse(file, text);
        let mut root = document.root();
        let mut people = Vec::new();
        let (mut names, mut cards) = (BTreeSet::new(), BTreeSet::new());
        for mut entry in root.sections("person") {
            let name = entry.required("name", |text| {
                if text.is_empty() { Err("a name is empty") } else { Ok(text.to_owned()) }
            });
            let pin = entry.optional("pin", phc);
            let duress = entry.optional("duress", phc);
            let card = entry.optional("card", |text| match Shown::read(&format!("card {text}")) {
                Some(Shown::Card(card)) => Ok(card),
                _ => Err(format!("{text:?} is not the number of a card: hexadecimal digits expected")),
            });
            if duress.is_some() && pin.is_none() {
                entry.problem("duress", "a PIN under duress needs a pin beside it");
            }
            if pin.is_none() && card.is_none() {
                entry.problem("name", "this person has neither pin nor card");
            }
            if name.clone().is_some_and(|name| !names.insert(name)) {
                entry.problem("name", "this person is there twice");
            }
            if card.clone().is_some_and(|card| !cards.insert(card)) {
                entry.problem("card", "this card is there twice");
            }
            if people.len() == MAX_PEOPLE {
                entry.problem("name", format!("more than {MAX_PEOPLE} people"));
                break;
            }
            people.extend(name.map(|name| Known { name, pin, duress, card, ..Known::default() }));
        }
        drop(root);
        let problems = document.finish();
        if problems.0.is_empty() { Ok(Self(people)) } else { Err(problems) }
    }

    /// Which of `names` has shown this: those whom a grant names. Takes some tens of ms for each PIN
    /// that is looked at: not on a thread that feels a lock.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn check<N: AsRef<str>>(
        &mut self,
        names: &[N],
        shown: &Shown,
        now_ms: u64,
    ) -> Result<Person, Denied> {
        let asked = |known: &&mut Known| names.iter().any(|name| name.as_ref() == known.name);
        let (mut tried, mut wait_ms) = (Vec::new(), None);
        for known in self.0.iter_mut().filter(asked) {
            if let Some(left @ 1..) = known.waits_until_ms.checked_sub(now_ms) {
                wait_ms = Some(wait_ms.map_or(left, |wait: u64| wait.min(left)));
                continue;
            }
            if let Some((method, is_duress)) = known.is_shown_by(shown) {
                (known.wrong, known.waits_until_ms) = (0, 0);
                return Ok(Person { name: known.name.clone(), method, is_duress });
            }
            tried.push(known);
        }
        match wait_ms {
            Some(ms) if tried.is_empty() => Err(Denied::Wait { ms }),
            _ => {
                tried.into_iter().for_each(|known| known.fail(now_ms));
                Err(Denied::Wrong)
            }
        }
    }
}

impl Known {
    /// How, and whether under duress.
    fn is_shown_by(&self, shown: &Shown) -> Option<(Method, bool)> {
        match shown {
            Shown::Card(card) => (self.card.as_ref() == Some(card)).then_some((Method::Card, false)),
            Shown::Pin(pin) => {
                // Both, always: nobody who waits beside it can tell by the time which one it was.
                let is_duress = is(self.duress.as_ref(), pin);
                let is_pin = is(self.pin.as_ref(), pin);
                (is_duress || is_pin).then_some((Method::Pin, is_duress))
            }
        }
    }

    fn fail(&mut self, now_ms: u64) {
        self.wrong = self.wrong.saturating_add(1);
        if let Some(further) = self.wrong.checked_sub(FREE_TRIES) {
            let pause_ms = FIRST_PAUSE_MS.checked_mul(1 << further.min(16)).unwrap_or(LONGEST_PAUSE_MS);
            self.waits_until_ms = now_ms + pause_ms.min(LONGEST_PAUSE_MS);
        }
    }
}

fn is(hash: Option<&PasswordHash>, pin: &str) -> bool {
    hash.is_some_and(|hash| Argon2::default().verify_password(pin.as_bytes(), hash).is_ok())
}

fn phc(text: &str) -> Result<PasswordHash, String> {
    let expected = "a text that begins with $argon2id$v=19$ expected, as `hash` makes it of a PIN";
    let hash = PasswordHash::new(text).map_err(|error| format!("{error}: {expected}"))?;
    let is_argon = hash.algorithm == Algorithm::Argon2id.ident()
        && hash.version == Some(Version::V0x13.into())
        && hash.salt.is_some()
        && hash.hash.is_some();
    if !is_argon {
        return Err(expected.into());
    }
    let params = Params::try_from(&hash).map_err(|error| format!("{error}: {expected}"))?;
    if params.m_cost() > MOST_MEMORY_KIB || params.t_cost() > MOST_PASSES || params.p_cost() > 4 {
        return Err(format!(
            "m is at most {MOST_MEMORY_KIB}, t at most {MOST_PASSES} and p at most 4: {text:?}"
        ));
    }
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As cheap as argon2 can be: what is tested is not how dear it is.
    fn cheap(pin: &str) -> String {
        let argon = Argon2::from(Params::new(8, 1, 1, None).unwrap());
        argon.hash_password_with_salt(pin.as_bytes(), b"tests, all of it").unwrap().to_string()
    }

    fn people() -> People {
        let text = format!(
            "[[person]]\nname = \"wang\"\npin = \"{}\"\nduress = \"{}\"\ncard = \"04A2\"\n\
             [[person]]\nname = \"li\"\npin = \"{}\"\n",
            cheap("1234"),
            cheap("4321"),
            cheap("5678")
        );
        People::parse("people.toml", &text).unwrap()
    }

    fn pin(digits: &str) -> Shown {
        Shown::Pin(digits.into())
    }

    fn person(name: &str, method: Method, is_duress: bool) -> Result<Person, Denied> {
        Ok(Person { name: name.into(), method, is_duress })
    }

    #[test]
    fn a_person_is_who_the_grant_names_and_shows_it() {
        let mut people = people();
        for (names, shown, who) in [
            (&["wang"][..], pin("1234"), person("wang", Method::Pin, false)),
            (&["wang"], pin("4321"), person("wang", Method::Pin, true)),
            (&["wang"], Shown::Card("04a2".into()), person("wang", Method::Card, false)),
            (&["wang", "li"], pin("5678"), person("li", Method::Pin, false)),
            (&["wang"], pin("5678"), Err(Denied::Wrong)),
            (&["li"], Shown::Card("04a2".into()), Err(Denied::Wrong)),
            (&["nobody"], pin("1234"), Err(Denied::Wrong)),
            (&[], pin("1234"), Err(Denied::Wrong)),
        ] {
            assert_eq!(people.check(names, &shown, 0), who, "{names:?} {shown:?}");
        }
    }

    #[test]
    fn after_three_wrong_tries_each_pause_is_twice_the_one_before_up_to_an_hour() {
        let mut people = people();
        let mut now_ms = 1_000;
        for _ in 0..FREE_TRIES {
            assert_eq!(people.check(&["wang"], &pin("0000"), now_ms), Err(Denied::Wrong));
        }
        for pause_s in [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600] {
            let pause_ms = pause_s * 1_000;
            let wait = |ms| Err(Denied::Wait { ms });
            assert_eq!(people.check(&["wang"], &pin("1234"), now_ms), wait(pause_ms), "not even looked at");
            assert_eq!(people.check(&["wang"], &pin("1234"), now_ms + pause_ms - 1), wait(1));
            now_ms += pause_ms;
            assert_eq!(people.check(&["wang"], &pin("0000"), now_ms), Err(Denied::Wrong));
        }
        now_ms += LONGEST_PAUSE_MS;
        assert!(people.check(&["wang"], &pin("1234"), now_ms).is_ok());
        assert_eq!(people.check(&["wang"], &pin("0000"), now_ms), Err(Denied::Wrong), "free again");
        assert!(people.check(&["wang"], &pin("1234"), now_ms).is_ok());
    }

    #[test]
    fn a_right_pin_of_one_gives_no_tries_at_anothers() {
        let mut people = people();
        for _ in 0..FREE_TRIES {
            assert_eq!(people.check(&["wang"], &pin("0000"), 0), Err(Denied::Wrong));
            assert!(people.check(&["wang", "li"], &pin("5678"), 0).is_ok());
        }
        assert!(matches!(people.check(&["wang"], &pin("1234"), 0), Err(Denied::Wait { .. })));
        assert!(people.check(&["wang", "li"], &pin("5678"), 0).is_ok(), "who waits is left out");
    }

    #[test]
    fn every_mistake_of_the_file_is_told() {
        let dear = cheap("1").replace("m=8", "m=1000000");
        let text = format!(
            "[[person]]\nname = \"a\"\npin = \"1234\"\n[[person]]\nname = \"a\"\ncard = \"xyz\"\n\
             [[person]]\npin = \"{dear}\"\nfinger = 1\n[[person]]\nname = \"b\"\ncard = \"1\"\nduress = \"{}\"\n\
             [[person]]\nname = \"c\"\npin = \"{}\"\n",
            cheap("1"),
            cheap("1").replace("argon2id", "argon2d"),
        );
        let problems = People::parse("people.toml", &text).unwrap_err().to_string();
        for part in [
            "as `hash` makes it of a PIN",
            "neither pin nor card",
            "there twice",
            "not the number of a card",
            "m is at most 65536",
            "finger",
            "needs a pin beside it",
        ] {
            assert!(problems.contains(part), "{part} is not in\n{problems}");
        }
        assert_eq!(problems.matches("begins with $argon2id$v=19$").count(), 2, "\n{problems}");
    }

    #[test]
    fn a_hash_is_of_this_pin_and_no_two_are_alike() {
        let (one, other) = (hash("123456").unwrap(), hash("123456").unwrap());
        assert_ne!(one, other);
        assert!(one.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{one}");
        let (one, other) = (phc(&one).unwrap(), phc(&other).unwrap());
        assert!(is(Some(&one), "123456") && is(Some(&other), "123456") && !is(Some(&one), "123457"));
        for pin in ["123", "1234567890123", "12345a", ""] {
            assert!(matches!(hash(pin), Err(HashError::Digits)), "{pin:?}");
        }
    }
}
