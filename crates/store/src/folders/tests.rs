//! Tests of `folders.rs`: working folders that others have made, changed or taken away.

use std::fs::{self, Permissions};
use std::os::unix::fs::{chown, symlink};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::stat::Mode as FileMode;
use nix::unistd::mkfifo;
use pillarbox_proto::{Envelope, ReversePath};
use tempfile::TempDir;

use super::*;
use crate::files::tests::Operation;
use crate::place::Place;
use crate::{Mailbox, Maildrop as _, MboxStore, Queue as _, Store as _};

const OLD: &str = "From <x@localhost> Mon Aug 22 23:00:00 2016\nold\r\n\n";

struct Case {
    dir: TempDir,
    store: MboxStore,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["alice", "bob"] {
            fs::write(dir.path().join(format!("{name}.mbox")), OLD).unwrap();
        }
        let store = Self::open(dir.path());
        Self { dir, store }
    }

    fn open(dir: &Path) -> MboxStore {
        MboxStore::open(dir).unwrap().0.with_lock_timeout(Duration::ZERO).with_index_from(0)
    }

    fn side(&self) -> PathBuf {
        self.dir.path().join(".pillarbox")
    }

    fn content(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(format!("{name}.mbox"))).unwrap()
    }

    async fn deliver(&self, name: &str, text: &str) -> Result<(), StoreError> {
        let envelope = Envelope { reverse_path: ReversePath(None), forward_paths: Vec::new() };
        let mut draft = self.store.draft();
        draft.append(text.as_bytes()).await?;
        self.store.accept(&envelope, draft.finish().await?, &[Mailbox(name.to_owned())], &[]).await
    }
}

fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Only the superuser can give a file to somebody else; for all others the rule itself must do.
fn give_away(path: &Path) {
    chown(path, Some(12_345), None).unwrap();
}

/// holds C-S9
#[test]
fn what_others_may_write_to_is_mended() {
    let case = Case::new();
    let side = case.side();
    drop(case.store);
    for folder in [side.clone(), side.join("journal")] {
        for mode in [0o777, 0o1777, 0o770, 0o702] {
            fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
            let (_, recovery) = MboxStore::open(case.dir.path()).unwrap();
            assert!(recovery.problems()[0].contains("others could write to it"), "{recovery}");
            assert_eq!(folder.metadata().unwrap().mode() & 0o7777, 0o700);
        }
        // Who only reads is trusted as before.
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        assert!(MboxStore::open(case.dir.path()).unwrap().1.is_nothing());
        assert_eq!(folder.metadata().unwrap().mode() & 0o7777, 0o755);
    }
}

/// holds C-S9
#[test]
fn a_folder_of_somebody_else_is_refused() {
    let owners = Owners(1000);
    assert!([0, 1000, Uid::effective().as_raw()].into_iter().all(|user| owners.are(user)) && !owners.are(12_345));
    if !is_root() {
        return;
    }
    let case = Case::new();
    let side = case.side();
    drop(case.store);
    for folder in [side.join("journal"), side] {
        give_away(&folder);
        let error = MboxStore::open(case.dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("{}: belongs to user 12345", folder.display())), "{error}");
        assert!(error.contains("run as that user"), "{error}");
        chown(&folder, Some(0), None).unwrap();
    }
    // DIR's owner could do anything anyway.
    give_away(case.dir.path());
    give_away(&case.dir.path().join(".pillarbox"));
    MboxStore::open(case.dir.path()).unwrap();
}

