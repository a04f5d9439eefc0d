//! The socket as a file: whose it is, what it replaces, and that it goes.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use fixtures::{Environment, Finished, Running, finish, guests};

use super::Node;
use crate::Stage;

/// A user that no node of these tests runs as.
const SOMEBODY_ELSE: u32 = 65534;

/// Runs a program that ends at once with a socket at this path.
#[track_caller]
fn run_with(socket: &Path) -> Finished {
    let stage = Stage::new(guests::PLAIN);
    let mut command = stage.ww.command(["run", "--port", "0", "--rpc-socket"]);
    finish(command.arg(socket).arg(stage.environment.path()))
}

#[track_caller]
fn refused(socket: &Path, told: &str) {
    let failed = run_with(socket).expect(1);
    assert!(failed.stderr().contains(told), "{}", failed.stderr());
    assert_eq!(failed.stderr().lines().count(), 1, "{}", failed.stderr());
    assert_eq!(failed.stdout(), "", "nothing has run");
}

#[test]
fn the_socket_is_for_its_owner_alone_and_goes_with_the_node() {
    let node = Node::start(&[]);
    let found = fs::symlink_metadata(node.socket()).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    assert_eq!(node.folder.entries(), ["audit", "ww.sock"]);
    node.stop();
}

#[test]
fn another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: only root can try to connect as somebody else");
        return;
    }
    let node = Node::start(&[]);
    let socket = node.socket();
    fs::set_permissions(node.folder.path(), Permissions::from_mode(0o711)).unwrap();
    let other = std::thread::spawn(move || {
        // Of this thread, not of the process.
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(SOMEBODY_ELSE)).unwrap();
        let error = UnixStream::connect(&socket).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        socket
    });
    let socket = other.join().unwrap();
    // If somebody opens the file up, the node still looks who it is.
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    let other = std::thread::spawn(move || {
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(SOMEBODY_ELSE)).unwrap();
        let mut stream = UnixStream::connect(&socket).unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        String::from_utf8_lossy(&heard).into_owned()
    });
    let heard = other.join().unwrap();
    assert!(heard.contains(
        "notGranted: this socket is for the user with the id 0 alone, and you are 65534"
    ));
    node.call("a_session_holds_what_the_operator_grants", &[]);
    node.stop();
}

#[test]
fn what_is_there_already_is_not_touched() {
    let folder = Environment::empty();
    folder.write("file", "mine").link("link", "file");
    for name in ["file", "link"] {
        refused(
            &folder.join(name),
            "is there already, and is no socket; choose another path",
        );
    }
    refused(folder.path(), "is there already, and is no socket");
    assert_eq!(folder.read("file"), "mine");

    let _listening = UnixListener::bind(folder.join("live")).unwrap();
    refused(&folder.join("live"), "somebody listens on");
    UnixStream::connect(folder.join("live")).unwrap();
    assert_eq!(folder.entries(), ["file", "link", "live"]);
}

#[test]
fn what_a_killed_node_left_is_replaced() {
    let node = Node::start(&[]);
    let Node {
        running, folder, ..
    } = node;
    drop(running);
    assert_eq!(folder.entries(), ["audit", "ww.sock"]);
    run_with(&folder.join("ww.sock")).ok();
    assert_eq!(folder.entries(), ["audit"]);
}

#[test]
fn two_nodes_do_not_share_a_socket() {
    let node = Node::start(&[]);
    refused(&node.socket(), "somebody listens on");
    node.call("what_is_narrowed_can_be_taken_back", &[]);
    node.stop();
}

#[test]
fn a_node_removes_no_socket_but_its_own() {
    let mut node = Node::start(&[]);
    fs::remove_file(node.socket()).unwrap();
    let _other = UnixListener::bind(node.socket()).unwrap();
    node.running.interrupt();
    assert_eq!(node.running.code(), 130);
    assert_eq!(node.folder.entries(), ["audit", "ww.sock"]);
}

#[test]
fn a_path_that_cannot_be_a_socket_is_refused() {
    let folder = Environment::empty();
    refused(
        &folder.join("x".repeat(108).as_str()),
        "the path of a socket may have 107 bytes",
    );
    refused(&folder.join("absent/ww.sock"), "its folder has to be there");
    refused(Path::new("/"), "is no name for a socket");
    assert!(folder.entries().is_empty());
}

// Whoever connects before the program runs is served once it does.
#[test]
fn ctrl_c_before_the_program_runs_removes_the_socket() {
    let stage = Stage::new(guests::KERNEL);
    for code in fs::read_dir(stage.ww.home().join("cache")).unwrap() {
        fs::remove_file(code.unwrap().path()).unwrap();
    }
    let folder = Environment::empty();
    let mut command = stage.ww.command(["run", "--port", "0", "--rpc-socket"]);
    command
        .arg(folder.join("s"))
        .arg(stage.environment.path())
        .env("RUST_LOG", "ww=debug");
    let mut running = Running::start(&mut command);
    running.stderr_line("merged the image");
    UnixStream::connect(folder.join("s")).unwrap();
    running.interrupt();
    assert_eq!(running.code(), 130);
    assert!(folder.entries().is_empty());
}
