//! The smallest program: it uses no capability, so it is an ordinary command that any WASI host runs.

fn main() {
    println!("Hello from Wetware!");
}
