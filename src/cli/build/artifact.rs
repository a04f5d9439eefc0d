//! What cargo made: known for a component before anything is replaced by it.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{anyhow, bail};

/// How every component begins: the magic number, and the component layer's version.
const COMPONENT: &[u8; 8] = b"\0asm\x0d\0\x01\0";
/// How a core module begins.
const CORE_MODULE: &[u8; 8] = b"\0asm\x01\0\0\0";
/// An image's files are public, like everything that is published.
const READABLE_BY_ALL: u32 = 0o644;

/// A component, as cargo made it.
#[derive(Debug)]
pub struct Component {
    bytes: Vec<u8>,
}

impl Component {
    /// Reads cargo's artifact. Refuses what is no component, and says what it is instead.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(file).map_err(|e| anyhow!("cannot read {}: {e}", file.display()))?;
        if bytes.starts_with(COMPONENT) {
            Ok(Self { bytes })
        } else if bytes.starts_with(CORE_MODULE) {
            bail!(
                "{} is a core module, not a component: something replaced wasm32-wasip2's linker, \
                 wasm-component-ld; look for `linker` or `link-arg` in .cargo/config.toml and RUSTFLAGS",
                file.display()
            )
        } else {
            bail!("{} is not WebAssembly", file.display())
        }
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Puts it at `place`, whole or not at all.
    pub fn install(&self, place: &Path) -> anyhow::Result<()> {
        replace(place, &self.bytes).map_err(|e| anyhow!("cannot write {}: {e}", place.display()))
    }
}

/// Writes beside `place`, then renames.
fn replace(place: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = place.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new()
        .prefix(".ww-build-")
        .permissions(Permissions::from_mode(READABLE_BY_ALL))
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    File::sync_data(file.as_file())?;
    file.persist(place).map_err(|e| e.error)?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> anyhow::Result<Component> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        Component::read(file.path())
    }

    #[test]
    fn only_components_are_taken() {
        assert!(read(b"\0asm\x0d\0\x01\0rest").is_ok());
        let core = read(b"\0asm\x01\0\0\0").unwrap_err().to_string();
        assert!(core.contains("core module"), "{core}");
        assert!(read(b"#!/bin/sh").is_err());
        assert!(read(b"").is_err());
    }

    #[test]
    fn installing_replaces_and_leaves_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("boot/main.wasm");
        let component = read(COMPONENT).unwrap();
        component.install(&target).unwrap();
        component.install(&target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), COMPONENT);
        assert_eq!(fs::read_dir(target.parent().unwrap()).unwrap().count(), 1);
    }
}
