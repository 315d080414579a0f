//! Readings on their way to Parquet. A city makes a million of them between two sets of files, so what those of a frame
//! and place have in common is said once.

/// Places in memory that are asked for at once, some megabytes: doubling would leave tens of them empty.
const ROOM: usize = 1 << 16;

/// What readings of one frame and one place have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// When they were received, in milliseconds since 1970 UTC.
    pub received_ms: i64,
    /// Store of the frame; 0 for SenML.
    pub store: u64,
    /// Sequence of the frame; 0 for SenML.
    pub sequence: u64,
    /// Number of the gateway or source.
    pub gateway: u32,
    /// Number of the area they were in.
    pub area: u32,
    /// Latitude, WGS-84, in 1e-7 degrees.
    pub lat_e7: i32,
    /// Longitude, WGS-84, in 1e-7 degrees.
    pub lon_e7: i32,
    /// What was known of the time: 0 unset, 1 held over, 2 synchronised.
    pub clock: u8,
    /// Lane of the frame.
    pub lane: u8,
}

/// One reading, without what its head says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// When it was taken, in milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// The value; means nothing without `has_value`.
    pub value: f64,
    /// Number of the sensor.
    pub sensor: u32,
    /// Where its name lies.
    pub name: u32,
    /// Number of its head in its [`Rows`].
    pub head: u32,
    /// What was measured.
    pub quantity: u16,
    /// How far to trust it, as [`wire::Quality`] is numbered.
    pub quality: u8,
    /// Whether there is a value: a fault has none.
    pub has_value: bool,
}

/// What [`Rows::burden`] counts is at most so many bytes on average.
const _: () = assert!(size_of::<Row>() == 32 && size_of::<Head>() == 48);

impl Row {
    /// The value; `None` for a fault.
    pub fn value(&self) -> Option<f64> {
        self.has_value.then_some(self.value)
    }
}

/// Readings in the order they were put here, with their heads.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    rows: Vec<Row>,
    heads: Vec<Head>,
}

impl Rows {
    /// How many readings there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How much memory they take, in units of 40 bytes at most: readings of which each has a head of its own count
    /// twice.
    pub fn burden(&self) -> usize {
        self.rows.len() + self.heads.len()
    }

    /// The readings.
    pub fn as_slice(&self) -> &[Row] {
        &self.rows
    }

    /// All heads.
    pub fn heads(&self) -> &[Head] {
        &self.heads
    }

    /// The head of one of these readings.
    pub fn head_of(&self, row: &Row) -> &Head {
        &self.heads[row.head as usize]
    }

    /// Each reading with its head.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Row, &Head)> {
        self.rows.iter().map(|row| (row, self.head_of(row)))
    }

    /// The number of a head for readings that come next. A repeat of the last one has the same.
    pub fn head(&mut self, head: Head) -> u32 {
        if self.heads.last() != Some(&head) {
            make_room(&mut self.heads, 1);
            self.heads.push(head);
        }
        self.heads.len() as u32 - 1
    }

    /// Makes room for `more` readings.
    pub fn reserve(&mut self, more: usize) {
        make_room(&mut self.rows, more);
    }

    /// Adds a reading; its head is known by number.
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Forgets all and keeps the room.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.heads.clear();
    }
}

fn make_room<T>(all: &mut Vec<T>, more: usize) {
    if all.capacity() - all.len() < more {
        all.reserve_exact(more.max(ROOM));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head {
        received_ms: 5,
        store: 1,
        sequence: 1,
        gateway: 0,
        area: 0,
        lat_e7: 0,
        lon_e7: 0,
        clock: 2,
        lane: 1,
    };

    fn row(sensor: u32, head: u32) -> Row {
        Row { at_ms: 0, value: 7.0, sensor, name: 0, head, quantity: 1, quality: 0, has_value: sensor > 1 }
    }

    #[test]
    fn readings_share_heads_and_are_weighed_with_them() {
        let mut rows = Rows::default();
        let other = Head { sequence: 2, ..HEAD };
        let numbers = [HEAD, HEAD, other, HEAD].map(|head| rows.head(head));
        assert_eq!(numbers, [0, 0, 1, 2], "only the last one is looked at");
        for (sensor, head) in [(1, 0), (2, 1), (3, 0)] {
            rows.push(row(sensor, head));
        }
        let found: Vec<_> = rows.iter().map(|(row, head)| (row.sensor, row.value(), *head)).collect();
        assert_eq!(found, [(1, None, HEAD), (2, Some(7.0), other), (3, Some(7.0), HEAD)]);
        assert_eq!((rows.len(), rows.burden()), (3, 6));
        rows.clear();
        assert_eq!((rows.is_empty(), rows.burden(), rows.head(other)), (true, 0, 0));
    }
}
