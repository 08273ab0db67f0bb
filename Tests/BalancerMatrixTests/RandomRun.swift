import CPlatform
import Glibc
import Links
import Platform
import TestSupport
import Testing

extension BalancerMatrix {
    @Suite("All of it at once")
    struct RandomRun {
        /// SUPD_MATRIX_SEED and SUPD_MATRIX_SECONDS.
        private static func setting(_ name: String, _ usual: UInt64) -> UInt64 {
            getenv(name).flatMap { UInt64(String(cString: $0)) } ?? usual
        }

        /// From so many seconds on all that can happen must happen; on a busy machine in so many times that at most.
        private static let whole: UInt64 = 60
        private static let patience: UInt64 = 2

        @Test(
            "a randomised run, in which every byte is looked at",
            .enabled(
                if: ProxyKind.present == .supd,
                "HAProxy connects twice when a server is gone before it looks, so that two ends do not belong together")
        )
        func randomRun() throws {
            let seed = Self.setting("SUPD_MATRIX_SEED", 1)
            let seconds = min(Self.setting("SUPD_MATRIX_SECONDS", 5), 90)
            print("randomised run of \(seconds) s: again by SUPD_MATRIX_SEED=\(seed) SUPD_MATRIX_SECONDS=\(seconds)")
            let isRoot = getuid() == 0
            if !isRoot {
                print("skipped: only root may have few ports and bytes with the SYN, and see who has left the fronts")
            }
            if !hasIPv6 { print("skipped: there is no ::1") }
            let tally = Tally()
            do {
                if isRoot {
                    try PrivateNetwork.run {
                        // TCP Fast Open of both sides, without the cookie that a first connection would have to fetch.
                        try PrivateNetwork.set("net/ipv4/tcp_fastopen", "1543")
                        try Self.run(seed, seconds, tally, hasOwnNetwork: true)
                    }
                } else {
                    try Self.run(seed, seconds, tally, hasOwnNetwork: false)
                }
            } catch {
                print("randomised run, as far as it came: \(tally.text)")
                throw TestFailure("SUPD_MATRIX_SEED=\(seed) SUPD_MATRIX_SECONDS=\(seconds): \(error)")
            }
            print("randomised run: \(tally.text)")
            if seconds >= Self.whole {
                let missing = tally.missing(isRoot: isRoot)
                #expect(missing.isEmpty, "what has never happened by seed \(seed)")
            }
        }

        private static func run(_ seed: UInt64, _ seconds: UInt64, _ tally: Tally, hasOwnNetwork: Bool) throws {
            // One that refuses all the time, so that connects are tried again.
            let servers = [try Server(), try Server(listens: false), try Server()]
            // Another one, whose backlog is full whenever it is in the table.
            let full = try Server(backlog: 0)
            let filling = try full.fillBacklog()
            let table = try RandomTable()
            var ends: [Int32] = [-1, -1]
            let room = supd_splice_pipe(&ends, 1 << 20)
            guard room > 0 else { throw SystemError(call: "pipe2", code: -room) }
            let pipe = (read: Descriptor(owning: ends[0]), write: Descriptor(owning: ends[1]))
            let prepare: (any Proxy) throws -> Void = { proxy in
                guard let proxy = proxy as? SupdProxy else { return }
                try table.prepare(proxy, pipe.write)
                try proxy.serve(servers)
            }
            try Stage.run(Wish(connectTimeout: 1), with: servers, prepare: prepare) { stage in
                guard let proxy = stage.proxy as? SupdProxy else { return }
                // Those of the warm-up have no line.
                try eventually("the warm-up is over") { try proxy.counts()?.isEmpty == true ? true : nil }
                table.logsSessions = true
                try proxy.serve(servers)
                let book = try SessionBook(pipe.read, tally)
                let door = Door(proxy, servers, full: full, table, book, tally, hasOwnNetwork: hasOwnNetwork)
                let began = monotonicNanoseconds()
                // How far a second gets differs with the machine. Who is replaced last ends when all is over.
                let goesOn: @Sendable () -> Bool = {
                    let past = UInt64(max(0, monotonicNanoseconds() - began)) / 1_000_000_000
                    if past < seconds { return true }
                    guard seconds >= Self.whole, past < Self.patience * seconds else { return false }
                    return tally.missing(isRoot: hasOwnNetwork).contains { $0 != Tally.Happening.retired.rawValue }
                }
                let players = try (0..<4).map { number in
                    try Worker {
                        var player = Player(number, seed: seed, door)
                        do { try player.play(while: goesOn) } catch {
                            print("randomised run, player \(number): \(error)")
                            throw error
                        }
                    }
                }
                let results = players.map { player in Result { try player.join() } }
                // The lines first: they may say why. Sessions that were given up have none.
                let isWhole = results.allSatisfy { if case .success = $0 { true } else { false } }
                let lines = Result { try book.finish(waits: isWhole) }
                let failures = (results + [lines]).compactMap { result -> (any Error)? in
                    if case .failure(let error) = result { error } else { nil }
                }
                guard failures.isEmpty else { throw Self.failure(of: failures) }
                // With their last connections.
                try eventually("those that were replaced have ended") {
                    tally.note(.retired, try proxy.reap())
                    return proxy.retiredCount == 0 ? true : nil
                }
                print("randomised run: \(door.count) connections, \(book.lineCount) lines of sessions")
            }
            withExtendedLifetime(filling) {}
        }

        /// What a log keeps of one line, about.
        private static let lineLimit = 900

        /// All that has gone wrong, shortly: what it was, and the last steps before it. The steps are printed whole.
        private static func failure(of failures: [any Error]) -> TestFailure {
            let what = failures.map { ($0 as? Session.Failure)?.what ?? "\($0)" }.joined(separator: "; and ")
            let steps = failures.compactMap { ($0 as? Session.Failure)?.steps }.joined(separator: "; and ")
            guard !steps.isEmpty else { return TestFailure(what) }
            print("randomised run, all steps of what failed: \(steps)")
            return TestFailure("\(what); last steps: …\(steps.suffix(max(200, lineLimit - what.count)))")
        }
    }
}
