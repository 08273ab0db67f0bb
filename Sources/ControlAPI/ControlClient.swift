import Platform

/// The client's side of the control socket: one request a connection. It blocks; it is for programs that have nothing
/// else to do.
package struct ControlClient: Sendable {
    /// The path of the control socket.
    package let socketPath: String

    /// Creates a client; nothing is connected yet.
    package init(socketPath: String) { self.socketPath = socketPath }

    /// Asks, and returns the JSON text of the answer. A question that changes nothing is asked again when the
    /// supervisor went away in the middle, since its successor takes over the socket.
    package func ask(_ route: ControlRoute, timeout: Duration = .seconds(30)) throws(ControlClientError) -> [UInt8] {
        let deadline = instant(after: timeout)
        let request = route.request
        var attempts = request.method == "GET" ? 3 : 1
        while true {
            do throws(ControlClientError) {
                var exchange = try ControlExchange(request, socketPath: socketPath, deadline: deadline)
                return try exchange.readAll()
            } catch {
                attempts -= 1
                guard case .lost = error, attempts > 0 else { throw error }
            }
        }
    }

    /// Asks, and reads the answer as a value.
    package func ask<Answer: Decodable>(
        _ route: ControlRoute, as type: Answer.Type, timeout: Duration = .seconds(30)
    ) throws(ControlClientError) -> Answer {
        guard let answer = ControlJSON.decode(type, from: try ask(route, timeout: timeout)) else {
            throw .notUnderstood(socketPath, "the answer is not what this version of supctl expects")
        }
        return answer
    }

    /// Asks for a change and follows its progress; returns the last line, the one with a result. `onProgress` gets the
    /// lines before it. No timeout: as long as it takes.
    package func follow(
        _ route: ControlRoute, timeout: Duration? = nil, onProgress: (ProgressLine) -> Void
    ) throws(ControlClientError) -> ProgressLine {
        var exchange = try ControlExchange(
            route.request, socketPath: socketPath, deadline: timeout.map(instant(after:)))
        while let text = try exchange.readLine() {
            guard let line = ControlJSON.decode(ProgressLine.self, from: text) else {
                throw .notUnderstood(socketPath, "a line of the answer is not what this version of supctl expects")
            }
            if line.result != nil { return line }
            onProgress(line)
        }
        throw .lost(socketPath)
    }

    private func instant(after timeout: Duration) -> Int64 {
        monotonicNanoseconds() + timeout.clampedNanoseconds
    }
}

/// An answer in lines that come for as long as both sides stay; it blocks, as the client does.
package struct ControlStream {
    private var exchange: ControlExchange

    /// Asks. No deadline: lines may be long in coming.
    package init(_ route: ControlRoute, of client: ControlClient) throws(ControlClientError) {
        exchange = try ControlExchange(route.request, socketPath: client.socketPath, deadline: nil)
    }

    /// The next line without its end; nil at the end of the answer.
    package mutating func next() throws(ControlClientError) -> [UInt8]? { try exchange.readLine() }
}
