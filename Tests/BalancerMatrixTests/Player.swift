import Glibc
import Links
import Platform
import TestSupport

/// One of several that play at the same time in a randomised run, each with connections and chance of its own.
struct Player {
    private let name: Int
    private let door: Door
    private var random: SeededRandom
    private var sessions: [(session: Session, stepsLeft: Int)] = []
    private var opened = 0
    private var turns = 0
    private var longCases: [LongCase] = []
    private var unixSessions = 0

    init(_ name: Int, seed: UInt64, _ door: Door) {
        self.name = name
        self.door = door
        random = SeededRandom(seed: seed &* 1000 &+ UInt64(name))
    }

    mutating func play(while goesOn: () -> Bool) throws {
        while goesOn() {
            turns += 1
            if turns % 64 == 0 { try door.book.check() }
            switch random.below(1600) {
            case 0..<140 where sessions.count < 10: try open()
            case 140..<196: try playAtDoor()
            case 196..<206: try playRules()
            case 206...208: try playLong()
            default: try advance()
            }
        }
        for (session, _) in sessions { try session.perform(Session.Finale.orderly) }
    }

    /// What is short, and happens often.
    private mutating func playAtDoor() throws {
        switch random.below(14) {
        case 0, 1: try door.burst(1 + random.below(30))
        case 2, 3: try door.openInVain(1 + random.below(10), isDown: random.oneIn(2))
        case 4, 5: try changeTable()
        case 6, 7, 8: try freeze()
        case 9: try door.crowd(1 + random.below(20))
        case 10: try door.burstBesideDrained(1 + random.below(20), random.pick([0, 2]))
        case 11, 12: try meetSilentServer(leaves: random.oneIn(2))
        default: try door.crowdAtFront(1 + random.below(12))
        }
    }

    /// Rules of a front, and what is short of ports.
    private mutating func playRules() throws {
        switch random.below(8) {
        case 0: try door.meetList(host: UInt8(8 + random.below(200)))
        case 1: try door.meetLimit(host: UInt8(2 + random.below(6)), more: 1 + random.below(4))
        case 2:
            let texts = ["GET / HTTP/1.0\r\n\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 90 x\r\n", "PROXY TCP9 1 2 3 4\r\n"]
            try door.meetInvalidHeader(random.pick(texts))
        case 3: try door.meetMissingHeader(resets: random.oneIn(2))
        case 4: try door.meetDeferral()
        case 5, 6: try playAtUnixFront()
        default: try door.burstWithoutPorts(12 + random.below(20))
        }
    }

    /// What takes a second or so.
    private enum LongCase: CaseIterable {
        case besideFull, withoutDescriptors, replace, lateHeader, silence, silenceAfterClient, silenceAfterServer
        case draining, queue, silentCrowd, processStopped, processKilled, processKilledWhileStopped
    }

    /// Each in its turn, in an order by chance, so that a run of a minute has all of them.
    private mutating func playLong() throws {
        if longCases.isEmpty {
            longCases = LongCase.allCases
            for index in longCases.indices { longCases.swapAt(index, random.below(index + 1)) }
        }
        switch longCases.removeLast() {
        case .besideFull: try door.burstBesideFull(8 + random.below(20))
        case .withoutDescriptors: try door.burstWithoutDescriptors(1 + random.below(20))
        case .replace: try door.replace()
        case .lateHeader: try door.meetLateHeader(random.pick(["", "PROXY TCP4 203.0."])) { try advanceSome() }
        case .silence: try door.meetSilence(.ofBoth) { try advanceSome() }
        case .silenceAfterClient: try door.meetSilence(.afterClient) { try advanceSome() }
        case .silenceAfterServer: try door.meetSilence(.afterServer) { try advanceSome() }
        case .draining: try door.meetDraining { try advanceSome() }
        case .queue: try door.meetQueue(more: 1 + random.below(3)) { try advanceSome() }
        case .silentCrowd: try door.meetSilentCrowd()
        case .processStopped: try meetProcess(.stopped)
        case .processKilled: try meetProcess(.killed)
        case .processKilledWhileStopped: try meetProcess(.killedWhileStopped)
        }
    }

    private mutating func meetProcess(_ fate: Door.Fate) throws {
        let sizes = [1, 1000, 32 << 10, 256 << 10, 3 << 20]
        let amounts = (0..<1 + random.below(4)).map { _ in (first: random.pick(sizes), then: random.pick(sizes)) }
        try door.meetProcess(fate, amounts, seed: random.next()) { try advanceSome() }
    }

    private mutating func changeTable() throws {
        let isShort = random.oneIn(2)
        let algorithm = random.pick(RoutingTable.Pool.Algorithm.allCases)
        let versions: [RoutingTable.Pool.ProxyProtocol?] = [nil, .v1, .v2]
        // Far longer than the run: what is open moves in and out of the wheel, and nothing ends by it.
        let timeouts: [Int64?] = [nil, 1_000_000_000_000]
        let (proxyProtocol, idleTimeout) = (random.pick(versions), random.pick(timeouts))
        let slowStart: Int64 = random.pick([0, 1_000_000_000])
        var options = RoutingTable.SocketOptions()
        options.keepAliveSeconds = random.pick([nil, 1, 60])
        // Far longer than anything stands still, as above; and room for all that ever wait at once.
        options.userTimeoutMilliseconds = random.pick([nil, 600_000])
        options.backlog = random.pick([64, 4096])
        // Far longer than a client takes to speak.
        options.deferAcceptSeconds = random.pick([nil, 60, 600])
        try door.changeTable(
            Door.Change(
                isShort: isShort, algorithm: algorithm, proxyProtocol: proxyProtocol, idleTimeout: idleTimeout,
                slowStart: slowStart, options: options))
    }