/// Links, pipes, and folders in the place of our files: nothing is written elsewhere, nobody waits, and mail goes on.
///
/// holds C-S9 C-P8
#[tokio::test]
async fn planted_files_lead_nowhere() {
    type Plant = fn(&Path, &Path);
    let plants: [(&str, Plant); 4] = [
        ("a link", |elsewhere, path| symlink(elsewhere, path).unwrap()),
        ("a link to nothing", |elsewhere, path| symlink(elsewhere.with_extension("none"), path).unwrap()),
        ("a second name", |elsewhere, path| fs::hard_link(elsewhere, path).unwrap()),
        ("a pipe", |_, path| mkfifo(path, FileMode::S_IRWXU).unwrap()),
    ];
    for (what, plant) in plants {
        for file in ["alice.update", "alice.update.tmp", "alice.index", "alice.maildrop", "listening", "journal/1-1"] {
            let case = Case::new();
            let elsewhere = case.dir.path().join("elsewhere");
            fs::write(&elsewhere, "theirs").unwrap();
            plant(&elsewhere, &case.side().join(file));
            let store = Case::open(case.dir.path());
            let when = format!("{what} as {file}");
            case.deliver("alice", "new\r\n").await.unwrap_or_else(|error| panic!("{when}: {error}"));
            let mailbox = Mailbox("alice".to_owned());
            let mut maildrop = store.open(&mailbox).await.unwrap_or_else(|error| panic!("{when}: {error}"));
            assert_eq!(maildrop.octets().len(), 2, "{when}");
            maildrop.unique_ids(0..2).await.unwrap();
            maildrop.commit(&[0]).await.unwrap_or_else(|error| panic!("{when}: {error}"));
            assert!(case.content("alice").ends_with("new\r\n\n") && !case.content("alice").contains("old"), "{when}");
            store.listen_at(&["127.0.0.1:25".parse().unwrap()]).unwrap();
            assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "theirs", "{when}");
            assert!(!elsewhere.with_extension("none").exists(), "{when}");
        }
    }
}

/// A record that somebody else has made decides nothing, and no mail waits for it.
///
/// holds C-S9 C-P7
#[tokio::test]
async fn a_record_of_somebody_else_decides_nothing() {
    if !is_root() {
        return;
    }
    let case = Case::new();
    for file in ["alice.update", "alice.index", "journal/1-1"] {
        fs::write(case.side().join(file), "theirs").unwrap();
        give_away(&case.side().join(file));
    }
    let store = Case::open(case.dir.path());
    case.deliver("alice", "new\r\n").await.unwrap();
    store.open(&Mailbox("alice".to_owned())).await.unwrap().commit(&[0]).await.unwrap();
    assert!(case.content("alice").ends_with("new\r\n\n") && !case.content("alice").contains("old"));
    assert_eq!(fs::read_to_string(case.side().join("alice.update.orphan-1")).unwrap(), "theirs");
}

/// The working folder goes and comes again, made by another program: what was accepted before is flushed to its mailbox,
/// nothing is accepted by a journal that nobody finds again, and then all goes on.
///
/// holds C-S9
#[tokio::test]
async fn a_working_folder_that_was_replaced_is_noticed() {
    let ways: [fn(&Path); 4] = [
        |side| fs::remove_dir_all(side).unwrap(),
        |side| fs::rename(side, side.with_extension("moved")).unwrap(),
        |side| fs::remove_dir_all(side.join("journal")).unwrap(),
        |side| fs::rename(side.join("journal"), side.join("moved")).unwrap(),
    ];
    for (way, remove) in ways.into_iter().enumerate() {
        let case = Case::new();
        case.deliver("alice", "before\r\n").await.unwrap();
        let maildrop = case.store.open(&Mailbox("bob".to_owned())).await.unwrap();
        remove(&case.side());
        if way < 2 {
            // As if it were not mounted.
            case.deliver("alice", "refused\r\n").await.unwrap_err();
            assert!(!case.side().exists());
            drop(Place::open(case.dir.path()).unwrap());
        }
        let place = &case.store.place;
        place.files.start_recording();
        let mailbox = case.dir.path().join("alice.mbox").metadata().unwrap().ino();
        let error = case.deliver("alice", "refused\r\n").await.unwrap_err();
        assert!(error.to_string().contains("was removed or replaced"), "{error}");
        let done = place.files.stop_recording();
        let is_flushed = done.iter().any(|done| matches!(done, Operation::Sync(inode) if *inode == mailbox));
        assert!(is_flushed, "{way}: {done:?}");
        // Another session may have begun meanwhile.
        if way < 2 {
            let error = maildrop.commit(&[0]).await.unwrap_err();
            assert!(error.to_string().contains("nothing was deleted"), "{error}");
        } else {
            maildrop.commit(&[0]).await.unwrap();
        }
        case.deliver("alice", "behind\r\n").await.unwrap();
        let content = case.content("alice");
        assert!(content.contains("before") && content.contains("behind") && !content.contains("refused"), "{content}");
        assert!(case.store.take_recovery().problems()[0].contains("was removed or replaced"));
        // A process that is killed now has its journal where the next one looks.
        place.journal.die();
        let again = Arc::new(Place::open(case.dir.path()).unwrap());
        assert_eq!(again.journal.dead(&again).unwrap().len(), 1);
    }
}

