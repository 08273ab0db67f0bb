import Glibc
import Platform
import TestSupport
import Testing

/// Clients, a proxy and servers: what every case of the matrix plays on. When the case is over the proxy must be as it was
/// before: descriptors, memory, and at rest.
final class Stage {
    let kind: ProxyKind
    let proxy: any Proxy
    let servers: [Server]
    /// What /proc shows of the proxy, whichever process that is now.
    var view: ProcessView { ProcessView(pid: proxy.pid) }
    /// What the proxy had open before the case.
    private var base: ProcessView.Descriptors?

    private init(_ wish: Wish, _ servers: [Server]) throws {
        kind = .present
        self.servers = servers
        proxy =
            switch kind {
            case .supd: try SupdProxy(wish, servers)
            case .haproxy: try HAProxyProxy(wish, servers)
            }
    }

    /// Runs a case with so many servers that listen; or with others. `prepare`: what the proxy is to have beside them.
    static func run(
        servers count: Int = 1, _ wish: Wish = Wish(), with others: [Server]? = nil,
        prepare: (any Proxy) throws -> Void = { _ in }, _ body: (Stage) throws -> Void
    ) throws {
        let servers = try others ?? (0..<count).map { _ in try Server() }
        let stage = try Stage(wish, servers)
        try prepare(stage.proxy)
        try stage.warmUp()
        let before = try Baseline(stage.view)
        stage.base = before.descriptors
        // What the body has opened is closed when it returns.
        try body(stage)
        try stage.isBack(to: before)
        try stage.proxy.end()
    }

    // MARK: Playing

    /// A client's connection.
    func connect(_ manner: Wire.Manner = Wire.Manner()) throws -> Wire { try Wire.connect(proxy.port, manner) }

    /// The next connection that has reached any server.
    func accept() throws -> Wire { try Server.accept(servers) }

    /// A client and the server's end of the same connection.
    func pair(_ manner: Wire.Manner = Wire.Manner()) throws -> (client: Wire, server: Wire) {
        let (client, server) = (try connect(manner), try accept())
        if kind == .haproxy {
            // A server has accepted before HAProxy looks, and it gives a connect up whose client has ended meanwhile.
            try server.send("!")
            _ = try client.receiveText(1)
        }
        return (client, server)
    }

    /// The proxy's open sockets; nil when they may not be seen.
    var openSockets: Int? { view.descriptors()?.sockets }

    /// Waits until the proxy has so many clients. supd can be asked; of HAProxy it is seen by its sockets.
    func waitForConnections(_ count: Int) throws {
        try eventually("the proxy has \(count) clients") {
            if let counts = try proxy.counts() { return counts.clients >= count ? true : nil }
            guard let base, let now = openSockets else { return true }
            return now >= base.sockets + count ? true : nil
        }
    }

    /// Does what the proxy sees all at once: it is stopped meanwhile.
    func whileStopped(_ body: () throws -> Void) throws { try view.whileStopped(body) }

    /// What is expected where the two proxies rightly differ. Says why, in the tests' output.
    static func rightly<Value>(supd: Value, haproxy: Value, because reason: String) -> Value {
        if ProxyKind.present == .haproxy { print("HAProxy rightly differs: \(reason)") }
        return ProxyKind.present == .supd ? supd : haproxy
    }

    // MARK: Before and after

    /// What a proxy at rest holds.
    private struct Baseline {
        var descriptors: ProcessView.Descriptors?
        var memory: Int

        init(_ view: ProcessView) throws {
            try view.becomesQuiet()
            descriptors = view.descriptors()
            memory = try view.memory()
            if descriptors == nil { print("skipped: only root may see the balancer's descriptors") }
        }
    }

    /// Memory that may stay: the balancer's spare buffers (8 of 32 KB in each of two loops), and what malloc keeps.
    private static let memoryAllowance = 2 << 20
    /// Pipes that may stay: 16 empty ones with two ends each in each of two loops.
    private static let pipeAllowance = 64

    /// A few connections, so that what is made once is there: threads, their stacks, the first slots.
    private func warmUp() throws {
        guard servers.contains(where: \.listens) else { return }
        for _ in 0..<8 {
            let (client, server) = try pair()
            try client.send("ping")
            guard try server.receiveText(4) == "ping" else { throw TestFailure("the warm-up's bytes are wrong") }
            try server.send("pong")
            guard try client.receiveText(4) == "pong" else { throw TestFailure("the warm-up's bytes are wrong") }
        }
    }

    /// A server that was gone before HAProxy looked is connected to once more, for a client that may be gone, too.
    private func turnLateOnesAway() throws {
        for server in servers { while try server.acceptWaiting() != nil {} }
    }

    private func isBack(to before: Baseline) throws {
        if let descriptors = before.descriptors {
            var now = view.descriptors()
            do {
                try eventually("no socket is left open") {
                    if kind == .haproxy { try turnLateOnesAway() }
                    now = view.descriptors()
                    return now?.sockets == descriptors.sockets ? true : nil
                }
            } catch {
                throw TestFailure("sockets of the proxy: \(descriptors.sockets) before, \(now?.sockets ?? -1) after")
            }
            #expect((now?.pipes ?? 0) <= descriptors.pipes + Self.pipeAllowance)
            #expect(now?.others == descriptors.others)
        }
        try eventually("the counters say that no connection is open") {
            try proxy.counts()?.isEmpty != false ? true : nil
        }
        try view.becomesQuiet()
        let memory = try view.memory()
        // HAProxy keeps the memory of its pools for later connections; the sanitizer's own grows with what was touched.
        if kind == .supd, !isSanitized {
            #expect(memory <= before.memory + Self.memoryAllowance, "memory of the proxy after the case")
        }
    }
}

/// Whether this run is under the thread sanitizer.
let isSanitized = dlsym(nil, "__tsan_init") != nil
