import Dispatch
import Glibc
import Links
import Manifest
import Platform
import Supervision
import TestSupport
import Testing

@testable import Supervisor

@Suite struct ProberTests {
    @Test("a port that its instance listens on passes at once")
    func tcp() throws {
        var listener: (port: UInt16, socket: Descriptor)? = try testListener()
        let port = try #require(listener).port
        let child = try TestChild(["/bin/sleep", "60"], descriptors: [try #require(listener).socket])
        listener = nil
        let harness = ProberHarness()
        harness.begin(child.pid, port: port, .tcp)
        #expect(try harness.next() == .init(generation: 1, passed: true, detail: "port \(port) accepts connections"))
    }

    @Test("it is tried again until the instance listens, and the same failure is told once")
    func startingUp() throws {
        let (port, socket) = try testListener(listens: false)
        let child = try TestChild(["/bin/sleep", "60"], descriptors: [socket])
        let harness = ProberHarness()
        harness.begin(child.pid, port: port, .tcp)
        let refused = "connection refused on port \(port)"
        #expect(
            try harness.next() == .init(generation: 1, passed: false, detail: refused, nobodyListens: true))
        // The socket is the child's too, so that now both listen.
        try systemCall("listen") { listen(socket.raw, 16) }
        #expect(try harness.next().passed)
        #expect(harness.rest == [])
        // Each try is counted, also one of which nothing is told.
        let counts = try #require(harness.tally.services["api"])
        #expect(counts.passed == 1)
        #expect(counts.failed >= 1)
    }

    @Test("what was counted of services that are gone is forgotten")
    func tally() {
        var tally = ProbeTally()
        for (service, passed) in [("a", true), ("b", false), ("a", false), ("a", true)] {
            tally.count(passed, of: service)
        }
        #expect(tally.services.mapValues(\.passed) == ["a": 2, "b": 0])
        #expect(tally.services.mapValues(\.failed) == ["a": 1, "b": 1])
        tally.keep(["b", "c"])
        #expect(tally.services.keys.sorted() == ["b"])
    }

    @Test("the next supervisor goes on with what was counted, of each kind of probe")
    func keptTally() throws {
        var counts = try KeptCounts(keeping: "counts")
        var tally = ProbeTally(.readiness, in: counts)
        for passed in [true, false, true] { tally.count(passed, of: "a") }
        var health = ProbeTally(.health, in: counts)
        health.count(false, of: "b")
        counts = try KeptCounts(resuming: #require(counts.descriptor))
        tally = ProbeTally(.readiness, in: counts)
        tally.count(true, of: "a")
        #expect(tally.services == ["a": .init(passed: 3, failed: 1)])
        counts = try KeptCounts(resuming: #require(counts.descriptor))
        #expect(ProbeTally(.readiness, in: counts).services == tally.services)
        #expect(ProbeTally(.health, in: counts).services == ["b": .init(passed: 0, failed: 1)])
    }

    @Test("a stranger on the port does not pass for the instance, and is named")
    func stranger() throws {
        var listener: (port: UInt16, socket: Descriptor)? = try testListener()
        let port = try #require(listener).port
        let stranger = try TestChild(["/bin/sleep", "60"], descriptors: [try #require(listener).socket])
        listener = nil
        // For a moment every program that another test has just forked has a copy of it.
        try eventually("the stranger to have it alone") {
            PortCheck.holder(of: port) == "pid \(stranger.pid) (sleep)" ? true : nil
        }
        let child = try TestChild(["/bin/sleep", "60"])
        let harness = ProberHarness()
        harness.begin(child.pid, port: port, .tcp)
        let report = try harness.next()
        #expect(!report.passed)
        #expect(report.detail == "port \(port) is held by pid \(stranger.pid) (sleep), which is not of this instance")
    }

    @Test(
        "the listener may be a child's, one that left the session, or an orphan's",
        arguments: [
            "sleep 60 3<&3 & exec 3<&-; wait",
            "setsid sleep 60 & exec 3<&-; wait",
            "sh -c 'sleep 60; :' & exec 3<&-; wait",
        ])
    func descendants(script: String) throws {
        var listener: (port: UInt16, socket: Descriptor)? = try testListener()
        let port = try #require(listener).port
        let child = try TestChild(["/bin/sh", "-c", script], descriptors: [try #require(listener).socket])
        listener = nil
        let harness = ProberHarness()
        harness.begin(child.pid, port: port, .tcp)
        #expect(try harness.next().passed)
    }

    @Test("the listener may be that of an orphan with the instance's mark")
    func orphan() throws {
        var listener: (port: UInt16, socket: Descriptor)? = try testListener()
        let port = try #require(listener).port
        let leader = try TestChild(["/bin/sleep", "60"])
        let orphan = try TestChild(
            ["/bin/sleep", "60"], environment: ["SUPD_SCOPE=\(ProberHarness.instance(leader.pid).mark)"],
            descriptors: [try #require(listener).socket])
        listener = nil
        let harness = ProberHarness()
        harness.begin(leader.pid, port: port, .tcp)
        #expect(try harness.next().passed)
        withExtendedLifetime(orphan) {}
    }

    @Test(
        "the status of a GET decides",
        arguments: [
            (["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"], true, "answered 200"),
            (["HTTP/1.1 ", "30", "2 Found\r\n", "\r\n"], true, "answered 302"),
            (["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"], true, "answered 204"),
            (["HTTP/1.0 503 no\r\n\r\n"], false, "answered 503"), (["HTTP/1.1 400 x\r\n\r\n"], false, "answered 400"),
            ([], false, ": the connection was closed without an answer"),
            (["SSH-2.0\r\n"], false, ": the answer is not HTTP"),
        ])
    func http(pieces: [String], passed: Bool, end: String) throws {
        let server = try CannedServer(pieces)
        let harness = ProberHarness(keeper: getppid())
        harness.begin(getpid(), port: server.port, .http(path: "/healthz?a=b"))
        let report = try harness.next()
        #expect(
            report
                == .init(
                    generation: 1, passed: passed, detail: "GET /healthz?a=b" + (end.hasPrefix(":") ? end : " " + end)))
        harness.end(1)
        let request = try #require(server.requests.first)
        #expect(request.hasPrefix("GET /healthz?a=b HTTP/1.1\r\nHost: 127.0.0.1:\(server.port)\r\n"))
        #expect(request.hasSuffix("\r\n\r\n"))
    }

    @Test(
        "an instance that expects the PROXY protocol is told first that nobody is behind the request",
        arguments: [
            (BalanceSettings.ProxyProtocol.v1, Array("PROXY UNKNOWN\r\n".utf8)),
            (.v2, Array("\r\n\r\n\0\r\nQUIT\n".utf8) + [0x20, 0, 0, 0]),
        ])
    func proxyProtocol(version: BalanceSettings.ProxyProtocol, greeting: [UInt8]) throws {
        let server = try CannedServer(["HTTP/1.1 200 OK\r\n\r\n"])
        let harness = ProberHarness(keeper: getppid())
        harness.begin(getpid(), port: server.port, .http(path: "/"), proxyProtocol: version)
        #expect(try harness.next().passed)
        let request = try #require(server.requests.first)
        #expect(Array(request.utf8).starts(with: greeting + Array("GET / HTTP/1.1\r\n".utf8)))
    }

    @Test("the rest of an answer is read, so that the server sees no reset")
    func lingering() throws {
        let server = try CannedServer(["HTTP/1.1 200 OK\r\n\r\n", String(repeating: "x", count: 300_000)])
        let harness = ProberHarness(keeper: getppid())
        harness.begin(getpid(), port: server.port, .http(path: "/"))
        #expect(try harness.next().passed)
        _ = try eventually("a clean end at the server") { server.endedCleanly == 1 ? true : nil }
    }

    @Test(
        "a path that would smuggle a line into the request is not asked for",
        arguments: ["/a b", "/a\r\nX: y", "a", ""])
    func path(path: String) throws {
        let server = try CannedServer(["HTTP/1.1 200 OK\r\n\r\n"])
        let harness = ProberHarness(keeper: getppid())
        harness.begin(getpid(), port: server.port, .http(path: path))
        #expect(try harness.next().detail.hasSuffix("is no path that a GET could ask for"))
    }

    @Test("a listener that accepts nothing fails after a second")
    func fullQueue() throws {
        let (port, listener) = try testListener(backlog: 0)
        let connections = try (0..<8).map { _ in try LoopbackConnection(port: port) }
        let harness = ProberHarness(keeper: getppid())
        harness.begin(getpid(), port: port, .tcp)
        #expect(
            try harness.next()
                == .init(generation: 1, passed: false, detail: "no answer to a connect to port \(port) within 1 s"))
        withExtendedLifetime((listener, connections)) {}
    }

    @Test(
        "a command's end decides",
        arguments: [
            (.exited(.code(0), output: "fine"), true, "the command exited with code 0"),
            (.exited(.code(1), output: "one\ntwo\u{1b}\n\n"), false, "the command exited with code 1: two"),
            (.exited(.code(2), output: ""), false, "the command exited with code 2"),
            (.exited(.signal(SIGKILL, coreDumped: false), output: ""), false, "the command was killed by SIGKILL"),
            (.notStarted("cannot find 'x'"), false, "the command was not run: cannot find 'x'"),
        ] as [(Prober.CommandResult, Bool, String)])
    func command(result: Prober.CommandResult, passed: Bool, detail: String) throws {
        let harness = ProberHarness(runCommand: { plan, completion in
            #expect(plan.arguments == ["check"])
            completion(result)
            return {}
        })
        harness.begin(1, .command(SpawnPlan(id: 0, label: "", candidates: [], arguments: ["check"], environment: [])))
        #expect(try harness.next() == .init(generation: 1, passed: passed, detail: detail))
    }

    /// Commands that do not end by themselves.
    private final class HeldCommands: Sendable {
        struct State: Sendable {
            var started = 0
            var cancelled = 0
        }
        let state = Lock(State())
        // Only used on the prober's queue.
        nonisolated(unsafe) var completions: [(Prober.CommandResult) -> Void] = []

        func run(_ plan: SpawnPlan, _ completion: @escaping (Prober.CommandResult) -> Void) -> () -> Void {
            state.withLock { $0.started += 1 }
            completions.append(completion)
            return { self.state.withLock { $0.cancelled += 1 } }
        }
    }

    private let plan = SpawnPlan(id: 0, label: "", candidates: [], arguments: ["check"], environment: [])

    @Test("of many no more than 64 are tried at a time, and each has its turn")
    func concurrency() throws {
        let commands = HeldCommands()
        let harness = ProberHarness(runCommand: { commands.run($0, $1) })
        for number in 1...200 { harness.begin(1, number: UInt64(number), .command(plan)) }
        var passed: Set<UInt64> = []
        while passed.count < 200 {
            let count = min(64, 200 - passed.count)
            _ = try eventually("\(count) commands to run") {
                let running = commands.state.withLock { $0.started } - passed.count
                #expect(running <= 64)
                return running == count ? true : nil
            }
            harness.queue.sync {
                let completions = commands.completions
                commands.completions = []
                for completion in completions { completion(.exited(.code(0), output: "")) }
            }
            for _ in 0..<count { passed.insert(try harness.next().generation) }
        }
        #expect(passed.count == 200)
        #expect(commands.state.withLock { $0.cancelled } == 0)
    }

    @Test("ending a probe ends its command, and nothing is reported of it")
    func ending() throws {
        let commands = HeldCommands()
        let harness = ProberHarness(runCommand: { commands.run($0, $1) })
        harness.begin(1, .command(plan))
        _ = try eventually("the command to run") { commands.state.withLock { $0.started } == 1 ? true : nil }
        harness.end(1)
        harness.end(1)
        #expect(commands.state.withLock { $0.cancelled } == 1)
        // A late end of the old command is not that of the new one.
        harness.begin(1, .command(plan))
        _ = try eventually("the second command") { commands.state.withLock { $0.started } == 2 ? true : nil }
        harness.queue.sync { commands.completions[0](.exited(.code(0), output: "")) }
        #expect(harness.rest == [])
        harness.queue.sync { commands.completions[1](.exited(.code(3), output: "")) }
        #expect(try harness.next().detail == "the command exited with code 3")
    }

    @Test("pauses grow from 5 ms to 250 ms, then 1 s; a command's from 50 ms to 1 s")
    func pacing() {
        let fast = ProbePacing(startedAt: 0, isCommand: false)
        #expect(
            [1, 2, 3, 6, 7, 1_000_000].map { fast.pause(afterTry: $0, now: 0) / 1_000_000 } == [
                5, 10, 20, 160, 250, 250,
            ])
        #expect(fast.pause(afterTry: 3, now: 10_000_000_001) == 1_000_000_000)
        let slow = ProbePacing(startedAt: 0, isCommand: true)
        #expect([1, 2, 5, 6, 100].map { slow.pause(afterTry: $0, now: 0) / 1_000_000 } == [50, 100, 800, 1000, 1000])
    }
}
