import Glibc
import Platform
import TestSupport

/// A connection of the randomised run: both of its ends, what each has said, and what the other has heard of it.
///
/// What happens to it depends on the seed alone, never on what the sockets do meanwhile, so that a seed gives the same
/// sequence of steps again.
final class Session {
    /// One thing that is done to it.
    enum Step: CustomStringConvertible {
        /// One end offers bytes, as many as the socket takes at once.
        case send(fromClient: Bool, Int)
        /// One end says bytes one by one.
        case dribble(fromClient: Bool, Int)
        case urgent(fromClient: Bool)
        /// One end takes at most so many of the bytes that are there.
        case receive(atClient: Bool, Int)
        case finishWriting(client: Bool)
        /// Both ends that have not ended say so many bytes, at the same time; all is waited for.
        case exchange(Int)
        /// All that was said is waited for at both ends.
        case settle

        /// Whether it may take until the proxy has done something.
        var waits: Bool {
            switch self {
            case .exchange, .settle: true
            default: false
            }
        }

        var description: String {
            switch self {
            case .send(let fromClient, let count): "\(Self.name(fromClient)) sends \(count)"
            case .dribble(let fromClient, let count): "\(Self.name(fromClient)) dribbles \(count)"
            case .urgent(let fromClient): "\(Self.name(fromClient)) urges"
            case .receive(let atClient, let count): "\(Self.name(atClient)) reads \(count)"
            case .finishWriting(let client): "\(Self.name(client)) ends"
            case .exchange(let count): "both send \(count)"
            case .settle: "settle"
            }
        }

        private static func name(_ isClient: Bool) -> String { isClient ? "client" : "server" }
    }

    /// What has gone wrong, and the steps up to there.
    struct Failure: Error, CustomStringConvertible {
        let what: String
        let steps: String

        var description: String { "\(what); steps: \(steps)" }
    }

    /// How it ends.
    enum Finale: CaseIterable {
        /// Both ends say that they have ended, and hear all, and hear that the other has.
        case orderly
        case clientResets, serverResets
        /// close(2) with whatever is still on its way.
        case clientCloses, serverCloses
        /// Both at once.
        case bothVanish
    }

    /// One end.
    private struct End {
        let wire: Wire
        /// What it says, and what it has to hear.
        var said: Pattern
        var heard: Pattern
        /// Behind the last urgent byte that it has said.
        var lastUrgent = 0
        var hasFinished = false
        /// It has heard the end of the other.
        var hasHeardEnd = false
    }

    let name: String
    /// The client is at a Unix socket, to which AF_UNIX tells of no reset but where something was not read.
    private let isUnix: Bool
    private var client: End
    private var server: End
    /// The steps so far, for the report of a failure.
    private var history: [String] = []

    /// Its line in the log, as far as it is known.
    private var line: SessionBook.Expectation
    private let book: SessionBook
    private let tally: Tally

    init(_ name: String, seed: UInt64, _ opened: Door.Opened, _ book: SessionBook, _ tally: Tally) {
        self.name = name
        isUnix = opened.isUnix
        self.client = End(wire: opened.client, said: Pattern(seed), heard: Pattern(seed &+ 1))
        self.server = End(wire: opened.server, said: Pattern(seed &+ 1), heard: Pattern(seed))
        client.said.advance(opened.said)
        line = opened.line
        self.book = book
        self.tally = tally
    }

    /// The next step by chance.
    static func drawStep(_ random: inout SeededRandom) -> Step {
        let sizes = [1, 17, 1000, 4096, 32 << 10, (32 << 10) + 1, 100_000, 256 << 10, 1 << 20, 3 << 20]
        let isClient = random.oneIn(2)
        switch random.below(20) {
        case 0..<7: return .send(fromClient: isClient, random.pick(sizes))
        case 7..<14: return .receive(atClient: isClient, random.pick(sizes))
        case 14, 15: return .dribble(fromClient: isClient, 1 + random.below(40))
        case 16: return .urgent(fromClient: isClient)
        case 17: return .finishWriting(client: isClient)
        case 18: return .exchange(random.pick([1 << 20, 2 << 20, 10 << 20]))
        default: return .settle
        }
    }

    /// What is to be said of a failure here.
    private func failure(_ text: String) -> Failure {
        Failure(
            what: "session \(name): \(text); client said \(client.said.position) heard \(client.heard.position), "
                + "server said \(server.said.position) heard \(server.heard.position)",
            steps: history.joined(separator: ", "))
    }

    private func at(_ client: Bool) -> WritableKeyPathToEnd { client ? \.client : \.server }
    private typealias WritableKeyPathToEnd = ReferenceWritableKeyPath<Session, End>

    // MARK: Steps

