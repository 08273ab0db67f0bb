import CPlatform
import Glibc
import Platform
import TestSupport

/// A server of a test: a port of 127.0.0.1 that is accepted from by hand, or by threads.
final class Server: Sendable {
    let port: UInt16
    private let socket: Descriptor
    private let backlog: Int32
    /// Keeps the port ours while nobody listens.
    private let reservation: Descriptor

    /// Listens on a port of the kernel's choice, or only has it.
    init(listens: Bool = true, backlog: Int32 = 4096) throws {
        (port, reservation) = try freePort()
        // Bound by number, so that a socket that stops listening keeps it.
        socket = try Platform.listen(on: .ipv4("127.0.0.1", port: port), backlog: backlog)
        self.backlog = backlog
        if !listens { stopListening() }
    }

    /// Refuses from now on, and resets what was not accepted, but keeps the port: shutdown(2) takes a listening socket
    /// back to where bind(2) had left it.
    func stopListening() { _ = shutdown(socket.raw, Int32(SHUT_RDWR)) }

    /// Listens again.
    func startListening() throws { try systemCall("listen") { Glibc.listen(socket.raw, backlog) } }

    /// Whether it listens: SO_ACCEPTCONN.
    var listens: Bool {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(socket.raw, SOL_SOCKET, SO_ACCEPTCONN, &value, &length) == 0 && value != 0
    }

    /// Takes a connection that waits; nil if none does.
    func acceptWaiting() throws -> Wire? {
        let raw = supd_accept(socket.raw)
        if raw >= 0 { return Wire(raw) }
        // EINVAL: not listening.
        if raw == -EAGAIN || raw == -EINVAL || raw == -ECONNABORTED { return nil }
        throw SystemError(call: "accept4", code: -raw)
    }

    /// Whether a connection waits within a time.
    func hasWaiting(within milliseconds: Int32 = 0) -> Bool {
        listens && isReady(socket.raw, Int16(POLLIN), milliseconds)
    }

    /// Connects to this server until it takes no more: the kernel drops further SYNs until something is accepted.
    func fillBacklog() throws -> [Wire] {
        var wires: [Wire] = []
        while wires.count < 64 {
            let wire = try Wire.unconnected()
            _ = fcntl(wire.raw, F_SETFL, fcntl(wire.raw, F_GETFL) | O_NONBLOCK)
            _ = supd_connect_loopback(wire.raw, port)
            wires.append(wire)
            if !isReady(wire.raw, Int16(POLLOUT), 100) { return wires }
        }
        throw TestFailure("the backlog of port \(port) has no end")
    }

    /// Takes the next connection of several servers, within 30 s.
    static func accept(_ servers: [Server]) throws -> Wire {
        let deadline = monotonicNanoseconds() + 30_000_000_000
        while monotonicNanoseconds() < deadline {
            // -1 is passed over: a socket that does not listen would be reported at once.
            var entries = servers.map { server in
                pollfd(fd: server.listens ? server.socket.raw : -1, events: Int16(POLLIN), revents: 0)
            }
            guard poll(&entries, nfds_t(entries.count), 1000) > 0 else { continue }
            for (server, entry) in zip(servers, entries) where entry.revents & Int16(POLLIN) != 0 {
                if let wire = try server.acceptWaiting() { return wire }
            }
        }
        throw TestFailure("nobody connected in 30 s")
    }

    /// Handles every connection by `handle`, in so many threads, while `body` runs. What a handler throws is thrown.
    func serving<Result>(
        threads: Int = 1, by handle: @escaping @Sendable (Wire) throws -> Void, while body: () throws -> Result
    ) throws -> Result {
        let isDone = Lock(false)
        let workers = try (0..<threads).map { _ in
            try Worker { [self] in
                while !isDone.withLock({ $0 }) {
                    guard hasWaiting(within: 20), let wire = try acceptWaiting() else { continue }
                    try handle(wire)
                }
            }
        }
        let result = Swift.Result { try body() }
        isDone.withLock { $0 = true }
        for worker in workers { try worker.join() }
        return try result.get()
    }
}
