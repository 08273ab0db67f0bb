import Dispatch
import Platform
import Synchronization

/// Calls a handler on a queue whenever a descriptor has input.
enum InputWatch {
    /// A Dispatch source: costs nothing while nothing comes, but an event passes through Dispatch's manager thread and a
    /// worker, which may have to be created first.
    case source(any DispatchSourceRead)
    /// A thread that waits in the kernel and runs the handler itself, the queue being free: one wake-up instead of two or
    /// three, which is a third of a millisecond on an idle virtual machine. For the link that every exit comes by.
    case thread(WatchingThread)

    /// How it waits.
    enum Manner {
        case bySource
        case byThread
    }

    /// Begins to watch. The handler takes all input there is; the descriptor stays open until `end` has worked.
    static func begin(
        _ descriptor: Descriptor, _ manner: Manner, on queue: DispatchQueue, _ handler: @escaping @Sendable () -> Void
    ) -> InputWatch {
        if manner == .byThread, let thread = try? WatchingThread(descriptor, on: queue, handler) {
            return .thread(thread)
        }
        let source = DispatchSource.makeReadSource(fileDescriptor: descriptor.raw, queue: queue)
        source.setEventHandler(handler: handler)
        source.setCancelHandler { withExtendedLifetime(descriptor) {} }
        source.activate()
        return .source(source)
    }

    /// Ends it; called on the queue, and no handler is called afterwards.
    func end() {
        switch self {
        case .source(let source): source.cancel()
        case .thread(let thread): thread.end()
        }
    }
}

/// See `InputWatch.thread`.
final class WatchingThread: Sendable {
    private let hasEnded = Atomic<Bool>(false)

    init(
        _ descriptor: Descriptor, on queue: DispatchQueue, _ handler: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        let set = try ReadinessSet()
        try set.add(descriptor, token: 0)
        try startBlockingThread(stackBytes: 1 << 20) { [self] in
            while !hasEnded.load(ordering: .acquiring) {
                // Without the link there is no supervisor: the keeper starts another one.
                guard let ready = try? set.wait(milliseconds: -1) else { exitProcess(1) }
                if ready.isEmpty { continue }
                queue.sync { if !hasEnded.load(ordering: .acquiring) { handler() } }
            }
            withExtendedLifetime(descriptor) {}
        }
    }

    /// The thread itself ends with the next input, which the end of the link is.
    func end() { hasEnded.store(true, ordering: .releasing) }
}
