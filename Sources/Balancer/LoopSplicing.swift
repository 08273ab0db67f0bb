import CPlatform
import Glibc

/// Empty pipes at hand. A pipe that holds bytes is never put back: they would come out at another connection.
struct PipeStock {
    /// What is asked for; unprivileged users get less past a soft limit of the kernel.
    static let wantedCapacity: Int32 = 256 << 10
    /// A pipe below this is of no use.
    private static let usefulCapacity: Int32 = 64 << 10
    /// Empty pipes kept.
    private static let kept = 16

    private var empty: [(out: Int32, in: Int32)] = []
    /// Pipes there are, here and in use.
    private var count = 0

    /// So many wishes are refused without asking once the kernel gives this user only small ones: others may give theirs
    /// back.
    private static let refusals = 1024
    private var refusalsLeft = 0

    init() { empty.reserveCapacity(Self.kept) }

    /// Gives out an empty pipe; nil when there are `limit` or the kernel gives none.
    mutating func take(limit: Int) -> (out: Int32, in: Int32)? {
        if let pipe = empty.popLast() { return pipe }
        guard count < limit else { return nil }
        guard refusalsLeft == 0 else {
            refusalsLeft -= 1
            return nil
        }
        var ends: (Int32, Int32) = (-1, -1)
        let capacity = withUnsafeMutablePointer(to: &ends) {
            $0.withMemoryRebound(to: Int32.self, capacity: 2) { supd_splice_pipe($0, Self.wantedCapacity) }
        }
        guard capacity >= 0 else { return nil }
        guard capacity >= Self.usefulCapacity else {
            supd_close(ends.0)
            supd_close(ends.1)
            refusalsLeft = Self.refusals
            return nil
        }
        count += 1
        return (ends.0, ends.1)
    }

    /// Takes a pipe back, or closes it.
    mutating func giveBack(_ pipe: (out: Int32, in: Int32), isEmpty: Bool) {
        if isEmpty, empty.count < Self.kept {
            empty.append(pipe)
        } else {
            supd_close(pipe.out)
            supd_close(pipe.in)
            count -= 1
        }
    }

    /// Closes the empty ones: when descriptors are short.
    mutating func closeAll() {
        for pipe in empty {
            supd_close(pipe.out)
            supd_close(pipe.in)
        }
        count -= empty.count
        empty.removeAll(keepingCapacity: true)
        refusalsLeft = 0
    }
}

extension LoopCore {
    /// A splice that moves less than this is small.
    private static let smallSplice = 16 << 10
    /// Small splices in a row after which copying is cheaper.
    private static let smallSplicesUntilCopy: UInt8 = 8

    /// Makes a flow move by splice(2), if it can.
    mutating func becomeBulk(_ connection: ConnectionReference, _ source: SideIndex) {
        let flow = connection.flow(from: source)
        flow.pointee.streak = 0
        if !flow.pointee.flags.contains(.paceChosen) { choosePace(connection, source) }
        // Kernels differ in what they can splice from and to Unix sockets.
        if connection.head.pointee.isUnixFront { return }
        let from = connection.side(source)
        // splice(2) stops for good in front of an urgent byte.
        if from.pointee.flags.contains(.shortReadsMeanNothing) { return }
        flow.pointee.flags.insert(.bulk)
        let to = connection.side(source.other)
        if !to.pointee.flags.contains(.sendsPromptly) { sendPromptly(to) }
    }

    /// Fills the flow's pipe, which is empty; the next look at the flow flushes it.
    mutating func splice(_ connection: ConnectionReference, _ source: SideIndex) -> Step {
        let flow = connection.flow(from: source)
        if connection.side(source).pointee.flags.contains(.shortReadsMeanNothing) {
            // Urgent data was seen.
            flow.pointee.flags.remove(.bulk)
            if flow.pointee.pipeOut >= 0 { releasePipe(flow) }
            return .moved
        }
        if flow.pointee.pipeOut < 0 {
            guard let pipe = pipes.take(limit: limits.pipes) else {
                flow.pointee.flags.remove(.bulk)
                return .moved
            }
            flow.pointee.pipeOut = pipe.out
            flow.pointee.pipeIn = pipe.in
        }
        let moved = supd_splice(
            connection.side(source).pointee.socket, flow.pointee.pipeIn, Int(PipeStock.wantedCapacity))
        guard moved > 0 else {
            releasePipe(flow)
            // 0 is an end, or an urgent byte that no event has told of yet with an end behind it: recv(2) tells.
            if moved == -Int(EINVAL) || moved == 0 {
                flow.pointee.flags.remove(.bulk)
                return .moved
            }
            return Self.meaning(of: moved)
        }
        flow.pointee.piped = UInt32(moved)
        count(moved, connection, source)
        if moved >= Self.smallSplice {
            flow.pointee.streak = 0
        } else {
            flow.pointee.streak += 1
            if flow.pointee.streak >= Self.smallSplicesUntilCopy {
                flow.pointee.streak = 0
                flow.pointee.flags.remove(.bulk)
            }
        }
        return .moved
    }

    /// Empties the flow's pipe into the sink as far as it takes it. Returns false if the sink takes no more.
    mutating func flushPipe(_ connection: ConnectionReference, _ source: SideIndex) -> Bool {
        let flow = connection.flow(from: source)
        let to = connection.side(source.other)
        while flow.pointee.piped > 0 {
            let moved = supd_splice(flow.pointee.pipeOut, to.pointee.socket, Int(flow.pointee.piped))
            if moved > 0 {
                flow.pointee.piped -= UInt32(moved)
            } else if moved == -Int(EAGAIN) {
                to.pointee.flags.remove(.writable)
                return true
            } else if moved != -Int(EINTR) {
                noteSpliceError(Int32(-moved), to)
                return false
            }
        }
        if !flow.pointee.flags.contains(.bulk) { releasePipe(flow) }
        return true
    }

    /// The same as `noteSendError`. But splice(2) sends a pipe's buffers sixteen at a time, and when a later sixteen fail
    /// it answers what the earlier ones were, and their error is gone: what comes next is EPIPE, also after a reset.
    private mutating func noteSpliceError(_ code: Int32, _ side: UnsafeMutablePointer<Side>) {
        noteSendError(code, side)
        guard code == EPIPE else { return }
        keepUrgentInStream(side)
        if supd_end_has_arrived(side.pointee.socket) == 0 { side.pointee.flags.insert(.wasReset) }
    }

    /// Puts the flow's pipe back.
    mutating func releasePipe(_ flow: UnsafeMutablePointer<Flow>) {
        pipes.giveBack((flow.pointee.pipeOut, flow.pointee.pipeIn), isEmpty: flow.pointee.piped == 0)
        flow.pointee.pipeOut = -1
        flow.pointee.pipeIn = -1
        flow.pointee.piped = 0
    }
}
