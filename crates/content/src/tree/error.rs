//! What a tree of files is refused for. Names are printed escaped: they may be hostile.

use std::io;
use std::path::PathBuf;

/// Why a tree, or an entry of it, was refused. Paths are relative to the tree's root.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// There is nothing at the path.
    #[error("{path:?} does not exist; check the path")]
    Missing {
        /// The path as given.
        path: PathBuf,
    },
    /// A directory was expected.
    #[error("{path:?} is not a directory; name the directory that holds the tree")]
    NotADirectory {
        /// The path as given.
        path: PathBuf,
    },
    /// The directory cannot be opened.
    #[error("{path:?} cannot be read: {source}; check its permissions")]
    Unreadable {
        /// The path as given.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// One of the top names is there, but is no directory.
    #[error("{name:?} must be a directory; replace the file or link of that name")]
    TopNotADirectory {
        /// The top name.
        name: String,
    },
    /// An entry's name is no name.
    #[error("entry {name:?} in {directory:?}: {why}; rename it")]
    NameInvalid {
        /// The directory that it is in.
        directory: String,
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An entry's name, or a link's target, is not UTF-8.
    #[error("{path:?} is not UTF-8; rename it")]
    NotUtf8 {
        /// The path, with the faulty bytes replaced.
        path: String,
    },
    /// An entry is below too many directories.
    #[error("{path:?} holds entries more than {limit} deep; flatten the tree")]
    TooDeep {
        /// The last directory that was allowed.
        path: String,
        /// The limit, in names.
        limit: usize,
    },
    /// An entry's path is too long.
    #[error("{path:?} holds entries whose path is over {limit} bytes; shorten the names")]
    PathTooLong {
        /// The directory of the entry.
        path: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// There are too many entries.
    #[error("the tree has more than {limit} entries; leave some out")]
    TooManyEntries {
        /// The limit.
        limit: usize,
    },
    /// The files are too large together.
    #[error("the tree has more than {limit} bytes; leave some out")]
    TooManyBytes {
        /// The limit in bytes.
        limit: u64,
    },
    /// A path occurs twice.
    #[error("{path:?} occurs twice")]
    Duplicate {
        /// The path.
        path: String,
    },
    /// An entry is not inside a directory of the tree.
    #[error("{path:?} is not in a directory of the tree")]
    NotInADirectory {
        /// The path.
        path: String,
    },
    /// A link names an absolute path.
    #[error("link {link:?} -> {target:?} is absolute; make it relative, within the tree")]
    LinkAbsolute {
        /// The link.
        link: String,
        /// What it says.
        target: String,
    },
    /// A link leads out of the tree.
    #[error(
        "link {link:?} -> {target:?} leads out of the tree; point it at something inside, or copy the file"
    )]
    LinkLeaves {
        /// The link.
        link: String,
        /// What it says.
        target: String,
    },
    /// A link's target goes through another link, so that what it means cannot be read off it.
    #[error("link {link:?} -> {target:?} goes through the link {through:?}; name the place itself")]
    LinkThroughLink {
        /// The link.
        link: String,
        /// What it says.
        target: String,
        /// The link on its way.
        through: String,
    },
    /// An entry is neither file, directory nor link.
    #[error("{path:?} is a {kind}; only files, directories and links can be part of a tree")]
    SpecialFile {
        /// The path.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// A file was replaced, grew or shrank between listing and reading.
    #[error("{path:?} changed while it was being read; try again when nothing writes to it")]
    Changed {
        /// The path.
        path: String,
    },
    /// The file system refused.
    #[error("{path:?}: {doing}: {source}")]
    Io {
        /// The path.
        path: String,
        /// What was being done.
        doing: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

impl TreeError {
    /// For `map_err`: names the path and the deed beside the system's answer.
    pub(crate) fn io(path: impl AsRef<str>, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            path: path.as_ref().to_owned(),
            doing,
            source,
        }
    }
}
