//! `Executor` and `Program`: running programs on this node.
//!
//! A program that is run with `runBytes` holds nothing; one that is spawned holds what its parent put into the
//! call. Arguments and environment entries are all checked before anything runs: a malformed one fails
//! the call, because leaving it out would shift the others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use capnp::capability::{Client, Rc};
use cell::stdio;
use cell::{Limits, Setup, Stdin, Stdout};
use image::Image;
use schema::system_capnp::{executor, grant, limits, process, program, source};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::process::{Process, Stdio};
use super::session::{Grant, Grants};
use super::shelf::{Loaded, Shelf};
use super::{bounded, shown, texts};
use crate::cells::Cells;
use crate::vats::{Export, Spawner};

/// What a cell may write that its parent has not read, and what a parent may write that the cell has not
/// read. As a pipe's in Linux.
const PIPE_BYTES: usize = 64 << 10;

/// How much of a cell's latest standard error is kept for a parent that does not read it.
const STDERR_BYTES: usize = 64 << 10;

/// The largest component that is read from an image by path, 64 MiB, as for the first cell's.
const MAX_COMPONENT_BYTES: u64 = 64 << 20;

/// Programs that one executor loads at a time; others wait. A load holds up to [`MAX_COMPONENT_BYTES`] of memory,
/// and a place among the compilations of the whole node.
const LOADS_UNDER_WAY: usize = 2;

/// The longest name of a grant, in bytes.
const MAX_GRANT_NAME_BYTES: usize = 256;

/// The face of the node's ability to run programs.
pub struct Executor {
    cells: Cells,
    loads: Semaphore,
    spawner: Spawner,
    image: Option<Arc<Image>>,
    shelf: Shelf,
}

impl Executor {
    /// A face whose processes belong to the connection of `spawner`, and whose paths are looked up in
    /// `image`.
    pub fn new(cells: Cells, spawner: Spawner, image: Option<Arc<Image>>) -> Rc<Self> {
        Rc::new(Self {
            cells,
            loads: Semaphore::new(LOADS_UNDER_WAY),
            spawner,
            image,
            shelf: Shelf::default(),
        })
    }

    /// One of the places for loads; waits for it.
    async fn turn(&self) -> capnp::Result<SemaphorePermit<'_>> {
        let turn = self.loads.acquire().await;
        turn.map_err(|error| capnp::Error::failed(error.to_string()))
    }

    async fn load_bytes(&self, wasm: Bytes) -> capnp::Result<cell::Program> {
        self.cells
            .load(wasm)
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
        let params = params.get()?;
        let args = texts("args", params.get_args()?)?;
        let env = environment(params.get_env()?)?;
        let program = self
            .load_bytes(Bytes::copy_from_slice(params.get_wasm()?))
            .await?;
        let setup = Setup {
            args,
            env,
            ..Setup::default()
        };
        let process = launch(
            &self.cells,
            &self.spawner,
            &program,
            setup,
            Grants::default(),
        )
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
                    "load: no source; give bytes or a path".into(),
                ));
            }
            source::Bytes(bytes) => Bytes::copy_from_slice(bytes?),
            source::Path(path) => self.read_image(path?.to_str()?).await?,
            source::Cid(_) => {
                return Err(capnp::Error::unimplemented(
                    "load: programs by CID are not offered yet; give bytes or a path".into(),
                ));
            }
        };
        let program = self.load_bytes(wasm.clone()).await?;
        let program = Program {
            loaded: self.shelf.keep(program, wasm)?,
            cells: self.cells.clone(),
            spawner: self.spawner.clone(),
        };
        results.get().set_program(super::client(Rc::new(program)));
        Ok(())
    }
}

