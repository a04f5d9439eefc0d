//! What several of the guests need.

pub mod contract;
pub mod probe;
pub mod twins;
pub mod wire;

use std::fmt::Display;

use serde_json::{Value, json};

/// Prints the outcome of an attempt as one line of JSON: `{"attempt":…,"ok":…}` or
/// `{"attempt":…,"error":…}`.
pub fn report<T: Into<Value>, E: Display>(attempt: &str, outcome: Result<T, E>) {
    match outcome {
        Ok(value) => println!("{}", json!({ "attempt": attempt, "ok": value.into() })),
        Err(error) => {
            println!(
                "{}",
                json!({ "attempt": attempt, "error": error.to_string() })
            );
        }
    }
}

/// The argument at this place, or a default where there is none or it is not of the type.
pub fn arg<T: std::str::FromStr>(index: usize, default: T) -> T {
    std::env::args()
        .nth(index)
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
