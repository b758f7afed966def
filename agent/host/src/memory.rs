//! How this process uses the C library's allocator.

/// Lets all threads allocate from one arena, so that what one of them frees another can use.
///
/// The C library gives up to eight arenas a processor to programs that allocate on many threads at once. An agent that
/// mostly waits does not, and each arena keeps some hundred KiB that nobody else can use. To be called before the
/// first thread starts.
pub fn use_one_arena() {
    // SAFETY: mallopt takes two integers; no other thread runs yet that could be within malloc.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Gives memory that was freed back to the system: after work that needed much of it once.
pub fn give_back() {
    // SAFETY: malloc_trim takes an integer and may be called at any time.
    unsafe { libc::malloc_trim(0) };
}
