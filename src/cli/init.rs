//! `ww init`: makes a folder into an environment.
//!
//! Everything is checked before anything is written: an environment that is there already, a
//! template that is unknown, and any file that would be in the way are refused, and the folder is
//! as it was. Files are only ever created, never opened for writing, so that not even a file that
//! appears meanwhile is lost; when a write fails, what was written before it is taken away again.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};

use super::{say, sdk};

/// The longest package name that is made from a folder's name; the rest is cut off.
const MAX_NAME_CHARS: usize = 64;
/// What a package is called whose folder's name has no usable character.
const FALLBACK_NAME: &str = "app";
/// Names that cargo refuses, or that our SDK's own packages have.
const TAKEN_NAMES: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "capnp",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "runtime",
    "schema",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// Make a folder into an environment
///
/// Without a template this only creates boot/, for a program that you have or build by other
/// means. With `--template rust` it writes a program to start from, together with the SDK that it
/// uses; nothing that is there is overwritten.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ww init my-app --template rust   # a new folder with a Rust program
  ww init                          # the folder you are in; only boot/")]
pub struct InitArgs {
    /// The folder; it is created if it is not there
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The program to start from: rust
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
}

/// Makes the environment, and says what to do next.
pub fn run(args: &InitArgs) -> anyhow::Result<u8> {
    let dir = &args.dir;
    if dir.join("boot").symlink_metadata().is_ok() {
        bail!(
            "already initialised: {} is there; go on with ww build, or give the name of a new folder",
            dir.join("boot").display()
        );
    }
    if dir.exists() && !dir.is_dir() {
        bail!("{} is a file; give the name of a folder", dir.display());
    }
    let files = match &args.template {
        None => Vec::new(),
        Some(template) => project(template, &package_name(dir))?,
    };
    refuse_to_overwrite(dir, &files)?;
    write(dir, &files)?;
    print_next_steps(args);
    Ok(0)
}

/// The template's files, or what to type instead.
fn project(template: &str, package: &str) -> anyhow::Result<Vec<sdk::File>> {
    let files = sdk::project(template, package);
    if files.is_empty() {
        let known: Vec<&str> = sdk::templates().into_iter().collect();
        bail!(
            "there is no template {template:?}; those there are: {}",
            known.join(", ")
        );
    }
    Ok(files)
}

/// Refuses if a file's place is taken, or a folder's by a file; says which.
fn refuse_to_overwrite(dir: &Path, files: &[sdk::File]) -> anyhow::Result<()> {
    let mut in_the_way: Vec<String> = files
        .iter()
        .filter_map(|file| {
            let folders = Path::new(&file.path).ancestors().skip(1);
            let blocked = folders
                .filter(|folder| !folder.as_os_str().is_empty())
                .find(|folder| dir.join(folder).exists() && !dir.join(folder).is_dir());
            match blocked {
                Some(folder) => Some(folder.display().to_string()),
                None => dir
                    .join(&file.path)
                    .symlink_metadata()
                    .is_ok()
                    .then(|| file.path.clone()),
            }
        })
        .collect();
    in_the_way.dedup();
    if !in_the_way.is_empty() {
        bail!(
            "{} would be overwritten; move it away, or give the name of a new folder",
            in_the_way.join(", ")
        );
    }
    Ok(())
}

/// Creates the files and, last, `boot/`, which makes it an environment.
fn write(dir: &Path, files: &[sdk::File]) -> anyhow::Result<()> {
    let cannot = |path: &Path, e: io::Error| anyhow!("cannot make {}: {e}", path.display());
    let mut made = Made::default();
    for file in files {
        let path = dir.join(&file.path);
        made.file(&path, &file.contents)
            .map_err(|e| cannot(&path, e))?;
    }
    let boot = dir.join("boot");
    made.folder(&boot).map_err(|e| cannot(&boot, e))?;
    made.keep();
    Ok(())
}

/// What was created so far; taken away again when dropped, unless it is to be kept.
#[derive(Default)]
struct Made {
    paths: Vec<PathBuf>,
}

