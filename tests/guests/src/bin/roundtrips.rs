//! Calls `Host.id` so many times (the first argument, 10 000 otherwise), one after the other; prints what
//! a call took.

use runtime::Instant;
use serde_json::json;

fn main() {
    runtime::run(|session| async move {
        let host = session.host()?;
        let calls = guests::arg(1, 10_000_u32);
        let start = Instant::now();
        for _ in 0..calls {
            host.id_request().send().promise.await?;
        }
        let nanos = start.elapsed().as_nanos() as f64 / f64::from(calls.max(1));
        println!("{}", json!({ "calls": calls, "ns_per_call": nanos }));
        Ok(())
    });
}
