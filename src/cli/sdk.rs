//! What `ww init --template` writes: the templates and the guest SDK, as they were when this `ww`
//! was built.
//!
//! A project carries the SDK's sources with it, under `sdk/`, so that plain cargo and every editor
//! can work with it, it needs nothing from us but what is on crates.io, and it goes on building
//! when `ww` moves on.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// A path in this repository, and what is there; made by `build.rs`.
const PACKED: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/packed.rs"));

/// Where templates stand in this repository.
const TEMPLATES: &str = "templates/";
/// Stands in a template's files for the name of the package.
const NAME: &str = "{{name}}";
/// Parts of this repository that a project takes along, and where they go in it.
const TAKEN_ALONG: &[(&str, &str)] = &[
    ("LICENSE-APACHE", "sdk/LICENSE-APACHE"),
    ("LICENSE-MIT", "sdk/LICENSE-MIT"),
    ("crates/schema/", "sdk/schema/"),
    ("std/runtime/", "sdk/runtime/"),
];
/// How those parts name each other here, and there.
const RENAMED: &[(&str, &str)] = &[
    ("../../crates/schema", "../schema"),
    ("../../std/runtime", "sdk/runtime"),
];

/// One file of a new project.
pub struct File {
    /// Where it goes: a relative path of plain names.
    pub path: String,
    /// What it holds.
    pub contents: Cow<'static, [u8]>,
}

/// The names of the templates.
pub fn templates() -> BTreeSet<&'static str> {
    PACKED
        .iter()
        .filter_map(|(path, _)| path.strip_prefix(TEMPLATES)?.split_once('/'))
        .map(|(template, _)| template)
        .collect()
}

/// The files of a new project from this template, for a package of this name; none if there is no
/// such template.
pub fn project(template: &str, package: &str) -> Vec<File> {
    let own: Vec<File> = PACKED
        .iter()
        .filter_map(|(path, contents)| {
            let path = path.strip_prefix(TEMPLATES)?.strip_prefix(template)?;
            Some(File {
                path: path.strip_prefix('/')?.to_owned(),
                contents: adapt(path, contents, Some(package)),
            })
        })
        .collect();
    if own.is_empty() {
        return own;
    }
    let taken_along = TAKEN_ALONG.iter().flat_map(|(here, there)| {
        PACKED.iter().filter_map(move |(path, contents)| {
            Some(File {
                path: format!("{there}{}", path.strip_prefix(here)?),
                contents: adapt(path, contents, None),
            })
        })
    });
    own.into_iter().chain(taken_along).collect()
}

/// A file's contents as the project needs them. What is not text stays as it is.
fn adapt(path: &str, contents: &'static [u8], package: Option<&str>) -> Cow<'static, [u8]> {
    let Ok(text) = std::str::from_utf8(contents) else {
        return Cow::Borrowed(contents);
    };
    let mut text = RENAMED.iter().fold(text.to_owned(), |text, (here, there)| {
        text.replace(here, there)
    });
    if let Some(package) = package {
        text = text.replace(NAME, package);
    } else if path.ends_with("/Cargo.toml") {
        text = without_dev_dependencies(&text);
    }
    Cow::Owned(text.into_bytes())
}

/// The manifest of a crate whose tests stay here.
fn without_dev_dependencies(manifest: &str) -> String {
    let mut keep = true;
    let mut kept = String::new();
    for line in manifest.split_inclusive('\n') {
        if line.starts_with('[') {
            keep = !line.starts_with("[dev-dependencies");
        }
        if keep {
            kept.push_str(line);
        }
    }
    kept
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_rust_template_comes_with_all_that_it_is_built_from() {
        assert!(templates().contains("rust"));
        let files = project("rust", "my-app");
        for path in [
            "Cargo.toml",
            "src/main.rs",
            "sdk/runtime/Cargo.toml",
            "sdk/schema/Cargo.toml",
            "sdk/LICENSE-MIT",
        ] {
            assert!(files.iter().any(|file| file.path == path), "{path}");
        }
    }

    #[test]
    fn no_file_points_back_into_this_repository() {
        for file in project("rust", "my-app") {
            let text = String::from_utf8_lossy(&file.contents);
            assert!(!text.contains(NAME), "{}", file.path);
            if file.path.ends_with("Cargo.toml") {
                assert!(!text.contains("../.."), "{}", file.path);
                assert!(!text.contains("workspace = true"), "{}", file.path);
            }
        }
    }

    #[test]
    fn an_unknown_template_has_no_files() {
        assert!(project("rus", "my-app").is_empty());
        assert!(project("", "my-app").is_empty());
    }

    #[test]
    fn only_the_dev_dependencies_are_left_out() {
        let manifest = "[package]\nname = 'a'\n[dev-dependencies]\nb = '1'\n[dev-dependencies.c]\nversion = '1'\n[lints.rust]\nd = 'warn'\n";
        assert_eq!(
            without_dev_dependencies(manifest),
            "[package]\nname = 'a'\n[lints.rust]\nd = 'warn'\n"
        );
    }
}
