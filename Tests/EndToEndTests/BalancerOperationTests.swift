import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// What operators do with the balancer.
@Suite("Operating the balancer", .timeLimit(.minutes(15)))
struct BalancerOperationTests {
    private static func manifest(_ listen: String, balance: String = "") -> String {
        """
        { services: { api: {
            command: ["@demo@", "--quiet"], replicas: 2, listen: \(listen), ready: { http: "/healthz" }, \(balance)
        }, worker: { command: "sleep 1000" } } }
        """
    }

    private func balancer(_ daemon: Daemon) throws -> BalancerReport {
        // With a supervisor that is just starting there is nobody to ask.
        try eventually("a report") {
            let result = try daemon.ctl("balancer", "--json")
            if result.code == 5 { return nil }
            guard let report = try? JSONDecoder().decode(BalancerReport.self, from: Data(result.output.utf8)) else {
                throw TestFailure("no report: exit code \(result.code), \(result.output)")
            }
            return report
        }
    }

    /// How many connections an instance has now.
    private func open(_ daemon: Daemon, _ id: String) throws -> UInt64 {
        try balancer(daemon).services[0].instances.first { $0.id == id }?.counters.connections ?? 0
    }

    @Test("drain waits for open connections, gives no new ones, and undrain takes it back")
    func drain() throws {
        let front = try freePort()
        let daemon = try Daemon(Self.manifest("\(front.port)"))
        // Connections of clients that say nothing: one at each instance.
        var clients = try (0..<2).map { _ in try LoopbackConnection(port: front.port) }
        _ = try eventually("a connection at each") {
            try ["api/1", "api/2"].allSatisfy { try open(daemon, $0) == 1 } ? true : nil
        }
        let waiting = try Program(Daemon.supctl, ["--socket", daemon.socket, "drain", "api/2"])
        try waiting.waitForOutput("drain: api/2: 1 connection open")
        #expect(!waiting.ended())
        for _ in 0..<4 { #expect(try HTTP.get(port: front.port, "/").status == 200) }
        let counters = try balancer(daemon).services[0].instances
        #expect(counters.map(\.drained) == [false, true])
        #expect(counters.last?.counters.connectionsTotal == 1)
        #expect(try daemon.status("api").services[0].instances.map(\.drained) == [false, true])
        #expect(try daemon.ctl("status").output.contains("running, drained"))
        // It survives the supervisor.
        let supervisor = try daemon.role("supervisor")
        kill(supervisor, SIGKILL)
        try daemon.waitForAnother("supervisor", than: supervisor)
        #expect(try daemon.status("api").services[0].instances.map(\.drained) == [false, true])
        let late = try daemon.ctl("drain", "api/2", "--timeout", "300ms")
        #expect(late.code == 1)
        #expect(late.output.contains("cannot drain in time"))
        clients = []
        let done = try daemon.ctl("drain", "api/2")
        #expect(done.code == 0)
        // Perhaps after a line about connections whose end the balancer has yet to see.
        #expect(done.output.contains("api/2: drained 1 instance in "))
        // The last one: it is done, and said what it means.
        let last = try daemon.ctl("drain", "api/1")
        #expect(last.code == 0)
        #expect(last.output.contains("no instance of api is left: new connections wait for one"))
        #expect(try daemon.ctl("undrain", "api").code == 0)
        #expect(try HTTP.get(port: front.port, "/").status == 200)
        #expect(try daemon.status("api").services[0].instances.map(\.drained) == [false, false])
        let worker = try daemon.ctl("drain", "worker")
        #expect(worker.code == 1)
        #expect(worker.output.contains("no service named has a front"))
        withExtendedLifetime(clients) {}
    }

    @Test("an instance that refuses is set aside, which is counted and shown")
    func setAside() throws {
        let front = try freePort()
        let ports = try Self.twoPorts()
        // The second one never listens, and counts as ready all the same. Its port is the test's own: on one of supd's
        // range another test's service could listen.
        let daemon = try Daemon(
            """
            { services: { api: {
                command: ["sh", "-c", "[ ${INSTANCE} = 2 ] && exec sleep 1000; exec @demo@ --quiet"],
                replicas: 2, port: \(ports.first), listen: \(front.port), ready: "started"
            } } }
            """)
        var requests: UInt64 = 0
        // The time aside is short, and over again until it is asked for. Each trial that fails makes it longer.
        let report = try eventually("it is set aside") {
            // Both may be that at first, while the other one is not listening yet.
            requests += 1
            #expect(try HTTP.get(port: front.port, "/").status == 200)
            let report = try balancer(daemon)
            let instances = report.services[0].instances
            return instances[0].setAsideSeconds == nil && instances[1].setAsideSeconds != nil ? report : nil
        }
        let refusing = report.services[0].instances[1]
        #expect(refusing.id == "api/2" && refusing.state == "running")
        let seconds = try #require(refusing.setAsideSeconds)
        #expect(seconds > 0 && seconds <= 60)
        #expect(refusing.counters.setAside >= 1 && refusing.counters.connectErrors >= refusing.counters.setAside)
        #expect(refusing.counters.connects == 0)
        #expect(refusing.counters.ends.isEmpty || Set(refusing.counters.ends.keys) == ["SC"])
        let counters = report.services[0].fronts[0].counters
        #expect(counters.connectionsTotal == requests && counters.turnedAway == 0)
        #expect(counters.connectErrors >= refusing.counters.connectErrors)
        #expect(counters.redispatches >= 1)
        let shown = try eventually("the table says so") {
            #expect(try HTTP.get(port: front.port, "/").status == 200)
            let lines = try daemon.ctl("balancer").output.split(separator: "\n")
            return lines.first { $0.hasPrefix("api/2") && $0.contains(" aside ") }
        }
        #expect(shown.contains(/^api\/2 +aside [0-9.]+(ms|s)/))
        withExtendedLifetime(ports.reservations) {}
    }

    /// Two ports in a row that nobody else gets as long as their reservations live.
    static func twoPorts() throws -> (first: UInt16, reservations: [Descriptor]) {
        try eventually("two free ports in a row") {
            let (port, reservation) = try freePort()
            guard port < .max, let next = try? testListener(port: port + 1, listens: false) else { return nil }
            return (port, [reservation, next.socket])
        }
    }

    @Test("balancer --watch shows one picture after the other until SIGINT")
    func watch() throws {
        let front = try freePort()
        let daemon = try Daemon(Self.manifest("\(front.port)"))
        let watching = try Program(Daemon.supctl, ["--socket", daemon.socket, "balancer", "--watch"])
        func pictures() -> [String] {
            watching.output.components(separatedBy: "FRONT ").dropFirst().map { $0 }
        }
        try watching.waitForOutput("api/2")
        // Counted in the first picture, or in a later one.
        #expect(try HTTP.get(port: front.port, "/").status == 200)
        try eventually("a third picture, with what has come meanwhile") {
            #expect(!watching.ended())
            let row = pictures().dropFirst(2).first?.split(separator: "\n").first { $0.hasPrefix("api 127.0.0.1") }
            return row?.split(separator: " ").dropFirst(4).first == "1" ? true : nil
        }
        // Only from the second one on there is something to compare with.
        #expect(!pictures()[0].contains("IN/S") && pictures()[1].contains("IN/S"))
        watching.send(SIGINT)
        #expect(try watching.wait().code == 0)
    }

    @Test(
        "PROXY headers come in by IPv4, IPv6 and a Unix socket, from those who are allowed, and go on as version 2",
        .enabled(if: hasIPv6, "needs IPv6 on the loopback interface"))
    func proxyProtocol() throws {
        let front = try freePort()
        let six = try testListener(.loopbackIPv6, listens: false)
        let instance = try freePort()
        let directory = try TemporaryDirectory()
        let path = directory.file("api.sock")
        // The service is this test itself, so that it sees each byte; its process only sleeps.
        let daemon = try Daemon(
            """
            { services: { api: {
                command: "sleep 1000", port: \(instance.port), ready: "started",
                listen: [
                    { address: "127.0.0.1:\(front.port)", acceptProxyProtocol: true },
                    { address: "[::1]:\(six.port)", acceptProxyProtocol: true },
                    { address: "unix:\(path)", acceptProxyProtocol: true },
                ],
                balance: { proxyProtocol: "v2", allow: ["127.0.0.0/31", "::1"] },
            } } }
            """, in: directory)
        let service = try testListener(port: instance.port)
        func client(
            _ family: Int32, _ fill: (UnsafeMutableRawPointer) -> Int, from host: UInt8 = 1
        ) throws -> Descriptor {
            let socket = Descriptor(
                owning: Glibc.socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0))
            var limit = timeval(tv_sec: 30, tv_usec: 0)
            setsockopt(socket.raw, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
            var storage = sockaddr_storage()
            if host != 1 {
                try withUnsafeMutableBytes(of: &storage) { bytes in
                    let base = try #require(bytes.baseAddress)
                    _ = Self.ipv4(base, port: 0, host: host)
                    let address = base.assumingMemoryBound(to: sockaddr.self)
                    #expect(bind(socket.raw, address, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0)
                }
            }
            storage = sockaddr_storage()
            try withUnsafeMutableBytes(of: &storage) { bytes in
                let base = try #require(bytes.baseAddress)
                let length = fill(base)
                let result = connect(socket.raw, base.assumingMemoryBound(to: sockaddr.self), socklen_t(length))
                // Who is not allowed may be reset before this returns.
                #expect(result == 0 || errno == ECONNRESET)
            }
            return socket
        }
        let ways: [(name: String, connect: () throws -> Descriptor)] = [
            ("IPv4", { try client(AF_INET) { Self.ipv4($0, port: front.port, host: 1) } }),
            ("IPv6", { try client(AF_INET6) { Self.ipv6($0, port: six.port) } }),
            ("Unix", { try client(AF_UNIX) { Self.unix($0, path) } }),
        ]
        let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 0x51, 0x55, 0x49, 0x54, 10]
        for (name, connect) in ways {
            for (text, expected) in [
                (
                    "PROXY TCP4 1.2.3.4 5.6.7.8 258 772\r\n",
                    [0x21, 0x11, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4] as [UInt8]
                ),
                (
                    "PROXY TCP6 2001:db8::7 ::1 258 772\r\n",
                    [0x21, 0x21, 0, 36, 0x20, 1, 0x0d, 0xb8] + [UInt8](repeating: 0, count: 11) + [7]
                        + [UInt8](repeating: 0, count: 15) + [1, 1, 2, 3, 4]
                ),
            ] {
                let socket = try connect()
                try Self.send("\(text)request", to: socket)
                let server = try acceptConnection(from: service.socket)
                let wanted = signature + expected + Array("request".utf8)
                #expect(try Self.receive(wanted.count, from: server) == wanted, "\(name)")
                try Self.send("answer", to: server)
                #expect(try Self.receive(6, from: socket) == Array("answer".utf8), "\(name)")
            }
        }
        // Whoever is not in the list is nobody, whatever its header claims.
        let stranger = try client(AF_INET, { Self.ipv4($0, port: front.port, host: 1) }, from: 2)
        _ = try? Self.send("PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\nrequest", to: stranger)
        var byte: UInt8 = 0
        #expect(recv(stranger.raw, &byte, 1, 0) <= 0)
        let fronts = try eventually("all are counted") {
            let fronts = try balancer(daemon).services[0].fronts.map(\.counters)
            return fronts[0].denied == 1 ? fronts : nil
        }
        #expect(fronts.map(\.connectionsTotal) == [3, 2, 2])
        #expect(fronts.map(\.denied) == [1, 0, 0])
    }

