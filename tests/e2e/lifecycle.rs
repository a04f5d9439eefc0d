//! How a node ends, and what it leaves.

use fixtures::{Environment, Running, guests};

use crate::Stage;

// Row 99: on Ctrl-C nothing is left, whether the guest waits or computes.
#[test]
fn ctrl_c_ends_the_node_and_removes_what_it_made() {
    for (guest, sign) in [(guests::IDLE, "idle"), (guests::SPIN, "spinning")] {
        let stage = Stage::new(guest);
        let before = stage.environment.fingerprint();
        let mut running = stage.start(&[]);
        running.stdout_line(sign);
        assert!(!stage.ww.scratch().is_empty());
        running.interrupt();
        assert_eq!(running.code(), 130);
        assert!(stage.ww.scratch().is_empty());
        assert_eq!(stage.environment.fingerprint(), before);
    }
}

// A run that is killed cannot clear up; the next one does it for it, and leaves the living alone.
#[test]
fn the_next_run_removes_what_a_killed_one_left() {
    let stage = Stage::new(guests::SPIN);
    let mut killed = stage.start(&[]);
    killed.stdout_line("spinning");
    drop(killed);
    let left = stage.ww.scratch();
    assert_eq!(left.len(), 1);

    let mut living = stage.start(&[]);
    living.stdout_line("spinning");
    assert!(!left[0].exists());
    stage
        .ww
        .guest(&Environment::new(guests::HELLO), &[])
        .expect(0);
    assert_eq!(stage.ww.scratch().len(), 1);
    living.interrupt();
    assert_eq!(living.code(), 130);
}

// Row 99: the second one does not wait for the guest to take the hint.
#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let stage = Stage::new(guests::SPIN);
    let mut running = stage.start(&[]);
    running.stdout_line("spinning");
    running.interrupt();
    running.stderr_line("once more to stop at once");
    running.interrupt();
    assert_eq!(running.code(), 130);
    assert!(stage.ww.scratch().is_empty());
}

// Row 99: also while the program is being compiled, before there is a guest.
#[test]
fn ctrl_c_before_the_guest_runs_leaves_nothing_either() {
    let stage = Stage::new(guests::KERNEL);
    for code in std::fs::read_dir(stage.ww.home().join("cache")).unwrap() {
        std::fs::remove_file(code.unwrap().path()).unwrap();
    }
    let mut command = stage.command(&[]);
    let mut running = Running::start(command.env("RUST_LOG", "ww=debug"));
    running.stderr_line("merged the image");
    assert!(!stage.ww.scratch().is_empty());
    running.interrupt();
    assert_eq!(running.code(), 130);
    assert!(stage.ww.scratch().is_empty());
}

// A guest that does not take the hint of a supervisor is ended, and the code says so.
#[test]
fn a_guest_that_goes_on_is_terminated() {
    let stage = Stage::new(guests::SPIN);
    let mut running = stage.start(&[]);
    running.stdout_line("spinning");
    running.terminate();
    assert_eq!(running.code(), 143);
    assert!(stage.ww.scratch().is_empty());
}

// Row 37: whatever the code, all that was written arrives.
#[test]
fn what_was_written_last_arrives_before_the_code() {
    let stage = Stage::new(guests::STDERR_FLOOD);
    for _ in 0..3 {
        assert_eq!(stage.run(&["0"]).ok().stdout(), "done\n");
    }
}
