import Glibc

/// Changes of directories as they happen, by inotify(7).
package final class Inotify {
    /// What changed.
    package enum Change: Sendable, Hashable {
        /// Something in the directory was created, renamed or written to.
        case entry(watch: Int32, name: String)
        /// The directory itself is gone, and with it the watch.
        case gone(watch: Int32)
        /// Changes came faster than they were read: anything may have changed.
        case overflow
    }

    /// The inotify descriptor, readable when there are changes.
    package let descriptor: Descriptor
    private static let createdOrMoved = UInt32(IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE)

    /// Creates an instance that watches nothing yet.
    package init() throws(SystemError) {
        descriptor = Descriptor(
            owning: try systemCall("inotify_init1") { inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK)) })
    }

    /// Watches a directory for entries that come, go and, if asked, are written to. The same directory gives the same
    /// number again. inotify_add_watch(2).
    package func watch(directory path: String, writes: Bool) throws(SystemError) -> Int32 {
        let mask = Self.createdOrMoved | UInt32(IN_ONLYDIR) | (writes ? UInt32(IN_MODIFY) : 0)
        return try systemCall("inotify_add_watch", path) { inotify_add_watch(descriptor.raw, path, mask) }
    }

    /// Waits up to `milliseconds` (-1: for ever) for changes; false if there were none. A signal ends the wait early.
    package func wait(milliseconds: Int32) throws(SystemError) -> Bool {
        var entry = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
        let count = poll(&entry, 1, milliseconds)
        if count < 0, errno != EINTR { throw SystemError(call: "poll", code: errno, subject: "inotify") }
        return count > 0
    }

    /// The changes since the last call, without waiting.
    package func changes() throws(SystemError) -> [Change] {
        var buffer = [UInt8](repeating: 0, count: 16384)
        var result: [Change] = []
        while true {
            let count: Int
            do throws(SystemError) {
                count = try systemCall("read", "inotify") { read(descriptor.raw, &buffer, buffer.count) }
            } catch {
                if error.code == EAGAIN { return result }
                throw error
            }
            if count == 0 { return result }
            buffer.withUnsafeBytes { Self.parse($0.prefix(count), into: &result) }
            if result.count > 10_000 { return [.overflow] }
        }
    }

    private static func parse(_ bytes: Slice<UnsafeRawBufferPointer>, into result: inout [Change]) {
        let bytes = UnsafeRawBufferPointer(rebasing: bytes)
        var offset = 0
        let header = MemoryLayout<inotify_event>.size
        while offset + header <= bytes.count {
            let event = bytes.loadUnaligned(fromByteOffset: offset, as: inotify_event.self)
            let end = offset + header + Int(event.len)
            guard end <= bytes.count else { return }
            if event.mask & UInt32(IN_Q_OVERFLOW) != 0 {
                result.append(.overflow)
            } else if event.mask & UInt32(IN_IGNORED) != 0 {
                result.append(.gone(watch: event.wd))
            } else {
                let name = bytes[offset + header..<end].prefix { $0 != 0 }
                result.append(.entry(watch: event.wd, name: String(decoding: name, as: UTF8.self)))
            }
            offset = end
        }
    }
}