/// Two notice it at the same time: what the first has made counts. And nobody makes a segment in the old folder meanwhile.
///
/// holds C-S9
#[tokio::test]
async fn all_begins_anew_once() {
    let case = Case::new();
    case.deliver("alice", "before\r\n").await.unwrap();
    let place = &case.store.place;
    let moved = case.dir.path().join("moved");
    fs::rename(&place.side, &moved).unwrap();
    fs::create_dir_all(&place.segments).unwrap();
    place.begin_anew::<()>().unwrap_err();
    let segment = place.journal.begin(place).unwrap();
    place.begin_anew::<()>().unwrap_err();
    assert!(segment.0.is_trusted() && segment.0.path.exists());
    drop(segment);
    case.deliver("alice", "behind\r\n").await.unwrap();
}

/// A backup by hard links, for one, gives files further names. Who has locked one still has it; a segment is told about.
///
/// holds C-S9 C-F4
#[tokio::test]
async fn files_with_further_names() {
    let case = Case::new();
    let place = &case.store.place;
    fs::write(case.dir.path().join("mqueue"), OLD.replace("2016\n", "2016\nX-Envelope-To: <z@x.org>\n\n")).unwrap();
    let items = case.store.browse().await.unwrap();
    let _claim = case.store.claim(&items[0]).await.unwrap().unwrap();
    let _session = case.store.open(&Mailbox("bob".to_owned())).await.unwrap();
    for (number, file) in [place.claims(), place.session("bob")].iter().enumerate() {
        fs::hard_link(file, case.dir.path().join(format!("backup{number}"))).unwrap();
    }
    assert!(case.store.claim(&items[0]).await.unwrap().is_none());
    assert!(matches!(case.store.open(&Mailbox("bob".to_owned())).await, Err(StoreError::InUse { .. })));
    case.deliver("alice", "new\r\n").await.unwrap();
    place.journal.die();
    for name in place.names_in(&place.segments).unwrap() {
        fs::hard_link(place.segments.join(name), case.dir.path().join("backup")).unwrap();
    }
    let (_, recovery) = MboxStore::open(case.dir.path()).unwrap();
    assert!(recovery.problems()[0].contains("counts for nothing"), "{recovery}");
}

/// holds C-S11
#[test]
fn a_text_on_its_way_is_in_the_folder_that_is_open() {
    let case = Case::new();
    let (place, elsewhere) = (&case.store.place, tempfile::tempdir().unwrap());
    let moved = case.dir.path().join("moved");
    fs::rename(&place.side, &moved).unwrap();
    symlink(elsewhere.path(), &place.side).unwrap();
    let file = place.files.temporary(&place.side).unwrap();
    let link = fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file))).unwrap();
    assert!(link.starts_with(moved.canonicalize().unwrap()), "{}", link.display());
}

/// holds C-S11
#[test]
fn a_text_on_its_way_has_no_name() {
    let case = Case::new();
    let files = &case.store.place.files;
    let before = files.names_in(&case.store.place.side).unwrap();
    let file = files.temporary(&case.store.place.side).unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    assert_eq!(files.names_in(&case.store.place.side).unwrap(), before);
}
