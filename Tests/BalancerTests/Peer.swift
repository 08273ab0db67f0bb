import CPlatform
import Glibc
import Platform
import TestSupport

/// One blocking socket of a test. Every call gives up after 30 s, which only a failing test reaches.
final class Peer: @unchecked Sendable {
    private(set) var raw: Int32
    /// The balancer may take a connection and reset it before connect(2) has returned, which then tells of it instead of
    /// the first read.
    private var wasResetInConnect = false

    init(_ raw: Int32) {
        self.raw = raw
        let flags = fcntl(raw, F_GETFL)
        _ = fcntl(raw, F_SETFL, flags & ~O_NONBLOCK)
        var patience = timeval(tv_sec: 30, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(raw, SOL_SOCKET, option, &patience, socklen_t(MemoryLayout<timeval>.size))
        }
    }

    deinit { close() }

    /// Connects to a port of 127.0.0.1 from an address 127.0.0.x. `receiveBuffer`: SO_RCVBUF in bytes.
    static func connect(port: UInt16, from host: UInt8 = 1, receiveBuffer: Int32? = nil) throws -> Peer {
        let peer = Peer(
            try systemCall("socket") { socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0) })
        if var receiveBuffer {
            setsockopt(peer.raw, SOL_SOCKET, SO_RCVBUF, &receiveBuffer, socklen_t(MemoryLayout<Int32>.size))
        }
        if host != 1 { _ = supd_bind_loopback(peer.raw, host) }
        let result = supd_connect_loopback(peer.raw, port)
        peer.wasResetInConnect = result == -ECONNRESET
        guard result == 0 || peer.wasResetInConnect else { throw SystemError(call: "connect", code: -result) }
        return peer
    }

    /// Connects to a port of ::1.
    static func connect6(port: UInt16) throws -> Peer {
        let peer = Peer(
            try systemCall("socket") { socket(AF_INET6, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0) }
        )
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        address.sin6_port = port.bigEndian
        address.sin6_addr = in6addr_loopback
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                Glibc.connect(peer.raw, generic, socklen_t(MemoryLayout<sockaddr_in6>.size)) == 0 ? 0 : errno
            }
        }
        peer.wasResetInConnect = result == ECONNRESET
        guard result == 0 || peer.wasResetInConnect else { throw SystemError(call: "connect", code: result) }
        return peer
    }

    /// Connects to a path.
    static func connect(path: String) throws -> Peer {
        let peer = Peer(
            try systemCall("socket") { socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0) })
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        _ = try withUnsafePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                try systemCall("connect") {
                    Glibc.connect(peer.raw, generic, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        }
        return peer
    }

    /// Sends all; throws if the connection does not take it.
    func send(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            sent += try bytes.withUnsafeBytes { buffer in
                try systemCall("send") {
                    guard let base = buffer.baseAddress else { return 0 }
                    return Glibc.send(raw, base + sent, buffer.count - sent, Int32(MSG_NOSIGNAL))
                }
            }
        }
    }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    /// Sends one byte out of band.
    func sendUrgent(_ byte: UInt8) throws {
        var byte = byte
        try systemCall("send") { Glibc.send(raw, &byte, 1, Int32(MSG_NOSIGNAL) | Int32(MSG_OOB)) }
    }

    /// What one recv(2) gives; empty at the end.
    func receiveSome(_ limit: Int = 65536) throws -> [UInt8] {
        if wasResetInConnect { throw SystemError(call: "recv", code: ECONNRESET) }
        return try [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            count = try systemCall("recv") { recv(raw, buffer.baseAddress, limit, 0) }
        }
    }

    /// Exactly so many bytes; throws at an early end.
    func receive(_ count: Int) throws -> [UInt8] {
        var all: [UInt8] = []
        while all.count < count {
            let some = try receiveSome(count - all.count)
            if some.isEmpty { throw TestFailure("the end came after \(all.count) of \(count) bytes") }
            all += some
        }
        return all
    }

    func receiveText(_ count: Int) throws -> String { String(decoding: try receive(count), as: UTF8.self) }

    /// All bytes up to the end.
    func receiveToEnd() throws -> [UInt8] {
        var all: [UInt8] = []
        while true {
            let some = try receiveSome()
            if some.isEmpty { return all }
            all += some
        }
    }

    /// The errno that ends the connection, and the bytes before it; 0 for an orderly end.
    func receiveToEndOrError() -> (bytes: [UInt8], code: Int32) {
        var all: [UInt8] = []
        do {
            while true {
                let some = try receiveSome()
                if some.isEmpty { return (all, 0) }
                all += some
            }
        } catch {
            return (all, (error as? SystemError)?.code ?? -1)
        }
    }

    /// Whether something, or the end, can be received within a time.
    func isReadable(within milliseconds: Int32) -> Bool {
        var entry = pollfd(fd: raw, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, milliseconds) > 0
    }

    /// Whether what comes first is this text.
    func receiveToEndOrText(_ text: String) -> Bool {
        (try? receive(text.utf8.count)) == Array(text.utf8)
    }

    func finishWriting() { _ = shutdown(raw, Int32(SHUT_WR)) }

    func close() {
        guard raw >= 0 else { return }
        closeConnection(raw)
        raw = -1
    }

    func reset() {
        guard raw >= 0 else { return }
        resetConnection(raw)
        raw = -1
    }
}

