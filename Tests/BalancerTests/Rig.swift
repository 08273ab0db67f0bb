import Balancer
import Glibc
import Links
import Platform
import TestSupport

/// A balancer's engine with fronts and backends of a test.
final class Rig: Sendable {
    /// The notices so far, and a condition that says when there are more.
    private final class Notices: @unchecked Sendable {
        private var mutex = pthread_mutex_t()
        private var condition = pthread_cond_t()
        private var all: [BalancerNotice] = []
        private var isStopped = false

        init() {
            pthread_mutex_init(&mutex, nil)
            pthread_cond_init(&condition, nil)
        }

        func add(_ notice: BalancerNotice) {
            pthread_mutex_lock(&mutex)
            all.append(notice)
            pthread_cond_broadcast(&condition)
            pthread_mutex_unlock(&mutex)
        }

        func stop() {
            pthread_mutex_lock(&mutex)
            isStopped = true
            pthread_cond_broadcast(&condition)
            pthread_mutex_unlock(&mutex)
        }

        var list: [BalancerNotice] {
            pthread_mutex_lock(&mutex)
            defer { pthread_mutex_unlock(&mutex) }
            return all
        }

        func wait<Value>(_ what: String, _ find: ([BalancerNotice], Bool) -> Value?) throws -> Value {
            pthread_mutex_lock(&mutex)
            defer { pthread_mutex_unlock(&mutex) }
            // Waited for in short pieces, since the clock of the call may be set.
            let end = monotonicNanoseconds() + 30_000_000_000
            while true {
                if let value = find(all, isStopped) { return value }
                if monotonicNanoseconds() > end { throw TestFailure("no notice in 30 s: \(what); so far \(all)") }
                var deadline = timespec()
                clock_gettime(CLOCK_REALTIME, &deadline)
                deadline.tv_sec += 1
                pthread_cond_timedwait(&condition, &mutex, &deadline)
            }
        }
    }

    let engine: BalancerEngine
    private let notices: Notices
    private let numbers = Lock<(revision: UInt64, query: UInt64)>((0, 0))
    let port: UInt16
    let frontSocket: Descriptor
    let loops: Int

    /// Starts an engine with one TCP front, named `front`.
    init(loops: Int = 1, _ adjust: (inout BalancerEngine.Configuration) -> Void = { _ in }) throws {
        let notices = Notices()
        self.notices = notices
        var configuration = BalancerEngine.Configuration()
        configuration.descriptors = 4096
        adjust(&configuration)
        engine = BalancerEngine(configuration) { notices.add($0) }
        self.loops = loops
        let socket = try listen(on: .ipv4("127.0.0.1", port: 0))
        frontSocket = socket
        port = try SocketAddress.local(of: socket).port ?? 0
        engine.receive(.listener(id: "front"), [socket])
    }

    /// Runs a body with a rig, and ends the rig whatever happens.
    static func run(
        loops: Int = 1, _ adjust: (inout BalancerEngine.Configuration) -> Void = { _ in },
        _ body: (Rig) throws -> Void
    ) throws {
        try run(loops: loops, returning: adjust, body)
    }

    /// The same for a body that returns something.
    static func run<Value>(
        loops: Int = 1, returning adjust: (inout BalancerEngine.Configuration) -> Void, _ body: (Rig) throws -> Value
    ) throws -> Value {
        let rig = try Rig(loops: loops, adjust)
        defer { rig.stop() }
        return try body(rig)
    }

    private func stop() {
        let notices = notices
        engine.stop { notices.stop() }
        _ = try? notices.wait("stopped") { _, isStopped in isStopped ? true : nil }
    }

    /// One pool behind the front.
    static func pool(
        _ endpoints: [RoutingTable.Endpoint], emptiness: RoutingTable.Pool.Emptiness = .hold,
        queueTimeout: Double = 30, holdUntil: Int64? = nil, connectTimeout: Double = 30, drainTimeout: Double = 30,
        listeners: [String] = ["front"]
    ) -> RoutingTable.Pool {
        RoutingTable.Pool(
            service: "api", fronts: [RoutingTable.Front(address: "127.0.0.1:80", listeners: listeners)],
            endpoints: endpoints, emptiness: emptiness, queueTimeout: Int64(queueTimeout * 1e9), holdUntil: holdUntil,
            connectTimeout: Int64(connectTimeout * 1e9), drainTimeout: Int64(drainTimeout * 1e9))
    }

    /// Puts a table in force, and waits until it is. `loops`: what the table says of them, if not what is the case.
    @discardableResult
    func apply(_ pools: [RoutingTable.Pool], revision: UInt64? = nil, loops: Int? = nil) throws -> UInt64 {
        let revision =
            revision
            ?? numbers.withLock { numbers in
                numbers.revision += 1
                return numbers.revision
            }
        engine.receive(.table(RoutingTable(revision: revision, loops: loops ?? self.loops, pools: pools)))
        _ = try notices.wait("applied \(revision)") { all, _ in
            all.contains(.applied(revision: revision)) ? true : nil
        }
        return revision
    }

    /// Puts a table of one pool in force whose endpoints are active.
    func serve(_ backends: [Backend]) throws {
        try apply([Rig.pool(backends.enumerated().map { $1.endpoint(UInt64($0 + 1)) })])
    }

    func connect(receiveBuffer: Int32? = nil) throws -> Peer {
        try Peer.connect(port: port, receiveBuffer: receiveBuffer)
    }

    /// A client and the server's end of the same connection, with one active backend.
    func pair(_ backend: Backend, receiveBuffer: Int32? = nil) throws -> (client: Peer, server: Peer) {
        (try connect(receiveBuffer: receiveBuffer), try backend.accept())
    }

    var counters: BalancerCounters {
        get throws {
            let query = numbers.withLock { numbers in
                numbers.query += 1
                return numbers.query
            }
            engine.receive(.queryCounters(query: query))
            return try notices.wait("counters") { all, _ in
                for case .counters(query, let counters) in all { return counters }
                return nil
            }
        }
    }

    /// The counters of the one front.
    var front: BalancerCounters.Counts {
        get throws {
            guard let front = try counters.fronts.first else { throw TestFailure("no front") }
            return front.counts
        }
    }

    /// The counters of an instance.
    func instance(_ name: String) throws -> BalancerCounters.Counts {
        guard let found = try counters.endpoints.first(where: { $0.instance == name }) else {
            throw TestFailure("no counters of \(name)")
        }
        return found.counts
    }

    /// Waits for a notice.
    func find<Value>(_ what: String, _ find: ([BalancerNotice]) -> Value?) throws -> Value {
        try notices.wait(what) { all, _ in find(all) }
    }

    func expect(_ notice: BalancerNotice) throws {
        _ = try find("\(notice)") { $0.contains(notice) ? true : nil }
    }

    var received: [BalancerNotice] { notices.list }
}

extension Backend {
    /// This backend in a table, as generation `id` of instance `api/id`.
    func endpoint(
        _ id: UInt64, instance: String? = nil, _ state: RoutingTable.Endpoint.State = .active
    ) -> RoutingTable.Endpoint {
        RoutingTable.Endpoint(id: id, instance: instance ?? "api/\(id)", port: port, state: state)
    }
}
