//! Files: in the cell's own tree, out of it by every road, and changes of any sort.

use std::fs::{self, File, OpenOptions};
use std::io::{Result, Write as _};

use wasip2::filesystem::preopens;
use wasip2::filesystem::types::PathFlags;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags};

use super::tell;

const KIND: &str = "files";

/// Where a cell could hope to write.
const FOLDERS: [&str; 9] = [
    "", "/boot", "/bin", "/etc", "/usr", "/var", "/tmp", "/dev", ".",
];

/// What is outside, by the names that lead there.
const OUTSIDE: [&str; 14] = [
    "..",
    "/..",
    "/boot/../..",
    "/proc",
    "/dev",
    "/sys",
    "/home",
    "/root",
    "//",
    "/./",
    "/var",
    "/tmp",
    "/run",
    "/ipfs",
];

/// Files outside, by the names that lead there.
const FILES_OUTSIDE: [&str; 8] = [
    "/etc/passwd",
    "../../etc/passwd",
    "/../../../../../etc/passwd",
    "/boot/../../etc/passwd",
    "/proc/self/environ",
    "/proc/self/root/etc/passwd",
    "/dev/null",
    "//etc/passwd",
];

/// Tries them. Each of `more` is one more path to read, to list and to write.
pub fn run(more: &[String]) {
    let roots = preopens::get_directories();
    let names: Vec<&str> = roots.iter().map(|(_, name)| name.as_str()).collect();
    tell::<_, String>(KIND, "folders that it starts with", Ok(names));
    tell(
        KIND,
        "read its own program",
        read("/boot/main.wasm").map(|size| size > 0),
    );
    tell(KIND, "list /", list("/"));
    tell(KIND, "list /boot", list("/boot"));
    for path in OUTSIDE {
        tell(KIND, &format!("list {path}"), list(path));
    }
    for path in FILES_OUTSIDE {
        tell(KIND, &format!("read {path}"), read(path));
    }
    for path in more {
        tell(KIND, &format!("read {path}"), read(path));
        tell(KIND, &format!("list {path}"), list(path));
        tell(KIND, &format!("write {path}"), fs::write(path, b"x"));
        tell(KIND, &format!("remove {path}"), fs::remove_file(path));
    }
    for folder in FOLDERS {
        change(folder);
    }
    change_the_program();
    for (root, name) in &roots {
        through(root, name);
    }
}

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

fn change(folder: &str) {
    let new = format!("{folder}/probe");
    let other = format!("{folder}/probe2");
    tell(KIND, &format!("write {new}"), fs::write(&new, b"x"));
    tell(
        KIND,
        &format!("make the folder {new}"),
        fs::create_dir(&new),
    );
    let program = "/boot/main.wasm";
    let renamed = fs::rename(program, &new);
    tell(KIND, &format!("rename {program} to {new}"), renamed);
    let linked = fs::hard_link(program, &other);
    tell(KIND, &format!("link {program} as {other}"), linked);
}

fn change_the_program() {
    let program = "/boot/main.wasm";
    let appended = OpenOptions::new().append(true).open(program);
    let appended = appended.and_then(|mut file| file.write_all(b"x"));
    tell(KIND, "append to its own program", appended);
    tell(KIND, "write its own program", fs::write(program, b"x"));
    tell(KIND, "remove its own program", fs::remove_file(program));
    tell(KIND, "remove the folder /boot", fs::remove_dir_all("/boot"));
    let shortened = File::open(program).and_then(|file| file.set_len(0));
    tell(KIND, "shorten its own program", shortened);
}

/// Through the descriptor itself, past whatever a standard library does with paths.
fn through(root: &Descriptor, name: &str) {
    let none = OpenFlags::empty();
    let follow = PathFlags::SYMLINK_FOLLOW;
    let attempt = |what: &str, outcome: std::result::Result<(), ErrorCode>| {
        tell(
            KIND,
            &format!("by the descriptor of {name}: {what}"),
            outcome,
        );
    };
    for path in [
        "..",
        "../..",
        "/",
        "/etc/passwd",
        "boot/../../x",
        "../etc/passwd",
    ] {
        let opened = root.open_at(follow, path, none, DescriptorFlags::READ);
        attempt(&format!("open {path}"), opened.map(drop));
    }
    let write = DescriptorFlags::READ | DescriptorFlags::WRITE;
    let opened = root.open_at(follow, "boot/main.wasm", none, write);
    attempt("open boot/main.wasm to write", opened.map(drop));
    let mutable = DescriptorFlags::READ | DescriptorFlags::MUTATE_DIRECTORY;
    let opened = root.open_at(follow, "boot", OpenFlags::DIRECTORY, mutable);
    let created = opened.and_then(|boot| boot.open_at(follow, "probe", OpenFlags::CREATE, write));
    attempt(
        "open boot to change it, and create a file",
        created.map(drop),
    );
    let opened = root.open_at(follow, "probe", OpenFlags::CREATE, write);
    attempt("create probe", opened.map(drop));
    attempt(
        "link to /etc/passwd",
        root.symlink_at("/etc/passwd", "probe"),
    );
    attempt(
        "link to ../../etc/passwd",
        root.symlink_at("../../etc/passwd", "probe"),
    );
    let times = root.set_times_at(
        follow,
        "boot/main.wasm",
        NewTimestamp::Now,
        NewTimestamp::Now,
    );
    attempt("set the times of boot/main.wasm", times);
    attempt(
        "read the link boot/main.wasm",
        root.readlink_at("boot/main.wasm").map(drop),
    );
}
