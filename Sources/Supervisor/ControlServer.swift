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
        /// that half a request must not keep the operator out until `requestTime` is over.
        package var patience = Duration.seconds(1)
        /// For a whole request, from its first byte (of the first: from the connection) to its last.
        package var requestTime = Duration.seconds(30)
        /// Between one answer and the next request.
        package var idleTime = Duration.seconds(60)
        /// Without taking a byte of an answer.
        package var stallTime = Duration.seconds(30)
        /// After an error, for the client to read the answer before the connection is cut.
        package var lingerTime = Duration.seconds(2)
        /// The body of a request, in bytes.
        package var bodyBytes = HTTPLimits.verbBody
        /// What a client may send ahead while its request is being worked on, in bytes.
        package var bytesAhead = 128 << 10
        /// What may wait for a client that follows progress and does not read, in bytes.
        package var bytesBehind = 1 << 20

        /// Creates the limits of the daemon.
        package init() {}
    }

    /// Answers requests. The answer may come at once or later, through the responder, on the same queue.
    package typealias Handler = (
        _ request: ControlRequest, _ peer: PeerCredentials, _ responder: ControlResponder
    ) -> Void

    let queue: DispatchQueue
    let limits: Limits
    let handle: Handler
    private let listener: Descriptor
    private let acceptSource: any DispatchSourceRead
    private let timer: any DispatchSourceTimer
    private var isAcceptingPaused = false
    private var connections: [UInt64: ControlConnection] = [:]
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
        let connection = ControlConnection(id: lastID, stream: stream, peer: peer, right: right, server: self)
        connections[lastID] = connection
        connection.begin()
    }

    /// Ends the connection that can best be done without, if there is one.
    private func makeRoom() {
        func first(_ isMeant: (ControlConnection) -> Bool) -> ControlConnection? {
            connections.values.filter { !adopted.contains($0.id) && isMeant($0) }
                .min { ($0.deadline ?? .max) < ($1.deadline ?? .max) }
        }
        if let idle = first(\.isIdle) { return idle.cut() }
        let now = monotonicNanoseconds()
        first { $0.isSlow(at: now) }?.giveWay()
    }

    /// Best effort: a few bytes that a fresh connection has room for.
    private func turnAway(_ stream: UnixStream) {
        let report = ErrorReport(
            code: "busy", message: "supd has \(limits.connections) control connections open already; try again later")
        let answer = HTTPAnswer.complete(status: 503, body: ControlJSON.encode(report) ?? [], closes: true)
        _ = try? stream.send(answer[...])
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

    func ended(_ id: UInt64) {
        connections[id] = nil
        adopted.remove(id)
        resumeAccepting()
    }

    /// Makes sure that `deadlineReached` is called at an instant or before.
    func arm(for instant: Int64) {
        if let armedFor, armedFor <= instant { return }
        armedFor = instant
        let wait = max(0, instant - monotonicNanoseconds())
        timer.schedule(deadline: .now() + .nanoseconds(Int(wait)), leeway: .milliseconds(50))
    }
}
