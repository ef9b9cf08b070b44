//! Tests of `write_back.rs`.

use std::cell::Cell;

use super::*;

thread_local! {
    /// How often this thread has asked.
    pub(crate) static ASKED: Cell<usize> = const { Cell::new(0) };
}

impl WriteBack<'_> {
    /// What the thread that was asked has done; `None` if nobody was.
    fn wait(&mut self) -> Option<io::Result<()>> {
        self.thread.take().map(|thread| thread.join().unwrap())
    }
}

/// holds C-P7
#[test]
fn a_file_is_written_back_each_time_it_has_grown_enough() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::open(dir.path()).unwrap();
    let path = place.update_tmp("alice");
    std::fs::write(&path, "some").unwrap();
    let mut write_back = WriteBack::new(&place, &path);
    let mut octets = 0;
    for _ in 0..5 {
        write_back.written(octets + WRITE_BACK_OCTETS - 1);
        assert!(write_back.wait().is_none());
        octets += WRITE_BACK_OCTETS + 100;
        // While others have all the threads, nobody is asked, and it stays due.
        let done = (0..1_000_000).find_map(|_| {
            write_back.written(octets);
            std::thread::yield_now();
            write_back.wait()
        });
        done.unwrap().unwrap();
        assert_eq!(write_back.asked, octets);
    }
    assert_eq!(ASKED.get(), 5);
}

/// holds C-P7
#[test]
fn nobody_is_asked_twice_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::open(dir.path()).unwrap();
    let path = place.update_tmp("nobody");
    let mut write_back = WriteBack::new(&place, &path);
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let first = std::thread::spawn(move || {
        assert!(ended.recv().is_err());
        Ok(())
    });
    write_back.thread = Some(first);
    write_back.written(WRITE_BACK_OCTETS);
    assert_eq!((write_back.asked, ASKED.get()), (0, 0));
    drop(end);
    write_back.wait().unwrap().unwrap();
    // What stands in the way of this is left to the flush.
    write_back.written(WRITE_BACK_OCTETS);
    assert!(write_back.wait().is_none() && write_back.asked == 0);
}
