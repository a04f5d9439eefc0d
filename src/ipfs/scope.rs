//! What a holder of content may name and change.
//!
//! Every CID is a name that anybody can make, so what one may read is not bounded by what one was told, unless
//! something says so. A scope does: it holds reading to one subtree, pins to one namespace, or refuses every change.
//! Narrowed again, it is the intersection; nothing widens it.

use content::pins::RUNNING;
use content::{ContentError, IpfsPath};

/// How the error starts of every call that a scope does not allow.
const OUT_OF_SCOPE: &str = "attenuated: this ipfs";

/// The longest namespace of pins, in bytes, with those that it is in. Half of what a pin's name may have.
const MAX_NAMESPACE_BYTES: usize = 128;

/// What is allowed. `Default` allows everything.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    read_only: bool,
    subtree: Option<IpfsPath>,
    pins: Option<String>,
}

/// What a scope refuses, and what would lift it.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// A change, where there may be none.
    #[error("{OUT_OF_SCOPE} is read-only; whoever narrowed it can grant it without readOnly")]
    ReadOnly,
    /// A path that leads elsewhere.
    #[error(
        "{OUT_OF_SCOPE} is held to {subtree}; name what is below by a path that begins with that"
    )]
    Outside {
        /// Where everything has to be.
        subtree: String,
    },
    /// What is not below any path: peers, names, keys, pins.
    #[error(
        "{OUT_OF_SCOPE} is held to {subtree}, and this call reaches beyond; whoever narrowed it can grant it without a subtree"
    )]
    Beyond {
        /// Where everything has to be.
        subtree: String,
    },
    /// A namespace with no name.
    #[error("pins: a namespace has 1 to {MAX_NAMESPACE_BYTES} bytes and no slash")]
    Namespace,
    /// The namespace of what running nodes hold.
    #[error("pins: {RUNNING} is the namespace of what running nodes hold; use another")]
    Reserved,
    /// Namespaces in namespaces whose names are too long together.
    #[error("pins: the namespaces that this is in have more than {MAX_NAMESPACE_BYTES} bytes")]
    Nested,
    /// The subtree is no path.
    #[error("subtree: {0}")]
    Path(Box<ContentError>),
}

impl Scope {
    /// This scope, and what is asked for as well. Empty texts ask for nothing.
    ///
    /// # Errors
    /// When the subtree is no path, or outside of the one there is; and for a namespace that is none.
    pub fn attenuate(
        &self,
        read_only: bool,
        subtree: &str,
        pins: &str,
    ) -> Result<Self, ScopeError> {
        let mut narrowed = self.clone();
        narrowed.read_only |= read_only;
        if !subtree.is_empty() {
            self.reads(subtree)?;
            let subtree = subtree
                .parse()
                .map_err(|error| ScopeError::Path(Box::new(error)))?;
            narrowed.subtree = Some(subtree);
        }
        if !pins.is_empty() {
            if pins.contains('/') || pins.len() > MAX_NAMESPACE_BYTES {
                return Err(ScopeError::Namespace);
            }
            let whole = match &self.pins {
                Some(outer) => format!("{outer}/{pins}"),
                None => pins.to_owned(),
            };
            if whole == RUNNING {
                return Err(ScopeError::Reserved);
            }
            if whole.len() > MAX_NAMESPACE_BYTES {
                return Err(ScopeError::Nested);
            }
            narrowed.pins = Some(whole);
        }
        Ok(narrowed)
    }

    /// Checks that this path may be read.
    ///
    /// # Errors
    /// [`ScopeError::Outside`].
    pub fn reads(&self, path: &str) -> Result<(), ScopeError> {
        let Some(subtree) = &self.subtree else {
            return Ok(());
        };
        // What is no such path, a name for instance, does not begin with one.
        let inside = path.parse::<IpfsPath>().is_ok_and(|path| {
            path.root() == subtree.root() && path.names().starts_with(subtree.names())
        });
        match inside {
            true => Ok(()),
            false => Err(ScopeError::Outside {
                subtree: subtree.to_string(),
            }),
        }
    }

    /// Checks that something may be changed.
    ///
    /// # Errors
    /// [`ScopeError::ReadOnly`] and [`ScopeError::Beyond`]: what is added is not below any path yet.
    pub fn changes(&self) -> Result<(), ScopeError> {
        match self.read_only {
            true => Err(ScopeError::ReadOnly),
            false => self.reaches_beyond(),
        }
    }

    /// Checks that more than paths may be seen.
    ///
    /// # Errors
    /// [`ScopeError::Beyond`].
    pub fn reaches_beyond(&self) -> Result<(), ScopeError> {
        match &self.subtree {
            Some(subtree) => Err(ScopeError::Beyond {
                subtree: subtree.to_string(),
            }),
            None => Ok(()),
        }
    }

    /// The namespace of pins, if there is one.
    pub fn pins(&self) -> Option<&str> {
        self.pins.as_deref()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CID: &str = "/ipfs/bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354";
    const OTHER: &str = "/ipfs/bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";

    #[test]
    fn a_subtree_holds_reading_to_paths_that_begin_with_it() {
        let held = Scope::default()
            .attenuate(false, &format!("{CID}/a"), "")
            .unwrap();
        held.reads(&format!("{CID}/a")).unwrap();
        held.reads(&format!("{CID}/a/b")).unwrap();
        for outside in [
            CID,
            OTHER,
            &format!("{CID}/ab"),
            &format!("{CID}/b/a"),
            &format!("{CID}/a/../b"),
            &format!("{OTHER}/a"),
            "/ipns/k51",
            "",
        ] {
            assert!(held.reads(outside).is_err(), "{outside}");
        }
        assert!(held.changes().is_err());
        assert!(held.reaches_beyond().is_err());
    }

    #[test]
    fn narrowing_again_never_widens() {
        let held = Scope::default()
            .attenuate(true, &format!("{CID}/a"), "mine")
            .unwrap();
        assert!(held.attenuate(false, CID, "").is_err());
        let inner = held.attenuate(false, &format!("{CID}/a/b"), "own").unwrap();
        assert!(matches!(inner.changes(), Err(ScopeError::ReadOnly)));
        assert!(inner.reads(&format!("{CID}/a")).is_err());
        assert_eq!(inner.pins(), Some("mine/own"));
        let same = inner.attenuate(false, "", "").unwrap();
        assert_eq!(same.pins(), Some("mine/own"));
        assert!(same.reads(&format!("{CID}/a")).is_err());
    }

    #[test]
    fn what_is_no_path_and_what_is_no_namespace_is_refused() {
        let all = Scope::default();
        assert!(all.attenuate(false, "/ipns/k51", "").is_err());
        assert!(all.attenuate(false, "", "a/b").is_err());
        assert!(all.attenuate(false, "", &"n".repeat(129)).is_err());
        let reserved = all.attenuate(false, "", RUNNING);
        assert!(matches!(reserved, Err(ScopeError::Reserved)));
        let long = all.attenuate(false, "", &"n".repeat(100)).unwrap();
        assert!(long.attenuate(false, "", &"n".repeat(28)).is_err());
        assert!(long.attenuate(false, "", &"n".repeat(27)).is_ok());
        all.reads("anything").unwrap();
        all.changes().unwrap();
    }
}
