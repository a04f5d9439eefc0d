//! What a cell might try to get at what it was not granted. Each module tries one kind of thing, and prints one line
//! of JSON for each attempt: `{"kind":…,"attempt":…,"ok":…}`, or with an `error` in the place of `ok`.

pub mod calls;
pub mod conversation;
pub mod files;
pub mod forgeries;
pub mod network;
pub mod revocation;
pub mod surroundings;

use std::fmt::Display;

use serde_json::{Value, json};

/// Prints the outcome of an attempt.
pub fn tell<T: Into<Value>, E: Display>(kind: &str, attempt: &str, outcome: Result<T, E>) {
    let line = match outcome {
        Ok(value) => json!({ "kind": kind, "attempt": attempt, "ok": value.into() }),
        Err(error) => json!({ "kind": kind, "attempt": attempt, "error": error.to_string() }),
    };
    println!("{line}");
}
