//! Bytes of the fuzzer, as decisions.

use std::time::Duration;

use minikv::{LockOptions, PutOptions, Value, Version, WriteOptions};

/// Gives zeros once it is used up, so that every input is a whole sequence.
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[usize::from(self.byte()) % from.len()].clone()
    }

    /// Rarely, so that most calls get as far as the table.
    pub fn rarely(&mut self) -> bool {
        self.byte() % 8 == 7
    }

    pub fn often(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    pub fn key(&mut self) -> Vec<u8> {
        match self.byte() % 16 {
            0 => Vec::new(),
            1 => vec![0xff, 0xfe],
            // They take their time, so they are rare.
            2 if self.byte() % 8 == 0 => vec![b'x'; 65_535 + usize::from(self.byte() % 2)],
            other => vec![b'k', b'0' + other % 4],
        }
    }

    pub fn value(&mut self) -> Value {
        match self.byte() % 12 {
            0 => Value::Nil,
            1 => Value::Bool(true),
            2 => Value::Int(i64::MAX),
            3 => Value::Float(f64::NAN),
            4 => Value::Text("text".to_owned()),
            5 => Value::Bytes(vec![1; usize::from(self.byte())]),
            6 => Value::Bytes(vec![2; 1020 + usize::from(self.byte() % 16)]),
            7 => Value::List(vec![Value::Int(1), Value::Nil]),
            8 => Value::Map([("a".to_owned(), Value::Nil)].into_iter().collect()),
            9 => (0..129).fold(Value::Nil, |inner, _| Value::List(vec![inner])),
            _ => Value::Int(i64::from(self.byte())),
        }
    }

    pub fn owner(&mut self) -> Option<String> {
        match self.byte() % 16 {
            0..6 => None,
            6..11 => Some("a".to_owned()),
            11..15 => Some("b".to_owned()),
            _ => Some("o".repeat(1025)),
        }
    }

    pub fn ttl(&mut self) -> Duration {
        self.pick(&[
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_millis(5),
            Duration::from_millis(20),
            Duration::from_millis(20),
            Duration::from_secs(1),
            Duration::from_nanos(i64::MAX as u64),
            Duration::MAX,
        ])
    }

    pub fn lease(&mut self) -> Duration {
        self.pick(&[
            Duration::from_millis(3),
            Duration::from_millis(15),
            Duration::from_millis(40),
            Duration::from_secs(1),
            Duration::from_secs(600),
            Duration::from_secs(601),
            Duration::ZERO,
        ])
    }
}

/// Who asks and under which conditions, before it is written into one of the option types.
pub struct Ask {
    pub owner: Option<String>,
    pub fence: Option<u64>,
    pub version: Option<Version>,
}

impl Ask {
    /// Conditions that mostly hold: those of the entry that is there.
    pub fn read(input: &mut Input<'_>, present: Option<&minikv::Entry>) -> Ask {
        let owner = input.owner();
        let right_fence = present.and_then(minikv::Entry::fence).unwrap_or(1);
        let fence = input.rarely().then(|| if input.often() { right_fence } else { 1 });
        let other = "0000000000000001-00000000000000000000000000000001";
        let other: Version = other.parse().expect("a version");
        let version = input.rarely().then(|| {
            let right = present.filter(|_| input.often());
            right.map_or(other, minikv::Entry::version)
        });
        Ask { owner, fence, version }
    }

    pub fn is_valid(&self) -> bool {
        self.owner.as_ref().is_none_or(|owner| owner.len() <= minikv::MAX_OWNER_BYTES)
    }
}

macro_rules! into_options {
    ($name:ident, $type:ident) => {
        pub fn $name(&self) -> $type {
            let mut options = $type::new();
            if let Some(owner) = &self.owner {
                options = options.owner(owner);
            }
            if let Some(fence) = self.fence {
                options = options.fence(fence);
            }
            if let Some(version) = self.version {
                options = options.if_version(version);
            }
            options
        }
    };
}

impl Ask {
    into_options!(write, WriteOptions);
    into_options!(put, PutOptions);
    into_options!(lock, LockOptions);
}
