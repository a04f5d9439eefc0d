//! Opens its own program, if it is in its image, and a file in /tmp again and again until it is refused, and keeps them open while it runs
//! itself as its child, as often as it is told, one after another. Prints what the children print, then a line of JSON
//! about itself: how many were open, how one more was refused, how many bytes one of them could still be read for, and
//! whether another one can be opened once all others are closed.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use runtime::{Session, Spawn, bytes, process};
use serde_json::json;

const PROGRAM: &str = "/bin/opens_files.wasm";

const IN_TMP: &str = "/tmp/file";

/// More than a process of the tests may have open.
const MANY: usize = 4000;

const OUTPUT_LIMIT: usize = 1024 * 1024;

fn main() {
    runtime::run(|session| async move {
        fs::write(IN_TMP, "text").unwrap_or_default();
        let mut files = Vec::new();
        let refused = loop {
            match open(files.len()) {
                Ok(file) if files.len() < MANY => files.push(file),
                Ok(_) => break "never".to_owned(),
                Err(error) => break format!("{:?}", error.kind()),
            }
        };
        for _ in 0..guests::arg(1, 0) {
            print!("{}", child(&session).await?);
        }
        let open_files = files.len();
        files.truncate(1);
        let read = files
            .first_mut()
            .and_then(|file| file.read(&mut [0; 4]).ok());
        println!(
            "{}",
            json!({ "open": open_files, "refused": refused, "read": read, "again": open(0).is_ok() })
        );
        Ok(())
    });
}

fn open(number: usize) -> io::Result<File> {
    let of_the_image = number.is_multiple_of(2) && Path::new(PROGRAM).exists();
    File::open(if of_the_image { PROGRAM } else { IN_TMP })
}

/// What this program prints as a child without children.
async fn child(session: &Session) -> runtime::Result<String> {
    let executor = session.executor()?;
    let child = Spawn::from_path(&executor, PROGRAM)
        .args(&[PROGRAM.to_owned()])
        .limit(|mut limits| limits.set_tmp_bytes(1 << 20))
        .start()
        .await?;
    let output = bytes::read_to_end(&process::stdout(&child), OUTPUT_LIMIT).await?;
    process::wait(&child).await?;
    Ok(String::from_utf8_lossy(&output).into_owned())
}
