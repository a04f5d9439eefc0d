//! Makes the committed code afresh from `capnp/*.capnp`: `make schema`.
//!
//! Needs the `capnp` compiler and its standard schemas (Debian: `capnproto` and `libcapnp-dev`). A
//! build needs neither. The optional argument is the directory to write into.

#[path = "generate/interfaces.rs"]
mod interfaces;

use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schemas = crate_dir.join("../../capnp");
    let output = std::env::args_os()
        .nth(1)
        .map_or_else(|| crate_dir.join("src"), PathBuf::from);
    let files = ["system", "stem", "ipfs"].map(|name| schemas.join(name).with_extension("capnp"));
    let mut command = capnpc::CompilerCommand::new();
    command.src_prefix(&schemas).output_path(&output);
    for file in &files {
        command.file(file);
    }
    command.run()?;
    std::fs::write(
        output.join("interfaces/table.rs"),
        interfaces::table(&files)?,
    )?;
    Ok(())
}
