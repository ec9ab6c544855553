//! Numbers and lengths in messages. Reading never panics and allocates nothing on a length it has not checked.

/// What is wrong with a message; it is dropped and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Garbage(pub &'static str);

pub(crate) type Read<T> = std::result::Result<T, Garbage>;

/// Reads a message front to back.
#[derive(Clone)]
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        Input(bytes)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let split = self.0.split_at_checked(length).ok_or(Garbage("it ends too early"))?;
        self.0 = split.1;
        Ok(split.0)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let split = self.0.split_first_chunk().ok_or(Garbage("it ends too early"))?;
        self.0 = split.1;
        Ok(*split.0)
    }

    pub fn u8(&mut self) -> Read<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn u64(&mut self) -> Read<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn u128(&mut self) -> Read<u128> {
        self.array().map(u128::from_le_bytes)
    }

    /// A number of up to 64 bits in as few bytes as it needs.
    pub fn number(&mut self) -> Read<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return Err(Garbage("a number is too large"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Garbage("a number is too long"))
    }

    /// How many items follow, each of at least so many bytes.
    pub fn count(&mut self, least: usize) -> Read<usize> {
        let count = usize::try_from(self.number()?).map_err(|_| Garbage("a count is too large"))?;
        if count.checked_mul(least).is_none_or(|bytes| bytes > self.len()) {
            return Err(Garbage("a count is larger than what follows"));
        }
        Ok(count)
    }

    /// Bytes with their length before them.
    pub fn block(&mut self) -> Read<&'a [u8]> {
        let length = self.count(1)?;
        self.take(length)
    }

    pub fn text(&mut self, longest: usize) -> Read<&'a str> {
        let block = self.block()?;
        if block.len() > longest {
            return Err(Garbage("a text is too long"));
        }
        std::str::from_utf8(block).map_err(|_| Garbage("a text is not UTF-8"))
    }
}

/// Writes a message.
#[derive(Default)]
pub(crate) struct Output(pub Vec<u8>);

impl Output {
    pub fn u8(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub fn u128(&mut self, number: u128) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub fn block(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(numbers in prop::collection::vec(any::<u64>(), 0..20), text in ".{0,20}") {
            let mut out = Output::default();
            for number in &numbers {
                out.number(*number);
                out.u64(*number);
                out.u128(u128::from(*number) << 7);
            }
            out.block(text.as_bytes());
            let mut input = Input::new(&out.0);
            for number in &numbers {
                prop_assert_eq!(input.number(), Ok(*number));
                prop_assert_eq!(input.u64(), Ok(*number));
                prop_assert_eq!(input.u128(), Ok(u128::from(*number) << 7));
            }
            prop_assert_eq!(input.text(80), Ok(&*text));
            prop_assert!(input.len() == 0 && input.u8().is_err());
        }
    }

    #[test]
    fn lengths_are_checked_before_anything_is_made_of_them() {
        let mut out = Output::default();
        out.number(u64::MAX);
        assert!(Input::new(&out.0).block().is_err());
        assert!(Input::new(&out.0).count(16).is_err());
        assert!(Input::new(&[0xff; 11]).number().is_err());
    }
}
