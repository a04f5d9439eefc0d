//! `Executor` and `Program`: running programs on this node.
//!
//! A program that is run with `runBytes` holds nothing; one that is spawned holds what its parent put into the
//! call. Arguments and environment entries are all checked before anything runs: a malformed one fails
//! the call, because leaving it out would shift the others.

use std::cell::OnceCell;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use capnp::capability::{Client, Rc};
use cell::stdio;
use cell::{Allotment, Budget, Charge, Exhausted, Resource, Setup, Stdin, Stdout};
use schema::system_capnp::{executor, grant, limits, process, program, source};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::behalf::{self, Known, Own};
use super::ipfs::Holder;
use super::process::{Process, Stdio};
use super::shelf::{Loaded, Shelf};
use super::{given, shown, texts};
use crate::bounds::{Bounded, Bounds};
use crate::cells::{Cells, Launch};
use crate::files::Tmp;
use crate::grants::{Grant, Grants, NARROWED};
use crate::programs::{ProgramError, Programs};
use crate::tenure::{Shared, Tenant};
use crate::vats::{Export, Spawner};

/// What a cell may write that its parent has not read, and what a parent may write that the cell has not
/// read. As a pipe's in Linux.
const PIPE_BYTES: usize = 64 << 10;

/// How much of a cell's latest standard error is kept for a parent that does not read it.
const STDERR_BYTES: usize = 64 << 10;

/// Programs that one executor loads at a time; others wait. A load holds up to [`MAX_COMPONENT_BYTES`](crate::programs::MAX_COMPONENT_BYTES) of memory,
/// and a place among the compilations of the whole node.
const LOADS_UNDER_WAY: usize = 2;

/// The streams of a cell that its parent has.
const STREAMS: u64 = 3;

/// Grants of one cell. Each is a membrane, and a line of the audit.
const MAX_GRANTS: u32 = 512;

/// The longest name of a grant, in bytes.
const MAX_GRANT_NAME_BYTES: usize = 256;

/// The face of the node's ability to run programs.
pub struct Executor {
    principal: Principal,
    loads: Semaphore,
    shelf: Shelf,
    known: OnceCell<Known>,
}

/// On whose behalf programs are run.
#[derive(Clone)]
pub struct Principal {
    /// What runs them.
    pub cells: Cells,
    /// What they take their share of.
    pub bounded: Bounded,
    /// The session that processes and references belong to.
    pub spawner: Spawner,
    /// Where programs that are named are found, if anywhere.
    pub programs: Option<Programs>,
    /// Below which directory they may have their `/tmp`.
    pub scratch: Option<Arc<Path>>,
    /// For the cells that end with whoever spawned them.
    pub children: Shared,
}

impl Executor {
    /// A capability that runs programs on behalf of `principal`.
    pub fn client(principal: Principal) -> executor::Client {
        let executor = Rc::new(Self {
            principal,
            loads: Semaphore::new(LOADS_UNDER_WAY),
            shelf: Shelf::default(),
            known: OnceCell::new(),
        });
        let client: executor::Client = super::client(executor.clone());
        // It is new, so this is the first and only time.
        let _ = executor.known.set(Known::executor(&client, &executor));
        client
    }

    /// One of the places for loads; waits for it.
    async fn turn(&self) -> capnp::Result<SemaphorePermit<'_>> {
        let turn = self.loads.acquire().await;
        turn.map_err(|error| capnp::Error::failed(error.to_string()))
    }

    async fn load_bytes(&self, wasm: Bytes) -> capnp::Result<cell::Program> {
        self.principal
            .cells
            .load(&self.principal.bounded.budget, wasm)
            .await
            .map_err(|error| capnp::Error::failed(error.to_string()))
    }
}

