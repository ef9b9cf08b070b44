//! Tests of `write_back.rs`.

use std::io::Write;

use super::*;

impl WriteBack<'_> {
    /// Waits until nobody is asked any more.
    fn wait(&mut self) {
        // Where others have all the threads there is none.
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// holds C-P7
#[test]
fn a_file_is_written_back_each_time_it_has_grown_enough() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let mut file = File::create_new(&path).unwrap();
    file.write_all(b"some").unwrap();
    let mut write_back = WriteBack::new(&path);
    let mut is_asked_at = |octets| {
        write_back.written(octets);
        write_back.wait();
        write_back.asked == octets
    };
    let mut octets = 0;
    for _ in 0..5 {
        assert!(!is_asked_at(octets + WRITE_BACK_OCTETS - 1));
        octets += WRITE_BACK_OCTETS + 100;
        assert!(is_asked_at(octets));
    }
}

/// holds C-P7
#[test]
fn nobody_is_asked_twice_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, "some").unwrap();
    let mut write_back = WriteBack::new(&path);
    let (end, ended) = std::sync::mpsc::channel::<()>();
    write_back.thread = Some(std::thread::spawn(move || assert!(ended.recv().is_err())));
    write_back.written(WRITE_BACK_OCTETS);
    assert_eq!(write_back.asked, 0);
    drop(end);
    write_back.wait();
    write_back.written(WRITE_BACK_OCTETS);
    assert_eq!(write_back.asked, WRITE_BACK_OCTETS);
}

/// holds C-P7
#[test]
fn a_file_that_cannot_be_opened_is_left_to_its_flush() {
    let mut write_back = WriteBack::new(Path::new("/nowhere/at/all"));
    write_back.written(WRITE_BACK_OCTETS);
    assert!(write_back.thread.is_none());
}
