//! Has the executor return a text in many scripts, and one of a MiB.

use serde_json::json;

fn main() {
    runtime::run(|session| async move {
        let executor = session.executor()?;
        let texts = ["", "grüße, 世界 🌍 \u{0} ʇxǝʇ", &"é".repeat(512 * 1024)];
        for text in texts {
            let mut request = executor.echo_request();
            request.get().set_message(text);
            let reply = request.send().promise.await?;
            let same = reply.get()?.get_response()?.to_str()? == text;
            println!("{}", json!({ "bytes": text.len(), "same": same }));
        }
        Ok(())
    });
}
