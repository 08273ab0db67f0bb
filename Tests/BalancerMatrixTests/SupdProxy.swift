import Glibc
import Links
import Platform
import TestSupport

/// The balancer's process, with this test at the other ends of its links: in the keeper's place and the supervisor's.
final class SupdProxy: Proxy {
    let port: UInt16
    private let process: ChildProcess
    private let supervisor: LinkConnection
    private var keeper: LinkConnection?
    private let wish: Wish
    private var revision: UInt64 = 0
    /// How the next tables choose among the servers.
    var algorithm = RoutingTable.Pool.Algorithm.roundrobin
    /// The most connections of a server by the next tables.
    var connectionsPerServer: Int?
    /// The ports of the servers that the next tables take out of the choice: what is open there goes on.
    var parked: Set<UInt16> = []
    /// The log lines that it has sent.
    private(set) var log: [String] = []

    var pid: Int32 { process.pid }

    /// Starts it and puts a table of these servers in force.
    init(_ wish: Wish, _ servers: [Server]) throws {
        self.wish = wish
        connectionsPerServer = wish.connectionsPerServer
        let (keeper, keeperEnd) = try LinkConnection.pair()
        let (supervisor, supervisorEnd) = try LinkConnection.pair()
        self.keeper = keeper
        self.supervisor = supervisor
        let program = try programUnderTest()
        // The name and the variable by which supd's main knows what to be.
        process = try ChildProcess(
            program, ["supd: balancer"],
            // The sanitizer would sleep for a second at every end.
            environment: ["SUPD_CONFIGURATION={}", "TSAN_OPTIONS=atexit_sleep_ms=0"],
            descriptors: [keeperEnd.descriptor, supervisorEnd.descriptor], limit: wish.descriptors)
        let front = try listen(on: .ipv4("127.0.0.1", port: 0))
        port = try SocketAddress.local(of: front).port ?? 0
        try tell(.hello(version: linkVersion))
        try tell(.listener(id: "front"), [front])
        try serve(servers)
    }

    private func tell(_ request: BalancerRequest, _ descriptors: [Descriptor] = []) throws {
        guard try supervisor.send(request, descriptors: descriptors) == .sent else {
            throw TestFailure("the balancer does not take \(request); it said: \(process.output)")
        }
    }

    /// The next notice that the closure finds something in; log lines are kept.
    private func find<Value>(_ what: String, _ find: (BalancerNotice) -> Value?) throws -> Value {
        while isReady(supervisor.descriptor.raw, Int16(POLLIN), 30_000) {
            switch supervisor.receive(BalancerNotice.self) {
            case .message(.log(_, let text), _): log.append(text)
            case .message(let notice, _): if let value = find(notice) { return value }
            case .wouldBlock: continue
            case .closed, .malformed: throw TestFailure("the balancer has ended: \(process.output)")
            }
        }
        throw TestFailure("the balancer does not say \(what) in 30 s; it said: \(process.output)")
    }

    func serve(_ servers: [Server]) throws {
        revision += 1
        let endpoints = servers.enumerated().map { number, server in
            // The port is the generation: a server keeps its identity from one table to the next.
            RoutingTable.Endpoint(
                id: UInt64(server.port), instance: "api/\(number + 1)", port: server.port,
                state: parked.contains(server.port) ? .parked : .active)
        }
        let second: Int64 = 1_000_000_000
        var pool = RoutingTable.Pool(
            service: "api", fronts: [RoutingTable.Front(address: "127.0.0.1:\(port)", listeners: ["front"])],
            endpoints: endpoints, emptiness: .hold, queueTimeout: Int64(wish.queueTimeout) * second,
            connectTimeout: Int64(wish.connectTimeout) * second, drainTimeout: 30 * second)
        pool.algorithm = algorithm
        pool.maxConnections = connectionsPerServer.map { UInt32($0) }
        try tell(.table(RoutingTable(revision: revision, loops: wish.threads, pools: [pool])))
        _ = try find("applied \(revision)") { [revision] in $0 == .applied(revision: revision) ? true : nil }
    }

    func counts() throws -> ProxyCounts? {
        revision += 1
        let query = revision
        try tell(.queryCounters(query: query))
        let counters = try find("counters") { notice -> BalancerCounters? in
            if case .counters(query, let counters) = notice { return counters }
            return nil
        }
        var counts = ProxyCounts()
        for front in counters.fronts {
            counts.accepted += Int(front.counts.total)
            counts.clients += Int(front.counts.current)
            counts.waiting += Int(front.counts.queued)
            counts.connects += Int(front.counts.connects)
            // While it came in, waited or connected.
            for (end, number) in front.counts.ends where ["G", "Q", "C"].contains(end.last) {
                counts.endedEarly += Int(number)
            }
        }
        for endpoint in counters.endpoints { counts.charged += Int(endpoint.counts.current) }
        return counts
    }

    func end() throws {
        // What the keeper does when it goes.
        keeper = nil
        let exit = try process.waitForEnd()
        guard exit == .code(0) else { throw TestFailure("the balancer ended by \(exit): \(process.output)") }
        guard !process.output.contains("ThreadSanitizer") else { throw TestFailure(process.output) }
    }
}

/// supd beside the test runner itself.
private func programUnderTest() throws -> String {
    let runner = try Files.readLink("/proc/self/exe")
    return runner.prefix(upTo: runner.lastIndex(of: "/") ?? runner.startIndex) + "/supd"
}
