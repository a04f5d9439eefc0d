//! What is published is resolved, and is never rolled back: not by records that others send, not by a crash, not by
//! another process, and not when it has expired.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::result_large_err
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use content::name::{
    Form, Key, Keys, MAX_HOLDER_NAMES, MAX_HOPS, MAX_NAMES, Name, NameError, Names, PublishOptions,
    Record, RecordSource, Records,
};
use content::{Block, Codec, ContentError, ContentPath, Repo};
use proptest::prelude::*;

const CONTENT: &str = "/ipfs/bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354";
const HOUR: Duration = Duration::from_secs(60 * 60);

fn names(path: &Path) -> Names {
    let keys = Keys::open(path.join("keys")).unwrap();
    Names::new(keys, Records::open(path.join("names")).unwrap())
}

fn scratch() -> (tempfile::TempDir, Names) {
    let scratch = tempfile::tempdir().unwrap();
    let names = names(scratch.path()).with_self(Key::from_secret(&[1; 32]));
    (scratch, names)
}

fn path(text: &str) -> ContentPath {
    text.parse().unwrap()
}

fn key(seed: u8) -> Key {
    Key::from_secret(&[seed; 32])
}

/// A record that holds for some hours from now, or has for some hours not held any more.
fn record(seed: u8, value: &str, sequence: u64, hours: i32, ttl: Duration) -> Record {
    let now = SystemTime::now();
    let span = HOUR * hours.unsigned_abs();
    let eol = match hours {
        0.. => now + span,
        _ => now - span,
    };
    Record::create(&key(seed), &path(value), sequence, eol, ttl, Form::Both).unwrap()
}

