//! The check of a folder: each kind of damage is found in the right file at the right place, and a sound folder has none.

#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use pillarbox_proto::Envelope;
use pillarbox_store::{Queue as _, Report, Severity, Store as _, Verdict, check};

use crate::common::{Folder, envelope, text};

mod common;

const FROM: &str = "From <x@localhost> Mon Aug 22 23:00:00 2016\n";

fn entry(text: &str) -> String {
    format!("{FROM}{text}\n")
}

fn report(dir: &Path) -> Report {
    check(dir, &mut |_| ()).unwrap()
}

/// What was found, as it is printed.
fn lines(dir: &Path) -> Vec<String> {
    report(dir).findings.iter().map(ToString::to_string).collect()
}

/// The check of a mailbox with this content finds exactly these lines.
fn check_mailbox(content: &[u8], verdict: Verdict, expected: &[&str]) {
    let folder = Folder::new(&[]);
    fs::write(folder.path("alice.mbox"), content).unwrap();
    assert_eq!(lines(folder.root()), expected, "for {:?}", String::from_utf8_lossy(content));
    assert_eq!(report(folder.root()).verdict(), verdict);
}

async fn queue(folder: &Folder, to: &str, octets: &str) {
    let to = [to.parse().unwrap()];
    let envelope: Envelope = envelope();
    folder.store.accept(&envelope, text(&folder.store, octets.as_bytes()).await, &[], &to).await.unwrap();
}

#[tokio::test]
async fn a_sound_folder_has_no_findings() {
    let folder = Folder::new(&[("alice", ""), ("bob", &entry("old\n"))]);
    folder.deliver(&["alice", "bob"], "Subject: x\r\n\r\nFrom me\r\n").await.unwrap();
    folder.deliver(&["alice"], &"0123456789\r\n".repeat(100_000)).await.unwrap();
    folder.deliver(&["alice"], "").await.unwrap();
    queue(&folder, "a@x.org", "far\r\n").await;
    // What the sessions leave is ours too.
    assert_eq!(folder.texts("alice").await.len(), 3);
    let mut last = 0;
    let report = check(folder.root(), &mut |progress| {
        assert!(last <= progress.done && progress.done <= progress.total);
        last = progress.done;
    });
    let report = report.unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.verdict(), Verdict::Sound);
    assert_eq!((report.mailboxes, report.messages, report.queued), (2, 5, 1));
    let octets = ["alice.mbox", "bob.mbox", "mqueue"].map(|file| fs::metadata(folder.path(file)).unwrap().len());
    assert_eq!(report.octets, octets.iter().sum::<u64>());
    assert_eq!(last, report.octets * 2);
}

#[test]
fn a_folder_without_a_working_folder_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("alice.mbox"), entry("x\n")).unwrap();
    assert_eq!(lines(dir.path()), [""; 0]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(check(&dir.path().join("nothing"), &mut |_| ()).is_err());
}

#[test]
fn mailboxes_that_programs_write_without_empty_lines() {
    check_mailbox(b"", Verdict::Sound, &[]);
    check_mailbox(
        FROM.as_bytes(),
        Verdict::Sound,
        &["alice.mbox: octet 0: warning: the entry that begins here ends without an empty line; it may be torn"],
    );
    let crlf = format!("{}\r\na\r\nb\r\n", FROM.trim_end());
    check_mailbox(crlf.repeat(3).as_bytes(), Verdict::Sound, &[]);
    check_mailbox(entry("").repeat(3).as_bytes(), Verdict::Sound, &[]);
}

#[test]
fn octets_that_belong_to_no_entry() {
    let in_front = format!("torn\n\n{}", entry("x\n"));
    check_mailbox(
        in_front.as_bytes(),
        Verdict::Damaged,
        &["alice.mbox: octet 0: error: 6 octets in front of the first From line"],
    );
    check_mailbox(
        b"\n\nno From line",
        Verdict::Damaged,
        &[
            "alice.mbox: octet 0: error: 14 octets in front of the first From line",
            "alice.mbox: octet 0: warning: the entry that begins here has no line end; it may be torn",
        ],
    );
    let empty = "alice.mbox: octet 0: warning: empty lines in front of the first From line";
    check_mailbox(format!("\n\n{}", entry("x\n")).as_bytes(), Verdict::Sound, &[empty]);
    check_mailbox(b"\n\n", Verdict::Sound, &[empty]);
}

