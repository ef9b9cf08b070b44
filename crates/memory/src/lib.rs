//! Gives memory back to the system.
//!
//! The allocator of glibc keeps what was freed below the topmost allocation of a heap: after ten thousand connections
//! that is as much as they had. It can be told to give back every free page, and nothing safe does that yet: this
//! crate has the declaration of that function, and no other unsafe code. Other allocators give back by themselves.

/// Gives free pages of all heaps back to the system. Blocks the thread for some milliseconds; other threads that
/// allocate meanwhile may wait for it.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::malloc_trim(0);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use std::ffi::c_int;

    // SAFETY: this is the declaration of malloc_trim(3). It may be called by any thread at any time, with any number: it
    // takes the locks of the allocator and touches free memory only. glibc has it in every version.
    #[expect(unsafe_code, reason = "a foreign function cannot be declared without it")]
    unsafe extern "C" {
        /// Keeps `pad` octets at the top of the main heap; says whether anything was given back.
        pub(super) safe fn malloc_trim(pad: usize) -> c_int;
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// Memory of this process that is resident, in KiB.
    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// holds C-C1
    #[test]
    fn what_is_free_below_something_in_use_is_given_back() {
        let mut crowd: Vec<Box<[u8; 2000]>> = (0..20_000).map(|_| Box::new([1; 2000])).collect();
        // The topmost allocation stays.
        let last = crowd.pop();
        drop(crowd);
        let kept = resident();
        give_back();
        let left = resident();
        assert!(left + 30_000 < kept, "{left} KiB after {kept}");
        drop(last);
    }
}
