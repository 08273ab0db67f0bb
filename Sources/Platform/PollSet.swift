import CPlatform
import Glibc

/// Descriptors to wait for, level-triggered, at a cost that depends on how many are ready: an epoll set.
package final class PollSet: Sendable {
    private let descriptor: Descriptor

    /// Creates an empty set, by epoll_create1(2).
    package init() throws(SystemError) {
        descriptor = Descriptor(
            owning: try systemCall("epoll_create1") { epoll_create1(Int32(EPOLL_CLOEXEC)) })
    }

    /// A descriptor that is ready.
    package struct Event: Sendable, Hashable {
        /// The word it was added with.
        package var token: UInt64
        /// There is something to read, or the end, or an error.
        package var isReadable: Bool
        /// There is room to write, or an error.
        package var isWritable: Bool

        /// Creates an event.
        package init(token: UInt64, isReadable: Bool, isWritable: Bool) {
            self.token = token
            self.isReadable = isReadable
            self.isWritable = isWritable
        }
    }

    /// Adds a descriptor under a word of the caller's. It must be removed before its description lives on elsewhere.
    package func add(
        _ member: Descriptor, token: UInt64, readable: Bool = true, writable: Bool = false
    ) throws(SystemError) {
        try control(EPOLL_CTL_ADD, member, token, readable, writable)
    }

    /// Changes what is waited for.
    package func change(_ member: Descriptor, token: UInt64, readable: Bool, writable: Bool) throws(SystemError) {
        try control(EPOLL_CTL_MOD, member, token, readable, writable)
    }

    /// Removes a descriptor; nothing happens if it is not in the set.
    package func remove(_ member: Descriptor) {
        _ = epoll_ctl(descriptor.raw, EPOLL_CTL_DEL, member.raw, nil)
    }

    private func control(
        _ operation: Int32, _ member: Descriptor, _ token: UInt64, _ readable: Bool, _ writable: Bool
    ) throws(SystemError) {
        var event = epoll_event()
        event.events = (readable ? EPOLLIN.rawValue : 0) | (writable ? EPOLLOUT.rawValue : 0)
        event.data.u64 = token
        try systemCall("epoll_ctl") { epoll_ctl(descriptor.raw, operation, member.raw, &event) }
    }

    /// Waits until a member is ready, at most until `deadline` (nanoseconds of CLOCK_MONOTONIC; nil: for ever), and
    /// answers at most 64 events; none at the deadline or when a signal came. By epoll_wait(2).
    package func wait(until deadline: Int64?) throws(SystemError) -> [Event] {
        var timeout: Int32 = -1
        if let deadline {
            // Rounded up, so that the deadline has passed when the wait ends.
            let now = monotonicNanoseconds()
            timeout = deadline <= now ? 0 : Int32(min((deadline - now) / 1_000_000 + 1, Int64(Int32.max)))
        }
        return try withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 64) { buffer throws(SystemError) in
            let count = epoll_wait(descriptor.raw, buffer.baseAddress, Int32(buffer.count), timeout)
            if count < 0 {
                if errno == EINTR { return [] }
                throw SystemError(call: "epoll_wait", code: errno)
            }
            let failures = EPOLLERR.rawValue | EPOLLHUP.rawValue
            return buffer.prefix(Int(count)).map { event in
                Event(
                    token: event.data.u64, isReadable: event.events & (EPOLLIN.rawValue | failures) != 0,
                    isWritable: event.events & (EPOLLOUT.rawValue | failures) != 0)
            }
        }
    }
}
