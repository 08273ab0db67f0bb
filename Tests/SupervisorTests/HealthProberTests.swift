import Dispatch
import Glibc
import Links
import Manifest
import Platform
import Supervision
import TestSupport
import Testing

@testable import Supervisor

@Suite struct HealthProberTests {
    @Test("it is probed again and again, and every result is told")
    func again() throws {
        let server = try CannedServer(["HTTP/1.1 200 OK\r\n\r\n"])
        let harness = ProberHarness(keeper: getppid())
        harness.begin(server.port, HTTPCheck("/healthz"))
        for _ in 0..<3 {
            #expect(
                try harness.next() == .init(generation: 1, passed: true, detail: "GET /healthz answered 200"))
        }
        harness.end(1)
        _ = harness.rest
        #expect(server.requests.count >= 3)
    }

    @Test(
        "status, body and Host header are those of the manifest",
        arguments: [
            (HTTPCheck("/", statuses: 200...299), ["HTTP/1.1 204 No Content\r\n\r\n"], "", ""),
            (HTTPCheck("/", statuses: 200...200), ["HTTP/1.1 204 No Content\r\n\r\n"], "GET / answered 204", ""),
            (HTTPCheck("/", statuses: 503...503), ["HTTP/1.1 503 x\r\n\r\n"], "", ""),
            (
                HTTPCheck("/", statuses: 200...299), ["HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"],
                "GET / answered 302", ""
            ),
            (
                HTTPCheck("/"), ["HTTP/1.1 500 x\r\nContent-Length: 8\r\n\r\n", "db ", "\u{1b}down", "x"],
                "GET / answered 500", "db down"
            ),
            (HTTPCheck("/"), ["HTTP/1.1 500 x\r\n\r\n", "until", " the end"], "GET / answered 500", "until the end"),
            (HTTPCheck("/", body: "ok"), ["HTTP/1.1 200 OK\r\n\r\n", "all is o", "k."], "", ""),
            (
                HTTPCheck("/", body: "ok"),
                ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1;x=y\r\no\r\n", "1\r\nk\r\n0\r\n\r\n"], "",
                ""
            ),
            (
                HTTPCheck("/", body: "ok"), ["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", "o", "k"],
                "GET / answered 200, but without 'ok' in its body", "o"
            ),
            (
                HTTPCheck("/", body: "ok"), ["HTTP/1.1 200 OK\r\nX: ok\r\n\r\n"],
                "GET / answered 200, but without 'ok' in its body", ""
            ),
            (HTTPCheck("/", host: "x.example"), ["HTTP/1.1 200 OK\r\n\r\n"], "", ""),
            (HTTPCheck("/"), ["SSH-2.0\r\n"], "GET /: the answer is not HTTP", ""),
            (HTTPCheck("/"), [], "GET /: the connection was closed without an answer", ""),
            (HTTPCheck("/"), ["HTTP/1.1 "], "GET /: the connection was closed without an answer", ""),
        ])
    func answers(check: HTTPCheck, pieces: [String], failure: String, output: String) throws {
        let server = try CannedServer(pieces)
        let harness = ProberHarness(keeper: getppid())
        harness.begin(server.port, check)
        let report = try harness.next()
        #expect(report.passed == failure.isEmpty)
        if !report.passed { #expect(report.detail == failure) }
        #expect(report.output == output)
        let host = check.host ?? "127.0.0.1:\(server.port)"
        #expect(server.requests.first?.hasPrefix("GET / HTTP/1.1\r\nHost: \(host)\r\n") == true)
    }

    @Test("of an endless body only the first 64 KiB are looked at")
    func endlessBody() throws {
        let body = String(repeating: "x", count: 1 << 20)
        let server = try CannedServer(["HTTP/1.1 200 OK\r\n\r\n", body, "ok"])
        let harness = ProberHarness(keeper: getppid())
        harness.begin(server.port, HTTPCheck("/", body: "ok"))
        let report = try harness.next()
        #expect(report.detail == "GET / answered 200, but without 'ok' in its body")
        #expect(report.output.utf8.count == 2048)
    }

    @Test("an answer that does not come in time is a failure, one that has begun is judged by what there is of it")
    func timeouts() throws {
        let (port, listener) = try testListener()
        let harness = ProberHarness(keeper: getppid())
        harness.begin(port, HTTPCheck("/x"), timeout: .milliseconds(50))
        #expect(try harness.next().detail == "GET /x: no answer within 50 ms")
        #expect(try harness.next().detail == "GET /x: no answer within 50 ms")
        harness.end(1)
        withExtendedLifetime(listener) {}
        for (check, pieces, failure) in [
            (HTTPCheck("/"), ["HTTP/1.1 500 x\r\n\r\nsome"], "GET / answered 500"),
            (
                HTTPCheck("/", body: "ok"), ["HTTP/1.1 200 x\r\n\r\nsome"],
                "GET / answered 200, but without 'ok' in its body"
            ),
            (HTTPCheck("/"), ["HTTP/1.1 2"], "GET /: no answer within 2 s"),
        ] {
            let server = try CannedServer(pieces, closes: false)
            let other = ProberHarness(keeper: getppid())
            other.begin(server.port, check, timeout: .seconds(2))
            let report = try other.next()
            #expect(report.detail == failure)
            #expect(report.output == (report.detail.contains("answered") ? "some" : ""))
        }
    }

    @Test("an answer that came while the prober's own queue was busy has come in time")
    func busy() throws {
        let gate = DispatchSemaphore(value: 0)
        let server = try CannedServer(["HTTP/1.1 200 OK\r\n\r\n"], after: gate)
        let harness = ProberHarness(keeper: getppid())
        harness.begin(server.port, HTTPCheck("/"), timeout: .milliseconds(500))
        _ = try eventually("a request") { server.requests.isEmpty ? nil : true }
        harness.queue.sync {
            gate.signal()
            // Beyond the deadline, whenever it was set; the answer is there long before.
            usleep(600_000)
        }
        #expect(try harness.next().passed)
        harness.end(1)
    }

    @Test("a full queue, a closed port, and one to which the kernel connects itself are failures")
    func connecting() throws {
        let (port, listener) = try testListener(backlog: 0)
        let connections = try (0..<8).map { _ in try LoopbackConnection(port: port) }
        var harness = ProberHarness(keeper: getppid())
        harness.begin(getpid(), port: port, .tcp, every: .milliseconds(20), timeout: .milliseconds(100))
        #expect(try harness.next().detail == "no answer to a connect to port \(port) within 100 ms")
        withExtendedLifetime((listener, connections)) {}
        let (closed, socket) = try testListener(listens: false)
        harness = ProberHarness(keeper: getppid())
        harness.begin(getpid(), port: closed, .tcp, every: .milliseconds(20), timeout: .seconds(1))
        #expect(try harness.next().detail == "connection refused on port \(closed)")
        withExtendedLifetime(socket) {}
    }

    @Test("a connection that the instance's own listener takes is enough for tcp")
    func connects() throws {
        let (port, listener) = try testListener()
        let harness = ProberHarness(keeper: getppid())
        harness.begin(getpid(), port: port, .tcp, every: .milliseconds(20), timeout: .seconds(30))
        for _ in 0..<3 { #expect(try harness.next().passed) }
        withExtendedLifetime(listener) {}
    }

    @Test("a stranger on the port is a failure")
    func stranger() throws {
        let (port, listener) = try testListener()
        let child = try TestChild(["/bin/sleep", "60"])
        let harness = ProberHarness()
        harness.begin(child.pid, port: port, .tcp, every: .milliseconds(20), timeout: .seconds(10))
        #expect(try harness.next().detail.hasSuffix("which is not of this instance"))
        withExtendedLifetime(listener) {}
    }

    @Test("a command's output is told beside the reason; one that does not end in time is ended")
    func commands() throws {
        let cancelled = Lock(0)
        let plan = SpawnPlan(id: 0, label: "", candidates: [], arguments: ["check"], environment: [])
        var harness = ProberHarness(runCommand: { _, completion in
            completion(.exited(.code(1), output: "one\ntwo\u{7}\n"))
            return {}
        })
        harness.begin(1, .command(plan), every: .milliseconds(20))
        #expect(
            try harness.next()
                == .init(generation: 1, passed: false, detail: "the command exited with code 1", output: "one\ntwo\n"))
        harness = ProberHarness(runCommand: { _, _ in { cancelled.withLock { $0 += 1 } } })
        harness.begin(1, .command(plan), every: .milliseconds(20), timeout: .milliseconds(50))
        #expect(try harness.next().detail == "the command did not end within 50 ms")
        #expect(cancelled.withLock { $0 } == 1)
    }

    @Test("a failing one is told of each time, and a pass does not end it")
    func everyResult() throws {
        let results = Lock([true, false, false, true, true])
        let plan = SpawnPlan(id: 0, label: "", candidates: [], arguments: ["check"], environment: [])
        let harness = ProberHarness(runCommand: { _, completion in
            let passes = results.withLock { $0.isEmpty ? true : $0.removeFirst() }
            completion(.exited(.code(passes ? 0 : 1), output: ""))
            return {}
        })
        harness.begin(1, .command(plan), every: .milliseconds(10))
        #expect(try (0..<5).map { _ in try harness.next().passed } == [true, false, false, true, true])
        harness.end(1)
    }
}

