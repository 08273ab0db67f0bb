import Glibc
import Links
import Platform
import TestSupport

/// The balancer's process, with this test at the other ends of its links: in the keeper's place and the supervisor's. It can
/// be replaced by another one, as in an upgrade, and ends then with its last connection.
final class SupdProxy: Proxy {
    /// One process, and the links to it.
    private final class Balancer {
        let process: ChildProcess
        let supervisor: LinkConnection
        /// nil: the keeper has gone.
        var keeper: LinkConnection?

        init(_ wish: Wish) throws {
            let (keeper, keeperEnd) = try LinkConnection.pair()
            let (supervisor, supervisorEnd) = try LinkConnection.pair()
            self.keeper = keeper
            self.supervisor = supervisor
            // The name and the variable by which supd's main knows what to be.
            process = try ChildProcess(
                try builtProgram("supd"), ["supd: balancer"],
                // The sanitizer would sleep for a second at every end.
                environment: ["SUPD_CONFIGURATION={}", "TSAN_OPTIONS=atexit_sleep_ms=0"],
                descriptors: [keeperEnd.descriptor, supervisorEnd.descriptor], limit: wish.descriptors,
                // Which may be a player's, who ends before. A balancer ends when its link to the keeper closes.
                diesWithThread: false)
        }

        /// Waits for its end, which must be in order.
        func end() throws {
            let exit = try process.waitForEnd()
            guard exit == .code(0) else { throw TestFailure("the balancer ended by \(exit): \(process.output)") }
            guard !process.output.contains("ThreadSanitizer") else { throw TestFailure(process.output) }
        }
    }

    let port: UInt16
    private let wish: Wish
    private var balancer: Balancer
    /// Those that were replaced, and still have connections.
    private var retired: [Balancer] = []
    /// What the keeper holds for the balancer: listening sockets, and the writing ends of the services' session logs.
    private var listeners: [(id: String, socket: Descriptor)] = []
    private var sessionLogs: [(service: String, pipe: Descriptor)] = []
    private var revision: UInt64 = 0
    /// How the next tables choose among the servers.
    var algorithm = RoutingTable.Pool.Algorithm.roundrobin
    /// The most connections of a server by the next tables.
    var connectionsPerServer: Int?
    /// The ports of the servers that the next tables take out of the choice: what is open there goes on.
    var parked: Set<UInt16> = []
    /// What else is to be in the next tables.
    var adjust: (inout RoutingTable) -> Void = { _ in }
    /// The log lines that it has sent.
    private(set) var log: [String] = []

    var pid: Int32 { balancer.process.pid }
    /// How many that were replaced have not ended yet.
    var retiredCount: Int { retired.count }

    /// Starts it and puts a table of these servers in force.
    init(_ wish: Wish, _ servers: [Server]) throws {
        self.wish = wish
        connectionsPerServer = wish.connectionsPerServer
        balancer = try Balancer(wish)
        let front = try listen(on: .ipv4("127.0.0.1", port: 0))
        port = try SocketAddress.local(of: front).port ?? 0
        listeners = [("front", front)]
        try equip()
        try serve(servers)
    }

    /// Gives a new balancer what the keeper holds.
    private func equip() throws {
        try tell(.hello(version: linkVersion))
        for (id, socket) in listeners { try tell(.listener(id: id), [socket]) }
        for (service, pipe) in sessionLogs { try tell(.sessionLog(service: service), [pipe]) }
    }

    private func tell(_ request: BalancerRequest, _ descriptors: [Descriptor] = []) throws {
        guard try balancer.supervisor.send(request, descriptors: descriptors) == .sent else {
            throw TestFailure("the balancer does not take \(request); it said: \(balancer.process.output)")
        }
    }

    /// The next notice that the closure finds something in; log lines are kept.
    private func find<Value>(_ what: String, _ find: (BalancerNotice) -> Value?) throws -> Value {
        while isReady(balancer.supervisor.descriptor.raw, Int16(POLLIN), 30_000) {
            switch balancer.supervisor.receive(BalancerNotice.self) {
            case .message(.log(_, let text), _): log.append(text)
            case .message(let notice, _): if let value = find(notice) { return value }
            case .wouldBlock: continue
            case .closed, .malformed: throw TestFailure("the balancer has ended: \(balancer.process.output)")
            }
        }
        throw TestFailure("the balancer does not say \(what) in 30 s; it said: \(balancer.process.output)")
    }

    // MARK: Tables

