import CMatrixSupport
import CPlatform
import Glibc
import Platform
import TestSupport

/// One raw, blocking TCP or Unix socket of a test. Every call gives up after `patience`, which only a failing test reaches.
final class Wire: @unchecked Sendable {
    /// How a stream ended.
    enum End: Equatable, CustomStringConvertible {
        /// By a FIN.
        case orderly
        /// By a RST (ECONNRESET), or another errno.
        case reset(Int32)

        static let reset = End.reset(ECONNRESET)

        var description: String {
            switch self {
            case .orderly: "an orderly end"
            case .reset(ECONNRESET): "a reset"
            case .reset(let code): errorMessage(code)
            }
        }
    }

    /// How a client connects.
    struct Manner {
        /// The last byte of its address 127.0.0.x; the kernel chooses the port when it connects.
        var host: UInt8 = 1
        /// SO_RCVBUF in bytes; nil: the kernel's own choice.
        var receiveBuffer: Int32?
        /// The ACK that ends the handshake is kept back, to travel with the first bytes.
        var delaysHandshake = false
        /// From ::1 to ::1, whatever `host` says.
        var isIPv6 = false
    }

    private static let patience = 30
    private(set) var raw: Int32
    private let buffer = UnsafeMutableRawPointer.allocate(byteCount: Pattern.window, alignment: 4096)

    /// Takes over a socket.
    init(_ raw: Int32) {
        self.raw = raw
        _ = fcntl(raw, F_SETFL, fcntl(raw, F_GETFL) & ~O_NONBLOCK)
        var patience = timeval(tv_sec: Self.patience, tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(raw, SOL_SOCKET, option, &patience, socklen_t(MemoryLayout<timeval>.size))
        }
    }

    /// The proxy may take a connection and reset it before connect(2) has returned, which then tells of it.
    private var wasResetInConnect = false

    deinit {
        close()
        buffer.deallocate()
    }

    /// A socket that is not connected.
    static func unconnected(_ manner: Manner = Manner()) throws -> Wire {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let wire = Wire(try systemCall("socket") { socket(manner.isIPv6 ? AF_INET6 : AF_INET, type, 0) })
        if let size = manner.receiveBuffer { wire.set(SOL_SOCKET, SO_RCVBUF, size) }
        if manner.delaysHandshake { wire.set(Int32(IPPROTO_TCP), TCP_QUICKACK, 0) }
        if manner.host != 1, !manner.isIPv6 {
            let result = supd_bind_loopback(wire.raw, manner.host)
            guard result == 0 else { throw SystemError(call: "bind", code: -result) }
        }
        return wire
    }

    /// Connects to a port of 127.0.0.1, or of ::1.
    static func connect(_ port: UInt16, _ manner: Manner = Manner()) throws -> Wire {
        let wire = try unconnected(manner)
        let result =
            manner.isIPv6
            ? (matrix_connect_ipv6(wire.raw, port) < 0 ? -errno : 0) : supd_connect_loopback(wire.raw, port)
        wire.wasResetInConnect = result == -ECONNRESET
        guard result == 0 || wire.wasResetInConnect else { throw SystemError(call: "connect", code: -result) }
        return wire
    }

