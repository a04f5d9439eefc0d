//! Every method of the contract, called by its number, with parameters that it has a use for: so that a program
//! can try all of them on whatever it holds, and one that is added is tried as well.

pub mod content;
mod spare;

use futures::future::{Either, select};
use runtime::capnp::capability::{Client, FromClientHook as _, Response};
use runtime::capnp::{self, ErrorKind, any_pointer};
use runtime::ipfs_capnp::block;
use runtime::stem_capnp::{membrane, revoker};
use runtime::system_capnp::{byte_stream, executor, host, process, program};
use runtime::{Session, bytes, io};
use schema::interfaces::{Interface, MethodId};

pub use spare::Spare;

/// Where a program that is run as a child is found: it is this one.
pub const PROGRAM: &str = "/boot/main.wasm";

/// The first argument of a program that is run as a child. See [`child`].
pub const CHILD: &str = "child";

/// The most that a child is read for, in bytes.
const OUTPUT_LIMIT: usize = 1 << 20;

/// What comes of a call.
pub enum Answer {
    /// It has returned.
    Returned(Response<any_pointer::Owned>),
    /// It goes on waiting, as it should.
    Waits,
}

/// All methods of all interfaces. `ByteStream.push` is the last one, because a capability on which a streaming call
/// has failed fails every other.
pub fn methods() -> impl Iterator<Item = MethodId> {
    let (last, others): (Vec<_>, Vec<_>) = Interface::all()
        .iter()
        .flat_map(|interface| interface.numbered().map(|(id, _)| id))
        .partition(|method| method.to_string() == "ByteStream.push");
    others.into_iter().chain(last)
}

/// The method of this name, as in `Host.id`.
pub fn method(name: &str) -> MethodId {
    let found = methods().find(|method| method.to_string() == name);
    found.unwrap_or_else(|| panic!("there is no {name}"))
}

/// A call of a method, whatever the capability is. `with` is the capability that goes with the call, if one does.
pub async fn call(cap: &Client, method: MethodId, with: &Client) -> capnp::Result<Answer> {
    let mut request: capnp::capability::Request<any_pointer::Owned, any_pointer::Owned> =
        cap.new_call(method.interface, method.ordinal, None);
    fill(method, request.get(), with)?;
    request.send().promise.await.map(Answer::Returned)
}

/// `Membrane.watch`, which waits for what does not come: done with once calls that were made after it have been
/// answered, if it has not failed by then.
pub async fn watch(session: &Session, membrane: &Client) -> capnp::Result<Answer> {
    let called = Box::pin(call(membrane, method("Membrane.watch"), membrane));
    let later = Box::pin(async {
        for _ in 0..2 {
            session.membrane().graft_request().send().promise.await?;
        }
        capnp::Result::Ok(())
    });
    match select(called, later).await {
        Either::Left((answer, _)) => answer,
        Either::Right((later, _)) => later.map(|()| Answer::Waits),
    }
}

impl Answer {
    /// The capability that it gave, if it gave one at the place where most methods do.
    pub fn cap(&self) -> Option<Client> {
        let Self::Returned(response) = self else {
            return None;
        };
        let results: process::bootstrap_results::Reader<'_> = response.get().ok()?.get_as().ok()?;
        let cap = results.get_cap();
        (!cap.is_null()).then(|| cap.get_as_capability().ok())?
    }

    /// The CID that it gave, of a method that gives nothing else.
    pub fn cid(&self) -> Option<Vec<u8>> {
        let Self::Returned(response) = self else {
            return None;
        };
        let results: block::put_results::Reader<'_> = response.get().ok()?.get_as().ok()?;
        Some(results.get_cid().ok()?.to_vec())
    }

    /// What came, for people.
    pub fn told(&self) -> &'static str {
        match self {
            Self::Returned(_) => "answered",
            Self::Waits => "waits",
        }
    }
}

/// An error as its kind, and what the other side said.
pub fn told(error: &capnp::Error) -> String {
    let kind = match error.kind {
        ErrorKind::Failed => "failed",
        ErrorKind::Overloaded => "overloaded",
        ErrorKind::Disconnected => "disconnected",
        ErrorKind::Unimplemented => "unimplemented",
        _ => return error.to_string(),
    };
    let said = error.extra.trim_start_matches("remote exception: ");
    format!("{kind}: {said}")
}

