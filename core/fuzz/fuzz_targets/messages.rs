//! Whatever another member says does no harm to this one.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| minikv::__fuzz_messages(bytes));
