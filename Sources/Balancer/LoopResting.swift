import Synchronization

/// Whether a loop watches its listeners; other loops read it.
enum LoopWatch: UInt8, AtomicRepresentable {
    case accepts
    /// It has many more connections than another loop, and leaves arrivals to that.
    case rests
    /// It lacks descriptors or slots, or another process has taken over.
    case pauses
}

/// Loops share the clients: one that has many more than another one rests, that is, it watches no listener.
///
/// EPOLLEXCLUSIVE tells of an arrival mostly the loop that has waited last. Of fifty clients that come at once and stay one
/// loop may get forty, and all of them wait for its core while another one is idle. (The kernel would spread them over
/// sockets with SO_REUSEPORT, but whoever waits at a socket that goes is lost.)
///
/// **Some loop always watches.** A loop says that it rests *before* it looks whether the other one accepts, and rests only
/// if that does; then it passes arrivals on to it. So of two that would rest at a time at least one sees the other and does
/// not, and the last one that accepts never rests. Who must pause passes arrivals on to all others, who then watch.
extension LoopCore {
    /// With more listeners than this no loop rests: it would leave and enter the set with each of them.
    static let mostListeners: UInt32 = 64
    /// So often a loop begins to rest in so many nanoseconds. Who stays is spread with a few turns of that; of those who are
    /// soon gone again each turn would cost more calls than it evens out.
    private static let restsInARow: UInt8 = 16
    private static let restWindow: Int64 = 100_000_000

    /// Whether so many connections are too many beside another loop's: by more than four and an eighth.
    static func isUneven(_ own: Int, _ least: Int) -> Bool { own > least + 4 + own / 8 }

    @inline(__always)
    private func watch(of loop: Int) -> LoopWatch {
        others[loop]._withUnsafeGuaranteedRef { $0.watch.load(ordering: .sequentiallyConsistent) }
    }

    /// The other loop with the fewest connections of those that do not pause.
    private mutating func leastLoaded() -> (loop: Int, count: Int)? {
        var least: (loop: Int, count: Int)?
        for loop in mailboxes.indices
        where loop != number && watch(of: loop) != .pauses {
            let count = others[loop]._withUnsafeGuaranteedRef { $0.connections.load(ordering: .relaxed) }
            if count < least?.count ?? .max { least = (loop, count) }
        }
        return least
    }

    /// After an accept: leaves the next ones to another loop if that has many fewer. Returns whether it does.
    @inline(__always)
    mutating func restIfUneven() -> Bool { mailboxes.count > 1 && passToFewer() }

    private mutating func passToFewer() -> Bool {
        guard !isAcceptPaused, !isRetired, listeners.end <= Self.mostListeners, let least = leastLoaded(),
            Self.isUneven(connections.count, least.count)
        else { return false }
        if now - restsSince >= Self.restWindow { (restsSince, rests) = (now, 0) }
        guard rests < Self.restsInARow else { return false }
        let before = mailbox.watch.exchange(.rests, ordering: .sequentiallyConsistent)
        let isTaken = watch(of: least.loop) == .accepts
        if isTaken {
            rests += 1
            isResting = true
            unwatchListeners()
        } else {
            mailbox.watch.store(before, ordering: .sequentiallyConsistent)
        }
        // Whoever rests comes back for it; and of who waits the kernel may have told this loop alone.
        others[least.loop]._withUnsafeGuaranteedRef { $0.passArrivals() }
        return isTaken
    }

    /// Tells the others how many connections this loop has, and watches again once it has no more than another one.
    @inline(__always)
    mutating func shareClients() {
        guard mailboxes.count > 1 else { return }
        mailbox.connections.store(connections.count, ordering: .relaxed)
        if isResting, connections.count <= leastLoaded()?.count ?? .max { stopResting() }
    }

    /// Watches listeners again, if it rests.
    mutating func stopResting() {
        guard isResting else { return }
        isResting = false
        mailbox.watch.store(.accepts, ordering: .sequentiallyConsistent)
        for number in 0..<listeners.end where listeners.isUsed(number) { watchListener(number) }
    }

    /// Takes all listeners out of the set.
    mutating func unwatchListeners() {
        for number in 0..<listeners.end where listeners.isUsed(number) && listeners[number].pointee.isWatched {
            set.remove(listeners[number].pointee.socket)
            listeners[number].pointee.isWatched = false
            // The place that this loop was called for is another one's then.
            if listeners[number].pointee.limit > 0 { shareFront(listeners[number]) }
        }
    }

    /// Lets all other loops look for who waits: EPOLLEXCLUSIVE wakes one loop for an arrival, and that was this one.
    func passArrivalsToOthers() {
        mailbox.watch.store(.pauses, ordering: .sequentiallyConsistent)
        for other in mailboxes.indices where other != number {
            others[other]._withUnsafeGuaranteedRef { $0.passArrivals() }
        }
    }
}
