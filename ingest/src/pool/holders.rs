//! Which gateway each sensor belongs to.
//!
//! Sensors are numbered as they are first seen, and a gateway names all of its own in one go: so a city of 22 million
//! sensors is some thousands of stretches, and not four bytes for each.

/// A stretch of numbers.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// The first of them; it ends where the next begins.
    first: u32,
    owner: u32,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Holders(Vec<Stretch>);

impl Holders {
    /// The sensor with the next number, which is `number`, belongs to `owner`.
    pub(super) fn add(&mut self, number: u32, owner: u32) {
        if self.0.last().is_none_or(|last| last.owner != owner) {
            self.0.push(Stretch { first: number, owner });
        }
    }

    /// The owners of the sensors from number `from` on. After the last sensor it goes on for ever.
    pub(super) fn from(&self, from: u32) -> impl Iterator<Item = u32> {
        let next = self.0.partition_point(|stretch| stretch.first <= from);
        let mut stretches = &self.0[next.saturating_sub(1)..];
        (from..).map_while(move |number| {
            if let [_, next, ..] = stretches
                && next.first <= number
            {
                stretches = &stretches[1..];
            }
            stretches.first().map(|stretch| stretch.owner)
        })
    }

    /// The owner of a sensor.
    pub(super) fn of(&self, number: u32) -> Option<u32> {
        self.from(number).next()
    }

    /// Bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Stretch>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sensor_has_the_owner_it_was_given() {
        let mut holders = Holders::default();
        assert_eq!(holders.of(0), None);
        let owners = [7, 7, 7, 2, 7, 7, 0, 0, 1];
        for (number, owner) in owners.into_iter().enumerate() {
            holders.add(number as u32, owner);
        }
        assert_eq!(holders.0.len(), 5);
        for from in 0..owners.len() {
            let found: Vec<u32> = holders.from(from as u32).take(owners.len() - from).collect();
            assert_eq!(found, owners[from..]);
            assert_eq!(holders.of(from as u32), Some(owners[from]));
        }
    }
}