impl Executor {
    async fn read_image(&self, path: &str) -> capnp::Result<Bytes> {
        let image = self.image.clone().ok_or_else(|| {
            capnp::Error::failed("load: this cell runs in no image, so it has no paths".into())
        })?;
        let wanted = path.to_owned();
        let read =
            tokio::task::spawn_blocking(move || image.read(&wanted, MAX_COMPONENT_BYTES)).await;
        read.map_err(|error| capnp::Error::failed(error.to_string()))?
            .map(Bytes::from)
            .map_err(|error| capnp::Error::failed(format!("load: {error}")))
    }
}

/// The face of a program that is ready to run.
struct Program {
    loaded: Rc<Loaded>,
    cells: Cells,
    spawner: Spawner,
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
        params: program::SpawnParams,
        mut results: program::SpawnResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let cwd = params.get_cwd()?.to_str()?;
        if !matches!(cwd, "" | "/") {
            return Err(capnp::Error::failed(format!(
                "spawn: cwd is {cwd:?}; only / is offered"
            )));
        }
        let setup = Setup {
            args: texts("args", params.get_args()?)?,
            env: environment(params.get_env()?)?,
            limits: self::limits(params.get_limits()?),
            ..Setup::default()
        };
        let grants = self.grants(params.get_grants()?)?;
        let process = launch(
            &self.cells,
            &self.spawner,
            &self.loaded.program,
            setup,
            grants,
        )
        .await?;
        results.get().set_process(process);
        Ok(())
    }
}

impl Program {
    /// The capabilities of a call, ready to travel to the child's vat.
    fn grants(&self, list: capnp::struct_list::Reader<'_, grant::Owned>) -> capnp::Result<Grants> {
        bounded("grants", list.len())?;
        let mut grants = Grants::default();
        for entry in list {
            let name = entry.get_name()?.to_str()?;
            if name.len() > MAX_GRANT_NAME_BYTES {
                return Err(capnp::Error::failed(format!(
                    "grants: a name of {} bytes; at most {MAX_GRANT_NAME_BYTES} are accepted",
                    name.len()
                )));
            }
            if name.is_empty() {
                return Err(capnp::Error::failed("grants: one has no name".into()));
            }
            let cap: Client = entry.get_cap().get_as_capability()?;
            grants = grants.with(name, Grant::Cap(Export::new(&self.spawner, cap)));
        }
        Ok(grants)
    }
}

/// Starts a cell with pipes for its streams, and hands it to whoever asked. If the caller goes away
/// meanwhile, so does the cell.
async fn launch(
    cells: &Cells,
    spawner: &Spawner,
    program: &cell::Program,
    setup: Setup,
    grants: Grants,
) -> capnp::Result<process::Client> {
    let (stdin_reader, stdin) = stdio::pipe(PIPE_BYTES);
    let (stdout, stdout_writer) = stdio::pipe(PIPE_BYTES);
    let (stderr, stderr_ring) = stdio::ring(STDERR_BYTES);
    let setup = Setup {
        stdin: Stdin::Pipe(stdin_reader),
        stdout: Stdout::Pipe(stdout_writer),
        stderr: Stdout::Ring(stderr_ring),
        ..setup
    };
    let cell = cells
        .spawn(program, setup, grants)
        .await
        .map_err(|error| capnp::Error::overloaded(error.to_string()))?;
    let stdio = Stdio {
        stdin,
        stdout,
        stderr,
    };
    Ok(super::client(Process::new(cell, stdio, spawner.clone())))
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

/// The node's limits, lowered to what a call asks for.
fn limits(asked: limits::Reader<'_>) -> Limits {
    let mut limits = Limits::default();
    if asked.get_memory_bytes() != 0 {
        limits.memory_bytes = limits.memory_bytes.min(asked.get_memory_bytes());
    }
    if asked.get_fuel() != 0 {
        limits.fuel = Some(asked.get_fuel());
    }
    if asked.get_wall_time_millis() != 0 {
        limits.wall_time = Some(Duration::from_millis(asked.get_wall_time_millis()));
    }
    limits
}
