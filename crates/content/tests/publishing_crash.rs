//! Whoever publishes is killed with SIGKILL at a moment that chance picks, and what it had said by then is never taken
//! back: the next sequence is higher than the last that was answered.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use content::name::{Key, Keys, Names, PublishOptions, Records};

/// How many publishers are killed.
const PUBLISHERS: u64 = 60;
/// The longest that one lives once it is at work, in microseconds: some records' worth.
const LIFE_MICROS: u64 = 20_000;
/// The name of the test that is the other process, and where it finds the names.
const HELPER: &str = "another_process";
const DIRECTORY: &str = "CONTENT_TEST_NAMES";

fn names(path: &Path) -> Names {
    let keys = Keys::open(path.join("keys")).unwrap();
    let records = Records::open(path.join("names")).unwrap();
    Names::new(keys, records).with_self(Key::from_secret(&[1; 32]))
}

fn publish(names: &Names) -> u64 {
    let content = "/ipfs/bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354";
    let options = PublishOptions::default();
    let record = names.publish("", &content.parse().unwrap(), &options);
    record.unwrap().sequence()
}

#[test]
#[ignore = "it is the other process of the test beside it"]
fn another_process() {
    let Some(path) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let names = names(Path::new(&path));
    loop {
        // One write of one line, so no half of one can be read as a whole.
        let line = format!("{}\n", publish(&names));
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

#[test]
fn a_publisher_that_is_killed_takes_no_sequence_back() {
    let scratch = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..PUBLISHERS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", HELPER, "--ignored", "--nocapture"])
            .env(DIRECTORY, scratch.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said: Vec<u64> = Vec::new();
        said.extend(
            lines
                .next()
                .map(|line| line.unwrap().parse::<u64>().unwrap()),
        );
        let life = round.wrapping_mul(0x9E37_79B9_7F4A_7C15) % LIFE_MICROS;
        thread::sleep(Duration::from_micros(life));
        child.kill().unwrap();
        child.wait().unwrap();
        said.extend(lines.map(|line| line.unwrap().parse::<u64>().unwrap()));

        assert!(said.is_sorted_by(|one, next| one < next), "{said:?}");
        assert!(said[0] > last, "{said:?} after {last}");
        last = *said.last().unwrap();
        let next = publish(&names(scratch.path()));
        // One may have been written and not been said any more.
        assert!((last + 1..=last + 2).contains(&next), "{next} after {last}");
        last = next;
    }
    let left = std::fs::read_dir(scratch.path().join("names")).unwrap();
    assert_eq!(left.count(), 2, "the record and the lock");
}
