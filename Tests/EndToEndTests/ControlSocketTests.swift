import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// Clients of the control socket that behave badly: a real supd answers the others, and no process of it minds.
@Suite("The control socket", .timeLimit(.minutes(15)))
struct ControlSocketTests {
    /// A supd with two services, and what must not change whatever its control socket is fed.
    private struct World {
        let daemon: Daemon
        let front: UInt16
        private let reservation: Descriptor
        private let pids: [String: Int32]
        private let roles: [String: Int32]

        init() throws {
            let front = try freePort()
            (self.front, reservation) = (front.port, front.reservation)
            daemon = try Daemon(
                """
                { services: { api: { command: ['@demo@', '--quiet'], replicas: 2, listen: \(front.port) },
                              idle: { command: ['/bin/sleep', '1000'] } } }
                """)
            pids = try daemon.pids()
            roles = try daemon.status().daemon.roles
        }

        func connect() throws -> BlockingStream {
            try BlockingStream.connect(to: "unix:\(daemon.socket)", timeoutSeconds: 30)
        }

        /// The same processes, and an answer to everybody who asks properly.
        func expectUntouched() throws {
            let status = try daemon.ctl("status")
            #expect(status.code == 0, "\(status.output)")
            #expect(try daemon.pids() == pids)
            #expect(try daemon.status().daemon.roles == roles)
            #expect(try HTTP.get(port: front, "/").status == 200)
            #expect(!daemon.keeper.ended())
            for pid in Array(pids.values) + roles.values { #expect(kill(pid, 0) == 0, "\(pid)") }
        }
    }

    /// What a stream still gets until it is closed.
    private func rest(of stream: BlockingStream) throws -> String {
        var bytes: [UInt8] = []
        while true {
            do throws(SystemError) {
                let more = try stream.read(upTo: 65536)
                if more.isEmpty { break }
                bytes += more
            } catch {
                // Closed with something of ours unread: the end as well. That nothing comes in time is not.
                guard error.code == ECONNRESET else { throw error }
                break
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test("Garbage is refused with a word, and the connection ends")
    func garbage() throws {
        let world = try World()
        var random = SystemRandomNumberGenerator()
        var refused = 0
        for round in 0..<60 {
            let stream = try world.connect()
            // A line's end, so that there is something to judge; without one it would only be half a request.
            let bytes = (0..<(1 + round * 100)).map { _ in UInt8.random(in: 0...255, using: &random) }
            do throws(SystemError) { try stream.write(bytes + Array("\r\n\r\n".utf8)) } catch {
                guard error.code == EPIPE || error.code == ECONNRESET else { throw error }
            }
            let answer = try rest(of: stream)
            #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 4"), "\(bytes) was answered with \(answer)")
            if answer.hasPrefix("HTTP/1.1 4") { refused += 1 }
        }
        // Where bytes were still on their way the kernel may have put a reset in the answer's place.
        #expect(refused > 30, "\(refused)")
        try world.expectUntouched()
    }

    @Test("A body of 1 GB is refused when it is announced, and nothing of it is kept")
    func hugeBody() throws {
        let world = try World()
        let supervisor = try world.daemon.role("supervisor")
        let before = try residentBytes(supervisor)
        let streams = try (0..<8).map { _ in try world.connect() }
        for stream in streams {
            try stream.write(
                Array("POST /v1/services/api/limit HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n".utf8))
        }
        let block = [UInt8](repeating: 0x20, count: 1 << 20)
        for stream in streams {
            var sent = 0
            do throws(SystemError) {
                while sent < 1 << 30 {
                    try stream.write(block)
                    sent += block.count
                }
            } catch {
                #expect(error.code == EPIPE || error.code == ECONNRESET, "\(error)")
            }
            #expect(sent < 32 << 20, "\(sent)")
        }
        #expect(try residentBytes(supervisor) < before + 64 << 20)
        // One that waits for the answer gets it.
        let stream = try world.connect()
        try stream.write(
            Array("POST /v1/services/api/limit HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n".utf8))
        let answer = try rest(of: stream)
        #expect(answer.hasPrefix("HTTP/1.1 413 "), "\(answer)")
        try world.expectUntouched()
    }

    private func residentBytes(_ pid: Int32) throws -> UInt64 {
        let fields = try String(contentsOfFile: "/proc/\(pid)/statm", encoding: .utf8).split(separator: " ")
        return UInt64(try #require(fields.count > 1 ? UInt64(fields[1]) : nil)) * UInt64(getpagesize())
    }

    @Test("More half requests than there are places for keep nobody out: the oldest gives its place to who comes")
    func halfOpen() throws {
        let world = try World()
        let streams = try (0..<70).map { _ in
            let stream = try UnixStream.connect(to: world.daemon.socket)
            // Those beyond the 64 places are closed at once, perhaps before this byte.
            do throws(SystemError) { _ = try stream.send([UInt8(ascii: "G")]) } catch {
                guard error.code == EPIPE || error.code == ECONNRESET else { throw error }
            }
            return stream
        }
        let start = monotonicNanoseconds()
        // Within the first second it may be turned away, with a reason.
        let status = try eventually("an answer") {
            let status = try world.daemon.ctl("status")
            if status.code == 0 { return status }
            #expect(status.code == 1)
            #expect(status.output.contains("supd has 64 control connections open already; try again later"))
            return Program.Result?.none
        }
        #expect(status.output.contains("api"))
        // Long before half a request has had its whole time; the last ones of the 64 are still there.
        #expect(monotonicNanoseconds() - start < 25_000_000_000)
        let open = try streams.count { stream in
            do throws(SystemError) {
                if case .wouldBlock = try stream.receive() { return true }
                return false
            } catch {
                guard error.code == ECONNRESET else { throw error }
                return false
            }
        }
        #expect(open >= 40 && open < 64, "\(open)")
        try world.expectUntouched()
        // They stay, and so does everybody else.
        for _ in 0..<5 { try world.expectUntouched() }
        withExtendedLifetime(streams) {}
    }

    @Test("Clients that go in the middle of a request leave nothing behind")
    func vanished() throws {
        let world = try World()
        let supervisor = try world.daemon.role("supervisor")
        func descriptors() throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/\(supervisor)/fd").count
        }
        let before = try descriptors()
        let request = Array(
            "POST /v1/services/api/limit HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{\"nofile\": \"100\"}".utf8)
        for length in 1..<request.count {
            let stream = try world.connect()
            try stream.write(Array(request.prefix(length)))
            if length % 3 == 0 { stream.shutdownWriting() }
        }
        // And some in the middle of the answer.
        for text in [
            "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", "POST /v1/services/idle/restart HTTP/1.1\r\nHost:",
        ] {
            for _ in 0..<20 { try world.connect().write(Array(text.utf8)) }
        }
        try eventually("the end of all connections") { try descriptors() <= before ? true : nil }
        try world.expectUntouched()
        let limits = try world.daemon.status("api").services.first?.instances.first?.limits
        #expect(limits?["nofile"]?.soft != 100, "no part of a request was taken for a whole one")
    }
}
