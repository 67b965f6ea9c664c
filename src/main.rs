//! The binary: everything is in the library's `cli`.

/// Memory that one core allocates and another frees takes no lock:
/// docs/decisions/2026-11-23-allocator.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    corelog::cli::main()
}
