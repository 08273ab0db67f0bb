import ControlAPI
import Dispatch
import Glibc
import Platform
import TestSupport

@testable import Web

/// The browsers' side of the role on a port of its own. What it answers goes by the path; time passes when a test says so.
final class ServerUnderTest: @unchecked Sendable {
    /// What an answer to `/large` has: more than sockets hold.
    static let large = 64 << 20

    let port: UInt16
    private let queue = DispatchQueue(label: "supd.test.web")
    private let server: WebServer
    private let record = Record()

    /// What has happened; used on the queue.
    private final class Record {
        var requests: [HTTPRequest] = []
        /// It ends with the server's hold of it: nobody else may have one.
        weak var last: HTTPServerConnection?
        var gone = 0
    }

    init(_ limits: WebLimits = WebLimits()) throws {
        let (port, socket) = try testListener(backlog: 256)
        self.port = port
        let record = record
        server = WebServer(queue: queue, limits: limits) { request, connection in
            record.requests.append(request)
            record.last = connection
            connection.onGone = { record.gone += 1 }
            switch request.target {
            case "/never": return
            case "/large": connection.answer(200, [UInt8](repeating: 0x78, count: Self.large))
            default: connection.answer(200, Array("\(request.target) \(request.body.count)".utf8))
            }
        }
        queue.sync { server.add("page", socket) }
    }

    /// A client of it, whose reads wait for half a minute.
    func connect() throws -> BlockingStream {
        try BlockingStream.connect(to: "127.0.0.1:\(port)", timeoutSeconds: 30)
    }

    /// Looks at what has been due for so long, as if that time had passed.
    func pass(seconds: Double) {
        queue.sync { server.timePassed(to: monotonicNanoseconds() + Int64(seconds * 1e9)) }
    }

    /// Runs on the server's queue, so after all that it has begun.
    @discardableResult
    func onQueue<Value>(_ body: (HTTPServerConnection?) -> Value) -> Value { queue.sync { body(record.last) } }

    /// Whether a connection is open.
    var isBusy: Bool { queue.sync { server.isBusy } }
    /// How many requests have come.
    var requests: [HTTPRequest] { queue.sync { record.requests } }
    /// How many clients have gone while they were being answered.
    var gone: Int { queue.sync { record.gone } }

    func waitForRequests(_ count: Int) throws {
        try eventually("\(count) requests") { requests.count >= count ? true : nil }
    }

    func waitUntilIdle() throws { try eventually("the end of all connections") { isBusy ? nil : true } }
}

extension BlockingStream {
    func write(_ text: String) throws { try write(Array(text.utf8)) }

    /// Reads until a text has come; what has come so far if the stream ends before, be it by a reset.
    func read(until end: String) throws -> String {
        var bytes: [UInt8] = []
        while !String(decoding: bytes.suffix(end.utf8.count), as: UTF8.self).hasSuffix(end) {
            let more: [UInt8]
            do throws(SystemError) { more = try read(upTo: 1) } catch {
                guard error.code == ECONNRESET else { throw error }
                more = []
            }
            if more.isEmpty { break }
            bytes += more
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Asks for a path, and reads the whole of a small answer.
    func get(_ path: String) throws -> String {
        try write("GET \(path) HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return try read(until: "\(path) 0")
    }

    /// Whether the other side has ended it, without a byte more.
    func isAtEnd() throws -> Bool { try read(until: "\u{0}").isEmpty }
}
