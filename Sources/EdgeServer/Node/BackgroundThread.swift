import EdgeStores
import Foundation

/// Work that blocks and can wait, in a thread of its own.
enum BackgroundThread {
    /// Runs `body` at low priority.
    static func run<Result: Sendable>(
        _ body: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            let thread = Thread {
                BackgroundPriority.take()
                continuation.resume(with: Swift.Result { try body() })
            }
            thread.stackSize = 8 << 20
            thread.start()
        }
    }
}