impl Made {
    /// Creates a folder and those above it.
    fn folder(&mut self, path: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
            .collect();
        for folder in missing.into_iter().rev() {
            fs::create_dir(folder)?;
            self.paths.push(folder.to_path_buf());
        }
        Ok(())
    }

    /// Creates a file with these contents, and the folders above it.
    fn file(&mut self, path: &Path, contents: &[u8]) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            self.folder(folder)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        self.paths.push(path.to_path_buf());
        file.write_all(contents)
    }

    fn keep(mut self) {
        self.paths.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for path in self.paths.drain(..).rev() {
            // Best effort: the error that led here is the one to report. A folder that somebody
            // else has put something into stays.
            let _ = if path.is_dir() {
                fs::remove_dir(&path)
            } else {
                fs::remove_file(&path)
            };
        }
    }
}

/// A package name that cargo accepts, from the folder's.
fn package_name(dir: &Path) -> String {
    let absolute = dir.canonicalize().or_else(|_| std::path::absolute(dir));
    let name = absolute
        .ok()
        .and_then(|dir| Some(dir.file_name()?.to_string_lossy().into_owned()));
    valid_package_name(&name.unwrap_or_default())
}

/// Replaces what cargo does not accept. The result is not empty, begins with a letter, consists of
/// ASCII letters, digits, `-` and `_`, and is no name that is taken.
fn valid_package_name(name: &str) -> String {
    let replaced: String = name
        .chars()
        .take(MAX_NAME_CHARS)
        .map(|c| match c {
            'a'..='z' | '0'..='9' | '-' | '_' => c,
            'A'..='Z' => c.to_ascii_lowercase(),
            _ => '-',
        })
        .collect();
    let name = replaced.trim_matches(['-', '_']);
    if name.is_empty() {
        FALLBACK_NAME.to_owned()
    } else if name.starts_with(|c: char| c.is_ascii_digit()) {
        format!("{FALLBACK_NAME}-{name}")
    } else if TAKEN_NAMES.contains(&name) {
        format!("{name}-{FALLBACK_NAME}")
    } else {
        name.to_owned()
    }
}

/// What to type now. This is for people, so it goes to standard error.
fn print_next_steps(args: &InitArgs) {
    let dir = args.dir.display();
    if args.dir == Path::new(".") {
        say("initialised this folder; next:");
    } else {
        say(format_args!("initialised {dir}; next:"));
        say(format_args!("  cd {dir}"));
    }
    if args.template.is_some() {
        say("  ww build    # compile it to boot/main.wasm");
    } else {
        say("  put a component at boot/main.wasm (`ww init FOLDER --template rust` starts one)");
    }
    say("  ww run      # run it here");
    say("  ww push     # publish it");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn package_names_are_valid_whatever_the_folder_is_called() {
        for (folder, package) in [
            ("my-app", "my-app"),
            ("My App", "my-app"),
            ("2fast", "app-2fast"),
            ("...", "app"),
            ("", "app"),
            ("-x", "x"),
            ("añejo", "a-ejo"),
            ("test", "test-app"),
            ("Runtime", "runtime-app"),
        ] {
            assert_eq!(valid_package_name(folder), package, "{folder}");
        }
        assert!(valid_package_name(&"x".repeat(300)).len() <= MAX_NAME_CHARS);
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("new/app");
        fs::create_dir(place.path().join("new")).unwrap();
        let file = |path: &str| sdk::File {
            path: path.to_owned(),
            contents: b"x".as_slice().into(),
        };
        // The second file needs a folder where the first one is.
        let files = [file("src/a"), file("src/a/b")];
        write(&dir, &files).unwrap_err();
        assert!(!dir.exists());
        assert!(place.path().join("new").exists());
    }

    #[test]
    fn a_file_that_appeared_meanwhile_is_not_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("Cargo.toml");
        fs::write(&path, "mine").unwrap();
        let files = [sdk::File {
            path: "Cargo.toml".to_owned(),
            contents: b"theirs".as_slice().into(),
        }];
        write(place.path(), &files).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
