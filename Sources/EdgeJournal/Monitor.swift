import Glibc

/// A mutex with one condition variable, whose waits run on the monotonic clock.
final class Monitor: @unchecked Sendable {
    // SAFETY: pthread objects may be used by any thread; they stay at one address.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init() {
        mutex.initialize(to: pthread_mutex_t())
        condition.initialize(to: pthread_cond_t())
        var attributes = pthread_condattr_t()
        precondition(pthread_mutex_init(mutex, nil) == 0)
        precondition(pthread_condattr_init(&attributes) == 0)
        precondition(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0)
        precondition(pthread_cond_init(condition, &attributes) == 0)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func lock() { precondition(pthread_mutex_lock(mutex) == 0) }
    func unlock() { precondition(pthread_mutex_unlock(mutex) == 0) }
    func signal() { pthread_cond_broadcast(condition) }

    func withLock<T: ~Copyable>(_ body: () -> T) -> T {
        lock()
        defer { unlock() }
        return body()
    }

    /// Waits for a signal, with the lock held; may return without one.
    func wait() { pthread_cond_wait(condition, mutex) }

    /// - Parameter deadlineNs: on the monotonic clock.
    func wait(untilNs deadlineNs: UInt64) {
        var time = timespec()
        time.tv_sec = Int(deadlineNs / 1_000_000_000)
        time.tv_nsec = Int(deadlineNs % 1_000_000_000)
        pthread_cond_timedwait(condition, mutex, &time)
    }
}

/// A thread that runs one closure.
struct Thread: Sendable {
    private let handle: pthread_t

    private final class Start {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    init(_ body: @escaping @Sendable () -> Void) {
        var handle = pthread_t()
        let start = Unmanaged.passRetained(Start(body))
        let code = pthread_create(
            &handle, nil,
            { argument in
                // SAFETY: the pointer is the one retained above, and is taken once.
                Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue().body()
                return nil
            }, start.toOpaque())
        precondition(code == 0, "no thread")
        self.handle = handle
    }

    /// Waits for its end. Once.
    func join() { pthread_join(handle, nil) }
}
