//! Running a program of the image: finding it along `PATH`, and joining its output to our own.

use std::fs::File;
use std::io::{self, ErrorKind, Read};

use futures::future::try_join3;
use runtime::process::Status;
use runtime::{Error, Result, Session, bytes, process};

/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/bin";

/// The largest component that is read into memory. One message carries it, so the host's own limit may be
/// lower; its refusal says so.
const COMPONENT_LIMIT: u64 = 64 * 1024 * 1024;

/// How much of a component is read at a time.
const CHUNK: usize = 64 * 1024;

/// How a program ended.
pub enum Ended {
    /// There is none of that name; the directories that were searched.
    NotFound(String),
    /// With this code, in this way.
    Done(u8, Status),
}

/// Runs a program to its end. It reads nothing, writes where we do, and holds no grants.
///
/// # Errors
/// The host's, when it does not run it; reading its file; writing its output.
pub async fn run(session: &Session, name: &str, args: &[String]) -> Result<Ended> {
    let path = std::env::var("PATH").unwrap_or_else(|_| DEFAULT_PATH.to_owned());
    let Some(file) = find(&candidates(&path, name))? else {
        return Ok(Ended::NotFound(path));
    };
    let wasm = read(file)?;
    let mut argv = vec![name];
    argv.extend(args.iter().map(String::as_str));
    let env: Vec<String> = std::env::vars()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let process = process::run_bytes(&session.executor()?, &wasm, &argv, &env).await?;
    drop(wasm);
    bytes::close(&process::stdin(&process)).await?;
    let (from_out, from_err) = (process::stdout(&process), process::stderr(&process));
    let (mut out, mut err) = (runtime::io::stdout(), runtime::io::stderr());
    let (_, _, code) = try_join3(
        bytes::copy_out(&from_out, &mut out),
        bytes::copy_out(&from_err, &mut err),
        process::wait(&process),
    )
    .await?;
    let code = u8::try_from(code).unwrap_or(u8::MAX);
    Ok(Ended::Done(code, process::status(&process).await?))
}

/// Where a program of this name may be. A name with a `/` is a path.
fn candidates(path: &str, name: &str) -> Vec<String> {
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    path.split(':')
        .filter(|folder| !folder.is_empty())
        .map(|folder| format!("{}/{name}.wasm", folder.trim_end_matches('/')))
        .collect()
}

fn find(candidates: &[String]) -> Result<Option<File>> {
    for candidate in candidates {
        match File::open(candidate) {
            Ok(file) => return Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{candidate}: {error}").into()),
        }
    }
    Ok(None)
}

fn read(file: File) -> Result<Vec<u8>> {
    let size = file.metadata()?.len();
    if size > COMPONENT_LIMIT {
        return Err(Error::TooLong(COMPONENT_LIMIT as usize));
    }
    let mut file = file.take(COMPONENT_LIMIT);
    let mut wasm = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(wasm),
            Ok(count) => wasm.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_along_the_path_in_order() {
        let found = candidates("/usr/bin/:/bin::", "tool");
        assert_eq!(found, ["/usr/bin/tool.wasm", "/bin/tool.wasm"]);
    }

    #[test]
    fn a_name_with_a_slash_is_a_path() {
        assert_eq!(candidates("/bin", "/etc/x.wasm"), ["/etc/x.wasm"]);
    }
}
