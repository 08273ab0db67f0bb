import Platform
import Synchronization

/// Whether a connection comes in: places at fronts, which all loops share.
///
/// As with the places of LoopPlaces.swift: one is taken before accept(2), and who finds none stops watching the listener,
/// says so in `full`, then looks again. A place that is freed calls one of those loops, the loops in turn. Clients wait in
/// the kernel's queue, which is in order.
extension LoopCore {
    /// Takes a place of a listener's front; where there is none the listener is not watched any more.
    mutating func takeFrontPlace(_ number: UInt32) -> Bool {
        let listener = listeners[number]
        guard let gate = listener.pointee.counters.pointee.gate else { return true }
        if gate.pointee.open.addOne(limit: Int(listener.pointee.limit)) { return true }
        set.remove(listener.pointee.socket)
        listener.pointee.isWatched = false
        listener.pointee.isFull = true
        fullListeners += 1
        sayFull(listener, at: gate)
        return false
    }

    /// Says that this loop does not watch a listener, then looks again: who frees a place in between sees one of the two.
    private mutating func sayFull(
        _ listener: UnsafeMutablePointer<ListenerSlot>, at gate: UnsafeMutablePointer<FrontGate>
    ) {
        gate.pointee.full.bitwiseOr(ownBit, ordering: .sequentiallyConsistent)
        if gate.pointee.open.load(ordering: .sequentiallyConsistent) < Int(listener.pointee.limit) { wasCalled = true }
    }

    /// Gives back a front's place, if it counts them.
    @inline(__always)
    mutating func releaseFrontPlace(_ front: UnsafeMutablePointer<CounterBlock>) {
        if let gate = front.pointee.gate { release(gate, limit: front.pointee.gateLimit) }
    }

    private mutating func release(_ gate: UnsafeMutablePointer<FrontGate>, limit: Int) {
        // With more than a lowered limit allows there is still no place.
        let open = gate.pointee.open.wrappingSubtract(1, ordering: .sequentiallyConsistent).newValue
        if open < limit { callNext(gate) }
    }

    /// Calls the next loop in turn that does not watch a front because it was full.
    private mutating func callNext(_ gate: UnsafeMutablePointer<FrontGate>) {
        let loops = gate.pointee.full.load(ordering: .sequentiallyConsistent)
        guard let loop = nextLoop(after: gate.pointee.turn.load(ordering: .relaxed), of: loops) else { return }
        gate.pointee.turn.store(loop, ordering: .relaxed)
        gate.pointee.full.bitwiseAnd(~(1 << UInt64(loop)), ordering: .sequentiallyConsistent)
        if loop == self.number { wasCalled = true } else { others[loop]._withUnsafeGuaranteedRef { $0.call() } }
    }

    /// There is room, and other loops do not watch: they share again.
    mutating func shareFront(_ listener: UnsafeMutablePointer<ListenerSlot>) {
        guard let gate = listener.pointee.counters.pointee.gate,
            gate.pointee.full.load(ordering: .relaxed) != 0,
            gate.pointee.open.load(ordering: .relaxed) < Int(listener.pointee.limit)
        else { return }
        callNext(gate)
    }

    /// Watches listeners again whose fronts have room.
    mutating func watchFullListeners() {
        guard fullListeners > 0 else { return }
        for number in 0..<listeners.end where listeners.isUsed(number) && listeners[number].pointee.isFull {
            let listener = listeners[number]
            if let gate = listener.pointee.counters.pointee.gate {
                gate.pointee.full.bitwiseAnd(~ownBit, ordering: .sequentiallyConsistent)
                if gate.pointee.open.load(ordering: .sequentiallyConsistent) >= Int(listener.pointee.limit) { continue }
            }
            listener.pointee.isFull = false
            fullListeners -= 1
            watchListener(number)
            // While accepting pauses here another loop may go on.
            if !listener.pointee.isWatched, let gate = listener.pointee.counters.pointee.gate { callNext(gate) }
        }
        // Only now, for a front may have several listeners, and those with room take its bit back.
        guard fullListeners > 0 else { return }
        for number in 0..<listeners.end where listeners.isUsed(number) && listeners[number].pointee.isFull {
            if let gate = listeners[number].pointee.counters.pointee.gate { sayFull(listeners[number], at: gate) }
        }
    }

    /// Begins or ends to count this loop's connections of a front.
    func countFront(
        _ counters: UnsafeMutablePointer<CounterBlock>, at gate: UnsafeMutablePointer<FrontGate>?, limit: UInt32
    ) {
        let current = Int(truncatingIfNeeded: counters.pointee.current.load(ordering: .relaxed))
        if counters.pointee.gate == nil, let gate {
            gate.pointee.open.wrappingAdd(current, ordering: .sequentiallyConsistent)
        } else if gate == nil, let before = counters.pointee.gate {
            before.pointee.open.wrappingSubtract(current, ordering: .sequentiallyConsistent)
            // It watches whatever happens: a call that came here would end here.
            before.pointee.full.bitwiseAnd(~ownBit, ordering: .sequentiallyConsistent)
        }
        counters.pointee.gate = gate
        counters.pointee.gateLimit = Int(limit)
    }

    /// A listener goes: if this loop was called for it, another one goes on.
    mutating func forgetFull(_ listener: UnsafeMutablePointer<ListenerSlot>) {
        guard listener.pointee.isFull else { return }
        listener.pointee.isFull = false
        fullListeners -= 1
        guard let gate = listener.pointee.counters.pointee.gate else { return }
        gate.pointee.full.bitwiseAnd(~ownBit, ordering: .sequentiallyConsistent)
        callNext(gate)
    }
}
