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

    /// Bytes of a list that is short.
    private static let few = 1024

    /// The process ids of the children, zombies too, in no order. Of the first megabyte of the list: 100,000 and more.
    package func list() throws(SystemError) -> [Int32] {
        guard let file else {
            let parent = getpid()
            return try ProcessTable.all().filter { $0.parent == parent }.map(\.pid)
        }
        // On the way of every restart: mostly one call, and no memory that was not touched before.
        let few = try withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.few) {
            buffer throws(SystemError) -> [Int32]? in
            let count = try systemCall("pread", "/proc/thread-self/children") {
                pread(file.raw, buffer.baseAddress, Self.few, 0)
            }
            return count < Self.few ? Self.numbers(buffer[..<count]) : nil
        }
        if let few { return few }
        try systemCall("lseek", "/proc/thread-self/children") { lseek(file.raw, 0, SEEK_SET) }
        let bytes = try readToEnd(of: file, "/proc/thread-self/children", limit: 1 << 20)
        return Self.numbers(bytes)
    }

    /// The decimal numbers between blanks; on the way of every restart, so without a string for each.
    static func numbers(_ text: some Sequence<UInt8>) -> [Int32] {
        var numbers: [Int32] = []
        var current: Int32?
        for byte in text {
            if byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") {
                current = (current ?? 0) &* 10 &+ Int32(byte - UInt8(ascii: "0"))
            } else if let number = current {
                numbers.append(number)
                current = nil
            }
        }
        if let number = current { numbers.append(number) }
        return numbers
    }
}
