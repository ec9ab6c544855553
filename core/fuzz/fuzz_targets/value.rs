//! Bytes from outside are one value in its canonical encoding, or refused; reading them never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use minikv::{ClockKind, Encoded, Encoder, ErrorKind, Options, Reader, Registry, Token, Value};

/// Writes anew what a reader reads, and looks into nothing else.
fn copy(reader: &mut Reader<'_>, encoder: &mut Encoder) -> minikv::Result<()> {
    match reader.token()? {
        Token::Nil => encoder.nil(),
        Token::Bool(value) => encoder.bool(value),
        Token::Int(value) => encoder.int(value),
        Token::Float(value) => encoder.float(value),
        Token::Text(value) => encoder.text(value),
        Token::Bytes(value) => encoder.bytes(value),
        Token::List(count) => {
            encoder.begin_list()?;
            for _ in 0..count {
                copy(reader, encoder)?;
            }
            encoder.end()
        }
        Token::Map(count) => {
            encoder.begin_map()?;
            for _ in 0..count {
                encoder.key(reader.key()?)?;
                copy(reader, encoder)?;
            }
            encoder.end()
        }
    }
}

/// Asks for tokens and keys in any order, whatever the value is.
fn wander(mut reader: Reader<'_>, steps: &[u8]) {
    for step in steps {
        let failed = if step % 3 == 0 { reader.key().is_err() } else { reader.token().is_err() };
        if failed && step % 2 == 0 {
            return;
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let encoded = match minikv::decode(bytes) {
        Ok(encoded) => encoded,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            return;
        }
    };
    assert_eq!(encoded.as_bytes(), bytes);
    let value = Value::try_from(encoded.clone()).expect("what decodes is a value");
    assert_eq!(Encoded::new(&value).expect("it was encoded before").as_bytes(), bytes);
    assert_eq!(value, value.clone());

    let kv = Registry::start(Options::unnamed().clock(ClockKind::Manual)).expect("starts");
    let entry = kv.put("key", &encoded).expect("a value that decodes can be put");
    assert_eq!(entry.encoded(), bytes);
    assert_eq!(entry.value(), value);
    assert_eq!(entry.value_type(), value.value_type());
    let mut encoder = Encoder::new();
    copy(&mut entry.reader(), &mut encoder).expect("the reader reads what is stored");
    assert_eq!(encoder.finish().expect("complete").as_bytes(), bytes);
    wander(entry.reader(), bytes);

    // Through serde and back: maps, lists and scalars are what they were.
    let through = minikv::to_value(&value).expect("a value is a value");
    assert_eq!(through, value);
    let back: Value = minikv::from_value(through).expect("and the other way");
    assert_eq!(back, value);
});
