import Glibc
import Platform
import TestSupport

/// A thread of its own for a body that waits: bodies that wait for each other must not share a pool of few threads.
final class Worker: @unchecked Sendable {
    private var thread = pthread_t()
    private let body: @Sendable () throws -> Void
    private let failure = Lock<(any Error)?>(nil)
    private var isJoined = false

    init(_ body: @escaping @Sendable () throws -> Void) throws {
        self.body = body
        let box = Unmanaged.passRetained(self)
        let result = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Worker>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, box.toOpaque())
        guard result == 0 else {
            box.release()
            throw TestFailure("pthread_create: \(result)")
        }
    }

    private func run() {
        do { try body() } catch { self.failure.withLock { $0 = error } }
    }

    /// Waits for its end, and throws what it threw.
    func join() throws {
        guard !isJoined else { return }
        isJoined = true
        pthread_join(thread, nil)
        if let failure = failure.withLock({ $0 }) { throw failure }
    }
}

/// Runs bodies at the same time, and throws what the first one threw when all have ended.
func atOnce(_ bodies: (@Sendable () throws -> Void)...) throws {
    let workers = try bodies.map { try Worker($0) }
    let results = workers.map { worker in Result { try worker.join() } }
    for result in results { try result.get() }
}
