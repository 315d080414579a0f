//! What people type or hold against a seal. Who that is, others decide.

/// Most characters of a number typed or of a card's: a PIN has up to 12 digits, an NFC card a UID of up to 10 bytes.
pub const MAX_SHOWN: usize = 20;

/// What a person showed.
#[derive(Clone, PartialEq, Eq)]
pub enum Shown {
    /// Digits on a keypad, ended by its key.
    Pin(String),
    /// The number of a card, in hexadecimal digits. It can be copied: a card is a convenience.
    Card(String),
}

impl Shown {
    /// Reads a line: `pin 1234`, `card 04a2f3`. `None` when it is something else or longer than [`MAX_SHOWN`].
    pub fn read(line: &str) -> Option<Self> {
        let (word, text) = line.trim().split_once(' ')?;
        let is = |of: fn(&u8) -> bool| {
            !text.is_empty() && text.len() <= MAX_SHOWN && text.bytes().all(|byte| of(&byte))
        };
        match word {
            "pin" if is(u8::is_ascii_digit) => Some(Self::Pin(text.into())),
            "card" if is(u8::is_ascii_hexdigit) => Some(Self::Card(text.to_ascii_lowercase())),
            _ => None,
        }
    }
}

/// Without the number: it would end up in a log.
impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Shown::Pin(_) => "Pin(…)",
            Shown::Card(_) => "Card(…)",
        })
    }
}

/// A keypad, or a reader of cards.
pub trait Reader: Send {
    /// What somebody has shown since the last call, the oldest first, one at a time; `None` when nothing. Does not wait.
    ///
    /// # Errors
    /// Why it cannot be read, and what to do, for a person.
    fn shown(&mut self) -> Result<Option<Shown>, String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_are_a_pin_and_only_a_number_is_a_card() {
        for (line, shown) in [
            ("pin 1234\n", Some(Shown::Pin("1234".into()))),
            ("card 04A2f3", Some(Shown::Card("04a2f3".into()))),
            ("pin 12a4", None),
            ("pin ", None),
            ("pin 123456789012345678901", None),
            ("card x", None),
            ("face 1", None),
            ("", None),
        ] {
            assert!(Shown::read(line) == shown, "{line:?}");
        }
        assert!(!format!("{:?}", Shown::read("pin 1234")).contains('1'));
    }
}
