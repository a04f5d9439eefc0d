//! What a guest reads of its image, and where it comes from.

use std::fs;
use std::path::{Path, PathBuf};

use content::dag::Limits;
use content::import::{self, Options};
use content::tree::LocalTree;
use content::{CidVersion, EmbeddedStore, MemoryStore, car};
use fixtures::{Environment, Finished, Running, Ww, guests};
use image::FHS;

use crate::ww;

fn run(ww: &Ww, layers: &[&Path], args: &[&str]) -> Finished {
    let mut command = ww.command(["run", "--port", "0"]);
    fixtures::finish(command.args(layers).arg("--").args(args))
}

/// Publishes a directory; where it can be run from.
#[track_caller]
fn push(ww: &Ww, directory: &Path) -> PathBuf {
    let pushed = ww.run([Path::new("push"), directory]).ok();
    format!("/ipfs/{}", pushed.stdout().trim()).into()
}

/// Publishes a directory under names of version 0.
fn push_v0(ww: &Ww, directory: &Path) -> PathBuf {
    let store = EmbeddedStore::open(&ww.home().join("store")).unwrap();
    let listed = LocalTree::open(directory, &FHS).unwrap();
    let options = Options {
        cid_version: CidVersion::V0,
        ..Options::default()
    };
    let cid = import::local_tree_with(&store, &listed, options).unwrap();
    assert!(cid.to_string().starts_with("Qm"));
    format!("/ipfs/{cid}").into()
}

/// A directory as a CAR file.
fn pack(directory: &Path, file: &Path) {
    let store = MemoryStore::default();
    let cid = import::directory(&store, directory, &FHS).unwrap();
    let mut written = fs::File::create(file).unwrap();
    car::export(&store, &cid, &Limits::default(), &mut written).unwrap();
}

/// Bytes that differ from place to place.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 8191) as u8).collect()
}

/// What the guest prints of bytes that are these.
fn sum(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(0_u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
    });
    format!("{} {sum}\n", bytes.len())
}

#[test]
pub fn a_file_is_the_same_in_whatever_pieces_and_from_whatever_layer_it_is_read() {
    let ww = ww();
    let environment = Environment::new(guests::READS_IMAGE);
    let bytes = pattern((5 << 20) + 3);
    environment.write("usr/data", &bytes);
    let outside = Environment::empty();
    let file = outside.join("layer.car");
    pack(environment.path(), &file);
    let layers = [
        environment.path().to_owned(),
        push(&ww, environment.path()),
        push_v0(&ww, environment.path()),
        file,
    ];
    for layer in &layers {
        for piece in ["1013", "70001", "3000000"] {
            let finished = run(&ww, &[layer], &["sum", "/usr/data", piece]);
            assert_eq!(finished.ok().stdout(), sum(&bytes), "{layer:?} {piece}");
        }
    }
}

#[test]
fn ten_thousand_entries_are_listed_in_order() {
    let ww = ww();
    let environment = Environment::new(guests::READS_IMAGE);
    for number in 0..10_000 {
        environment.write(&format!("usr/many/{number:05}"), "");
    }
    let told = "10000 Some(\"00000\") Some(\"09999\")\n";
    for layer in [environment.path(), &push(&ww, environment.path())] {
        let finished = run(&ww, &[layer], &["list", "/usr/many"]);
        assert_eq!(finished.ok().stdout(), told);
    }
}

#[test]
fn forty_links_are_followed_and_one_more_is_not() {
    let environment = Environment::new(guests::READS_IMAGE);
    environment.write("usr/0", "end");
    for link in 1..=41 {
        environment.link(&format!("usr/{link}"), &(link - 1).to_string());
    }
    let read = |path| run(&ww(), &[environment.path()], &["sum", path, "10"]);
    assert_eq!(read("/usr/40").ok().stdout(), sum(b"end"));
    let refused = read("/usr/41").expect(1);
    assert!(
        refused.stderr().contains("FilesystemLoop"),
        "{}",
        refused.stderr()
    );
}

