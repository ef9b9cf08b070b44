//! What the tests share: a folder of mailboxes, and short ways to deliver, list and read.

#![allow(dead_code, reason = "not every test file uses all of it")]
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pillarbox_proto::{Address, Envelope, ReversePath};
use pillarbox_store::{Mailbox, Maildrop, MboxStore, Store, StoreError, Text, TextReader};
use tempfile::TempDir;

/// A process id that nobody has: Linux gives none above 2^22. One of a child that has ended would do, but until a child calls
/// `exec` it has our files open, and with them the locks that other tests give back by closing them.
pub(crate) const GONE: i32 = i32::MAX;

/// A folder with mailboxes, and a store on it that waits for no lock. Each mailbox has an index.
pub(crate) struct Folder {
    /// In front of its folder, in which it may be making a file.
    pub(crate) store: MboxStore,
    dir: TempDir,
}

impl Folder {
    pub(crate) fn new(mailboxes: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in mailboxes {
            fs::write(dir.path().join(format!("{name}.mbox")), content).unwrap();
        }
        let (store, recovery) = MboxStore::open(dir.path()).unwrap();
        assert!(recovery.is_nothing(), "{recovery}");
        Self { dir, store: store.with_lock_timeout(Duration::ZERO).with_index_from(0) }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    /// The content of `name.mbox`.
    pub(crate) fn mbox(&self, name: &str) -> String {
        String::from_utf8(fs::read(self.path(&format!("{name}.mbox"))).unwrap()).unwrap()
    }

    pub(crate) async fn mailbox(&self, name: &str) -> Mailbox {
        mailbox(&self.store, name).await
    }

    pub(crate) async fn deliver(&self, names: &[&str], text: &str) -> Result<(), StoreError> {
        deliver(&self.store, names, text).await
    }

    /// The texts that a session shows now.
    pub(crate) async fn texts(&self, name: &str) -> Vec<String> {
        let maildrop = self.store.open(&self.mailbox(name).await).await.unwrap();
        texts(&maildrop).await
    }
}

pub(crate) async fn mailbox<S: Store>(store: &S, name: &str) -> Mailbox {
    store.mailbox(&address(name)).await.unwrap().unwrap_or_else(|| panic!("no mailbox {name}"))
}

pub(crate) fn address(local_part: &str) -> Address {
    Address::at_localhost(local_part).unwrap()
}

/// From `x@localhost`.
pub(crate) fn envelope() -> Envelope {
    Envelope { reverse_path: ReversePath(Some(address("x"))), forward_paths: Vec::new() }
}

pub(crate) async fn text<S: Store>(store: &S, octets: &[u8]) -> Text {
    let mut draft = store.draft();
    for chunk in octets.chunks(10_000) {
        draft.append(chunk).await.unwrap();
    }
    draft.finish().await.unwrap()
}

pub(crate) async fn deliver<S: Store>(store: &S, names: &[&str], octets: &str) -> Result<(), StoreError> {
    let mut mailboxes = Vec::new();
    for name in names {
        mailboxes.push(mailbox(store, name).await);
    }
    store.accept(&envelope(), text(store, octets.as_bytes()).await, &mailboxes, &[]).await
}

pub(crate) async fn read(mut reader: impl TextReader) -> Result<Vec<u8>, StoreError> {
    let mut octets = Vec::new();
    while let Some(chunk) = reader.next().await? {
        assert!(!chunk.is_empty(), "empty chunks do not come");
        octets.extend(chunk);
    }
    Ok(octets)
}

pub(crate) async fn texts(maildrop: &impl Maildrop) -> Vec<String> {
    let mut texts = Vec::new();
    for (index, octets) in maildrop.octets().iter().enumerate() {
        let text = read(maildrop.read(index)).await.unwrap();
        assert_eq!(text.len() as u64, *octets);
        texts.push(String::from_utf8(text).unwrap());
    }
    texts
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
