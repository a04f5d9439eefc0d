//! From a path to a node.
//!
//! A path is followed name by name from the directory that it starts in, and never above it: as with the
//! writable places, whoever was given a directory was not given what is around it. Links are followed where
//! they stand, with their targets in their place. It is a loop over what is left of the path; nothing
//! recurses, and what there is to do is bounded by [`MAX_PATH_BYTES`] and [`MAX_LINKS`].

use super::{ImageNode, ImageTree};
use wasmtime_wasi::p2::bindings::filesystem::types::ErrorCode;

/// The longest path, and the longest target of a link that is followed, in bytes: Linux's.
pub(super) const MAX_PATH_BYTES: usize = 4096;

/// The most links that are followed on the way to one node: Linux's.
pub(super) const MAX_LINKS: usize = 40;

/// The node that `path` leads to from the directory `start`. A link at its very end is followed only if
/// that is asked for, or if a slash comes after it.
pub(super) fn walk(
    image: &dyn ImageTree,
    start: u64,
    path: &str,
    follow: bool,
) -> Result<u64, ErrorCode> {
    if path.is_empty() {
        return Err(ErrorCode::NoEntry);
    }
    // From the start to where we are.
    let mut above: Vec<u64> = Vec::new();
    let mut at = start;
    // What is still to be followed: the path, and the targets of links in it, the innermost last.
    let mut ahead: Vec<&str> = Vec::new();
    push(&mut ahead, path)?;
    let mut links = 0;
    while let Some(rest) = ahead.pop() {
        if !matches!(image.node(at), Some(ImageNode::Directory)) {
            return Err(ErrorCode::NotDirectory);
        }
        let (name, rest) = match rest.split_once('/') {
            Some((name, rest)) => (name, Some(rest)),
            None => (rest, None),
        };
        // What is empty after a slash still says that this is a directory.
        let ends = rest.is_none() && ahead.is_empty();
        ahead.extend(rest);
        match name {
            "" | "." => continue,
            ".." => {
                at = above.pop().ok_or(ErrorCode::NotPermitted)?;
                continue;
            }
            _ => {}
        }
        let child = image.child(at, name).ok_or(ErrorCode::NoEntry)?;
        match image.node(child) {
            Some(ImageNode::Link { target }) if follow || !ends => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(ErrorCode::Loop);
                }
                if target.is_empty() {
                    return Err(ErrorCode::NoEntry);
                }
                push(&mut ahead, target)?;
            }
            Some(_) => {
                above.push(at);
                at = child;
            }
            None => return Err(ErrorCode::NoEntry),
        }
    }
    Ok(at)
}

