//! Who may be at work in a store: any number of writers, or one collector of garbage.
//!
//! A block is of use only when something pinned leads to it, and that is written last. Whoever writes a
//! graph therefore holds a shared lock from its first block to its pin, and the collector an exclusive
//! one, so that it sees graphs that are pinned or garbage and nothing between. The lock is `flock` on a
//! file in the store: the system lets go of it when its holder dies, however it dies.
//!
//! Writers go first. One that has to wait holds a second lock, shared, while it does, and no collector begins while
//! anybody holds that: between two collections all who waited get in, however many collectors there are. The removal
//! of one block costs as much marking as a collection and may be asked for in a loop, so there is one at a time in
//! a process, with a pause after it.
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

/// How many times as long as the last removal took, none may begin after it. Writers have at least four fifths of the
/// time then, whatever is asked for; who removes one block now and then does not notice.
const PAUSE_FACTOR: u32 = 4;

/// The lock of one store, shared by all who opened it in this process.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    /// The file that writers hold, shared, while they wait.
    waiting: PathBuf,
    /// Device and number of the file: two ways to write its path are one lock.
    identity: (u64, u64),
    shared: Mutex<Shared>,
    turns: Mutex<Turns>,
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

/// While this lives, nobody writes, and nobody else in this process removes a block; nor for a while after.
#[derive(Debug)]
pub(crate) struct Removing<'a> {
    lock: &'a Lock,
    /// `None` while it is waited for.
    alone: Option<Collecting>,
    since: Instant,
}

/// Whose turn it is to remove a block.
#[derive(Debug, Default)]
struct Turns {
    is_taken: bool,
    not_before: Option<Instant>,
}

impl Turns {
    /// Takes the turn if nobody has it and the pause is over.
    fn begin(&mut self, now: Instant) -> bool {
        if self.is_taken || self.not_before.is_some_and(|at| now < at) {
            return false;
        }
        self.is_taken = true;
        true
    }

    /// Gives it back, after writers were kept out for `held`.
    fn end(&mut self, now: Instant, held: Duration) {
        self.is_taken = false;
        self.not_before = now.checked_add(held.saturating_mul(PAUSE_FACTOR));
    }
}

impl Lock {
    pub(crate) fn open(path: PathBuf) -> Result<Self, ContentError> {
        let file = open(&path)?;
        let found = file
            .metadata()
            .map_err(ContentError::io(&path, "opening the lock of the store"))?;
        Ok(Self {
            waiting: path.with_extension("waiting"),
            path,
            identity: (found.dev(), found.ino()),
            shared: Mutex::new(Shared { file, writers: 0 }),
            turns: Mutex::default(),
        })
    }

    /// Errors: [`ContentError::StoreCollecting`] after [`WRITER_PATIENCE`].
    pub(crate) fn write(self: &Arc<Self>) -> Result<Writing, ContentError> {
        if let Some(writing) = self.try_write()? {
            return Ok(writing);
        }
        // Let go of when this returns.
        let intent = open(&self.waiting)?;
        let mut is_told = false;
        let busy = || ContentError::StoreCollecting;
        patiently(WRITER_PATIENCE, busy, || {
            // A collector that is just looking has it for a moment.
            is_told = is_told || taken(&self.waiting, intent.try_lock_shared())?;
            self.try_write()
        })
    }

    fn try_write(self: &Arc<Self>) -> Result<Option<Writing>, ContentError> {
        let mut shared = self.shared();
        if shared.writers == 0 && !taken(&self.path, shared.file.try_lock_shared())? {
            return Ok(None);
        }
        shared.writers = shared.writers.saturating_add(1);
        let lock = Arc::clone(self);
        Ok(Some(Writing { lock }))
    }

    /// Errors: [`ContentError::StoreBusy`] after `patience`.
    pub(crate) fn collect(&self, patience: Duration) -> Result<Collecting, ContentError> {
        // Files opened anew are another holder, also than the writers of this process.
        let (intent, file) = (open(&self.waiting)?, open(&self.path)?);
        let busy = || ContentError::StoreBusy;
        patiently(patience, busy, || {
            if !taken(&self.waiting, intent.try_lock())? {
                return Ok(None);
            }
            let is_alone = taken(&self.path, file.try_lock());
            // Whoever comes from now on may say so.
            let failed = ContentError::io(&self.waiting, "unlocking the store");
            intent.unlock().map_err(failed)?;
            Ok(is_alone?.then_some(()))
        })?;
        Ok(Collecting { _file: file })
    }

    /// As [`Lock::collect`], for the removal of one block: one at a time in this process, and not soon after another.
    pub(crate) fn remove(&self, patience: Duration) -> Result<Removing<'_>, ContentError> {
        let start = Instant::now();
        let busy = || ContentError::StoreBusy;
        patiently(patience, busy, || {
            Ok(self.turns().begin(Instant::now()).then_some(()))
        })?;
        let mut removing = Removing {
            lock: self,
            alone: None,
            since: Instant::now(),
        };
        removing.alone = Some(self.collect(patience.saturating_sub(start.elapsed()))?);
        removing.since = Instant::now();
        Ok(removing)
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Drop for Removing<'_> {
    fn drop(&mut self) {
        let held = match self.alone.take() {
            Some(_) => self.since.elapsed(),
            // It did not come to keeping anybody out.
            None => Duration::ZERO,
        };
        self.lock.turns().end(Instant::now(), held);
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
    #[test]
    fn a_writer_that_waits_says_so_and_no_collector_begins_before_it() {
        let scratch = tempfile::tempdir().unwrap();
        let lock = Arc::new(Lock::open(scratch.path().join("lock")).unwrap());
        let collecting = lock.collect(Duration::ZERO).unwrap();
        thread::scope(|scope| {
            let writer = scope.spawn(|| lock.write().map(drop));
            let intent = open(&lock.waiting).unwrap();
            while intent.try_lock().is_ok() {
                intent.unlock().unwrap();
                thread::sleep(LOOK_AGAIN);
            }
            drop(collecting);
            writer.join().unwrap().unwrap();
        });
        // Another process's writer, which has not seen yet that the lock is free.
        let other = open(&lock.waiting).unwrap();
        other.try_lock_shared().unwrap();
        for refused in [
            lock.collect(Duration::ZERO).map(drop),
            lock.remove(Duration::ZERO).map(drop),
        ] {
            assert!(matches!(refused, Err(ContentError::StoreBusy)));
        }
        drop(lock.write().unwrap());
        drop(other);
        drop(lock.collect(Duration::ZERO).unwrap());
        // What was refused has left the turn to the next.
        drop(lock.remove(Duration::ZERO).unwrap());
    }

    #[test]
    fn removals_come_one_at_a_time_with_a_pause_for_writers() {
        let mut turns = Turns::default();
        let (start, held) = (Instant::now(), Duration::from_millis(100));
        assert!(turns.begin(start));
        assert!(!turns.begin(start + 100 * held));
        let end = start + held;
        turns.end(end, held);
        assert!(!turns.begin(end + held));
        assert!(turns.begin(end + held * PAUSE_FACTOR));

        let scratch = tempfile::tempdir().unwrap();
        let lock = Lock::open(scratch.path().join("lock")).unwrap();
        let _removing = lock.remove(Duration::ZERO).unwrap();
        assert!(lock.turns().is_taken);
    }
}
