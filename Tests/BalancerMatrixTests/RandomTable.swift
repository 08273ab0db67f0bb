import Links
import Platform
import TestSupport

/// The tables of a randomised run: beside what is drawn, fronts with rules, and services with short times.
final class RandomTable: @unchecked Sendable {
    /// Beside the plain one.
    enum Front: String, CaseIterable {
        /// Of the service itself: takes headers of the PROXY protocol, from 127.0.0.0 to 127.0.0.31.
        case headed
        /// Only from 127.0.0.0 to 127.0.0.7, and three connections of each.
        case guarded
        /// Four connections.
        case narrow
        /// Of a service whose silent connections end soon.
        case quiet
        /// Of one that gives draining connections little time.
        case leaving
        /// Of one without instances, for whose clients there is little time and little room.
        case absent
        /// Of the same, with headers.
        case late
        /// Of one whose server is a process that is killed now and then.
        case echo
        /// Of the service itself, whose clients speak first: accepts with the first bytes if the table says so.
        case deferring
        /// Of the service itself, at a Unix socket.
        case unix
        /// Of the service itself, at ::1.
        case ipv6
    }

    static let perAddress = 3
    static let frontLimit = 4
    static let maxQueue = 3

    let quiet: Server
    let leaving: Server
    let echo: EchoProcess
    private let directory: TemporaryDirectory
    private var ports: [Front: UInt16] = [:]

    // What is drawn.
    var proxyProtocol: RoutingTable.Pool.ProxyProtocol?
    var idleTimeout: Int64?
    var slowStart: Int64 = 0
    /// Of the service's fronts at which sessions are: TCP_DEFER_ACCEPT of the deferring one alone, since elsewhere servers
    /// may speak first.
    var options = RoutingTable.SocketOptions()
    /// The leaving service's instance is drained.
    var isLeaving = false
    /// Whether sessions are logged. The first connections of a stage belong to no run.
    var logsSessions = false

    init() throws {
        quiet = try Server()
        leaving = try Server()
        echo = try EchoProcess()
        directory = try TemporaryDirectory()
    }

    /// Opens the fronts, and has all tables made here. `pipe`: where the session log goes.
    func prepare(_ proxy: SupdProxy, _ pipe: Descriptor) throws {
        for front in Front.allCases where front != .ipv6 || hasIPv6 {
            if front == .unix {
                try proxy.open(front.rawValue, at: path)
            } else {
                ports[front] = try proxy.open(front.rawValue, isIPv6: front == .ipv6)
            }
        }
        try proxy.logSessions(of: ["api", "quiet", "leaving", "absent", "echo"], to: pipe)
        proxy.adjust = { [unowned self] table in self.adjust(&table) }
    }

    func port(_ front: Front) -> UInt16 { ports[front] ?? 0 }

    /// Of the Unix front's socket.
    var path: String { directory.file("front") }

    /// As tables and sessions' lines have it.
    func address(_ front: Front) -> String {
        switch front {
        case .unix: "unix:\(path)"
        case .ipv6: "[::1]:\(port(front))"
        default: "127.0.0.1:\(port(front))"
        }
    }

    private static func range(_ prefix: UInt8) -> RoutingTable.AddressRange {
        RoutingTable.AddressRange(bytes: [127, 0, 0, 0], prefix: prefix)
    }

    private func front(_ front: Front, _ set: (inout RoutingTable.Front) -> Void = { _ in }) -> RoutingTable.Front {
        var entry = RoutingTable.Front(address: address(front), listeners: [front.rawValue])
        set(&entry)
        return entry
    }

    private func adjust(_ table: inout RoutingTable) {
        let second: Int64 = 1_000_000_000
        guard var api = table.pools.first, !api.fronts.isEmpty else { return }
        var plain = options
        plain.deferAcceptSeconds = nil
        api.fronts[0].options = plain
        api.fronts += [
            front(.headed) {
                $0.acceptsProxyProtocol = true
                $0.allow = [Self.range(27)]
                $0.options = plain
            },
            front(.guarded) {
                $0.allow = [Self.range(29)]
                $0.maxConnectionsPerAddress = UInt32(Self.perAddress)
            },
            front(.narrow) { $0.maxConnections = UInt32(Self.frontLimit) },
            front(.deferring) { $0.options = options },
            front(.unix) { $0.options = plain },
        ]
        if hasIPv6 { api.fronts.append(self.front(.ipv6) { $0.options = plain }) }
        api.proxyProtocol = proxyProtocol
        api.idleTimeout = idleTimeout
        api.slowStart = slowStart
        // Connections may stand still, half closed or at a balancer that was replaced, for the whole run.
        api.drainTimeout = 600 * second
        api.finTimeout = 600 * second
        var quiet = pool("quiet", [front(.quiet)], [endpoint("quiet/1", self.quiet.port)])
        quiet.idleTimeout = second * 3 / 2
        quiet.finTimeout = second * 3 / 2
        var leaving = pool(
            "leaving", [front(.leaving)], [endpoint("leaving/1", self.leaving.port, isLeaving ? .draining : .active)])
        leaving.drainTimeout = second * 3 / 10
        var absent = pool("absent", [front(.absent), front(.late) { $0.acceptsProxyProtocol = true }], [])
        absent.queueTimeout = second * 2
        absent.maxQueue = UInt32(Self.maxQueue)
        let echo = pool("echo", [front(.echo)], [endpoint("echo/1", self.echo.port)])
        table.pools = [api, quiet, leaving, absent, echo]
        for index in table.pools.indices { table.pools[index].logsSessions = logsSessions }
    }

    private func endpoint(_ instance: String, _ port: UInt16, _ state: RoutingTable.Endpoint.State = .active)
        -> RoutingTable.Endpoint
    {
        RoutingTable.Endpoint(id: UInt64(port), instance: instance, port: port, state: state)
    }

    private func pool(_ service: String, _ fronts: [RoutingTable.Front], _ endpoints: [RoutingTable.Endpoint])
        -> RoutingTable.Pool
    {
        let second: Int64 = 1_000_000_000
        return RoutingTable.Pool(
            service: service, fronts: fronts, endpoints: endpoints, emptiness: .hold, queueTimeout: 30 * second,
            connectTimeout: 5 * second, drainTimeout: 600 * second)
    }
}
