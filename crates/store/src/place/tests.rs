//! Tests of `place.rs`.

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
