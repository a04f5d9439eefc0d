//! Runs so many pairs of cells (its first argument) that give each other their streams, on whichever threads the
//! host has, and takes away one of each pair. Prints how each took it.

use futures::future::join_all;
use guests::report;
use runtime::capnp::capability::FromClientHook as _;
use runtime::system_capnp::byte_stream::Client as Stream;
use runtime::system_capnp::{process as wire, program};
use runtime::{bytes, process};

fn main() {
    runtime::run(|session| async move {
        let mut request = session.executor()?.load_request();
        request.get().init_source().set_path("/bin/lends.wasm");
        let program = request.send().promise.await?.get()?.get_program()?;
        let mut pairs = Vec::new();
        for _ in 0..guests::arg(1, 4) {
            pairs.push((spawn(&program).await?, spawn(&program).await?));
        }
        for (lender, borrower) in &pairs {
            let (lent, exported) = (export(lender), export(borrower));
            report("in order", pump(&exported, &lent).await);
            report("in order to itself", there_and_back(&program).await);
            report("lent", text(&exported).await);
            let waiting = runtime::spawn(close(lent.clone()));
            // Answered behind it.
            text(&exported).await?;
            lender.kill_request().send().promise.await?;
            report("a call under way", waiting.await);
            report("taken away, for whom it was lent to", text(&exported).await);
            report("taken away, for the parent", text(&lent).await);
            report("a new look", text(&export(lender)).await);
        }
        let alive = pairs.iter().map(|(_, borrower)| process::status(borrower));
        for status in join_all(alive).await {
            report("the borrower", status.map(|status| status.to_string()));
        }
        Ok(())
    });
}

async fn spawn(program: &program::Client) -> runtime::Result<wire::Client> {
    let reply = program.spawn_request().send().promise.await?;
    Ok(reply.get()?.get_process()?)
}

/// What a cell exports. It may not be there yet.
fn export(process: &wire::Client) -> Stream {
    let promised = process.bootstrap_request().send().pipeline;
    Stream::new(promised.get_cap().as_cap())
}

/// Has a cell write to its own stream, of which it learns from elsewhere.
async fn there_and_back(program: &program::Client) -> runtime::Result<u64> {
    let cell = spawn(program).await?;
    let own = export(&cell);
    pump(&own, &own).await
}

async fn pump(from: &Stream, into: &Stream) -> runtime::Result<u64> {
    bytes::copy(from, into).await
}

async fn text(stream: &Stream) -> runtime::Result<String> {
    let data = bytes::read(stream, 100).await?;
    Ok(String::from_utf8_lossy(&data).into_owned())
}

async fn close(stream: Stream) -> runtime::Result<()> {
    bytes::close(&stream).await
}