    func perform(_ step: Step) throws {
        history.append("\(step)")
        noteStep(step)
        switch step {
        case .send(let fromClient, let count): try send(at(fromClient), count, pieces: Pattern.window)
        case .dribble(let fromClient, let count): try send(at(fromClient), count, pieces: 1)
        case .urgent(let fromClient):
            // AF_UNIX has rules of its own for them.
            guard !isUnix else { return }
            // Of two from a server the kernel drops the first if nobody has read it when the second
            // comes, unless the socket was told beforehand, which would cost every connection a call.
            guard fromClient || server.lastUrgent <= client.heard.position else { return }
            try send(at(fromClient), 1, pieces: 1, flags: Int32(MSG_OOB))
            self[keyPath: at(fromClient)].lastUrgent = self[keyPath: at(fromClient)].said.position
        case .receive(let atClient, let count): _ = try receive(at(atClient), count)
        case .finishWriting(let isClient): finishWriting(at(isClient))
        case .exchange(let count): try exchange(count)
        case .settle: try settle()
        }
    }

    /// Counts what is done for the first time, or is a kind of its own.
    private func noteStep(_ step: Step) {
        let isFirst = client.said.position + server.said.position == 0
        switch step {
        case .send(let fromClient, let count):
            if isFirst { tally.note(fromClient ? .clientFirst : .serverFirst) }
            if count >= 1 << 20 { tally.note(.bulk) }
        case .dribble: tally.note(.dribble)
        case .urgent: tally.note(.urgent)
        case .finishWriting(let isClient):
            let other = isClient ? server : client
            if !other.hasFinished { tally.note(isClient ? .clientHalfCloses : .serverHalfCloses) }
        case .exchange:
            switch (client.hasFinished, server.hasFinished) {
            case (false, false): tally.note(.bulkBothWays)
            case (true, false): tally.note(.bulkAfterClient)
            case (false, true): tally.note(.bulkAfterServer)
            case (true, true): break
            }
        case .receive, .settle: break
        }
    }

    private func finishWriting(_ end: WritableKeyPathToEnd) {
        self[keyPath: end].hasFinished = true
        self[keyPath: end].wire.finishWriting()
    }

    private func send(_ end: WritableKeyPathToEnd, _ count: Int, pieces: Int, flags: Int32 = 0) throws {
        guard !self[keyPath: end].hasFinished else { return }
        var left = count
        while left > 0 {
            let wire = self[keyPath: end].wire
            guard let sent = wire.sendSome(&self[keyPath: end].said, min(left, pieces), flags: flags) else {
                throw failure("a send failed: \(errorMessage(errno))")
            }
            if sent == 0 { return }
            left -= sent
        }
    }

    /// Takes what is there, at most so much. Answers whether anything has come.
    private func receive(_ end: WritableKeyPathToEnd, _ count: Int) throws -> Bool {
        var left = count
        while left > 0, !self[keyPath: end].hasHeardEnd {
            switch self[keyPath: end].wire.receiveOnce(atMost: left, waits: false) {
            case .nothing: return left < count
            case .bytes(let bytes):
                guard self[keyPath: end].heard.takes(bytes) else {
                    throw failure("wrong bytes among the last \(bytes.count)")
                }
                left -= bytes.count
            case .end(let how):
                let other = end == \Session.client ? server : client
                guard how == .orderly, other.hasFinished else { throw failure("\(how) that nobody has made") }
                guard self[keyPath: end].heard.position == other.said.position else {
                    throw failure("an end too early")
                }
                self[keyPath: end].hasHeardEnd = true
            }
        }
        return true
    }

    /// Says so many bytes at both ends while both take what there is.
    private func exchange(_ count: Int) throws {
        let deadline = monotonicNanoseconds() + 30_000_000_000
        let ends = [\Session.client, \Session.server]
        var left = ends.map { self[keyPath: $0].hasFinished ? 0 : count }
        while left != [0, 0] {
            guard monotonicNanoseconds() < deadline else { throw failure("\(left) bytes could not be said in 30 s") }
            for (number, end) in ends.enumerated() where left[number] > 0 {
                let wire = self[keyPath: end].wire
                guard let sent = wire.sendSome(&self[keyPath: end].said, min(left[number], Pattern.window)) else {
                    throw failure("a send failed: \(errorMessage(errno))")
                }
                left[number] -= sent
            }
            for end in ends { _ = try receive(end, .max) }
            var entries = ends.enumerated().map { number, end in
                // -1 is passed over: an end is reported again and again.
                let isOver = left[number] == 0 && self[keyPath: end].hasHeardEnd
                return pollfd(
                    fd: isOver ? -1 : self[keyPath: end].wire.raw,
                    events: (left[number] > 0 ? Int16(POLLOUT) : 0)
                        | (self[keyPath: end].hasHeardEnd ? 0 : Int16(POLLIN)), revents: 0)
            }
            _ = poll(&entries, nfds_t(entries.count), 1000)
        }
        try settle()
    }