#[test]
fn entries_that_look_torn() {
    let first = entry("x\n");
    let second = first.len();
    let in_the_middle = format!("{first}{FROM}tor\n{}", entry("y\n"));
    let what = format!(
        "alice.mbox: octet {second}: warning: the entry that begins here ends without an empty line; it may be torn"
    );
    check_mailbox(in_the_middle.as_bytes(), Verdict::Sound, &[&what]);
    for (text, why) in
        [("torn", "has no line end"), ("torn\n", "ends without an empty line"), ("", "ends without an empty line")]
    {
        let at_the_end = format!("{first}{FROM}{text}");
        let what = format!("alice.mbox: octet {second}: warning: the entry that begins here {why}; it may be torn");
        check_mailbox(at_the_end.as_bytes(), Verdict::Sound, &[&what]);
    }
    // Half a From line is none.
    let what = "alice.mbox: octet 0: warning: the entry that begins here has no line end; it may be torn";
    check_mailbox(format!("{first}From <x@").as_bytes(), Verdict::Sound, &[what]);
}

#[test]
fn blocks_that_were_never_written() {
    for (zeros, is_found) in [(511, false), (512, true), (300_000, true)] {
        let mut content = entry(&"x\n".repeat(200_000)).into_bytes();
        content.truncate(399_000);
        let at = content.len();
        content.extend(vec![0; zeros]);
        content.extend(b"\n\n");
        let what = format!("alice.mbox: octet {at}: error: {zeros} octets 0, as a power cut leaves them");
        let (verdict, found) =
            if is_found { (Verdict::Damaged, vec![what.as_str()]) } else { (Verdict::Sound, Vec::new()) };
        check_mailbox(&content, verdict, &found);
    }
}

/// A mailbox of which every entry looks torn gets no endless list, and is judged by all of it.
#[test]
fn many_findings_are_counted() {
    let folder = Folder::new(&[("alice", &(format!("{FROM}x\n").repeat(1000) + &"\0".repeat(600) + "\n\n"))]);
    let lines = lines(folder.root());
    assert_eq!(lines.len(), 101);
    let octet = (FROM.len() + 2) * 100;
    assert_eq!(lines[100], format!("alice.mbox: octet {octet}: error: and 900 more findings from here on"));
}

