import ControlAPI
import Dispatch
import Glibc
import Platform
import Supervisor
import Synchronization
import TestSupport
import Testing

/// A request for reading.
func get(_ target: String) -> String { "GET \(target) HTTP/1.1\r\nHost: localhost\r\n\r\n" }
/// A request to change something.
func post(_ target: String) -> String { "POST \(target) HTTP/1.1\r\nHost: localhost\r\n\r\n" }

/// An answer as a client sees it.
struct Answer: Equatable {
    var status: Int
    var body: String

    init(_ status: Int, _ body: String) {
        self.status = status
        self.body = body
    }
}

/// A responder on its way between the queue and a test; touched on the queue alone.
struct Held: @unchecked Sendable {
    let value: ControlResponder
}

/// A handler that answers reads at once, accepts what is not waited for, and holds what is. Touched on the queue alone.
final class Handling: @unchecked Sendable {
    var requests: [(ControlRequest, PeerCredentials)] = []
    var held: [Held] = []
    let arrivals = DispatchSemaphore(value: 0)

    func handle(_ request: ControlRequest, _ peer: PeerCredentials, _ responder: ControlResponder) {
        requests.append((request, peer))
        switch request.route {
        case .version, .balancer, .usage: responder.finish(json: ["version": "test"])
        case .metrics: responder.finish(Array("a_metric 1\n".utf8), type: HTTPAnswer.metrics)
        case .status: responder.finish(json: String(repeating: "0123456789abcdef", count: 1 << 19 + 1))
        case .verb(_, ["forget"], _): return
        case .verb(_, _, let options) where options.wait, .shutdown(let options) where options.wait:
            held.append(Held(value: responder))
            arrivals.signal()
        case .events(let count, _, _): flood(Held(value: responder), count ?? 0)
        case .verb, .scale, .apply, .decide, .rollback, .history, .logs, .shutdown, .signal, .limit, .upgrade:
            responder.finish(json: ProgressLine(result: "accepted"))
        }
    }
}

extension Handling {
    /// Sends so many chunks, each only when there is room for it.
    private func flood(_ held: Held, _ count: UInt64) {
        let left = Mutex(count)
        let send: @Sendable () -> Void = {
            while held.value.hasRoom, left.withLock({ $0 }) > 0 {
                let number = left.withLock { number in
                    number -= 1
                    return number
                }
                held.value.send(lines: Array("\(number) \(String(repeating: "x", count: 1 << 16))\n".utf8))
            }
            if held.value.hasRoom, left.withLock({ $0 }) == 0 { held.value.finish() }
        }
        held.value.begin()
        held.value.onRoom(send)
        send()
    }
}

/// A server on a queue and a socket of its own.
final class ServerUnderTest: @unchecked Sendable {
    let path: String
    private let directory: TemporaryDirectory
    private let queue = DispatchQueue(label: "server under test")
    private let handling = Handling()
    private var server: ControlServer?

    init(_ limits: ControlServer.Limits = ControlServer.Limits()) throws {
        directory = try TemporaryDirectory()
        path = directory.file("control.sock")
        let listener = try unixListener(at: path)
        try queue.sync { [handling] in
            server = try ControlServer(listener: listener, queue: queue, limits: limits) { handling.handle($0, $1, $2) }
        }
    }

    deinit { close() }

    var connections: Int { queue.sync { server?.connectionCount ?? 0 } }
    func seen() -> [ControlRequest] { queue.sync { handling.requests.map(\.0) } }
    func peers() -> [PeerCredentials] { queue.sync { handling.requests.map(\.1) } }
    func onQueue(_ body: () -> Void) { queue.sync(execute: body) }

    func close() {
        queue.sync {
            server?.close()
            server = nil
        }
    }

    /// The next request that is held: to be answered by the test.
    func nextHeld() -> Held {
        handling.arrivals.wait()
        return queue.sync { handling.held.removeFirst() }
    }

