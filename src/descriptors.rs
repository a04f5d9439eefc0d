//! The file descriptors of this process, which everything on the node shares: sockets, caches, compilers, and the
//! files that cells open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of one node's cells, however many the process may have: each takes the kernel about a KiB, so 64 MiB.
const MOST_FOR_CELLS: u64 = 1 << 16;

/// Raises what this process may have open as far as it may without asking anybody. Where that fails, less has to do.
pub fn raise() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// How many the cells may have together: half of what the process may, so that the node itself always has some.
pub fn for_cells() -> u64 {
    share(getrlimit(Resource::Nofile).current)
}

fn share(limit: Option<u64>) -> u64 {
    limit.map_or(MOST_FOR_CELLS, |limit| (limit / 2).min(MOST_FOR_CELLS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_never_get_more_than_half() {
        assert_eq!(share(Some(1024)), 512);
        assert_eq!(share(Some(1)), 0);
        assert_eq!(share(Some(u64::MAX)), MOST_FOR_CELLS);
        assert_eq!(share(None), MOST_FOR_CELLS);
    }
}
