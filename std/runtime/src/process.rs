//! Running another program as a cell, and talking to it.
//!
//! The functions that return a client do not wait: calls on it are sent at once, and answered when the
//! host has caught up.

use std::fmt;

use schema::system_capnp::byte_stream::Client as ByteStream;
use schema::system_capnp::executor::Client as Executor;
use schema::system_capnp::process::Client as Process;
use schema::system_capnp::process_status;

use crate::error::Result;

/// Runs a component with no grants. `args` starts with the program's own name; each entry of `env` is
/// `NAME=VALUE`. The cell lives for as long as the process is referred to.
///
/// # Errors
/// The host's: what is not a component, cannot be compiled, or is one cell too many.
pub async fn run_bytes(
    executor: &Executor,
    wasm: &[u8],
    args: &[impl AsRef<str>],
    env: &[impl AsRef<str>],
) -> Result<Process> {
    let mut request = executor.run_bytes_request();
    let mut params = request.get();
    params.set_wasm(wasm);
    fill(params.reborrow().init_args(count(args)), args);
    fill(params.init_env(count(env)), env);
    Ok(request.send().promise.await?.get()?.get_process()?)
}

/// What the process reads.
pub fn stdin(process: &Process) -> ByteStream {
    process.stdin_request().send().pipeline.get_stream()
}

/// What the process writes to its standard output.
pub fn stdout(process: &Process) -> ByteStream {
    process.stdout_request().send().pipeline.get_stream()
}

/// What the process writes to its standard error.
pub fn stderr(process: &Process) -> ByteStream {
    process.stderr_request().send().pipeline.get_stream()
}

/// Waits for the process to end, and gives its exit code: above 128 when it was killed or trapped.
///
/// # Errors
/// The call's own.
pub async fn wait(process: &Process) -> Result<i32> {
    let reply = process.wait_request().send().promise.await?;
    Ok(reply.get()?.get_exit_code())
}

/// Where a process stands.
///
/// # Errors
/// The call's own.
pub async fn status(process: &Process) -> Result<Status> {
    let reply = process.status_request().send().promise.await?;
    let status = reply.get()?.get_status()?;
    Ok(match status.which()? {
        process_status::Running(()) => Status::Running,
        process_status::Exited(code) => Status::Exited(code),
        process_status::Trapped(text) => Status::Trapped(text?.to_string()?),
        process_status::Killed(()) => Status::Killed,
        process_status::OutOfFuel(()) => Status::OutOfFuel,
        process_status::OutOfMemory(()) => Status::OutOfMemory,
        process_status::OutOfTime(()) => Status::OutOfTime,
        process_status::OutOfHandles(()) => Status::OutOfHandles,
        process_status::Revoked(()) => Status::Revoked,
        process_status::Failed(text) => Status::Failed(text?.to_string()?),
        process_status::Unknown(()) => Status::Unknown,
    })
}

/// What [`status`] tells. `Display` gives it as part of a sentence: `killed`, `exited with 3`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// The host does not say.
    Unknown,
    /// It has not ended.
    Running,
    /// It ended by itself, with this code.
    Exited(i32),
    /// It ended by a trap: its message and backtrace.
    Trapped(String),
    /// It was killed.
    Killed,
    /// It used up its budget of instructions.
    OutOfFuel,
    /// It asked for more memory than it may have.
    OutOfMemory,
    /// Its time was up.
    OutOfTime,
    /// It held more of the host's resources than it may.
    OutOfHandles,
    /// The authority that it ran under was taken back.
    Revoked,
    /// It never began: why it could not be instantiated.
    Failed(String),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("in an unknown state"),
            Self::Running => f.write_str("running"),
            Self::Exited(code) => write!(f, "exited with {code}"),
            Self::Trapped(text) => write!(f, "trapped: {text}"),
            Self::Killed => f.write_str("killed"),
            Self::OutOfFuel => f.write_str("out of fuel"),
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::OutOfTime => f.write_str("out of time"),
            Self::OutOfHandles => f.write_str("out of handles"),
            Self::Revoked => f.write_str("ended with the authority that it ran under"),
            Self::Failed(text) => write!(f, "could not start: {text}"),
        }
    }
}

pub(crate) fn count(texts: &[impl AsRef<str>]) -> u32 {
    u32::try_from(texts.len()).unwrap_or(u32::MAX)
}

pub(crate) fn fill(mut list: capnp::text_list::Builder<'_>, texts: &[impl AsRef<str>]) {
    for (index, text) in (0..).zip(texts) {
        list.set(index, text.as_ref());
    }
}