fn refused<T: std::fmt::Debug>(result: Result<T, ContentError>) -> NameError {
    match result {
        Err(ContentError::Name(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// Somebody who tells whatever they were told to.
#[derive(Default)]
struct Told {
    answers: Mutex<Vec<Vec<u8>>>,
    asked: AtomicUsize,
}

impl Told {
    fn tell(&self, record: &Record) {
        *self.answers.lock().unwrap() = vec![record.bytes().to_vec()];
    }
}

impl RecordSource for Told {
    fn record(&self, _name: &Name) -> Result<Option<Vec<u8>>, ContentError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.answers.lock().unwrap().last().cloned())
    }
}

/// Somebody who cannot be reached.
struct Away;

impl RecordSource for Away {
    fn record(&self, _name: &Name) -> Result<Option<Vec<u8>>, ContentError> {
        Err(ContentError::Read(std::io::ErrorKind::TimedOut.into()))
    }
}

#[test]
fn what_is_published_is_resolved_also_after_a_restart() {
    let (scratch, names) = scratch();
    let options = PublishOptions::default();
    let first = names.publish("", &path(CONTENT), &options).unwrap();
    assert_eq!(first.sequence(), 1);
    let below = format!("{CONTENT}/docs");
    let second = names.publish("self", &path(&below), &options).unwrap();
    assert_eq!(second.sequence(), 2);
    let again = self::names(scratch.path());
    let name = key(1).name();
    assert_eq!(again.resolve(&name).unwrap(), second);
    let asked = path(&format!("/ipns/{name}/a/b"));
    assert_eq!(
        again.resolve_path(&asked).unwrap().to_string(),
        format!("{below}/a/b")
    );
    let plain = path(CONTENT);
    assert_eq!(again.resolve_path(&plain).unwrap().to_string(), CONTENT);
}

#[test]
fn a_key_that_was_generated_publishes_and_one_that_was_not_does_not() {
    let (_scratch, names) = scratch();
    let made = names.keys().generate("blog").unwrap();
    let options = PublishOptions {
        form: Form::V2Only,
        ..PublishOptions::default()
    };
    let record = names.publish("blog", &path(CONTENT), &options).unwrap();
    assert_eq!(*record.name(), made.id);
    assert!(names.publish("other", &path(CONTENT), &options).is_err());
    let itself = path(&format!("/ipns/{}/x", made.id));
    let refused = refused(names.publish("blog", &itself, &options));
    assert!(matches!(refused, NameError::Loop { .. }));
    for lifetime in [Duration::MAX, Duration::from_secs(1 << 40)] {
        let options = PublishOptions {
            lifetime,
            ..options
        };
        let refused = self::refused(names.publish("blog", &path(CONTENT), &options));
        assert!(matches!(refused, NameError::TooLong { .. }));
    }
    // What was refused took no number.
    assert_eq!(names.resolve(&made.id).unwrap().sequence(), 1);
}

#[test]
fn of_two_records_the_higher_sequence_holds_and_then_the_later_end() {
    let (_scratch, names) = scratch();
    let name = key(2).name();
    let put = |record: &Record| names.put(&name, record.bytes());
    let short = record(2, CONTENT, 5, 1, HOUR);
    let long = record(2, &format!("{CONTENT}/long"), 5, 2, HOUR);
    assert_eq!(put(&short).unwrap(), short);
    assert_eq!(put(&long).unwrap(), long);
    assert_eq!(put(&short).unwrap(), long);
    let higher = record(2, CONTENT, 6, 1, HOUR);
    assert_eq!(put(&higher).unwrap(), higher);
    let why = refused(put(&long));
    assert!(
        matches!(
            why,
            NameError::RolledBack {
                sequence: 5,
                seen: 6,
                ..
            }
        ),
        "{why:?}"
    );
    assert_eq!(names.resolve(&name).unwrap(), higher);
}

#[test]
fn a_rollback_is_refused_after_a_restart_and_after_the_record_has_expired() {
    let (scratch, names) = scratch();
    let name = key(2).name();
    // The newer one has expired, the older one holds for days.
    let expired = record(2, CONTENT, 9, -1, HOUR);
    let why = refused(names.put(&name, expired.bytes()));
    assert!(matches!(why, NameError::Expired { .. }));
    drop(names);
    let names = self::names(scratch.path());
    let old = record(2, CONTENT, 8, 100, HOUR);
    let why = refused(names.put(&name, old.bytes()));
    assert!(matches!(
        why,
        NameError::RolledBack {
            sequence: 8,
            seen: 9,
            ..
        }
    ));
    assert!(matches!(
        refused(names.resolve(&name)),
        NameError::Expired { .. }
    ));
    // Also when the publisher has forgotten everything else.
    let source = Arc::new(Told::default());
    source.tell(&old);
    let names = names.with_sources(vec![source]);
    assert!(matches!(
        refused(names.resolve(&name)),
        NameError::RolledBack { .. }
    ));
}

#[test]
fn the_sequence_of_what_is_published_is_beyond_all_that_was_seen_of_the_name() {
    let (_scratch, names) = scratch();
    let elsewhere = record(1, CONTENT, 41, 1, HOUR);
    names.put(&key(1).name(), elsewhere.bytes()).unwrap();
    let publish = || names.publish("self", &path(CONTENT), &PublishOptions::default());
    assert_eq!(publish().unwrap().sequence(), 42);
    let last = record(1, CONTENT, content::name::MAX_SEQUENCE, 1, HOUR);
    names.put(&key(1).name(), last.bytes()).unwrap();
    assert!(matches!(
        refused(publish()),
        NameError::SequenceExhausted { .. }
    ));
}

#[test]
fn processes_that_publish_at_once_never_get_one_sequence_twice() {
    const EACH: usize = 8;
    let (scratch, _names) = scratch();
    let sequences = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let names = names(scratch.path()).with_self(key(1));
                    let publish = || names.publish("", &path(CONTENT), &PublishOptions::default());
                    [(); EACH].map(|()| publish().unwrap().sequence())
                })
            })
            .collect();
        let sequences = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap());
        sequences.collect::<BTreeSet<_>>()
    });
    assert_eq!(sequences, (1..=4 * EACH as u64).collect());
}

#[test]
fn what_a_crash_left_half_written_is_neither_read_nor_kept() {
    let (scratch, names) = scratch();
    let kept = names
        .publish("", &path(CONTENT), &PublishOptions::default())
        .unwrap();
    let half = scratch.path().join("names/.incomplete-x");
    fs::write(&half, &kept.bytes()[..10]).unwrap();
    let again = self::names(scratch.path()).with_self(key(1));
    assert!(!half.exists());
    let next = again
        .publish("", &path(CONTENT), &PublishOptions::default())
        .unwrap();
    assert_eq!(next.sequence(), 2);
}

#[test]
fn a_record_that_went_bad_on_disk_is_no_licence_to_start_again() {
    let (scratch, names) = scratch();
    let name = key(1).name();
    let kept = names
        .publish("", &path(CONTENT), &PublishOptions::default())
        .unwrap();
    let file = scratch.path().join("names").join(name.to_string());
    let other = record(2, CONTENT, 1, 1, HOUR);
    for bad in [&b""[..], b"nonsense", other.bytes(), &[0; 20_000]] {
        fs::write(&file, bad).unwrap();
        for result in [
            names.publish("", &path(CONTENT), &PublishOptions::default()),
            names.put(&name, kept.bytes()),
            names.resolve(&name),
        ] {
            assert!(matches!(refused(result), NameError::RecordCorrupt { .. }));
        }
    }
}

