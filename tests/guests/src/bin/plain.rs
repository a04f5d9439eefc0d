//! An ordinary program, without the SDK.

fn main() {
    println!("plain");
}
