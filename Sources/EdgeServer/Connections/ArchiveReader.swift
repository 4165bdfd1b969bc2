public import EdgeLedger
import EdgeReconciler
public import EdgeStores
import EdgeTypes
import Glibc
import NIOPosix
import Synchronization

/// Puts questions about archived slices to the store, in threads that may block. Any thread.
///
/// At most `mostOpen` wait at once, none of them longer than `patience`: whoever comes when the
/// store cannot keep up hears so, and the loops never wait. While one has waited longer than that,
/// since no thread has come to it, nobody is taken at all.
public final class ArchiveReader: Sendable {
    /// How questions ended, since the start.
    public struct Counters: Sendable, Equatable {
        public var answered: UInt64 = 0
        /// Too many waited, or one for too long.
        public var refused: UInt64 = 0
        /// The store did not answer, or has not come as far.
        public var failed: UInt64 = 0
    }

    /// What the store says of a question.
    public enum Found: Sendable {
        /// The user's claims, in order.
        case claims([ArchivedClaim])
        /// What `ArchivedOrders` asks for, and how far the store had their shard.
        case orders([StoredOrder], asOf: UInt64)
        /// Nothing now, for this reason.
        case nothing(String)
    }

    private let history: HistoryPool
    private let threads = NIOThreadPool(numberOfThreads: ArchiveReader.threadCount)
    private let open = Atomic<Int>(0)
    private let told = Mutex(Counters())
    /// When those asked that no thread has come to yet, oldest first.
    private let waiting = Mutex<[ContinuousClock.Instant]>([])

    /// The pool lets eight ask at once: half are left to operators.
    private static let threadCount = 4
    private static let mostOpen = 1_024
    private static let patience = Duration.seconds(2)
    /// As the reconciler's: grabs come first.
    private static let niceness: Int32 = 10

    public init(_ history: HistoryPool) {
        self.history = history
        threads.start()
    }

    public var counters: Counters { told.withLock { $0 } }

    /// Asks the store.
    ///
    /// - Parameter then: is told once, in any thread.
    public func ask(_ question: StoreQuestion, then: @escaping @Sendable (Found) -> Void) {
        guard open.wrappingAdd(1, ordering: .relaxed).oldValue < Self.mostOpen else {
            open.wrappingSubtract(1, ordering: .relaxed)
            told.withLock { $0.refused += 1 }
            return then(.nothing("too many ask for what has left memory"))
        }
        let asked = ContinuousClock.now
        let isStuck = waiting.withLock { waiting in
            if let oldest = waiting.first, asked - oldest >= Self.patience { return true }
            waiting.append(asked)
            return false
        }
        if isStuck {
            open.wrappingSubtract(1, ordering: .relaxed)
            told.withLock { $0.refused += 1 }
            return then(.nothing(Self.tooLong))
        }
        threads.submit { [self] state in
            waiting.withLock { waiting in
                // Threads take them in order, and may come here out of it.
                if let place = waiting.firstIndex(of: asked) { waiting.remove(at: place) }
            }
            let found: Found =
                switch state {
                case .cancelled: .nothing("the node stops")
                case .active: find(question, asked)
                }
            open.wrappingSubtract(1, ordering: .relaxed)
            then(found)
        }
    }

    private static let tooLong = "the store takes too long for all who ask"

    private func find(_ question: StoreQuestion, _ asked: ContinuousClock.Instant) -> Found {
        guard ContinuousClock.now - asked < Self.patience else {
            told.withLock { $0.refused += 1 }
            return .nothing(Self.tooLong)
        }
        setpriority(Int32(PRIO_PROCESS.rawValue), 0, Self.niceness)  // 0: this thread
        do {
            let found: Found = try history.read(seen: [question.last]) { history in
                switch question {
                case .claims(let question):
                    .claims(
                        try history.claims(
                            of: question.user, pool: question.pool, from: question.first,
                            through: question.last))
                case .orders(let question):
                    .orders(
                        try history.orders(question),
                        asOf: try history.watermarks()[EntryID.shard(of: question.last)].sequence)
                }
            }
            told.withLock { $0.answered += 1 }
            return found
        } catch StoreError.behind {
            told.withLock { $0.failed += 1 }
            return .nothing("it has left memory, and the store has not come as far again")
        } catch {
            told.withLock { $0.failed += 1 }
            return .nothing("it has left memory, and the store does not answer")
        }
    }

    /// Ends the threads once those who wait have heard. Once.
    public func stop() async {
        try? await threads.shutdownGracefully()
    }
}
