import Foundation
import Glibc

/// Work that blocks and can wait, in a thread of its own.
enum BackgroundThread {
    /// As the reconciler's: grabs come first.
    private static let niceness: Int32 = 10

    /// Runs `body` at low priority.
    static func run<Result: Sendable>(
        _ body: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            let thread = Thread {
                setpriority(Int32(PRIO_PROCESS.rawValue), 0, niceness)  // 0: this thread
                continuation.resume(with: Swift.Result { try body() })
            }
            thread.stackSize = 8 << 20
            thread.start()
        }
    }
}
