//! Sleeps, deadlines and tasks, in the order in which they are due.

use std::time::Duration;

use runtime::{Instant, sleep, spawn, timeout};

const STEP: Duration = Duration::from_millis(20);

fn main() -> runtime::Result<()> {
    runtime::block_on(async {
        let start = Instant::now();
        let late = spawn(async {
            sleep(STEP * 3).await;
            println!("third");
            3
        });
        let early = spawn(async {
            sleep(STEP).await;
            println!("first");
            1
        });
        let dropped = spawn(async {
            sleep(STEP).await;
            println!("never");
        });
        drop(dropped);
        let expired = timeout(STEP * 2, std::future::pending::<()>()).await;
        println!("second: {}", expired.is_err());
        println!("sum: {}", late.await + early.await);
        println!("in time: {:?}", timeout(STEP, async { 4 }).await);
        println!("slept: {}", start.elapsed() >= STEP * 3);
        Ok(())
    })
}
