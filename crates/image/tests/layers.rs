//! Layers on a real disk: what becomes of them, and what is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use content::import::DryRun;
use content::tree::Node;
use image::{ENTRY, FHS, Image, ImageError, Layer, MAX_ENTRY_BYTES, ROOT};
use proptest::prelude::*;
use tempfile::TempDir;

/// A place for layers.
struct Given {
    scratch: TempDir,
}

impl Given {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        Self { scratch }
    }

    fn layer(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let layer = self.scratch.path().join(name);
        fs::create_dir_all(&layer).unwrap();
        for (path, text) in files {
            let at = layer.join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(at, text).unwrap();
        }
        layer
    }

    fn merge(&self, layers: &[&Path]) -> Result<Image, ImageError> {
        let layers: Vec<_> = layers
            .iter()
            .map(|path| Layer::local(path))
            .collect::<Result<_, _>>()?;
        Image::merge(&layers)
    }
}

/// The names in a directory of the image.
fn names(image: &Image, directory: u64) -> Vec<&str> {
    (0..)
        .map_while(|index| image.child_at(directory, index))
        .map(|(name, _)| name)
        .collect()
}

fn text(image: &Image, path: &str) -> String {
    String::from_utf8(image.read(path, 1000).unwrap()).unwrap()
}

/// Every path below `root` with what a write would change.
fn state(root: &Path) -> Vec<(PathBuf, u32, i64, i64, u64)> {
    let mut all = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        if found.is_dir() {
            waiting.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        all.push((
            path,
            found.mode(),
            found.mtime(),
            found.mtime_nsec(),
            found.len(),
        ));
    }
    all.sort();
    all
}

#[test]
fn an_image_is_its_fhs_directories_and_nothing_beside_them() {
    let given = Given::new();
    let beside = [
        ("Cargo.toml", ""),
        ("src/main.rs", ""),
        (".env", "KEY=secret"),
        (".git/config", ""),
        ("target/x", ""),
    ];
    let layer = given.layer(
        "app",
        &[(ENTRY, "program"), ("etc/motd", "hello"), ("var/.keep", "")],
    );
    given.layer("app", &beside);
    let image = given.merge(&[&layer]).unwrap();
    let tops = names(&image, ROOT);
    assert_eq!(tops, ["boot", "etc", "var"]);
    assert!(tops.iter().all(|top| FHS.contains(top)));
    assert_eq!(text(&image, "etc/motd"), "hello");
    assert_eq!(text(&image, "var/.keep"), "");
}

#[test]
fn later_layers_win_and_earlier_ones_shine_through() {
    let given = Given::new();
    let base = given.layer(
        "base",
        &[(ENTRY, "base"), ("etc/a", "base"), ("etc/b", "base")],
    );
    let app = given.layer("app", &[(ENTRY, "app"), ("etc/b", "app"), ("etc/c", "app")]);
    let data = given.layer("data", &[("usr/d", "data")]);
    let image = given.merge(&[&base, &app, &data]).unwrap();
    let read: Vec<_> = ["etc/a", "etc/b", "etc/c", "usr/d"]
        .map(|path| text(&image, path))
        .into();
    assert_eq!(read, ["base", "app", "app", "data"]);
    assert_eq!(image.entry().unwrap(), b"app");
    let image = given.merge(&[&app, &base]).unwrap();
    assert_eq!(image.entry().unwrap(), b"base");
}

#[test]
fn without_an_entry_the_error_says_run_ww_build() {
    let given = Given::new();
    let layer = given.layer("app", &[("etc/a", "")]);
    let text = given.merge(&[&layer]).unwrap_err().to_string();
    assert!(
        text.contains("boot/main.wasm not found") && text.contains("run ww build"),
        "{text}"
    );
    assert!(text.contains("app"), "{text}");
    assert!(matches!(
        given.merge(&[]),
        Err(ImageError::EntryMissing { .. })
    ));
}

#[test]
fn an_entry_that_is_a_link_is_refused() {
    let given = Given::new();
    let layer = given.layer("app", &[("bin/tool.wasm", ""), ("boot/x", "")]);
    symlink("../bin/tool.wasm", layer.join(ENTRY)).unwrap();
    assert!(matches!(
        given.merge(&[&layer]),
        Err(ImageError::EntryNotAFile)
    ));
}