fn fill(method: MethodId, params: any_pointer::Builder<'_>, with: &Client) -> capnp::Result<()> {
    match method.to_string().as_str() {
        "Host.connect" => params
            .init_as::<host::connect_params::Builder<'_>>()
            .set_peer_id(&[0]),
        "Executor.runBytes" => {
            // A child sees no files: what it sends is refused as no component, if it is not refused before.
            let wasm = std::fs::read(PROGRAM).unwrap_or_default();
            let mut params: executor::run_bytes_params::Builder<'_> = params.init_as();
            params.set_wasm(&wasm);
            arguments(params.init_args(2));
        }
        "Executor.echo" => params
            .init_as::<executor::echo_params::Builder<'_>>()
            .set_message("hello"),
        "Executor.load" => params
            .init_as::<executor::load_params::Builder<'_>>()
            .init_source()
            .set_path(PROGRAM),
        "Program.spawn" => {
            let mut params: program::spawn_params::Builder<'_> = params.init_as();
            arguments(params.reborrow().init_args(2));
            let mut grant = params.init_grants(1).get(0);
            grant.set_name("with");
            grant
                .init_cap()
                .set_as_capability(with.as_client_hook().add_ref());
        }
        "ByteStream.read" => params
            .init_as::<byte_stream::read_params::Builder<'_>>()
            .set_max_bytes(1),
        "ByteStream.write" | "ByteStream.push" => params
            .init_as::<byte_stream::write_params::Builder<'_>>()
            .set_data(b"x"),
        "ByteStream.pump" => params
            .init_as::<byte_stream::pump_params::Builder<'_>>()
            .set_into(with.clone().cast_to()),
        "Membrane.attenuate" => params
            .init_as::<membrane::attenuate_params::Builder<'_>>()
            .init_cap()
            .set_as_capability(with.as_client_hook().add_ref()),
        "Revoker.revoke" => params
            .init_as::<revoker::revoke_params::Builder<'_>>()
            .set_reason("it was tried"),
        name => content::fill(name, params, with),
    }
    Ok(())
}

fn arguments(mut args: capnp::text_list::Builder<'_>) {
    args.set(0, PROGRAM);
    args.set(1, CHILD);
}

/// What a child does: it offers a capability that answers everything, calls the one that it was granted as `with`,
/// and once its standard input has ended, prints what came.
pub fn child() {
    runtime::serve(Spare::default().client(), |session| async move {
        if let Ok(with) = session.grant::<Client>("with") {
            call(&with, method("Executor.echo"), &with).await?;
        }
        let mut input = Vec::new();
        futures::AsyncReadExt::read_to_end(&mut io::stdin(), &mut input).await?;
        let mut output = io::stdout();
        futures::AsyncWriteExt::write_all(&mut output, &input).await?;
        futures::AsyncWriteExt::flush(&mut output).await?;
        Ok(())
    });
}

/// Runs this program as a cell with these arguments and grants.
pub async fn spawn(
    executor: &executor::Client,
    args: &[&str],
    grants: &[(&str, &Client)],
) -> runtime::Result<process::Client> {
    let mut request = executor.load_request();
    request.get().init_source().set_path(PROGRAM);
    let mut request = request.send().pipeline.get_program().spawn_request();
    let mut params = request.get();
    let mut list = params.reborrow().init_args(args.len() as u32);
    for (index, arg) in (0..).zip(args) {
        list.set(index, arg);
    }
    let mut list = params.init_grants(grants.len() as u32);
    for (index, (name, cap)) in (0..).zip(grants) {
        let mut grant = list.reborrow().get(index);
        grant.set_name(name);
        grant
            .init_cap()
            .set_as_capability(cap.as_client_hook().add_ref());
    }
    Ok(request.send().promise.await?.get()?.get_process()?)
}

/// What a cell writes to its standard output until it ends, as text.
pub async fn output(process: &process::Client) -> runtime::Result<String> {
    let written = bytes::read_to_end(&runtime::process::stdout(process), OUTPUT_LIMIT).await?;
    Ok(String::from_utf8_lossy(&written).into_owned())
}
