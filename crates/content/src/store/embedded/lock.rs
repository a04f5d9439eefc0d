//! Who may be at work in a store: any number of writers, or one collector of garbage.
//!
//! A block is of use only when something pinned leads to it, and that is written last. Whoever writes a
//! graph therefore holds a shared lock from its first block to its pin, and the collector an exclusive
//! one, so that it sees graphs that are pinned or garbage and nothing between. The lock is `flock` on a
//! file in the store: the system lets go of it when its holder dies, however it dies.
//!
//! Nobody waits for ever. A lock that does not come within a bound is refused by name.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::ContentError;

/// How long a writer waits for a collection to end. One goes over some ten thousand blocks a second, so
/// this is enough for stores of a hundred GiB.
const WRITER_PATIENCE: Duration = Duration::from_secs(60);

/// How often somebody who waits looks again. `flock` can wait by itself, but not for a bounded time. Short,
/// because whoever looks seldom finds the lock taken by those who come and go.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// The lock of one store, shared by all who opened it in this process.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    /// Device and number of the file: two ways to write its path are one lock.
    identity: (u64, u64),
    shared: Mutex<Shared>,
}

/// What this process holds. All its writers are one holder to the system.
#[derive(Debug)]
struct Shared {
    file: File,
    writers: usize,
}

/// While this lives, no process collects garbage in the store that it came from: what is written and
/// not yet pinned stays. Get it before the first block of a graph, pin with it, and drop it. It is cheap
/// to have while another is had in the same process.
#[derive(Debug)]
#[must_use = "what is written is only safe while this is held"]
pub struct Writing {
    lock: Arc<Lock>,
}

/// While this lives, nobody writes.
#[derive(Debug)]
pub(crate) struct Collecting {
    _file: File,
}

impl Lock {
    pub(crate) fn open(path: PathBuf) -> Result<Self, ContentError> {
        let file = open(&path)?;
        let found = file
            .metadata()
            .map_err(ContentError::io(&path, "opening the lock of the store"))?;
        Ok(Self {
            path,
            identity: (found.dev(), found.ino()),
            shared: Mutex::new(Shared { file, writers: 0 }),
        })
    }

    /// Errors: [`ContentError::StoreCollecting`] after [`WRITER_PATIENCE`].
    pub(crate) fn write(self: &Arc<Self>) -> Result<Writing, ContentError> {
        let busy = || ContentError::StoreCollecting;
        patiently(WRITER_PATIENCE, busy, || {
            let mut shared = self.shared();
            if shared.writers == 0 && !taken(&self.path, shared.file.try_lock_shared())? {
                return Ok(None);
            }
            shared.writers = shared.writers.saturating_add(1);
            let lock = Arc::clone(self);
            Ok(Some(Writing { lock }))
        })
    }

    /// Errors: [`ContentError::StoreBusy`] after `patience`.
    pub(crate) fn collect(&self, patience: Duration) -> Result<Collecting, ContentError> {
        // A file opened anew is another holder, also than the writers of this process.
        let file = exclusive(&self.path, patience, || ContentError::StoreBusy)?;
        Ok(Collecting { _file: file })
    }

    // A count and a file: no half of a change can be left behind.
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writing {
    /// Whether this came from the store that `lock` is of.
    pub(crate) fn is_of(&self, lock: &Lock) -> bool {
        self.lock.identity == lock.identity
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut shared = self.lock.shared();
        shared.writers = shared.writers.saturating_sub(1);
        if shared.writers == 0 {
            // It cannot fail on a file that is open, and if it did, nothing would be collected.
            let _ = shared.file.unlock();
        }
    }
}

/// The lock file at `path`, which nobody else holds until it is dropped. Errors: `busy` after `patience`.
pub(crate) fn exclusive(
    path: &Path,
    patience: Duration,
    busy: impl Fn() -> ContentError,
) -> Result<File, ContentError> {
    let file = open(path)?;
    patiently(patience, busy, || {
        taken(path, file.try_lock()).map(|taken| taken.then_some(()))
    })?;
    Ok(file)
}

fn taken(path: &Path, answer: Result<(), TryLockError>) -> Result<bool, ContentError> {
    match answer {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(ContentError::io(path, "locking the store")(error)),
    }
}

fn open(path: &Path) -> Result<File, ContentError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(ContentError::io(path, "opening the lock of the store"))
}

/// Asks again and again until there is an answer or `patience` is at its end.
fn patiently<T>(
    patience: Duration,
    busy: impl Fn() -> ContentError,
    mut ask: impl FnMut() -> Result<Option<T>, ContentError>,
) -> Result<T, ContentError> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if start.elapsed() >= patience {
            return Err(busy());
        }
        thread::sleep(LOOK_AGAIN);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn writers_share_and_a_collector_waits_for_the_last_of_them() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("lock");
        let lock = Arc::new(Lock::open(path.clone()).unwrap());
        let other = Arc::new(Lock::open(path).unwrap());
        let (one, two, three) = (
            lock.write().unwrap(),
            lock.write().unwrap(),
            other.write().unwrap(),
        );
        for held in [one, two, three] {
            for lock in [&lock, &other] {
                let refused = lock.collect(Duration::ZERO);
                assert!(matches!(refused, Err(ContentError::StoreBusy)));
            }
            drop(held);
        }
        let collecting = lock.collect(Duration::ZERO).unwrap();
        assert!(matches!(
            other.collect(Duration::ZERO),
            Err(ContentError::StoreBusy)
        ));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| other.write().map(drop));
            drop(collecting);
            waiting.join().unwrap().unwrap();
        });
    }
}