    func waitForNoConnection() { waitFor(connections: 0) }

    func waitFor(connections count: Int) {
        do {
            _ = try eventually("\(count) connections") { connections == count ? true : nil }
        } catch {
            Issue.record(error)
        }
    }

    func connect() throws -> Client { Client(try UnixStream.connect(to: path)) }

    /// A connection that is handed over; nil if it is not taken.
    func adopt(_ right: ControlRight) throws -> Client? {
        let (ours, theirs) = try UnixStream.pair()
        let peer = PeerCredentials(processID: 1, userID: 2, groupID: 3, role: "a role")
        return queue.sync { server?.adopt(ours, peer: peer, right: right) == true } ? Client(theirs) : nil
    }

    func cutAdopted() { queue.sync { server?.cutAdopted() } }
}

/// A client that says and hears bytes.
final class Client {
    let stream: UnixStream
    private var input: [UInt8] = []
    private var isAtEnd = false

    init(_ stream: UnixStream) { self.stream = stream }

    func send(_ text: String) throws {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            rest = rest.dropFirst(try stream.send(rest))
            if !rest.isEmpty { _ = try stream.wait(for: .writable, until: nil) }
        }
    }

    /// Waits for room and sends what there is room for.
    func sendSome(_ bytes: [UInt8]) throws -> Int {
        _ = try stream.wait(for: .writable, until: nil)
        return try stream.send(bytes[...])
    }

    /// The next complete answer, read by other means than the project's own parser.
    func answer() throws -> Answer {
        let words = try line().split(separator: " ")
        guard words.count > 1, let status = Int(words[1]) else { throw TestFailure("no status: \(words)") }
        var length = 0
        var isChunked = false
        while case let field = try line(), !field.isEmpty {
            if field.hasPrefix("Content-Length: ") { length = Int(field.dropFirst(16)) ?? 0 }
            if field == "Transfer-Encoding: chunked" { isChunked = true }
        }
        guard isChunked else { return Answer(status, try take(length)) }
        var body = ""
        while let size = Int(try line(), radix: 16) {
            body += try take(size)
            #expect(try line().isEmpty)
            if size == 0 { return Answer(status, body) }
        }
        throw TestFailure("a chunk without a size")
    }

    /// The next line, without its CRLF.
    func line() throws -> String {
        while true {
            if let end = input.firstIndex(of: UInt8(ascii: "\n")) {
                let line = input[..<end]
                #expect(line.last == UInt8(ascii: "\r"))
                defer { input.removeFirst(end + 1) }
                return String(decoding: line.dropLast(), as: UTF8.self)
            }
            try receiveMore()
        }
    }

    private func take(_ count: Int) throws -> String {
        while input.count < count { try receiveMore() }
        defer { input.removeFirst(count) }
        return String(decoding: input.prefix(count), as: UTF8.self)
    }

    private func receiveMore() throws {
        guard let bytes = try receive() else { throw TestFailure("the connection ended") }
        input += bytes
    }

    /// Takes an empty line and a body; false if that is not this one.
    func takes(body: String) throws -> Bool {
        guard try line().isEmpty else { return false }
        return try take(body.utf8.count) == body
    }

    func everything() throws -> String {
        while let bytes = try receive() { input += bytes }
        return String(decoding: input, as: UTF8.self)
    }

    func expectEnd() throws {
        #expect(try receive() == nil)
    }

    /// What comes next; nil at the end, and also after the server cut the connection with input unread.
    private func receive() throws -> [UInt8]? {
        while !isAtEnd {
            do throws(SystemError) {
                switch try stream.receive() {
                case .bytes(let bytes): return bytes
                case .end: isAtEnd = true
                case .wouldBlock: _ = try stream.wait(for: .readable, until: nil)
                }
            } catch {
                guard error.code == ECONNRESET else { throw error }
                isAtEnd = true
            }
        }
        return nil
    }
}
