//! `ww build`, with packages that depend on nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::place;
use fixtures::{Place, finish};

/// A program, or a library if there is nothing else.
const HELLO: &str = "fn main() { println!(\"hello\"); }";

/// Writes a package with these sources.
fn package(place: &Place, folder: &str, name: &str, sources: &[&str]) {
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{}",
        if folder.contains('/') {
            ""
        } else {
            "[workspace]\n"
        }
    );
    place.write(&format!("{folder}/Cargo.toml"), manifest);
    for source in sources {
        place.write(&format!("{folder}/src/{source}"), HELLO);
    }
}

#[track_caller]
fn assert_component(place: &Place, path: &str) {
    let bytes = fs::read(place.join(path)).unwrap();
    assert!(bytes.starts_with(b"\0asm\x0d\0\x01\0"), "{path}");
}

#[test]
fn a_package_becomes_boot_main_wasm_rows_18_19() {
    let place = place();
    package(&place, "one", "build-one", &["main.rs"]);
    let built = place.ww(&["build", "one"]).ok();
    assert_eq!(built.stdout(), "");
    assert!(
        built.stderr().contains("one/boot/main.wasm"),
        "{}",
        built.stderr()
    );
    assert_component(&place, "one/boot/main.wasm");

    fs::remove_file(place.join("one/boot/main.wasm")).unwrap();
    let mut here = place.command(&["build"]);
    here.current_dir(place.join("one"));
    finish(&mut here).ok();
    assert_component(&place, "one/boot/main.wasm");
}

#[test]
fn the_artifact_is_found_wherever_cargo_was_told_to_put_it_row_19() {
    let place = place();
    place.write(
        "outer/Cargo.toml",
        "[workspace]\nmembers = [\"member\", \"other\"]\ndefault-members = [\"other\"]\nresolver = \"3\"",
    );
    package(&place, "outer/member", "build-member", &["main.rs"]);
    package(&place, "outer/other", "build-other", &["main.rs"]);
    place.write(
        "outer/member/.cargo/config.toml",
        "[build]\ntarget-dir = \"elsewhere\"",
    );
    let mut command = place.command(&["build", "outer/member"]);
    command.env_remove("CARGO_TARGET_DIR");
    finish(&mut command).ok();
    assert_component(&place, "outer/member/boot/main.wasm");
    assert!(place.join("outer/member/elsewhere").is_dir());
    assert!(!place.join("outer/other/boot").exists());
}

#[test]
fn of_several_programs_the_one_named_like_the_package_or_the_default_is_taken() {
    let place = place();
    package(&place, "named", "build-named", &["bin/aaa.rs", "main.rs"]);
    place.write("named/src/bin/aaa.rs", "compile_error!(\"not this one\");");
    place.ww(&["build", "named"]).ok();

    package(
        &place,
        "several",
        "build-several",
        &["bin/a1.rs", "bin/a2.rs"],
    );
    place
        .ww(&["build", "several"])
        .refused(&["default-run", "a1, a2"]);
    let manifest = place.read("several/Cargo.toml");
    place.write(
        "several/Cargo.toml",
        manifest.replace("[package]", "[package]\ndefault-run = \"a2\""),
    );
    place.ww(&["build", "several"]).ok();
    assert_component(&place, "several/boot/main.wasm");
}

#[test]
fn a_workspace_becomes_one_environment() {
    let place = place();
    let workspace = "[workspace]\nmembers = [\"*-ws\"]\nresolver = \"3\"\n";
    place.write("layer/Cargo.toml", workspace);
    package(&place, "layer/kernel-ws", "kernel-ws", &["main.rs"]);
    package(&place, "layer/shell-ws", "shell-ws", &["main.rs"]);
    package(&place, "layer/runtime-ws", "runtime-ws", &["lib.rs"]);
    place
        .ww(&["build", "layer"])
        .refused(&["[workspace.metadata.ww]", "kernel-ws, shell-ws"]);

    place.write(
        "layer/Cargo.toml",
        format!("{workspace}[workspace.metadata.ww]\nboot = \"kernel-ws\""),
    );
    place.ww(&["build", "layer"]).ok();
    for made in [
        "layer/boot/main.wasm",
        "layer/bin/shell-ws.wasm",
        "layer/kernel-ws/boot/main.wasm",
        "layer/shell-ws/boot/main.wasm",
    ] {
        assert_component(&place, made);
    }
    assert!(!place.join("layer/bin/kernel-ws.wasm").exists());
    assert!(!place.join("layer/runtime-ws/boot").exists());
}

