//! Counting many in little memory.

use std::{
    hash::{Hash, Hasher},
    hint::black_box,
};

use serde::{Deserialize, Serialize};

/// A hash that is the same on every machine and in every run with the same seed: state that is saved depends on
/// it. Multiply and fold, after wyhash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix(u64);

const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

#[expect(clippy::cast_possible_truncation, reason = "folding both halves is the point")]
const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

impl Mix {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed ^ 0xa076_1d64_78bd_642f)
    }
}

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        fold(self.0, FACTOR)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = fold(self.0 ^ value, FACTOR ^ 0xe703_7ed1_a0b4_28db);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_isize(&mut self, value: isize) {
        #[expect(clippy::cast_sign_loss, reason = "only the bits count")]
        self.write_u64(value as u64);
    }
}

pub(super) fn hash(seed: u64, value: &impl Hash) -> u64 {
    let mut hasher = Mix::new(seed);
    value.hash(&mut hasher);
    hasher.finish()
}

/// Distinct values, about: HyperLogLog with 256 registers, standard error 6.5 %; below about 640 by linear
/// counting, which errs less.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Distinct {
    registers: Vec<u8>,
}

const REGISTERS: usize = 256;

impl Distinct {
    /// Bytes on the heap.
    pub(super) const BYTES: usize = REGISTERS;
    pub(super) const ERROR_PERCENT: u8 = 7;

    pub(super) fn new() -> Self {
        Self {
            registers: vec![0; REGISTERS],
        }
    }

    /// Adds a hash.
    pub(super) fn add(&mut self, hash: u64) {
        let index = usize::from(hash.to_le_bytes()[0]);
        // 56 bits are left; of all zeros the rank is 57.
        let rank = u8::try_from((hash >> 8 | 1 << 56).trailing_zeros() + 1).unwrap_or(57);
        if let Some(register) = self.registers.get_mut(index) {
            *register = (*register).max(rank);
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate is positive and below 2^64"
    )]
    pub(super) fn count(&self) -> u64 {
        let m = 256.0_f64;
        let zeros = self.registers.iter().filter(|register| **register == 0).count();
        let sum: f64 = self
            .registers
            .iter()
            // One half to the power of the register, exactly: its exponent's bits alone.
            .map(|register| f64::from_bits((1023 - u64::from(*register)) << 52))
            .sum();
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        let estimate = if raw <= 2.5 * m && zeros > 0 {
            // At most 256 zeros: exact as a float.
            m * (m / f64::from(u16::try_from(zeros).unwrap_or(256))).ln()
        } else {
            raw
        };
        estimate.round() as u64
    }
}

/// Distinct hashes of which each has set one of 128 bits, about: linear counting, good up to some 400.
pub(super) fn linear(bits: u128) -> u32 {
    let zeros = bits.count_zeros();
    if zeros == 0 {
        return 1000;
    }
    let estimate = 128.0 * (128.0 / f64::from(zeros)).ln();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 621"
    )]
    let count = estimate.round() as u32;
    count
}

/// Whether a key was met before, lately: two Bloom filters, the older one emptied when the newer one is full.
/// Decides who gets state when a table is crowded: one who comes again, not one of the millions who do not.
#[derive(Clone, Debug)]
pub(super) struct Promotion {
    /// A key has its bits in one word of each filter, side by side: one wait for memory.
    words: Vec<[u64; 2]>,
    newer: usize,
    /// Met in the newer filter.
    met: usize,
    seed: u64,
}

/// Without a table there is nothing to be decided.
impl Default for Promotion {
    fn default() -> Self {
        Self::with_bytes(0, 0)
    }
}

impl Promotion {
    /// Takes up to `bytes`, at least 1 KiB.
    pub(super) fn with_bytes(bytes: u64, seed: u64) -> Self {
        let words = 1_usize << (bytes / 16).max(64).ilog2();
        Self {
            // Zeroed by the kernel when it is touched; a clone would touch all of it at once.
            words: vec![[0; 2]; words],
            newer: 0,
            met: 0,
            seed,
        }
    }

    /// Reads a key's word for nothing but to have it in the cache when it is asked for.
    pub(super) fn touch(&self, key: &impl Hash) {
        black_box(self.words.get(self.place(hash(self.seed, key))).copied());
    }

    fn place(&self, hash: u64) -> usize {
        usize::try_from(hash).unwrap_or(0) & (self.words.len() - 1)
    }

    /// Notes a key, and tells if it was noted before.
    pub(super) fn meet(&mut self, key: &impl Hash) -> bool {
        // A quarter of the bits in use: a stranger finds both of its own set once in some sixteen times.
        if self.met > self.words.len() * 8 {
            self.met = 0;
            self.newer ^= 1;
            for newer in self.words.iter_mut().filter_map(|word| word.get_mut(self.newer)) {
                *newer = 0;
            }
        }
        self.met += 1;
        let hash = hash(self.seed, key);
        let bits = 1 << (hash >> 58) | 1 << (hash >> 52 & 63);
        let place = self.place(hash);
        let Some(word) = self.words.get_mut(place) else {
            return false;
        };
        let known = word.iter().any(|filter| filter & bits == bits);
        if let Some(newer) = word.get_mut(self.newer) {
            *newer |= bits;
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_values_are_counted_within_the_stated_error() {
        for count in [1_u64, 10, 100, 500, 2_000, 50_000, 1_000_000] {
            let mut distinct = Distinct::new();
            for value in 0..count {
                distinct.add(hash(7, &value));
                distinct.add(hash(7, &value));
            }
            let off = distinct.count().abs_diff(count) * 100 / count;
            assert!(off <= 3 * u64::from(Distinct::ERROR_PERCENT), "{count}: {off} %");
        }
    }

    #[test]
    fn who_comes_again_stands_out_of_a_crowd_that_does_not() {
        let mut promotion = Promotion::with_bytes(1 << 18, 1);
        let (mut strangers, mut known) = (0, 0);
        for stranger in 0..1_000_000_u64 {
            strangers += u32::from(promotion.meet(&stranger));
            if stranger % 100_000 == 0 {
                known += u32::from(promotion.meet(&"again"));
            }
        }
        assert!(known >= 9, "{known}");
        assert!(strangers < 120_000, "{strangers}");
    }
}
