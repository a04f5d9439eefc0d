//! Makes so many calls (the first argument, a million otherwise) without ever reading a reply.

fn main() {
    runtime::run(|session| async move {
        let host = session.host()?;
        let mut unanswered = Vec::new();
        for _ in 0..guests::arg(1, 1_000_000_u32) {
            unanswered.push(host.id_request().send());
        }
        println!("{} calls are under way", unanswered.len());
        Ok(())
    });
}
