//! What strangers do to hurt: long chains, circles, mazes, silence. Each test runs on a small stack,
//! with a second peer of the same vat that must not notice.

mod chains;
mod circles;
mod flips;
mod membranes;
mod panics;
mod pointers;
mod silence;
mod sizes;