#[test]
fn a_path_that_is_missing_a_file_unreadable_or_no_image_is_refused_by_name() {
    let given = Given::new();
    let plain = given.layer("plain", &[("src/main.rs", ""), ("README.md", "")]);
    let circle = given.scratch.path().join("circle");
    symlink("circle", &circle).unwrap();
    let open = |path: &Path| Layer::local(path).unwrap_err();
    assert!(matches!(
        open(&plain.join("nope")),
        ImageError::Missing { .. }
    ));
    assert!(matches!(
        open(&plain.join("README.md")),
        ImageError::NotADirectory { .. }
    ));
    assert!(matches!(open(&circle), ImageError::Unreadable { .. }));
    assert!(matches!(open(&plain), ImageError::NotFhs { .. }));
    for path in [
        plain.join("nope"),
        plain.join("README.md"),
        circle,
        plain.clone(),
    ] {
        let text = open(&path).to_string();
        assert!(
            !text.contains('\n') && text.contains(path.to_str().unwrap()),
            "{text}"
        );
    }
}

#[test]
fn a_file_against_a_directory_is_refused_with_both_layers() {
    let given = Given::new();
    let one = given.layer("one", &[(ENTRY, ""), ("etc/x/file", "")]);
    let two = given.layer("two", &[("etc/x", "")]);
    for layers in [[&one, &two], [&two, &one]] {
        let refused = given.merge(&layers.map(PathBuf::as_path)).unwrap_err();
        let ImageError::Conflict {
            path,
            directory_in,
            other_in,
        } = refused
        else {
            panic!("{refused}")
        };
        assert_eq!(
            (path.as_str(), directory_in, other_in),
            ("etc/x", one.clone(), two.clone())
        );
    }
}

#[test]
fn links_inside_are_kept_as_links() {
    let given = Given::new();
    let layer = given.layer("app", &[(ENTRY, ""), ("usr/lib/real", "text")]);
    symlink("real", layer.join("usr/lib/same")).unwrap();
    fs::create_dir(layer.join("etc")).unwrap();
    symlink("../usr/lib/real", layer.join("etc/up")).unwrap();
    let image = given.merge(&[&layer]).unwrap();
    let etc = image.child(ROOT, "etc").unwrap();
    let up = image.child(etc, "up").unwrap();
    let target = "../usr/lib/real".to_owned();
    assert_eq!(image.node(up), Some(&Node::Link { target }));
    assert_eq!(text(&image, "usr/lib/same"), "text");
    assert_eq!(image.read("/etc/up", 100).unwrap(), b"text");
}

#[test]
fn links_that_lead_out_are_refused_with_link_and_target() {
    for target in [
        "/etc/passwd",
        "../../outside",
        "../.env",
        "..",
        "../..",
        "../src/main.rs",
    ] {
        let given = Given::new();
        let layer = given.layer("app", &[(ENTRY, ""), (".env", ""), ("src/main.rs", "")]);
        symlink(target, layer.join("boot/link")).unwrap();
        let text = given.merge(&[&layer]).unwrap_err().to_string();
        assert!(
            text.contains("boot/link") && text.contains(target),
            "{text}"
        );
    }
}

#[test]
fn links_that_two_layers_chain_together_are_refused() {
    let given = Given::new();
    let one = given.layer("one", &[(ENTRY, ""), ("usr/real/x", "")]);
    symlink("dir/x", one.join("usr/through")).unwrap();
    let two = given.layer("two", &[("usr/other", "")]);
    symlink("real", two.join("usr/dir")).unwrap();
    assert!(given.merge(&[&one]).is_ok());
    assert!(matches!(
        given.merge(&[&one, &two]),
        Err(ImageError::Merged(_))
    ));
}

#[test]
fn a_top_directory_that_is_a_link_is_refused() {
    let given = Given::new();
    let layer = given.layer("app", &[(ENTRY, ""), ("src/x", "")]);
    symlink("src", layer.join("usr")).unwrap();
    assert!(matches!(
        Layer::local(&layer),
        Err(ImageError::Layer { .. })
    ));
}

