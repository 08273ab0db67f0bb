import Glibc

/// The children of the calling thread, also those that it has become the parent of as a subreaper: proc(5),
/// /proc/thread-self/children.
package final class ProcessChildren: Sendable {
    /// Kept open: reading it again is cheaper than opening it. nil if this kernel was built without it.
    private let file: Descriptor?

    /// For the thread that calls this; all calls must come from it.
    package init() {
        let number = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC)
        file = number < 0 ? nil : Descriptor(owning: number)
    }

    /// For tests: looks through all of /proc, as where the kernel has no list of children.
    package init(byScanning: Void) { file = nil }

    /// The process ids of the children, zombies too, in no order. At most 100,000.
    package func list() throws(SystemError) -> [Int32] {
        guard let file else {
            let parent = getpid()
            return try ProcessTable.all().filter { $0.parent == parent }.map(\.pid)
        }
        try systemCall("lseek", "/proc/thread-self/children") { lseek(file.raw, 0, SEEK_SET) }
        let bytes = try readToEnd(of: file, "/proc/thread-self/children", limit: 1 << 20)
        return bytes.split(separator: UInt8(ascii: " ")).compactMap { Int32(String(decoding: $0, as: UTF8.self)) }
    }
}
