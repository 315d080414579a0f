//! The checksum of Sensirion's chips: CRC-8, polynomial 0x31, start 0xff, nothing reflected, nothing added.

/// The checksum over `bytes`, usually one 16-bit word.
pub fn crc8(bytes: &[u8]) -> u8 {
    let mut crc = 0xff_u8;
    for byte in bytes {
        crc ^= byte;
        for _ in 0..8 {
            crc = if crc & 0x80 == 0 { crc << 1 } else { (crc << 1) ^ 0x31 };
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_datasheets_example() {
        assert_eq!(crc8(&[0xbe, 0xef]), 0x92);
    }

    #[test]
    fn every_single_bit_error_of_a_word_is_found() {
        let good = crc8(&[0x12, 0x34]);
        for bit in 0..16 {
            let word = 0x1234_u16 ^ (1 << bit);
            assert_ne!(crc8(&word.to_be_bytes()), good, "bit {bit}");
        }
    }
}
