import Glibc
import Links
import Platform
import TestSupport

/// A server that is a process, and is killed or stopped in mid-transfer.
extension Door {
    /// What becomes of the process.
    enum Fate { case stopped, killed, killedWhileStopped }

    /// One client of it, which hears what it says.
    private struct Talk {
        let caller: Caller
        var said: Pattern
        var heard: Pattern
    }

    /// Clients of one process, each of which says so many bytes at first and so many later. `meanwhile` is done in the middle.
    func meetProcess(_ fate: Fate, _ amounts: [(first: Int, then: Int)], seed: UInt64, _ meanwhile: () throws -> Void)
        throws
    {
        try table.echo.alone {
            // In a moment in which nobody else starts a process, which would hold its socket for a moment, too.
            try alone { try table.echo.start() }
            var talks = try amounts.indices.map { try begin(try callEcho(), Pattern(seed &+ UInt64($0))) }
            for index in talks.indices { try offer(&talks[index], amounts[index].first) }
            if fate != .killed { try table.echo.stop() }
            for index in talks.indices { try offer(&talks[index], amounts[index].then) }
            try meanwhile()
            switch fate {
            case .stopped:
                table.echo.goOn()
                for talk in talks { try finish(talk) }
                tally.note(.processStopped)
            case .killed, .killedWhileStopped:
                try table.echo.kill()
                for talk in talks { try hearCut(talk) }
                tally.note(fate == .killed ? .processKilled : .processKilledWhileStopped)
                // By the counters of one balancer.
                try aside { try takeOver(amounts[0].first, seed: seed) }
            }
        }
    }

    /// A client that finds nobody is served by the next process.
    private func takeOver(_ count: Int, seed: UInt64) throws {
        let refused = try refusals()
        let caller = try callEcho()
        try eventually("the killed server's port refuses") { try refusals() > refused ? true : nil }
        try alone { try table.echo.start() }
        var talk = try begin(caller, Pattern(seed))
        try offer(&talk, count)
        try finish(talk)
        tally.note(.processFollowed)
    }

    private func refusals() throws -> UInt64 {
        var count: UInt64?
        try alone {
            let endpoint = try proxy.counters().endpoints.first { $0.instance == "echo/1" }
            count = endpoint?.counts.ends["SC"] ?? 0
        }
        return count ?? 0
    }

    private func callEcho() throws -> Caller {
        var caller: Caller?
        try alone(1) { caller = try connect(table.port(.echo)) }
        guard let caller else { throw TestFailure("no connection") }
        return caller
    }

    /// The first byte. That it comes back shows that the process has the connection.
    private func begin(_ caller: Caller, _ pattern: Pattern) throws -> Talk {
        var talk = Talk(caller: caller, said: pattern, heard: pattern)
        try caller.wire.send(&talk.said, 1)
        try caller.wire.receive(&talk.heard, 1)
        return talk
    }

    /// Says as much as the socket takes at once.
    private func offer(_ talk: inout Talk, _ count: Int) throws {
        var left = count
        while left > 0 {
            guard let sent = talk.caller.wire.sendSome(&talk.said, min(left, Pattern.window)) else {
                throw TestFailure("a send to a server that is a process failed: \(errorMessage(errno))")
            }
            if sent == 0 { return }
            left -= sent
        }
    }

    /// All is heard, and an orderly end.
    private func finish(_ talk: Talk) throws {
        var talk = talk
        talk.caller.wire.finishWriting()
        let end = try talk.caller.wire.receive(&talk.heard)
        guard end == .orderly, talk.heard.position == talk.said.position else {
            throw TestFailure(
                "of \(talk.said.position) bytes a server that is a process has sent \(talk.heard.position) back, and "
                    + "then \(String(describing: end))")
        }
        expectLine(talk, ends: ["--"], atLeast: talk.said.position)
        talk.caller.wire.close()
    }

    /// What is heard is right as far as it goes, and ends by a reset, as the server's end did.
    private func hearCut(_ talk: Talk) throws {
        var talk = talk
        let end = try talk.caller.wire.receive(&talk.heard)
        guard end == .reset, talk.heard.position <= talk.said.position else {
            throw TestFailure(
                "of \(talk.said.position) bytes a server that was killed has sent \(talk.heard.position) back, and then "
                    + "\(String(describing: end))")
        }
        expectLine(talk, ends: ["SD"], atLeast: talk.heard.position)
        talk.caller.wire.close()
    }

    private func expectLine(_ talk: Talk, ends: Set<String>, atLeast least: Int) {
        book.expect(
            SessionBook.Expectation(
                client: talk.caller.name, front: table.address(.echo), instance: "echo/1",
                bytesIn: least...talk.said.position, bytesOut: talk.heard.position...talk.said.position, ends: ends,
                story: "client of a process, said \(talk.said.position), heard \(talk.heard.position)"))
    }
}
