import Glibc

/// The first `limit` bytes of a file, by open(2) and read(2): for files under /proc, whose size is not known before.
/// Nonblocking, so that a FIFO put in its place cannot hold anybody up.
package func readSmallFile(_ path: String, limit: Int) throws(SystemError) -> [UInt8] {
    let file = Descriptor(
        owning: try systemCall("open", path) { open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) })
    return try readToEnd(of: file, path, limit: limit)
}

/// What is left to read from a descriptor, at most `limit` bytes.
func readToEnd(of file: Descriptor, _ subject: String, limit: Int) throws(SystemError) -> [UInt8] {
    var bytes: [UInt8] = []
    try withUnsafeTemporaryAllocation(byteCount: 16384, alignment: 1) { buffer throws(SystemError) in
        while bytes.count < limit {
            let wanted = min(buffer.count, limit - bytes.count)
            let count = try systemCall("read", subject) { read(file.raw, buffer.baseAddress, wanted) }
            if count == 0 { return }
            bytes.append(contentsOf: buffer.prefix(count))
        }
    }
    return bytes
}
