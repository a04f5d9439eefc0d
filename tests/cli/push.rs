//! `ww push`.

use crate::place;
use fixtures::{Place, finish};

/// An environment with something in each place, and much beside it that is nobody's business.
fn environment(place: &Place, folder: &str) {
    place.write(&format!("{folder}/boot/main.wasm"), b"\0asm\x0d\0\x01\0");
    place.write(&format!("{folder}/etc/motd"), "welcome");
    place.write(&format!("{folder}/var/lib/state"), "first");
}

/// The CID that a push printed.
#[track_caller]
fn pushed(place: &Place, args: &[&str]) -> String {
    let pushed = place.ww(args).ok();
    let cid = pushed.stdout().strip_suffix('\n').unwrap().to_owned();
    assert!(cid.starts_with("bafybei"), "{cid}");
    assert!(
        pushed.stderr().contains(&format!("ww run /ipfs/{cid}")),
        "{}",
        pushed.stderr()
    );
    cid
}

#[test]
fn the_cid_alone_is_printed_for_a_path_and_for_here_rows_10_24_25() {
    let place = place();
    environment(&place, "app");
    let cid = pushed(&place, &["push", "app"]);
    assert!(cid.chars().all(|c| c.is_ascii_alphanumeric()), "{cid}");

    let mut here = place.command(&["push"]);
    here.current_dir(place.join("app"));
    assert_eq!(finish(&mut here).ok().stdout(), format!("{cid}\n"));
}

#[test]
fn without_a_program_it_is_refused_row_26() {
    let place = place();
    place.write("etc/motd", "welcome");
    for args in [&["push"][..], &["push", "."]] {
        place
            .ww(args)
            .refused(&["boot/main.wasm not found", "ww build"]);
    }
    place.ww(&["push", "gone"]).refused(&["gone"]);
}

#[test]
fn the_same_files_have_the_same_cid_wherever_they_are_row_97() {
    let (one, other) = (place(), place());
    environment(&one, "app");
    environment(&other, "called/otherwise");
    let cid = pushed(&one, &["push", "app"]);
    assert_eq!(pushed(&one, &["push", "app"]), cid);
    assert_eq!(pushed(&other, &["push", "called/otherwise"]), cid);

    one.write("app/etc/motd", "changed");
    assert_ne!(pushed(&one, &["push", "app"]), cid);
}

#[test]
fn what_lies_beside_the_image_is_not_published_row_98() {
    let place = place();
    environment(&place, "app");
    let cid = pushed(&place, &["push", "app"]);
    for beside in [".env", ".git/config", "target/x", "src/main.rs", "key"] {
        place.write(&format!("app/{beside}"), "secret");
    }
    assert_eq!(pushed(&place, &["push", "app"]), cid);
}

#[test]
fn a_link_out_of_the_environment_is_refused_by_name() {
    let place = place();
    environment(&place, "app");
    place.link("app/etc/passwd", "/etc/passwd");
    place.ww(&["push", "app"]).refused(&["etc/passwd"]);
}

#[test]
fn the_environment_is_not_written_to_row_95() {
    let place = place();
    environment(&place, "app");
    let before = place.fingerprint();
    pushed(&place, &["push", "app"]);
    assert_eq!(place.fingerprint(), before);
}

#[test]
fn a_program_behind_a_link_is_refused() {
    let place = place();
    place.write("app/boot/real.wasm", b"\0asm\x0d\0\x01\0");
    place.link("app/boot/main.wasm", "real.wasm");
    place.ww(&["push", "app"]).refused(&["link"]);
}

#[test]
fn a_dry_run_prints_the_cid_and_keeps_nothing() {
    let place = place();
    environment(&place, "app");
    let dry = place.ww(&["push", "app", "--dry-run"]).ok().stdout();
    place.ww(&["ls", dry.trim()]).refused(&[dry.trim()]);
    let cid = pushed(&place, &["push", "app"]);
    assert_eq!(dry, format!("{cid}\n"));
    place.ww(&["gc"]).ok();
    let listed = place.ww(&["ls", &cid]).ok().stdout();
    assert!(listed.contains(" - boot/"), "{listed}");
}

#[test]
fn the_old_form_of_cids_is_for_the_asking() {
    let place = place();
    environment(&place, "app");
    let old = place.ww(&["push", "app", "--cid-version", "0"]).ok();
    assert!(old.stdout().starts_with("Qm"), "{}", old.stdout());
    place.ww(&["push", "app", "--cid-version", "2"]).expect(2);
}

#[test]
fn a_car_of_an_environment_is_the_same_environment_elsewhere() {
    let (here, there) = (place(), place());
    environment(&here, "app");
    let cid = pushed(&here, &["push", "app", "--car", "app.car"]);
    there.write("app.car", std::fs::read(here.join("app.car")).unwrap());
    let imported = there.ww(&["car", "import", "app.car"]).ok();
    assert_eq!(imported.stdout(), format!("{cid}\n"));
}
