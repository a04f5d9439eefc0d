//! What it costs that an image is served from where it is: whole runs of `ww`, from a directory, from blocks, and
//! from a directory that was first made of the blocks.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use content::{Cid, EmbeddedStore, export, import};
use fixtures::{Environment, guests};

use super::{Line, line, percentile, ratio, whole};

/// The large layer, and what a run reads of it, in bytes.
const LAYER_BYTES: u64 = 1 << 30;
const READ_BYTES: u64 = 1 << 20;

/// Runs that materialise the large layer, and runs that do not.
const MATERIALISED: usize = 3;
const SERVED: usize = 20;

pub(super) fn rows(_: &tokio::runtime::Runtime) -> Vec<Line> {
    let home = tempfile::tempdir().unwrap();
    let mut lines = small(home.path());
    lines.extend(large(home.path()));
    lines
}

fn ww(home: &Path, layer: impl AsRef<Path>, args: &[&str]) -> Command {
    let mut ww = Command::new(env!("CARGO_BIN_EXE_ww"));
    ww.args(["run", "--port", "0"])
        .arg(layer.as_ref())
        .arg("--")
        .args(args)
        .env("WW_HOME", home)
        .env("RUST_LOG", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    ww
}

/// Publishes a directory in the store of that home.
fn publish(home: &Path, directory: &Path) -> Cid {
    let store = EmbeddedStore::open(&home.join("store")).unwrap();
    import::directory(&store, directory, &::image::FHS).unwrap()
}

fn small(home: &Path) -> Vec<Line> {
    let environment = Environment::new(guests::HELLO);
    // Makes the home.
    let mut local = whole(&mut ww(home, environment.path(), &[]));
    let cid = publish(home, environment.path());
    let mut published = whole(&mut ww(home, format!("/ipfs/{cid}"), &[]));
    let share = ratio(percentile(&mut published, 50), percentile(&mut local, 50));
    let remark = format!("{share:.2} x the directory");
    vec![
        line("image: hello from a directory", &mut local, ""),
        line("image: hello from its CID", &mut published, remark),
    ]
}

fn large(home: &Path) -> Vec<Line> {
    // On the disk that the store is on.
    let place = tempfile::tempdir_in(home).unwrap();
    let environment = Environment::new(guests::READS_IMAGE);
    fs::create_dir(environment.join("usr")).unwrap();
    let mut data = BufWriter::new(File::create(environment.join("usr/data")).unwrap());
    for number in 0..LAYER_BYTES / 8 {
        data.write_all(&number.to_le_bytes()).unwrap();
    }
    data.into_inner().unwrap().sync_all().unwrap();
    let cid = publish(home, environment.path());
    drop(environment);
    let read = READ_BYTES.to_string();
    let args = ["sum", "/usr/data", "65536", &read];
    let store = EmbeddedStore::open(&home.join("store")).unwrap();
    let timed = |run: &mut dyn FnMut()| -> Duration {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    let mut materialised: Vec<_> = (0..MATERIALISED)
        .map(|number| {
            let copy = place.path().join(number.to_string());
            let took = timed(&mut || {
                export::to_directory(&store, &cid, &copy).unwrap();
                assert!(ww(home, &copy, &args).status().unwrap().success());
            });
            fs::remove_dir_all(copy).unwrap();
            took
        })
        .collect();
    let mut served: Vec<_> = (0..SERVED)
        .map(|_| {
            let mut run = ww(home, format!("/ipfs/{cid}"), &args);
            timed(&mut || assert!(run.status().unwrap().success()))
        })
        .collect();
    let share = ratio(
        percentile(&mut served, 50),
        percentile(&mut materialised, 50),
    );
    let remark = format!("{share:.4} x the other");
    vec![
        line(
            "image: 1 MiB of a 1 GiB layer, copied first",
            &mut materialised,
            "",
        ),
        line(
            "image: 1 MiB of a 1 GiB layer, from blocks",
            &mut served,
            remark,
        ),
    ]
}
