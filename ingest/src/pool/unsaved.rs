//! What SQL was not told of the sensors yet.
//!
//! Words (label and chip) are nowhere else: they go to SQL before the next checkpoint. All the rest is in the tables of
//! the checkpoint, and SQL has a copy for others to read. A city may announce itself within a minute, and SQL takes some
//! 5 µs a row: so the copy follows when SQL has nothing else to do, a slice at a time. A checkpoint names the pages with
//! rows that still have to follow.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::pages::PAGE_ROWS;
use super::sensors::Words;

/// Rows of one word of the bitmap.
const WORD: usize = u64::BITS as usize;
/// Rows of a word that are of one page, and as many ones.
const TOGETHER: usize = if PAGE_ROWS < WORD { PAGE_ROWS } else { WORD };
const ROWS_TOGETHER: u64 = u64::MAX >> (WORD - TOGETHER);
/// No page ends within them.
const _: () = assert!(WORD.is_multiple_of(TOGETHER) && PAGE_ROWS.is_multiple_of(TOGETHER));

/// The sensors whose row in SQL is not what it should be.
#[derive(Debug, Clone, Default)]
pub(super) struct Unsaved {
    /// One bit a sensor.
    rows: Vec<u64>,
    /// The words of those whose words changed.
    words: HashMap<u32, Words, RandomState>,
    /// Which word of the bitmap is looked at next.
    next: usize,
}

impl Unsaved {
    /// A sensor is new or changed.
    pub(super) fn note(&mut self, number: u32) {
        let at = number as usize / WORD;
        if at >= self.rows.len() {
            self.rows.resize(at + 1, 0);
        }
        self.rows[at] |= 1 << (number as usize % WORD);
    }

    /// Its words changed.
    pub(super) fn describe(&mut self, number: u32, words: Words) {
        self.words.insert(number, words);
    }

    /// The words of a sensor that SQL does not have.
    pub(super) fn words(&self, number: u32) -> Option<&Words> {
        self.words.get(&number)
    }

    /// How many sensors have such words.
    pub(super) fn described(&self) -> usize {
        self.words.len()
    }

    /// Those with their words, by number: SQL is told now.
    pub(super) fn take_described(&mut self) -> Vec<(u32, Words)> {
        let mut described: Vec<(u32, Words)> = std::mem::take(&mut self.words).into_iter().collect();
        described.sort_unstable_by_key(|(number, _)| *number);
        for (number, _) in &described {
            if let Some(word) = self.rows.get_mut(*number as usize / WORD) {
                *word &= !(1 << (*number as usize % WORD));
            }
        }
        described
    }

    /// The next of the others, by number, `most` and up to a word of the bitmap more: SQL is told now.
    pub(super) fn take_some(&mut self, most: usize) -> Vec<u32> {
        let mut taken = Vec::new();
        for _ in 0..self.rows.len() {
            if taken.len() >= most {
                break;
            }
            let at = self.next % self.rows.len();
            self.next = at + 1;
            let mut word = std::mem::take(&mut self.rows[at]);
            while word != 0 {
                taken.push((at * WORD) as u32 + word.trailing_zeros());
                word &= word - 1;
            }
        }
        // Ascending, so that they share statements: the search may have begun in the middle.
        taken.sort_unstable();
        taken
    }

    /// Pages of the table with rows that SQL does not have. Asked for with every checkpoint, also while a whole city
    /// still has to follow, so it looks at as many rows at once as it can.
    pub(super) fn pages(&self) -> Vec<u32> {
        let mut pages = Vec::new();
        for (at, &word) in self.rows.iter().enumerate().filter(|(_, word)| **word != 0) {
            for bit in (0..WORD).step_by(TOGETHER).filter(|bit| word >> bit & ROWS_TOGETHER != 0) {
                let page = ((at * WORD + bit) / PAGE_ROWS) as u32;
                if pages.last() != Some(&page) {
                    pages.push(page);
                }
            }
        }
        pages
    }

    /// Notes whole pages, of a table with `rows` rows.
    pub(super) fn put_back(&mut self, pages: &[u32], rows: usize) {
        for page in pages.iter().map(|&page| page as usize) {
            for number in page * PAGE_ROWS..((page + 1) * PAGE_ROWS).min(rows) {
                self.note(number as u32);
            }
        }
    }

    /// Nothing has to follow.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(numbers: &[u32]) -> Unsaved {
        let mut unsaved = Unsaved::default();
        numbers.iter().for_each(|&number| unsaved.note(number));
        unsaved
    }

    #[test]
    fn each_is_taken_once_and_in_turn() {
        let mut unsaved = noted(&[700, 3, 64, 3, 5]);
        assert_eq!(unsaved.take_some(1), [3, 5], "a whole word of the bitmap");
        unsaved.note(4);
        assert_eq!(unsaved.take_some(1), [64]);
        assert_eq!(unsaved.take_some(9), [4, 700]);
        assert!(unsaved.take_some(9).is_empty());
        assert!(Unsaved::default().take_some(9).is_empty());
    }

    #[test]
    fn who_has_words_is_told_with_them() {
        let mut unsaved = noted(&[1, 2]);
        let words = Words { label: "东门".into(), chip: "sht4x".into() };
        unsaved.describe(2, words.clone());
        unsaved.describe(900, words.clone());
        assert_eq!((unsaved.described(), unsaved.words(2)), (2, Some(&words)));
        assert_eq!(unsaved.take_described(), [(2, words.clone()), (900, words)]);
        assert_eq!((unsaved.described(), unsaved.words(2)), (0, None));
        assert_eq!(unsaved.take_some(9), [1]);
    }

    #[test]
    fn pages_stand_for_their_rows() {
        let rows = PAGE_ROWS as u32;
        let unsaved = noted(&[0, 1, 5 * rows - 1, 70 * rows]);
        assert_eq!(unsaved.pages(), [0, 4, 70]);
        let mut again = Unsaved::default();
        again.put_back(&[0, 70], 70 * PAGE_ROWS + 2);
        let expected: Vec<u32> = (0..rows).chain([70 * rows, 70 * rows + 1]).collect();
        assert_eq!(again.take_some(usize::MAX), expected);
    }
}
