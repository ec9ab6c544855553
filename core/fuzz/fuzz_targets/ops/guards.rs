//! Locks: taken, waited for, given up, and held by guards.

use std::time::Duration;

use minikv::{Entry, ErrorKind, Result, Update};

use crate::input::{Ask, Input};
use crate::{Run, WRITE};

/// As many waiters as are worth the time.
const MOST: usize = 6;

impl Run {
    pub fn lock(&mut self, input: &mut Input<'_>) {
        let key = input.key();
        let ask = Ask::read(input, self.present(&key));
        let mut options = ask.lock();
        let flags = input.byte();
        if flags & 1 > 0 {
            options = options.lease(input.lease());
        }
        if flags & 0b110 == 0b110 {
            let value = input.value();
            let (put, _) =
                self.put_options(input, &Ask { owner: None, fence: None, version: None });
            options = match options.put(value, put) {
                Ok(options) => options,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::InvalidValue);
                    return;
                }
            };
        }
        let wait = flags & 0b1000 > 0;
        if wait {
            options = options.wait(input.pick(&[
                Duration::from_millis(1),
                Duration::from_millis(6),
                Duration::from_millis(50),
                Duration::MAX,
            ]));
        }
        let guard = flags & 0b10000 > 0;
        if guard && input.often() {
            options = options.create(true);
        }
        if guard && ask.owner.is_some() && input.often() {
            // Without an owner of its own a guard excludes everyone.
            options = options.owner("a guard");
        }
        if self.waiting.len() + self.waiting_guards.len() >= MOST {
            return;
        }
        if guard {
            match self.kv.locked_start(&key, options) {
                Ok(pending) => self.waiting_guards.push(pending),
                Err(error) => self.refused(error.kind()),
            }
            return;
        }
        if wait {
            match self.kv.lock_start(&key, options) {
                Ok(pending) => self.waiting.push(pending),
                Err(error) => self.refused(error.kind()),
            }
            return;
        }
        let before = self.before(&key);
        let result = self.kv.lock_with(&key, options);
        self.after_write(&before, &ask, &result, &[ErrorKind::InvalidValue]);
        if let (Ok(Some(entry)), true) = (&result, before.quiet) {
            let live = entry.exp().is_none_or(|exp| exp > self.now);
            assert!(!live || entry.is_locked());
            assert!(entry.fence() >= before.entry.as_ref().and_then(Entry::fence), "fences grow");
            let holder = entry.holder().map(|holder| holder.owner);
            assert!(!live || holder == Some(ask.owner));
        }
    }

    fn refused(&self, kind: ErrorKind) {
        assert!(
            matches!(
                kind,
                ErrorKind::InvalidKey | ErrorKind::InvalidValue | ErrorKind::InvalidArgument
            ),
            "{kind}"
        );
    }

    /// Takes what is decided, or gives up.
    pub fn settle_waiting(&mut self, input: &mut Input<'_>) {
        let give_up = input.rarely();
        if let Some(mut pending) = self.waiting.pop() {
            match pending.try_take() {
                Some(Ok(_)) => assert!(pending.try_take().is_none()),
                Some(Err(error)) => assert!(WRITE.contains(&error.kind()), "{error}"),
                None if give_up => {}
                None => self.waiting.insert(0, pending),
            }
        }
        if let Some(mut pending) = self.waiting_guards.pop() {
            match pending.try_take() {
                Some(Ok(guard)) if self.guards.len() < MOST => self.guards.push((guard, false)),
                Some(Ok(guard)) => drop(guard),
                Some(Err(error)) => {
                    let kind = error.kind();
                    assert!(WRITE.contains(&kind) || kind == ErrorKind::NotFound, "{error}");
                }
                None if give_up => {}
                None => self.waiting_guards.insert(0, pending),
            }
        }
    }

    pub fn guard(&mut self, input: &mut Input<'_>) {
        if self.guards.is_empty() {
            self.settle_waiting(input);
        }
        if self.guards.is_empty() {
            return;
        }
        let which = usize::from(input.byte()) % self.guards.len();
        let (guard, was_ended) = self.guards.swap_remove(which);
        let key = guard.key_bytes().to_vec();
        let present = self.kv.get(&key).expect("running");
        let holds = |entry: &Entry| entry.is_locked() && entry.fence() == Some(guard.fence());
        let held = present.as_ref().is_some_and(holds);
        let action = input.byte() % 10;
        let value = input.value();
        let ttl = input.ttl();
        let unit = |result: Result<Option<Entry>>| result.map(drop);
        let result: Result<()> = match action {
            0 => guard.check(),
            1 => guard.put(&value).map(drop),
            2 => {
                let ask = Ask { owner: None, ..Ask::read(input, present.as_ref()) };
                let (put, _) = self.put_options(input, &ask);
                guard.put_with(&value, put).map(drop)
            }
            3 => unit(guard.get()),
            4 => guard.incr(1).map(drop),
            5 => unit(guard.touch(ttl)),
            6 => unit(guard.persist()),
            7 => unit(guard.update(|_| Update::put(&value))),
            8 => unit(guard.update(|_| -> Result<Update> { Ok(Update::Delete) })),
            _ => unit(guard.delete()),
        };
        match &result {
            Ok(()) => assert!(held, "a guard wrote without its lock"),
            Err(error) => {
                let kind = error.kind();
                assert!(held != (kind == ErrorKind::LockLost), "{error}");
                assert!(kind != ErrorKind::Locked && kind != ErrorKind::StaleFence, "{error}");
            }
        }
        let ended = was_ended || action >= 8 && result.is_ok();
        match input.byte() % 4 {
            0 => match guard.release() {
                Ok(()) => assert!(held || ended),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::LockLost);
                    assert!(!ended, "a deletion is a release");
                }
            },
            1 => drop(guard),
            _ => self.guards.push((guard, ended)),
        }
    }
}
