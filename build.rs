//! Packs what `ww init` writes into the binary: the templates, and the guest SDK with all that it
//! is built from. Only sources are taken; a `target` folder that somebody's build left is not.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// What is packed: files, and folders with everything in them.
const PACKED: &[&str] = &[
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "crates/schema/Cargo.toml",
    "crates/schema/src",
    "std/runtime/Cargo.toml",
    "std/runtime/src",
    "templates",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let mut table = String::from("[\n");
    for packed in PACKED {
        println!("cargo::rerun-if-changed={packed}");
        for file in files(&root.join(packed))? {
            let name = file.strip_prefix(&root)?;
            writeln!(table, "    ({name:?}, include_bytes!({file:?})),")?;
        }
    }
    table.push(']');
    fs::write(Path::new(&env::var("OUT_DIR")?).join("packed.rs"), table)?;
    Ok(())
}

/// The files at and below `path`, in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    let mut ahead = vec![path.to_path_buf()];
    while let Some(path) = ahead.pop() {
        let kind = fs::metadata(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        if kind.is_file() {
            found.push(path);
        } else if path.file_name().is_none_or(|name| name != "target") {
            for entry in fs::read_dir(&path)? {
                ahead.push(entry?.path());
            }
        }
    }
    found.sort();
    Ok(found)
}
