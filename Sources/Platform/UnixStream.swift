import Glibc

/// A connected AF_UNIX stream socket. No call on it blocks, except `wait` and, for at most its time limit, `connect`.
package struct UnixStream: Sendable {
    /// The socket.
    package let descriptor: Descriptor

    /// What one attempt to read brought.
    package enum Received: Sendable, Hashable {
        /// These bytes, at least one.
        case bytes([UInt8])
        /// Nothing now.
        case wouldBlock
        /// The other side will send nothing more.
        case end
    }

    /// What to wait for.
    package enum Interest: Sendable, Hashable {
        /// Bytes or the end of input.
        case readable
        /// Room for bytes.
        case writable
    }

    /// The longest path of a socket in bytes: sun_path of unix(7) has 108, the last of them a NUL.
    package static let longestPath = 107

    /// Takes a connected socket.
    package init(_ descriptor: Descriptor) { self.descriptor = descriptor }

    /// Connects to the socket at a path, by socket(2) and connect(2). A server whose backlog is full is waited for, at
    /// most ten seconds; then EAGAIN is thrown. A path longer than `longestPath` throws ENAMETOOLONG.
    package static func connect(to path: String) throws(SystemError) -> UnixStream {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count <= longestPath else {
            throw SystemError(call: "connect", code: ENAMETOOLONG, subject: path)
        }
        guard !bytes.isEmpty, !bytes.contains(0) else {
            throw SystemError(call: "connect", code: EINVAL, subject: path)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }

        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let socket = Descriptor(owning: try systemCall("socket", path) { Glibc.socket(AF_UNIX, type, 0) })
        // A connect to a full backlog waits for as long as a send may (unix(7)).
        var patience = timeval(tv_sec: 10, tv_usec: 0)
        try systemCall("setsockopt", path) {
            setsockopt(socket.raw, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        }
        let raw = socket.raw
        try withUnsafePointer(to: &address) { (pointer) throws(SystemError) in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { (generic) throws(SystemError) in
                _ = try systemCall("connect", path) {
                    Glibc.connect(raw, generic, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        }
        return UnixStream(socket)
    }

    /// Creates a connected pair, nonblocking and close-on-exec, by socketpair(2).
    package static func pair() throws(SystemError) -> (UnixStream, UnixStream) {
        var numbers: (Int32, Int32) = (-1, -1)
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        try withUnsafeMutableBytes(of: &numbers) { (bytes) throws(SystemError) in
            _ = try systemCall("socketpair", "of a stream") {
                socketpair(AF_UNIX, type, 0, bytes.bindMemory(to: Int32.self).baseAddress)
            }
        }
        return (UnixStream(Descriptor(owning: numbers.0)), UnixStream(Descriptor(owning: numbers.1)))
    }

    /// Takes the next connection of a listening socket by accept(2); nil if none is there, or it has gone again.
    /// The listener must be non-blocking.
    package static func accept(from listener: Descriptor) throws(SystemError) -> UnixStream? {
        do throws(SystemError) {
            // accept4 is hidden from Swift behind _GNU_SOURCE. No program is executed by a role that accepts here, so
            // that nothing can slip in between the two calls.
            let raw = try systemCall("accept") { Glibc.accept(listener.raw, nil, nil) }
            let socket = Descriptor(owning: raw)
            try systemCall("fcntl", "F_SETFD") { fcntl(raw, F_SETFD, FD_CLOEXEC) }
            return UnixStream(socket)
        } catch {
            if error.code == EAGAIN || error.code == ECONNABORTED { return nil }
            throw error
        }
    }

    /// Makes calls on a descriptor return EAGAIN instead of blocking, by fcntl(F_SETFL).
    package static func makeNonBlocking(_ descriptor: Descriptor) throws(SystemError) {
        let flags = try systemCall("fcntl", "F_GETFL") { fcntl(descriptor.raw, F_GETFL) }
        try systemCall("fcntl", "F_SETFL") { fcntl(descriptor.raw, F_SETFL, flags | O_NONBLOCK) }
    }

    /// Takes what has arrived, at most `limit` bytes, by recv(2).
    package func receive(limit: Int = 16384) throws(SystemError) -> Received {
        let raw = descriptor.raw
        var failure: SystemError?
        let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
            do throws(SystemError) {
                count = try systemCall("recv") { recv(raw, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT)) }
            } catch {
                failure = error
            }
        }
        guard let failure else { return bytes.isEmpty ? .end : .bytes(bytes) }
        if failure.code == EAGAIN { return .wouldBlock }
        throw failure
    }

    /// Hands over as many bytes as there is room for, by send(2) without SIGPIPE; returns how many, 0 if none.
    package func send(_ bytes: ArraySlice<UInt8>) throws(SystemError) -> Int {
        guard !bytes.isEmpty else { return 0 }
        let raw = descriptor.raw
        let flags = Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)
        // A slice's withUnsafeBytes has no typed throws yet.
        let outcome = bytes.withUnsafeBytes { buffer in
            Result { () throws(SystemError) in
                try systemCall("send") { Glibc.send(raw, buffer.baseAddress, buffer.count, flags) }
            }
        }
        if case .failure(let error) = outcome, error.code == EAGAIN { return 0 }
        return try outcome.get()
    }

    /// Says that nothing more will be sent, by shutdown(2); the other side may still send.
    package func finishSending() throws(SystemError) {
        try systemCall("shutdown") { shutdown(descriptor.raw, Int32(SHUT_WR)) }
    }

    /// Whether the other side has closed its end altogether, not only its sending half, by POLLHUP of poll(2).
    package func isPeerGone() throws(SystemError) -> Bool {
        var entry = pollfd(fd: descriptor.raw, events: 0, revents: 0)
        try systemCall("poll") { poll(&entry, 1, 0) }
        return entry.revents & Int16(POLLHUP | POLLERR) != 0
    }

    /// Waits until it can be read or written (an error counts as either), by poll(2); false if `deadline`, an instant
    /// of `monotonicNanoseconds`, comes first. No deadline: waits for ever.
    package func wait(for interest: Interest, until deadline: Int64?) throws(SystemError) -> Bool {
        var entry = pollfd(
            fd: descriptor.raw, events: Int16(interest == .readable ? POLLIN : POLLOUT), revents: 0)
        while true {
            var milliseconds: Int32 = -1
            if let deadline {
                let left = max(0, deadline &- monotonicNanoseconds())
                // Rounded up, so that a wait never ends before its time and turns into a spin.
                milliseconds = Int32(clamping: left / 1_000_000 + (left % 1_000_000 == 0 ? 0 : 1))
            }
            if try systemCall("poll", "", { poll(&entry, 1, milliseconds) }) > 0 { return true }
            if let deadline, monotonicNanoseconds() >= deadline { return false }
        }
    }
}
