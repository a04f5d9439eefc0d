//! The smallest Wetware program.

fn main() {
    runtime::run(|_session| async move {
        println!("Hello from Wetware!");
        Ok(())
    });
}
