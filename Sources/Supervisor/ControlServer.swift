package import ControlAPI
package import Dispatch
package import Platform

/// The daemon's side of the control socket: takes connections, reads requests, and hands each that makes sense to one
/// closure, with something to answer through. It is part of the control plane, where a Dispatch source a connection is
/// good enough. All its calls, and all calls it makes, happen on one serial queue.
///
/// It sleeps while nothing happens: the one timer runs only while a connection is open.
package final class ControlServer {
    /// What a connection may cost.
    package struct Limits: Sendable {
        /// Connections at a time. One more takes the place of an idle one, else of one whose request takes longer than
        /// `patience`, or is turned away with 503.
        package var connections = 64
        /// Connections at a time that were not accepted but handed over, beside those.
        package var adopted = 24
        /// For a request, once its connection's place is wanted by another: clients of ours send theirs in one go, so
        /// that half a request must not keep the operator out until its time is over.
        package var patience = Duration.seconds(1)
        /// Of one connection.
        package var perConnection = HTTPServerLimits(
            requestTime: .seconds(30), idleTime: .seconds(60), stallTime: .seconds(30), lingerTime: .seconds(2),
            bodyBytes: HTTPLimits.verbBody, bytesAhead: 128 << 10, bytesAfter: 1 << 20, bytesBehind: 1 << 20,
            bytesAtOnce: 16 << 20, endsStreamAtEndOfInput: false)

        /// Creates the limits of the daemon.
        package init() {}
    }

    /// Answers requests. The answer may come at once or later, through the responder, on the same queue.
    package typealias Handler = (
        _ request: ControlRequest, _ peer: PeerCredentials, _ responder: ControlResponder
    ) -> Void

    private let queue: DispatchQueue
    private let limits: Limits
    private let handle: Handler
    private let listener: Descriptor
    private let acceptSource: any DispatchSourceRead
    private let timer: any DispatchSourceTimer
    private var isAcceptingPaused = false
    private var connections: [UInt64: HTTPServerConnection] = [:]
    /// Those of them that were handed over.
    private var adopted: Set<UInt64> = []
    private var lastID: UInt64 = 0
    /// When the timer will fire, by `monotonicNanoseconds`.
    private var armedFor: Int64?
    private var isClosed = false

    /// Serves a listening socket, which may already have clients waiting. It is made non-blocking. Call it, and all
    /// else, on `queue`, which must be serial.
    package init(
        listener: Descriptor, queue: DispatchQueue, limits: Limits = Limits(), handler: @escaping Handler
    ) throws(SystemError) {
        try UnixStream.makeNonBlocking(listener)
        self.listener = listener
        self.queue = queue
        self.limits = limits
        handle = handler
        acceptSource = DispatchSource.makeReadSource(fileDescriptor: listener.raw, queue: queue)
        timer = DispatchSource.makeTimerSource(queue: queue)
        timer.schedule(deadline: .distantFuture)
        acceptSource.setEventHandler { [weak self] in self?.connectionsWait() }
        timer.setEventHandler { [weak self] in self?.deadlineReached() }
        // The descriptor must not be closed before Dispatch has let go of it.
        acceptSource.setCancelHandler { [listener] in _ = listener.raw }
        timer.activate()
        acceptSource.activate()
    }

    deinit { close() }

    /// How many connections are open.
    package var connectionCount: Int { connections.count }

    /// Takes no more connections and cuts those that are open; what they wait for is cancelled.
    package func close() {
        guard !isClosed else { return }
        isClosed = true
        // A source must not be cancelled while it is suspended.
        resumeAccepting()
        acceptSource.cancel()
        timer.cancel()
        for connection in Array(connections.values) { connection.cut() }
    }

    // MARK: What happens

    private func connectionsWait() {
        // A bound for one turn; the source fires again while more are waiting.
        for _ in 0..<limits.connections {
            do throws(SystemError) {
                guard let stream = try UnixStream.accept(from: listener) else { return }
                welcome(stream)
            } catch {
                // The listener stays readable: without a pause this would spin.
                pauseAccepting()
                return
            }
        }
    }

    private func welcome(_ stream: UnixStream) {
        guard let peer = try? PeerCredentials(of: stream) else { return }
        if connections.count - adopted.count >= limits.connections {
            makeRoom()
        }
        guard connections.count - adopted.count < limits.connections else {
            turnAway(stream)
            return
        }
        serve(stream, peer, .everything)
    }

    /// Serves a connection that did not come by the socket, with a right of its own; false if there are too many.
    package func adopt(_ stream: UnixStream, peer: PeerCredentials, right: ControlRight) -> Bool {
        guard !isClosed, adopted.count < limits.adopted else { return false }
        adopted.insert(lastID + 1)
        serve(stream, peer, right)
        return true
    }

    /// Cuts all connections that were handed over.
    package func cutAdopted() {
        for id in adopted.sorted() { connections[id]?.cut() }
    }

    private func serve(_ stream: UnixStream, _ peer: PeerCredentials, _ right: ControlRight) {
        lastID += 1
        let id = lastID
        let connection = HTTPServerConnection(stream, queue: queue, limits: limits.perConnection) {
            [weak self] request, connection in
            self?.received(request, peer, right, connection)
        } deadlineChanged: { [weak self] deadline in
            self?.arm(for: deadline)
        } ended: { [weak self] in
            self?.ended(id)
        }
        connections[id] = connection
        connection.begin()
    }

    private func received(
        _ request: HTTPRequest, _ peer: PeerCredentials, _ right: ControlRight, _ connection: HTTPServerConnection
    ) {
        do throws(RouteFailure) {
            let route = try ControlRoute(request)
            try right.check(route, request)
            handle(ControlRequest(route: route), peer, ControlResponder(connection))
        } catch {
            let fields = error.allowed.map { [HTTPField("Allow", $0)] }
            connection.fail(error.status, error.report.code, error.report.message, fields: fields)
        }
    }

    /// Ends the connection that can best be done without, if there is one.
    private func makeRoom() {
        typealias Waiting = (since: Int64, connection: HTTPServerConnection)
        func longest(_ since: (HTTPServerConnection.Phase) -> Int64?) -> Waiting? {
            connections.compactMap { id, connection in
                guard !adopted.contains(id), connection.backlog == 0 else { return nil }
                return since(connection.phase).map { ($0, connection) }
            }
            .min { $0.since < $1.since }
        }
        let idle = longest { phase in if case .idle(let since) = phase { since } else { nil } }
        if let idle { return idle.connection.cut() }
        let asking = longest { phase in if case .reading(let since) = phase { since } else { nil } }
        guard let asking, monotonicNanoseconds() - asking.since >= limits.patience.clampedNanoseconds else { return }
        asking.connection.cut(
            saying: Self.busy(
                408,
                "the request was not complete within \(limits.patience), and another connection needs its place"))
    }

    /// Best effort: a few bytes that a fresh connection has room for.
    private func turnAway(_ stream: UnixStream) {
        let answer = Self.busy(
            503, "supd has \(limits.connections) control connections open already; try again later")
        _ = try? stream.send(answer[...])
    }

    private static func busy(_ status: Int, _ message: String) -> [UInt8] {
        let report = ControlJSON.encode(ErrorReport(code: "busy", message: message)) ?? []
        return HTTPAnswer.complete(status: status, body: report, closes: true)
    }

    private func pauseAccepting() {
        guard !isAcceptingPaused, !isClosed else { return }
        isAcceptingPaused = true
        acceptSource.suspend()
        arm(for: monotonicNanoseconds() + 1_000_000_000)
    }

    private func resumeAccepting() {
        guard isAcceptingPaused else { return }
        isAcceptingPaused = false
        acceptSource.resume()
    }

    private func deadlineReached() {
        armedFor = nil
        resumeAccepting()
        let now = monotonicNanoseconds()
        for connection in Array(connections.values) { connection.timePassed(to: now) }
        if let next = connections.values.compactMap(\.deadline).min() { arm(for: next) }
    }

    // MARK: For connections

    private func ended(_ id: UInt64) {
        connections[id] = nil
        adopted.remove(id)
        resumeAccepting()
    }

    /// Makes sure that `deadlineReached` is called at an instant or before.
    private func arm(for instant: Int64) {
        if let armedFor, armedFor <= instant { return }
        armedFor = instant
        let wait = max(0, instant - monotonicNanoseconds())
        timer.schedule(deadline: .now() + .nanoseconds(Int(wait)), leeway: .milliseconds(50))
    }
}
