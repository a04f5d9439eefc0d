//! What an image is made of: directories, layers, published trees.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fixtures::{Environment, Finished, Ww, guests};

use crate::{Attempts, ww};

/// Runs layers on any free port, with these arguments for the guest.
fn run(ww: &Ww, layers: &[&Path], args: &[&str]) -> Finished {
    let mut command = ww.command(["run", "--port", "0"]);
    fixtures::finish(command.args(layers).arg("--").args(args))
}

/// Publishes a directory; where it can be run from.
#[track_caller]
fn push(ww: &Ww, directory: &Path) -> String {
    let pushed = ww.run([Path::new("push"), directory]).ok();
    format!("/ipfs/{}", pushed.stdout().trim())
}

// Rows 2, 23, 31, 39, 45: the entry is all that an image needs.
#[test]
fn a_directory_with_only_an_entry_runs() {
    let environment = Environment::new(guests::PLAIN);
    let ww = ww();
    assert_eq!(
        run(&ww, &[environment.path()], &[]).ok().stdout(),
        "plain\n"
    );
    // However the directory is named.
    for relative in [".", "./", "../plain/."] {
        let inside = Environment::empty();
        inside.copy(guests::PLAIN, "plain/boot/main.wasm");
        let mut command = ww.command(["run", "--port", "0", relative]);
        command.current_dir(inside.join("plain"));
        assert_eq!(fixtures::finish(&mut command).ok().stdout(), "plain\n");
    }
}

// Rows 7, 23, 58, 66: without a path it is the current directory.
#[test]
fn without_a_path_the_current_directory_runs() {
    let environment = Environment::new(guests::HELLO);
    let ww = ww();
    let mut command = ww.command(["run", "--port", "0"]);
    command.current_dir(environment.path());
    let finished = fixtures::finish(&mut command).ok();
    assert_eq!(finished.stdout(), "Hello from Wetware!\n");
}

// Row 41.
#[test]
fn all_directories_of_an_image_are_there_for_the_guest_and_nothing_else_is() {
    let environment = Environment::new(guests::FS_PROBE);
    let files = ["bin/tool", "etc/a/b/c", "usr/lib/x", "var/lib/state"];
    for file in files {
        environment.write(file, file);
    }
    for beside in [
        ".env",
        ".git/config",
        "src/main.rs",
        "target/x",
        "Cargo.toml",
    ] {
        environment.write(beside, "secret");
    }
    let paths: Vec<String> = files.iter().map(|file| format!("/{file}")).collect();
    let mut args: Vec<&str> = paths.iter().map(String::as_str).collect();
    args.extend(["/.env", "/src/main.rs"]);
    let tried = Attempts::of(&run(&ww(), &[environment.path()], &args).ok().stdout());
    for file in files {
        assert_eq!(tried.ok(&format!("read /{file}")), file.len());
    }
    let root = serde_json::json!(["bin", "boot", "etc", "usr", "var"]);
    assert_eq!(tried.ok("list /"), &root);
    tried.error("read /.env");
    tried.error("read /src/main.rs");
}

// Rows 2, 9, 10, 23, 46, 67: what was pushed runs from the store, without the directory that it came from.
#[test]
fn what_was_published_runs_by_its_cid() {
    let ww = ww();
    let environment = Environment::new(guests::PRINT_ENV);
    let path = push(&ww, environment.path());
    drop(environment);
    for path in [&path, &format!("{path}/")] {
        let finished = run(&ww, &[Path::new(path)], &["a", "b"]).ok();
        let args = "{\"args\":[\"/boot/main.wasm\",\"a\",\"b\"]}";
        assert_eq!(finished.stdout().lines().next(), Some(args));
    }
    assert!(ww.scratch().is_empty());
}

// Row 46: a path below a CID.
#[test]
fn an_image_inside_a_published_tree_runs_by_its_path() {
    let ww = ww();
    let outer = Environment::new(guests::EXIT_CODE);
    outer.copy(guests::PLAIN, "usr/share/inner/boot/main.wasm");
    let path = push(&ww, outer.path());
    let inner = format!("{path}/usr/share/inner");
    assert_eq!(run(&ww, &[Path::new(&inner)], &[]).ok().stdout(), "plain\n");
    let absent = format!("{path}/usr/share/absent");
    run(&ww, &[Path::new(&absent)], &[]).refused(&["absent"]);
}

