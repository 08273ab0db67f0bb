import Glibc
import Links
import Platform
import TestSupport

/// Who may come in, and how long anything may take.
extension Door {
    /// A client that the front's list does not have.
    func meetList(host: UInt8) throws {
        try alone(1) {
            let port = table.port(.guarded)
            let caller = try connect(port, Wire.Manner(host: host))
            try expectReset(caller, "one that is not in `allow`")
            expect(caller, port, ends: ["PG"])
            tally.note(.notAllowed)
        }
    }

    /// As many clients of one address as it may have, and more.
    func meetLimit(host: UInt8, more: Int) throws {
        try alone(RandomTable.perAddress + more) {
            let port = table.port(.guarded)
            try eventually("the front is empty") { try counts(port).current == 0 ? true : nil }
            let callers = try callers(RandomTable.perAddress, port, hosts: { _ in host })
            try settle()
            for _ in 0..<more {
                let caller = try connect(port, Wire.Manner(host: host))
                try expectReset(caller, "one too many of an address")
                expect(caller, port, ends: ["PG"])
            }
            try exchange(callers, with: servers, port)
            tally.note(.tooManyOfOne, more)
        }
    }

    /// A client whose first bytes are no header.
    func meetInvalidHeader(_ text: String) throws {
        try alone(1) {
            let port = table.port(.headed)
            let caller = try connect(port)
            try caller.wire.send(text)
            try expectReset(caller, "one without a valid header")
            expect(caller, port, ends: ["PG"], takesHeader: true)
            tally.note(.headerInvalid)
        }
    }

    /// A client that leaves without having said who it is.
    func meetMissingHeader(resets: Bool) throws {
        try alone(1) {
            let port = table.port(.headed)
            let total = try counts(port).total
            let caller = try connect(port)
            if resets { caller.wire.reset() } else { caller.wire.close() }
            // Who comes next may count on it that nobody is on his way.
            try eventually("one that is gone is accepted") { try counts(port).total == total + 1 ? true : nil }
            expect(caller, port, ends: ["CG"], takesHeader: true)
            tally.note(.headerMissing)
        }
    }

    /// A client that says nothing, or half of a header, and is turned away after three seconds. `meanwhile` is done first.
    func meetLateHeader(_ text: String, _ meanwhile: () throws -> Void) throws {
        let port = table.port(.late)
        var caller: Caller?
        try alone(1) { caller = try connect(port) }
        guard let caller else { return }
        try caller.wire.send(text)
        try meanwhile()
        try expectReset(caller, "one that does not say who it is")
        expect(caller, port, ends: ["cG"], takesHeader: true)
        tally.note(.headerLate)
    }

    /// What is said before a silence.
    enum Silence { case ofBoth, afterClient, afterServer }

    /// A connection of a service whose silent ones end soon. `meanwhile` is done while it is silent.
    func meetSilence(_ silence: Silence, _ meanwhile: () throws -> Void) throws {
        let port = table.port(.quiet)
        let (caller, server) = try openAside(port, table.quiet)
        let expected: [(wire: Wire, whole: Wire.Whole)]
        let end: String
        switch silence {
        case .ofBoth:
            (expected, end) = ([(caller.wire, Wire.Whole("", .reset)), (server, Wire.Whole("", .reset))], "cD")
        case .afterClient:
            caller.wire.finishWriting()
            (expected, end) = ([(server, Wire.Whole("", .orderly)), (caller.wire, Wire.Whole("", .reset))], "sD")
        case .afterServer:
            server.finishWriting()
            (expected, end) = ([(caller.wire, Wire.Whole("", .orderly)), (server, Wire.Whole("", .reset))], "cL")
        }
        try meanwhile()
        for (wire, whole) in expected {
            let found = try wire.receiveToEnd()
            guard found == whole else {
                throw TestFailure("after a silence (\(silence)) one side got \(found), not \(whole)")
            }
        }
        expect(caller, port, ends: [end], instance: "quiet/1", bytesIn: 4, bytesOut: 4)
        switch silence {
        case .ofBoth: tally.note(.idleTimeout)
        case .afterClient: tally.note(.finTimeoutAfterClient)
        case .afterServer: tally.note(.finTimeoutAfterServer)
        }
    }

    /// A connection of an instance that is drained, whose time is over soon.
    func meetDraining(_ meanwhile: () throws -> Void) throws {
        try aside {
            let port = table.port(.leaving)
            let (caller, server) = try openAside(port, table.leaving)
            try alone {
                table.isLeaving = true
                try proxy.serve(servers)
            }
            try meanwhile()
            for wire in [caller.wire, server] {
                let found = try wire.receiveToEnd()
                guard found == Wire.Whole("", .reset) else { throw TestFailure("one that was cut got \(found)") }
            }
            try alone {
                table.isLeaving = false
                try proxy.serve(servers)
            }
            expect(caller, port, ends: ["DD"], instance: "leaving/1", bytesIn: 4, bytesOut: 4)
            tally.note(.drainTimeout)
        }
    }

    /// Clients of a service without instances: some wait until their time is over, those beyond `maxQueue` do not.
    func meetQueue(more: Int, _ meanwhile: () throws -> Void) throws {
        let port = table.port(.absent)
        try aside {
            var waiting: [Caller] = []
            try alone(RandomTable.maxQueue + more) {
                try eventually("nobody waits") { try counts(port).current == 0 ? true : nil }
                waiting = try callers(RandomTable.maxQueue, port)
                try eventually("they wait") {
                    try counts(port).queued == UInt64(RandomTable.maxQueue) ? true : nil
                }
                for _ in 0..<more {
                    let caller = try connect(port)
                    try expectReset(caller, "one beyond maxQueue")
                    expect(caller, port, ends: ["PQ"])
                }
            }
            try meanwhile()
            for caller in waiting {
                try expectReset(caller, "one whose time in the queue is over")
                expect(caller, port, ends: ["sQ"])
            }
            tally.note(.maxQueue, more)
            tally.note(.queueTimeout)
        }
    }

    /// A connection to another service, over which something has been said.
    private func openAside(_ port: UInt16, _ server: Server) throws -> (caller: Caller, server: Wire) {
        var opened: (caller: Caller, server: Wire)?
        try alone(1) {
            let caller = try connect(port)
            let wire = try Server.accept([server])
            try caller.wire.send("ping")
            guard try wire.receiveText(4) == "ping" else { throw TestFailure("the question is wrong") }
            try wire.send("pong")
            guard try caller.wire.receiveText(4) == "pong" else { throw TestFailure("the answer is wrong") }
            opened = (caller, wire)
        }
        guard let opened else { throw TestFailure("no connection") }
        return opened
    }
}