/// A server of a test: a listening socket on a port of its own, accepted from by hand.
final class Backend: @unchecked Sendable {
    private(set) var listener: Descriptor?
    let port: UInt16

    init(backlog: Int32 = 4096) throws {
        let socket = try listen(on: .ipv4("127.0.0.1", port: 0), backlog: backlog)
        port = try SocketAddress.local(of: socket).port ?? 0
        listener = socket
    }

    /// Takes over a listening socket.
    init(_ socket: Descriptor, port: UInt16) {
        listener = socket
        self.port = port
    }

    /// Takes the next connection, within 30 s.
    func accept() throws -> Peer {
        guard let listener else { throw TestFailure("the backend is closed") }
        guard waits(milliseconds: 30_000) else { throw TestFailure("nobody connected to port \(port)") }
        let raw = supd_accept(listener.raw)
        guard raw >= 0 else { throw SystemError(call: "accept4", code: -raw) }
        return Peer(raw)
    }

    /// Whether a connection waits to be accepted.
    func waits(milliseconds: Int32 = 0) -> Bool {
        guard let listener else { return false }
        var entry = pollfd(fd: listener.raw, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, milliseconds) > 0
    }

    /// Accepts all that wait.
    func acceptAll() throws -> [Peer] {
        var peers: [Peer] = []
        while waits() { peers.append(try accept()) }
        return peers
    }

    /// Stops listening: connects are refused, what waited is reset. The port stays bound, so that no other test's
    /// server gets it and its connections.
    func close() {
        stopListening()
        reservation = try? reserve(port)
    }

    /// Gives up its port, too.
    func leave() {
        stopListening()
        reservation = nil
    }

    private func stopListening() {
        if let listener { endListening(listener) }
        listener = nil
    }

    private var reservation: Descriptor?

    private func reserve(_ port: UInt16) throws -> Descriptor {
        let socket = Descriptor(owning: supd_tcp_socket())
        var one: Int32 = 1
        setsockopt(socket.raw, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        try socket.bindLoopback(port)
        return socket
    }
}

/// Runs bodies in threads of their own, which may wait for each other, and throws what the first one threw.
func concurrently(_ bodies: (@Sendable () throws -> Void)...) throws {
    let failures = FailureBox()
    let threads = try bodies.map { body in try TestThread { failures.run(body) } }
    for thread in threads { thread.join() }
    if let failure = failures.first { throw failure }
}

/// Compares by memcmp(3): `==` is slow where nothing is optimised.
func areEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    left.count == right.count && memcmp(left, right, left.count) == 0
}

/// A repeatable stream of bytes: one block again and again, of a prime length, so that no shift by a buffer's size goes
/// unseen. The seed says where in the block it begins.
struct Pattern {
    private static let block: [UInt8] = [UInt8](unsafeUninitializedCapacity: 65_521) { buffer, count in
        var state: UInt64 = 1
        for index in 0..<65_521 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            buffer[index] = UInt8(truncatingIfNeeded: state >> 33)
        }
        count = 65_521
    }

    private var position: Int

    init(seed: UInt64) { position = Int(seed &* 7919 % 65_521) }

    mutating func next(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            let size = min(count - bytes.count, Self.block.count - position)
            bytes += Self.block[position..<position + size]
            position = (position + size) % Self.block.count
        }
        return bytes
    }
}

extension Peer {
    /// Sends so many bytes of a pattern.
    func sendPattern(_ seed: UInt64, count: Int) throws {
        var pattern = Pattern(seed: seed)
        var left = count
        while left > 0 {
            let size = min(left, 1 << 16)
            try send(pattern.next(size))
            left -= size
        }
    }

    /// Receives so many bytes and compares them.
    func receivePattern(_ seed: UInt64, count: Int) throws {
        var pattern = Pattern(seed: seed)
        var left = count
        while left > 0 {
            let size = min(left, 1 << 16)
            guard areEqual(try receive(size), pattern.next(size)) else {
                throw TestFailure("wrong bytes within \(size) after \(count - left)")
            }
            left -= size
        }
    }
}
