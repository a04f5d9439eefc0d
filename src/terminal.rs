//! The operator's terminal, or whatever stands in its place, joined to the first cell.
//!
//! Standard input is read by a thread of our own, because a read of a terminal cannot be taken back: the
//! thread stays in it while the rest of the program ends. It reads ahead by one chunk at most, so that a
//! program which reads nothing leaves its input to the next. Output is written as it comes, and held
//! back when nobody takes it.

use std::io::{self, IsTerminal, Read};

use cell::stdio::{self, Reader, Writer};
use cell::{Stdin, Stdout};
use futures::FutureExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

/// What may wait in each direction between the terminal and the cell.
const PIPE_BYTES: usize = 64 << 10;

/// What one read of standard input asks for.
const CHUNK_BYTES: usize = 16 << 10;

/// The first cell's streams, joined to this process's own.
pub struct Terminal {
    input: AbortHandle,
    outputs: Vec<JoinHandle<io::Result<()>>>,
}

/// The guest's ends.
pub struct Streams {
    /// What the guest reads.
    pub stdin: Stdin,
    /// Where the guest writes.
    pub stdout: Stdout,
    /// Where the guest reports.
    pub stderr: Stdout,
    /// Which of them are a terminal.
    pub terminal: cell::Terminal,
}

impl Terminal {
    /// Joins this process's standard streams to new ones for a guest.
    pub fn attach() -> (Self, Streams) {
        let (guest_stdin, stdin) = stdio::pipe(PIPE_BYTES);
        let (stdout, guest_stdout) = stdio::pipe(PIPE_BYTES);
        let (stderr, guest_stderr) = stdio::pipe(PIPE_BYTES);
        let input = tokio::spawn(feed(stdin)).abort_handle();
        let terminal = cell::Terminal {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
        };
        let outputs = if terminal.stdout && terminal.stderr {
            vec![tokio::spawn(drain_in_order(stdout, stderr))]
        } else {
            vec![
                tokio::spawn(drain(stdout, tokio::io::stdout())),
                tokio::spawn(drain(stderr, tokio::io::stderr())),
            ]
        };
        let streams = Streams {
            stdin: Stdin::Pipe(guest_stdin),
            stdout: Stdout::Pipe(guest_stdout),
            stderr: Stdout::Pipe(guest_stderr),
            terminal,
        };
        (Self { input, outputs }, streams)
    }

    /// Ends the guest's input: what it reads next is the end of file.
    pub fn close_input(&self) {
        self.input.abort();
    }

    /// Returns once all that the guest wrote is written, or nobody takes it any more. For after the
    /// guest has ended.
    pub async fn drained(self) {
        self.input.abort();
        for output in self.outputs {
            // A reader that has gone (`ww run … | head`) wants no more; that is no error of ours.
            let _ = output.await;
        }
    }
}

async fn drain(mut from: Reader, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    tokio::io::copy(&mut from, &mut to).await?;
    to.flush().await
}

/// Shows both on one terminal, so that an answer on standard output stands above the prompt on standard
/// error that was written after it.
async fn drain_in_order(stdout: Reader, stderr: Reader) -> io::Result<()> {
    let (mut out, mut err) = (tokio::io::stdout(), tokio::io::stderr());
    let (mut out_open, mut err_open) = (true, true);
    while out_open || err_open {
        tokio::select! {
            chunk = stdout.read(CHUNK_BYTES), if out_open => {
                out_open = show(&mut out, &chunk).await?;
            }
            chunk = stderr.read(CHUNK_BYTES), if err_open => {
                // What was written to the other before this is in its pipe by now.
                while let Some(earlier) = stdout.read(CHUNK_BYTES).now_or_never() {
                    out_open = show(&mut out, &earlier).await?;
                    if !out_open {
                        break;
                    }
                }
                err_open = show(&mut err, &chunk).await?;
            }
        }
    }
    Ok(())
}

/// Writes a chunk at once. Says whether there may be another: an empty one is the end.
async fn show(to: &mut (impl AsyncWrite + Unpin), chunk: &[u8]) -> io::Result<bool> {
    to.write_all(chunk).await?;
    to.flush().await?;
    Ok(!chunk.is_empty())
}

/// Hands standard input to the guest, chunk by chunk, until either has no more.
async fn feed(guest: Writer) {
    let (chunks, mut received) = mpsc::channel::<Vec<u8>>(1);
    let reader = std::thread::Builder::new()
        .name("stdin".into())
        .spawn(move || read_input(&chunks));
    if let Err(error) = reader {
        tracing::warn!(%error, "standard input cannot be read");
        return;
    }
    while let Some(chunk) = received.recv().await {
        if guest.write(&chunk).await.is_err() {
            return;
        }
    }
}

fn read_input(chunks: &mpsc::Sender<Vec<u8>>) {
    let mut stdin = io::stdin().lock();
    // Room first, input second: nothing is read that has no place to go.
    while let Ok(room) = futures::executor::block_on(chunks.reserve()) {
        let mut chunk = vec![0; CHUNK_BYTES];
        match stdin.read(&mut chunk) {
            Ok(length) if length > 0 => {
                chunk.truncate(length);
                room.send(chunk);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}