#[test]
fn files_that_are_called_like_mailboxes_and_are_none() {
    let folder = Folder::new(&[("alice", &entry("x\n")), ("twice", "")]);
    symlink(folder.path("alice.mbox"), folder.path("link.mbox")).unwrap();
    symlink("nowhere", folder.path("mqueue")).unwrap();
    fs::create_dir(folder.path("folder.mbox")).unwrap();
    fs::hard_link(folder.path("twice.mbox"), folder.path("again")).unwrap();
    nix::unistd::mkfifo(&folder.path("pipe.mbox"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    fs::write(folder.path(".mbox"), "").unwrap();
    fs::write(folder.path("a b\n.mbox"), "").unwrap();
    fs::write(folder.path("\u{202e}.mbox"), "").unwrap();
    fs::write(folder.path("no-mailbox"), "\0".repeat(1000)).unwrap();
    assert_eq!(
        lines(folder.root()),
        [
            ".mbox: warning: no mailbox: its name is none of a mailbox",
            r"a b\x0A.mbox: warning: no mailbox: its name is none of a mailbox",
            "folder.mbox: warning: no mailbox: it is a folder",
            "link.mbox: warning: no mailbox: it is a link",
            "pipe.mbox: warning: no mailbox: it is a pipe",
            "twice.mbox: warning: no mailbox: it has 2 hard links",
            r"\xE2\x80\xAE.mbox: warning: no mailbox: its name is none of a mailbox",
            "mqueue: warning: no queue: it is a link",
        ]
    );
    let report = report(folder.root());
    assert_eq!((report.verdict(), report.mailboxes), (Verdict::Sound, 1));
}

#[tokio::test]
async fn items_of_the_queue_without_an_envelope() {
    let folder = Folder::new(&[]);
    queue(&folder, "a@x.org", "one\r\n").await;
    let octet = fs::metadata(folder.path("mqueue")).unwrap().len();
    let mut file = OpenOptions::new().append(true).open(folder.path("mqueue")).unwrap();
    file.write_all(entry("Subject: no envelope\r\n\r\n").as_bytes()).unwrap();
    queue(&folder, "b@x.org", "two\r\n").await;
    let what = "error: the item that begins here has no envelope (X-Envelope-To:)";
    assert_eq!(lines(folder.root()), [format!("mqueue: octet {octet}: {what}")]);
    assert_eq!(report(folder.root()).queued, 3);
}

#[tokio::test]
async fn items_that_are_being_sent() {
    let folder = Folder::new(&[]);
    queue(&folder, "a@x.org", "one\r\n").await;
    let octet = fs::metadata(folder.path("mqueue")).unwrap().len();
    queue(&folder, "b@x.org", "two\r\n").await;
    let items = folder.store.browse().await.unwrap();
    let claim = folder.store.claim(&items[1]).await.unwrap().unwrap();
    assert_eq!(lines(folder.root()), [format!("mqueue: octet {octet}: info: the item is being sent")]);
    assert_eq!(report(folder.root()).verdict(), Verdict::Sound);
    drop(claim);
    assert_eq!(lines(folder.root()), [""; 0]);
}

fn lock(file: &fs::File, kind: libc::c_int) {
    let [l_type, l_whence] = [kind, libc::SEEK_SET].map(|number| number.try_into().unwrap());
    let lock = libc::flock { l_type, l_whence, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&lock)).unwrap();
}

#[test]
fn what_somebody_has_is_busy_and_not_damaged() {
    let folder = Folder::new(&[("alice", "torn"), ("bob", "torn"), ("carla", "torn"), ("david", "")]);
    let file = OpenOptions::new().read(true).write(true).open(folder.path("alice.mbox")).unwrap();
    lock(&file, libc::F_WRLCK);
    let parent = std::os::unix::process::parent_id();
    fs::write(folder.path("bob.mbox.lock"), format!("{parent}\n")).unwrap();
    fs::write(folder.path("carla.mbox.lock"), "").unwrap();
    // Who only reads changes nothing.
    let reader = fs::File::open(folder.path("david.mbox")).unwrap();
    lock(&reader, libc::F_RDLCK);
    assert_eq!(
        lines(folder.root()),
        [
            "alice.mbox: busy: a program has locked it; not checked".to_owned(),
            format!("bob.mbox: busy: process {parent} has its dotlock; not checked"),
            "carla.mbox: busy: a program has its dotlock; not checked".to_owned(),
        ]
    );
    assert_eq!(report(folder.root()).verdict(), Verdict::Unsettled);
    // What is damaged all the same counts.
    fs::write(folder.path("david.mbox"), "torn\n\n").unwrap();
    assert_eq!(report(folder.root()).verdict(), Verdict::Damaged);
    // The checker takes no lock: others can have it at once, and what it looked at is locked as before.
    drop((file, reader));
    fs::remove_file(folder.path("bob.mbox.lock")).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(folder.path("alice.mbox")).unwrap();
    lock(&file, libc::F_WRLCK);
}

#[test]
fn dotlocks_that_nobody_gives_back() {
    let folder = Folder::new(&[("alice", ""), ("bob", "")]);
    fs::write(folder.path("alice.mbox.lock"), format!("{}\n", common::GONE)).unwrap();
    // Of this process, which does not have the other lock: an earlier one with its id has left it.
    fs::write(folder.path("mqueue.lock"), format!("{}\n", process::id())).unwrap();
    let file = fs::File::create(folder.path("bob.mbox.lock")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let what = "warning: stale dotlock: its owner is gone, or it is old";
    let expected = ["alice.mbox", "bob.mbox", "mqueue"].map(|file| format!("{file}.lock: {what}"));
    assert_eq!(lines(folder.root()), expected);
    assert_eq!(report(folder.root()).verdict(), Verdict::Sound);
}

#[test]
fn a_working_folder_that_others_can_change() {
    let folder = Folder::new(&[]);
    for (file, mode) in [(".pillarbox", 0o770), (".pillarbox", 0o702), (".pillarbox/journal", 0o777)] {
        fs::set_permissions(folder.path(file), fs::Permissions::from_mode(mode)).unwrap();
        let what = format!("others may write to it (mode {mode:04o}), and change what recovery does");
        assert_eq!(lines(folder.root()), [format!("{file}: error: {what}")]);
        fs::set_permissions(folder.path(file), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(lines(folder.root()), [""; 0]);
    }
    let dir = tempfile::tempdir().unwrap();
    symlink(folder.path(".pillarbox"), dir.path().join(".pillarbox")).unwrap();
    assert_eq!(lines(dir.path()), [".pillarbox: error: is no folder; move it out of the way"]);
}

#[test]
fn files_in_the_working_folder() {
    let folder = Folder::new(&[("alice", "")]);
    let gone = common::GONE;
    let living = std::os::unix::process::parent_id();
    let files = [
        (
            "alice.update.orphan-1".to_owned(),
            "warning: what a removal was to leave of a mailbox that it did not fit; mail is in it",
        ),
        ("alice.update.tmp".to_owned(), "info: a removal that was never decided; the next start removes this"),
        (format!("journal/new-{gone}-1"), "info: of a process that is gone; the next start removes it"),
        (format!("journal/new-{living}-1"), ""),
        ("journal/strange".to_owned(), "info: none of our files"),
        (format!("lock-{gone}-1"), "info: of a process that is gone; the next start removes it"),
        (format!("lock-{living}-1"), ""),
        (format!("stale-{gone}-1"), "info: of a process that is gone; the next start removes it"),
        ("strange".to_owned(), "info: none of our files"),
        ("alice.maildrop".to_owned(), ""),
    ];
    for (file, _) in &files {
        fs::write(folder.path(".pillarbox").join(file), "").unwrap();
    }
    let expected: Vec<_> = files
        .iter()
        .filter(|(_, what)| !what.is_empty())
        .map(|(file, what)| format!(".pillarbox/{file}: {what}"))
        .collect();
    assert_eq!(lines(folder.root()), expected);
    assert_eq!(report(folder.root()).verdict(), Verdict::Sound);
}

/// A process that has delivered to alice and is killed leaves its journal; one that lives has one as well.
#[tokio::test]
async fn what_a_journal_says_about_mail() {
    let folder = Folder::new(&[("alice", &entry("x\n"))]);
    let old = fs::metadata(folder.path("alice.mbox")).unwrap().len();
    let segments = folder.path(".pillarbox/journal");
    folder.deliver(&["alice"], "y\r\n").await.unwrap();
    assert_eq!(lines(folder.root()), [""; 0], "what a living process has delivered is sound");

    // A copy of its journal has no owner.
    let name = fs::read_dir(&segments).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap();
    let journal = fs::read(segments.join(name)).unwrap();
    let path = segments.join("1-1");
    fs::write(&path, &journal).unwrap();
    let waits = ".pillarbox/journal/1-1: pending: alice: accepted mail or a removal that the next start looks after";
    assert_eq!(lines(folder.root()), [waits]);
    assert_eq!(report(folder.root()).verdict(), Verdict::Unsettled);

    // Zeros where the message is to be, as a power cut leaves them, are excused by it; what is in front of it is not.
    let whole = fs::read(folder.path("alice.mbox")).unwrap();
    let mut torn = whole[..usize::try_from(old).unwrap()].to_vec();
    torn.resize(whole.len() + 600, 0);
    fs::write(folder.path("alice.mbox"), &torn).unwrap();
    let follows =
        format!("alice.mbox: octet {old}: pending: what follows was not finished; the next start puts it right");
    assert!(lines(folder.root()).ends_with(&[follows, waits.to_owned()]), "{:?}", lines(folder.root()));
    assert_eq!(report(folder.root()).verdict(), Verdict::Unsettled);
    fs::write(folder.path("alice.mbox"), vec![0; torn.len()]).unwrap();
    assert!(lines(folder.root())[0].contains("error"), "{:?}", lines(folder.root()));
    fs::write(folder.path("alice.mbox"), &whole).unwrap();

    // As long as its owner lives, it is under way.
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    lock(&file, libc::F_WRLCK);
    assert_eq!(lines(folder.root()), [""; 0]);
    // Behind the header and the first record there is the one that says that the mailbox has the message.
    let applied = memchr::memmem::rfind(&journal, b"pbx1").unwrap();
    fs::write(&path, &journal[..applied]).unwrap();
    assert_eq!(lines(folder.root()), [".pillarbox/journal/1-1: busy: alice: being written to"]);
    drop(file);

    // What is none.
    fs::write(&path, "none").unwrap();
    let unreadable = ".pillarbox/journal/1-1: error: a journal that cannot be read; accepted mail may be in it";
    assert_eq!(lines(folder.root()), [unreadable]);
    fs::write(&path, &journal[..512]).unwrap();
    let over = ".pillarbox/journal/1-1: info: of a process that is gone; the next start removes it";
    assert_eq!(lines(folder.root()), [over]);
}

#[test]
fn removals_that_nobody_can_finish() {
    let folder = Folder::new(&[("alice", "")]);
    let path = folder.path(".pillarbox/alice.update");
    let hash = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(b""));
    let inode = fs::metadata(folder.path("alice.mbox")).unwrap().ino();
    let head = |inode| format!("pillarbox update 2\ninode {inode}\nsize 0\ngap 0\ntail 0\nfirst 0\nrest {hash}\n\n");
    let record = |inode| format!("{}{hash}{hash}", head(inode));
    let waits = "pending: a removal in alice, from octet 0 on, is not finished; the next start does it";
    let unfit = "error: a removal that no longer fits the mailbox alice; mail is in it";
    let broken = "error: a removal in alice that cannot be read to its end; mail may be in it";
    let whole = record(inode);
    for (content, what, verdict) in [
        (&whole[..], waits, Verdict::Unsettled),
        (&record(inode + 1), unfit, Verdict::Damaged),
        (&whole[..whole.len() - 1], broken, Verdict::Damaged),
        ("", broken, Verdict::Damaged),
    ] {
        fs::write(&path, content).unwrap();
        assert_eq!(lines(folder.root()), [format!(".pillarbox/alice.update: {what}")]);
        assert_eq!(report(folder.root()).verdict(), verdict);
    }
    // Whoever has the mailbox may be about to write it.
    let file = OpenOptions::new().read(true).write(true).open(folder.path("alice.mbox")).unwrap();
    lock(&file, libc::F_WRLCK);
    assert_eq!(lines(folder.root())[1], ".pillarbox/alice.update: busy: a removal in alice is under way");
    // One that is not decided yet is nothing to tell while somebody may be writing it.
    fs::rename(&path, folder.path(".pillarbox/alice.update.tmp")).unwrap();
    assert_eq!(lines(folder.root()).len(), 1, "{:?}", lines(folder.root()));
    drop(file);
    assert!(lines(folder.root())[0].contains("never decided"), "{:?}", lines(folder.root()));
    fs::remove_file(folder.path(".pillarbox/alice.update.tmp")).unwrap();
    fs::write(&path, record(inode)).unwrap();
    fs::remove_file(folder.path("alice.mbox")).unwrap();
    assert_eq!(lines(folder.root()), [format!(".pillarbox/alice.update: {unfit}")]);
}

#[test]
fn what_the_system_does_not_let_be_read() {
    let folder = Folder::new(&[("alice", "")]);
    // A folder in the place of a record cannot be read by anybody.
    fs::create_dir(folder.path(".pillarbox/alice.update")).unwrap();
    let report = report(folder.root());
    assert_eq!(report.verdict(), Verdict::Unread);
    let finding = &report.findings[0];
    assert_eq!((finding.severity, finding.file.as_str()), (Severity::Unread, ".pillarbox/alice.update"));
    assert!(!finding.what.contains('/'), "the path is said once: {finding}");
}
