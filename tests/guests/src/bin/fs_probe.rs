//! Tries what it may do with files, one line of JSON for each attempt. Every argument is one more path to
//! read: a link that points out of the image, say.

use std::fs;
use std::io::Result;

use guests::report;

fn list(path: &str) -> Result<Vec<String>> {
    let mut names = fs::read_dir(path)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn read(path: &str) -> Result<usize> {
    fs::read(path).map(|bytes| bytes.len())
}

fn main() {
    for path in ["/", "/boot", "/etc", "/var", "/tmp", "..", "/.."] {
        report(&format!("list {path}"), list(path));
    }
    for folder in ["", "/boot", "/bin", "/etc", "/usr", "/var", "/tmp"] {
        let (new, other) = (format!("{folder}/probe"), format!("{folder}/probe2"));
        report(&format!("write {new}"), fs::write(&new, b"x"));
        report(&format!("rename {new}"), fs::rename(&new, &other));
        report(&format!("unlink {other}"), fs::remove_file(&other));
        report(&format!("mkdir {new}"), fs::create_dir(&new));
        report(&format!("rmdir {new}"), fs::remove_dir(&new));
    }
    report("write /boot/main.wasm", fs::write("/boot/main.wasm", b"x"));
    report("unlink /boot/main.wasm", fs::remove_file("/boot/main.wasm"));
    for path in [
        "/boot/main.wasm",
        "/etc/passwd",
        "../../etc/passwd",
        "/../../etc/passwd",
    ] {
        report(&format!("read {path}"), read(path));
    }
    report("read /boot/../etc/passwd", read("/boot/../etc/passwd"));
    for path in std::env::args().skip(1) {
        report(&format!("read {path}"), read(&path));
    }
}
