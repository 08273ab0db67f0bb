package import ControlAPI

/// Answers one request: either by one JSON text (`finish(json:)`), or by a stream of JSON lines (`begin`, `send`,
/// `finish`). A request that nobody answers is answered with an error when the responder is forgotten. What is said
/// after the end, or to a client that has gone, is dropped. To be used on the server's queue alone.
package final class ControlResponder {
    private weak var connection: HTTPServerConnection?
    private var isStreaming = false
    private var isFinished = false
    private var cancellation: (() -> Void)?
    private var roomAction: (() -> Void)?

    /// Whether the client has gone; nothing that is said reaches anybody.
    package private(set) var isCancelled = false

    /// Creates one; without a connection, as if the client had gone.
    init(_ connection: HTTPServerConnection?) {
        self.connection = connection
        connection?.onGone = { [weak self] in self?.cancel() }
        connection?.onRoom = { [weak self] in self?.roomCame() }
    }

    deinit {
        guard !isFinished, !isCancelled else { return }
        fail(500, code: "failed", "supd has forgotten this request; this is a bug in supd")
    }

    /// Calls a closure, once, when the client goes before the answer is complete; at once if it has gone already.
    package func onCancel(_ action: @escaping () -> Void) {
        if isCancelled { action() } else if !isFinished { cancellation = action }
    }

    /// Answers with a value as JSON, and ends. In a stream: the value is the last line.
    package func finish(json value: some Encodable, status: Int = 200) {
        if let text = ControlJSON.encode(value) {
            finish(status: status, text)
        } else {
            fail(500, code: "failed", "supd cannot express the answer as JSON; this is a bug in supd")
        }
    }

    /// Answers with a text of another type than JSON, and ends. Not in a stream.
    package func finish(_ text: [UInt8], type: String) {
        guard !isStreaming, end() else { return }
        connection?.answer(200, type: type, text)
    }

    /// Answers with an `ErrorReport`, and ends. In a stream, whose status is long gone: a last line that failed.
    package func fail(_ status: Int, code: String, _ message: String) {
        if isStreaming {
            finish(json: ProgressLine(result: code == "timeout" ? code : "failed", message: message))
        } else {
            finish(json: ErrorReport(code: code, message: message), status: status)
        }
    }

    /// Begins a stream with status 200: the client gets its head now, and knows that it is being served.
    package func begin() {
        guard !isStreaming, !isFinished, !isCancelled else { return }
        isStreaming = true
        connection?.beginStream(type: "application/x-ndjson")
    }

    /// Sends one line of a stream, and begins it if need be.
    package func send(_ line: ProgressLine) {
        begin()
        guard !isFinished, !isCancelled, let text = ControlJSON.encode(line) else { return }
        connection?.send(text + [UInt8(ascii: "\n")])
    }

    /// Sends lines of a stream as they are, with their ends, and begins it if need be.
    package func send(lines: [UInt8]) {
        begin()
        guard !isFinished, !isCancelled else { return }
        connection?.send(lines)
    }

    /// Whether the client has been sent all that was said.
    package var hasRoom: Bool { connection?.backlog == 0 }

    /// Calls a closure whenever the client, which was slower than what was said, has been sent all of it.
    package func onRoom(_ action: @escaping () -> Void) { roomAction = action }

    /// All is sent.
    private func roomCame() { if !isFinished, !isCancelled { roomAction?() } }

    /// Ends a stream.
    package func finish() {
        begin()
        guard end() else { return }
        connection?.endStream()
    }

    /// Answers with a JSON text that is written already, and ends.
    package func finish(text: [UInt8]) { finish(status: 200, text) }

    private func finish(status: Int, _ text: [UInt8]) {
        guard end() else { return }
        if isStreaming {
            connection?.send(text + [UInt8(ascii: "\n")])
            connection?.endStream()
        } else {
            connection?.answer(status, text)
        }
    }

    /// The client has gone.
    private func cancel() {
        guard !isFinished, !isCancelled else { return }
        isCancelled = true
        let action = cancellation
        cancellation = nil
        roomAction = nil
        action?()
    }

    /// Marks the end; false if it was reached before.
    private func end() -> Bool {
        guard !isFinished, !isCancelled else { return false }
        isFinished = true
        cancellation = nil
        roomAction = nil
        return true
    }
}
