//! A tree onto the disk. Directories are created for their owner alone (0700), files too (0600), and
//! links come last, so that no write ever passes through one. Nothing that exists is overwritten.

use std::io::Write;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt, OpenOptions, OpenOptionsExt};

use super::{Node, Tree, TreeError, TreePath};

/// Writes `tree` into the existing, empty directory `destination`; `copy` is called for each file with
/// its path and the open file to fill. Checks the links once more before the first write.
///
/// Errors: a refused link, whatever `copy` answers, and [`TreeError::Io`]. What was written until then
/// stays: write into a directory that is thrown away on error.
pub fn write_tree<E: From<TreeError>>(
    tree: &Tree,
    destination: &Path,
    mut copy: impl FnMut(&TreePath, &mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    tree.check_links()?;
    let root = Dir::open_ambient_dir(destination, ambient_authority())
        .map_err(TreeError::io(destination.to_string_lossy(), "opening"))?;
    let mut private_directory = DirBuilder::new();
    private_directory.mode(0o700);
    let mut new_file = OpenOptions::new();
    new_file.write(true).create_new(true).mode(0o600);
    for (path, node) in tree.iter() {
        let failed = |error| TreeError::io(path.as_str(), "creating")(error);
        match node {
            Node::Directory => {
                root.create_dir_with(path.as_str(), &private_directory)
                    .map_err(failed)?;
            }
            Node::File { .. } => {
                let mut file = root.open_with(path.as_str(), &new_file).map_err(failed)?;
                copy(path, &mut file)?;
            }
            Node::Link { .. } => {}
        }
    }
    for (path, node) in tree.iter() {
        if let Node::Link { target } = node {
            root.symlink(target, path.as_str())
                .map_err(TreeError::io(path.as_str(), "creating the link"))?;
        }
    }
    Ok(())
}
