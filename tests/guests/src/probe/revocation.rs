//! What is left of a cell's capabilities once its parent has taken them back.

use futures::future::join;
use runtime::capnp::capability::Client;
use runtime::stem_capnp::revoker;
use runtime::{Session, bytes, process};

use super::calls::Calls;
use super::tell;
use crate::{contract, twins};

/// The first argument of a cell that loses what it holds.
pub const HELD: &str = "held";

/// Why it is taken back.
const REASON: &str = "the trial is over";

/// What the child says when it has tried all that it holds.
const READY: &str = "ready";

/// Runs a cell with all that this one holds, and takes it back half-way. Prints what that cell prints.
pub async fn revoke(session: &Session) -> runtime::Result<()> {
    let mut grants = Vec::new();
    let mut revokers: Vec<revoker::Client> = Vec::new();
    for name in session.names() {
        let cap: Client = session.grant(name)?;
        let all: Vec<_> = contract::methods().collect();
        let (cap, revoker) = twins::narrow(session, &cap, &all).await?;
        grants.push((name, cap));
        revokers.push(revoker);
    }
    let grants: Vec<(&str, &Client)> = grants.iter().map(|(name, cap)| (*name, cap)).collect();
    let child = contract::spawn(&session.executor()?, &["probe", HELD], &grants).await?;
    let mut told = String::new();
    while !told.contains(READY) {
        let some = bytes::read(&process::stdout(&child), 1 << 16).await?;
        if some.is_empty() {
            return Err(format!("the child has ended early: {told}").into());
        }
        told.push_str(&String::from_utf8_lossy(&some));
    }
    for revoker in revokers {
        let mut request = revoker.revoke_request();
        request.get().set_reason(REASON);
        request.send().promise.await?;
    }
    bytes::close(&process::stdin(&child)).await?;
    told.push_str(&contract::output(&child).await?);
    print!("{}", told.replace(&format!("{READY}\n"), ""));
    let code = process::wait(&child).await?;
    tell::<_, String>(
        "revocation",
        "the cell itself",
        Ok(format!("exited with {code}")),
    );
    Ok(())
}

/// Tries all that is held, and again once the parent has taken it back; a call that was under way, and what is
/// grafted anew, too.
pub async fn held(session: &Session) -> runtime::Result<()> {
    let executor = session.executor()?;
    let run = contract::spawn(&executor, &["own", contract::CHILD], &[]).await?;
    let mut calls = Calls::new(session, "before: ");
    calls.grants().await;
    let under_way = run.wait_request().send().promise;
    let read = process::stdout(&run).read_request();
    let lost = async {
        println!("{READY}");
        // Its end is the parent's signal.
        let mut input = Vec::new();
        futures::AsyncReadExt::read_to_end(&mut runtime::io::stdin(), &mut input).await
    };
    let (outcome, signal) = join(under_way, lost).await;
    signal?;
    let failed = |error: &runtime::capnp::Error| contract::told(error);
    tell(
        "revocation",
        "a call under way",
        outcome.map(|_| "answered").map_err(|e| failed(&e)),
    );
    let outcome = read.send().promise.await;
    tell(
        "revocation",
        "a new call on what was reached",
        outcome.map(|_| "answered").map_err(|e| failed(&e)),
    );
    calls.again("after: ").await;
    let again = Session::graft(session.membrane().clone()).await?;
    let names: Vec<&str> = again.names().collect();
    tell::<_, String>("revocation", "grafted anew", Ok(names));
    Calls::new(&again, "anew: ").grants().await;
    Ok(())
}
