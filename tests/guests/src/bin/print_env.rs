//! Prints its arguments and its environment, a line of JSON each.

use serde_json::{Map, Value, json};

fn main() {
    let env: Map<String, Value> = std::env::vars()
        .map(|(name, value)| (name, value.into()))
        .collect();
    println!(
        "{}",
        json!({ "args": std::env::args().collect::<Vec<_>>() })
    );
    println!("{}", json!({ "env": env }));
}