#[test]
fn nothing_is_written_into_a_layer_and_a_read_only_one_will_do() {
    let given = Given::new();
    let layer = given.layer("app", &[(ENTRY, "program"), ("usr/deep/er/x", "x")]);
    let directories = ["usr/deep/er", "usr/deep", "usr", "boot", ""];
    fs::set_permissions(layer.join(ENTRY), fs::Permissions::from_mode(0o444)).unwrap();
    for directory in directories {
        fs::set_permissions(layer.join(directory), fs::Permissions::from_mode(0o555)).unwrap();
    }
    let before = state(&layer);
    let image = given.merge(&[&layer]).unwrap();
    assert_eq!(image.entry().unwrap(), b"program");
    drop(image);
    assert_eq!(state(&layer), before);
    for directory in directories.iter().rev() {
        fs::set_permissions(layer.join(directory), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_file_that_changes_after_it_was_listed_is_an_error_and_not_other_bytes() {
    let given = Given::new();
    let files = [
        (ENTRY, "program"),
        ("etc/a", "text"),
        ("etc/b", "same"),
        ("secret", "text"),
    ];
    let layer = given.layer("app", &files);
    let image = given.merge(&[&layer]).unwrap();
    let etc = image.child(ROOT, "etc").unwrap();
    let open = image.open(image.child(etc, "a").unwrap()).unwrap();
    let mut buffer = [0; 10];
    assert_eq!(open.read_at(1, &mut buffer).unwrap(), 3);
    let changes: [&dyn Fn(); 4] = [
        &|| fs::write(layer.join("etc/a"), "texts").unwrap(),
        &|| {
            fs::remove_file(layer.join("etc/a")).unwrap();
            symlink("../secret", layer.join("etc/a")).unwrap();
        },
        &|| {
            fs::remove_file(layer.join("etc/a")).unwrap();
            fs::write(layer.join("etc/a"), "text").unwrap();
        },
        &|| fs::remove_file(layer.join("etc/a")).unwrap(),
    ];
    for (number, change) in changes.iter().enumerate() {
        change();
        let refused = image.read("etc/a", 100);
        assert!(
            matches!(refused, Err(ImageError::Layer { .. })),
            "{number}: {refused:?}"
        );
        assert!(
            matches!(image.root(&DryRun), Err(ImageError::Root(_))),
            "{number}"
        );
        if number == 0 {
            let refused = open.read_at(0, &mut buffer).unwrap_err().to_string();
            assert!(
                refused.contains("etc/a") && refused.contains("app"),
                "{refused}"
            );
        }
    }
    assert_eq!(image.read("etc/b", 100).unwrap(), b"same");
}

#[test]
fn an_entry_over_the_limit_is_refused_and_never_read() {
    let given = Given::new();
    let layer = given.layer("app", &[(ENTRY, "")]);
    let sparse = fs::OpenOptions::new()
        .write(true)
        .open(layer.join(ENTRY))
        .unwrap();
    sparse.set_len(MAX_ENTRY_BYTES + 1).unwrap();
    let refused = given.merge(&[&layer]).unwrap().entry();
    assert!(matches!(
        refused,
        Err(ImageError::FileTooBig {
            limit: MAX_ENTRY_BYTES,
            ..
        })
    ));
}

#[test]
fn reading_by_path_stays_in_the_image() {
    let given = Given::new();
    let layer = given.layer("app", &[(ENTRY, "program"), ("bin/tool", "tool")]);
    let image = given.merge(&[&layer]).unwrap();
    assert_eq!(image.read("bin/tool", 4).unwrap(), b"tool");
    assert_eq!(image.read("/bin/tool", 4).unwrap(), b"tool");
    assert!(matches!(
        image.read("bin/tool", 3),
        Err(ImageError::FileTooBig { bytes: 4, .. })
    ));
    for path in [
        "",
        "/",
        "bin",
        "..",
        "../../app/bin/tool",
        "//etc/passwd",
        "/../etc/passwd",
        "a\0",
        "nope",
    ] {
        let refused = image.read(path, 100);
        assert!(
            matches!(refused, Err(ImageError::NoSuchFile { .. })),
            "{path:?}: {refused:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever links layers hold, what was merged leads nowhere but into the image.
    #[test]
    fn no_link_of_an_image_leads_out_of_it(
        links in proptest::collection::vec(
            ("(usr|etc)/[abc](/[abc])?", "(\\.\\./|[abc]/|usr/|etc/){0,4}([abc]|\\.\\.|/etc/passwd)"),
            1..8,
        ),
        split in any::<proptest::sample::Index>(),
    ) {
        let given = Given::new();
        let files = [(ENTRY, ""), ("usr/a/a", ""), ("etc/b/b", "")];
        let layers = [given.layer("one", &files), given.layer("two", &files)];
        for (number, (link, target)) in links.iter().enumerate() {
            let at = layers[usize::from(number > split.index(links.len()))].join(link);
            if at.parent().is_some_and(|parent| fs::create_dir_all(parent).is_ok()) {
                let _ = symlink(target, at);
            }
        }
        if let Ok(image) = given.merge(&layers.each_ref().map(PathBuf::as_path)) {
            // As they are: what a link means is read off the whole tree.
            let copy = given.scratch.path().join("copy");
            write(&image, ROOT, &copy);
            let root = copy.canonicalize().unwrap();
            for (path, ..) in state(&copy) {
                if let Ok(place) = path.canonicalize() {
                    prop_assert!(place.starts_with(&root), "{path:?} leads to {place:?}");
                }
            }
        }
    }
}

/// Writes a directory of the image to the disk.
fn write(image: &Image, directory: u64, to: &Path) {
    fs::create_dir(to).unwrap();
    for index in 0.. {
        let Some((name, number)) = image.child_at(directory, index) else {
            return;
        };
        let at = to.join(name);
        match image.node(number).unwrap() {
            Node::Directory => write(image, number, &at),
            Node::Link { target } => symlink(target, at).unwrap(),
            Node::File { .. } => fs::write(at, "").unwrap(),
        }
    }
}
