import CPlatform
import Dispatch
import Platform
import Synchronization

/// How much one loop may hold.
struct LoopLimits: Sendable {
    /// Bytes of the buffer that reads go to, and of those that keep what a sink did not take; fits in 16 bits.
    static let bufferSize = 32 << 10

    /// Connections at the same time.
    var connections: Int
    /// Buffers for what sinks did not take; when all are in use the kernel keeps the bytes.
    var buffers: Int
    /// Pipes for splice(2).
    var pipes: Int
    /// The longest sleep while events gather, in nanoseconds.
    var sleep = WakeCoalescing.longest

    /// What a limit on open files allows each of some loops: every connection can have its endpoint's socket, else
    /// those that wait could take all descriptors, and then none could be served.
    init(descriptors: Int64, loops: Int) {
        let all = Int(min(max(descriptors, 64), 1 << 26))
        pipes = max(2, min(64, all / 64 / loops))
        let left = all - 32 - 2 * pipes * loops
        connections = max(8, min(1 << 20, left / 2 / loops))
        buffers = min(2 * connections, 16384)
    }
}

/// What a loop is told.
enum LoopCommand: Sendable {
    case routing(Routing)
    /// The writing end of a service's pipe for session lines.
    case sessionLog(service: String, Descriptor)
    /// Another process accepts from now on.
    case retire
    /// For tests: so many accepts fail with this errno.
    case failAccepts(count: Int, code: Int32)
    /// For tests: so many clients cannot be watched.
    case failWatches(count: Int)
    /// For tests: so many connects find no descriptor.
    case failConnects(count: Int)
    case stop
}

/// What a loop tells.
enum LoopReport: Sendable {
    /// The table of this number is in force here. `busy`: the endpoints that are not active and have connections.
    case applied(loop: Int, table: UInt64, busy: [UInt64])
    /// The last connection of an endpoint that is not active has ended here.
    case emptied(loop: Int, endpoint: UInt64)
    /// A connection waits for a service of which that is to be told.
    case waiting(service: String)
    /// A line for the log, with a syslog level.
    case log(level: Int, String)
}

/// Commands on their way to a loop, and the eventfd that wakes it, lingering or not.
final class LoopMailbox: Sendable {
    let wakeup: Descriptor
    /// How often this loop's accepting was paused.
    let acceptPauses = Atomic<UInt64>(0)
    /// How often the loop has come back from a wait.
    let wakeUps = Atomic<UInt64>(0)
    /// How often it has slept while events gathered.
    let sleeps = Atomic<UInt64>(0)
    /// Whether the loop is in a turn: it comes back from a wait every few milliseconds then.
    let isInTurn = Atomic<Bool>(false)
    /// Whether the loop watches its listeners, and how many connections it has. See `LoopResting`.
    let watch = Atomic<LoopWatch>(.accepts)
    let connections = Atomic<Int>(0)
    /// Whether the loop was called: a place is free that it had found taken. See `LoopPlaces`.
    private let isCalled = Atomic<Bool>(false)
    /// Whether another loop has stopped accepting: the kernel may have told that one alone of who waits.
    private let mustAccept = Atomic<Bool>(false)
    private let commands = Lock<[LoopCommand]>([])

    init() throws(SystemError) {
        let raw = supd_eventfd_create()
        guard raw >= 0 else { throw SystemError(call: "eventfd", code: -raw) }
        wakeup = Descriptor(owning: raw)
    }

    func send(_ command: LoopCommand) {
        commands.withLock { $0.append(command) }
        supd_wake(wakeup.raw)
    }

    /// Calls the loop, unless it was called and has not heard it yet.
    func call() {
        if !isCalled.exchange(true, ordering: .sequentiallyConsistent) { supd_wake(wakeup.raw) }
    }

    /// Whether the loop was called since this was asked before; after `take`, which clears the eventfd.
    func takeCall() -> Bool { isCalled.exchange(false, ordering: .sequentiallyConsistent) }

    /// Lets the loop look for who waits at its listeners, unless it was told and has not heard it yet.
    func passArrivals() {
        if !mustAccept.exchange(true, ordering: .sequentiallyConsistent) { supd_wake(wakeup.raw) }
    }

    /// Whether arrivals were passed on to the loop since this was asked before; after `take`.
    func takeArrivals() -> Bool {
        mustAccept.load(ordering: .relaxed) && mustAccept.exchange(false, ordering: .sequentiallyConsistent)
    }

    /// How far the loop is, to be compared with a later look: without waking a loop that is asleep.
    var progress: LoopProgress {
        LoopProgress(
            wakeUps: wakeUps.load(ordering: .relaxed),
            hasWork: isInTurn.load(ordering: .relaxed) || isCalled.load(ordering: .relaxed)
                || mustAccept.load(ordering: .relaxed)
                || commands.withLock { !$0.isEmpty })
    }

    /// Clears the eventfd, then takes what was sent; nil: nothing.
    func take() -> [LoopCommand]? {
        var count: UInt64 = 0
        _ = supd_read_counter(wakeup.raw, &count)
        return commands.withLock { pending in
            guard !pending.isEmpty else { return nil }
            defer { pending = [] }
            return pending
        }
    }
}

/// What is seen of a loop from outside. Equal twice, seconds apart, and with work: the loop is stuck.
struct LoopProgress: Equatable, Sendable {
    let wakeUps: UInt64
    let hasWork: Bool
}

/// A serial queue, an epoll set, and one Dispatch source on the epoll descriptor.
final class Loop: @unchecked Sendable {
    private let core: UnsafeMutablePointer<LoopCore>
    private let queue: DispatchQueue
    private let source: any DispatchSourceRead
    let mailbox: LoopMailbox

    /// Starts a loop. `stopped` is called when it has ended after `stop`.
    init(
        number: Int, limits: LoopLimits, ephemeralPorts: ClosedRange<Int>, mailboxes: [LoopMailbox],
        report: @escaping @Sendable (LoopReport) -> Void, stopped: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        mailbox = mailboxes[number]
        let fresh = try LoopCore(
            number: number, limits: limits, ephemeralPorts: ephemeralPorts, mailboxes: mailboxes, report: report)
        core = .allocate(capacity: 1)
        core.initialize(to: fresh)
        queue = DispatchQueue(label: "supd.balancer.\(number)")
        source = DispatchSource.makeReadSource(fileDescriptor: core.pointee.set.descriptor.raw, queue: queue)
        let state = CorePointer(core)
        source.setEventHandler { [source] in
            let mailbox = state.core.pointee.mailbox
            mailbox.isInTurn.store(true, ordering: .relaxed)
            state.core.pointee.run()
            mailbox.isInTurn.store(false, ordering: .relaxed)
            if state.core.pointee.isStopped { source.cancel() }
        }
        source.setCancelHandler {
            state.core.pointee.destroy()
            state.core.deinitialize(count: 1)
            state.core.deallocate()
            stopped()
        }
        source.activate()
    }

    /// The core's address, for the handlers, which alone use it and run on the loop's queue.
    private struct CorePointer: @unchecked Sendable {
        let core: UnsafeMutablePointer<LoopCore>

        init(_ core: UnsafeMutablePointer<LoopCore>) { self.core = core }
    }
}
