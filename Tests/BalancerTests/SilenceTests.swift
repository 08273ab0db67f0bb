import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("Silent connections end")
struct SilenceTests {
    static func pool(
        _ backends: [Backend], idle: Double? = nil, fin: Double = 30
    ) -> RoutingTable.Pool {
        var pool = Rig.pool(backends.enumerated().map { $1.endpoint(UInt64($0 + 1)) })
        pool.idleTimeout = idle.map { Int64($0 * 1e9) }
        pool.finTimeout = Int64(fin * 1e9)
        return pool
    }

    private static func seconds(_ body: () throws -> Void) rethrows -> Double {
        let start = monotonicNanoseconds()
        try body()
        return Double(monotonicNanoseconds() - start) / 1e9
    }

    // MARK: idleTimeout

    @Test("a connection without a byte for idleTimeout is reset on both sides", arguments: [1, 2])
    func idle(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backend = try Backend()
            try rig.apply([Self.pool([backend], idle: 0.4)])
            let (client, server) = try rig.pair(backend)
            let time = try Self.seconds {
                try client.send("x")
                #expect(try server.receiveText(1) == "x")
                #expect(client.receiveToEndOrError().code == ECONNRESET)
                #expect(server.receiveToEndOrError().code == ECONNRESET)
            }
            #expect(time > 0.3)
            let counts = try AdmissionTests.settled(rig, ended: 1)
            #expect(counts.ends == ["cD": 1])
            #expect(try rig.instance("api/1").ends == ["cD": 1])
        }
    }

    @Test("bytes of either side keep a connection alive", arguments: [true, false])
    func alive(byClient: Bool) throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool([backend], idle: 2)])
            let (client, server) = try rig.pair(backend)
            let (from, to) = byClient ? (client, server) : (server, client)
            // The pauses are far shorter than the timeout, for this machine may be busy; all together are longer.
            for _ in 0..<50 {
                usleep(60_000)
                try from.send("x")
                #expect(try to.receiveText(1) == "x")
            }
            #expect(try rig.front.current == 1)
        }
    }

    @Test("a slow reader is not silent")
    func slowReader() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool([backend], idle: 1.5)])
            let (client, server) = try rig.pair(backend, receiveBuffer: 16 << 10)
            let size = 2 << 20
            let thread = try TestThread {
                try? server.sendPattern(1, count: size)
            }
            defer { thread.join() }
            var pattern = Pattern(seed: 1)
            var left = size
            while left > 0 {
                let count = min(left, 32 << 10)
                guard areEqual(try client.receive(count), pattern.next(count)) else {
                    throw TestFailure("wrong bytes")
                }
                left -= count
                usleep(60_000)
            }
        }
    }

    @Test("an endpoint that reads a request slowly which has ended is not silent")
    func slowEndpoint() throws {
        try Rig.run { rig in
            let backend = try Backend()
            // Else most of it would be delivered at once, as far as the kernel is concerned.
            var buffer: Int32 = 16 << 10
            let listener = try #require(backend.listener)
            setsockopt(listener.raw, SOL_SOCKET, SO_RCVBUF, &buffer, socklen_t(MemoryLayout<Int32>.size))
            try rig.apply([Self.pool([backend], fin: 1.5)])
            let (client, server) = try rig.pair(backend)
            // Little enough for the balancer to hand it all to the kernel, and then the end.
            let size = 96 << 10
            let thread = try TestThread {
                try? client.sendPattern(1, count: size)
                client.finishWriting()
            }
            defer { thread.join() }
            var pattern = Pattern(seed: 1)
            for _ in 0..<96 {
                guard areEqual(try server.receive(size / 96), pattern.next(size / 96)) else {
                    throw TestFailure("wrong bytes")
                }
                usleep(40_000)
            }
            try server.send("ok")
            #expect(try client.receiveText(2) == "ok")
        }
    }

    @Test("connections in other phases have their own times: a queue is not silence")
    func waiting() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool([], idle: 0.2)])
            let client = try rig.connect()
            try client.send("x")
            #expect(!client.isReadable(within: 600))
            try rig.apply([Self.pool([backend], idle: 0.2)])
            #expect(try backend.accept().receiveText(1) == "x")
        }
    }

    @Test("another timeout holds for open connections too")
    func changes() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool([backend])])
            let pairs = try (0..<5).map { _ in try rig.pair(backend) }
            try rig.apply([Self.pool([backend], idle: 3600)])
            try rig.apply([Self.pool([backend])])
            try rig.apply([Self.pool([backend], idle: 0.3)])
            for pair in pairs { #expect(pair.client.receiveToEndOrError().code == ECONNRESET) }
            _ = try AdmissionTests.settled(rig, ended: 5)
        }
    }

    @Test("those of a service that has left the table keep their timeout")
    func serviceLeaves() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool([backend], idle: 0.5)])
            let pair = try rig.pair(backend)
            try rig.apply([])
            #expect(pair.client.receiveToEndOrError().code == ECONNRESET)
            #expect(pair.server.receiveToEndOrError().code == ECONNRESET)
            rig.engine.receive(.listener(id: "front"), [rig.frontSocket])
            // The slot of the service is free again.
            try rig.apply([Self.pool([backend], idle: 0.5)])
            _ = try rig.pair(backend)
        }
    }

    // MARK: finTimeout

    @Test("an endpoint that does not answer a client that has ended is given up after finTimeout")
    func silentEndpoint() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool([backend], fin: 0.4)])
            let (client, server) = try rig.pair(backend)
            // Longer than the timeout, which is none as long as both may speak.
            #expect(!client.isReadable(within: 700))
            let time = try Self.seconds {
                try client.send("request")
                client.finishWriting()
                #expect(String(decoding: try server.receiveToEnd(), as: UTF8.self) == "request")
                #expect(client.receiveToEndOrError().code == ECONNRESET)
            }
            #expect(time > 0.3)
            // Its own stream was whole; the answer has nowhere to go.
            #expect(throws: SystemError.self) {
                while true { try server.send([UInt8](repeating: 0, count: 1 << 16)) }
            }
            let counts = try AdmissionTests.settled(rig, ended: 1)
            #expect(counts.ends == ["sD": 1])
        }
    }

    @Test(
        "the time of a half-closed connection begins with its end, not with the silence before",
        arguments: [false, true])
    func silenceBeforeEnd(hasAnother: Bool) throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool([backend], fin: 2)])
            let (client, server) = try rig.pair(backend)
            #expect(!client.isReadable(within: 2200))
            let other = hasAnother ? try rig.pair(backend) : nil
            other?.0.finishWriting()
            client.finishWriting()
            _ = try server.receiveToEnd()
            try server.send("answer")
            server.finishWriting()
            #expect(String(decoding: try client.receiveToEnd(), as: UTF8.self) == "answer")
            withExtendedLifetime(other) {}
        }
    }

    @Test("a client that does not end after its endpoint has is given up, and keeps all it was sent")
    func silentClient() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool([backend], fin: 0.4)])
            let (client, server) = try rig.pair(backend, receiveBuffer: 16 << 10)
            // Most of it is on its way when the time is over. Of more, were it bulk, the kernel would not take all.
            let size = 192 << 10
            try server.sendPattern(1, count: size)
            server.finishWriting()
            #expect(server.receiveToEndOrError().code == ECONNRESET)
            try client.receivePattern(1, count: size)
            #expect(client.receiveToEndOrError().code == 0)
            let counts = try AdmissionTests.settled(rig, ended: 1)
            #expect(counts.ends == ["cL": 1])
        }
    }

    @Test("an answer that comes in time to a client that has ended is none the worse")
    func lateAnswer() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool([backend], idle: 2, fin: 60)])
            let (client, server) = try rig.pair(backend)
            client.finishWriting()
            for _ in 0..<50 {
                usleep(60_000)
                try server.send("x")
                #expect(try client.receiveText(1) == "x")
            }
            server.close()
            #expect(client.receiveToEndOrError().code == 0)
            // The shorter of the two times counts for half-closed connections.
            try rig.apply([Self.pool([backend], idle: 0.3, fin: 60)])
            let second = try rig.pair(backend)
            second.client.finishWriting()
            #expect(second.client.receiveToEndOrError().code == ECONNRESET)
            withExtendedLifetime(second.server) {}
        }
    }

    @Test("300 half-closed connections end in time, with no wake-up before and few in all")
    func many() throws {
        try Rig.run { configuration in
            configuration.descriptors = 8192
        } _: { rig in
            let backend = try Backend()
            try rig.apply([Self.pool([backend], fin: 2)])
            let pairs = try (0..<300).map { _ in try rig.pair(backend) }
            for pair in pairs { pair.client.finishWriting() }
            for pair in pairs { #expect(try pair.server.receiveToEnd() == []) }
            _ = try eventually("the loop has gone to sleep") {
                let before = rig.engine.wakeUps
                usleep(30_000)
                return rig.engine.wakeUps == before ? before : nil
            }
            let before = rig.engine.wakeUps
            for pair in pairs { #expect(pair.client.receiveToEndOrError().code == ECONNRESET) }
            _ = try AdmissionTests.settled(rig, ended: 300)
            #expect(rig.engine.wakeUps - before < 100)
        }
    }

    @Test("with timeouts far off an idle balancer does not wake up")
    func noWakeUps() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.apply([Self.pool([backend], idle: 3600, fin: 600)])
            let pairs = try (0..<20).map { _ in try rig.pair(backend) }
            for pair in pairs.prefix(10) { pair.client.finishWriting() }
            // A loop that spins or polls is never quiet for so long; one that was only late is, the next time.
            let quiet = (0..<3).first { _ in
                let before = rig.engine.wakeUps
                usleep(5_000_000)
                return rig.engine.wakeUps == before
            }
            #expect(quiet != nil, "5 s without a wake-up")
            withExtendedLifetime(pairs) {}
        }
    }
}
