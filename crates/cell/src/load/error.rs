//! Why a component was not loaded.

use std::fmt;
use std::io;
use std::time::Duration;
use thiserror::Error;

/// Why a component was not loaded. Each says what would help, where something would.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadError {
    /// The bytes are not WebAssembly.
    #[error("this is not a WebAssembly component: it does not begin with the bytes \\0asm")]
    NotWasm,
    /// The bytes are a core module.
    #[error(
        "this is a core WebAssembly module, not a component; build it for the target \
         wasm32-wasip2, or make a component of it with `wasm-tools component new`"
    )]
    CoreModule,
    /// The component is larger than is accepted.
    #[error("the component has {bytes} bytes; at most {limit} are accepted")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// [`LoadLimits::max_component_bytes`](crate::LoadLimits::max_component_bytes).
        limit: usize,
    },
    /// The bytes are not a valid component.
    #[error("the component is not valid: {0}")]
    Invalid(String),
    /// The component imports what this host does not provide.
    #[error("the component imports what cells do not have: {}", list(.0))]
    UnknownImports(Vec<UnknownImport>),
    /// The component has nothing to run.
    #[error(
        "the component does not export wasi:cli/run, so there is nothing to run; a program has a \
         `main`, a library (crate type cdylib) has none"
    )]
    NotACommand,
    /// It takes the compiler too long.
    #[error("the component was not compiled within {deadline:?}")]
    CompileTimeout {
        /// [`LoadLimits::compile_deadline`](crate::LoadLimits::compile_deadline).
        deadline: Duration,
    },
    /// It takes the compiler too much memory, or too deep a stack.
    #[error("compiling the component takes more than {limit_bytes} bytes of memory")]
    CompileMemory {
        /// [`LoadLimits::compile_memory_bytes`](crate::LoadLimits::compile_memory_bytes).
        limit_bytes: u64,
    },
    /// The compiler itself failed.
    #[error("the compiler failed: {0}")]
    Compiler(String),
    /// Too many components wait to be loaded. Later it may work.
    #[error("too many components are being loaded; try again later")]
    Overloaded,
    /// The system refused something.
    #[error("could not {action}: {reason}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        reason: String,
    },
}

impl LoadError {
    pub(crate) fn io(action: &'static str, error: &io::Error) -> Self {
        LoadError::Io {
            action,
            reason: error.to_string(),
        }
    }

    /// The compiler's words about the component, which may quote names in it: cut, on one line.
    pub(crate) fn invalid(error: &wasmtime::Error) -> Self {
        const MAX_CHARS: usize = 600;
        let text = format!("{error:#}");
        let text = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        LoadError::Invalid(text.take(MAX_CHARS).collect())
    }
}

/// An import that nothing satisfies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownImport {
    /// Its name, as the component has it.
    pub name: String,
    /// What would satisfy it.
    pub hint: &'static str,
}

impl fmt::Display for UnknownImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.hint)
    }
}

fn list(imports: &[UnknownImport]) -> String {
    const SHOWN: usize = 8;
    let mut text: Vec<_> = imports.iter().take(SHOWN).map(|i| i.to_string()).collect();
    if imports.len() > SHOWN {
        text.push(format!("and {} more", imports.len() - SHOWN));
    }
    text.join("; ")
}