#[test]
fn a_file_that_changes_under_a_running_cell_is_an_error_and_not_other_bytes() {
    let ww = ww();
    let environment = Environment::new(guests::READS_IMAGE);
    environment.write("usr/data", pattern(1 << 20));
    let start = || {
        let mut command = ww.guest_command(&environment, &["again", "/usr/data"]);
        let mut running = Running::start(&mut command);
        running.stdout_line("has read one byte");
        running
    };
    let mut undisturbed = start();
    undisturbed.type_line("");
    let rest = &pattern(1 << 20)[1..];
    let rest = sum(rest).trim().replace(' ', ", ");
    undisturbed.stdout_line(&format!("the rest: Ok(({rest}))"));
    undisturbed.stdout_line("anew: Ok(1048576)");
    drop(undisturbed);

    let mut running = start();
    environment.write("usr/data", vec![7; 1 << 20]);
    running.type_line("");
    running.stdout_line("the rest: Err(");
    running.stdout_line("anew: Err(");
    running.stderr_line("usr/data");
    assert_eq!(running.code(), 0);
}

#[test]
fn a_run_puts_no_copy_of_its_image_on_the_disk() {
    let ww = ww();
    let environment = Environment::new(guests::IDLE);
    environment.write("usr/data", pattern(1 << 20));
    let published = push(&ww, environment.path());
    let mut running = Running::start(ww.command(["run", "--port", "0"]).arg(published));
    running.stdout_line("idle");
    let mut ahead = ww.scratch();
    assert!(!ahead.is_empty());
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let (path, found) = entry
                .map(|entry| (entry.path(), entry.metadata().unwrap()))
                .unwrap();
            assert!(found.is_dir() || found.len() == 0, "{path:?}");
            ahead.extend(found.is_dir().then_some(path));
        }
    }
    running.interrupt();
    running.code();
}

#[test]
fn a_car_file_is_a_layer_like_any_other() {
    let ww = ww();
    let app = Environment::new(guests::READS_IMAGE);
    let data = Environment::empty();
    data.write("usr/data", "data");
    let outside = Environment::empty();
    let (app_file, data_file) = (outside.join("app.car"), outside.join("data.car"));
    pack(app.path(), &app_file);
    pack(data.path(), &data_file);
    for layers in [
        [app.path(), &data_file],
        [&app_file, data.path()],
        [&data_file, &app_file],
    ] {
        let finished = run(&ww, &layers, &["sum", "/usr/data", "3"]);
        assert_eq!(finished.ok().stdout(), sum(b"data"), "{layers:?}");
    }
    run(&ww, &[&data_file], &[]).refused(&["data.car", "boot/main.wasm"]);
    // One byte in the middle of a block.
    let mut bytes = fs::read(&app_file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&app_file, bytes).unwrap();
    run(&ww, &[&app_file], &[]).refused(&["app.car"]);
    fs::write(&app_file, "garbage").unwrap();
    run(&ww, &[&app_file], &[]).refused(&["app.car"]);
    run(&ww, &[&outside.join("none.car")], &[]).refused(&["none.car"]);
    // A directory of such a name is a directory.
    let folder = outside.join("folder.car");
    fs::rename(data.path(), &folder).unwrap();
    let finished = run(&ww, &[app.path(), &folder], &["sum", "/usr/data", "3"]);
    assert_eq!(finished.ok().stdout(), sum(b"data"));
    fs::create_dir(data.path()).unwrap();
}

#[test]
fn what_a_running_environment_reads_is_no_garbage_and_afterwards_it_is() {
    let ww = ww();
    let environment = Environment::new(guests::READS_IMAGE);
    environment.write("usr/data", pattern(1 << 20));
    let outside = Environment::empty();
    let file = outside.join("layer.car");
    pack(environment.path(), &file);
    let collected = || ww.run(["gc"]).ok().stdout();
    let start = || {
        let mut command = ww.command(["run", "--port", "0"]);
        let mut running = Running::start(command.arg(&file).args(["--", "again", "/usr/data"]));
        running.stdout_line("has read one byte");
        running
    };
    let mut running = start();
    assert!(collected().starts_with("removed 0 blocks"));
    running.type_line("");
    running.stdout_line("the rest: Ok(");
    running.stdout_line("anew: Ok(1048576)");
    assert_eq!(running.code(), 0);
    assert!(collected().ends_with("kept 0\n"));

    // One that was killed keeps it until somebody else runs.
    let mut killed = start();
    killed.kill();
    killed.code();
    assert!(collected().starts_with("removed 0 blocks"));
    run(&ww, &[environment.path()], &["list", "/usr"]).ok();
    assert!(collected().ends_with("kept 0\n"));
}
