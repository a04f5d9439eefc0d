//! The audit: one line of JSON for each grant, each use by method (counted), each refusal and each
//! revocation.
//!
//! Cells count on their vats; a thread of its own writes. What it cannot keep up with is counted and told, not
//! waited for: a cell must not be able to stop its neighbours by being refused often.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use schema::interfaces::MethodId;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::grants::{Who, listed};

/// How often uses are written while a cell runs.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Lines that wait to be written. A line has some hundred bytes.
const QUEUED_LINES: usize = 4096;

/// Methods that are counted apart for one cell. A guest can call what no interface has; the rest is
/// counted together.
const COUNTED_METHODS: usize = 1024;

/// Where events are told. Clones tell the same file.
#[derive(Clone)]
pub struct Audit {
    lines: mpsc::Sender<Line>,
    lost: Arc<AtomicU64>,
}

enum Line {
    Event(Value),
    End,
}

/// The thread that writes the file.
pub struct Writer {
    audit: Audit,
    thread: JoinHandle<io::Result<()>>,
}

impl Audit {
    /// Appends to this file, which is made, for its owner alone, if it is not there.
    ///
    /// # Errors
    /// When it cannot be opened, or a thread cannot be had.
    pub fn to_file(path: &Path) -> io::Result<(Self, Writer)> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = File::options()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let (lines, queue) = mpsc::channel(QUEUED_LINES);
        let audit = Self {
            lines,
            lost: Arc::default(),
        };
        let lost = audit.lost.clone();
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || write(file, queue, &lost))?;
        let writer = Writer {
            audit: audit.clone(),
            thread,
        };
        Ok((audit, writer))
    }

    /// A cell was granted something: these methods of it, or all.
    pub fn granted(&self, who: &Who, grant: &str, only: Option<&BTreeSet<MethodId>>) {
        let methods = match only {
            Some(only) => only.iter().map(MethodId::to_string).collect(),
            None => json!("all"),
        };
        self.tell(
            who,
            json!({ "event": "grant", "grant": grant, "methods": methods }),
        );
    }

    /// A cell's authority was taken back.
    pub fn revoked(&self, who: &Who, reason: &str) {
        self.tell(who, json!({ "event": "revocation", "reason": reason }));
    }

    fn tell(&self, who: &Who, mut event: Value) {
        if let Value::Object(fields) = &mut event {
            let now = humantime::format_rfc3339_millis(SystemTime::now());
            fields.insert("time".into(), now.to_string().into());
            fields.insert(who.kind.to_string(), who.number.into());
            fields.insert("program".into(), (&*who.name).into());
        }
        if self.lines.try_send(Line::Event(event)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(file: File, mut queue: mpsc::Receiver<Line>, lost: &AtomicU64) -> io::Result<()> {
    let mut file = BufWriter::new(file);
    let mut result = Ok(());
    while let Some(Line::Event(event)) = queue.blocking_recv() {
        let line = writeln!(file, "{event}");
        let lost = lost.swap(0, Ordering::Relaxed);
        let told = match lost {
            0 => Ok(()),
            _ => writeln!(file, "{}", json!({ "event": "lost", "lines": lost })),
        };
        // What is written can be read at once, unless more is there to be written with it.
        let flushed = if queue.is_empty() {
            file.flush()
        } else {
            Ok(())
        };
        if let Err(error) = line.and(told).and(flushed)
            && result.is_ok()
        {
            tracing::error!("the audit cannot be written: {error}");
            result = Err(error);
        }
    }
    result.and(file.flush())
}

impl Writer {
    /// Writes what waits, and ends.
    ///
    /// # Errors
    /// When something could not be written.
    pub async fn finish(self) -> io::Result<()> {
        // It fails if the thread has ended already.
        let _ = self.audit.lines.send(Line::End).await;
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        match joined {
            Ok(Ok(written)) => written,
            _ => Err(io::Error::other("the audit's thread came down")),
        }
    }
}

/// Counts what one cell does with its grants.
pub struct Tally {
    audit: Audit,
    who: Who,
    counts: RefCell<BTreeMap<Counted, Count>>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Counted {
    event: Event,
    /// `None` beyond [`COUNTED_METHODS`].
    what: Option<(Arc<str>, MethodId)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Use,
    Refusal,
    /// Making a narrowed capability.
    Attenuation,
    /// Of a capability that the cell has narrowed.
    Revocation,
}

#[derive(Default)]
struct Count {
    untold: u64,
    /// The first reason there was; for attenuations the first set of methods.
    reason: Option<String>,
}

impl Tally {
    /// A tally of this cell's uses.
    pub fn new(audit: Audit, who: Who) -> Self {
        Self {
            audit,
            who,
            counts: RefCell::default(),
        }
    }

    /// Counts one call, and the reason if it was refused.
    pub fn count(&self, grant: &Arc<str>, method: MethodId, refused: Option<&str>) {
        let event = match refused {
            Some(_) => Event::Refusal,
            None => Event::Use,
        };
        self.add(event, Some((grant.clone(), method)), refused);
    }

    /// Counts a capability that the cell has narrowed to these methods.
    pub fn count_attenuation(&self, only: &BTreeSet<MethodId>) {
        self.add(Event::Attenuation, None, Some(&listed(only)));
    }

    /// Counts a revocation of what the cell has narrowed. Its authority as a whole is another matter.
    pub fn count_revocation(&self, reason: &str) {
        self.add(Event::Revocation, None, Some(reason));
    }

    fn add(&self, event: Event, what: Option<(Arc<str>, MethodId)>, reason: Option<&str>) {
        let mut counts = self.counts.borrow_mut();
        let mut counted = Counted { event, what };
        if counts.len() >= COUNTED_METHODS && !counts.contains_key(&counted) {
            counted.what = None;
        }
        let count = counts.entry(counted).or_default();
        count.untold = count.untold.saturating_add(1);
        if count.reason.is_none() {
            count.reason = reason.map(str::to_owned);
        }
    }

    /// Writes what was counted since the last time.
    pub fn tell(&self) {
        for (counted, count) in &mut *self.counts.borrow_mut() {
            if count.untold == 0 {
                continue;
            }
            let (grant, method) = match &counted.what {
                Some((grant, method)) => (&**grant, method.to_string()),
                None => ("*", "others".into()),
            };
            let uses = std::mem::take(&mut count.untold);
            let event = match counted.event {
                Event::Use => {
                    json!({ "event": "use", "grant": grant, "method": method, "count": uses })
                }
                Event::Refusal => json!({
                    "event": "refusal", "grant": grant, "method": method, "count": uses,
                    "reason": count.reason,
                }),
                Event::Attenuation => json!({
                    "event": "attenuation", "count": uses, "first": count.reason,
                }),
                Event::Revocation => json!({
                    "event": "revocation of narrowed capabilities", "count": uses,
                    "reason": count.reason,
                }),
            };
            self.audit.tell(&self.who, event);
        }
    }
}
