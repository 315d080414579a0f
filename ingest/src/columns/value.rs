//! What the columns of a file may hold.

use std::hash::Hash;

use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::statistics::Statistics;

/// What a column may hold.
pub(super) trait Value: Copy {
    /// The value as a dictionary tells it from others.
    type Key: Eq + Hash;
    fn key(self) -> Self::Key;
    /// The order of statistics and dictionaries.
    fn order(&self, other: &Self) -> std::cmp::Ordering;
    /// Appends it as Parquet writes a value on its own.
    fn put(self, bytes: &mut Vec<u8>);
    fn statistics(least: Option<Self>, most: Option<Self>, nulls: u64) -> Statistics;
}

/// An integer, for columns of steps.
pub(super) trait Integer: Value + Ord {
    /// How far it is from `before`, within the width of the type.
    fn step(self, before: Self) -> i64;
    fn wide(self) -> i64;
    /// Ones in the bits of the type.
    const MASK: u64;
}

macro_rules! integer {
    ($type:ty, $statistics:ident) => {
        impl Value for $type {
            type Key = Self;
            fn key(self) -> Self {
                self
            }
            fn order(&self, other: &Self) -> std::cmp::Ordering {
                self.cmp(other)
            }
            fn put(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }
            fn statistics(least: Option<Self>, most: Option<Self>, nulls: u64) -> Statistics {
                Statistics::$statistics(least, most, None, Some(nulls), false)
            }
        }

        impl Integer for $type {
            fn step(self, before: Self) -> i64 {
                i64::from(self.wrapping_sub(before))
            }
            fn wide(self) -> i64 {
                i64::from(self)
            }
            const MASK: u64 = u64::MAX >> (u64::BITS - <$type>::BITS);
        }
    };
}

integer!(i32, int32);
integer!(i64, int64);

impl Value for f64 {
    type Key = u64;
    fn key(self) -> u64 {
        self.to_bits()
    }
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.total_cmp(other)
    }
    fn put(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_le_bytes());
    }
    fn statistics(least: Option<Self>, most: Option<Self>, nulls: u64) -> Statistics {
        // The format wants no not-a-numbers here, and zeros so that both are inside.
        let (least, most) = match (least, most) {
            (Some(least), Some(most)) if !least.is_nan() && !most.is_nan() => {
                (Some(if least == 0.0 { -0.0 } else { least }), Some(if most == 0.0 { 0.0 } else { most }))
            }
            _ => (None, None),
        };
        Statistics::double(least, most, None, Some(nulls), false)
    }
}

impl<'a> Value for &'a [u8] {
    type Key = &'a [u8];
    fn key(self) -> &'a [u8] {
        self
    }
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.cmp(other)
    }
    fn put(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&(self.len() as u32).to_le_bytes());
        bytes.extend_from_slice(self);
    }
    fn statistics(least: Option<Self>, most: Option<Self>, nulls: u64) -> Statistics {
        let whole = |bytes: &[u8]| ByteArray::from(bytes.to_vec());
        Statistics::byte_array(least.map(whole), most.map(whole), None, Some(nulls), false)
    }
}

/// A decimal of 16 bytes, the highest first.
impl Value for i128 {
    type Key = Self;
    fn key(self) -> Self {
        self
    }
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.cmp(other)
    }
    fn put(self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_be_bytes());
    }
    fn statistics(least: Option<Self>, most: Option<Self>, nulls: u64) -> Statistics {
        let bytes = |value: i128| FixedLenByteArray::from(value.to_be_bytes().to_vec());
        Statistics::fixed_len_byte_array(least.map(bytes), most.map(bytes), None, Some(nulls), false)
    }
}
