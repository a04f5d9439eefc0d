//! Programs that write to `/tmp` and `/var`: as programs do, and more than they may.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/lib.rs"]
mod support;

use cell::{Exit, FixedQuota, MemoryImage, Setup, Stdout, Writable, stdio};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use support::*;
use tempfile::TempDir;

const QUOTA: u64 = 1 << 20;

/// A parent with something beside the two directories that a cell may write to.
fn directories() -> TempDir {
    let parent = tempfile::tempdir().unwrap();
    for name in ["tmp", "var"] {
        std::fs::create_dir(parent.path().join(name)).unwrap();
    }
    std::fs::write(parent.path().join("outside"), "secret").unwrap();
    parent
}

async fn place(path: &Path) -> (Writable, Arc<FixedQuota>) {
    let quota = Arc::new(FixedQuota::new(QUOTA));
    let writable = Writable::open(path, quota.clone()).await.unwrap();
    (writable, quota)
}

/// What the guest prints in this mode, which must end well.
async fn output(mode: &str, tmp: Option<Writable>, var: Option<Writable>) -> String {
    let (reader, writer) = stdio::pipe(1 << 16);
    let setup = Setup {
        args: vec!["files".to_owned(), mode.to_owned()],
        root: Some(Arc::new(MemoryImage::default().file("file", "text"))),
        tmp,
        var,
        stdout: Stdout::Pipe(writer),
        ..Setup::default()
    };
    let program = engine().load(files_guest()).await.unwrap();
    assert_eq!(run(&program, setup).await, Exit::Exited(0));
    let mut text = Vec::new();
    loop {
        let bytes = reader.read(1 << 16).await;
        if bytes.is_empty() {
            return String::from_utf8(text).unwrap();
        }
        text.extend_from_slice(&bytes);
    }
}

fn names(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

#[test]
fn an_ordinary_program_finds_an_ordinary_filesystem() {
    on_one_thread(async {
        let parent = directories();
        let (tmp, tmp_quota) = place(&parent.path().join("tmp")).await;
        let (var, _) = place(&parent.path().join("var")).await;
        let told = output("work", Some(tmp), Some(var)).await;
        let expected = "one TWO\none TWO\n[\"link\", \"renamed\", \"where\"]\n\
            Some(AlreadyExists)\nfalse\nSome(CrossesDevices)\ntrue\ntrue\n";
        assert_eq!(told, expected);
        assert_eq!(names(&parent.path().join("tmp")), 1);
        assert_eq!(tmp_quota.used(), 0);
    });
}

#[test]
fn what_is_in_var_is_there_for_the_next_cell() {
    on_one_thread(async {
        let parent = directories();
        for times in ["0\n", "1\n", "2\n"] {
            let (var, _) = place(&parent.path().join("var")).await;
            assert_eq!(output("count", None, Some(var)).await, times);
        }
    });
}

#[test]
fn a_full_quota_is_an_error_that_removing_something_lifts() {
    on_one_thread(async {
        let parent = directories();
        let (tmp, quota) = place(&parent.path().join("tmp")).await;
        let kept = tmp.clone();
        let told = output("fill", Some(tmp), None).await;
        assert_eq!(told, "true\nSome(QuotaExceeded)\n".repeat(2));
        assert_eq!(quota.used(), 4096);
        drop(kept);
        assert_eq!(quota.used(), 0);
    });
}

#[test]
fn files_without_end_come_to_an_end() {
    on_one_thread(async {
        let parent = directories();
        let (tmp, quota) = place(&parent.path().join("tmp")).await;
        let kept = tmp.clone();
        let told = output("litter", Some(tmp), None).await;
        let made = names(&parent.path().join("tmp"));
        assert_eq!(told, format!("QuotaExceeded {made}\n"));
        assert!((200..256).contains(&made), "{made}");
        assert!(quota.used() <= QUOTA);
        drop(kept);
    });
}

#[test]
fn nobody_gets_out_of_a_writable_place() {
    on_one_thread(async {
        let parent = directories();
        for name in ["tmp", "var"] {
            let directory = parent.path().join(name);
            symlink(parent.path().join("outside"), directory.join("planted")).unwrap();
            symlink("..", directory.join("above")).unwrap();
        }
        let (tmp, _) = place(&parent.path().join("tmp")).await;
        let (var, _) = place(&parent.path().join("var")).await;
        let told = output("leave", Some(tmp), Some(var)).await;
        // The name of a link may be linked; what it names stays out of reach.
        let expected = "true\n".repeat(6) + "false\ntrue\ntrue\n";
        assert_eq!(told, expected.clone() + &expected.replace("false", "true"));
        let outside = parent.path().join("outside");
        assert_eq!(std::fs::read(&outside).unwrap(), b"secret");
        assert_eq!(names(parent.path()), 3);
    });
}

#[test]
fn a_cell_without_them_has_neither() {
    on_one_thread(async {
        let told = output("neither", None, None).await;
        assert_eq!(told, "true\n".repeat(3));
    });
}
