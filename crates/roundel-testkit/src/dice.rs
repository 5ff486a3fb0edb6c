//! Numbers that are the same for ever for the same seed.

/// A small generator of its own, so that a seed means the same on every machine and for ever.
/// Source: xorshift64*.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 to `sides - 1`; 0 if there are no sides.
    pub fn roll(&mut self, sides: usize) -> usize {
        let mixed = usize::try_from(self.draw() >> 33).unwrap_or(0);
        mixed % sides.max(1)
    }

    /// Whether something happens that happens so often in a hundred.
    pub fn percent(&mut self, often: usize) -> bool {
        self.roll(100) < often
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.draw().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// A hash that tells bodies apart. Source: FNV-1a, 64 bits.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut dice = Dice::new(7);
        let rolls: Vec<usize> = (0..6).map(|_| dice.roll(100)).collect();
        assert_eq!(rolls, [74, 95, 69, 13, 1, 12]);
        assert_eq!(Dice::new(7).bytes(3), Dice::new(7).bytes(3));
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