impl executor::Server for Executor {
    async fn run_bytes(
        self: Rc<Self>,
        params: executor::RunBytesParams,
        mut results: executor::RunBytesResults,
    ) -> capnp::Result<()> {
        let _turn = self.turn().await?;
        let (args, env, wasm) = {
            let params = params.get()?;
            (
                texts("args", params.get_args()?)?,
                environment(params.get_env()?)?,
                Bytes::copy_from_slice(params.get_wasm()?),
            )
        };
        drop(params);
        let program = self.load_bytes(wasm).await?;
        let setup = Setup {
            args,
            env,
            ..Setup::default()
        };
        let process = self
            .principal
            .child(&Bounds::default())?
            .launch(&program, setup, Grants::default())
            .await?;
        results.get().set_process(process);
        Ok(())
    }

    async fn echo(
        self: Rc<Self>,
        params: executor::EchoParams,
        mut results: executor::EchoResults,
    ) -> capnp::Result<()> {
        results.get().set_response(params.get()?.get_message()?);
        Ok(())
    }

    async fn load(
        self: Rc<Self>,
        params: executor::LoadParams,
        mut results: executor::LoadResults,
    ) -> capnp::Result<()> {
        let _turn = self.turn().await?;
        let source = params.get()?.get_source()?;
        let wasm = match source.which()? {
            source::None(()) => {
                return Err(capnp::Error::failed(
                    "load: no source; give bytes, a path or a CID".into(),
                ));
            }
            source::Bytes(bytes) => Bytes::copy_from_slice(bytes?),
            source::Path(path) => {
                let path = path?.to_str()?.to_owned();
                self.find(move |programs| programs.by_path(&path)).await?
            }
            source::Cid(cid) => {
                let cid = cid?.to_vec();
                self.find(move |programs| programs.by_cid(&cid)).await?
            }
        };
        drop(params);
        let budget = &self.principal.bounded.budget;
        let charge = budget
            .charge(Resource::Memory, wasm.len() as u64)
            .map_err(|error| capnp::Error::overloaded(format!("load: {error}")))?;
        let program = self.load_bytes(wasm.clone()).await?;
        let program = Program {
            loaded: self.shelf.keep(program, wasm, charge)?,
            principal: self.principal.clone(),
        };
        results.get().set_program(super::client(Rc::new(program)));
        Ok(())
    }
}

impl Executor {
    /// Reads a component from where this cell's programs are.
    async fn find(
        &self,
        read: impl FnOnce(&Programs) -> Result<Vec<u8>, ProgramError> + Send + 'static,
    ) -> capnp::Result<Bytes> {
        let programs = self.principal.programs.clone().ok_or_else(|| {
            capnp::Error::failed("load: this cell runs in no image; give the bytes".into())
        })?;
        let read = tokio::task::spawn_blocking(move || read(&programs)).await;
        read.map_err(|error| capnp::Error::failed(error.to_string()))?
            .map(Bytes::from)
            .map_err(|error| capnp::Error::failed(format!("load: {error}")))
    }
}

/// The face of a program that is ready to run.
struct Program {
    loaded: Rc<Loaded>,
    principal: Principal,
}

impl program::Server for Program {
    async fn cid(
        self: Rc<Self>,
        _params: program::CidParams,
        mut results: program::CidResults,
    ) -> capnp::Result<()> {
        let cid = self.loaded.cid().await?;
        results.get().set_cid(&cid.to_bytes());
        Ok(())
    }

    async fn imports(
        self: Rc<Self>,
        _params: program::ImportsParams,
        mut results: program::ImportsResults,
    ) -> capnp::Result<()> {
        let imports = self.loaded.program.imports();
        let mut list = results
            .get()
            .init_imports(u32::try_from(imports.len()).unwrap_or(u32::MAX));
        for (index, import) in (0..).zip(imports) {
            list.set(index, import.as_str());
        }
        Ok(())
    }