    private static func ipv4(_ base: UnsafeMutableRawPointer, port: UInt16, host: UInt8) -> Int {
        let address = base.assumingMemoryBound(to: sockaddr_in.self)
        address.pointee.sin_family = sa_family_t(AF_INET)
        address.pointee.sin_port = port.bigEndian
        address.pointee.sin_addr.s_addr = (UInt32(0x7f00_0000) + UInt32(host)).bigEndian
        return MemoryLayout<sockaddr_in>.size
    }

    private static func ipv6(_ base: UnsafeMutableRawPointer, port: UInt16) -> Int {
        let address = base.assumingMemoryBound(to: sockaddr_in6.self)
        address.pointee.sin6_family = sa_family_t(AF_INET6)
        address.pointee.sin6_port = port.bigEndian
        address.pointee.sin6_addr = in6addr_loopback
        return MemoryLayout<sockaddr_in6>.size
    }

    private static func unix(_ base: UnsafeMutableRawPointer, _ path: String) -> Int {
        let address = base.assumingMemoryBound(to: sockaddr_un.self)
        address.pointee.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.pointee.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        return MemoryLayout<sockaddr_un>.size
    }

    private static func send(_ text: String, to socket: Descriptor) throws {
        let bytes = Array(text.utf8)
        guard Glibc.send(socket.raw, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw TestFailure("send: errno \(errno)")
        }
    }

