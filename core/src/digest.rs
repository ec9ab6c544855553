//! A digest of contents that does not depend on any order, so that it can be kept incrementally.

use xxhash_rust::xxh3::xxh3_128;

/// The sum of the hashes of all keys with their values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest {
    sum: u128,
    count: u64,
}

impl Digest {
    pub fn add(&mut self, key: &[u8], encoded: &[u8]) {
        // The length keeps ("a", "bc") apart from ("ab", "c").
        let length = (key.len() as u32).to_le_bytes();
        let entry = [&length, key, encoded].concat();
        self.sum = self.sum.wrapping_add(xxh3_128(&entry));
        self.count += 1;
    }

    pub fn finish(self) -> String {
        let all = [&self.sum.to_le_bytes()[..], &self.count.to_le_bytes()].concat();
        format!("{:032x}", xxh3_128(&all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(entries: &[(&str, &str)]) -> String {
        let mut digest = Digest::default();
        for (key, value) in entries {
            digest.add(key.as_bytes(), value.as_bytes());
        }
        digest.finish()
    }

    #[test]
    fn order_does_not_count_and_contents_do() {
        assert_eq!(digest(&[("a", "1"), ("b", "2")]), digest(&[("b", "2"), ("a", "1")]));
        for other in [&[("a", "2"), ("b", "1")][..], &[("a", "1")], &[], &[("a1", "b2")]] {
            assert_ne!(digest(&[("a", "1"), ("b", "2")]), digest(other));
        }
        assert_ne!(digest(&[("a", "bc")]), digest(&[("ab", "c")]));
    }

    #[test]
    fn the_digest_is_the_same_for_ever() {
        assert_eq!(digest(&[]), "10e45c7ce2292320743df94ee4c78a2a");
    }
}