    func serve(_ servers: [Server]) throws {
        revision += 1
        let endpoints = servers.map { server in
            // The port is the generation: a server keeps its identity from one table to the next.
            RoutingTable.Endpoint(
                id: UInt64(server.port), instance: "api/\(server.port)", port: server.port,
                state: parked.contains(server.port) ? .parked : .active)
        }
        let second: Int64 = 1_000_000_000
        var pool = RoutingTable.Pool(
            service: "api", fronts: [RoutingTable.Front(address: "127.0.0.1:\(port)", listeners: ["front"])],
            endpoints: endpoints, emptiness: .hold, queueTimeout: Int64(wish.queueTimeout) * second,
            connectTimeout: Int64(wish.connectTimeout) * second, drainTimeout: 30 * second)
        pool.algorithm = algorithm
        pool.maxConnections = connectionsPerServer.map { UInt32($0) }
        var table = RoutingTable(revision: revision, loops: wish.threads, pools: [pool])
        adjust(&table)
        try tell(.table(table))
        _ = try find("applied \(revision)") { [revision] in $0 == .applied(revision: revision) ? true : nil }
    }

    /// An option of a front's socket, which the balancer's own is a copy of.
    func option(_ level: Int32, _ name: Int32, of id: String = "front") throws -> Int32 {
        guard let front = listeners.first(where: { $0.id == id }) else { throw TestFailure("there is no front \(id)") }
        var (value, length) = (Int32(0), socklen_t(MemoryLayout<Int32>.size))
        try systemCall("getsockopt") { getsockopt(front.socket.raw, level, name, &value, &length) }
        return value
    }

    /// Opens another port, for a front of the next tables that names it.
    func open(_ id: String, isIPv6: Bool = false) throws -> UInt16 {
        try open(id, on: isIPv6 ? .ipv6("::1", port: 0) : .ipv4("127.0.0.1", port: 0))
    }

    /// The same at any address.
    func open(_ id: String, on endpoint: ListenEndpoint) throws -> UInt16 {
        let socket = try listen(on: endpoint)
        listeners.append((id, socket))
        try tell(.listener(id: id), [socket])
        return try SocketAddress.local(of: socket).port ?? 0
    }

    /// Opens a Unix socket, for a front of the next tables that names it.
    func open(_ id: String, at path: String) throws {
        let socket = try listen(on: .unix(path))
        listeners.append((id, socket))
        try tell(.listener(id: id), [socket])
    }

    /// Has the sessions of these services written to a pipe, whose writing end this is.
    func logSessions(of services: [String], to pipe: Descriptor) throws {
        for service in services {
            sessionLogs.append((service, pipe))
            try tell(.sessionLog(service: service), [pipe])
        }
    }

    // MARK: Counters

    /// All that it counts.
    func counters() throws -> BalancerCounters {
        revision += 1
        let query = revision
        try tell(.queryCounters(query: query))
        return try find("counters") { notice -> BalancerCounters? in
            if case .counters(query, let counters) = notice { return counters }
            return nil
        }
    }

    func counts() throws -> ProxyCounts? {
        let counters = try counters()
        var counts = ProxyCounts()
        for front in counters.fronts where front.service == "api" {
            counts.accepted += Int(front.counts.total)
            counts.clients += Int(front.counts.current)
            counts.waiting += Int(front.counts.queued)
            counts.connects += Int(front.counts.connects)
            // While it came in, waited or connected.
            for (end, number) in front.counts.ends where ["G", "Q", "C"].contains(end.last) {
                counts.endedEarly += Int(number)
            }
        }
        for endpoint in counters.endpoints where endpoint.instance.hasPrefix("api/") {
            counts.charged += Int(endpoint.counts.current)
        }
        return counts
    }

    // MARK: Ends

    /// Has another balancer take over with a table of these servers, and this one retire: it has left the listeners when
    /// this returns. Root sees that.
    func replace(_ servers: [Server]) throws {
        let former = balancer
        balancer = try Balancer(wish)
        try equip()
        try serve(servers)
        guard try former.keeper?.send(KeeperNotice.retire) == .sent else {
            throw TestFailure("the balancer cannot be told to retire; it said: \(former.process.output)")
        }
        retired.append(former)
        let pid = former.process.pid
        var sockets: Set<String> = []
        for (id, socket) in listeners {
            var status = stat()
            try systemCall("fstat", id) { fstat(socket.raw, &status) }
            sockets.insert("socket:[\(status.st_ino)]")
        }
        try eventually("balancer \(pid) has left its listeners") {
            ProcessView(pid: pid).hasOpen(sockets) ? nil : true
        }
    }

    /// Takes note of those that were replaced and have ended; answers how many.
    func reap() throws -> Int {
        let before = retired.count
        retired = try retired.filter { balancer in
            guard try balancer.process.exit() != nil else { return true }
            try balancer.end()
            return false
        }
        return before - retired.count
    }

    func end() throws {
        // They end with their last connections.
        for balancer in retired { try balancer.end() }
        retired = []
        // What the keeper does when it goes.
        balancer.keeper = nil
        try balancer.end()
    }
}

/// A program beside the test runner itself.
func builtProgram(_ name: String) throws -> String {
    let runner = try Files.readLink("/proc/self/exe")
    return runner.prefix(upTo: runner.lastIndex(of: "/") ?? runner.startIndex) + "/" + name
}
