//! What is logged, and where.

use fixtures::guests;

use crate::Stage;

/// What a run of a hello logs with this filter.
fn logged(stage: &Stage, filter: Option<&str>) -> String {
    let mut command = stage.command(&[]);
    if let Some(filter) = filter {
        command.env("RUST_LOG", filter);
    }
    let finished = fixtures::finish(&mut command).ok();
    // Row 76: none of it on standard output.
    assert_eq!(finished.stdout(), "Hello from Wetware!\n");
    finished.stderr()
}

// Rows 73, 74, 75, 76.
#[test]
fn each_level_says_more_than_the_one_before_and_standard_output_is_the_guests() {
    let stage = Stage::new(guests::HELLO);
    let default = logged(&stage, None);
    assert!(default.contains(" INFO "), "{default}");
    assert!(
        !default.contains("DEBUG") && !default.contains("TRACE"),
        "{default}"
    );
    let lines = |filter| logged(&stage, Some(filter)).lines().count();
    let (off, info) = (lines("off"), lines("ww=info"));
    assert_eq!(off, 0);
    assert_eq!(info, default.lines().count());
    let debug = logged(&stage, Some("ww=debug"));
    assert!(debug.contains("DEBUG"), "{debug}");
    assert!(debug.lines().count() > info, "{debug}");
    let trace = logged(&stage, Some("ww=trace"));
    assert!(trace.lines().count() >= debug.lines().count(), "{trace}");
}