#[test]
fn sources_are_asked_when_the_record_may_be_old_and_none_is_believed() {
    let (_scratch, names) = scratch();
    let name = key(2).name();
    let (liar, source) = (Arc::new(Told::default()), Arc::new(Told::default()));
    let names = names.with_sources(vec![Arc::new(Away), liar.clone(), source.clone()]);

    // Nobody knows it; somebody could not be reached, which is the only thing that is known to be wrong.
    assert!(matches!(names.resolve(&name), Err(ContentError::Read(_))));
    *liar.answers.lock().unwrap() = vec![record(3, CONTENT, 99, 5, HOUR).bytes().to_vec()];
    let first = record(2, CONTENT, 1, 1, HOUR);
    source.tell(&first);
    assert_eq!(names.resolve(&name).unwrap(), first);

    // It says that an hour may pass.
    let asked = source.asked.load(Ordering::Relaxed);
    source.tell(&record(2, CONTENT, 2, 1, Duration::ZERO));
    assert_eq!(names.resolve(&name).unwrap(), first);
    assert_eq!(source.asked.load(Ordering::Relaxed), asked);

    // This one says that nobody may wait at all.
    let second = record(2, CONTENT, 2, 1, Duration::ZERO);
    names.put(&name, second.bytes()).unwrap();
    let third = record(2, CONTENT, 3, 1, Duration::ZERO);
    source.tell(&third);
    assert_eq!(names.resolve(&name).unwrap(), third);
    // An old answer, and none, change nothing.
    source.tell(&first);
    assert_eq!(names.resolve(&name).unwrap(), third);
    source.answers.lock().unwrap().clear();
    assert_eq!(names.resolve(&name).unwrap(), third);
    // A newer one that does not hold any more ends what we have.
    source.tell(&record(2, CONTENT, 4, -1, HOUR));
    assert!(names.resolve(&name).is_err());
}

#[test]
fn names_that_stand_for_names_are_followed_so_far_and_loops_are_refused() {
    let (_scratch, names) = scratch();
    let value = |seed: u8| format!("/ipns/{}/n", key(seed).name());
    let put = |seed: u8, value: &str| {
        let record = record(seed, value, 1, 1, HOUR);
        names.put(&key(seed).name(), record.bytes()).unwrap();
    };
    let hops = u8::try_from(MAX_HOPS).unwrap();
    // The first of these stands for the second, and so on, and the last for content.
    for seed in 1..=hops {
        put(seed, &value(seed + 1));
    }
    put(hops + 1, CONTENT);
    let resolve = |text: &str| names.resolve_path(&path(text));
    let tail = "/n".repeat(MAX_HOPS);
    assert_eq!(
        resolve(&value(2)).unwrap().to_string(),
        format!("{CONTENT}{tail}")
    );
    assert!(matches!(
        refused(resolve(&value(1))),
        NameError::TooManyHops { .. }
    ));
    // Each adds a name, and a path has so many.
    let deep = format!("{}{}", value(2), "/n".repeat(40));
    assert!(matches!(
        resolve(&deep),
        Err(ContentError::PathInvalid { .. })
    ));

    for (seed, to) in [(101, 102), (102, 103), (103, 101), (104, 104)] {
        put(seed, &value(to));
    }
    for seed in 101..=104 {
        assert!(matches!(
            refused(resolve(&value(seed))),
            NameError::Loop { .. }
        ));
    }
    let dead_end = format!("/ipns/{}", key(200).name());
    assert!(matches!(
        refused(resolve(&dead_end)),
        NameError::NotFound { .. }
    ));
}

#[test]
fn strangers_cannot_use_up_the_room_for_our_own_names() {
    let (scratch, names) = scratch();
    for number in 0..MAX_NAMES {
        fs::write(scratch.path().join("names").join(number.to_string()), "").unwrap();
    }
    let stranger = record(2, CONTENT, 1, 1, HOUR);
    let refused = refused(names.put(&key(2).name(), stranger.bytes()));
    assert!(matches!(refused, NameError::TooManyNames { .. }));
    names
        .publish("", &path(CONTENT), &PublishOptions::default())
        .unwrap();
    let next = record(1, CONTENT, 7, 1, HOUR);
    names.put(&key(1).name(), next.bytes()).unwrap();
}

#[test]
fn who_has_a_capability_cannot_use_up_the_room_for_the_names_of_others() {
    let (scratch, names) = scratch();
    for number in 0..MAX_HOLDER_NAMES {
        fs::write(scratch.path().join("names").join(number.to_string()), "").unwrap();
    }
    let told = Arc::new(Told::default());
    let names = names.with_sources(vec![told.clone()]);
    let holder = names.clone().for_holder();
    let stranger = record(2, CONTENT, 1, 1, HOUR);
    told.tell(&stranger);
    for refused in [
        refused(holder.put(&key(2).name(), stranger.bytes())),
        refused(holder.resolve(&key(2).name())),
    ] {
        let limit = MAX_HOLDER_NAMES;
        assert!(matches!(refused, NameError::TooManyNames { limit: at, .. } if at == limit));
    }
    names.resolve(&key(2).name()).unwrap();
    // What is known already may change.
    let next = record(2, CONTENT, 2, 1, HOUR);
    holder.put(&key(2).name(), next.bytes()).unwrap();
}

