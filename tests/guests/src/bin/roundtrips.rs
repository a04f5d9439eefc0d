//! Calls `Host.id` over and over, one call after the other; prints the nanoseconds that a call took, one
//! sample a line.
//!
//! `roundtrips [SAMPLES [CALLS]]`: so many samples (50), of so many calls each (200), after one that does not
//! count.

use runtime::Instant;

fn main() {
    runtime::run(|session| async move {
        let host = session.host()?;
        let (samples, calls) = (guests::arg(1, 50_u32), guests::arg(2, 200_u32).max(1));
        for sample in 0..=samples {
            let start = Instant::now();
            for _ in 0..calls {
                host.id_request().send().promise.await?;
            }
            if sample > 0 {
                println!("{}", start.elapsed().as_nanos() / u128::from(calls));
            }
        }
        Ok(())
    });
}
