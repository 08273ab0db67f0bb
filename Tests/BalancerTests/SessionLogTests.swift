import CPlatform
import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("A line for every session that has ended")
struct SessionLogTests {
    /// The reading end of a service's pipe.
    final class Log {
        private let reading: Descriptor
        private var pending = ""

        /// Creates a pipe and gives its writing end to the balancer.
        init(_ rig: Rig, service: String = "api", capacity: Int32 = 1 << 16) throws {
            var ends: [Int32] = [-1, -1]
            let room = supd_splice_pipe(&ends, capacity)
            guard room > 0 else { throw SystemError(call: "pipe2", code: -room) }
            reading = Descriptor(owning: ends[0])
            let writing = Descriptor(owning: ends[1])
            rig.engine.receive(.sessionLog(service: service), [writing])
        }

        /// The next line within 30 s, as fields.
        func line() throws -> [String: String] {
            let text = try lineText()
            var fields: [String: String] = [:]
            for field in text.split(separator: " ") {
                let parts = field.split(separator: "=", maxSplits: 1)
                guard parts.count == 2 else { throw TestFailure("no field: \(field) in \(text)") }
                fields[String(parts[0])] = String(parts[1])
            }
            return fields
        }

        func lineText() throws -> String {
            while true {
                if let end = pending.firstIndex(of: "\n") {
                    let line = String(pending[..<end])
                    pending = String(pending[pending.index(after: end)...])
                    return line
                }
                var entry = pollfd(fd: reading.raw, events: Int16(POLLIN), revents: 0)
                guard poll(&entry, 1, 30_000) > 0 else { throw TestFailure("no line in 30 s") }
                let bytes = try [UInt8](unsafeUninitializedCapacity: 65536) { buffer, count in
                    count = try systemCall("read") { read(self.reading.raw, buffer.baseAddress, 65536) }
                }
                guard !bytes.isEmpty else { throw TestFailure("the log has ended") }
                pending += String(decoding: bytes, as: UTF8.self)
            }
        }

        /// Whether all lines were taken and there is no other.
        var isEmpty: Bool {
            var entry = pollfd(fd: reading.raw, events: Int16(POLLIN), revents: 0)
            return pending.isEmpty && poll(&entry, 1, 0) == 0
        }
    }

    static func pool(_ endpoints: [RoutingTable.Endpoint], queueTimeout: Double = 30) -> RoutingTable.Pool {
        var pool = Rig.pool(endpoints, queueTimeout: queueTimeout)
        pool.logsSessions = true
        return pool
    }

    @Test("a line says all of it, in its order", arguments: [true, false])
    func whole(pipeFirst: Bool) throws {
        try Rig.run { rig in
            let backend = try Backend()
            var log: Log?
            if pipeFirst { log = try Log(rig) }
            try rig.apply([Self.pool([backend.endpoint(2)])])
            let after = try log ?? Log(rig)
            // The pipe is in force in the loop.
            try rig.apply([Self.pool([backend.endpoint(2)])])
            let (client, server) = try rig.pair(backend)
            try client.send("request")
            #expect(try server.receiveText(7) == "request")
            try server.send("the answer")
            server.close()
            #expect(String(decoding: try client.receiveToEnd(), as: UTF8.self) == "the answer")
            client.close()
            let line = try after.lineText()
            let pattern =
                /client=127\.0\.0\.1:[0-9]+ front=127\.0\.0\.1:80 instance=api\/2 header=- queue=0\.0[0-9]{2} connect=0\.[0-9]{3} total=[0-9]+\.[0-9]{3} in=7 out=10 retries=0 end=--/
            #expect(line.wholeMatch(of: pattern) != nil, "\(line)")
        }
    }

