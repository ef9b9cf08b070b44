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
        let done = on_all_cores(here(), most, work).unwrap();
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
        assert!(matches!(on_all_cores(here(), 4, work), Err(StoreError::Changed { .. })));
    }
}

/// holds C-P6 C-P9
#[test]
fn a_panic_of_another_thread_is_an_error() {
    let this = thread::current().id();
    let work_of = |panics: fn(ThreadId, ThreadId) -> bool| {
        on_all_cores(here(), 4, || {
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
