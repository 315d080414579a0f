//! DFRobot A02YYUW: distance by ultrasound over a serial line, 9600 baud, 8N1, the sensor talks by itself.
//!
//! A frame is four bytes: `FF`, high byte, low byte, and the low byte of the sum of the three. The distance is in
//! millimetres; the data sheet (SEN0311) promises 30 to 4500. `FF` may also occur inside a frame, and a line in the
//! street carries noise: [`Decoder`] finds its way back to the frames by itself. Pure: bytes in, distances out.

/// First byte of a frame.
const HEADER: u8 = 0xff;
/// Bytes in a frame.
const FRAME: usize = 4;
/// Nearest distance that can be measured, in mm.
pub const NEAREST_MM: u16 = 30;
/// Farthest distance that can be measured, in mm.
pub const FARTHEST_MM: u16 = 4_500;

/// What a complete frame said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// A distance within the range of the sensor.
    Distance {
        /// In millimetres.
        mm: u16,
    },
    /// A sound frame with a distance that the sensor cannot measure: no echo, or too close.
    OutOfRange {
        /// As received, in millimetres.
        mm: u16,
    },
    /// Four bytes that began like a frame and were none: noise, or a start in the middle of a frame.
    BadSum {
        /// Computed from the first three bytes.
        expected: u8,
        /// The fourth byte.
        found: u8,
    },
}

/// Finds frames in a stream of bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoder {
    held: [u8; FRAME],
    length: usize,
}

impl Decoder {
    /// A decoder that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next byte. `Some` when it completes four bytes that begin with a header.
    ///
    /// After [`Decoded::BadSum`] the bytes behind the false header are looked at again, so that at most the frame
    /// that was disturbed is lost.
    pub fn push(&mut self, byte: u8) -> Option<Decoded> {
        match (self.length, byte) {
            (0, byte) if byte != HEADER => return None,
            // A high byte of FF would be 65 m. Of two headers in a row the first is false.
            (1, HEADER) => return None,
            _ => {}
        }
        self.held[self.length] = byte;
        self.length += 1;
        if self.length < FRAME {
            return None;
        }
        let [header, high, low, found] = self.held;
        let expected = header.wrapping_add(high).wrapping_add(low);
        if expected != found {
            self.drop_false_header();
            return Some(Decoded::BadSum { expected, found });
        }
        self.length = 0;
        let mm = u16::from_be_bytes([high, low]);
        Some(if (NEAREST_MM..=FARTHEST_MM).contains(&mm) {
            Decoded::Distance { mm }
        } else {
            Decoded::OutOfRange { mm }
        })
    }

    /// Keeps the bytes held from the next header on, the last one of several in a row.
    fn drop_false_header(&mut self) {
        let begins = |&at: &usize| self.held[at] == HEADER && self.held.get(at + 1) != Some(&HEADER);
        let next = (1..FRAME).find(begins).unwrap_or(FRAME);
        self.held.copy_within(next.., 0);
        self.length = FRAME - next;
    }
}

/// The frame a sensor sends for a distance. For simulated sensors and tests.
pub fn frame(mm: u16) -> [u8; FRAME] {
    let [high, low] = mm.to_be_bytes();
    [HEADER, high, low, HEADER.wrapping_add(high).wrapping_add(low)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distances(bytes: impl IntoIterator<Item = u8>) -> ([u16; 8], usize) {
        let (mut decoder, mut found, mut count) = (Decoder::new(), [0; 8], 0);
        for byte in bytes {
            if let Some(Decoded::Distance { mm }) = decoder.push(byte) {
                found[count] = mm;
                count += 1;
            }
        }
        (found, count)
    }

    #[test]
    fn the_example_of_the_datasheet() {
        // FF 07 A1 A7: 0x07A1 = 1953 mm.
        assert_eq!(frame(1953), [0xff, 0x07, 0xa1, 0xa7]);
        assert_eq!(distances([0xff, 0x07, 0xa1, 0xa7]), ([1953, 0, 0, 0, 0, 0, 0, 0], 1));
    }

    #[test]
    fn a_broken_sum_is_told() {
        let mut decoder = Decoder::new();
        for byte in [0xff, 0x07, 0xa1] {
            assert_eq!(decoder.push(byte), None);
        }
        assert_eq!(decoder.push(0xa8), Some(Decoded::BadSum { expected: 0xa7, found: 0xa8 }));
    }

    #[test]
    fn distances_that_cannot_be_are_told() {
        for (mm, good) in [(0, false), (29, false), (30, true), (4500, true), (4501, false), (0xfeff, false)]
        {
            let mut decoder = Decoder::new();
            let decoded = frame(mm).into_iter().filter_map(|byte| decoder.push(byte)).next();
            let expected = if good { Decoded::Distance { mm } } else { Decoded::OutOfRange { mm } };
            assert_eq!(decoded, Some(expected));
        }
    }

    #[test]
    fn it_finds_the_frames_again() {
        let frames = || frame(511).into_iter().chain(frame(512)).chain(frame(513));
        assert_eq!(distances(frames()).1, 3, "0x01ff has a header inside");
        assert_eq!(distances([0x00, 0x13, 0x37].into_iter().chain(frames())).1, 3, "noise before");
        assert_eq!(distances([0xff].into_iter().chain(frames())).1, 3, "a false header before");
        assert_eq!(distances(frames().skip(2)).1, 2, "a start in the middle");
        // One byte lost in the first frame: only that frame is lost.
        let lost = frame(700).into_iter().take(2).chain(frame(800)).chain(frame(900));
        assert_eq!(distances(lost), ([800, 900, 0, 0, 0, 0, 0, 0], 2));
    }

    #[test]
    fn any_bytes_at_all_leave_it_able_to_read_on() {
        let mut state = 1_u32;
        let mut decoder = Decoder::new();
        for _ in 0..10_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Many headers, so that false starts overlap.
            let byte = if state >> 30 == 0 { 0xff } else { (state >> 16) as u8 };
            decoder.push(byte);
        }
        let found: usize = [frame(1234), frame(1234)]
            .into_iter()
            .flatten()
            .filter(|&byte| decoder.push(byte) == Some(Decoded::Distance { mm: 1234 }))
            .count();
        assert!(found >= 1, "the second frame is always found");
    }
}
