//! Tests of `threads.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;

use super::*;

fn here() -> &'static Path {
    Path::new("mailbox")
}

/// holds C-P6 C-P9
#[test]
fn all_is_done_once_by_whatever_threads_there_are() {
    for most in [0, 1, 2, 100] {
        let next = AtomicUsize::new(0);
        let work =
            || Ok((0..).map(|_| next.fetch_add(1, Ordering::Relaxed)).take_while(|at| *at < 1000).collect::<Vec<_>>());
        let done = THREADS.on_all_cores(here(), most, work).unwrap();
        assert!((1..=most.max(1)).contains(&done.len()), "{} of {most}", done.len());
        let mut done = done.concat();
        done.sort_unstable();
        assert!(done.into_iter().eq(0..1000));
    }
}

/// holds C-P6 C-P9
#[test]
fn an_error_of_any_thread_is_the_error_of_all() {
    let failed = || StoreError::Changed { path: here().to_owned() };
    for failing in 0..1000 {
        let next = AtomicUsize::new(0);
        let work = || {
            while let at @ 0..1000 = next.fetch_add(1, Ordering::Relaxed) {
                if at == failing {
                    return Err(failed());
                }
            }
            Ok(())
        };
        assert!(matches!(THREADS.on_all_cores(here(), 4, work), Err(StoreError::Changed { .. })));
    }
}

/// holds C-P6 C-P9
#[test]
fn a_panic_of_another_thread_is_an_error() {
    let this = thread::current().id();
    let work_of = |panics: fn(ThreadId, ThreadId) -> bool| {
        THREADS.on_all_cores(here(), 4, || {
            assert!(!panics(thread::current().id(), this), "as asked for");
            Ok(())
        })
    };
    // On one core there is no other.
    match work_of(|thread, this| thread != this) {
        Ok(done) => assert_eq!(done.len(), 1),
        Err(error) => assert!(error.to_string().contains("mailbox: a thread has panicked"), "{error}"),
    }
    catch_unwind(AssertUnwindSafe(|| work_of(|thread, this| thread == this))).unwrap_err();
}

/// However many ask for help at once, there are no more threads that help than cores, and all is done.
#[test]
fn many_share_the_threads_that_help() {
    static THREADS: Threads = Threads::new();
    let others = |threads: &[ThreadId]| threads.iter().filter(|thread| **thread != threads[0]).count();
    let (most, helping) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 * *CORES {
            scope.spawn(|| {
                let this = thread::current().id();
                for _ in 0..50 {
                    let next = AtomicUsize::new(0);
                    let work = || {
                        let is_helper = thread::current().id() != this;
                        if is_helper {
                            most.fetch_max(helping.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        }
                        while next.fetch_add(1, Ordering::Relaxed) < 100 {}
                        if is_helper {
                            // So that those of others are there at the same time.
                            (0..20).for_each(|_| thread::yield_now());
                            helping.fetch_sub(1, Ordering::SeqCst);
                        }
                        Ok(thread::current().id())
                    };
                    let threads = THREADS.on_all_cores(here(), 100, work).unwrap();
                    assert!(next.load(Ordering::Relaxed) >= 100 && others(&threads) < *CORES);
                }
            });
        }
    });
    assert!(most.load(Ordering::SeqCst) <= *CORES, "{most:?} of {}", *CORES);
}

/// All threads of a kind.
fn all(threads: &'static Threads, kind: Kind) -> Vec<OneOf> {
    let all: Vec<_> = std::iter::from_fn(|| threads.one_of(kind)).collect();
    assert_eq!(all.len(), *CORES);
    all
}

/// A thread that has ended makes room, however it did.
#[test]
fn of_each_kind_there_are_as_many_as_cores() {
    static THREADS: Threads = Threads::new();
    for kind in [Kind::Helper, Kind::Closer, Kind::Writer] {
        for round in 0..3 * *CORES {
            let busy = all(&THREADS, kind);
            assert!(THREADS.one_of(kind).is_none() && THREADS.aside(kind, || ()).is_none(), "{kind:?}");
            drop(busy);
            let thread = THREADS.aside(kind, move || assert!(round % 2 == 0, "as asked for"));
            assert_eq!(thread.unwrap().join().is_ok(), round % 2 == 0, "{kind:?}");
        }
    }
}

/// Where all threads are busy, nobody is helped, and something is dropped at once; a thread that has ended makes room.
#[test]
fn where_all_threads_are_busy_nobody_is_helped() {
    static THREADS: Threads = Threads::new();
    let (dropped, drops) = std::sync::mpsc::channel();
    struct Told(std::sync::mpsc::Sender<ThreadId>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }
    let helpers = all(&THREADS, Kind::Helper);
    assert_eq!(THREADS.on_all_cores(here(), 100, || Ok(())).unwrap().len(), 1);
    let closers = all(&THREADS, Kind::Closer);
    THREADS.drop_aside(Told(dropped.clone()));
    assert_eq!(drops.try_recv(), Ok(thread::current().id()));
    drop(closers);
    // Also while nobody can be helped.
    THREADS.drop_aside(Told(dropped));
    assert_ne!(drops.recv().unwrap(), thread::current().id());
    drop(helpers);
}
