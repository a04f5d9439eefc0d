//! Precompiled code: the one place where this crate is `unsafe`.
//!
//! An [`Artifact`] is machine code that will run in this process, so everything depends on where it
//! comes from. It is made in two ways only: by the compiler (in this process, or in a child that is
//! our own program and got its input from us and answered through a file that nobody else can open),
//! and by reading an entry of the disk cache whose bytes hash to what was recorded when this program
//! wrote it, in a directory that only this user can enter. Neither a guest nor a peer has a way to
//! either. The hash guards against truncation and rot, not against the user's own other programs:
//! those can do as they please already.

use wasmtime::component::Component;

/// Precompiled code that came from our own compiler.
pub(crate) struct Artifact(Vec<u8>);

impl Artifact {
    /// For the compiler, and for the cache once it has verified an entry.
    pub(crate) fn trusted(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Its size, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The bytes, to be stored.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Maps the code.
    ///
    /// # Errors
    /// It was made for another version or another configuration of the engine.
    pub(crate) fn load(&self, engine: &wasmtime::Engine) -> wasmtime::Result<Component> {
        // SAFETY: the bytes are unchanged output of `Engine::precompile_component`, by the two ways
        // in which a value of this type is made. Output for another engine is told apart by Wasmtime.
        #[allow(unsafe_code)]
        unsafe {
            Component::deserialize(engine, &self.0)
        }
    }
}
