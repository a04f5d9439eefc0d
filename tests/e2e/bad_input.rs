//! What cannot be run is refused with one line that says why, before the node says that it is ready, and
//! nothing is written to the user's files.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use fixtures::{Environment, Finished, guests};

use crate::{Stage, ww};

/// Runs an image that is no good. The refusal has these words, and is all there is.
#[track_caller]
fn refused(environment: &Environment, words: &[&str]) -> Finished {
    let before = environment.fingerprint();
    let ww = ww();
    let finished = ww.guest(environment, &[]).refused(words);
    only_the_error(&finished);
    assert_eq!(environment.fingerprint(), before);
    assert_eq!(ww.scratch(), [] as [std::path::PathBuf; 0]);
    finished
}

#[track_caller]
fn only_the_error(finished: &Finished) {
    let stderr = finished.stderr();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

/// An image whose entry is made of these bytes.
fn entry(bytes: impl AsRef<[u8]>) -> Environment {
    let environment = Environment::empty();
    environment.write("boot/main.wasm", bytes);
    environment
}

// Rows 36, 38.
#[test]
fn an_image_without_an_entry_is_refused() {
    let environment = Environment::empty();
    environment.write("etc/motd", "welcome");
    refused(&environment, &["boot/main.wasm not found", "ww build"]);
    let environment = Environment::empty();
    environment.write("boot/other.wasm", "");
    refused(&environment, &["boot/main.wasm not found", "ww build"]);
}

#[test]
fn a_folder_that_is_no_image_is_refused() {
    let environment = Environment::empty();
    refused(&environment, &["no image", "ww init"]);
    environment.write("src/main.rs", "fn main() {}");
    refused(&environment, &["no image", "ww init"]);
}

#[test]
fn an_entry_that_is_a_folder_or_a_link_is_refused() {
    let environment = Environment::empty();
    environment.write("boot/main.wasm/x", "");
    refused(&environment, &["boot/main.wasm", "must be a file"]);
    let environment = Environment::empty();
    environment
        .copy(guests::PLAIN, "boot/real.wasm")
        .link("boot/main.wasm", "real.wasm");
    refused(&environment, &["boot/main.wasm", "must be a file"]);
}

#[test]
fn what_is_not_wasm_is_refused() {
    refused(
        &entry("#!/bin/sh\necho hello\n"),
        &["not a WebAssembly component"],
    );
    refused(&entry(""), &["not a WebAssembly component"]);
}

#[test]
fn a_core_module_is_refused_with_how_to_make_a_component() {
    let module = wat::parse_str("(module (func (export \"_start\")))").unwrap();
    refused(
        &entry(module),
        &["core WebAssembly module", "wasm32-wasip2"],
    );
}

#[test]
fn a_component_that_is_no_command_is_refused() {
    refused(
        &entry(wat::parse_str("(component)").unwrap()),
        &["wasi:cli/run"],
    );
}

#[test]
fn imports_that_cells_do_not_have_are_named_with_what_would_satisfy_them() {
    for (import, hint) in [
        ("wasi:http/types@0.2.0", "HTTP"),
        ("wasi:cli/environment@0.3.0", "wasm32-wasip2"),
        ("wasi:nonsense/nothing@0.2.0", "WASI 0.2"),
        ("wetware:rpc/rpc@9.0.0", "rebuild with the SDK"),
        ("vendor:thing/api@1.0.0", "wac plug"),
    ] {
        let text = format!("(component (import \"{import}\" (instance)))");
        refused(&entry(wat::parse_str(text).unwrap()), &[import, hint]);
    }
}

#[test]
fn a_truncated_component_is_refused() {
    let whole = fs::read(guests::PLAIN).unwrap();
    for length in [8, 9, 1000, whole.len() / 2, whole.len() - 1] {
        refused(&entry(&whole[..length]), &["component"]);
    }
}

// What takes the compiler long, rather than being refused at once, is for the tests of `crates/cell`.
#[test]
fn a_huge_function_is_refused() {
    const NOP: u8 = 0x01;
    const END: u8 = 0x0b;
    // No locals, and eight million instructions.
    let body = [&[0][..], &vec![NOP; 8_000_000], &[END]].concat();
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    module.extend([1, 4, 1, 0x60, 0, 0]); // types: one function type
    module.extend([3, 2, 1, 0]); // functions: one of it
    let code = [vec![1], leb(body.len()), body].concat();
    module.extend([&[10][..], &leb(code.len()), &code].concat());
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    component.extend([&[1][..], &leb(module.len()), &module].concat());
    refused(&entry(component), &["not valid", "size"]);
}

/// An unsigned number as Wasm has it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[test]
fn an_entry_over_the_limit_is_refused_before_it_is_read() {
    let environment = entry("");
    // Sparse: it takes no room on the disk.
    let file = File::options()
        .write(true)
        .open(environment.join("boot/main.wasm"))
        .unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    refused(&environment, &["boot/main.wasm", "67108864"]);
}

// Row 94.
#[test]
fn links_that_lead_out_of_the_image_are_refused_by_name() {
    for target in [
        "/etc/passwd",
        "../../../../etc/passwd",
        "../../outside",
        "../..",
    ] {
        let environment = Environment::new(guests::FS_PROBE);
        environment.link("etc/secret", target);
        refused(&environment, &["etc/secret", target]);
    }
}

#[test]
fn paths_that_lead_to_no_folder_are_refused_by_name() {
    let environment = Environment::new(guests::PLAIN);
    environment.link("loop", "loop");
    let ww = ww();
    for (path, word) in [
        ("boot/main.wasm", "not a folder"),
        ("absent", "does not exist"),
        ("boot/main.wasm/below", "boot/main.wasm/below"),
        // Whoever we are, nobody can read through a link to itself.
        ("loop", "loop"),
    ] {
        let path = environment.join(path);
        let mut command = ww.command(["run", "--port", "0"]);
        only_the_error(&fixtures::finish(command.arg(path)).refused(&[word]));
    }
}

#[test]
fn a_folder_without_permission_is_refused_by_name() {
    let stage = Stage::new(guests::PLAIN);
    let boot = stage.environment.join("boot");
    fs::set_permissions(&boot, Permissions::from_mode(0o000)).unwrap();
    let finished = stage.run(&[]);
    let root = fs::metadata(&boot).unwrap().uid() == 0;
    fs::set_permissions(&boot, Permissions::from_mode(0o755)).unwrap();
    // To the superuser every folder is open.
    if root {
        finished.ok();
    } else {
        only_the_error(&finished.refused(&["boot", "permission"]));
    }
}

// Row 46.
#[test]
fn ipfs_paths_that_name_nothing_are_refused() {
    let ww = ww();
    let unknown = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354";
    for (path, words) in [
        ("/ipfs/garbage", &["garbage", "CID"][..]),
        ("/ipfs/", &["/ipfs/"]),
        ("/ipfs", &["/ipfs"]),
        (&format!("/ipfs/{unknown}"), &[unknown, "push or fetch"]),
        (&format!("/ipfs/{unknown}/../.."), &["/ipfs/"]),
    ] {
        only_the_error(&ww.run(["run", "--port", "0", path]).refused(words));
    }
    assert!(ww.scratch().is_empty());
}

// Row 59.
#[test]
fn command_lines_without_sense_are_exit_code_2() {
    let ww = ww();
    for args in [
        &["run", "--port", "99999"][..],
        &["run", "--port", "-1"],
        &["run", "--port", "http"],
        &["run", "--port"],
        &["run", "--no-such-flag"],
        &["push", "a", "b"],
    ] {
        let finished = ww.run(args).expect(2);
        assert_eq!(finished.stdout(), "");
        assert!(
            finished.stderr().starts_with("error: "),
            "{}",
            finished.stderr()
        );
    }
}

#[test]
fn a_home_that_cannot_be_made_is_refused_with_what_to_set() {
    let stage = Stage::new(guests::PLAIN);
    let mut command = stage.command(&[]);
    command.env("WW_HOME", stage.environment.join("boot/main.wasm"));
    fixtures::finish(&mut command).refused(&["WW_HOME"]);
}