// Row 68: the last entry counts, the files of all layers are there, and any layer may be a published one.
#[test]
fn layers_merge_into_one_image_and_later_ones_count() {
    let ww = ww();
    let base = Environment::new(guests::EXIT_CODE);
    base.write("etc/base", "base").write("etc/both", "base");
    let app = Environment::new(guests::FS_PROBE);
    app.write("etc/app", "the app").write("etc/both", "the app");
    let published = push(&ww, base.path());
    let before = (base.fingerprint(), app.fingerprint());
    for base in [base.path(), Path::new(&published)] {
        let args = ["/etc/base", "/etc/app", "/etc/both"];
        let tried = Attempts::of(&run(&ww, &[base, app.path()], &args).ok().stdout());
        assert_eq!(tried.ok("read /etc/base"), 4);
        assert_eq!(tried.ok("read /etc/app"), 7);
        assert_eq!(tried.ok("read /etc/both"), 7);
    }
    // The other way round the other entry runs.
    let layers = [app.path(), Path::new(&published)];
    run(&ww, &layers, &["7"]).expect(7);
    assert_eq!((base.fingerprint(), app.fingerprint()), before);
}

// Row 68.
#[test]
fn a_layer_without_an_entry_serves_as_one_of_several() {
    let data = Environment::empty();
    data.write("etc/data", "data");
    let app = Environment::new(guests::FS_PROBE);
    for layers in [[data.path(), app.path()], [app.path(), data.path()]] {
        let tried = Attempts::of(&run(&ww(), &layers, &["/etc/data"]).ok().stdout());
        assert_eq!(tried.ok("read /etc/data"), 4);
    }
}

#[test]
fn layers_that_do_not_go_together_are_refused_by_name() {
    let one = Environment::new(guests::PLAIN);
    one.write("etc/thing", "a file");
    let other = Environment::empty();
    other.write("etc/thing/below", "so a folder");
    run(&ww(), &[one.path(), other.path()], &[]).refused(&["etc/thing"]);
}

// Row 94: what a link leads to outside is not read, whoever put the link there.
#[test]
fn a_link_out_of_the_image_is_refused_before_anything_runs() {
    for target in ["/etc/passwd", "../../../../../etc/passwd"] {
        let environment = Environment::new(guests::FS_PROBE);
        environment.link("etc/passwd", target);
        let refused = run(&ww(), &[environment.path()], &["/etc/passwd"]);
        refused.refused(&["etc/passwd", target]);
    }
}

// Rows 95, 96.
#[test]
fn a_read_only_environment_runs_and_is_not_changed() {
    let environment = Environment::new(guests::PLAIN);
    environment.write("etc/motd", "welcome");
    let set = |mode: u32| {
        for folder in ["boot", "etc", "."] {
            let folder = environment.join(folder);
            fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
        }
    };
    set(0o555);
    let before = environment.fingerprint();
    let finished = run(&ww(), &[environment.path()], &[]);
    let after = environment.fingerprint();
    set(0o755);
    assert_eq!(finished.ok().stdout(), "plain\n");
    assert_eq!(after, before);
}

// Row 97.
#[test]
fn the_same_files_have_the_same_cid_on_every_machine() {
    let (here, there) = (ww(), ww());
    let environment = Environment::new(guests::PLAIN);
    environment.write("etc/motd", "welcome");
    let copy = Environment::new(guests::PLAIN);
    copy.write("etc/motd", "welcome").write("README", "beside");
    let path = push(&here, environment.path());
    assert_eq!(push(&here, environment.path()), path);
    assert_eq!(push(&there, copy.path()), path);
}

// Rows 42, 43: what is written under /var is there at the next run of the same environment, begins with what the
// image has, and is nobody else's; nothing of it appears in the user's own tree.
#[test]
pub fn an_environment_keeps_what_it_writes_under_var() {
    let (one, other) = (
        Environment::new(guests::KEEPS_VAR),
        Environment::new(guests::KEEPS_VAR),
    );
    one.write("var/lib/seed", "from the image");
    let before = one.fingerprint();
    let ww = ww();
    let run = |environment: &Environment| ww.guest(environment, &[]).ok().stdout();
    assert_eq!(run(&one), "0 before; seed: from the image\n");
    assert_eq!(run(&one), "1 before; seed: from the image\n");
    assert_eq!(run(&other), "0 before; seed: none\n");
    assert_eq!(run(&one), "2 before; seed: from the image\n");
    assert_eq!(one.fingerprint(), before);
}

#[test]
fn two_runs_of_one_environment_do_not_share_its_var() {
    let stage = crate::Stage::new(guests::IDLE);
    let mut first = stage.start(&[]);
    first.stdout_line("idle");
    let mut second = stage.start(&[]);
    second.stderr_line("another run of this environment has its /var");
    second.stdout_line("idle");
}

#[test]
fn what_is_kept_under_var_is_bounded() {
    let stage = crate::Stage::new(guests::KEEPS_VAR).with(&["--limit", "var=1MiB"]);
    let told = stage.run(&["fill"]).ok().stdout();
    assert!(told.starts_with("refused after "), "{told}");
    // And what is there already counts.
    let refused = stage
        .ww
        .guest_command_with(&["--limit", "var=64KiB"], &stage.environment, &[])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        told.contains("holds already is more than its quota allows"),
        "{told}"
    );
}
