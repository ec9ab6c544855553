//! A snapshot of an entry as one string of bytes: one allocation that V8 collects, immutable, and read only
//! as far as it is asked. The layout is this file's own affair.
//!
//! | bytes | |
//! | --- | --- |
//! | 1 | flags |
//! | 8 each | time, expiry, fence |
//! | 4 | where the value starts |
//! | 16 | the writer's incarnation, which with the time is the version |
//! | 24, with `TOUCHED` | the rest of the version: clock and incarnation of a touch |
//! | 2 and so many, each | type, node, holder's node, holder's label, key |
//! | the rest | the value: one byte for its form, then its content |
//! | 8, with `EXPIRES` | how long the entry had left, cut off by the `Entry` class |

use minikv::{Encoded, Entry, Error, ErrorKind, Token, Value, Version, decode};

use crate::js::{Done, Env, Fail, Js};
use crate::yields;

/// `lib/entry.js` looks at this one.
const EXPIRES: u8 = 1;
const LOCKED: u8 = 2;
const FENCED: u8 = 4;
const LABELLED: u8 = 8;
const BIGINT: u8 = 16;
const TOUCHED: u8 = 32;

const NIL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
const TEXT: u8 = 5;
const BYTES: u8 = 6;
const ENCODED: u8 = 7;

/// Flags, three numbers, the start of the value.
const FIXED: usize = 1 + 3 * 8 + 4;

/// Memory for larger entries is not kept.
const SCRATCH: usize = 1 << 16;

pub fn pack<'a>(env: Env<'a>, entry: &Entry, bigint: bool) -> Done<Js<'a>> {
    // Taken out while it is in use: whoever comes in between gets another.
    let mut out = env.state.scratch.take();
    out.clear();
    let holder = entry.holder();
    let label = holder.as_ref().and_then(|holder| holder.owner.as_deref());
    let (_, writer, touched) = entry.version().parts();
    let flag = |condition: bool, flag: u8| if condition { flag } else { 0 };
    out.push(
        flag(entry.exp().is_some(), EXPIRES)
            | flag(entry.is_locked(), LOCKED)
            | flag(entry.fence().is_some(), FENCED)
            | flag(label.is_some(), LABELLED)
            | flag(bigint, BIGINT)
            | flag(touched.is_some(), TOUCHED),
    );
    out.extend_from_slice(&entry.time().to_le_bytes());
    out.extend_from_slice(&entry.exp().unwrap_or_default().to_le_bytes());
    out.extend_from_slice(&entry.fence().unwrap_or_default().to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&writer.to_le_bytes());
    if let Some((clock, member)) = touched {
        out.extend_from_slice(&clock.to_le_bytes());
        out.extend_from_slice(&member.to_le_bytes());
    }
    piece(&mut out, entry.value_type().as_str().as_bytes());
    piece(&mut out, entry.node().as_bytes());
    piece(&mut out, holder.as_ref().map_or(&[][..], |holder| holder.node.as_bytes()));
    piece(&mut out, label.unwrap_or_default().as_bytes());
    piece(&mut out, entry.key_bytes());
    let start = out.len() as u32;
    out[FIXED - 4..FIXED].copy_from_slice(&start.to_le_bytes());
    match entry.reader().token()? {
        Token::Nil => out.push(NIL),
        Token::Bool(false) => out.push(FALSE),
        Token::Bool(true) => out.push(TRUE),
        Token::Int(int) => content(&mut out, INT, &int.to_le_bytes()),
        Token::Float(float) => content(&mut out, FLOAT, &float.to_le_bytes()),
        Token::Text(text) => content(&mut out, TEXT, text.as_bytes()),
        Token::Bytes(bytes) => content(&mut out, BYTES, bytes),
        Token::List(_) | Token::Map(_) => content(&mut out, ENCODED, entry.encoded()),
    }
    if let Some(left) = entry.expires_in() {
        let nanos = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
        out.extend_from_slice(&nanos.to_le_bytes());
    }
    let packed = env.latin1(&out);
    if out.capacity() <= SCRATCH {
        env.state.scratch.set(out);
    }
    packed
}

fn content(out: &mut Vec<u8>, form: u8, content: &[u8]) {
    out.push(form);
    out.extend_from_slice(content);
}

/// None is longer than the 65,535 bytes of a key.
fn piece(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    out.extend_from_slice(bytes);
}

pub fn pack_or_null<'a>(env: Env<'a>, entry: Option<&Entry>, bigint: bool) -> Done<Js<'a>> {
    match entry {
        Some(entry) => pack(env, entry, bigint),
        None => env.null(),
    }
}

pub fn pack_all<'a>(env: Env<'a>, entries: &[Option<Entry>], bigint: bool) -> Done<Js<'a>> {
    let array = env.empty_array(entries.len())?;
    for (at, entry) in entries.iter().enumerate() {
        env.scope(|env| env.set_element(array, at, pack_or_null(env, entry.as_ref(), bigint)?))?;
    }
    Ok(array)
}

