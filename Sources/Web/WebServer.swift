import ControlAPI
import Dispatch
import Platform

/// The browsers' side: takes connections, reads requests, and hands each to one closure. All on one serial queue. A Dispatch
/// source a connection is good enough for a page; the balancer's loops are for what is not.
final class WebServer {
    let queue: DispatchQueue
    let limits: WebLimits
    /// Answers a request, at once or later.
    let handle: (HTTPRequest, WebConnection) -> Void

    private struct Listener {
        var descriptor: Descriptor
        var source: any DispatchSourceRead
        var isPaused = false
    }

    private var listeners: [String: Listener] = [:]
    private var connections: [UInt64: WebConnection] = [:]
    private var perAddress: [[UInt8]: Int] = [:]
    private var lastID: UInt64 = 0
    /// Called when there is one more connection: from then on time counts.
    var onConnection: (() -> Void)?

    init(
        queue: DispatchQueue, limits: WebLimits, handle: @escaping (HTTPRequest, WebConnection) -> Void
    ) {
        self.queue = queue
        self.limits = limits
        self.handle = handle
    }

    /// The listeners that are served.
    var listenerIDs: [String] { listeners.keys.sorted() }

    /// Whether anybody is there.
    var isBusy: Bool { !connections.isEmpty || listeners.values.contains(where: \.isPaused) }

    /// Serves a listening socket; one that is known is kept.
    func add(_ id: String, _ descriptor: Descriptor) {
        guard listeners[id] == nil, (try? UnixStream.makeNonBlocking(descriptor)) != nil else { return }
        let source = DispatchSource.makeReadSource(fileDescriptor: descriptor.raw, queue: queue)
        source.setEventHandler { [weak self] in self?.connectionsWait(id) }
        source.setCancelHandler { _ = descriptor.raw }
        listeners[id] = Listener(descriptor: descriptor, source: source)
        source.activate()
    }

    /// Closes all listeners but some.
    func keepOnly(_ ids: Set<String>) {
        for id in listenerIDs where !ids.contains(id) {
            resumeAccepting(id)
            listeners.removeValue(forKey: id)?.source.cancel()
        }
    }

    /// Called about twice a second while `isBusy`.
    func timePassed(to now: Int64) {
        for id in listenerIDs { resumeAccepting(id) }
        for connection in Array(connections.values) { connection.timePassed(to: now) }
    }

    func ended(_ connection: WebConnection) {
        guard connections.removeValue(forKey: connection.id) != nil else { return }
        let count = (perAddress[connection.address] ?? 1) - 1
        perAddress[connection.address] = count > 0 ? count : nil
    }

    private func connectionsWait(_ id: String) {
        // A bound for one turn; the source fires again while more are waiting.
        for _ in 0..<64 {
            guard let listener = listeners[id] else { return }
            do throws(SystemError) {
                guard let stream = try UnixStream.accept(from: listener.descriptor) else { return }
                try UnixStream.makeNonBlocking(stream.descriptor)
                welcome(stream, try SocketAddress.remote(of: stream.descriptor).hostBytes)
            } catch {
                // A client that has gone again, or no descriptors: without a pause the latter would spin.
                if [ErrorCode.tooManyFiles, ErrorCode.tooManyFilesInSystem].contains(error.code) {
                    return pauseAccepting(id)
                }
            }
        }
    }

    private func welcome(_ stream: UnixStream, _ host: [UInt8]) {
        let address = limits.sparesThisMachine && Self.isLoopback(host) ? [] : host
        if connections.count >= limits.connections { makeRoom() }
        guard connections.count < limits.connections,
            address.isEmpty || (perAddress[address] ?? 0) < limits.connectionsPerAddress
        else { return }
        lastID += 1
        let connection = WebConnection(id: lastID, stream: stream, address: address, server: self)
        connections[lastID] = connection
        perAddress[address, default: 0] += 1
        onConnection?()
        connection.begin()
    }

    /// Ends the connection that can best be done without, if there is one.
    private func makeRoom() {
        let ranked = connections.values.compactMap { connection in connection.rank.map { ($0, connection) } }
        ranked.min { $0.0 < $1.0 }?.1.cut()
    }

    private func pauseAccepting(_ id: String) {
        guard listeners[id]?.isPaused == false else { return }
        listeners[id]?.isPaused = true
        listeners[id]?.source.suspend()
    }

    private func resumeAccepting(_ id: String) {
        guard listeners[id]?.isPaused == true else { return }
        listeners[id]?.isPaused = false
        listeners[id]?.source.resume()
    }

    static func isLoopback(_ host: [UInt8]) -> Bool {
        host.first == 127 && host.count == 4 || host == Array(repeating: 0, count: 15) + [1]
    }
}
