//! `Adder`: a file or a tree that a holder pushes into the store.
//!
//! Files may be written side by side, up to a bound; each is complete when it has been closed. What was stored stays,
//! unpinned, when it is given up.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use capnp::capability::Rc;
use content::import::{DryRun, FileWriter, TreeWriter, Written};
use content::tree::{MAX_ENTRIES, MAX_PATH_BYTES};
use content::{BlockStore, CidVersion, PinName, Repo};
use schema::ipfs_capnp::add_options::AddVersion;
use schema::ipfs_capnp::{add_options, adder as face};
use tokio::sync::{Mutex, OwnedSemaphorePermit};

use super::{Desk, failed};
use crate::ipfs::Places;
use crate::rpc::byte_stream::{self, Carrier};

/// Files of one adder that may be open at a time: each holds a chunk.
const MAX_OPEN_FILES: usize = 16;

/// The paths and targets of links that one adder holds, in bytes: 160 for each entry of the largest tree.
const MAX_TEXT_BYTES: usize = 16 << 20;

pub struct Adder {
    desk: Rc<Desk>,
    version: CidVersion,
    only_hash: bool,
    pin: Option<PinName>,
    state: Rc<RefCell<State>>,
    text_bytes: Cell<usize>,
    _place: OwnedSemaphorePermit,
}

enum State {
    /// Files by path; `None` for one that is still open. And what else there is.
    Open {
        files: BTreeMap<String, Option<Written>>,
        others: Vec<Other>,
    },
    Finished,
}

enum Other {
    Directory(String),
    Link { path: String, target: String },
}

impl Adder {
    /// Begins.
    pub fn begin(desk: Rc<Desk>, options: add_options::Reader<'_>) -> capnp::Result<Self> {
        desk.may_change("add")?;
        Ok(Self {
            _place: desk.adder("add")?,
            text_bytes: Cell::new(0),
            version: match options.get_version()? {
                AddVersion::V1 => CidVersion::V1,
                AddVersion::V0 => CidVersion::V0,
            },
            only_hash: options.get_only_hash(),
            pin: desk.pin_name("add", options.get_pin()?)?,
            desk,
            state: Rc::new(RefCell::new(State::Open {
                files: BTreeMap::new(),
                others: Vec::new(),
            })),
        })
    }

    fn store(&self, repo: &Repo) -> Arc<dyn BlockStore> {
        match self.only_hash {
            true => Arc::new(DryRun),
            false => repo.store().clone(),
        }
    }

    /// Takes in a text, which is held until the end.
    fn text(&self, call: &str, text: capnp::text::Reader<'_>) -> capnp::Result<String> {
        let text = text.to_str()?;
        if text.len() > MAX_PATH_BYTES {
            return Err(failed(
                call,
                format_args!("a path of {} bytes; at most {MAX_PATH_BYTES}", text.len()),
            ));
        }
        let all = self.text_bytes.get().saturating_add(text.len());
        if all > MAX_TEXT_BYTES {
            return Err(failed(
                call,
                format_args!("limit: the paths of a tree have at most {MAX_TEXT_BYTES} bytes"),
            ));
        }
        self.text_bytes.set(all);
        Ok(text.to_owned())
    }

    fn other(&self, call: &str, other: Other) -> capnp::Result<()> {
        match &mut *self.state.borrow_mut() {
            State::Open { others, files } if others.len() + files.len() < MAX_ENTRIES => {
                others.push(other);
                Ok(())
            }
            State::Open { .. } => Err(too_many(call)),
            State::Finished => Err(finished(call)),
        }
    }
}

fn finished(call: &str) -> capnp::Error {
    failed(call, "this adder has finished; begin another one")
}

fn too_many(call: &str) -> capnp::Error {
    failed(
        call,
        format_args!("limit: a tree has at most {MAX_ENTRIES} entries"),
    )
}

