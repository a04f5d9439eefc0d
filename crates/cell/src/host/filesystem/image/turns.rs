//! Reads that may block, on Tokio's blocking threads, so many of one cell at a time.

use std::io;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use wasmtime_wasi::runtime::AbortOnDropJoinHandle;

/// What one cell may have under way, however many streams it has. Each keeps a thread for as long as the
/// bytes take to come, and all cells share Tokio's 512.
const UNDER_WAY: usize = 8;

/// Where one cell takes its turns.
#[derive(Clone)]
pub(in super::super) struct Turns(Arc<Semaphore>);

/// Something under way. Dropped, it is forgotten unless it has begun; then it keeps its turn until it ends.
pub(super) type Underway<T> = AbortOnDropJoinHandle<io::Result<T>>;

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(UNDER_WAY)))
    }
}

impl Turns {
    /// Has `read` done when there is a turn for it.
    pub(super) fn start<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Underway<T> {
        let read = move |turn: OwnedSemaphorePermit| {
            let result = read();
            drop(turn);
            result
        };
        let turns = self.0.clone();
        let task = match turns.clone().try_acquire_owned() {
            Ok(turn) => spawn_blocking(move || read(turn)),
            Err(_) => tokio::spawn(async move {
                let turn = turns.acquire_owned().await.map_err(io::Error::other)?;
                let done = spawn_blocking(move || read(turn)).await;
                done.unwrap_or_else(|error| Err(io::Error::other(error)))
            }),
        };
        task.into()
    }
}
