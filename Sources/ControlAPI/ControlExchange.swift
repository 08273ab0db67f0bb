import Platform

/// One request and its answer on a connection of their own.
struct ControlExchange {
    private let stream: UnixStream
    private let path: String
    private let deadline: Int64?
    private var parser = HTTPResponseParser()
    /// What has come of the body; up to `taken` it was given out, up to `scanned` it has no line's end.
    private var pending: [UInt8] = []
    private var taken = 0
    private var scanned = 0
    private var isComplete = false
    private var isClosed = false

    /// Connects, sends the request, and reads the head of the answer. An answer that is an error is thrown.
    init(_ request: HTTPRequest, socketPath: String, deadline: Int64?) throws(ControlClientError) {
        path = socketPath
        self.deadline = deadline
        do throws(SystemError) {
            stream = try UnixStream.connect(to: socketPath)
        } catch {
            throw .unreachable(path: socketPath, error)
        }
        var request = request
        request.fields.append(HTTPField("Connection", "close"))
        try send(request.serialized())
        guard case .head(let status, _) = try nextPart() else {
            throw .notUnderstood(path, "a body before its head")
        }
        guard (200...299).contains(status) else {
            let body = try readAll()
            guard let report = ControlJSON.decode(ErrorReport.self, from: body) else {
                throw .notUnderstood(path, "status \(status) without an explanation")
            }
            throw .refused(status: status, report.error)
        }
    }

    /// The rest of the body.
    mutating func readAll() throws(ControlClientError) -> [UInt8] {
        while try readMore() {}
        defer { pending = [] }
        return pending
    }

    /// The next line of the body that is not empty; nil at its end.
    mutating func readLine() throws(ControlClientError) -> [UInt8]? {
        while true {
            if let end = pending[scanned...].firstIndex(of: UInt8(ascii: "\n")) {
                let line = Array(pending[taken..<end])
                (taken, scanned) = (end + 1, end + 1)
                if !line.isEmpty { return line }
                continue
            }
            // Once for all lines that have come together: what is left is less than one.
            pending.removeFirst(taken)
            (taken, scanned) = (0, pending.count)
            guard pending.count <= HTTPLimits.line else { throw .notUnderstood(path, "a line without end") }
            guard try readMore() else {
                defer { (pending, scanned) = ([], 0) }
                return pending.isEmpty ? nil : pending
            }
        }
    }

    /// Adds a piece of the body to `pending`; false at its end.
    private mutating func readMore() throws(ControlClientError) -> Bool {
        guard !isComplete else { return false }
        switch try nextPart() {
        case .body(let piece): pending += piece
        case .end: isComplete = true
        case .head: throw .notUnderstood(path, "a second head")
        }
        return !isComplete
    }

    private mutating func nextPart() throws(ControlClientError) -> HTTPResponseParser.Part {
        while true {
            do throws(HTTPResponseParser.Violation) {
                if let part = try parser.next() { return part }
            } catch {
                // An end in the middle is the fate of a connection whose supervisor died, not a fault in what it said.
                throw isClosed ? .lost(path) : .notUnderstood(path, error.description)
            }
            try receive()
        }
    }

    private mutating func receive() throws(ControlClientError) {
        do throws(SystemError) {
            while true {
                switch try stream.receive() {
                case .bytes(let bytes):
                    parser.append(bytes)
                    return
                case .end:
                    isClosed = true
                    parser.close()
                    return
                case .wouldBlock:
                    guard try stream.wait(for: .readable, until: deadline) else { throw Self.timeout }
                }
            }
        } catch {
            throw error == Self.timeout ? .timedOut(path) : .lost(path)
        }
    }

    private func send(_ bytes: [UInt8]) throws(ControlClientError) {
        var rest = bytes[...]
        do throws(SystemError) {
            while !rest.isEmpty {
                let count = try stream.send(rest)
                rest = rest.dropFirst(count)
                if count == 0, try !stream.wait(for: .writable, until: deadline) { throw Self.timeout }
            }
        } catch {
            if error == Self.timeout { throw .timedOut(path) }
            // Whoever stopped reading may have said why before: the answer is looked for all the same.
        }
    }

    /// Stands for a deadline that has passed, among the errors of the system.
    private static let timeout = SystemError(call: "deadline", code: 0)
}
