//! Prints what it was granted, by name, and how each of the usual grants is answered.

use guests::report;
use serde_json::json;

fn main() {
    runtime::run(|session| async move {
        let epoch = session.epoch();
        println!(
            "{}",
            json!({
                "grants": session.names().collect::<Vec<_>>(),
                "epoch": epoch.seq,
                "head_bytes": epoch.head.len(),
            })
        );
        report("host", session.host().map(drop));
        report("executor", session.executor().map(drop));
        report("ipfs", session.ipfs().map(drop));
        Ok(())
    });
}
