//! Exits with the code in its first argument, through the SDK.

fn main() {
    runtime::exit(guests::arg(1, 0));
}
