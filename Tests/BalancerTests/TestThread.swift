import Glibc
import Platform
import TestSupport

/// A thread of its own: bodies that wait for each other must not share the pool of a machine with few cores.
final class TestThread: @unchecked Sendable {
    private var thread = pthread_t()

    init(_ body: @escaping @Sendable () -> Void) throws {
        let box = Unmanaged.passRetained(Body(body))
        let result = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            }, box.toOpaque())
        guard result == 0 else {
            box.release()
            throw TestFailure("pthread_create: \(result)")
        }
    }

    func join() { pthread_join(thread, nil) }

    private final class Body {
        let body: @Sendable () -> Void

        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}

/// The first error of several threads.
final class FailureBox: Sendable {
    private let failure = Lock<(any Error)?>(nil)

    var first: (any Error)? { failure.withLock { $0 } }

    func run(_ body: () throws -> Void) {
        do {
            try body()
        } catch {
            failure.withLock { $0 = $0 ?? error }
        }
    }
}
