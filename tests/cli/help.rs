//! What `ww` says about itself, and how it refuses.

use crate::place;
use fixtures::finish;

#[test]
fn help_lists_the_commands_row_11() {
    let help = place().ww(&["--help"]).ok().stdout();
    for command in ["init", "build", "run", "push", "completions"] {
        let listed = help.lines().any(|line| line.trim().starts_with(command));
        assert!(listed, "{command} is not in\n{help}");
    }
}

#[test]
fn a_command_line_without_sense_is_exit_code_2() {
    for args in [&["dance"][..], &["init", "--templat"], &[]] {
        let ran = place().ww(args);
        assert_eq!(ran.code(), 2, "{args:?}");
        assert_eq!(ran.stdout(), "");
    }
}

#[test]
fn completions_are_printed_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let script = place().ww(&["completions", shell]).ok().stdout();
        assert!(script.contains("init"), "{shell}");
    }
}

#[test]
fn an_unreadable_log_filter_is_reported_and_does_not_stop_anything() {
    let place = place();
    let mut command = place.command(&["init"]);
    command.env("RUST_LOG", "ww=loudly=please");
    let ran = finish(&mut command).ok();
    assert!(ran.stderr().contains("RUST_LOG"), "{}", ran.stderr());
}
