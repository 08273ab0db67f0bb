import Glibc
import Links
import Platform
import TestSupport

/// Clients that connect and say nothing, or nothing yet.
extension Door {
    private static let crowdSize = 500
    /// So many connect before the first of them is taken: fewer than the smallest backlog that is drawn, since a kernel
    /// whose backlog overflows may forget clients that say nothing (SYN cookies).
    private static let groupSize = 50

    /// 500 clients connect and say nothing; fewer where RLIMIT_NOFILE allows no more. All have their servers, and are
    /// counted. One of them speaks at last, and is answered; then all leave, every third by a reset.
    func meetSilentCrowd() throws {
        let size = min(Self.crowdSize, (raiseOpenFileLimit().now - 400) / 2)
        guard size > Self.groupSize else { throw TestFailure("RLIMIT_NOFILE leaves no room for a crowd") }
        if size < Self.crowdSize { print("skipped: RLIMIT_NOFILE leaves room for \(size) silent clients only") }
        try alone(size) {
            try settle()
            let before = try proxy.counts() ?? ProxyCounts()
            var callers: [Caller] = []
            var taken: [Wire] = []
            while callers.count < size {
                let group = min(Self.groupSize, size - callers.count)
                callers += try (0..<group).map { _ in try connect(proxy.port) }
                taken += try (0..<group).map { _ in try accept(servers).wire }
            }
            try settle()
            let now = try proxy.counts() ?? ProxyCounts()
            // Of the others some may have left meanwhile.
            guard now.accepted == before.accepted + size, now.connects == before.connects + size,
                now.clients >= size, now.charged >= size
            else { throw TestFailure("of \(size) silent clients were counted: \(before) before, \(now) now") }
            let speaker = size / 2
            try callers[speaker].wire.send("at last")
            let server = try Self.firstReadable(of: taken)
            guard try server.receiveText(7) == "at last" else { throw TestFailure("the question is wrong") }
            try server.send("answer")
            guard try callers[speaker].wire.receiveText(6) == "answer" else { throw TestFailure("the answer is wrong") }
            let resets = leave(callers, speaker: speaker)
            let ends = try taken.map { try $0.receiveToEnd() }
            guard ends.allSatisfy({ $0.text.isEmpty }), ends.filter({ $0.end == .reset }).count == resets,
                ends.filter({ $0.end == .orderly }).count == size - resets
            else { throw TestFailure("\(size) clients left, \(resets) by a reset; their servers got \(ends)") }
            for wire in taken { wire.close() }
            tally.note(.silentCrowd)
        }
    }

    /// All leave, and are to have their lines. Answers how many do by a reset.
    private func leave(_ callers: [Caller], speaker: Int) -> Int {
        var resets = 0
        for (number, caller) in callers.enumerated() {
            let isReset = number % 3 == 0
            if isReset { caller.wire.reset() } else { caller.wire.close() }
            resets += isReset ? 1 : 0
            let spoke = number == speaker
            expect(caller, ends: [isReset ? "CD" : "--"], bytesIn: spoke ? 7 : 0, bytesOut: spoke ? 6 : 0)
        }
        return resets
    }

    /// A client that says nothing yet is not accepted where accepting waits for the first bytes, but those behind it are; it
    /// is when it speaks.
    func meetDeferral() throws {
        try alone(2) {
            guard table.options.deferAcceptSeconds != nil else { return }
            let port = table.port(.deferring)
            let total = try counts(port).total
            let silent = try connect(port)
            try exchange(try callers(1, port), with: servers, port)
            guard try counts(port).total == total + 1 else { throw TestFailure("a silent client was accepted") }
            try silent.wire.send("100")
            try exchange([silent], with: servers, port)
            tally.note(.deferredSilence)
        }
    }

    private static func firstReadable(of wires: [Wire]) throws -> Wire {
        var entries = wires.map { pollfd(fd: $0.raw, events: Int16(POLLIN), revents: 0) }
        _ = poll(&entries, nfds_t(entries.count), 30_000)
        for (wire, entry) in zip(wires, entries) where entry.revents & Int16(POLLIN) != 0 { return wire }
        throw TestFailure("none of \(wires.count) servers hears anything in 30 s")
    }
}
