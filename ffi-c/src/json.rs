//! JSON to values and back. What JSON cannot say is refused, never changed silently.

use std::fmt::Write;

use minikv::{Encoder, Error, ErrorKind};

use crate::entry::minikv_entry;
use crate::value::{Node, minikv_value};

/// Writes what a JSON text says. Whole numbers are ints, those with a point or an exponent floats.
pub fn read(text: &str, encoder: &mut Encoder) -> Result<(), Error> {
    let mut reader = Reader { text, at: 0 };
    reader.value(encoder)?;
    reader.space();
    if reader.at < text.len() { Err(reader.wrong(encoder, "more after the value")) } else { Ok(()) }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, encoder: &Encoder, problem: &str) -> Error {
        encoder.error(&format!("not JSON: {problem} at byte {}", self.at))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Takes the byte if it comes next, after space.
    fn takes(&mut self, byte: u8) -> bool {
        self.space();
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    // The encoder bounds the nesting, and with it the recursion.
    fn value(&mut self, encoder: &mut Encoder) -> Result<(), Error> {
        self.space();
        match self.peek() {
            Some(b'"') => {
                let text = self.string(encoder)?;
                encoder.text(&text)
            }
            Some(b'[') => {
                self.at += 1;
                encoder.begin_list()?;
                if !self.takes(b']') {
                    loop {
                        self.value(encoder)?;
                        if self.takes(b']') {
                            break;
                        }
                        if !self.takes(b',') {
                            return Err(self.wrong(encoder, "',' or ']' is missing"));
                        }
                    }
                }
                encoder.end()
            }
            Some(b'{') => {
                self.at += 1;
                encoder.begin_map()?;
                if !self.takes(b'}') {
                    loop {
                        self.space();
                        let key = self.string(encoder)?;
                        encoder.key(&key)?;
                        if !self.takes(b':') {
                            return Err(self.wrong(encoder, "':' is missing"));
                        }
                        self.value(encoder)?;
                        if self.takes(b'}') {
                            break;
                        }
                        if !self.takes(b',') {
                            return Err(self.wrong(encoder, "',' or '}' is missing"));
                        }
                    }
                }
                encoder.end()
            }
            Some(b'-' | b'0'..=b'9') => self.number(encoder),
            _ => self.word(encoder),
        }
    }

    fn word(&mut self, encoder: &mut Encoder) -> Result<(), Error> {
        let rest = &self.text[self.at..];
        for (word, length) in [("null", 4), ("true", 4), ("false", 5)] {
            if rest.starts_with(word) {
                self.at += length;
                return match word {
                    "null" => encoder.nil(),
                    word => encoder.bool(word == "true"),
                };
            }
        }
        Err(self.wrong(encoder, "a value is missing"))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self, encoder: &mut Encoder) -> Result<(), Error> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        let leading_zero = self.peek() == Some(b'0');
        let whole = self.digits();
        if whole == 0 || (leading_zero && whole > 1) {
            return Err(self.wrong(encoder, "a number is malformed"));
        }
        let mut float = false;
        if self.peek() == Some(b'.') {
            float = true;
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.wrong(encoder, "digits are missing after the point"));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            float = true;
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            if self.digits() == 0 {
                return Err(self.wrong(encoder, "digits are missing in the exponent"));
            }
        }
        let text = &self.text[start..self.at];
        if !float {
            let int: i64 = text.parse().map_err(|_| encoder.int_out_of_range(text))?;
            return encoder.int(int);
        }
        match text.parse::<f64>() {
            Ok(float) if float.is_finite() => encoder.float(float),
            _ => Err(encoder.error(&format!("the number {text} is too large for a float"))),
        }
    }

    fn string(&mut self, encoder: &Encoder) -> Result<String, Error> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong(encoder, "'\"' is missing"));
        }
        self.at += 1;
        let mut text = String::new();
        loop {
            let start = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.at += 1;
            }
            // All three stops are whole characters.
            text.push_str(&self.text[start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    text.push(self.escape(encoder)?);
                }
                Some(_) => return Err(self.wrong(encoder, "a control character is not escaped")),
                None => return Err(self.wrong(encoder, "a text does not end")),
            }
        }
    }

    fn escape(&mut self, encoder: &Encoder) -> Result<char, Error> {
        let escaped = self.peek();
        self.at += usize::from(escaped.is_some_and(|byte| byte.is_ascii()));
        Ok(match escaped {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.hex(encoder)?;
                let paired =
                    (0xd800..0xdc00).contains(&first) && self.text[self.at..].starts_with("\\u");
                let code = if paired {
                    self.at += 2;
                    let second = self.hex(encoder)?;
                    if !(0xdc00..0xe000).contains(&second) {
                        return Err(encoder.error("the text has a lone surrogate"));
                    }
                    0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                } else {
                    first
                };
                char::from_u32(code)
                    .ok_or_else(|| encoder.error("the text has a lone surrogate"))?
            }
            _ => return Err(self.wrong(encoder, "an unknown escape")),
        })
    }

    fn hex(&mut self, encoder: &Encoder) -> Result<u32, Error> {
        let digits = self.text.get(self.at..self.at + 4).unwrap_or_default();
        if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(self.wrong(encoder, "four hexadecimal digits are missing"));
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| self.wrong(encoder, "a wrong escape"))
    }
}