#[test]
fn no_manifest_no_folder_and_no_program_are_refused_row_20() {
    let place = place();
    place.ww(&["build"]).refused(&["no Cargo.toml", "ww init"]);
    place.ww(&["build", "gone"]).refused(&["gone"]);
    package(&place, "lib", "build-lib", &["lib.rs"]);
    place.ww(&["build", "lib"]).refused(&["library", "main.rs"]);
    place.write("broken/Cargo.toml", "[package");
    place.ww(&["build", "broken"]).refused(&["Cargo.toml"]);
}

#[test]
fn a_missing_target_is_refused_with_the_command_that_installs_it_row_21() {
    let place = place();
    package(&place, "app", "build-targetless", &["main.rs"]);
    // The real compiler, with a sysroot that has everything but our target.
    let sysroot = command_output("rustc", &["--print", "sysroot"]);
    let host = command_output("rustc", &["--print", "host-tuple"]);
    let libraries = format!("lib/rustlib/{host}");
    fs::create_dir_all(place.join("sysroot/lib/rustlib")).unwrap();
    std::os::unix::fs::symlink(
        format!("{sysroot}/{libraries}"),
        place.join(&format!("sysroot/{libraries}")),
    )
    .unwrap();
    place.write(
        "rustc",
        format!(
            "#!/bin/sh\nexec {sysroot}/bin/rustc --sysroot {} \"$@\"",
            place.join("sysroot").display()
        ),
    );
    fs::set_permissions(place.join("rustc"), fs::Permissions::from_mode(0o755)).unwrap();

    let mut command = place.command(&["build", "app"]);
    command
        .env("RUSTC", place.join("rustc"))
        .env_remove("CARGO_TARGET_DIR");
    finish(&mut command).refused(&["rustup target add wasm32-wasip2"]);
    assert!(!place.join("app/boot").exists());
}

#[test]
fn compiler_errors_are_shown_and_the_last_program_stays_row_22() {
    let place = place();
    package(&place, "app", "build-wrong", &[]);
    place.write("app/boot/main.wasm", "the last one");
    place.write("app/src/main.rs", "fn main() { let x: u32 = \"text\"; }");
    let failed = place
        .ww(&["build", "app"])
        .refused(&["build-wrong", "did not build"]);
    assert!(
        failed.stderr().contains("mismatched types"),
        "{}",
        failed.stderr()
    );
    assert_eq!(place.read("app/boot/main.wasm"), "the last one");
}

#[test]
fn a_core_module_is_refused() {
    let place = place();
    package(&place, "app", "build-core", &["main.rs"]);
    place.write(
        "app/.cargo/config.toml",
        "[target.wasm32-wasip2]\nrustflags = [\"-Clink-arg=--skip-wit-component\"]",
    );
    place
        .ww(&["build", "app"])
        .refused(&["core module", "wasm-component-ld"]);
    assert!(!place.join("app/boot").exists());
}

#[test]
fn without_cargo_it_says_where_rust_comes_from() {
    let place = place();
    package(&place, "app", "build-no-cargo", &["main.rs"]);
    let mut command = place.command(&["build", "app"]);
    command.env("PATH", place.join("."));
    finish(&mut command).refused(&["rustup.rs"]);
}

#[test]
fn an_interruption_ends_cargo_too() {
    let place = place();
    package(&place, "app", "build-endless", &["main.rs"]);
    // Cargo waits for a build script, which tells us its parent's id and ends when that is gone.
    place.write(
        "app/build.rs",
        "fn main() {
            let cargo = std::os::unix::process::parent_id();
            let path = std::env::var(\"CARGO_MANIFEST_DIR\").unwrap() + \"/cargo\";
            std::fs::write(format!(\"{path}.new\"), cargo.to_string()).unwrap();
            std::fs::rename(format!(\"{path}.new\"), path).unwrap();
            while std::os::unix::process::parent_id() == cargo {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }",
    );
    let mut command = place.command(&["build", "app"]);
    // Of its own, because this one holds its target folder's lock until it is interrupted.
    command
        .env_remove("CARGO_TARGET_DIR")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut ww = command.spawn().unwrap();
    while !place.join("app/cargo").exists() {
        assert!(ww.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    command_output("sh", &["-c", &format!("kill -INT {}", ww.id())]);
    assert_eq!(ww.wait().unwrap().code(), Some(130));
    let cargo = place.read("app/cargo");
    assert!(!std::path::Path::new("/proc").join(cargo).exists());
    assert!(!place.join("app/boot").exists());
}

/// What a command prints.
fn command_output(program: &str, args: &[&str]) -> String {
    let mut command = std::process::Command::new(program);
    command.args(args);
    finish(&mut command).ok().stdout().trim().to_owned()
}
