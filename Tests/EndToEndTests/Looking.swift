import Foundation
import Glibc
import Platform
import TestSupport

/// The processes of services that carry a runtime directory's mark in their environment, zombies not among them.
/// Supervisor and balancer have marks, too: they count if asked for.
func ProcessesOf(runtimeDirectory: String, andRoles: Bool = false) -> Set<Int32> {
    var found: Set<Int32> = []
    for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
        guard let pid = Int32(name), let data = FileManager.default.contents(atPath: "/proc/\(pid)/environ") else {
            continue
        }
        let mark = data.split(separator: 0).first { $0.starts(with: Array("SUPD_SCOPE=\(runtimeDirectory)#".utf8)) }
        if let mark, andRoles || !String(decoding: mark, as: UTF8.self).hasSuffix("#supd#0") { found.insert(pid) }
    }
    return found
}

/// A tiny HTTP client for tests: one request on a connection of its own.
enum HTTP {
    struct Answer {
        var status: Int
        var body: String
    }

    /// What a connection still gets until it is closed; a reset is an end, too.
    static func rest(of connection: LoopbackConnection, within seconds: Double = 30) throws -> String {
        var bytes: [UInt8] = []
        try eventually("the end of a connection", within: seconds) {
            do throws(SystemError) {
                switch try connection.receive() {
                case .bytes(let more): bytes += more
                case .end: return true
                case .nothing: break
                }
            } catch {
                if error.code == ECONNRESET { return true }
                throw TestFailure("\(error)")
            }
            return nil
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// GET on 127.0.0.1. Throws unless a whole answer came.
    static func get(port: UInt16, _ path: String) throws -> Answer {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw TestFailure("socket: errno \(errno)") }
        defer { close(descriptor) }
        var limit = timeval(tv_sec: 30, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { throw TestFailure("connect to \(port): errno \(errno)") }
        let request = Array("GET \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".utf8)
        guard send(descriptor, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
            throw TestFailure("send: errno \(errno)")
        }
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count >= 0 else { throw TestFailure("recv from \(port): errno \(errno)") }
            if count == 0 { break }
            answer.append(contentsOf: buffer[..<count])
        }
        let text = String(decoding: answer, as: UTF8.self)
        let words = text.prefix(64).split(separator: " ")
        guard words.count > 1, let status = Int(words[1]), let end = text.range(of: "\r\n\r\n") else {
            throw TestFailure("no HTTP answer from \(port): \(text)")
        }
        return Answer(status: status, body: String(text[end.upperBound...]))
    }
}

/// A client that keeps its connection from request to request.
struct KeptConnection {
    private let stream: BlockingStream

    init(port: UInt16) throws { stream = try BlockingStream.connect(to: "127.0.0.1:\(port)", timeoutSeconds: 30) }

    /// The body of an answer; throws unless a whole one came.
    func get(_ path: String) throws -> String {
        try ask(path)
        return try answer()
    }

    /// Sends a request.
    func ask(_ path: String) throws {
        try stream.write(Array("GET \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8))
    }

    /// The body of the answer to a request that was sent.
    func answer() throws -> String {
        var text = ""
        while true {
            let more = try stream.read(upTo: 4096)
            guard !more.isEmpty else { throw TestFailure("the connection ended after: \(text)") }
            text += String(decoding: more, as: UTF8.self)
            guard let end = text.firstRange(of: "\r\n\r\n"), let length = Self.length(text[..<end.lowerBound]) else {
                continue
            }
            let body = text[end.upperBound...]
            if body.utf8.count >= length { return String(body) }
        }
    }

    /// Reads until the connection ends, be it by a reset; throws if it does not.
    func rest() throws -> [UInt8] { try stream.rest() }

    private static func length(_ head: Substring) -> Int? {
        let line = head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }
        return line.flatMap { Int($0.split(separator: ":")[1].trimmingCharacters(in: .whitespaces)) }
    }
}

extension BlockingStream {
    /// Reads until the stream ends, be it by a reset; throws if it does not in the stream's own time.
    func rest() throws -> [UInt8] {
        var bytes: [UInt8] = []
        do throws(SystemError) {
            while true {
                let more = try read(upTo: 65536)
                if more.isEmpty { return bytes }
                bytes += more
            }
        } catch {
            guard error.code == ECONNRESET else { throw error }
            return bytes
        }
    }
}

extension ProcessDescriptor {
    /// Waits until the process has ended; throws if it does not before this time of the monotonic clock.
    func waitForEnd(until deadline: Int64) throws {
        var state = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
        while true {
            let left = max(0, (deadline - monotonicNanoseconds()) / 1_000_000)
            let found = poll(&state, 1, Int32(clamping: left + 1))
            if found > 0 { return }
            guard found == 0 || errno == EINTR else { throw SystemError(call: "poll", code: errno) }
            if monotonicNanoseconds() > deadline { throw TestFailure("a process has not ended in time") }
        }
    }
}

/// Whether all threads of a process are stopped: the kernel stops one after the other.
func isStopped(_ pid: Int32) -> Bool {
    let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
    return threads.allSatisfy { thread in
        let text = FileManager.default.contents(atPath: "/proc/\(pid)/task/\(thread)/stat") ?? Data()
        return ProcessEntry(statText: Array(text))?.state == UInt8(ascii: "T")
    }
}

/// Clients that make one request after the other, each on a new connection, until they are told to end.
final class SteadyClients: Sendable {
    struct Failure: CustomStringConvertible {
        /// When it began to connect, on the monotonic clock.
        var began: Int64
        var description: String
        var isRefusal: Bool { description.contains("connect to") }
    }

    let count: Int
    private let state = Lock((served: 0, failures: [Failure](), ends: false, running: 0))

    init(_ count: Int, port: UInt16) {
        self.count = count
        state.withLock { $0.running = count }
        for _ in 0..<count { startThread { [self] in run(port) } }
    }

    private func run(_ port: UInt16) {
        while !state.withLock({ $0.ends }) {
            let began = monotonicNanoseconds()
            do {
                let answer = try HTTP.get(port: port, "/")
                guard answer.status == 200 else { throw TestFailure("status \(answer.status)") }
                state.withLock { $0.served += 1 }
            } catch {
                state.withLock { $0.failures.append(Failure(began: began, description: "\(error)")) }
            }
            // A steady rate that leaves the processor to others.
            usleep(2000)
        }
        state.withLock { $0.running -= 1 }
    }

    /// Waits until so many more were served.
    func serve(_ more: Int) throws {
        let goal = state.withLock { $0.served } + more
        try eventually("\(more) more requests") { state.withLock { $0.served } >= goal ? true : nil }
    }

    /// Tells them to end after the request that is under way.
    func stop() { state.withLock { $0.ends = true } }

    /// Ends them, and returns what failed.
    func end() throws -> [Failure] {
        stop()
        try eventually("the clients' end", within: 60) { state.withLock { $0.running } == 0 ? true : nil }
        return state.withLock { $0.failures }
    }
}