    /// Waits until all that was said is heard, and ends too.
    private func settle() throws {
        let deadline = monotonicNanoseconds() + 30_000_000_000
        while true {
            var isDone = true
            for end in [\Session.client, \Session.server] {
                _ = try receive(end, .max)
                let other = end == \Session.client ? server : client
                if self[keyPath: end].heard.position != other.said.position { isDone = false }
                if other.hasFinished, !self[keyPath: end].hasHeardEnd { isDone = false }
            }
            if isDone { return }
            guard monotonicNanoseconds() < deadline else { throw failure("not all was heard in 30 s") }
            var entries = [client, server].filter { !$0.hasHeardEnd }.map {
                pollfd(fd: $0.wire.raw, events: Int16(POLLIN), revents: 0)
            }
            _ = poll(&entries, nfds_t(entries.count), 1000)
        }
    }

    // MARK: Ends

    func perform(_ drawn: Finale) throws {
        // To a Unix socket it is the same.
        let finale = isUnix && drawn == .clientResets ? .clientCloses : drawn
        history.append("\(finale)")
        let ends = possibleEnds(finale)
        switch finale {
        case .orderly:
            finishWriting(\.client)
            finishWriting(\.server)
            try settle()
            tally.note(.orderly)
        case .clientResets:
            client.wire.reset()
            try hearOut(\.server, isReset: true)
            tally.note(.clientResets)
        case .serverResets:
            server.wire.reset()
            try hearOut(\.client, isReset: true)
            tally.note(isUnix ? .serverResetsUnix : .serverResets)
        case .clientCloses:
            client.wire.close()
            try hearOut(\.server, isReset: false)
            tally.note(isUnix ? .unixClientCloses : .clientCloses)
        case .serverCloses:
            server.wire.close()
            try hearOut(\.client, isReset: false)
            tally.note(.serverCloses)
        case .bothVanish:
            client.wire.reset()
            server.wire.close()
            tally.note(.bothVanish)
        }
        client.wire.close()
        server.wire.close()
        // The other one has heard no more than was counted, and nobody has said less.
        line.bytesIn = server.heard.position...client.said.position
        line.bytesOut = client.heard.position...server.said.position
        line.ends = ends
        line.story = "session \(name): \(history.joined(separator: ", "))"
        book.expect(line)
    }

    /// The end states that are true of a finale that is about to begin.
    private func possibleEnds(_ finale: Finale) -> Set<String> {
        // A client that had ended in order before has been heard out: its server, which is closed at once, may be first.
        let over: Set<String> = client.hasFinished ? ["--"] : []
        // A balancer that is late may learn of the client first, and of its own connect afterwards.
        // (What a Unix client has said the balancer hears out first.)
        let early: Set<String> = (isUnix ? client.said : client.heard).position == 0 ? ["CC"] : []
        // In the last phase if the server had ended, and the balancer knows.
        func byClient() -> Set<String> { server.hasFinished ? ["CD", "CL"] : ["CD"] }
        func byServer() -> Set<String> { server.hasFinished ? ["SD", "SL"] : ["SD"] }
        switch finale {
        case .orderly: return ["--"]
        case .clientResets: return byClient().union(over).union(early)
        // To the balancer a server that has ended is done; its client is heard out.
        case .serverResets: return byServer().union(server.hasFinished ? ["--"] : [])
        // What arrives at a socket that is closed is answered by a reset.
        case .clientCloses:
            // AF_UNIX tells at once that it is gone altogether, also when it has heard all.
            if isUnix { return byClient().union(["--"]).union(early) }
            return client.heard.position == server.said.position ? ["--"] : byClient().union(["--"])
        case .serverCloses:
            return server.heard.position == client.said.position ? ["--"] : byServer().union(["--"])
        case .bothVanish: return ["CC", "CD", "CL", "SD", "SL", "--"]
        }
    }

    /// The other end is gone: what is heard still is right as far as it goes, and does not end like a whole stream.
    private func hearOut(_ end: WritableKeyPathToEnd, isReset: Bool) throws {
        let other = end == \Session.client ? server : client
        while !self[keyPath: end].hasHeardEnd {
            switch self[keyPath: end].wire.receiveOnce() {
            case .bytes(let bytes):
                guard self[keyPath: end].heard.takes(bytes) else {
                    throw failure("wrong bytes among the last \(bytes.count)")
                }
            case .nothing: throw failure("nothing tells of the end in 30 s")
            case .end(let how):
                self[keyPath: end].hasHeardEnd = true
                let isWhole = self[keyPath: end].heard.position == other.said.position
                // Nothing else can be told to a Unix client.
                if how == .orderly, !isUnix || end == \Session.server {
                    if isReset, !other.hasFinished { throw failure("a reset became an orderly end") }
                    if !isWhole { throw failure("a cut stream ended like a whole one") }
                }
            }
        }
    }
}
