//! The operator's terminal, or whatever stands in its place, joined to the first cell.
//!
//! Standard input is read by a thread of our own, because a read of a terminal cannot be taken back: the
//! thread stays in it while the rest of the program ends. It reads ahead by one chunk at most, so that a
//! program which reads nothing leaves its input to the next. Output is written as it comes, and held
//! back when nobody takes it.

use std::io::{IsTerminal, Read};

use cell::stdio::{self, Writer};
use cell::{Stdin, Stdout};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

/// What may wait in each direction between the terminal and the cell.
const PIPE_BYTES: usize = 64 << 10;

/// What one read of standard input asks for.
const CHUNK_BYTES: usize = 16 << 10;

/// The first cell's streams, joined to this process's own.
pub struct Terminal {
    input: AbortHandle,
    outputs: [JoinHandle<std::io::Result<u64>>; 2],
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
        let outputs = [
            tokio::spawn(drain(stdout, tokio::io::stdout())),
            tokio::spawn(drain(stderr, tokio::io::stderr())),
        ];
        let streams = Streams {
            stdin: Stdin::Pipe(guest_stdin),
            stdout: Stdout::Pipe(guest_stdout),
            stderr: Stdout::Pipe(guest_stderr),
            terminal: cell::Terminal {
                stdin: std::io::stdin().is_terminal(),
                stdout: std::io::stdout().is_terminal(),
                stderr: std::io::stderr().is_terminal(),
            },
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

async fn drain(
    mut from: stdio::Reader,
    mut to: impl tokio::io::AsyncWrite + Unpin,
) -> std::io::Result<u64> {
    let copied = tokio::io::copy(&mut from, &mut to).await?;
    to.flush().await?;
    Ok(copied)
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
    let mut stdin = std::io::stdin().lock();
    // Room first, input second: nothing is read that has no place to go.
    while let Ok(room) = futures::executor::block_on(chunks.reserve()) {
        let mut chunk = vec![0; CHUNK_BYTES];
        match stdin.read(&mut chunk) {
            Ok(length) if length > 0 => {
                chunk.truncate(length);
                room.send(chunk);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}