fn push<'a>(ahead: &mut Vec<&'a str>, path: &'a str) -> Result<(), ErrorCode> {
    if path.len() >= MAX_PATH_BYTES {
        return Err(ErrorCode::NameTooLong);
    }
    if path.starts_with('/') {
        return Err(ErrorCode::NotPermitted);
    }
    if path.contains('\0') {
        return Err(ErrorCode::Invalid);
    }
    ahead.push(path);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::super::{IMAGE_ROOT, MemoryImage};
    use super::*;
    use proptest::prelude::*;

    fn image() -> MemoryImage {
        MemoryImage::default()
            .file("etc/motd", "hello")
            .file("usr/lib/real", "text")
            .link("etc/alias", "motd")
            .link("etc/up", "../usr/lib/real")
            .link("etc/lib", "../usr/lib")
            .link("etc/slash", "../usr/lib/")
            .link("etc/out", "../../outside")
            .link("etc/absolute", "/etc/motd")
            .link("etc/nothing", "missing")
            .link("etc/itself", "itself")
            .link("etc/one", "other")
            .link("etc/other", "one")
            .link("etc/empty", "")
    }

    fn to(path: &str) -> Result<u64, ErrorCode> {
        walk(&image(), IMAGE_ROOT, path, true)
    }

    #[test]
    fn a_path_leads_to_one_node_however_it_is_written() {
        let motd = to("etc/motd").unwrap();
        for path in [
            "./etc/motd",
            "etc//motd",
            "etc/./motd",
            "etc/../etc/motd",
            "usr/lib/../../etc/motd",
            "etc/alias",
        ] {
            assert_eq!(to(path), Ok(motd), "{path}");
        }
        assert_eq!(to("etc/up"), to("usr/lib/real"));
        assert_eq!(to("etc/lib/real"), to("usr/lib/real"));
        assert_eq!(to("etc/slash/real"), to("usr/lib/real"));
        for path in [".", "./", "etc/..", "etc/lib/../..", "usr/.././"] {
            assert_eq!(to(path), Ok(IMAGE_ROOT), "{path}");
        }
        for path in ["etc", "etc/", "etc/.", "etc//", "./etc/./"] {
            assert_eq!(to(path), to("etc"), "{path}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_refused_by_name() {
        for (path, code) in [
            ("", ErrorCode::NoEntry),
            ("missing", ErrorCode::NoEntry),
            ("missing/..", ErrorCode::NoEntry),
            ("etc/nothing", ErrorCode::NoEntry),
            ("etc/empty", ErrorCode::NoEntry),
            ("..", ErrorCode::NotPermitted),
            ("etc/../..", ErrorCode::NotPermitted),
            ("etc/../../etc/motd", ErrorCode::NotPermitted),
            ("/", ErrorCode::NotPermitted),
            ("/etc/motd", ErrorCode::NotPermitted),
            ("etc/out", ErrorCode::NotPermitted),
            ("etc/absolute", ErrorCode::NotPermitted),
            ("etc/itself", ErrorCode::Loop),
            ("etc/one", ErrorCode::Loop),
            ("etc/motd/", ErrorCode::NotDirectory),
            ("etc/motd/x", ErrorCode::NotDirectory),
            ("etc/motd/.", ErrorCode::NotDirectory),
            ("etc/motd/..", ErrorCode::NotDirectory),
            ("etc/alias/", ErrorCode::NotDirectory),
            ("etc/motd\0", ErrorCode::Invalid),
        ] {
            assert_eq!(to(path), Err(code), "{path:?}");
        }
        assert_eq!(to(&"a/".repeat(2048)), Err(ErrorCode::NameTooLong));
        assert_eq!(to(&"./".repeat(2047)), Ok(IMAGE_ROOT));
    }

    #[test]
    fn a_directory_is_the_root_of_whoever_starts_in_it() {
        let image = image();
        let etc = to("etc").unwrap();
        let from = |path| walk(&image, etc, path, true);
        assert_eq!(from("alias"), to("etc/motd"));
        for path in ["..", "../etc/motd", "up", "lib/real"] {
            assert_eq!(from(path), Err(ErrorCode::NotPermitted), "{path}");
        }
    }

    #[test]
    fn a_link_at_the_end_is_itself_unless_it_is_followed() {
        let image = image();
        let link = |path| walk(&image, IMAGE_ROOT, path, false).unwrap();
        let target = |number| image.node(number);
        assert_eq!(
            target(link("etc/up")),
            Some(ImageNode::Link {
                target: "../usr/lib/real"
            })
        );
        assert_eq!(
            target(link("etc/lib")),
            Some(ImageNode::Link {
                target: "../usr/lib"
            })
        );
        // With a slash behind it, it is what it leads to; so are those on the way.
        assert_eq!(Ok(link("etc/lib/")), to("usr/lib"));
        assert_eq!(Ok(link("etc/lib/real")), to("usr/lib/real"));
        assert!(matches!(
            target(link("etc/itself")),
            Some(ImageNode::Link { .. })
        ));
    }

    #[test]
    fn forty_links_are_followed_and_one_more_is_not() {
        let chain = |length: usize| {
            let mut image = MemoryImage::default().file("0", "end");
            for link in 1..=length {
                image = image.link(&link.to_string(), &(link - 1).to_string());
            }
            walk(&image, IMAGE_ROOT, &length.to_string(), true)
        };
        assert!(chain(MAX_LINKS).is_ok());
        assert_eq!(chain(MAX_LINKS + 1), Err(ErrorCode::Loop));
    }

    proptest! {
        /// Whatever the path and the links say, the answer is what text alone gives when no link is met,
        /// and never a node outside the start.
        #[test]
        fn no_path_leads_out(
            links in proptest::collection::vec(
                ("in/[abc](/[abc])?", "(\\.\\./|\\./|[abc]/|in/|/){0,5}([abc]|\\.\\.)?"), 0..8),
            path in "(\\.\\./|\\./|[abc]/|/){0,6}([abc]|\\.\\.)?",
            follow in any::<bool>(),
        ) {
            let mut image = MemoryImage::default()
                .file("outside", "secret")
                .file("in/a/b", "")
                .directory("in/b/c");
            for (link, target) in &links {
                image = image.link(link, target);
            }
            let start = walk(&image, IMAGE_ROOT, "in", true).unwrap();
            if let Ok(found) = walk(&image, start, &path, follow) {
                let outside = walk(&image, IMAGE_ROOT, "outside", true).unwrap();
                prop_assert!(found != outside && found != IMAGE_ROOT);
            }
        }
    }
}
