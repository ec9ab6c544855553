//! The addon behind the npm package `minikv`: converts between JavaScript and the core, and decides nothing.
//!
//! `js` is the border to Node-API; everything above it is safe code. The functions in `calls` are what
//! `lib/*.js` calls; the classes that users see are written there.

mod aside;
mod bridge;
mod calls;
mod js;
mod near;
mod options;
mod packed;
mod state;
mod take;
mod yields;