@Suite struct ProbeRhythmTests {
    @Test(
        "each time is the next one of the phase, once in every interval", arguments: [0, 1, 7, 1_000_000] as [UInt64])
    func next(number: UInt64) {
        let rhythm = ProbeRhythm(interval: .seconds(10), number: number)
        #expect((0..<10_000_000_000).contains(rhythm.phase))
        var time: Int64 = 123_456_789_012
        for _ in 0..<5 {
            let next = rhythm.next(after: time)
            #expect(next > time && next - time <= rhythm.interval)
            #expect((next - rhythm.phase) % rhythm.interval == 0)
            time = next
        }
        // One that took several intervals leaves out those that are over.
        #expect(rhythm.next(after: time + 25_000_000_000) == time + 30_000_000_000)
    }

    @Test("a hundred processes share 40 places, and none has many more than its share")
    func spread() {
        for first in [UInt64(1), 1000, 1 << 40] {
            var places: [Int64: Int] = [:]
            for number in first..<first + 100 {
                places[ProbeRhythm(interval: .seconds(10), number: number).phase, default: 0] += 1
            }
            #expect(places.count == 40)
            #expect(places.values.allSatisfy { (1...4).contains($0) }, "\(places)")
            #expect(places.keys.allSatisfy { $0 % 250_000_000 == 0 })
        }
    }

    @Test("the ends of time and the shortest interval are no trouble")
    func extremes() {
        #expect(ProbeRhythm(interval: .zero, number: .max).next(after: 5) == 6)
        #expect(ProbeRhythm(interval: .seconds(1), number: 3).next(after: .max) == .max)
        let early = ProbeRhythm(interval: .seconds(10), number: 3)
        #expect(early.next(after: .min + 1) > .min)
        #expect(early.next(after: -1) >= 0)
    }
}
