import CPlatform
import Glibc

/// A file that lives in memory only, by memfd_create(2): it travels between processes as a descriptor.
package struct MemoryFile: Sendable {
    /// The open file.
    package let descriptor: Descriptor

    /// Creates an empty file; `name` shows in /proc/PID/fd, nothing more.
    package init(name: String) throws(SystemError) {
        descriptor = Descriptor(
            owning: try systemCall("memfd_create", name) {
                supd_memory_file_create(name)
            })
    }

    /// Takes over a descriptor that came from another process. Throws unless it is a file in memory, which alone can be
    /// read without ever waiting for anybody.
    package init(received descriptor: Descriptor) throws(SystemError) {
        // Only files of memfd_create and tmpfs know seals.
        try systemCall("fcntl", "F_GET_SEALS: not a file in memory") { supd_memory_file_check(descriptor.raw) }
        self.descriptor = descriptor
    }

    /// The length in bytes, by fstat(2).
    package func size() throws(SystemError) -> Int {
        var status = stat()
        try systemCall("fstat", "of a file in memory") { fstat(descriptor.raw, &status) }
        return Int(status.st_size)
    }

    /// Puts bytes in place of all that was there.
    package func replaceContents(_ bytes: [UInt8]) throws(SystemError) {
        try systemCall("ftruncate", "of a file in memory") { ftruncate(descriptor.raw, 0) }
        try write(bytes, at: 0)
    }

    /// Writes bytes at an offset, by pwrite(2).
    package func write(_ bytes: [UInt8], at offset: Int) throws(SystemError) {
        var written = 0
        while written < bytes.count {
            written += try systemCall("pwrite", "to a file in memory") {
                bytes.withUnsafeBytes { buffer in
                    pwrite(
                        descriptor.raw, buffer.baseAddress?.advanced(by: written), bytes.count - written,
                        off_t(offset + written))
                }
            }
        }
    }

    /// Writes words at an offset in bytes, in this machine's order, by pwrite(2); returns the offset behind them.
    package func write(words: [UInt64], at offset: Int) throws(SystemError) -> Int {
        let count = words.count * MemoryLayout<UInt64>.stride
        var written = 0
        while written < count {
            written += try systemCall("pwrite", "to a file in memory") {
                words.withUnsafeBytes { buffer in
                    pwrite(
                        descriptor.raw, buffer.baseAddress?.advanced(by: written), count - written,
                        off_t(offset + written))
                }
            }
        }
        return offset + count
    }

    /// The contents as words in this machine's order, without bytes at the end that are none; EFBIG as of `read(limit:)`, in
    /// words.
    package func readWords(limit: Int) throws(SystemError) -> [UInt64] {
        let bytes = try read(limit: limit * MemoryLayout<UInt64>.stride)
        return bytes.withUnsafeBytes { buffer in
            (0..<buffer.count / MemoryLayout<UInt64>.stride).map {
                buffer.loadUnaligned(fromByteOffset: $0 * MemoryLayout<UInt64>.stride, as: UInt64.self)
            }
        }
    }

    /// The contents, whose length must not exceed `limit` bytes (else EFBIG), by pread(2): what another process does to
    /// the file meanwhile can make them shorter, nothing worse.
    package func read(limit: Int) throws(SystemError) -> [UInt8] {
        let size = try size()
        guard size <= limit else { throw SystemError(call: "pread", code: EFBIG, subject: "file of \(size) bytes") }
        var result: Result<Void, SystemError> = .success(())
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            while count < size {
                let offset = count
                do throws(SystemError) {
                    let more = try systemCall("pread", "of a file in memory") {
                        pread(descriptor.raw, buffer.baseAddress?.advanced(by: offset), size - offset, off_t(offset))
                    }
                    if more == 0 { return }
                    count += more
                } catch {
                    result = .failure(error)
                    return
                }
            }
        }
        try result.get()
        return bytes
    }
}