    async fn spawn(
        self: Rc<Self>,
        request: program::SpawnParams,
        mut results: program::SpawnResults,
    ) -> capnp::Result<()> {
        let params = request.get()?;
        at_the_root(params.get_cwd()?.to_str()?)?;
        let setup = Setup {
            args: texts("args", params.get_args()?)?,
            env: environment(params.get_env()?)?,
            ..Setup::default()
        };
        let child = self.principal.child(&bounds(params.get_limits()?))?;
        let granted = granted(params.get_grants()?)?;
        drop(request);
        let grants = child.grants(granted);
        let process = child.launch(&self.loaded.program, setup, grants).await?;
        results.get().set_process(process);
        Ok(())
    }
}

impl Principal {
    /// A place for one more cell in the session.
    fn tenant(&self) -> capnp::Result<Tenant> {
        let tenant = self.children.tenant();
        tenant.ok_or_else(|| capnp::Error::disconnected("the session has ended".into()))
    }

    /// A cell that is to be started on its behalf, with bounds of its own.
    fn child(&self, asked: &Bounds) -> capnp::Result<Child<'_>> {
        let bounded = self
            .bounded
            .child(asked)
            .map_err(|error| capnp::Error::overloaded(error.to_string()))?;
        Ok(Child {
            parent: self,
            wants_tmp: asked.allotment.tmp_bytes.is_some(),
            principal: Principal {
                bounded,
                children: Shared::default(),
                ..self.clone()
            },
            executor: OnceCell::new(),
            holder: OnceCell::new(),
        })
    }
}

/// A cell that is to be started.
struct Child<'a> {
    parent: &'a Principal,
    wants_tmp: bool,
    /// The cell itself, on whose behalf programs are run by what it is granted.
    principal: Principal,
    /// What runs them: one, by however many names it is granted.
    executor: OnceCell<executor::Client>,
    /// What pays for its content.
    holder: OnceCell<Holder>,
}

/// The grants of a call, by name.
fn granted(
    list: capnp::struct_list::Reader<'_, grant::Owned>,
) -> capnp::Result<Vec<(String, Client)>> {
    if list.len() > MAX_GRANTS {
        return Err(capnp::Error::failed(format!(
            "grants: {} entries; at most {MAX_GRANTS} are accepted",
            list.len()
        )));
    }
    let granted = list.iter().map(|entry| {
        let name = entry.get_name()?.to_str()?;
        if name.len() > MAX_GRANT_NAME_BYTES {
            return Err(capnp::Error::failed(format!(
                "grants: a name of {} bytes; at most {MAX_GRANT_NAME_BYTES} are accepted",
                name.len()
            )));
        }
        if name.is_empty() || name == NARROWED {
            return Err(capnp::Error::failed(format!(
                "grants: `{name}` is no name for one"
            )));
        }
        Ok((name.to_owned(), given("grants", entry.get_cap())?))
    });
    granted.collect()
}

impl Own for Child<'_> {
    fn executor(&self) -> Option<executor::Client> {
        let made = || Executor::client(self.principal.clone());
        Some(self.executor.get_or_init(made).clone())
    }

    fn holder(&self) -> Option<Holder> {
        let made = || Holder::new(&self.principal.bounded.budget, &self.principal.spawner);
        Some(self.holder.get_or_init(made).clone())
    }
}

