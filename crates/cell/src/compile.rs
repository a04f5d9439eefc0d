//! Turning components into machine code, inside of bounds.
//!
//! The input is hostile: a component of a few megabytes can keep an optimising compiler busy for
//! hours, or have it take all memory. [`Compiler::Process`] compiles in a child process, which can
//! be ended whatever it does: it limits its own memory and processor time, and is killed at the
//! deadline. [`Compiler::InThread`] is for tests and for programs that trust their components: its
//! deadline ends the wait for the compiler but not the compiler, whose thread stays busy.
//!
//! Parent and child talk through two unlinked files, so that neither ever waits for a pipe. The child
//! gets an empty environment.

use crate::artifact::Artifact;
use crate::engine::CodeProfile;
use crate::load::{LoadError, LoadLimits};
use bytes::Bytes;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Where components are compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Compiler {
    /// On a thread of this process. A compilation that exceeds its deadline is given up, not ended.
    #[default]
    InThread,
    /// In a child process, which must call [`compile_main`] and do nothing else.
    Process {
        /// The program to start.
        program: PathBuf,
        /// Its arguments.
        args: Vec<OsString>,
    },
}

/// Threads that one child compiles on. Each has its share of the address space bound.
const CHILD_THREADS: u32 = 4;

/// The largest machine code that a child may answer with, in bytes: code is some five times its
/// component.
const MAX_ARTIFACT_BYTES: u64 = 1 << 30;

/// How often a child is looked after. Grows from the first to the second, so that a small component
/// is not kept waiting and a large one costs nothing.
const POLL: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(10));

/// Compiles `wasm`, and hands the outcome to `done` no later than about the deadline. Returns once
/// the compiler has really ended.
pub(crate) fn compile(
    compiler: &Compiler,
    engine: &wasmtime::Engine,
    profile: CodeProfile,
    wasm: Bytes,
    limits: &LoadLimits,
    done: impl FnOnce(Result<Artifact, LoadError>),
) {
    match compiler {
        Compiler::InThread => in_thread(engine.clone(), wasm, limits, done),
        Compiler::Process { program, args } => {
            done(in_process(program, args, profile, &wasm, limits));
        }
    }
}

fn in_thread(
    engine: wasmtime::Engine,
    wasm: Bytes,
    limits: &LoadLimits,
    done: impl FnOnce(Result<Artifact, LoadError>),
) {
    let (sender, receiver) = mpsc::sync_channel(1);
    let thread = thread::Builder::new()
        .name("cell-compiler".to_owned())
        .spawn(move || {
            // Nobody may be left to take it.
            let _ = sender.send(precompile(&engine, &wasm));
        });
    let thread = match thread {
        Ok(thread) => thread,
        Err(error) => return done(Err(LoadError::io("start a compiler thread", &error))),
    };
    done(match receiver.recv_timeout(limits.compile_deadline) {
        Ok(outcome) => outcome.map(Artifact::trusted),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(LoadError::CompileTimeout {
            deadline: limits.compile_deadline,
        }),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Err(LoadError::Compiler("it ended without an answer".to_owned()))
        }
    });
    // The thread's own panics are caught, and its outcome has been dealt with.
    let _ = thread.join();
}

fn precompile(engine: &wasmtime::Engine, wasm: &[u8]) -> Result<Vec<u8>, LoadError> {
    catch_unwind(AssertUnwindSafe(|| engine.precompile_component(wasm)))
        .unwrap_or_else(|_| Err(wasmtime::Error::msg("the compiler panicked on it")))
        .map_err(|error| LoadError::invalid(&error))
}

fn in_process(
    program: &Path,
    args: &[OsString],
    profile: CodeProfile,
    wasm: &[u8],
    limits: &LoadLimits,
) -> Result<Artifact, LoadError> {
    let io = |what| move |error: io::Error| LoadError::io(what, &error);
    let deadline = Instant::now() + limits.compile_deadline;
    let mut request = tempfile::tempfile().map_err(io("create a file for the compiler"))?;
    let mut answer = tempfile::tempfile().map_err(io("create a file for the compiler"))?;
    Order::new(profile, limits)
        .write(&mut request)
        .and_then(|()| request.write_all(wasm))
        .and_then(|()| request.rewind())
        .map_err(io("write the component for the compiler"))?;
    let stdout = answer.try_clone().map_err(io("share a file"))?;
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env("RAYON_NUM_THREADS", CHILD_THREADS.to_string())
        .stdin(request)
        .stdout(stdout)
        .stderr(Stdio::null())
        .spawn()
        .map_err(io("start the compiler process"))?;
    let status = wait_until(&mut child, deadline)
        .map_err(io("wait for the compiler process"))?
        .ok_or(LoadError::CompileTimeout {
            deadline: limits.compile_deadline,
        })?;
    if !status.success() {
        return Err(died(status, limits));
    }
    answer
        .rewind()
        .and_then(|()| read_answer(&mut answer))
        .map_err(io("read the compiler's answer"))?
}

/// Waits for the child, and kills it at the deadline (`None`).
fn wait_until(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let mut pause = POLL.0;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(POLL.1);
    }
}

