//! `Process`: a running cell in the hands of whoever started it.
//!
//! The face is the cell's owner: when the last reference to it goes, so does the cell.

use capnp::capability::{Client, Rc};
use cell::stdio::{Reader, Writer};
use cell::{Charge, Exit};
use schema::system_capnp::{byte_stream, process};
use tokio::sync::OnceCell;

use super::byte_stream::{ByteStream, End};
use crate::cells::{Process as Cell, Status};
use crate::vats::Spawner;

/// The host's ends of a cell's standard streams.
pub struct Stdio {
    /// Writes what the cell reads.
    pub stdin: Writer,
    /// Reads what the cell writes.
    pub stdout: Reader,
    /// Reads what the cell reports.
    pub stderr: Reader,
    /// Their places in the budget: each keeps its own for as long as somebody holds it.
    pub places: [Charge; 3],
}

/// The face of a cell.
pub struct Process {
    cell: Rc<Cell>,
    stdin: Stream,
    stdout: Stream,
    stderr: Stream,
    /// What the guest exports, once somebody has asked: one connection to its vat, however often.
    bootstrap: OnceCell<Client>,
    detached: std::cell::Cell<bool>,
    /// Where the references that this face imports live: the caller's own connection.
    spawner: Spawner,
}

/// One stream of a cell: the same capability whenever it is asked for.
struct Stream {
    face: Rc<ByteStream>,
    client: byte_stream::Client,
}

impl Stream {
    fn new(end: End, place: Charge) -> Self {
        let face = Rc::new(ByteStream::new(end, place));
        Self {
            client: super::client(face.clone()),
            face,
        }
    }
}

impl Process {
    /// Takes ownership of a cell on behalf of a caller.
    pub fn new(cell: Cell, stdio: Stdio, spawner: Spawner) -> Rc<Self> {
        let [in_place, out_place, error_place] = stdio.places;
        Rc::new(Self {
            cell: Rc::new(cell),
            stdin: Stream::new(End::Writing(stdio.stdin), in_place),
            stdout: Stream::new(End::Reading(stdio.stdout), out_place),
            stderr: Stream::new(End::Reading(stdio.stderr), error_place),
            bootstrap: OnceCell::new(),
            detached: std::cell::Cell::new(false),
            spawner,
        })
    }
}

impl process::Server for Process {
    async fn stdin(
        self: Rc<Self>,
        _params: process::StdinParams,
        mut results: process::StdinResults,
    ) -> capnp::Result<()> {
        results.get().set_stream(self.stdin.client.clone());
        Ok(())
    }

    async fn stdout(
        self: Rc<Self>,
        _params: process::StdoutParams,
        mut results: process::StdoutResults,
    ) -> capnp::Result<()> {
        results.get().set_stream(self.stdout.client.clone());
        Ok(())
    }

    async fn stderr(
        self: Rc<Self>,
        _params: process::StderrParams,
        mut results: process::StderrResults,
    ) -> capnp::Result<()> {
        results.get().set_stream(self.stderr.client.clone());
        Ok(())
    }

    async fn wait(
        self: Rc<Self>,
        _params: process::WaitParams,
        mut results: process::WaitResults,
    ) -> capnp::Result<()> {
        let exit = self.cell.wait().await;
        results.get().set_exit_code(exit.code().into());
        Ok(())
    }

    async fn status(
        self: Rc<Self>,
        _params: process::StatusParams,
        mut results: process::StatusResults,
    ) -> capnp::Result<()> {
        let mut status = results.get().init_status();
        match self.cell.status() {
            Status::Running => status.set_running(()),
            Status::Ended(exit) => match exit {
                Exit::Exited(code) => status.set_exited(code.into()),
                Exit::Killed => status.set_killed(()),
                Exit::Revoked { .. } => status.set_revoked(()),
                Exit::OutOfFuel { .. } => status.set_out_of_fuel(()),
                Exit::OutOfMemory { .. } => status.set_out_of_memory(()),
                Exit::OutOfTime { .. } => status.set_out_of_time(()),
                Exit::OutOfHandles { .. } => status.set_out_of_handles(()),
                Exit::Failed { message } => status.set_failed(message.as_str()),
                Exit::Trapped { message, backtrace } => {
                    status.set_trapped(format!("{message}\n{backtrace}").trim_end());
                }
            },
        }
        Ok(())
    }

    async fn kill(
        self: Rc<Self>,
        _params: process::KillParams,
        _results: process::KillResults,
    ) -> capnp::Result<()> {
        self.cell.kill();
        self.cell.wait().await;
        Ok(())
    }

    async fn bootstrap(
        self: Rc<Self>,
        _params: process::BootstrapParams,
        mut results: process::BootstrapResults,
    ) -> capnp::Result<()> {
        if let Status::Ended(exit) = self.cell.status() {
            return Err(capnp::Error::disconnected(format!(
                "the cell has ended: {exit}"
            )));
        }
        let cap = self
            .bootstrap
            .get_or_try_init(async || {
                let export = self.cell.bootstrap().await?;
                capnp::Result::Ok(export.import::<Client>(&self.spawner))
            })
            .await?;
        results
            .get()
            .init_cap()
            .set_as_capability(cap.hook.add_ref());
        Ok(())
    }

    async fn detach(
        self: Rc<Self>,
        _params: process::DetachParams,
        _results: process::DetachResults,
    ) -> capnp::Result<()> {
        if !self.detached.replace(true) {
            self.stdout.face.discard_when_gone();
            self.stderr.face.discard_when_gone();
            let cell = self.cell.clone();
            // The session is its owner from now on.
            self.spawner.spawn(async move {
                cell.wait().await;
            });
        }
        Ok(())
    }

    async fn usage(
        self: Rc<Self>,
        _params: process::UsageParams,
        mut results: process::UsageResults,
    ) -> capnp::Result<()> {
        let used = self.cell.usage();
        let mut usage = results.get().init_usage();
        usage.set_memory_bytes(used.memory_bytes);
        usage.set_cpu_nanos(u64::try_from(used.cpu_time.as_nanos()).unwrap_or(u64::MAX));
        usage.set_fuel(used.fuel.unwrap_or(0));
        usage.set_tree_memory_bytes(used.tree.memory_bytes);
        usage.set_cells(count(used.tree.cells));
        usage.set_streams(count(used.tree.streams));
        usage.set_tmp_bytes(used.tree.tmp_bytes);
        usage.set_var_bytes(used.tree.var_bytes);
        usage.set_files(count(used.tree.files));
        usage.set_content_bytes(used.tree.content_bytes);
        Ok(())
    }
}

fn count(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