impl face::Server for Adder {
    async fn file(
        self: Rc<Self>,
        params: face::FileParams,
        mut results: face::FileResults,
    ) -> capnp::Result<()> {
        let path = self.text("file", params.get()?.get_path()?)?;
        match &mut *self.state.borrow_mut() {
            State::Finished => return Err(finished("file")),
            State::Open { files, others } => {
                if files.contains_key(&path) {
                    let path = crate::rpc::shown(&path);
                    return Err(failed("file", format_args!("{path:?} is there already")));
                }
                if files.values().filter(|file| file.is_none()).count() >= MAX_OPEN_FILES {
                    return Err(failed(
                        "file",
                        format_args!("limit: {MAX_OPEN_FILES} files are open; close one first"),
                    ));
                }
                if files.len() + others.len() >= MAX_ENTRIES {
                    return Err(too_many("file"));
                }
                files.insert(path.clone(), None);
            }
        }
        let writer = FileWriter::new(self.store(&self.desk.repo), self.version);
        let writing = Writing {
            places: self.desk.places.clone(),
            path: path.clone(),
            adder: self.state.clone(),
            file: Mutex::new(OpenFile::Open(writer)),
        };
        match self.desk.stream("file", writing) {
            Ok(stream) => results.get().set_stream(stream),
            Err(error) => {
                if let State::Open { files, .. } = &mut *self.state.borrow_mut() {
                    files.remove(&path);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    async fn directory(
        self: Rc<Self>,
        params: face::DirectoryParams,
        _results: face::DirectoryResults,
    ) -> capnp::Result<()> {
        let path = self.text("directory", params.get()?.get_path()?)?;
        self.other("directory", Other::Directory(path))
    }

    async fn symlink(
        self: Rc<Self>,
        params: face::SymlinkParams,
        _results: face::SymlinkResults,
    ) -> capnp::Result<()> {
        let params = params.get()?;
        let target = self.text("symlink", params.get_target()?)?;
        let path = self.text("symlink", params.get_path()?)?;
        self.other("symlink", Other::Link { path, target })
    }

    async fn finish(
        self: Rc<Self>,
        _params: face::FinishParams,
        mut results: face::FinishResults,
    ) -> capnp::Result<()> {
        let mut complete = Vec::new();
        let others = match &mut *self.state.borrow_mut() {
            State::Finished => return Err(finished("finish")),
            State::Open { files, others } => {
                for (path, file) in &*files {
                    let Some(file) = file else {
                        let path = crate::rpc::shown(path);
                        let open =
                            format_args!("{path:?} was not closed, so it may be half a file");
                        return Err(failed("finish", open));
                    };
                    complete.push((path.clone(), file.clone()));
                }
                std::mem::take(others)
            }
        };
        *self.state.borrow_mut() = State::Finished;
        let (version, pin) = (self.version, self.pin.clone());
        let store = self.store(&self.desk.repo);
        let pin = pin.filter(|_| !self.only_hash);
        let added = self.desk.change("finish", move |repo| {
            let cid = match complete.as_slice() {
                // One file without a name is the root itself.
                [(path, file)] if path.is_empty() && others.is_empty() => *file.cid(),
                _ => {
                    let mut tree = TreeWriter::default();
                    for other in others {
                        match other {
                            Other::Directory(path) => tree.directory(&path)?,
                            Other::Link { path, target } => tree.link(&path, &target)?,
                        }
                    }
                    for (path, file) in complete {
                        tree.file(&path, file)?;
                    }
                    tree.finish(&*store, version)?
                }
            };
            if let Some(pin) = pin {
                repo.pin_added(&cid, &pin)?;
            }
            Ok(cid)
        });
        results.get().set_cid(&added.await?.to_bytes());
        Ok(())
    }
}

/// A file that is being written.
struct Writing {
    places: Places,
    path: String,
    adder: Rc<RefCell<State>>,
    file: Mutex<OpenFile>,
}

enum OpenFile {
    Open(FileWriter),
    /// Out for a piece of work. Left so by a write that was given up, and by one that failed.
    Broken,
    Closed,
}

impl Writing {
    fn broken() -> capnp::Error {
        failed(
            "write",
            "an earlier write of this file failed or was given up",
        )
    }
}

impl Carrier for Writing {
    async fn read(&self, _max_bytes: usize) -> capnp::Result<Bytes> {
        Err(byte_stream::for_writing_only())
    }

    async fn write(&self, data: &[u8]) -> capnp::Result<()> {
        let mut file = self.file.lock().await;
        match std::mem::replace(&mut *file, OpenFile::Broken) {
            OpenFile::Open(mut writer) => {
                let data = Bytes::copy_from_slice(data);
                let written = self.places.run(move || {
                    writer.write(&data)?;
                    Ok(writer)
                });
                *file = OpenFile::Open(written.await.map_err(|error| failed("write", error))?);
                Ok(())
            }
            OpenFile::Broken => Err(Self::broken()),
            OpenFile::Closed => {
                *file = OpenFile::Closed;
                Err(failed("write", "the file was closed"))
            }
        }
    }

    async fn close(&self) -> capnp::Result<()> {
        let mut file = self.file.lock().await;
        match std::mem::replace(&mut *file, OpenFile::Broken) {
            OpenFile::Open(writer) => {
                let written = self.places.run(move || writer.finish()).await;
                let written = written.map_err(|error| failed("close", error))?;
                if let State::Open { files, .. } = &mut *self.adder.borrow_mut() {
                    files.insert(self.path.clone(), Some(written));
                }
            }
            OpenFile::Broken => return Err(Self::broken()),
            OpenFile::Closed => {}
        }
        *file = OpenFile::Closed;
        Ok(())
    }
}

/// One that was given up before it was closed is as if it had never been opened.
impl Drop for Writing {
    fn drop(&mut self) {
        if let State::Open { files, .. } = &mut *self.adder.borrow_mut()
            && files.get(&self.path).is_some_and(Option::is_none)
        {
            files.remove(&self.path);
        }
    }
}