    private static func receive(_ count: Int, from socket: Descriptor) throws -> [UInt8] {
        var all: [UInt8] = []
        while all.count < count {
            var entry = pollfd(fd: socket.raw, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, 30_000) > 0 else { throw TestFailure("only \(all) in 30 s") }
            var buffer = [UInt8](repeating: 0, count: count - all.count)
            let received = recv(socket.raw, &buffer, buffer.count, 0)
            guard received > 0 else { throw TestFailure("only \(all), then \(received), errno \(errno)") }
            all += buffer.prefix(received)
        }
        return all
    }

    @Test("a drained instance stays so through its exit")
    func drainedExit() throws {
        let front = try freePort()
        let daemon = try Daemon(Self.manifest("\(front.port)"))
        let before = try daemon.pids()
        #expect(try daemon.ctl("drain", "api/2").code == 0)
        kill(try #require(before["api/2"]), SIGKILL)
        try eventually("another process") {
            let instance = try daemon.status("api").services[0].instances[1]
            return instance.ready && instance.pid != before["api/2"] ? true : nil
        }
        for _ in 0..<4 { #expect(try HTTP.get(port: front.port, "/").status == 200) }
        let instance = try #require(try balancer(daemon).services[0].instances.last)
        #expect(instance.drained && instance.counters.connectionsTotal == 0)
    }

    @Test("a drain is done although the supervisor that was told so is gone")
    func drainedUnseen() throws {
        let front = try freePort()
        let daemon = try Daemon(Self.manifest("\(front.port)"))
        // The balancer says at once that there is no connection, and says it once; the snapshot may be from before.
        let supervisor = try daemon.role("supervisor")
        #expect(try daemon.ctl("drain", "api", "--no-wait").code == 0)
        kill(supervisor, SIGKILL)
        try daemon.waitForAnother("supervisor", than: supervisor)
        #expect(try daemon.ctl("drain", "api", "--timeout", "30s").code == 0)
    }

    @Test("a front written as a map serves like any other, and its backlog is the kernel's")
    func listenMap() throws {
        let front = try freePort()
        let directory = try TemporaryDirectory()
        let daemon = try Daemon(
            Self.manifest(
                "[{ address: \(front.port), backlog: 77, keepAlive: '5m' }, "
                    + "{ address: 'unix:\(directory.file("api.sock"))', maxConnections: 10 }]",
                balance: "balance: { algorithm: 'roundrobin', finTimeout: '5s' }"))
        #expect(try HTTP.get(port: front.port, "/").status == 200)
        let report = try balancer(daemon)
        #expect(
            report.services.map { $0.fronts.map(\.address) } == [
                ["127.0.0.1:\(front.port)", "unix:\(directory.file("api.sock"))"]
            ])
        let table = try daemon.ctl("balancer")
        #expect(table.code == 0 && table.output.contains("api 127.0.0.1:\(front.port)"))
        // Of a listening socket, ss shows the backlog where others show what is to be sent.
        #expect(try backlog(of: front.port) == 77)
        // Nothing of a service without a front.
        #expect(try daemon.ctl("balancer", "worker").output == "no fronts\n")
        #expect(try daemon.ctl("balancer", "wrker").code == 4)
    }

    private func backlog(of port: UInt16) throws -> Int? {
        guard FileManager.default.isExecutableFile(atPath: "/usr/bin/ss") else { return 77 }
        let result = try Program.run("/usr/bin/ss", ["-Hltn", "src", "127.0.0.1:\(port)"])
        return result.output.split(separator: " ").dropFirst(2).first.flatMap { Int($0) }
    }

    @Test("lines about sessions reach their file across SIGKILL of the supervisor and of the balancer, each once")
    func sessionLog() throws {
        let front = try freePort()
        let daemon = try Daemon(Self.manifest("\(front.port)", balance: "balance: { log: true }"))
        let pipe = try sessionPipe(of: daemon.keeper.pid)
        var written = 0
        // What the balancer will say, said in its place, so that each line is known.
        func write() throws {
            written += 1
            let bytes = ByteBuffer()
            bytes.append(Array("test \(written)\n".utf8))
            _ = try bytes.write(0..<bytes.count, to: pipe)
        }
        for role in ["supervisor", "balancer", "supervisor"] {
            for _ in 0..<20 { try write() }
            let pid = try daemon.role(role)
            kill(pid, SIGKILL)
            for _ in 0..<20 { try write() }
            try daemon.waitForAnother(role, than: pid)
        }
        let path = daemon.directory.file("log/api/balancer.log")
        let lines = try eventually("all lines") {
            let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
            let lines = text.split(separator: "\n").compactMap {
                $0.firstRange(of: " stdout F test ").map { range in
                    text[range.upperBound...].prefix { $0 != "\n" }
                }
            }
            return lines.count >= written ? lines : nil
        }
        #expect(lines.map(String.init) == (1...written).map(String.init))
        let shown = try daemon.ctl("logs", "--sessions", "api")
        #expect(shown.output.split(separator: "\n").count { $0.contains(" test ") } == written)
        #expect(try !daemon.ctl("logs", "api").output.contains(" test "))
    }

    @Test("every session has its line, also of those that end while there is no supervisor")
    func sessions() throws {
        let front = try freePort()
        let daemon = try Daemon(Self.manifest("\(front.port)", balance: "balance: { log: true }"))
        let path = daemon.directory.file("log/api/balancer.log")
        func lines() -> [Substring] {
            ((try? String(contentsOfFile: path, encoding: .utf8)) ?? "").split(separator: "\n")
        }
        var requests = 0
        func get() throws {
            #expect(try HTTP.get(port: front.port, "/").status == 200)
            requests += 1
        }
        for role in ["supervisor", "balancer", "supervisor"] {
            for _ in 0..<10 { try get() }
            // What a balancer has not written yet ends with it.
            if role == "balancer" { try eventually("all lines") { lines().count == requests ? true : nil } }
            let pid = try daemon.role(role)
            kill(pid, SIGKILL)
            for _ in 0..<10 { try get() }
            try daemon.waitForAnother(role, than: pid)
        }
        try eventually("all lines") { lines().count == requests ? true : nil }
        #expect(lines().allSatisfy { $0.contains(" stdout F ") && $0.contains("front=127.0.0.1:\(front.port)") })
        let ends = try balancer(daemon).services[0].fronts[0].counters.ends
        #expect(ends["--", default: 0] > 0)
    }

    /// The writing end that the keeper holds: the only pipe that it could write to, and would not wait for.
    private func sessionPipe(of keeper: Int32) throws -> Descriptor {
        for name in try FileManager.default.contentsOfDirectory(atPath: "/proc/\(keeper)/fd") {
            let path = "/proc/\(keeper)/fd/\(name)"
            let target = (try? FileManager.default.destinationOfSymbolicLink(atPath: path)) ?? ""
            guard target.hasPrefix("pipe:"), let number = Int(name), number > 2 else { continue }
            let info = (try? String(contentsOfFile: "/proc/\(keeper)/fdinfo/\(name)", encoding: .utf8)) ?? ""
            let flags = info.split(separator: "\n").first { $0.hasPrefix("flags:") }?.split(separator: "\t").last
            guard let flags, let bits = Int32(flags, radix: 8), bits & (O_ACCMODE | O_NONBLOCK) == O_WRONLY | O_NONBLOCK
            else { continue }
            let descriptor = Glibc.open(path, O_WRONLY | O_CLOEXEC)
            if descriptor >= 0 { return Descriptor(owning: descriptor) }
        }
        throw TestFailure("the keeper holds no pipe to write to")
    }
}
