//! Programs that are loaded, as an executor keeps them.
//!
//! A program's bytes are kept for as long as somebody holds the program: its name is made from them, when
//! somebody asks. To hold a capability costs its holder nothing, so the same program is kept once however
//! often it is loaded, and what all of them take together has a bound.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use bytes::Bytes;
use cell::{Charge, Digest};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

/// What the programs of one executor may take together, in bytes of their components: 256 MiB, four of
/// the largest, or some hundreds of the usual size.
pub const MAX_PROGRAM_BYTES: usize = 256 << 20;

/// The programs that somebody holds.
pub struct Shelf {
    programs: RefCell<HashMap<Digest, Weak<Loaded>>>,
    room: Arc<Semaphore>,
}

/// A program that is loaded.
pub struct Loaded {
    /// What runs.
    pub program: cell::Program,
    wasm: Bytes,
    /// Its name, once somebody has asked.
    cid: OnceCell<content::Cid>,
    _room: OwnedSemaphorePermit,
    _charge: Charge,
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            programs: RefCell::default(),
            room: Arc::new(Semaphore::new(MAX_PROGRAM_BYTES)),
        }
    }
}

impl Shelf {
    /// Keeps a program for as long as the result is held. `wasm` is what it was loaded from, and `charge` what
    /// that takes of the budget of whoever loaded it.
    ///
    /// # Errors
    /// `overloaded` when the programs take [`MAX_PROGRAM_BYTES`].
    pub fn keep(
        &self,
        program: cell::Program,
        wasm: Bytes,
        charge: Charge,
    ) -> capnp::Result<Rc<Loaded>> {
        let mut programs = self.programs.borrow_mut();
        let digest = program.digest();
        if let Some(kept) = programs.get(&digest).and_then(Weak::upgrade) {
            return Ok(kept);
        }
        let size = u32::try_from(wasm.len()).unwrap_or(u32::MAX);
        let room = self.room.clone().try_acquire_many_owned(size);
        let room = room.map_err(|_| {
            capnp::Error::overloaded(format!(
                "load: a program of {size} bytes; those that are held may take {MAX_PROGRAM_BYTES} together, \
                 release one first"
            ))
        })?;
        programs.retain(|_, kept| kept.strong_count() > 0);
        let loaded = Rc::new(Loaded {
            program,
            wasm,
            cid: OnceCell::new(),
            _room: room,
            _charge: charge,
        });
        programs.insert(digest, Rc::downgrade(&loaded));
        Ok(loaded)
    }
}

impl Loaded {
    /// The program's name: that of its component's bytes, as a UnixFS file.
    ///
    /// # Errors
    /// When it cannot be computed.
    pub async fn cid(&self) -> capnp::Result<&content::Cid> {
        self.cid
            .get_or_try_init(async || {
                let wasm = self.wasm.clone();
                tokio::task::spawn_blocking(move || content::import::cid_of_file(&wasm))
                    .await
                    .map_err(|error| capnp::Error::failed(error.to_string()))?
                    .map_err(|error| capnp::Error::failed(format!("cid: {error}")))
            })
            .await
    }
}
