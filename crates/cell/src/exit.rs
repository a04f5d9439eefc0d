//! How a cell ended.

use crate::control::{Killed, Shared};
use crate::host;
use crate::limits::Limits;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;
use wasmtime::component::ResourceTableError;
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// How a cell ended. `Display` is a sentence for a person; [`code`](Self::code) is what a process
/// that stands for the cell exits with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The guest ended by itself, with this code. An error from its `run` is 1.
    Exited(u8),
    /// The guest did something that no program may go on after.
    Trapped {
        /// What it was.
        message: String,
        /// Where: a line for each WebAssembly function, innermost first. May be empty.
        backtrace: String,
    },
    /// Somebody killed it, or dropped it.
    Killed,
    /// The authority that it ran under was taken back.
    Revoked {
        /// Why, in the words of whoever did that.
        reason: String,
    },
    /// It died of a refused growth of its memory.
    OutOfMemory {
        /// The bound that it met: [`Limits::memory_bytes`], or
        /// [`Allotment::memory_bytes`](crate::Allotment::memory_bytes) of its budget or of one above.
        limit_bytes: u64,
    },
    /// It used up its fuel.
    OutOfFuel {
        /// The bound that it met: [`Limits::fuel`], or what its [`Budget`](crate::Budget) began with.
        budget: u64,
    },
    /// It ran for longer than it may.
    OutOfTime {
        /// The bound that it met: [`Limits::wall_time`], or
        /// [`Allotment::wall_time`](crate::Allotment::wall_time) of its budget or of one above.
        limit: Duration,
    },
    /// It holds more resources than it may.
    OutOfHandles {
        /// [`Limits::handles`].
        limit: usize,
    },
    /// It never began: the component could not be instantiated.
    Failed {
        /// Why.
        message: String,
    },
}

impl Exit {
    /// The exit code to report for this end, after the customs of shells: the guest's own code, or
    /// 128 plus the number of the signal that would have been sent (134 SIGABRT for a trap, 137
    /// SIGKILL for a kill and for running out of memory or handles, 152 SIGXCPU for fuel, 129 SIGHUP for
    /// authority that was taken back, as when a session is over), 124 for time as `timeout` has it, 126 for
    /// what could not be started.
    pub fn code(&self) -> u8 {
        match self {
            Exit::Exited(code) => *code,
            Exit::Trapped { .. } => 134,
            Exit::Killed | Exit::OutOfMemory { .. } | Exit::OutOfHandles { .. } => 137,
            Exit::OutOfFuel { .. } => 152,
            Exit::Revoked { .. } => 129,
            Exit::OutOfTime { .. } => 124,
            Exit::Failed { .. } => 126,
        }
    }

