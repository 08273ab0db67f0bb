import CPlatform
import Dispatch
package import Links
package import Platform
import Synchronization

/// The balancer without its links: takes the supervisor's requests, runs the loops, gives back notices.
package final class BalancerEngine: Sendable {
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

        /// Creates the usual configuration.
        package init() {}
    }

    private struct State {
        var loops: [Loop] = []
        var listeners: [String: Descriptor] = [:]
        var table = RoutingTable(revision: 0, loops: 1, pools: [])
        var tableNumber: UInt64 = 0
        var compiler = TableCompiler(loops: 1)
        var progress = TableProgress(loops: 1)
        var lastProgress: [LoopProgress] = []
        var stoppedLoops = 0
        var stopped: (@Sendable () -> Void)?
    }

    private let configuration: Configuration
    private let notify: @Sendable (BalancerNotice) -> Void
    private let state = Lock(State())
    /// Where the loops' reports are taken, in the order they were made.
    private let reports = DispatchQueue(label: "supd.balancer.reports")

    /// Creates an engine that has no table yet. `notify` is called from any thread, one call at a time, in order; it must
    /// not call back.
    package init(_ configuration: Configuration = Configuration(), notify: @escaping @Sendable (BalancerNotice) -> Void)
    {
        self.configuration = configuration
        self.notify = notify
        supd_ignore_sigpipe()
    }

    /// Does what the supervisor asks; `descriptors` came beside the request.
    package func receive(_ request: BalancerRequest, _ descriptors: [Descriptor] = []) {
        state.withLock { state in
            switch request {
            case .hello(let version):
                if version != linkVersion {
                    notify(.log(level: 4, text: "supervisor speaks version \(version), balancer \(linkVersion)"))
                }
                state.progress.supervisorArrived()
                notify(
                    .hello(
                        version: linkVersion, listeners: state.listeners.keys.sorted(),
                        revision: state.progress.revision))
            case .listener(let id): take(listener: id, descriptors.first, &state)
            case .table(let table): take(table, &state)
            case .queryCounters(let query):
                // Connections that were in the way of forgetting at the last table may have ended since.
                if state.progress.isSettled { state.compiler.forget(except: state.table) }
                let pauses = state.loops.reduce(0) { $0 + $1.mailbox.acceptPauses.load(ordering: .relaxed) }
                notify(.counters(query: query, state.compiler.counters(state.table, acceptPauses: pauses)))
            }
        }
    }

    private func take(listener id: String, _ socket: Descriptor?, _ state: inout State) {
        if state.listeners[id] != nil { return }
        guard let socket else { return complain("listener \(id) came without its socket") }
        guard state.listeners.count < TableCompiler.listenerLimit else {
            return complain("cannot take listener \(id): there are \(state.listeners.count) already")
        }
        guard supd_prepare_listener(socket.raw) == 0 else {
            return complain("listener \(id) is not a listening stream socket")
        }
        state.listeners[id] = socket
    }

    private func take(_ table: RoutingTable, _ state: inout State) {
        if state.loops.isEmpty {
            do throws(SystemError) {
                try start(table.loops, &state)
            } catch {
                return complain("cannot start: \(error)")
            }
        }
        let named = Set(table.pools.flatMap { $0.fronts.flatMap(\.listeners) })
        state.listeners = state.listeners.filter { named.contains($0.key) }
        state.tableNumber += 1
        var missing: [String] = []
        let routing = state.compiler.compile(
            table, number: state.tableNumber, listeners: state.listeners, missing: &missing)
        for name in missing { complain("table \(table.revision) names listener \(name), which never came") }
        state.table = table
        var active: Set<UInt64> = []
        var draining: Set<UInt64> = []
        for endpoint in table.pools.flatMap(\.endpoints) {
            if endpoint.state == .active { active.insert(endpoint.id) } else { draining.insert(endpoint.id) }
        }
        state.progress.sent(
            number: state.tableNumber, revision: table.revision, active: active, draining: draining)
        for loop in state.loops { loop.mailbox.send(.routing(routing)) }
    }

    private func start(_ wanted: Int, _ state: inout State) throws(SystemError) {
        let count = min(max(wanted, 1), 64)
        let descriptors = configuration.descriptors ?? descriptorLimit()
        var limits = LoopLimits(descriptors: descriptors, loops: count)
        limits.connections = configuration.connectionsPerLoop ?? limits.connections
        limits.buffers = configuration.buffersPerLoop ?? limits.buffers
        limits.pipes = configuration.pipesPerLoop ?? limits.pipes
        let ports = ephemeralPorts()
        state.compiler = TableCompiler(loops: count)
        state.progress = TableProgress(loops: count)
        do throws(SystemError) {
            for number in 0..<count {
                state.loops.append(
                    try Loop(
                        number: number, limits: limits, ephemeralPorts: ports,
                        // A loop never waits for the control plane, which may be busy with a large message.
                        report: { [weak self, reports] report in reports.async { [weak self] in self?.take(report) } },
                        stopped: { [weak self, reports] in reports.async { [weak self] in self?.loopStopped() } }))
            }
        } catch {
            for loop in state.loops { loop.mailbox.send(.stop) }
            state.loops = []
            throw error
        }
    }

    private func take(_ report: LoopReport) {
        state.withLock { state in
            switch report {
            case .applied(let loop, let number, let busy):
                for notice in state.progress.applied(loop: loop, number: number, busy: busy) { notify(notice) }
                if state.progress.isSettled { state.compiler.forget(except: state.table) }
            case .emptied(let loop, let endpoint):
                for notice in state.progress.emptied(loop: loop, endpoint: endpoint) { notify(notice) }
            case .log(let level, let text): notify(.log(level: level, text: text))
            }
        }
    }

    /// Whether a loop has not moved since this was asked before although it has work; ask some seconds apart.
    package func isStuck() -> Bool {
        state.withLock { state in
            let progress = state.loops.map(\.mailbox.progress)
            let before = state.lastProgress
            state.lastProgress = progress
            return zip(before, progress).contains { $0 == $1 && $1.hasWork }
        }
    }

    private func complain(_ text: String) { notify(.log(level: 3, text: text)) }

    /// Cuts all connections and ends the loops; `done` is called when nothing of them is left. For tests: the role just
    /// exits.
    package func stop(_ done: @escaping @Sendable () -> Void) {
        let isDone = state.withLock { state in
            state.stopped = done
            for loop in state.loops { loop.mailbox.send(.stop) }
            return state.loops.isEmpty
        }
        if isDone { done() }
    }

    private func loopStopped() {
        let done: (@Sendable () -> Void)? = state.withLock { state in
            state.stoppedLoops += 1
            guard state.stoppedLoops == state.loops.count, let stopped = state.stopped else { return nil }
            state.loops = []
            state.listeners = [:]
            return stopped
        }
        done?()
    }

    /// For tests: how often all loops together have come back from the kernel.
    package var wakeUps: UInt64 {
        state.withLock { $0.loops.reduce(0) { $0 + $1.mailbox.wakeUps.load(ordering: .relaxed) } }
    }

    /// For tests: so many accepts of a loop fail with this errno.
    package func failAccepts(loop: Int, count: Int, code: Int32) {
        state.withLock { state in
            guard state.loops.indices.contains(loop) else { return }
            state.loops[loop].mailbox.send(.failAccepts(count: count, code: code))
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
