fn main() {
    // The session holds what this program may use: what its parent granted, and nothing else.
    runtime::run(|_session| async move {
        println!("Hello from Wetware!");
        Ok(())
    });
}
