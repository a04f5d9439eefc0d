//! Which symbolic links may stay. A link is kept when its meaning can be read off it without asking any
//! file system: relative, climbing first and descending after, never above the tree, and through
//! directories only. Such a link means the same wherever the tree is put. What it points at need not
//! exist: another layer may bring it, and a link to nothing is an error only for whoever opens it.

use super::{Node, Tree, TreeError, TreePath};

/// Which part of the tree a link may lead to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Within<'a> {
    /// Anywhere below the root.
    Tree,
    /// Only below these names at the root; what lies beside them is no part of the tree.
    Tops(&'a [&'a str]),
}

impl Tree {
    /// Refuses every link that is absolute, leads out, or goes through another link of the tree.
    pub fn check_links(&self) -> Result<(), TreeError> {
        self.check_links_within(Within::Tree)
    }

    /// As [`Tree::check_links`], and refuses links to anything that is not below one of `tops`.
    pub fn check_links_below(&self, tops: &[&str]) -> Result<(), TreeError> {
        self.check_links_within(Within::Tops(tops))
    }

    fn check_links_within(&self, within: Within<'_>) -> Result<(), TreeError> {
        for (link, node) in self.iter() {
            let Node::Link { target } = node else {
                continue;
            };
            let mut place = resolve(link, target, within)?
                .split()
                .map(|(parent, _)| parent);
            while let Some(directory) = place {
                if matches!(self.get(directory.as_str()), Some(Node::Link { .. })) {
                    return Err(TreeError::LinkThroughLink {
                        link: link.to_string(),
                        target: target.clone(),
                        through: directory.to_string(),
                    });
                }
                place = directory.split().map(|(parent, _)| parent);
            }
        }
        Ok(())
    }
}

/// The place that `link` means, by its text alone.
fn resolve(link: &TreePath, target: &str, within: Within<'_>) -> Result<TreePath, TreeError> {
    let leaves = || TreeError::LinkLeaves {
        link: link.to_string(),
        target: target.to_owned(),
    };
    if target.starts_with('/') {
        return Err(TreeError::LinkAbsolute {
            link: link.to_string(),
            target: target.to_owned(),
        });
    }
    let mut place = link.split().map(|(parent, _)| parent).ok_or_else(leaves)?;
    let mut descended = None;
    for name in target.split('/').filter(|name| !matches!(*name, "" | ".")) {
        if name != ".." {
            place = place.child(name)?;
            descended = Some(place.to_string());
        } else if let Some(through) = descended {
            // `a/..` is here only if `a` is a directory; it may be a link in another layer.
            return Err(TreeError::LinkThroughLink {
                link: link.to_string(),
                target: target.to_owned(),
                through,
            });
        } else {
            place = place.split().map(|(parent, _)| parent).ok_or_else(leaves)?;
        }
    }
    let top = place.names().next().ok_or_else(leaves)?;
    match within {
        Within::Tops(tops) if !tops.contains(&top) => Err(leaves()),
        _ => Ok(place),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> TreePath {
        text.split('/')
            .try_fold(TreePath::root(), |path, name| path.child(name))
            .unwrap()
    }

    fn tree(links: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for directory in ["etc", "usr", "usr/lib"] {
            tree.insert(path(directory), Node::Directory).unwrap();
        }
        for (link, target) in links {
            tree.insert(
                path(link),
                Node::Link {
                    target: (*target).into(),
                },
            )
            .unwrap();
        }
        tree
    }

    #[test]
    fn relative_links_that_stay_inside_are_kept() {
        for target in [
            "a",
            "./a",
            "../etc/a",
            "../../etc",
            "../../usr/lib/../../x/..",
        ] {
            let kept = tree(&[("usr/lib/l", target)]).check_links_below(&["etc", "usr"]);
            assert_eq!(kept.is_ok(), !target.ends_with(".."), "{target}: {kept:?}");
        }
    }

    #[test]
    fn links_that_lead_out_are_refused_with_link_and_target() {
        for target in [
            "..",
            "../..",
            "../../..",
            "../../etc",
            "../.git/config",
            "../target/x",
        ] {
            let refused = tree(&[("usr/l", target)]).check_links_below(&["etc", "usr"]);
            let text = refused.unwrap_err().to_string();
            assert!(text.contains("usr/l") && text.contains(target), "{text}");
        }
        let refused = tree(&[("usr/l", "/etc/passwd")]).check_links();
        assert!(matches!(refused, Err(TreeError::LinkAbsolute { .. })));
    }

    #[test]
    fn links_through_links_are_refused() {
        let through = tree(&[("usr/d", "lib"), ("usr/l", "d/file")]).check_links();
        assert!(
            matches!(through, Err(TreeError::LinkThroughLink { .. })),
            "{through:?}"
        );
        assert!(
            tree(&[("usr/d", "lib"), ("usr/l", "d")])
                .check_links()
                .is_ok()
        );
    }

    proptest! {
        /// A kept link, read the way the kernel reads it, never climbs above the root.
        #[test]
        fn kept_links_never_climb_out(target in "(\\.\\./|\\./|/|[a-c]/|usr/){0,6}(\\.\\.|[a-c])?") {
            let link = path("usr/lib/l");
            if tree(&[("usr/lib/l", &target)]).check_links_below(&["usr"]).is_ok() {
                let mut depth = link.names().count() - 1;
                for name in target.split('/') {
                    match name {
                        "" | "." => {}
                        ".." => { prop_assert!(depth > 0); depth -= 1; }
                        _ => depth += 1,
                    }
                }
                prop_assert!(depth > 0);
                prop_assert!(!target.starts_with('/'));
            }
        }
    }
}