#[test]
fn records_are_for_the_owner_alone() {
    let (scratch, names) = scratch();
    let record = names
        .publish("", &path(CONTENT), &PublishOptions::default())
        .unwrap();
    let directory = scratch.path().join("names");
    for (path, mode) in [
        (directory.join(record.name().to_string()), 0o600),
        (directory, 0o700),
    ] {
        let found = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{path:?}");
    }
}

#[test]
fn a_repository_reads_by_names() {
    let scratch = tempfile::tempdir().unwrap();
    let open = || Repo::open(&scratch.path().join("repo"), Vec::new(), |_| {}).unwrap();
    let repo = open().with_self_key(&[1; 32]);
    let block = Block::new(Codec::Raw, &b"hello"[..]).unwrap();
    repo.put_block(&block, None).unwrap();
    let target = format!("/ipfs/{}", block.cid());
    let record = repo
        .publish("", &target, &PublishOptions::default())
        .unwrap();
    let by_name = format!("/ipns/{}", record.name());

    let other = open();
    assert_eq!(other.resolve_path(&by_name).unwrap().to_string(), target);
    assert_eq!(other.resolve(&by_name).unwrap(), *block.cid());
    assert_eq!(other.block(&by_name).unwrap(), block);
    assert_eq!(
        other.resolve(&block.cid().to_string()).unwrap(),
        *block.cid()
    );
    for name in [&by_name, &record.name().to_string()] {
        let (path, found) = other.resolve_name(name).unwrap();
        assert_eq!((path.to_string(), &found), (target.clone(), &record));
        assert_eq!(other.record(name).unwrap(), record);
    }
    assert!(
        other
            .publish("", &target, &PublishOptions::default())
            .is_err()
    );
    assert!(other.resolve_name(&format!("{by_name}/x")).is_err());
    let domain = refused(other.resolve("/ipns/example.org/x"));
    assert!(matches!(domain, NameError::DnsLink { .. }));

    let third = Repo::open(&scratch.path().join("third"), Vec::new(), |_| {}).unwrap();
    assert!(matches!(
        refused(third.resolve(&by_name)),
        NameError::NotFound { .. }
    ));
    third.put_record(&by_name, record.bytes()).unwrap();
    assert_eq!(third.resolve_path(&by_name).unwrap().to_string(), target);
    // Collecting garbage leaves names alone, and keys.
    assert!(
        repo.keys()
            .list()
            .unwrap()
            .iter()
            .any(|key| key.name == "self")
    );
}

#[derive(Clone, Debug)]
enum Step {
    Put { sequence: u64, hours: i32 },
    Publish,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12_u64, prop::sample::select(vec![-2, -1, 1, 2])).prop_map(|(sequence, hours)| Step::Put { sequence, hours }),
        1 => Just(Step::Publish),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_highest_sequence_that_was_seen_never_falls(
        steps in prop::collection::vec(step(), 1..16)
    ) {
        let (scratch, mut names) = scratch();
        let name = key(1).name();
        // The sequence of the best, and whether it holds.
        let mut best: Option<(u64, i32)> = None;
        for step in steps {
            match step {
                Step::Put { sequence, hours } => {
                    let record = record(1, CONTENT, sequence, hours, HOUR);
                    let put = names.put(&name, record.bytes());
                    if best.is_some_and(|(seen, _)| sequence < seen) {
                        let is_named = matches!(refused(put), NameError::RolledBack { .. });
                        prop_assert!(is_named);
                    } else {
                        prop_assert_eq!(put.is_ok(), hours > 0);
                        best = best.max(Some((sequence, hours)));
                    }
                }
                Step::Publish => {
                    let next = names.publish("", &path(CONTENT), &PublishOptions::default());
                    let next = next.unwrap().sequence();
                    prop_assert_eq!(next, best.map_or(1, |(seen, _)| seen + 1));
                    best = Some((next, 24));
                }
                Step::Restart => names = self::names(scratch.path()).with_self(key(1)),
            }
            let kept = names.records().best(&name).unwrap();
            prop_assert_eq!(kept.map(|kept| kept.sequence()), best.map(|(seen, _)| seen));
            let holds = best.is_some_and(|(_, hours)| hours > 0);
            prop_assert_eq!(names.resolve(&name).is_ok(), holds);
        }
    }
}
