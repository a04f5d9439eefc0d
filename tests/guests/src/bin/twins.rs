//! Calls every method of the contract twice: on a capability that was narrowed to that method, and on one that was
//! narrowed to all others. Prints a line of JSON for each method: what came `with` it and `without` it, and what
//! could be seen afterwards.
//!
//! `twins granted`: calls the methods of its grants as they are. Prints a line of JSON for each.
//! `twins named NAME`: has all of it done by a cell of this name, which holds the same.

use guests::contract::{self, Spare};
use guests::report;
use guests::twins::Twin;
use runtime::Session;
use runtime::capnp::capability::Client;
use schema::interfaces::MethodId;
use serde_json::json;

fn main() {
    match guests::arg(1, String::new()).as_str() {
        contract::CHILD => contract::child(),
        "named" => runtime::run(async |session| named(&session).await),
        "granted" => runtime::run(async |session| granted(&session).await),
        _ => runtime::run(async |session| narrowed(&session).await),
    }
}

async fn narrowed(session: &Session) -> runtime::Result<()> {
    for method in contract::methods() {
        let others: Vec<MethodId> = contract::methods()
            .filter(|other| *other != method)
            .collect();
        let twin = Twin::new(session, method).await?;
        let mut made = None;
        let (with, seen_with) = twin.call(&[method], &mut made).await?;
        let twin = Twin::new(session, method).await?;
        let (without, seen_without) = twin.call(&others, &mut made).await?;
        println!(
            "{}",
            json!({
                "method": method.to_string(),
                "with": with,
                "seen with": seen_with,
                "without": without,
                "seen without": seen_without,
            })
        );
    }
    Ok(())
}

async fn granted(session: &Session) -> runtime::Result<()> {
    let spare = Spare::default().client();
    for (name, interface) in [
        ("host", "Host"),
        ("executor", "Executor"),
        ("ipfs", "Client"),
    ] {
        let cap: Client = session.grant(name)?;
        let of = |method: &MethodId| method.to_string().starts_with(&format!("{interface}."));
        for method in contract::methods().filter(of) {
            let outcome = contract::call(&cap, method, &spare).await;
            let told = outcome.map(|answer| answer.told());
            report(
                &method.to_string(),
                told.map_err(|error| contract::told(&error)),
            );
        }
    }
    Ok(())
}

async fn named(session: &Session) -> runtime::Result<()> {
    let (host, executor) = (session.host()?.client, session.executor()?);
    let ipfs = session.ipfs()?.client;
    let grants = [
        ("host", &host),
        ("executor", &executor.client),
        ("ipfs", &ipfs),
    ];
    let cell = contract::spawn(&executor, &[&guests::arg(2, String::new())], &grants).await?;
    print!("{}", contract::output(&cell).await?);
    Ok(())
}
