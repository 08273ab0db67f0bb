import CPlatform
import Glibc

/// Calls on the read end of a pipe.
package enum PipeIO {
    /// How many bytes wait in the pipe: FIONREAD of ioctl(2).
    package static func bytesAvailable(_ pipe: Descriptor) throws(SystemError) -> Int {
        Int(try systemCall("ioctl", "FIONREAD") { supd_bytes_available(pipe.raw) })
    }

    /// How many bytes the pipe can hold: F_GETPIPE_SZ of fcntl(2).
    package static func capacity(_ pipe: Descriptor) throws(SystemError) -> Int {
        Int(try systemCall("fcntl", "F_GETPIPE_SZ") { supd_pipe_capacity(pipe.raw) })
    }

    /// Changes how many bytes the pipe can hold, rounded up by the kernel: F_SETPIPE_SZ of fcntl(2).
    package static func setCapacity(_ pipe: Descriptor, bytes: Int) throws(SystemError) {
        try systemCall("fcntl", "F_SETPIPE_SZ") { supd_set_pipe_capacity(pipe.raw, Int32(clamping: bytes)) }
    }

    /// What a pipe holds now, at most `limit` bytes, by read(2); nothing when it cannot be read.
    package static func readAvailable(_ pipe: Descriptor, limit: Int) -> [UInt8] {
        guard let available = try? bytesAvailable(pipe), available > 0 else { return [] }
        let wanted = min(available, limit)
        return [UInt8](unsafeUninitializedCapacity: wanted) { buffer, count in
            count = max(0, (try? systemCall("read") { read(pipe.raw, buffer.baseAddress, wanted) }) ?? 0)
        }
    }

    /// Writes a byte to the other end, which is non-blocking, so that who waits for it wakes up: a full pipe wakes them, too.
    package static func ring(_ writer: Descriptor) {
        withUnsafeBytes(of: UInt8(1)) { _ = write(writer.raw, $0.baseAddress, 1) }
    }

    /// Copies bytes that wait in a pipe to another one, without taking them, as far as they fit: tee(2).
    package static func copy(from pipe: Descriptor, to other: Descriptor, count: Int) throws(SystemError) -> Int {
        try systemCall("tee") { supd_tee(pipe.raw, other.raw, count) }
    }

    /// Makes reads of this end return EAGAIN instead of waiting; the other end keeps its own mode.
    package static func setNonBlocking(_ pipe: Descriptor) throws(SystemError) {
        let flags = try systemCall("fcntl", "F_GETFL") { fcntl(pipe.raw, F_GETFL) }
        try systemCall("fcntl", "F_SETFL") { fcntl(pipe.raw, F_SETFL, flags | O_NONBLOCK) }
    }
}

/// A pipe of one's own to look at the bytes of another one without taking them.
package final class PeekPipe {
    private let input: Descriptor
    private let output: Descriptor

    /// Creates the pipe, by pipe2(2).
    package init() throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        try systemCall("pipe2") { supd_peek_pipe(&ends) }
        output = Descriptor(owning: ends[0])
        input = Descriptor(owning: ends[1])
    }

    /// The first bytes that wait in a pipe, at most `count` (up to 4096), which stay there: tee(2).
    package func peek(_ pipe: Descriptor, count: Int) throws(SystemError) -> [UInt8] {
        let copied = try PipeIO.copy(from: pipe, to: input, count: min(count, 4096))
        var bytes = [UInt8](repeating: 0, count: copied)
        guard copied > 0 else { return [] }
        let got = try systemCall("read") { read(output.raw, &bytes, copied) }
        return Array(bytes.prefix(got))
    }
}