    /// Tells how a guest ended from the error that its call gave. `fuel` is the bound on its fuel, and
    /// `began` says whether it was instantiated.
    pub(crate) fn from_error(
        error: &wasmtime::Error,
        limits: &Limits,
        shared: &Shared,
        fuel: u64,
        began: bool,
    ) -> Self {
        let growth_refused = shared.growth_refused.load(Ordering::Relaxed);
        if let Some(I32Exit(code)) = error.downcast_ref() {
            return Exit::Exited(u8::try_from(*code).unwrap_or(1));
        }
        if let Some(Killed) = error.downcast_ref() {
            return shared.verdict();
        }
        let out_of_memory = Exit::OutOfMemory {
            limit_bytes: shared.growth_limit.load(Ordering::Relaxed),
        };
        let trap = error.downcast_ref::<Trap>();
        match trap {
            Some(Trap::OutOfFuel) => {
                return Exit::OutOfFuel { budget: fuel };
            }
            // How programs die of a failed allocation: they abort, or use address −1.
            Some(Trap::UnreachableCodeReached | Trap::MemoryOutOfBounds) if growth_refused => {
                return out_of_memory;
            }
            _ => {}
        }
        if let Some(ResourceTableError::Full) = error.downcast_ref() {
            return Exit::OutOfHandles {
                limit: limits.handles,
            };
        }
        let backtrace = error.downcast_ref::<WasmBacktrace>();
        let never_began = !began && trap.is_none() && backtrace.is_none();
        match trap {
            _ if never_began && growth_refused => out_of_memory,
            _ if never_began => Exit::Failed {
                message: printable(&format!("{error:#}")),
            },
            _ => Exit::Trapped {
                message: match trap {
                    Some(Trap::StackOverflow) => {
                        "stack overflow: the call stack is exhausted".to_owned()
                    }
                    Some(Trap::MemoryOutOfBounds) if is_below_zero(error) => {
                        "out of bounds memory access just below address zero, which is where a \
                         stack overflow ends"
                            .to_owned()
                    }
                    _ if is_overlong_call(error) => format!(
                        "it passed its host more than {} bytes in one call",
                        host::hostcall_bytes(limits)
                    ),
                    _ => printable(&error.root_cause().to_string()),
                },
                backtrace: backtrace.map(render).unwrap_or_default(),
            },
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Exited(code) => write!(f, "exited with code {code}"),
            Exit::Trapped { message, .. } => write!(f, "trapped: {message}"),
            Exit::Killed => write!(f, "killed"),
            Exit::Revoked { reason } => write!(f, "revoked: {reason}"),
            Exit::OutOfMemory { limit_bytes } => {
                write!(f, "out of memory: it may use {limit_bytes} bytes")
            }
            Exit::OutOfFuel { budget } => {
                write!(f, "out of fuel: its budget was {budget} instructions")
            }
            Exit::OutOfTime { limit } => write!(f, "out of time: it may run for {limit:?}"),
            Exit::OutOfHandles { limit } => {
                write!(f, "out of handles: it may hold {limit} resources")
            }
            Exit::Failed { message } => write!(f, "could not start: {message}"),
        }
    }
}

/// Whether the guest passed more in one call than the host takes. Wasmtime has no type for this error; its
/// words decide about the wording here and about nothing else.
fn is_overlong_call(error: &wasmtime::Error) -> bool {
    error
        .root_cause()
        .to_string()
        .contains("fuel allocated for hostcalls has been exhausted")
}

/// Whether a memory fault was at a small negative address. Compilers keep their own stack, for what
/// has an address, at the bottom of the memory, so that is what its overflow looks like. Wasmtime
/// tells the address in words only; they decide about the wording here and about nothing else.
fn is_below_zero(error: &wasmtime::Error) -> bool {
    const MARGIN: u64 = 1 << 20;
    const ZERO: u64 = 1 << 32;
    error
        .chain()
        .filter_map(|cause| {
            let text = cause.to_string();
            let (_, rest) = text.split_once("wasm address 0x")?;
            let (digits, _) = rest.split_once(' ')?;
            u64::from_str_radix(digits, 16).ok()
        })
        .any(|address| (ZERO - MARGIN..ZERO + MARGIN).contains(&address))
}

/// Names and messages come from the component: they are cut here, so that nobody's log is flooded.
const MAX_TEXT_CHARS: usize = 400;

/// The text without control characters, which could otherwise drive a terminal, and not too long.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_TEXT_CHARS)
        .collect()
}

fn render(backtrace: &WasmBacktrace) -> String {
    let mut out = String::new();
    for (depth, frame) in backtrace.frames().iter().enumerate() {
        let module = frame.module().name().unwrap_or("?");
        let mut line = |name: &str, place: String| {
            out.push_str(&printable(&format!("{depth:>3}: {module}!{name}{place}")));
            out.push('\n');
        };
        let raw = frame.func_name().map_or_else(
            || format!("<function {}>", frame.func_index()),
            str::to_owned,
        );
        if frame.symbols().is_empty() {
            let place = frame
                .module_offset()
                .map(|offset| format!(" (+{offset:#x})"))
                .unwrap_or_default();
            line(&raw, place);
        }
        for symbol in frame.symbols() {
            let place = match (symbol.file(), symbol.line()) {
                (Some(file), Some(row)) => format!(" at {file}:{row}"),
                (Some(file), None) => format!(" at {file}"),
                _ => String::new(),
            };
            line(symbol.name().unwrap_or(&raw), place);
        }
    }
    out
}
