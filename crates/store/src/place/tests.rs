//! Tests of `place.rs`.

use std::os::fd::OwnedFd;

use nix::libc::EIO;

use super::*;
use crate::files::tests::Fault;

/// holds C-S6
#[test]
fn the_working_folder_is_no_link() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::os::unix::fs::symlink(elsewhere.path(), dir.path().join(".pillarbox")).unwrap();
    let error = Place::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains(".pillarbox: is no folder"), "{error}");
    assert_eq!(elsewhere.path().read_dir().unwrap().count(), 0);
}

/// holds C-P7
#[test]
fn the_working_folder_is_durable_before_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let open = |fault| {
        let files = Files::default();
        files.inject(fault);
        Place::open_with(dir.path(), files).map(|place| place.files.done())
    };
    for _ in 0..2 {
        open(Fault::Fail(1, EIO)).expect_err("the folder is flushed, and again after a failure");
    }
    assert_eq!(open(Fault::None).unwrap(), 4);
    assert_eq!(open(Fault::None).unwrap(), 1, "later there is nothing to flush");
}

/// holds C-P5
#[test]
fn what_may_not_be_in_memory_is_left_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "x".repeat(100)).unwrap();
    let file = File::open(&path).unwrap();
    let is_left = |file: &File, octets, offset| {
        let mut buffer = vec![0; octets];
        match read_cached_at(file, &mut buffer, offset) {
            Ok(read) => {
                assert_eq!((read, buffer), (octets, vec![b'x'; octets]));
                false
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                true
            }
        }
    };
    // Whether it is in memory is for the system to say, but never is a part of what was asked for.
    let _ = is_left(&file, 100, 0);
    assert!(is_left(&file, 101, 0) && is_left(&file, 1, 100), "it ends before");
    // Files that know no such reading, and cannot be read from a place at all.
    assert!(is_left(&File::open("/proc/self/status").unwrap(), 10, 0));
    let (pipe, _writer) = io::pipe().unwrap();
    assert!(is_left(&File::from(OwnedFd::from(pipe)), 1, 0));
    assert!(is_left(&File::options().write(true).open(&path).unwrap(), 100, 0), "it is not for reading");
}

/// Inode numbers are used again; what a file is known by is not. Earlier versions wrote down the number alone.
///
/// holds C-S9
#[test]
fn no_file_is_taken_for_one_that_had_its_inode() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alice.mbox");
    let made = || {
        fs::write(&path, "").unwrap();
        let metadata = path.metadata().unwrap();
        (metadata.ino(), FileId::of(&metadata), metadata.created().is_ok())
    };
    let (inode, first, is_told) = made();
    assert!(first.is(first.number()) && first.is(inode) && !first.is(first.number() ^ 1));
    for _ in 0..100 {
        let before = path.metadata().unwrap();
        fs::remove_file(&path).unwrap();
        // Two of one tick of the clock are not told apart; nobody puts files in the place of others as fast.
        while is_told && fs::metadata(dir.path()).unwrap().modified().unwrap() == before.created().unwrap() {
            fs::write(dir.path().join("other"), "").unwrap();
            fs::remove_file(dir.path().join("other")).unwrap();
        }
        let (again, other, _) = made();
        assert!(!is_told || again != inode || !other.is(first.number()));
    }
}

/// A disk can go and come back without a boot, with less on it than was written.
///
/// holds C-S9
#[test]
fn an_era_is_of_one_mount() {
    let mut eras = Vec::new();
    for dir in ["/proc", "/dev", "/sys"] {
        let said = statx(CWD, dir, AtFlags::empty(), MOUNT_UNIQUE).unwrap();
        // A system that does not know such an id of mounts says nothing about eras.
        if said.stx_mask & MOUNT_UNIQUE.bits() != 0 && !BOOT.is_empty() {
            assert_eq!(era(Path::new(dir)), format!("{} {}", *BOOT, said.stx_mnt_id));
            eras.push(era(Path::new(dir)));
        }
    }
    let count = eras.len();
    eras.dedup();
    assert_eq!(eras.len(), count, "each is a mount of its own");
    // Where nobody can tell, everything may be lost.
    let tests_only = BOOT.clone();
    assert!(["".to_owned(), tests_only].contains(&era(Path::new("/does/not/exist"))));
}
