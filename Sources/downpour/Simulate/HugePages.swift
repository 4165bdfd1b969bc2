import Foundation

/// Memory in pages of 2 MiB, for runs that touch a little of very much.
///
/// Ten million users on five hundred nodes read tens of thousands of pages at random: with pages
/// of 4 KiB, finding where they lie was a sixth of the time (`rain-10m-500`, in a virtual machine).
/// Only the allocator can be told, and only when a process starts: this one starts itself again.
enum HugePages {
    private static let name = "GLIBC_TUNABLES"
    /// All of the heap in one piece, which grows by 64 MiB; what the kernel cannot give it leaves.
    private static let wanted =
        "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1"
        + ":glibc.malloc.mmap_threshold=1073741824:glibc.malloc.top_pad=67108864"

    /// Runs this program anew with the same arguments, unless somebody has told the allocator
    /// something already. Where that cannot be done, all goes on as it is.
    static func use() {
        guard getenv(name) == nil else { return }
        setenv(name, wanted, 1)
        execv(WorkerProcess.executable.path, CommandLine.unsafeArgv)
        unsetenv(name)
    }
}
