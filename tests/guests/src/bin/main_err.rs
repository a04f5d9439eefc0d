//! Fails from its main, with an error that has a cause.

use std::fmt;

#[derive(Debug)]
struct Outer(std::io::Error);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot open the safe")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

fn main() {
    runtime::run(|_| async {
        let cause = std::io::Error::other("the key is missing");
        Err(runtime::Error::Other(Box::new(Outer(cause))))
    });
}
