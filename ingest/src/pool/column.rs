//! A column of a table that only grows. Its rows lie in chunks: growing moves nothing and leaves next to nothing empty,
//! while a vector of 350 MB would be there twice for a moment, time and again while a city registers.

/// Rows of a chunk: 1 MiB of 16 bytes each. A test fills several.
const CHUNK: usize = if cfg!(test) { 4 } else { 1 << 16 };

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Column<T> {
    /// All full but the last.
    chunks: Vec<Vec<T>>,
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T> Column<T> {
    /// How many rows.
    pub(super) fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(super) fn push(&mut self, row: T) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(row),
            _ => {
                let mut next = Vec::with_capacity(CHUNK);
                next.push(row);
                self.chunks.push(next);
            }
        }
    }

    /// Takes the last row back.
    pub(super) fn pop(&mut self) -> Option<T> {
        let last = self.chunks.last_mut()?;
        let row = last.pop();
        if last.is_empty() {
            self.chunks.pop();
        }
        row
    }

    pub(super) fn get(&self, at: usize) -> Option<&T> {
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.chunks.get_mut(at / CHUNK)?.get_mut(at % CHUNK)
    }

    /// The rows from `at` on.
    pub(super) fn from(&self, at: usize) -> impl Iterator<Item = &T> {
        let mut chunks = self.chunks.iter().skip(at / CHUNK);
        let first = chunks.next().and_then(|chunk| chunk.get(at % CHUNK..)).unwrap_or(&[]);
        first.iter().chain(chunks.flatten())
    }

    /// Bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<T>() + self.chunks.capacity() * size_of::<Vec<T>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_a_vector_is() {
        let (mut column, mut vector) = (Column::default(), Vec::new());
        for row in 0..3 * CHUNK + 1 {
            assert_eq!((column.len(), column.is_empty()), (vector.len(), vector.is_empty()));
            assert_eq!(column.get(row), None);
            column.push(row);
            vector.push(row);
            for at in 0..row + 3 {
                assert_eq!(column.get(at), vector.get(at));
                assert!(column.from(at).eq(vector.iter().skip(at)), "from {at} of {row}");
            }
        }
        *column.get_mut(CHUNK).unwrap() = 100;
        vector[CHUNK] = 100;
        assert_eq!(column.get(CHUNK), Some(&100));
        assert_eq!(column.get_mut(4 * CHUNK), None);
        while !vector.is_empty() {
            assert_eq!((column.pop(), column.len()), (vector.pop(), vector.len()));
        }
        assert_eq!((column.pop(), column.is_empty()), (None, true));
    }
}
