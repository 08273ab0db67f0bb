import Glibc
import Links
import Manifest
import Platform
@testable import Supervision
import TestSupport
import Testing

@testable import Supervisor

@Suite("What the balancer is told of the manifest")
struct BalancerTableTests {
    private static let route = Application.Route(
        service: "api",
        endpoints: [
            .init(
                generation: Generation(5), instance: InstanceID(service: "api", number: 1), port: 20001, state: .active),
            .init(
                generation: Generation(6), instance: InstanceID(service: "api", number: 2), port: 20002,
                state: .draining),
            .init(
                generation: Generation(7), instance: InstanceID(service: "api", number: 3), port: 20003, state: .parked),
        ], holds: true, holdUntil: nil)

    private func front(_ settings: ListenSettings) -> Front {
        Front(address: settings.address.description, sockets: [], settings: settings)
    }

    private func pool(_ balance: BalanceSettings, _ fronts: ListenSettings...) -> RoutingTable.Pool {
        let service = Service(name: "api", command: [], listen: fronts, balance: balance)
        return RoutingTable.Pool(Self.route, fronts.map(front), service)
    }

    @Test("without any settings it is the balancer's own defaults")
    func defaults() {
        let pool = pool(BalanceSettings(), ListenSettings(.loopback(port: 8080)))
        var expected = RoutingTable.Pool(
            service: "api", fronts: [RoutingTable.Front(address: "127.0.0.1:8080", listeners: [])], endpoints: [],
            emptiness: .hold, queueTimeout: 10_000_000_000, connectTimeout: 2_000_000_000, drainTimeout: 30_000_000_000)
        expected.endpoints = pool.endpoints
        #expect(pool == expected)
        #expect(pool.endpoints.map(\.state) == [.active, .draining, .parked])
        #expect(pool.endpoints.map(\.id) == [5, 6, 7])
        #expect(pool.endpoints.map(\.instance) == ["api/1", "api/2", "api/3"])
    }

    @Test("of a service that sleeps the first connection is to be told")
    func asleep() {
        var route = Self.route
        #expect(pool(BalanceSettings()).announcesWaiting == nil)
        route.isAsleep = true
        let pool = RoutingTable.Pool(route, [], Service(name: "api", command: []))
        #expect(pool.announcesWaiting == true && pool.emptiness == .hold)
    }

    @Test("every setting of balancing arrives")
    func balance() {
        var balance = BalanceSettings(queueTimeout: .zero, connectTimeout: .seconds(1), drainTimeout: .zero)
        balance.slowStart = .milliseconds(1500)
        balance.maxConnections = 7
        balance.maxQueue = 0
        balance.idleTimeout = .seconds(60)
        balance.finTimeout = .milliseconds(1)
        balance.proxyProtocol = .v2
        balance.log = true
        let pool = pool(balance)
        #expect(pool.queueTimeout == 0 && pool.connectTimeout == 1_000_000_000 && pool.drainTimeout == 0)
        #expect(pool.slowStart == 1_500_000_000)
        #expect(pool.maxConnections == 7 && pool.maxQueue == 0)
        #expect(pool.idleTimeout == 60_000_000_000 && pool.finTimeout == 1_000_000)
        #expect(pool.proxyProtocol == .v2 && pool.logsSessions)
    }

    @Test("what a service takes back of the defaults, it is not told")
    func takenBack() throws {
        let text = """
            { defaults: { balance: { maxConnections: 7, maxQueue: 0, idleTimeout: '60s', proxyProtocol: 'v2' } },
              services: { api: { command: ['a'], listen: 8080, balance: {
                maxConnections: false, maxQueue: false, idleTimeout: false, proxyProtocol: false } } } }
            """
        let loaded = ManifestLoader.load(text: Array(text.utf8), file: "f", directory: "/", environment: [:])
        let service = try #require(loaded.manifest?.services.first, "\(loaded.errors)")
        let pool = pool(service.balance)
        #expect(pool == self.pool(BalanceSettings()))
        #expect(pool.maxConnections == nil && pool.maxQueue == nil && pool.proxyProtocol == nil)
    }

