import CPlatform
import Dispatch
package import Links
package import Platform
import Synchronization

/// The balancer without its links: takes the supervisor's requests, runs the loops, gives back notices.
///
/// An actor on a queue of its own. The loops report to it and never wait for it, for it may be busy with a large table.
package actor BalancerEngine {
    /// What differs between the real thing and a test.
    package struct Configuration: Sendable {
        /// The most descriptors to use; nil: RLIMIT_NOFILE, whose soft limit is raised to the hard one.
        package var descriptors: Int64?
        /// The most connections a loop holds; nil: what the descriptors allow.
        package var connectionsPerLoop: Int?
        /// The most kept buffers of a loop; nil: what the connections need.
        package var buffersPerLoop: Int?
        /// The most pipes of a loop; nil: what the descriptors allow.
        package var pipesPerLoop: Int?
        /// For tests: how long ago the endpoints of the first table became active, in nanoseconds.
        package var firstTableAge: Int64 = 0
        /// For tests: the longest sleep of a loop while events gather, in nanoseconds; nil: the usual one.
        package var longestSleep: Int64?

        /// Creates the usual configuration.
        package init() {}
    }

    private let configuration: Configuration
    private let notify: @Sendable (BalancerNotice) -> Void
    private nonisolated let executor = QueueExecutor(label: "supd.balancer.engine")
    private var loops: [Loop] = []
    private var listeners: [String: Descriptor] = [:]
    /// The options that were set last on each listener.
    private var listenerOptions: [String: RoutingTable.SocketOptions] = [:]
    /// The pipes for session lines, by service.
    private var sessionLogs: [String: Descriptor] = [:]
    private var table = RoutingTable(revision: 0, loops: 1, pools: [])
    private var tableNumber: UInt64 = 0
    private var compiler = TableCompiler(loops: 1)
    private var progress = TableProgress(loops: 1)
    private var lastProgress: [LoopProgress] = []
    private var lastLook = Int64.min
    private var runningLoops = 0
    private var stopped: (@Sendable () -> Void)?
    /// Set once another balancer has taken over: nothing of the supervisor's is taken any more.
    private var retirement: Retirement?

    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Creates an engine that has no table yet. `notify` is called on the engine's queue, in order.
    package init(_ configuration: Configuration = Configuration(), notify: @escaping @Sendable (BalancerNotice) -> Void)
    {
        self.configuration = configuration
        self.notify = notify
        supd_ignore_sigpipe()
    }

    /// Runs a body on the engine's queue, after what was given to it before.
    private nonisolated func perform(_ body: @escaping @Sendable (isolated BalancerEngine) -> Void) {
        executor.queue.async { self.assumeIsolated(body) }
    }

    // MARK: Requests

    /// Does what the supervisor asks; `descriptors` came beside the request. Requests are done in order.
    package nonisolated func receive(_ request: BalancerRequest, _ descriptors: [Descriptor] = []) {
        perform { $0.handle(request, descriptors) }
    }

    private func handle(_ request: BalancerRequest, _ descriptors: [Descriptor]) {
        guard retirement == nil else { return }
        switch request {
        case .hello(let version):
            if version != linkVersion {
                notify(.log(level: 4, text: "supervisor speaks version \(version), balancer \(linkVersion)"))
            }
            progress.supervisorArrived()
            notify(
                .hello(version: linkVersion, listeners: listeners.keys.sorted(), revision: progress.revision))
        case .listener(let id): take(listener: id, descriptors.first)
        case .table(let table): take(table)
        case .sessionLog(let service): take(sessionLog: service, descriptors.first)
        case .queryCounters(let query):
            // Connections that were in the way of forgetting at the last table may have ended since.
            if progress.isSettled { compiler.forget(except: table) }
            let pauses = loops.reduce(0) { $0 + $1.mailbox.acceptPauses.load(ordering: .relaxed) }
            notify(.counters(query: query, compiler.counters(table, acceptPauses: pauses)))
        }
    }

    private func take(listener id: String, _ socket: Descriptor?) {
        if listeners[id] != nil { return }
        guard let socket else { return complain("listener \(id) came without its socket") }
        guard listeners.count < TableCompiler.listenerLimit else {
            return complain("cannot take listener \(id): there are \(listeners.count) already")
        }
        guard supd_prepare_listener(socket.raw) == 0 else {
            return complain("listener \(id) is not a listening stream socket")
        }
        listeners[id] = socket
    }

    private func take(sessionLog service: String, _ pipe: Descriptor?) {
        guard let pipe else { return complain("the session log of \(service) came without its pipe") }
        guard sessionLogs.count < TableCompiler.poolLimit || sessionLogs[service] != nil else {
            return complain("cannot take the session log of \(service): there are \(sessionLogs.count) already")
        }
        // A full pipe must not hold a loop up.
        guard supd_set_non_blocking(pipe.raw) == 0 else {
            return complain("cannot make the session log of \(service) non-blocking")
        }
        sessionLogs[service] = pipe
        for loop in loops { loop.mailbox.send(.sessionLog(service: service, pipe)) }
    }

    /// Sets the options of the listeners that a table names where they have changed; sockets accepted before keep theirs.
    private func setOptions(_ table: RoutingTable) {
        listenerOptions = listenerOptions.filter { listeners[$0.key] != nil }
        for front in table.pools.flatMap(\.fronts) {
            for name in front.listeners where listenerOptions[name] != front.options {
                guard let socket = listeners[name] else { continue }
                listenerOptions[name] = front.options
                var options = supd_listener_options(
                    keep_alive: Int32(min(front.options.keepAliveSeconds ?? 0, 32_767)),
                    user_timeout: Int32(clamping: front.options.userTimeoutMilliseconds ?? 0),
                    defer_accept: Int32(clamping: front.options.deferAcceptSeconds ?? 0),
                    backlog: Int32(clamping: max(1, front.options.backlog)))
                let result = supd_set_listener_options(socket.raw, &options)
                if result < 0 { complain("cannot set the options of \(front.address): \(errorMessage(-result))") }
            }
        }
    }

    private func take(_ table: RoutingTable) {
        if loops.isEmpty {
            do throws(SystemError) {
                try start(table.loops)
            } catch {
                return complain("cannot start: \(error)")
            }
        }
        let named = Set(table.pools.flatMap { $0.fronts.flatMap(\.listeners) })
        listeners = listeners.filter { named.contains($0.key) }
        setOptions(table)
        let services = Set(table.pools.map(\.service))
        sessionLogs = sessionLogs.filter { services.contains($0.key) }
        tableNumber += 1
        var missing: [String] = []
        let age = tableNumber == 1 ? configuration.firstTableAge : 0
        let routing = compiler.compile(
            table, number: tableNumber, listeners: listeners, missing: &missing, now: monotonicNanoseconds() - age)
        for name in missing { complain("table \(table.revision) names listener \(name), which never came") }
        self.table = table
        var active: Set<UInt64> = []
        var draining: Set<UInt64> = []
        for endpoint in table.pools.flatMap(\.endpoints) {
            if endpoint.state == .active { active.insert(endpoint.id) } else { draining.insert(endpoint.id) }
        }
        progress.sent(number: tableNumber, revision: table.revision, active: active, draining: draining)
        for loop in loops {
            loop.mailbox.send(.routing(routing))
            // A balancer before this one may have been told alone, by the kernel, of who waits.
            loop.mailbox.passArrivals()
        }
    }

    private func complain(_ text: String) { notify(.log(level: 3, text: text)) }

    // MARK: Loops

    private func start(_ wanted: Int) throws(SystemError) {
        let count = min(max(wanted, 1), 64)
        var limits = LoopLimits(descriptors: configuration.descriptors ?? descriptorLimit(), loops: count)
        limits.connections = configuration.connectionsPerLoop ?? limits.connections
        limits.buffers = configuration.buffersPerLoop ?? limits.buffers
        limits.pipes = configuration.pipesPerLoop ?? limits.pipes
        limits.sleep = configuration.longestSleep ?? limits.sleep
        let ports = ephemeralPorts()
        compiler = TableCompiler(loops: count)
        progress = TableProgress(loops: count)
        do throws(SystemError) {
            var mailboxes: [LoopMailbox] = []
            for _ in 0..<count { mailboxes.append(try LoopMailbox()) }
            for number in 0..<count {
                loops.append(
                    try Loop(
                        number: number, limits: limits, ephemeralPorts: ports, mailboxes: mailboxes,
                        report: { [weak self] report in self?.perform { $0.take(report) } },
                        stopped: { [weak self] in self?.perform { $0.loopStopped() } }))
                runningLoops += 1
            }
            for loop in loops {
                for (service, pipe) in sessionLogs { loop.mailbox.send(.sessionLog(service: service, pipe)) }
            }
        } catch {
            for loop in loops { loop.mailbox.send(.stop) }
            loops = []
            throw error
        }
    }

    private func take(_ report: LoopReport) {
        switch report {
        case .applied(let loop, let number, let busy):
            for notice in progress.applied(loop: loop, number: number, busy: busy) { notify(notice) }
            if progress.isSettled { compiler.forget(except: table) }
        case .emptied(let loop, let endpoint):
            for notice in progress.emptied(loop: loop, endpoint: endpoint) { notify(notice) }
        case .waiting(let service): notify(.waiting(service: service))
        case .log(let level, let text): notify(.log(level: level, text: text))
        }
    }

    /// How far apart looks at the loops are at least, in nanoseconds: one may be busy that long with a huge table.
    private static let lookPause: Int64 = 3_000_000_000

    /// Whether a loop has not moved since a look some seconds ago although it has work. Waits for the engine's queue, and
    /// so finds out too whether that is stuck.
    package nonisolated func isStuck() -> Bool {
        executor.queue.sync { self.assumeIsolated { $0.loopIsStuck() } }
    }

    private func loopIsStuck() -> Bool {
        let now = monotonicNanoseconds()
        guard now >= saturatingSum(lastLook, Self.lookPause) else { return false }
        lastLook = now
        let before = lastProgress
        lastProgress = loops.map(\.mailbox.progress)
        return zip(before, lastProgress).contains { $0 == $1 && $1.hasWork }
    }

    // MARK: Retiring

    /// Accepts nothing more, and calls `done` once no connection is left; each has the drain time of its service from now
    /// on, and is then cut.
    package nonisolated func retire(_ done: @escaping @Sendable () -> Void) { perform { $0.beginRetiring(done) } }

    private func beginRetiring(_ done: @escaping @Sendable () -> Void) {
        guard retirement == nil else { return }
        retirement = Retirement(table, at: monotonicNanoseconds(), done: done)
        for loop in loops { loop.mailbox.send(.retire) }
        // Sent after that: the loops have accepted who waited before their listeners go.
        goOnRetiring()
    }

    private func goOnRetiring() {
        let now = monotonicNanoseconds()
        if let next = retirement?.nextTable(at: now) { take(next) }
        guard let retirement else { return }
        // Until all loops have the table, those that they have just accepted may not be counted yet.
        let isEmpty = progress.isSettled && openConnections == 0
        if loops.isEmpty || isEmpty || retirement.isOver(at: now) { return retirement.done() }
        executor.queue.asyncAfter(deadline: .now() + Retirement.pause) { [weak self] in
            self?.assumeIsolated { $0.goOnRetiring() }
        }
    }

    private var openConnections: UInt64 {
        compiler.counters(table, acceptPauses: 0).fronts.reduce(0) { $0 &+ $1.counts.current }
    }

    // MARK: For tests

    /// Cuts all connections and ends the loops; `done` is called when nothing of them is left. For tests: the role just
    /// exits.
    package nonisolated func stop(_ done: @escaping @Sendable () -> Void) {
        perform { engine in
            engine.stopped = done
            for loop in engine.loops { loop.mailbox.send(.stop) }
            if engine.runningLoops == 0 { done() }
        }
    }

    private func loopStopped() {
        runningLoops -= 1
        guard runningLoops == 0, let stopped else { return }
        loops = []
        listeners = [:]
        stopped()
    }

    /// For tests: how often all loops together have come back from the kernel.
    package nonisolated var wakeUps: UInt64 {
        executor.queue.sync {
            self.assumeIsolated { $0.loops.reduce(0) { $0 + $1.mailbox.wakeUps.load(ordering: .relaxed) } }
        }
    }

    /// For tests: how often all loops together have slept while events gathered.
    package nonisolated var sleeps: UInt64 {
        executor.queue.sync {
            self.assumeIsolated { $0.loops.reduce(0) { $0 + $1.mailbox.sleeps.load(ordering: .relaxed) } }
        }
    }

    /// For tests: how many connections each loop had when it was through with its last events.
    package nonisolated var connectionsByLoop: [Int] {
        executor.queue.sync {
            self.assumeIsolated { $0.loops.map { $0.mailbox.connections.load(ordering: .relaxed) } }
        }
    }

    /// For tests: so many accepts of a loop fail with this errno.
    package nonisolated func failAccepts(loop: Int, count: Int, code: Int32) {
        perform { engine in
            guard engine.loops.indices.contains(loop) else { return }
            engine.loops[loop].mailbox.send(.failAccepts(count: count, code: code))
        }
    }

    /// For tests: so many times a loop cannot watch a client that waits, or has yet to say who it is.
    package nonisolated func failWatches(loop: Int, count: Int) {
        perform { engine in
            guard engine.loops.indices.contains(loop) else { return }
            engine.loops[loop].mailbox.send(.failWatches(count: count))
        }
    }

    /// For tests: so many connects of a loop find no descriptor.
    package nonisolated func failConnects(loop: Int, count: Int) {
        perform { engine in
            guard engine.loops.indices.contains(loop) else { return }
            engine.loops[loop].mailbox.send(.failConnects(count: count))
        }
    }
}

/// RLIMIT_NOFILE, after the soft limit was raised to the hard one.
private func descriptorLimit() -> Int64 {
    _ = raiseOpenFileLimit()
    guard let number = ResourceLimits.number(of: "nofile"), let limit = try? ResourceLimits.own(number) else {
        return 1024
    }
    return Int64(clamping: limit.soft)
}

/// The ports that the kernel gives to clients: net.ipv4.ip_local_port_range.
private func ephemeralPorts() -> ClosedRange<Int> {
    var first: Int32 = 0
    var last: Int32 = 0
    guard supd_ephemeral_ports(&first, &last) == 0, first <= last else { return 1024...65535 }
    return Int(first)...Int(last)
}
