//! Makes `src/bindings.rs` afresh from the project's `wit/` folder: `make schema`.
//!
//! The bindings are committed, so that building a guest needs neither a WIT parser nor the files.
//! The optional argument is the file to write.

use std::error::Error;
use std::path::{Path, PathBuf};

use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};
use wit_bindgen_rust::{Opts, WithOption};

/// What a guest may import from us. A component holds only those imports that it calls.
const WORLD: &str = "
package wetware:sdk;

world sdk {
  import wetware:rpc/rpc@0.1.0;
  import wetware:streams/streams@0.1.0;
}";

/// The types of WASI that our packages mention, and where the `wasip2` crate has them.
const WASI: [(&str, &str); 3] = [
    ("wasi:io/error@0.2.12", "::wasip2::io::error"),
    ("wasi:io/poll@0.2.12", "::wasip2::io::poll"),
    ("wasi:io/streams@0.2.12", "::wasip2::io::streams"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let output = std::env::args_os().nth(1).map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bindings.rs"),
        PathBuf::from,
    );
    std::fs::write(output, generate()?)?;
    Ok(())
}

/// The text of the bindings.
pub fn generate() -> Result<String, Box<dyn Error>> {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut resolve = Resolve::default();
    for folder in ["deps/io", "rpc", "streams"] {
        resolve.push_dir(crate_dir.join("../../wit").join(folder))?;
    }
    let package = resolve.push_str("sdk.wit", WORLD)?;
    let world = resolve.select_world(&[package], None)?;
    let options = Opts {
        format: true,
        with: WASI
            .iter()
            .map(|(name, path)| ((*name).to_owned(), WithOption::Path((*path).to_owned())))
            .collect(),
        generate_all: true,
        type_section_suffix: Some("wetware-runtime".to_owned()),
        ..Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, world, &mut files)?;
    let (_, text) = files.iter().next().ok_or("nothing was generated")?;
    Ok(String::from_utf8(text.to_vec())?)
}
