//! `pillarbox fsck`: exit codes, what is printed, and that it changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::program::{Program, binary};

const ENTRY: &str = "From <x@localhost> Mon Aug 22 23:00:00 2016\nx\n\n";

pub(crate) struct Ran {
    pub(crate) code: i32,
    stdout: String,
    stderr: String,
}

pub(crate) fn run(dir: &Path, options: &[&str]) -> Ran {
    let mut command = Command::new(binary("pillarbox"));
    let output = command.arg("fsck").args(options).arg(dir).stdin(Stdio::null()).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    Ran { code: output.status.code().unwrap(), stdout, stderr }
}

/// Runs it with this exit code.
pub(crate) fn expect(dir: &Path, code: i32) -> Ran {
    let ran = run(dir, &[]);
    assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
    ran
}

/// Everything in a folder: what it is, when it was changed, and what is in it.
pub(crate) fn listing(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut listed = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).chain([folder.clone()]) {
            let metadata = path.symlink_metadata().unwrap();
            let changed = (metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec());
            // By this time mail programs tell whether there is new mail.
            let read = metadata.is_file().then(|| (metadata.atime(), metadata.atime_nsec()));
            listed.insert(path.clone(), format!("{:o} {} {changed:?} {read:?}", metadata.mode(), metadata.ino()));
            if metadata.is_dir() && path != folder {
                folders.push(path);
            }
        }
    }
    listed
}

/// The content of every file, which takes their times with it.
fn contents(dir: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    listing(dir).into_keys().map(|path| (path.clone(), fs::read(&path).ok())).collect()
}

/// A folder in which a server has been, with a mailbox.
fn folder() -> TempDir {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("alice.mbox"), ENTRY).unwrap();
    Program::start("smtp", Some(dir.path()), &[]).stop();
    dir
}

#[test]
fn a_sound_folder_exits_0() {
    let dir = folder();
    let link = dir.path().join("link");
    symlink(dir.path(), &link).unwrap();
    for dir in [dir.path(), &link] {
        let ran = expect(dir, 0);
        assert_eq!(ran.stdout, "1 mailbox, 1 message, 47 octets, 0 queued items: sound\n");
        assert_eq!(ran.stderr, "");
    }
}

#[test]
fn damage_exits_65_and_says_where() {
    let dir = folder();
    fs::write(dir.path().join("alice.mbox"), format!("{ENTRY}torn")).unwrap();
    let warning = "alice.mbox: octet 0: warning: the entry that begins here has no line end; it may be torn\n";
    let ran = expect(dir.path(), 0);
    assert_eq!(ran.stdout, warning.to_owned() + "1 mailbox, 1 message, 51 octets, 0 queued items: sound\n");

    fs::write(dir.path().join("mqueue"), ENTRY).unwrap();
    let ran = expect(dir.path(), 65);
    let error = "mqueue: octet 0: error: the item that begins here has no envelope (X-Envelope-To:)\n";
    let counts = "1 mailbox, 1 message, 98 octets, 1 queued item: damaged\n";
    assert_eq!(ran.stdout, warning.to_owned() + error + counts);
    assert_eq!(ran.stderr, format!("pillarbox: {}: something is wrong\n", dir.path().display()));
}

#[test]
fn a_dir_that_is_none_exits_66() {
    let dir = folder();
    for none in ["nothing", "alice.mbox", "alice.mbox/x"] {
        let ran = expect(&dir.path().join(none), 66);
        assert!(ran.stdout.is_empty() && ran.stderr.contains(none), "{}", ran.stderr);
    }
}

#[test]
fn what_cannot_be_read_exits_74() {
    let dir = folder();
    fs::create_dir(dir.path().join(".pillarbox/alice.update")).unwrap();
    let ran = expect(dir.path(), 74);
    assert!(ran.stdout.starts_with(".pillarbox/alice.update: unread: "), "{}", ran.stdout);
    assert!(ran.stdout.ends_with(": unread\n"), "{}", ran.stdout);
    // What is known to be wrong counts more.
    fs::write(dir.path().join("mqueue"), ENTRY).unwrap();
    expect(dir.path(), 65);
}

#[test]
fn what_is_not_settled_exits_75() {
    let dir = folder();
    let lock = dir.path().join("alice.mbox.lock");
    fs::write(&lock, format!("{}\n", std::process::id())).unwrap();
    let ran = expect(dir.path(), 75);
    let busy = format!("alice.mbox: busy: process {} has its dotlock; not checked\n", std::process::id());
    assert_eq!(ran.stdout, busy + "1 mailbox, 0 messages, 0 octets, 0 queued items: unsettled\n");
    fs::remove_file(lock).unwrap();
    expect(dir.path(), 0);
}

#[test]
fn one_json_document() {
    let dir = folder();
    fs::write(dir.path().join(".pillarbox/a \"b\""), "").unwrap();
    let ran = run(dir.path(), &["--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let finding = r#"{"severity": "info", "file": ".pillarbox/a \"b\"", "octet": null, "what": "none of our files"}"#;
    let counts = r#""mailboxes": 1, "messages": 1, "octets": 47, "queued": 0"#;
    assert_eq!(ran.stdout, format!("{{\"verdict\": \"sound\", {counts}, \"findings\": [{finding}]}}\n"));
}

#[test]
fn help_says_what_the_exit_codes_mean() {
    let output = Command::new(binary("pillarbox")).args(["fsck", "--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    for word in ["--json", "DIR", "65", "66", "74", "75"] {
        assert!(help.contains(word), "{help}");
    }
    let output = Command::new(binary("pillarbox")).args(["fsck"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64), "DIR must be named");
}

#[test]
fn nothing_is_changed() {
    // A folder where no server has been stays one.
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("alice.mbox"), format!("{ENTRY}{ENTRY}torn")).unwrap();
    let before = listing(dir.path());
    expect(dir.path(), 0);
    assert_eq!(listing(dir.path()), before);

    let dir = folder();
    let side = dir.path().join(".pillarbox");
    for (path, content) in [
        (dir.path().join("alice.mbox"), ENTRY.to_owned() + "From <x@lo"),
        (dir.path().join("bob.mbox"), "no From line".to_owned()),
        (dir.path().join("carla.mbox"), String::new()),
        (dir.path().join("bob.mbox.lock"), "1000000000\n".to_owned()),
        (dir.path().join("mqueue"), ENTRY.to_owned()),
        (side.join("journal/1000000000-1"), "broken".to_owned()),
        (side.join("journal/new-1000000000-2"), String::new()),
        (side.join("bob.update"), "broken".to_owned()),
        (side.join("bob.update.tmp"), "broken".to_owned()),
        (side.join("lock-1000000000-3"), String::new()),
        (side.join("strange"), String::new()),
    ] {
        fs::write(path, content).unwrap();
    }
    let content = contents(dir.path());
    // Most systems note when a file was read only if it was changed since it was read last.
    for path in listing(dir.path()).into_keys().filter(|path| path.is_file()) {
        fs::File::options().write(true).open(path).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    }
    let before = listing(dir.path());
    let ran = expect(dir.path(), 65);
    assert!(ran.stdout.lines().count() > 8, "{}", ran.stdout);
    assert_eq!(listing(dir.path()), before);
    assert_eq!(contents(dir.path()), content);
}