    @Test("words stay the same words", arguments: BalanceSettings.Algorithm.allCases)
    func algorithms(algorithm: BalanceSettings.Algorithm) {
        var balance = BalanceSettings()
        balance.algorithm = algorithm
        #expect(pool(balance).algorithm.rawValue == algorithm.rawValue)
    }

    @Test("every setting of a front arrives, in the kernel's units")
    func fronts() throws {
        var settings = ListenSettings(.ipv4(address: "0.0.0.0", port: 80))
        settings.maxConnections = 3
        settings.maxConnectionsPerAddress = 2
        settings.acceptProxyProtocol = true
        settings.keepAlive = .milliseconds(1001)
        settings.userTimeout = .milliseconds(1500)
        settings.backlog = 17
        settings.deferAccept = .seconds(3)
        let front = try #require(pool(BalanceSettings(), settings).fronts.first)
        #expect(front.maxConnections == 3 && front.maxConnectionsPerAddress == 2 && front.acceptsProxyProtocol)
        // A begun second is a whole one: 0 would be another meaning.
        #expect(front.options.keepAliveSeconds == 2)
        #expect(front.options.userTimeoutMilliseconds == 1500)
        #expect(front.options.backlog == 17)
        #expect(front.options.deferAcceptSeconds == 3)
        settings.keepAlive = nil
        #expect(pool(BalanceSettings(), settings).fronts.first?.options.keepAliveSeconds == .some(nil))
    }

    @Test("a front's own list of clients goes before that of the service, and a Unix socket has none")
    func allow() {
        let own = AddressRange(bytes: [10, 0, 0, 0], prefix: 8)
        var balance = BalanceSettings()
        var settings = ListenSettings(.loopback(port: 80))
        settings.allow = [own]
        #expect(pool(balance, ListenSettings(.loopback(port: 80))).fronts.map(\.allow) == [nil])
        balance.allow = [AddressRange(bytes: [192, 168, 0, 0], prefix: 16)]
        let fronts = pool(
            balance, settings, ListenSettings(.loopback(port: 81)), ListenSettings(.unix(path: "/x"))
        ).fronts
        #expect(
            fronts.map(\.allow) == [
                [RoutingTable.AddressRange(bytes: [10, 0, 0, 0], prefix: 8)],
                [RoutingTable.AddressRange(bytes: [192, 168, 0, 0], prefix: 16)], nil,
            ])
    }
}

@Suite("The pipe for lines about sessions")
struct SessionLogTests {
    @Test("its ends are taken from the keeper, and made anew unless both are there")
    func held() throws {
        let first = try SessionLog(of: "api", held: [:])
        #expect(first.isNew)
        let names = [SessionLog.readingName("api"), SessionLog.writingName("api")]
        let held = [names[0]: first.reading, names[1]: first.writing]
        let second = try SessionLog(of: "api", held: held)
        #expect(!second.isNew && second.reading === first.reading && second.writing === first.writing)
        #expect(try SessionLog(of: "web", held: held).isNew)
        for name in names { #expect(try SessionLog(of: "api", held: held.filter { $0.key != name }).isNew) }
    }

    @Test("writing to it never waits, however much is in it")
    func neverBlocks() throws {
        let log = try SessionLog(of: "api", held: [:])
        try #require(fcntl(log.writing.raw, F_GETFL) & O_NONBLOCK != 0)
        let bytes = ByteBuffer()
        bytes.append([UInt8](repeating: 0x78, count: 60_000))
        #expect(
            performing: {
                for _ in 0..<1000 { _ = try bytes.write(0..<bytes.count, to: log.writing) }
            }, throws: { ($0 as? SystemError)?.code == ErrorCode.tryAgain })
        #expect(try PipeIO.bytesAvailable(log.reading) > 0)
    }
}
