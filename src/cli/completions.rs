//! `ww completions`: teaches a shell to complete `ww`'s command line.

use std::io::Write;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

/// Print a script that completes `ww` in your shell
///
/// For bash: `ww completions bash > ~/.local/share/bash-completion/completions/ww`.
/// For zsh, into a folder of your $fpath: `ww completions zsh > _ww`.
/// For fish: `ww completions fish > ~/.config/fish/completions/ww.fish`.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Writes the script to standard output.
pub fn run(args: &CompletionsArgs) -> anyhow::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "ww", &mut script);
    std::io::stdout()
        .write_all(&script)
        .context("cannot write the script to standard output")?;
    Ok(0)
}