impl Child<'_> {
    /// The capabilities of a call, ready to travel to the child's vat.
    fn grants(&self, given: Vec<(String, Client)>) -> Grants {
        let mut grants = Grants::default();
        for (name, cap) in given {
            let cap = behalf::of_named(&name, cap, self);
            let export = Export::new(&self.parent.spawner, cap);
            grants = grants.with(&name, Grant::Cap(export));
        }
        grants
    }

    /// Its `/tmp`, if it asked for one.
    async fn tmp(&self) -> capnp::Result<Option<Tmp>> {
        let (Some(scratch), true) = (&self.parent.scratch, self.wants_tmp) else {
            return Ok(None);
        };
        Tmp::new(scratch, &self.principal.bounded.budget)
            .await
            .map(Some)
            .map_err(|error| capnp::Error::failed(format!("spawn: {error}")))
    }

    /// Starts it with pipes for its streams, and hands it to whoever asked. If the caller goes away
    /// meanwhile, so does the cell.
    async fn launch(
        self,
        program: &cell::Program,
        setup: Setup,
        grants: Grants,
    ) -> capnp::Result<process::Client> {
        let tmp = self.tmp().await?;
        let Principal {
            cells,
            bounded,
            scratch,
            children: descendants,
            spawner,
            ..
        } = self.principal;
        let places = streams(&bounded.budget)
            .map_err(|error| capnp::Error::overloaded(error.to_string()))?;
        let (stdin_reader, stdin) = stdio::pipe(PIPE_BYTES);
        let (stdout, stdout_writer) = stdio::pipe(PIPE_BYTES);
        let (stderr, stderr_ring) = stdio::ring(STDERR_BYTES);
        let launch = Launch {
            setup: Setup {
                stdin: Stdin::Pipe(stdin_reader),
                stdout: Stdout::Pipe(stdout_writer),
                stderr: Stdout::Ring(stderr_ring),
                ..setup
            },
            bounded,
            grants,
            parent: Some(self.parent.tenant()?),
            supervises: self.executor.get().is_some(),
            descendants,
            tmp,
            scratch,
        };
        let cell = cells
            .spawn(program, launch)
            .await
            .map_err(|error| capnp::Error::overloaded(error.to_string()))?;
        let stdio = Stdio {
            stdin,
            stdout,
            stderr,
            places,
        };
        Ok(super::client(Process::new(cell, stdio, spawner)))
    }
}

/// The places of a cell's three streams, which its parent has: all of them or none.
fn streams(budget: &Budget) -> Result<[Charge; 3], Exhausted> {
    let all = budget.charge(Resource::Streams, STREAMS)?;
    all.shrink(STREAMS);
    let one = || budget.charge(Resource::Streams, 1);
    Ok([one()?, one()?, one()?])
}

/// Refuses a working directory other than the one that there is.
fn at_the_root(cwd: &str) -> capnp::Result<()> {
    match cwd {
        "" | "/" => Ok(()),
        _ => Err(capnp::Error::failed(format!(
            "spawn: cwd is {:?}; only / is offered",
            shown(cwd)
        ))),
    }
}

/// Environment entries, each NAME=VALUE with a name.
fn environment(list: capnp::text_list::Reader<'_>) -> capnp::Result<Vec<(String, String)>> {
    texts("env", list)?
        .into_iter()
        .map(|entry| match entry.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(capnp::Error::failed(format!(
                "env: {:?} is not NAME=VALUE",
                shown(&entry)
            ))),
        })
        .collect()
}

/// What a call asks for.
fn bounds(asked: limits::Reader<'_>) -> Bounds {
    fn asked_for<T: Default + PartialEq>(value: T) -> Option<T> {
        (value != T::default()).then_some(value)
    }
    Bounds {
        allotment: Allotment {
            memory_bytes: asked_for(asked.get_memory_bytes()),
            fuel: asked_for(asked.get_fuel()),
            cpu_share: NonZeroU32::new(asked.get_cpu_percent()),
            wall_time: asked_for(asked.get_wall_time_millis()).map(Duration::from_millis),
            streams: asked_for(asked.get_streams().into()),
            cells: asked_for(asked.get_cells().into()),
            depth: asked_for(asked.get_depth()),
            files: asked_for(asked.get_files().into()),
            tmp_bytes: asked_for(asked.get_tmp_bytes()),
            var_bytes: asked_for(asked.get_var_bytes()),
            content_bytes: asked_for(asked.get_content_bytes()),
        },
        message_bytes: asked_for(asked.get_message_bytes()),
        calls: asked_for(asked.get_calls()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_directory_is_quoted_in_part() {
        at_the_root("").unwrap();
        at_the_root("/").unwrap();
        let refused = at_the_root("/bin").unwrap_err();
        assert_eq!(refused.extra, "spawn: cwd is \"/bin\"; only / is offered");
        let refused = at_the_root(&"\0".repeat(100_000)).unwrap_err();
        assert!(refused.extra.len() < 1000);
    }
}
