import ControlAPI
import Dispatch
import Platform

/// The browsers' side: takes connections, reads requests, and hands each to one closure. All on one serial queue. A Dispatch
/// source a connection is good enough for a page; the balancer's loops are for what is not.
final class WebServer {
    private let queue: DispatchQueue
    private let limits: WebLimits
    /// Answers a request, at once or later.
    private let handle: (HTTPRequest, HTTPServerConnection) -> Void

    private struct Listener {
        var descriptor: Descriptor
        var source: any DispatchSourceRead
        var isPaused = false
    }

    private var listeners: [String: Listener] = [:]
    private var connections: [UInt64: HTTPServerConnection] = [:]
    /// How many are from each address; empty: this machine.
    private var perAddress: [[UInt8]: Int] = [:]
    private var lastID: UInt64 = 0
    /// Called when there is one more connection: from then on time counts.
    var onConnection: (() -> Void)?

    init(
        queue: DispatchQueue, limits: WebLimits, handle: @escaping (HTTPRequest, HTTPServerConnection) -> Void
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

    private func ended(_ id: UInt64, from address: [UInt8]) {
        guard connections.removeValue(forKey: id) != nil else { return }
        let count = (perAddress[address] ?? 1) - 1
        perAddress[address] = count > 0 ? count : nil
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
        serve(stream, from: address)
    }

    /// Serves a client, whom it has room for.
    @discardableResult
    func serve(_ stream: UnixStream, from address: [UInt8]) -> HTTPServerConnection {
        lastID += 1
        let id = lastID
        let connection = HTTPServerConnection(
            stream, queue: queue, limits: limits.perConnection, fields: PageFiles.securityFields,
            usualFields: [HTTPField("Cache-Control", "no-store")], handle: handle
        ) { [weak self] in
            self?.ended(id, from: address)
        }
        connections[id] = connection
        perAddress[address, default: 0] += 1
        onConnection?()
        connection.begin()
        return connection
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

extension HTTPServerConnection {
    /// How soon it can make room for another: the lower the sooner; nil: not at all.
    var rank: Int64? {
        guard backlog == 0 else { return nil }
        switch phase {
        case .idle, .lingering: return 0
        // Browsers send theirs in one go: the oldest of those that have not said what they want is no browser's.
        case .reading(let since): return since
        case .working, .streaming, .closed: return nil
        }
    }
}