/// What a compiler that gave no answer died of. Rust programs abort when memory or stack runs out.
fn died(status: ExitStatus, limits: &LoadLimits) -> LoadError {
    const SIGABRT: i32 = 6;
    const SIGKILL: i32 = 9;
    const SIGSEGV: i32 = 11;
    const SIGXCPU: i32 = 24;
    match status.signal() {
        Some(SIGABRT | SIGSEGV | SIGKILL) => LoadError::CompileMemory {
            limit_bytes: limits.compile_memory_bytes,
        },
        Some(SIGXCPU) => LoadError::CompileTimeout {
            deadline: limits.compile_deadline,
        },
        _ => LoadError::Compiler(format!("its process ended with {status}")),
    }
}

fn read_answer(answer: &mut File) -> io::Result<Result<Artifact, LoadError>> {
    let mut tag = [0];
    answer.read_exact(&mut tag)?;
    let mut rest = Vec::new();
    answer.take(MAX_ARTIFACT_BYTES).read_to_end(&mut rest)?;
    Ok(match tag {
        [ANSWER_ARTIFACT] => Ok(Artifact::trusted(rest)),
        [ANSWER_INVALID] => Err(LoadError::Invalid(
            String::from_utf8_lossy(&rest).into_owned(),
        )),
        _ => Err(LoadError::Compiler(
            "its answer is not one; is it the same version of this program?".to_owned(),
        )),
    })
}

const ANSWER_ARTIFACT: u8 = b'A';
const ANSWER_INVALID: u8 = b'I';

/// What a child is asked to do, before the component itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    profile: CodeProfile,
    memory_bytes: u64,
    cpu_seconds: u64,
}

/// Begins an order. The last byte is the version of its layout.
const ORDER_MAGIC: &[u8; 8] = b"wwcell\0\x01";

impl Order {
    fn new(profile: CodeProfile, limits: &LoadLimits) -> Self {
        let seconds = limits.compile_deadline.as_secs() + 1;
        Self {
            profile,
            memory_bytes: limits.compile_memory_bytes,
            cpu_seconds: seconds.saturating_mul(u64::from(CHILD_THREADS)),
        }
    }

    fn write(self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(ORDER_MAGIC)?;
        out.write_all(&[
            u8::from(self.profile.metered),
            u8::from(self.profile.wasm_debug),
            u8::from(self.profile.reserved_memory),
        ])?;
        out.write_all(&self.memory_bytes.to_le_bytes())?;
        out.write_all(&self.cpu_seconds.to_le_bytes())
    }

    fn read(input: &mut impl Read) -> io::Result<Self> {
        let mut magic = [0; 8];
        input.read_exact(&mut magic)?;
        if magic != *ORDER_MAGIC {
            return Err(io::Error::other("this is not an order to compile"));
        }
        let mut flags = [0; 3];
        let mut numbers = [[0; 8]; 2];
        input.read_exact(&mut flags)?;
        for number in &mut numbers {
            input.read_exact(number)?;
        }
        let [metered, wasm_debug, reserved_memory] = flags.map(|flag| flag != 0);
        let [memory_bytes, cpu_seconds] = numbers.map(u64::from_le_bytes);
        Ok(Self {
            profile: CodeProfile {
                metered,
                wasm_debug,
                reserved_memory,
            },
            memory_bytes,
            cpu_seconds,
        })
    }

    fn restrict_this_process(self) -> io::Result<()> {
        let limit = |resource, bound| {
            let bound = Some(bound);
            setrlimit(
                resource,
                Rlimit {
                    current: bound,
                    maximum: bound,
                },
            )
        };
        limit(Resource::As, self.memory_bytes)?;
        limit(Resource::Cpu, self.cpu_seconds)?;
        limit(Resource::Fsize, MAX_ARTIFACT_BYTES)?;
        limit(Resource::Core, 0)?;
        Ok(())
    }
}

/// The whole life of a compiler process: takes an order and a component from the standard input and
/// leaves the machine code on the standard output, within limits that it sets for itself. The host
/// program calls it, and nothing else, when it was started as [`Compiler::Process`] says.
pub fn compile_main() -> ExitCode {
    match serve_order() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Its parent does not listen; this is for whoever starts it by hand.
            eprintln!("this command compiles components for its parent process: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve_order() -> io::Result<()> {
    // The deadline is the parent's to keep, so nobody would stop this process once the parent has gone.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let mut input = io::stdin().lock();
    let order = Order::read(&mut input)?;
    order.restrict_this_process()?;
    let mut wasm = Vec::new();
    input.read_to_end(&mut wasm)?;
    let engine = wasmtime::Engine::new(&order.profile.config()).map_err(io::Error::other)?;
    let (tag, answer) = match precompile(&engine, &wasm) {
        Ok(artifact) => (ANSWER_ARTIFACT, artifact),
        Err(LoadError::Invalid(reason)) => (ANSWER_INVALID, reason.into_bytes()),
        Err(other) => (ANSWER_INVALID, other.to_string().into_bytes()),
    };
    let mut output = io::stdout().lock();
    output.write_all(&[tag])?;
    output.write_all(&answer)?;
    output.flush()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_order_arrives_as_it_was_given() {
        let order = Order {
            profile: CodeProfile {
                metered: true,
                wasm_debug: false,
                reserved_memory: true,
            },
            memory_bytes: 7,
            cpu_seconds: 9,
        };
        let mut bytes = Vec::new();
        order.write(&mut bytes).unwrap();
        assert_eq!(Order::read(&mut bytes.as_slice()).unwrap(), order);
        assert!(Order::read(&mut b"not an order at all, is it?".as_slice()).is_err());
    }
}
