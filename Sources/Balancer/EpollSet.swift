import CPlatform
import Platform

/// An epoll(7) set, owned: a wait yields events that each carry the 64-bit word given when the descriptor was added.
///
/// Results are -errno on failure rather than thrown: this is called for every connection. It is in this target and not in
/// Platform because the compiler specialises an option set only where it sees all of it: elsewhere a literal of two bits
/// is an array, a dozen calls and an allocation.
struct EpollSet: Sendable {
    /// What to watch for, and what was seen: EPOLL… bits.
    struct Interest: OptionSet, Sendable {
        let rawValue: UInt32

        init(rawValue: UInt32) { self.rawValue = rawValue }

        /// There is something to read or to accept: EPOLLIN.
        static let input = Interest(SUPD_EPOLL_IN)
        /// There is room to write: EPOLLOUT.
        static let output = Interest(SUPD_EPOLL_OUT)
        /// The peer will send no more; what it has sent may still wait to be read: EPOLLRDHUP.
        static let peerShutdown = Interest(SUPD_EPOLL_PEER_SHUTDOWN)
        /// Urgent data: EPOLLPRI.
        static let urgent = Interest(SUPD_EPOLL_URGENT)
        /// An error waits; always reported: EPOLLERR.
        static let error = Interest(SUPD_EPOLL_ERROR)
        /// Both directions have ended; always reported: EPOLLHUP.
        static let hangUp = Interest(SUPD_EPOLL_HANGUP)
        /// Of several sets that watch a listener wake not all: EPOLLEXCLUSIVE.
        static let exclusive = Interest(SUPD_EPOLL_EXCLUSIVE)

        private init(_ bit: supd_epoll_bits) { rawValue = bit.rawValue }
    }

    /// The set's own descriptor: readable while events wait.
    let descriptor: Descriptor

    /// Creates an empty set, by epoll_create1(2).
    init() throws(SystemError) {
        let raw = supd_epoll_create()
        guard raw >= 0 else { throw SystemError(call: "epoll_create1", code: -raw) }
        descriptor = Descriptor(owning: raw)
    }

    /// Watches a descriptor, by epoll_ctl(2). `edge`: report changes alone (EPOLLET). Returns 0 or -errno.
    func add(_ raw: Int32, _ interest: Interest, edge: Bool = false, word: UInt64) -> Int32 {
        supd_epoll_add(descriptor.raw, raw, interest.rawValue, edge ? 1 : 0, word)
    }

    /// Watches a descriptor no more. Closing does it too, unless someone else holds the description.
    @discardableResult
    func remove(_ raw: Int32) -> Int32 { supd_epoll_remove(descriptor.raw, raw) }

    /// Waits for at most so many milliseconds (-1: without end) and returns how many events it stored, or -errno.
    func wait(_ events: UnsafeMutablePointer<supd_epoll_event>, capacity: Int32, milliseconds: Int32) -> Int32 {
        supd_epoll_wait(descriptor.raw, events, capacity, milliseconds)
    }
}
