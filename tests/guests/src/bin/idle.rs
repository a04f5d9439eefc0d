//! Grafts, and then waits for ever.

fn main() {
    runtime::run(|_session| async move {
        println!("idle");
        std::future::pending().await
    });
}