/// A value as JSON.
pub fn value(value: &minikv_value) -> Result<String, Error> {
    let mut out = String::new();
    write_value(&mut out, value)?;
    Ok(out)
}

/// An entry as a JSON object.
pub fn entry(entry: &minikv_entry) -> Result<String, Error> {
    let (value, entry) = (entry.value(), entry.entry());
    let key =
        std::str::from_utf8(entry.key_bytes()).map_err(|_| refused("a key that is not UTF-8"))?;
    let mut out = String::from("{\"key\":");
    write_text(&mut out, key);
    out.push_str(",\"value\":");
    write_value(&mut out, value)?;
    // Writing to a String cannot fail; neither can it below.
    let _ = write!(out, ",\"type\":\"{}\",\"node\":", entry.value_type());
    write_text(&mut out, entry.node());
    let number =
        |number: Option<u64>| number.map_or("null".to_owned(), |number| number.to_string());
    let (time, exp, lock) = (entry.time(), number(entry.exp()), entry.is_locked());
    let _ = write!(out, ",\"time\":{time},\"exp\":{exp},\"lock\":{lock},\"holder\":");
    match entry.holder() {
        Some(holder) => {
            out.push_str("{\"node\":");
            write_text(&mut out, &holder.node);
            out.push_str(",\"owner\":");
            match &holder.owner {
                Some(owner) => write_text(&mut out, owner),
                None => out.push_str("null"),
            }
            out.push('}');
        }
        None => out.push_str("null"),
    }
    let (fence, version) = (number(entry.fence()), entry.version());
    let _ = write!(out, ",\"fence\":{fence},\"version\":\"{version}\"}}");
    Ok(out)
}

fn refused(what: &str) -> Error {
    Error::new(ErrorKind::InvalidValue, format!("value: {what} has no JSON form"))
}

// No deeper than values nest, which the core bounds.
fn write_value(out: &mut String, value: &minikv_value) -> Result<(), Error> {
    let node = value.node();
    let node = node
        .ok_or_else(|| Error::new(ErrorKind::InvalidValue, "value: the value is not complete"))?;
    match node {
        Node::Nil => out.push_str("null"),
        Node::Bool(bool) => out.push_str(if *bool { "true" } else { "false" }),
        Node::Int(int) => {
            let _ = write!(out, "{int}");
        }
        // Shortest digits that read back the same, always with a point or an exponent.
        Node::Float(float) if float.is_finite() => {
            let _ = write!(out, "{float:?}");
        }
        Node::Float(_) => return Err(refused("a float that is not finite")),
        Node::Text(text) => write_text(out, text),
        Node::Bytes(_) => return Err(refused("bytes")),
        Node::List(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write_value(out, item)?;
            }
            out.push(']');
        }
        Node::Map(entries) => {
            out.push('{');
            for (place, (key, value)) in entries.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write_text(out, key);
                out.push(':');
                write_value(out, value)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
