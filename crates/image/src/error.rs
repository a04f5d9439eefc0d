//! Why layers make no image. Each message is one line that ends in what to do.

use std::io;
use std::path::{Path, PathBuf};

use content::ContentError;
use content::tree::TreeError;

use crate::FHS;

/// Why a layer or a set of layers was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// There is nothing at the layer's path.
    #[error("{path:?} does not exist; give the folder of an image, or make one with `ww init`")]
    Missing {
        /// The path as given.
        path: PathBuf,
    },
    /// The layer's path is a file.
    #[error("{path:?} is not a folder; give the folder that holds boot/")]
    NotADirectory {
        /// The path as given.
        path: PathBuf,
    },
    /// The layer's directory cannot be opened.
    #[error("{path:?} cannot be read: {source}; check its permissions")]
    Unreadable {
        /// The path as given.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The layer has none of the directories that make an image.
    #[error("{path:?} is no image: it has none of {}; give the folder that holds boot/, or make one with `ww init`", FHS.join(", "))]
    NotFhs {
        /// The path as given.
        path: PathBuf,
    },
    /// Something in a layer was refused.
    #[error("in {layer:?}: {source}")]
    Layer {
        /// The layer.
        layer: PathBuf,
        /// What was refused.
        source: Box<ContentError>,
    },
    /// A CAR file does not say which of its roots is the image.
    #[error(
        "{file:?} has {roots} roots and must have one; export the image alone, with `ww dag export` or `ipfs dag export`"
    )]
    CarRoots {
        /// The file.
        file: PathBuf,
        /// How many roots it has.
        roots: usize,
    },
    /// The name of the merged tree cannot be computed.
    #[error("naming the merged image: {0}")]
    Root(#[source] Box<ContentError>),
    /// One layer has a directory where another has a file or a link.
    #[error(
        "{path:?} is a directory in {directory_in:?} and not in {other_in:?}; rename one of them"
    )]
    Conflict {
        /// The path inside the image.
        path: String,
        /// The layer where it is a directory.
        directory_in: PathBuf,
        /// The layer where it is a file or a link.
        other_in: PathBuf,
    },
    /// The layers are good one by one, and what they come to is not.
    #[error("merging the layers: {0}")]
    Merged(#[source] TreeError),
    /// No layer has the entry.
    #[error("boot/main.wasm not found in {}; run ww build", listed(layers))]
    EntryMissing {
        /// The layers that were searched.
        layers: Vec<PathBuf>,
    },
    /// The entry is there and is not a file.
    #[error(
        "boot/main.wasm is a link or a directory and must be a file; put the component itself there, or run ww build"
    )]
    EntryNotAFile,
    /// A file is larger than its reader takes.
    #[error(
        "{:?} has {bytes} bytes, over the limit of {limit}; build it for size (opt-level, strip)",
        shown(path)
    )]
    FileTooBig {
        /// The path inside the image.
        path: String,
        /// Its size in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A path does not lead to a file of the image.
    #[error(
        "{:?} cannot be read from the image: there is no such file; name one below boot, bin, etc, usr or var",
        shown(path)
    )]
    NoSuchFile {
        /// The path as given.
        path: String,
    },
}

impl ImageError {
    /// Something in the layer of this name was refused.
    pub(crate) fn layer(name: &Path, source: impl Into<ContentError>) -> Self {
        Self::Layer {
            layer: name.to_owned(),
            source: Box::new(source.into()),
        }
    }

    /// There is no file at this path of the image.
    pub(crate) fn no_such_file(path: &str) -> Self {
        Self::NoSuchFile {
            path: path.to_owned(),
        }
    }
}

/// How much of a path that a cell has named is told, in characters: enough to know it by.
const MAX_SHOWN_CHARS: usize = 160;

/// The beginning of a path.
fn shown(path: &str) -> &str {
    let end = path.char_indices().nth(MAX_SHOWN_CHARS);
    end.and_then(|(end, _)| path.get(..end)).unwrap_or(path)
}

fn listed(layers: &[PathBuf]) -> String {
    match layers {
        [] => "no layers".to_owned(),
        layers => layers
            .iter()
            .map(|path| format!("{path:?}"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_path_that_a_cell_has_named_the_beginning_is_told() {
        let refusal = |path: &str| ImageError::no_such_file(path).to_string();
        assert!(refusal("/bin/absent").starts_with("\"/bin/absent\" cannot be read"));
        assert!(refusal(&"\u{202e}".repeat(100_000)).len() < 2000);
        let path = "x".repeat(100_000);
        let (bytes, limit) = (2, 1);
        assert!(
            ImageError::FileTooBig { path, bytes, limit }
                .to_string()
                .len()
                < 400
        );
    }
}
