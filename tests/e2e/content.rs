//! Content through the grant `ipfs`, by what it really does: what a guest reads is what `ww add` has stored, what it adds is
//! what `ww add` would have, and what is broken, elsewhere or too much is an error that says so.

mod adding;
mod files;
mod graph;
mod keeping;
mod narrowed;
mod network;

use std::fs;
use std::path::{Path, PathBuf};

use fixtures::{Environment, Finished, Running, Ww, guests};
use serde_json::Value;

use crate::{Attempts, ww};

pub use files::a_guest_reads_what_was_added_in_any_pieces_and_pages as content;

/// A CID of something that nobody has added.
const NOBODYS: &str = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

/// The bytes of every file whose content does not matter, as the guest knows them.
fn pattern(bytes: u64) -> Vec<u8> {
    let byte_at = |offset: u64| (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    (0..bytes).map(byte_at).collect()
}

/// A node with content, and the guest that uses it.
struct Shelf {
    ww: Ww,
    environment: Environment,
    grant: String,
    options: Vec<String>,
}

impl Shelf {
    fn new() -> Self {
        Self {
            ww: ww(),
            environment: Environment::new(guests::CONTENT),
            grant: "ipfs".to_owned(),
            options: Vec::new(),
        }
    }

    /// The same with another grant.
    fn granting(mut self, grant: &str) -> Self {
        self.grant = grant.to_owned();
        self
    }

    /// The same with a bound.
    fn limit(mut self, limit: &str) -> Self {
        self.options = vec!["--limit".to_owned(), limit.to_owned()];
        self
    }

    /// Where what was added can be read.
    #[track_caller]
    fn add(&self, args: &[&str], path: &Path) -> String {
        let path = path.to_str().unwrap();
        let args = [&["add", "-Q"], args, &[path]].concat();
        self.ww.run(&args).ok().stdout().trim().to_owned()
    }

    fn command(&self, words: &[&str]) -> std::process::Command {
        let mut options = vec!["--offline", "--grant", &self.grant];
        options.extend(self.options.iter().map(String::as_str));
        self.ww
            .guest_command_with(&options, &self.environment, words)
    }

    #[track_caller]
    fn run(&self, words: &[&str]) -> Finished {
        fixtures::finish(&mut self.command(words)).ok()
    }

    #[track_caller]
    fn play(&self, words: &[&str]) -> Attempts {
        Attempts::of(&self.run(words).stdout())
    }

    fn start(&self, words: &[&str]) -> Running {
        Running::start(&mut self.command(words))
    }

    /// The file of the embedded store that holds these bytes as a block.
    #[track_caller]
    fn block(&self, bytes: &[u8]) -> PathBuf {
        let block = content::Block::new(content::Codec::Raw, bytes.to_vec()).unwrap();
        let digest: String = block.cid().hash().digest().iter().map(hex).collect();
        let mut ahead = vec![self.ww.home().join("store")];
        while let Some(directory) = ahead.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => ahead.push(path),
                    false if path.to_str().unwrap().contains(&digest) => return path,
                    false => {}
                }
            }
        }
        panic!("no block {digest}");
    }
}

fn hex(byte: &u8) -> String {
    format!("{byte:02x}")
}

/// The text of a value.
#[track_caller]
fn text(value: &Value) -> &str {
    let text = value.as_str();
    text.unwrap_or_else(|| panic!("no text: {value}"))
}

/// Fails the test unless an attempt was refused with all of these words.
#[track_caller]
fn refused(tried: &Attempts, attempt: &str, words: &[&str]) {
    let error = tried.error(attempt);
    for word in words {
        assert!(
            error.contains(word),
            "{attempt}: {word:?} is not in {error:?}"
        );
    }
}
