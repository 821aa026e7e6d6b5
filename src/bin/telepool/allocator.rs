//! Tuning of the allocator (glibc).

/// Has the buffers of closed connections returned to the system.
///
/// The client keeps two buffers of 1 MiB per connection and uses a little of each. glibc maps
/// such blocks freshly at first, but raises the size from which it does so when one is freed;
/// later connections then get used memory, and stay at 1 MB resident each.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn keep_no_buffers() {
    const THRESHOLD: i32 = 128 * 1024;
    // SAFETY: mallopt changes a parameter of the allocator and may be called at any time; no
    // other thread exists yet that could call it too.
    let taken = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, THRESHOLD) };
    debug_assert_eq!(taken, 1, "glibc takes any threshold up to 32 MiB");
}

/// Other allocators do not raise their threshold.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep_no_buffers() {}

/// Returns what the allocator keeps for later to the system, to see what is really in use.
#[cfg(all(feature = "bench", target_os = "linux", target_env = "gnu"))]
pub(crate) fn give_back() {
    // SAFETY: malloc_trim takes its own locks and may be called at any time.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators decide for themselves.
#[cfg(all(feature = "bench", not(all(target_os = "linux", target_env = "gnu"))))]
pub(crate) fn give_back() {}
