//! Has a number of calls under way at once, none of which returns; prints how many were refused, and why.

use futures::future::join_all;
use runtime::timeout;
use std::time::Duration;

/// How long a refusal may take.
const PATIENCE: Duration = Duration::from_secs(3);

fn main() {
    runtime::run(|session| async move {
        let calls = (0..guests::arg(1, 10)).map(|_| {
            let mut watch = session.membrane().watch_request();
            watch.get().set_after_seq(u64::MAX);
            timeout(PATIENCE, watch.send().promise)
        });
        let ended = join_all(calls).await;
        let refused: Vec<String> = ended
            .into_iter()
            .filter_map(|call| Some(call.ok()?.err()?.to_string()))
            .collect();
        println!(
            "{} {}",
            refused.len(),
            refused.first().cloned().unwrap_or_default()
        );
        Ok(())
    });
}
