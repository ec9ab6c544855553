//! The C library: handles, spans and codes around the registry. It converts; the core decides.
//!
//! The conventions that C users rely on stand in the preamble of the header (`cbindgen.toml`).
//! `border.rs` is where pointers become references; every export goes through it.

#![allow(non_camel_case_types)]

mod border;
mod bytes;
mod call_options;
mod cluster_options;
mod entry;
mod error;
mod event;
mod guard;
mod json;
mod listing;
mod many;
mod members;
mod ops;
mod options;
mod pending;
mod put;
mod registry;
mod sync;
mod update;
mod value;
mod view;
mod watch;
