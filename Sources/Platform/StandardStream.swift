import Glibc

/// Standard output or standard error.
package enum StandardStream: Sendable, Hashable {
    /// Descriptor 1.
    case output
    /// Descriptor 2.
    case error

    var number: Int32 { self == .output ? STDOUT_FILENO : STDERR_FILENO }

    /// Writes all of the bytes, by write(2), and waits where the stream is non-blocking and full (it may share its open
    /// file description with a program that made it so).
    package func write(_ bytes: [UInt8]) throws(SystemError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            // A slice's withUnsafeBytes has no typed throws yet.
            let outcome = rest.withUnsafeBytes { buffer in
                Result { () throws(SystemError) in
                    try systemCall("write", description) { Glibc.write(number, buffer.baseAddress, buffer.count) }
                }
            }
            if case .failure(let error) = outcome, error.code == EAGAIN {
                var entry = pollfd(fd: number, events: Int16(POLLOUT), revents: 0)
                try systemCall("poll", description) { poll(&entry, 1, -1) }
            } else {
                rest = rest.dropFirst(try outcome.get())
            }
        }
    }

    /// Writes text.
    package func write(_ text: String) throws(SystemError) { try write(Array(text.utf8)) }

    private var description: String { self == .output ? "standard output" : "standard error" }
}
