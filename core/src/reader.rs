//! Reads the canonical encoding piece by piece.

use crate::codec::{BYTES, FALSE, FLOAT, INT, LIST, MAP, MAX_DEPTH, NIL, TEXT, TRUE, corrupt};
use crate::error::Result;

/// One piece of a value. A list is followed by its items, a map by its keys and values in turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// No value.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An int.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A list of this many items.
    List(usize),
    /// A map of this many entries.
    Map(usize),
}

/// Reads a value piece by piece, without copying. Never panics, whatever the bytes.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Items still to come in each open container (a map's entries count twice).
    open: Vec<usize>,
}

/// The bytes of a text, not checked, if that is what the value is.
#[inline(always)]
pub(crate) fn unchecked_text(encoded: &[u8]) -> Option<&[u8]> {
    if let [TEXT, length @ 0..0x80, text @ ..] = encoded {
        return text.get(..usize::from(*length));
    }
    unchecked_long_text(encoded)
}

#[inline(never)]
fn unchecked_long_text(encoded: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(encoded.strip_prefix(&[TEXT])?);
    reader.length().and_then(|length| reader.take(length)).ok()
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, open: Vec::new() }
    }

    /// The next piece; `corrupt` where there is none.
    #[inline]
    pub fn token(&mut self) -> Result<Token<'a>> {
        self.count_item();
        let tag = self.byte()?;
        Ok(match tag {
            NIL => Token::Nil,
            FALSE => Token::Bool(false),
            TRUE => Token::Bool(true),
            INT => {
                let zigzag = self.leb128()?;
                Token::Int((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
            }
            FLOAT => {
                let bits = u64::from_be_bytes(self.array()?);
                Token::Float(f64::from_bits(bits))
            }
            TEXT => Token::Text(self.str()?),
            BYTES => {
                let length = self.length()?;
                Token::Bytes(self.take(length)?)
            }
            LIST => Token::List(self.container(1)?),
            MAP => Token::Map(self.container(2)?),
            _ => return Err(corrupt("unknown type")),
        })
    }

    /// The key of the next map entry.
    pub fn key(&mut self) -> Result<&'a str> {
        self.count_item();
        self.str()
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn count_item(&mut self) {
        while let Some(left) = self.open.last_mut() {
            if *left > 0 {
                *left -= 1;
                return;
            }
            self.open.pop();
        }
    }

    fn container(&mut self, pieces_per_item: usize) -> Result<usize> {
        let count = u32::from_be_bytes(self.array()?) as usize;
        // Every piece has at least one byte: a count that cannot be true is found before anyone allocates for it.
        let pieces = count.checked_mul(pieces_per_item).ok_or_else(|| corrupt("count"))?;
        if pieces > self.rest.len() {
            return Err(corrupt("the count is larger than what follows"));
        }
        while self.open.last() == Some(&0) {
            self.open.pop();
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(corrupt("nested too deep"));
        }
        self.open.push(pieces);
        Ok(count)
    }

    fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.rest.split_first().ok_or_else(|| corrupt("it ends too early"))?;
        self.rest = rest;
        Ok(*first)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or_else(|| corrupt("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) =
            self.rest.split_first_chunk().ok_or_else(|| corrupt("it ends too early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn leb128(&mut self) -> Result<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return Err(corrupt("a number is too large"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(corrupt("a number is not in its shortest form"));
                }
                return Ok(number);
            }
        }
        Err(corrupt("a number is too long"))
    }

    fn length(&mut self) -> Result<usize> {
        usize::try_from(self.leb128()?).map_err(|_| corrupt("a length is too large"))
    }

    fn str(&mut self) -> Result<&'a str> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| corrupt("text is not UTF-8"))
    }
}
