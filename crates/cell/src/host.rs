//! What a guest finds around it: WASI 0.2 without a network, and its one conversation.
//!
//! A cell reaches exactly what is in its [`State`]: its own arguments, environment, standard streams,
//! read-only image and writable directories, clocks, randomness, and its end of the conversation. Sockets
//! are there for programs that import them, and every use of them is refused; so is the resolution of
//! names.

mod conversation;
mod filesystem;
mod rpc;
mod streams;

use crate::fuel::Tank;
use crate::limits::{Limiter, Limits};
use filesystem::{FilesView, HasFiles};
use wasmtime::Store;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView as _};
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::random::{WasiRandom, WasiRandomView as _};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView as _};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

pub(crate) use conversation::Conversation;
pub(crate) use filesystem::{Descriptors, Files};
pub use filesystem::{
    FixedQuota, IMAGE_ROOT, ImageFile, ImageNode, ImageTree, MemoryImage, Quota, Writable,
    WritableError,
};

/// Interfaces that a component may import, without their versions. A test holds this list against
/// the linker.
pub(crate) const PROVIDED: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
    "wetware:rpc/rpc",
    "wetware:streams/streams",
];

/// Everything that WASI shows to one guest.
pub(crate) struct Wasi {
    pub(crate) ctx: WasiCtx,
    pub(crate) files: Files,
}

/// Everything that one guest can reach.
pub(crate) struct State {
    /// Goes before what it has open stops being counted.
    table: ResourceTable,
    wasi: Wasi,
    limiter: Limiter,
    conversation: Conversation,
    /// For a guest whose fuel is counted.
    pub(crate) tank: Option<Tank>,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi.ctx,
            table: &mut self.table,
        }
    }
}

impl HasFiles for State {
    fn files(&mut self) -> FilesView<'_> {
        FilesView {
            wasi: WasiFilesystemCtxView {
                ctx: self.wasi.ctx.filesystem(),
                table: &mut self.table,
            },
            files: &mut self.wasi.files,
        }
    }
}

/// A linker with everything that [`PROVIDED`] names.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    add_wasi_to_linker(&mut linker)?;
    filesystem::add_to_linker(&mut linker)?;
    streams::add_to_linker(&mut linker)?;
    rpc::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// Adds WASI without `wasi:filesystem`.
fn add_wasi_to_linker(l: &mut Linker<State>) -> wasmtime::Result<()> {
    use wasmtime_wasi::p2::bindings::{cli, random, sockets};

    // Input and output, clocks, randomness, the standard streams.
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(l)?;

    random::insecure::add_to_linker::<_, WasiRandom>(l, State::random)?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(l, State::random)?;
    cli::environment::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::exit::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, State::cli)?;
    sockets::instance_network::add_to_linker::<_, WasiSockets>(l, State::sockets)?;
    let options = sockets::network::LinkOptions::default();
    sockets::network::add_to_linker::<_, WasiSockets>(l, &options, State::sockets)?;
    sockets::ip_name_lookup::add_to_linker::<_, WasiSockets>(l, State::sockets)?;
    sockets::tcp::add_to_linker::<_, WasiSockets>(l, State::sockets)?;
    sockets::tcp_create_socket::add_to_linker::<_, WasiSockets>(l, State::sockets)?;
    sockets::udp::add_to_linker::<_, WasiSockets>(l, State::sockets)?;
    sockets::udp_create_socket::add_to_linker::<_, WasiSockets>(l, State::sockets)
}

/// A store for one guest, held to `limits`.
pub(crate) fn store(
    engine: &wasmtime::Engine,
    wasi: Wasi,
    conversation: Conversation,
    limits: &Limits,
    limiter: Limiter,
) -> wasmtime::Result<Store<State>> {
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.handles);
    let state = State {
        wasi,
        table,
        limiter,
        conversation,
        tank: None,
    };
    let mut store = Store::try_new(engine, state)?;
    store.limiter(|state| &mut state.limiter);
    store.set_max_component_handles(component_handles(limits));
    store.set_hostcall_fuel(hostcall_bytes(limits));
    Ok(store)
}

/// Handles on the guest's side: each of its resources has one, and so has each that it lends to a
/// call under way. Twice as many, so that the limit itself is met first and gives the end its name.
fn component_handles(limits: &Limits) -> usize {
    limits.handles.saturating_mul(2).saturating_add(16)
}

/// What one call may carry from the guest to the host, in bytes: twice a message, so that one which
/// is somewhat too large is refused as `too-large`; anything beyond is a trap. Tighter is better,
/// since a host call is not interrupted by the tick.
pub(crate) fn hostcall_bytes(limits: &Limits) -> usize {
    const LEAST: usize = 1 << 20;
    limits.message_bytes.saturating_mul(2).max(LEAST)
}
