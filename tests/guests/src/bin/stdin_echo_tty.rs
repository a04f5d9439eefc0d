//! Prints which of its standard streams are terminals, as the SDK and as the standard library see it.

use std::io::IsTerminal as _;

use runtime::io;
use serde_json::json;

fn main() {
    println!(
        "{}",
        json!({
            "stdin": io::stdin().is_terminal(),
            "stdout": io::stdout().is_terminal(),
            "stderr": io::stderr().is_terminal(),
            "std_stdin": std::io::stdin().is_terminal(),
        })
    );
}