    @Test("all sessions of all loops get a line", arguments: [1, 2])
    func all(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let backend = try Backend()
            let log = try Log(rig, capacity: 1 << 20)
            try rig.apply([Self.pool([backend.endpoint(1)])])
            for number in 0..<500 {
                let (client, server) = try rig.pair(backend)
                try client.send([UInt8](repeating: 1, count: number + 1))
                _ = try server.receive(number + 1)
                server.close()
                #expect(try client.receiveToEnd() == [])
                client.close()
            }
            var sizes: [Int] = []
            for _ in 0..<500 {
                let line = try log.line()
                #expect(line["end"] == "--")
                sizes.append(Int(line["in"] ?? "") ?? -1)
            }
            #expect(sizes.sorted() == Array(1...500))
            #expect(log.isEmpty)
        }
    }

    @Test("sessions that reached nobody get one too")
    func withoutInstance() throws {
        try Rig.run { rig in
            let log = try Log(rig)
            try rig.apply([Self.pool([], queueTimeout: 0.3)])
            let client = try rig.connect()
            #expect(client.receiveToEndOrError().code == ECONNRESET)
            let line = try log.line()
            #expect(line["instance"] == "-")
            #expect(line["connect"] == "-")
            #expect(line["queue"] == line["total"])
            #expect(line["end"] == "sQ")
            #expect((Double(line["queue"] ?? "") ?? 0) > 0.25)
            var denying = Self.pool([])
            denying.fronts[0].allow = []
            try rig.apply([denying])
            _ = try rig.connect().receiveToEndOrError()
            #expect(try log.line()["end"] == "PG")
        }
    }

    @Test("those whom a table turns away get theirs, although it takes their service with it")
    func serviceRemoved() throws {
        try Rig.run { rig in
            let log = try Log(rig)
            try rig.apply([Self.pool([])])
            let client = try rig.connect()
            _ = try eventually("it waits") { try rig.front.queued == 1 ? true : nil }
            try rig.apply([])
            #expect(client.receiveToEndOrError().code == ECONNRESET)
            #expect(try log.line()["end"] == "PQ")
        }
    }

    @Test("retries, queue and the client of a PROXY header are told")
    func details() throws {
        try Rig.run { rig in
            let log = try Log(rig)
            let dead = try Backend()
            let backend = try Backend()
            var waiting = Self.pool([])
            waiting.fronts[0].acceptsProxyProtocol = true
            try rig.apply([waiting])
            let client = try rig.connect()
            _ = try eventually("it is accepted") { try rig.front.current == 1 ? true : nil }
            usleep(400_000)
            try client.send("PROXY TCP6 2001:db8::7 ::1 81 82\r\nabc")
            _ = try eventually("it waits") { try rig.front.queued == 1 ? true : nil }
            usleep(200_000)
            dead.close()
            waiting.endpoints = [dead.endpoint(1), backend.endpoint(2)]
            try rig.apply([waiting])
            let server = try backend.accept()
            #expect(try server.receiveText(3) == "abc")
            server.reset()
            #expect(client.receiveToEndOrError().code == ECONNRESET)
            let line = try log.line()
            #expect(line["client"] == "[2001:db8::7]:81")
            #expect(line["instance"] == "api/2")
            // The first turn is that of the first in the table, which refuses.
            #expect(line["retries"] == "1")
            // The wait for the header is told by itself: all times together are the whole.
            func time(_ name: String) -> Double { Double(line[name] ?? "") ?? -1 }
            #expect(time("header") > 0.35)
            #expect(time("queue") > 0.15)
            #expect(time("header") + time("queue") + time("connect") <= time("total") + 0.002)
            #expect(line["in"] == "3")
            #expect(line["end"] == "SD")
        }
    }

    @Test("whoever does not say who it is has waited for nothing but its header")
    func noHeader() throws {
        try Rig.run { rig in
            let log = try Log(rig)
            var pool = Self.pool([])
            pool.fronts[0].acceptsProxyProtocol = true
            try rig.apply([pool])
            let client = try rig.connect()
            _ = try eventually("it is accepted") { try rig.front.current == 1 ? true : nil }
            usleep(100_000)
            client.reset()
            let line = try log.line()
            #expect((Double(line["header"] ?? "") ?? 0) > 0.08)
            #expect(line["header"] == line["total"])
            #expect(line["queue"] == "0.000")
        }
    }

    @Test("a client of a Unix front has no address, and a path with spaces does not break the line")
    func unixFront() throws {
        try Rig.run { rig in
            let directory = try TemporaryDirectory()
            let path = directory.file("front.sock")
            rig.engine.receive(.listener(id: "unix"), [try unixListener(at: path)])
            let backend = try Backend()
            let log = try Log(rig)
            var pool = Self.pool([backend.endpoint(1)])
            pool.fronts = [RoutingTable.Front(address: "unix:/a b\n/é", listeners: ["unix"])]
            try rig.apply([pool])
            let client = try Peer.connect(path: path)
            try backend.accept().close()
            #expect(try client.receiveToEnd() == [])
            client.close()
            let line = try log.line()
            #expect(line["client"] == "unix")
            #expect(line["front"] == "unix:/a?b?/??")
        }
    }

    @Test("a full pipe costs whole lines, which the next one counts; nobody waits for it")
    func fullPipe() throws {
        try Rig.run { rig in
            let backend = try Backend()
            let log = try Log(rig, capacity: 4096)
            try rig.apply([Self.pool([backend.endpoint(1)])])
            func session() throws {
                let (client, server) = try rig.pair(backend)
                server.close()
                #expect(try client.receiveToEnd() == [])
                client.close()
            }
            for _ in 0..<200 { try session() }
            _ = try AdmissionTests.settled(rig, ended: 200)
            // What was collected is written before another table is in force.
            try rig.apply([Self.pool([backend.endpoint(1)])])
            var lines = 0
            while !log.isEmpty {
                #expect(try log.line()["end"] == "--")
                lines += 1
            }
            #expect(lines > 5 && lines < 100)
            try session()
            let line = try log.line()
            #expect(line["dropped"] == "\(200 - lines)")
            try session()
            #expect(try log.line()["dropped"] == nil)
        }
    }

    @Test("nothing is written where it is not asked for, and a reader that is gone is no harm")
    func off() throws {
        try Rig.run { rig in
            let backend = try Backend()
            var log: Log? = try Log(rig)
            try rig.apply([Rig.pool([backend.endpoint(1)])])
            for round in 0..<2 {
                for _ in 0..<20 {
                    let (client, server) = try rig.pair(backend)
                    server.close()
                    #expect(try client.receiveToEnd() == [])
                    client.close()
                }
                _ = try AdmissionTests.settled(rig, ended: UInt64(20 * (round + 1)))
                // What was to be written is written when the loop takes a table.
                if log != nil { try rig.apply([Rig.pool([backend.endpoint(1)])]) }
                if let log { #expect(log.isEmpty) }
                log = nil
                try rig.apply([Self.pool([backend.endpoint(1)])])
            }
        }
    }

    @Test("services have pipes of their own, and a new pipe takes the place of the one before")
    func severalServices() throws {
        try Rig.run { rig in
            let backend = try Backend()
            let other = try listen(on: .ipv4("127.0.0.1", port: 0))
            let port = try #require(try SocketAddress.local(of: other).port)
            rig.engine.receive(.listener(id: "other"), [other])
            var second = Self.pool([])
            second.service = "web"
            second.emptiness = .refuse
            second.fronts = [RoutingTable.Front(address: "127.0.0.1:81", listeners: ["other"])]
            let old = try Log(rig)
            let web = try Log(rig, service: "web")
            try rig.apply([Self.pool([backend.endpoint(1)]), second])
            let fresh = try Log(rig)
            try rig.apply([Self.pool([backend.endpoint(1)]), second])
            for _ in 0..<10 {
                #expect(try Peer.connect(port: port).receiveToEndOrError().code == ECONNRESET)
                let (client, server) = try rig.pair(backend)
                server.close()
                #expect(try client.receiveToEnd() == [])
                client.close()
            }
            for _ in 0..<10 {
                #expect(try web.line()["end"] == "PQ")
                #expect(try fresh.line()["front"] == "127.0.0.1:80")
            }
            #expect(throws: TestFailure.self) { try old.line() }
        }
    }
}