    private mutating func open() throws {
        let buffers: [Int32?] = [nil, nil, nil, 160 << 10]
        var manner = Wire.Manner(
            host: UInt8(1 + random.below(5)), receiveBuffer: random.pick(buffers), delaysHandshake: random.oneIn(20))
        opened += 1
        var claim: Door.Claim?
        if random.oneIn(4) {
            // Nobody has the same one at the same time.
            let source = "203.0.113.\(1 + name):\(1024 + opened % 60_000)"
            claim = Door.Claim(
                form: random.pick(Introduction.Form.allCases), source: source, cut: random.below(30))
        }
        let wantsIPv6 = random.oneIn(4)
        manner.isIPv6 = wantsIPv6 && claim == nil && hasIPv6
        let seed = random.next()
        // As much as fits into the SYN.
        let (wantsFirst, count) = (random.oneIn(10), 1 + random.below(1000))
        let goesWithSYN = wantsFirst && door.hasOwnNetwork
        let speaksFirst = goesWithSYN || random.oneIn(8)
        let isPossible = speaksFirst && claim == nil && !manner.isIPv6
        let first = Door.First(pattern: Pattern(seed), count: count, goesWithSYN: goesWithSYN)
        let opened = try door.open(manner, isDown: random.oneIn(20), claim: claim, first: isPossible ? first : nil)
        let session = Session("\(name)/\(self.opened)", seed: seed, opened, door.book, door.tally)
        door.tally.note(.session)
        if manner.isIPv6 { door.tally.note(.ipv6) }
        if manner.delaysHandshake { door.tally.note(.delayedHandshake) }
        if manner.receiveBuffer != nil { door.tally.note(.smallWindow) }
        // Many are short, some are long, and stand still most of the time.
        sessions.append((session, random.pick([0, 1, 5, 20, 100])))
    }

    /// A session at the Unix front, between whose steps the others go on.
    private mutating func playAtUnixFront() throws {
        opened += 1
        // All of them come in turn, and each player's first is another one: there are few such sessions in a minute.
        let finales = Session.Finale.allCases
        let finale = finales[(name + 4 * unixSessions) % finales.count]
        unixSessions += 1
        let (label, seed, count) = ("\(name)/\(opened) unix", random.next(), random.pick([1, 5, 20]))
        try door.atUnixFront { opened in
            let session = Session(label, seed: seed, opened, door.book, door.tally)
            for _ in 0..<count {
                try session.perform(Session.drawStep(&random))
                try advance()
            }
            try session.perform(finale)
        }
    }

    /// A server that accepts and is silent, while others play; the client leaves it, or hears it late.
    private mutating func meetSilentServer(leaves: Bool) throws {
        var opened = try door.open(Wire.Manner(), isDown: false)
        let (client, server) = (opened.client, opened.server)
        try client.send("question")
        try advanceSome()
        guard case .nothing = client.receiveOnce(waits: false) else {
            throw TestFailure("a client of a silent server heard something")
        }
        opened.line.bytesIn = 8...8
        if leaves { client.finishWriting() }
        guard try server.receiveText(8) == "question" else { throw TestFailure("the question is wrong") }
        if leaves {
            client.close()
            let whole = try server.receiveToEnd()
            guard whole == Wire.Whole("", .orderly) else { throw TestFailure("a silent server got \(whole)") }
            door.tally.note(.silentServerLeft)
        } else {
            try server.send("late")
            guard try client.receiveText(4) == "late" else { throw TestFailure("the answer is wrong") }
            client.close()
            opened.line.bytesOut = 4...4
            door.tally.note(.silentServerHeard)
        }
        server.close()
        door.book.expect(opened.line)
    }

    /// A number of steps that does not depend on what the sockets do.
    private mutating func advanceSome() throws { for _ in 0..<20 { try advance() } }

    private mutating func advance() throws {
        guard !sessions.isEmpty else { return }
        let index = random.below(sessions.count)
        if sessions[index].stepsLeft > 0 {
            sessions[index].stepsLeft -= 1
            try sessions[index].session.perform(Session.drawStep(&random))
        } else {
            let finales: [Session.Finale] = [.orderly, .orderly, .orderly] + Session.Finale.allCases
            try sessions.remove(at: index).session.perform(random.pick(finales))
        }
    }

    /// Several things at once, none of which waits.
    private mutating func freeze() throws {
        var steps: [(Session, Session.Step)] = []
        for _ in 0..<10 where !sessions.isEmpty {
            let step = Session.drawStep(&random)
            let index = random.below(sessions.count)
            if step.waits { continue }
            steps.append((sessions[index].session, step))
        }
        var gone: [Session] = []
        for _ in 0..<random.below(3) where !sessions.isEmpty {
            gone.append(sessions.remove(at: random.below(sessions.count)).session)
        }
        try door.whileFrozen {
            for (session, step) in steps { try session.perform(step) }
            for session in gone { try session.perform(Session.Finale.bothVanish) }
        }
    }
}
