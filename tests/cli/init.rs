//! `ww init`.

use crate::place;

/// That it builds and runs is for `e2e::readme`.
#[test]
fn the_rust_template_makes_a_package_with_its_sdk_row_5() {
    let place = place();
    let made = place.ww(&["init", "my-app", "--template", "rust"]).ok();
    assert_eq!(made.stdout(), "");
    for step in ["cd my-app", "ww build", "ww run", "ww push"] {
        assert!(made.stderr().contains(step), "{}", made.stderr());
    }
    assert!(place.read("my-app/Cargo.toml").contains("\"my-app\""));
    assert!(place.join("my-app/sdk/runtime/src/lib.rs").exists());
    assert!(place.join("my-app/boot").is_dir());
}

#[test]
fn without_a_folder_it_is_the_current_one_rows_12_14() {
    let place = place();
    let made = place.ww(&["init"]).ok();
    assert_eq!(place.entries(), ["boot"]);
    assert!(
        made.stderr().contains("boot/main.wasm"),
        "{}",
        made.stderr()
    );
}

#[test]
fn a_folder_is_created_with_those_above_it_row_13() {
    let place = place();
    place.ww(&["init", "a/b"]).ok();
    assert!(place.join("a/b/boot").is_dir());
}

#[test]
fn a_second_init_is_refused_row_15() {
    let place = place();
    place.ww(&["init"]).ok();
    for again in [&["init"][..], &["init", "--template", "rust"]] {
        place.ww(again).refused(&["already initialised"]);
        assert_eq!(place.entries(), ["boot"]);
    }
}

#[test]
fn an_unknown_template_is_refused_and_nothing_is_made_row_16() {
    let place = place();
    for dir in [".", "new"] {
        place
            .ww(&["init", dir, "--template", "cobol"])
            .refused(&["cobol", "rust"]);
        assert!(place.entries().is_empty());
    }
}

#[test]
fn a_file_in_the_way_is_named_and_kept_row_17() {
    let place = place();
    place.write("Cargo.toml", "mine");
    place
        .ww(&["init", "--template", "rust"])
        .refused(&["Cargo.toml"]);
    assert_eq!(place.entries(), ["Cargo.toml"]);
    assert_eq!(place.read("Cargo.toml"), "mine");
}

#[test]
fn a_file_in_the_place_of_a_folder_is_named_and_kept_row_17() {
    let place = place();
    place.write("src", "mine");
    place.ww(&["init", "--template", "rust"]).refused(&["src"]);
    assert_eq!(place.entries(), ["src"]);
    place.write("app", "mine");
    place.ww(&["init", "app"]).refused(&["app", "file"]);
}

#[test]
fn other_files_of_the_folder_are_left_alone_row_17() {
    let place = place();
    place.write("notes.txt", "mine");
    place.write("src/notes.txt", "mine");
    place.ww(&["init", "--template", "rust"]).ok();
    assert_eq!(place.read("notes.txt"), "mine");
    assert_eq!(place.read("src/notes.txt"), "mine");
    assert!(place.join("src/main.rs").exists());
}
