//! Starting a program as a cell with chosen grants and bounds.

use capnp::capability::FromClientHook;
use schema::interfaces::MethodId;
use schema::stem_capnp::{membrane, revoker};
use schema::system_capnp::{executor, limits, process, program};

use crate::error::Result;
use crate::process::{count, fill};

/// A program that is to be started, and what its cell will have. It starts with nothing but what is said here.
///
/// ```no_run
/// # async fn example(session: runtime::Session) -> runtime::Result<()> {
/// let child = runtime::Spawn::from_path(&session.executor()?, "/bin/worker.wasm")
///     .args(&["worker", "--once"])
///     .grant("log", &session.grant::<runtime::system_capnp::byte_stream::Client>("log")?)
///     .limit(|mut limits| limits.set_memory_bytes(16 << 20))
///     .start()
///     .await?;
/// assert_eq!(runtime::process::wait(&child).await?, 0);
/// # Ok(())
/// # }
/// ```
pub struct Spawn {
    request:
        capnp::capability::Request<program::spawn_params::Owned, program::spawn_results::Owned>,
    grants: Vec<(String, Box<dyn capnp::private::capability::ClientHook>)>,
}

impl Spawn {
    /// A program that has been loaded.
    pub fn new(program: &program::Client) -> Self {
        Self {
            request: program.spawn_request(),
            grants: Vec::new(),
        }
    }

    /// The program at a path of this cell's image. That it is there shows when it is started.
    pub fn from_path(executor: &executor::Client, path: &str) -> Self {
        let mut request = executor.load_request();
        request.get().init_source().set_path(path);
        Self::new(&request.send().pipeline.get_program())
    }

    /// Its arguments, its own name first.
    pub fn args(mut self, args: &[impl AsRef<str>]) -> Self {
        fill(self.request.get().init_args(count(args)), args);
        self
    }

    /// Its environment, each NAME=VALUE.
    pub fn env(mut self, env: &[impl AsRef<str>]) -> Self {
        fill(self.request.get().init_env(count(env)), env);
        self
    }

    /// Hands it a capability under a name.
    pub fn grant(mut self, name: &str, capability: &impl FromClientHook) -> Self {
        self.grants
            .push((name.to_owned(), capability.as_client_hook().add_ref()));
        self
    }

    /// Bounds it, and all that it spawns. What is not said is what this cell has left.
    pub fn limit(mut self, set: impl FnOnce(limits::Builder<'_>)) -> Self {
        // A root that was made by this request is there to be read.
        if let Ok(limits) = self.request.get().get_limits() {
            set(limits);
        }
        self
    }

    /// Starts it. The cell lives for as long as the process is referred to, unless it is detached.
    ///
    /// # Errors
    /// The host's: what is asked for is more than this cell has left (`limit: `), the program is not there, or
    /// is no program.
    pub async fn start(mut self) -> Result<process::Client> {
        let number = u32::try_from(self.grants.len()).unwrap_or(u32::MAX);
        let mut list = self.request.get().init_grants(number);
        for (index, (name, hook)) in (0..).zip(self.grants) {
            let mut grant = list.reborrow().get(index);
            grant.set_name(&name);
            grant.init_cap().set_as_capability(hook);
        }
        Ok(self.request.send().promise.await?.get()?.get_process()?)
    }
}

/// A capability with less authority, and what takes it back.
pub(crate) async fn attenuate<C: FromClientHook>(
    membrane: &membrane::Client,
    capability: &C,
    methods: impl IntoIterator<Item = MethodId>,
) -> Result<(C, revoker::Client)> {
    let methods: Vec<MethodId> = methods.into_iter().collect();
    let mut request = membrane.attenuate_request();
    let mut params = request.get();
    params
        .reborrow()
        .init_cap()
        .set_as_capability(capability.as_client_hook().add_ref());
    let mut only = params.init_only(u32::try_from(methods.len()).unwrap_or(u32::MAX));
    for (index, id) in (0..).zip(methods) {
        let mut method = only.reborrow().get(index);
        method.set_interface(id.interface);
        method.set_ordinal(id.ordinal);
    }
    let reply = request.send().promise.await?;
    let reply = reply.get()?;
    Ok((reply.get_cap().get_as_capability()?, reply.get_revoker()?))
}
