//! The `ww` program: a thin command line over the node and its crates.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