/// Reads the pieces in turn; a string that is not from `pack` is an error, never a panic.
struct Pieces<'a>(&'a [u8]);

fn damaged() -> Fail {
    Fail::Kv(Error::new(ErrorKind::Internal, "not a packed entry"))
}

impl<'a> Pieces<'a> {
    fn take(&mut self, length: usize) -> Done<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Done<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| damaged())
    }

    fn version(&mut self, time: u64, touched: bool) -> Done<Version> {
        let writer = u128::from_le_bytes(self.array()?);
        let minor = match touched {
            true => Some((u64::from_le_bytes(self.array()?), u128::from_le_bytes(self.array()?))),
            false => None,
        };
        Ok(Version::of_parts(time, writer, minor))
    }

    fn piece(&mut self) -> Done<&'a [u8]> {
        let length = u16::from_le_bytes(self.array()?);
        self.take(usize::from(length))
    }

    fn text(&mut self) -> Done<&'a str> {
        std::str::from_utf8(self.piece()?).map_err(|_| damaged())
    }
}

/// Milliseconds as precisely as a number holds them.
pub fn millis(nanos: u64) -> f64 {
    (nanos / 1_000_000) as f64 + (nanos % 1_000_000) as f64 / 1e6
}

/// `[key, type, node, time, exp, timeNs, expNs, fence, lock, holder's node, holder's label, version]`, null where there is none.
pub fn fields<'a>(env: Env<'a>, packed: Js<'_>) -> Done<Js<'a>> {
    let most_often = FIXED + 40 + 5 * 2 + 512;
    let mut bytes = env.latin1_of(packed, most_often)?;
    let start = Pieces(bytes.get(FIXED - 4..).unwrap_or_default()).array()?;
    let start = u32::from_le_bytes(start) as usize;
    if start > bytes.len() {
        bytes = env.latin1_of(packed, start)?;
    }
    let mut pieces = Pieces(&bytes);
    let [flags] = pieces.array()?;
    let has = |flag: u8| flags & flag != 0;
    let time = u64::from_le_bytes(pieces.array()?);
    let exp = u64::from_le_bytes(pieces.array()?);
    let fence = u64::from_le_bytes(pieces.array()?);
    pieces.take(4)?;
    let version = env.text(&pieces.version(time, has(TOUCHED))?.to_string())?;
    let value_type = env.text(pieces.text()?)?;
    let node = env.text(pieces.text()?)?;
    let holder_node = pieces.text()?;
    let label = pieces.text()?;
    let key = yields::key(env, pieces.piece()?, false)?;
    let or_null = |present: bool, value: &dyn Fn() -> Done<Js<'a>>| {
        if present { value() } else { env.null() }
    };
    let expires = has(EXPIRES);
    env.array(&[
        key,
        value_type,
        node,
        env.number(millis(time))?,
        or_null(expires, &|| env.number(millis(exp)))?,
        env.unsigned(time)?,
        or_null(expires, &|| env.unsigned(exp))?,
        or_null(has(FENCED), &|| env.unsigned(fence))?,
        env.bool(has(LOCKED))?,
        or_null(has(LOCKED), &|| env.text(holder_node))?,
        or_null(has(LABELLED), &|| env.text(label))?,
        version,
    ])
}

/// The value of a packed entry, without the eight bytes of its time left.
pub fn value<'a>(env: Env<'a>, packed: Js<'_>) -> Done<Js<'a>> {
    let bytes = env.latin1_of(packed, usize::MAX - 1)?;
    let flags = bytes.first().copied().unwrap_or_default();
    let bigint = flags & BIGINT != 0;
    let start = Pieces(bytes.get(FIXED - 4..).unwrap_or_default()).array()?;
    let mut content = Pieces(bytes.get(u32::from_le_bytes(start) as usize..).unwrap_or_default());
    let [form] = content.array()?;
    match form {
        NIL => env.null(),
        FALSE => env.bool(false),
        TRUE => env.bool(true),
        INT => yields::int(env, i64::from_le_bytes(content.array()?), bigint),
        FLOAT => env.number(f64::from_le_bytes(content.array()?)),
        TEXT => env.text(std::str::from_utf8(content.0).map_err(|_| damaged())?),
        BYTES => env.buffer(content.0),
        ENCODED => {
            let encoded: Encoded = decode(content.0)?;
            yields::value(env, &Value::try_from(encoded)?, bigint)
        }
        _ => Err(damaged()),
    }
}

/// The key as bytes.
pub fn raw_key<'a>(env: Env<'a>, packed: Js<'_>) -> Done<Js<'a>> {
    let bytes = env.latin1_of(packed, usize::MAX - 1)?;
    let mut pieces = Pieces(&bytes);
    let [flags] = pieces.array()?;
    pieces.take(FIXED - 1)?;
    pieces.version(0, flags & TOUCHED != 0)?;
    for _ in 0..4 {
        pieces.piece()?;
    }
    env.buffer(pieces.piece()?)
}
