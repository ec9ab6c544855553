//! Text from people: options, durations, versions, cursors. Refused with `invalid_argument`, or read
//! and written back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use minikv::{
    ClockKind, ErrorKind, ListOptions, Options, Registry, Value, Version, duration_from_millis,
    duration_from_secs, format_duration, parse_duration,
};

fn durations(text: &str) {
    match parse_duration("ttl", text) {
        Ok(duration) => {
            let written = format_duration(duration);
            // Past 2^53 units a float has no room for the last digits.
            if duration.as_secs() < 1 << 20 {
                assert_eq!(parse_duration("ttl", &written).expect("it was written"), duration);
            }
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidArgument),
    }
    if let Some(bits) = text.as_bytes().first_chunk() {
        let number = f64::from_be_bytes(*bits);
        for made in [duration_from_secs("ttl", number), duration_from_millis("ttl", number)] {
            match made {
                Ok(duration) => assert!(number >= 0.0 && duration.as_nanos() <= 1 << 63),
                Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidArgument),
            }
        }
    }
}

fn options(text: &str) {
    let options = match Options::from_toml(text) {
        Ok(options) => options,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            return;
        }
    };
    let again = Options::from_value(&options.to_value()).expect("written options are read");
    assert_eq!(again.to_value(), options.to_value());
    let cluster = matches!(options.to_value(), Value::Map(map) if map["cluster"] != Value::Nil);
    if cluster {
        // To start it would open sockets.
        return;
    }
    let kv = Registry::start(options.clone()).expect("options that are read can be started");
    assert_eq!(kv.options(), &options);
}

fn cursors(text: &str) {
    let kv = Registry::start(Options::unnamed().clock(ClockKind::Manual)).expect("starts");
    for number in 0..20 {
        kv.put(format!("{number}"), number).expect("stored");
    }
    match kv.keys(ListOptions::new().cursor(text).limit(3)) {
        Ok(page) => {
            assert!(page.items.len() <= 3);
            let rest = kv.keys(ListOptions::new().cursor(text)).expect("the same cursor");
            assert!(rest.items.len() >= page.items.len() && rest.cursor.is_none());
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidArgument),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match which % 4 {
        0 => durations(&text),
        1 => options(&text),
        2 => cursors(&text),
        _ => match text.parse::<Version>() {
            Ok(version) => assert_eq!(version.to_string(), text),
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidArgument),
        },
    }
});
