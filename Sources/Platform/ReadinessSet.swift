import CPlatform
import Glibc

/// Many descriptors watched for input as one: an epoll(7) set, level-triggered, that is itself a descriptor which is
/// readable while one of its members is, so that a single Dispatch source serves them all.
package final class ReadinessSet: Sendable {
    /// The epoll descriptor.
    package let descriptor: Descriptor

    /// Creates an empty set, by epoll_create1(2).
    package init() throws(SystemError) {
        descriptor = Descriptor(owning: try systemCall("epoll_create1") { supd_readiness_create() })
    }

    /// Adds a descriptor under a token. It must be removed before it is closed: others may hold the same open file.
    package func add(_ member: Descriptor, token: UInt64) throws(SystemError) {
        try systemCall("epoll_ctl") { supd_readiness_add(descriptor.raw, member.raw, token) }
    }

    /// Removes a descriptor.
    package func remove(_ member: Descriptor) throws(SystemError) {
        try systemCall("epoll_ctl") { supd_readiness_remove(descriptor.raw, member.raw) }
    }

    /// The tokens of members that have input or have ended, at most 64 a call, in turns when there are more. Waits up to
    /// `milliseconds` (-1: for ever) for the first: epoll_wait(2).
    package func wait(milliseconds: Int32) throws(SystemError) -> [UInt64] {
        var tokens = [UInt64](repeating: 0, count: 64)
        let count = try systemCall("epoll_wait") {
            supd_readiness_wait(descriptor.raw, &tokens, 64, milliseconds)
        }
        return Array(tokens.prefix(Int(count)))
    }
}