    /// Connects to a Unix socket.
    static func connect(path: String) throws -> Wire {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { throw TestFailure("too long: \(path)") }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let wire = Wire(try systemCall("socket") { socket(AF_UNIX, type, 0) })
        try withUnsafePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                _ = try systemCall("connect", path) {
                    Glibc.connect(wire.raw, generic, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        }
        return wire
    }

    /// Connects to a port of 127.0.0.1 by a SYN that carries so many bytes of a pattern, where that is allowed.
    static func connect(_ port: UInt16, _ manner: Manner, saying pattern: inout Pattern, _ count: Int) throws -> Wire {
        let wire = try unconnected(manner)
        let bytes = pattern.next(count)
        pattern.advance(
            try systemCall("sendto") { matrix_send_with_syn(wire.raw, port, bytes.baseAddress, bytes.count) })
        return wire
    }

    /// Whether its SYN has carried bytes, and they were taken.
    var synCarriedData: Bool { matrix_syn_carried_data(raw) != 0 }

    private func set(_ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        setsockopt(raw, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Its own address, as 127.0.0.1:80; or its peer's.
    func name(ofPeer: Bool = false) throws -> String {
        try withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { text in
            try systemCall("getsockname") { matrix_name_of(raw, ofPeer ? 1 : 0, text.baseAddress, text.count) }
            return text.baseAddress.map { String(cString: $0) } ?? ""
        }
    }

    // MARK: Sending

    /// Sends bytes, all of them.
    func send(_ bytes: UnsafeRawBufferPointer, flags: Int32 = 0) throws {
        guard let base = bytes.baseAddress else { return }
        var sent = 0
        while sent < bytes.count {
            sent += try systemCall("send") {
                Glibc.send(raw, base + sent, bytes.count - sent, Int32(MSG_NOSIGNAL) | flags)
            }
        }
    }

    func send(_ text: String) throws { try send(Array(text.utf8)) }

    func send(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try send($0) } }

    /// Sends one byte as urgent.
    func sendUrgent(_ text: String) throws {
        try Array(text.utf8).withUnsafeBytes { try send($0, flags: Int32(MSG_OOB)) }
    }

    /// Sends the next bytes of a pattern.
    func send(_ pattern: inout Pattern, _ count: Int, pieces: Int = Pattern.window) throws {
        var left = count
        while left > 0 {
            let piece = pattern.next(min(left, pieces))
            try send(piece)
            pattern.advance(piece.count)
            left -= piece.count
        }
    }

    /// Sends zeros in so many pages of their own.
    func sendPages(_ count: Int) throws { try systemCall("sendfile") { matrix_send_pages(raw, count << 12) } }

    /// Sends what the socket takes now of a pattern's next bytes; nil when the connection takes no more at all.
    func sendSome(_ pattern: inout Pattern, _ count: Int, flags: Int32 = 0) -> Int? {
        let bytes = pattern.next(count)
        let sent = Glibc.send(raw, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT) | flags)
        if sent < 0 { return errno == EAGAIN ? 0 : nil }
        pattern.advance(sent)
        return sent
    }

    func finishWriting() { _ = shutdown(raw, Int32(SHUT_WR)) }

    // MARK: Receiving

    /// What one look gives.
    enum Receipt {
        case bytes(UnsafeRawBufferPointer)
        case end(End)
        /// Nothing now, or nothing within the patience.
        case nothing
    }

    /// Receives once; `waits`: until there is something. The bytes are good until the next call.
    func receiveOnce(atMost limit: Int = Pattern.window, waits: Bool = true) -> Receipt {
        if wasResetInConnect { return .end(.reset) }
        while true {
            let count = recv(raw, buffer, min(limit, Pattern.window), waits ? 0 : Int32(MSG_DONTWAIT))
            if count > 0 { return .bytes(UnsafeRawBufferPointer(start: buffer, count: count)) }
            if count == 0 { return .end(.orderly) }
            if errno == EINTR { continue }
            return errno == EAGAIN ? .nothing : .end(.reset(errno))
        }
    }

    /// Receives and compares until there were so many bytes, or to the end, which it answers.
    @discardableResult
    func receive(_ pattern: inout Pattern, _ count: Int = .max, pieces: Int = Pattern.window) throws -> End? {
        var left = count
        while left > 0 {
            switch receiveOnce(atMost: min(left, pieces)) {
            case .bytes(let bytes):
                let position = pattern.position
                guard pattern.takes(bytes) else {
                    throw TestFailure("wrong bytes among the \(bytes.count) after \(position)")
                }
                left -= bytes.count
            case .end(let end):
                if count == .max { return end }
                throw TestFailure("\(end) after \(count - left) of \(count) bytes")
            case .nothing: throw TestFailure("nothing came in \(Self.patience) s after \(pattern.position) bytes")
            }
        }
        return nil
    }

    /// Exactly so many bytes, as text.
    func receiveText(_ count: Int) throws -> String { String(decoding: try receiveBytes(count), as: UTF8.self) }

    /// Exactly so many bytes.
    func receiveBytes(_ count: Int) throws -> [UInt8] {
        var all: [UInt8] = []
        while all.count < count {
            switch receiveOnce(atMost: count - all.count) {
            case .bytes(let bytes): all += bytes
            case .end(let end): throw TestFailure("\(end) after \(all.count) of \(count) bytes")
            case .nothing: throw TestFailure("nothing came in \(Self.patience) s after \(all.count) of \(count) bytes")
            }
        }
        return all
    }

    /// A whole stream: its bytes as text, and how it ended.
    struct Whole: Equatable {
        var text: String
        var end: End

        init(_ text: String, _ end: End) { (self.text, self.end) = (text, end) }
    }

    /// All up to the end.
    func receiveToEnd() throws -> Whole {
        var all: [UInt8] = []
        while true {
            switch receiveOnce() {
            case .bytes(let bytes): all += bytes
            case .end(let end): return Whole(String(decoding: all, as: UTF8.self), end)
            case .nothing: throw TestFailure("no end in \(Self.patience) s after \(all.count) bytes")
            }
        }
    }

    /// Whether there is something to receive, or the end, within a time.
    func isReadable(within milliseconds: Int32) -> Bool { isReady(raw, Int16(POLLIN), milliseconds) }

    /// Gives the socket away, open.
    func handOver() throws -> Descriptor {
        let copy = Descriptor(owning: try systemCall("fcntl") { fcntl(raw, F_DUPFD_CLOEXEC, 100) })
        // Closed, but not ended.
        _ = Glibc.close(raw)
        raw = -1
        return copy
    }

    // MARK: Ending

    func close() {
        guard raw >= 0 else { return }
        closeConnection(raw)
        raw = -1
    }

    /// Is gone without a word: what arrives later is answered by a RST, and no FIN was ever sent.
    func vanish() throws {
        try systemCall("setsockopt") { matrix_vanish(raw) }
        raw = -1
    }

    /// Closes with a RST.
    func reset() {
        guard raw >= 0 else { return }
        resetConnection(raw)
        raw = -1
    }
}

/// Whether a descriptor is ready within a time.
func isReady(_ raw: Int32, _ events: Int16, _ milliseconds: Int32) -> Bool {
    var entry = pollfd(fd: raw, events: events, revents: 0)
    return poll(&entry, 1, milliseconds) > 0
}
