//! Makes the committed code afresh from `schema/`: the protocol's for the crate, the laboratory's for its
//! tests. Needs the `capnp` compiler (Debian: `capnproto`) and its standard schemas (`libcapnp-dev`); a
//! build needs neither. The optional argument is the directory to write into, instead of the crate's.

use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = std::env::args_os()
        .nth(1)
        .map_or_else(|| crate_dir.to_owned(), PathBuf::from);
    for (schema, into) in [("rpc", "src"), ("lab", "tests/vat")] {
        capnpc::CompilerCommand::new()
            .src_prefix(crate_dir.join("schema"))
            .output_path(output.join(into))
            .file(
                crate_dir
                    .join("schema")
                    .join(schema)
                    .with_extension("capnp"),
            )
            .run()?;
    }
    Ok(())
}
