import Glibc
import Platform
import TestSupport
import Testing

extension BalancerMatrix {
    @Suite("Many connections, and idle ones")
    struct Load {
        /// So many exchanges by some threads; every client closes first if it is to.
        private static func shortConnections(
            _ stage: Stage, count: Int, threads: Int, clientEndsFirst: Bool, hosts: ClosedRange<Int> = 1...1
        ) throws {
            let port = stage.proxy.port
            let handle: @Sendable (Wire) throws -> Void = { wire in
                try wire.send("answer to \(try wire.receiveText(8))")
                guard clientEndsFirst else { return }
                let end = try wire.receiveToEnd()
                guard end == Wire.Whole("", .orderly) else { throw TestFailure("a server got \(end)") }
            }
            var run: () throws -> Void = {
                let clients = try (0..<threads).map { thread in
                    try Worker {
                        for number in 0..<count / threads {
                            let host = hosts.lowerBound + number % hosts.count
                            let client = try Wire.connect(port, Wire.Manner(host: UInt8(host)))
                            let question = "\(10_000_000 + thread * count + number)"
                            try client.send(question)
                            let answer = try client.receiveText(18)
                            guard answer == "answer to \(question)" else { throw TestFailure("\(question): \(answer)") }
                            guard !clientEndsFirst else { continue }
                            let end = try client.receiveToEnd()
                            guard end == Wire.Whole("", .orderly) else {
                                throw TestFailure("\(question) ended by \(end)")
                            }
                        }
                    }
                }
                for client in clients { try client.join() }
            }
            for server in stage.servers {
                run = { [run] in try server.serving(threads: clientEndsFirst ? threads : 1, by: handle, while: run) }
            }
            try run()
        }

        @Test("10,000 short connections, and no error")
        func shortConnections() throws {
            try Stage.run(servers: 2) { stage in
                try Self.shortConnections(stage, count: 10_000, threads: 4, clientEndsFirst: false)
            }
        }

        @Test(
            "2,000 short connections where there are 1,000 ports for clients",
            .enabled(if: getuid() == 0, "needs root, for a network namespace"))
        func fewPorts() throws {
            try PrivateNetwork.run {
                try PrivateNetwork.set("net/ipv4/ip_local_port_range", "40000 40999")
                // What has ended keeps its port for a minute, as it does where connections are not local.
                try PrivateNetwork.set("net/ipv4/tcp_tw_reuse", "0")
                try Stage.run { stage in
                    let count = Stage.rightly(
                        supd: 2000, haproxy: 900,
                        because: "it connects from one address, all of whose ports are then used up for a minute")
                    try Self.shortConnections(stage, count: count, threads: 2, clientEndsFirst: true, hosts: 10...40)
                }
            }
        }

        @Test("500 clients that connect and say nothing: little memory, and the next one is served")
        func silentClients() throws {
            try Stage.run { stage in
                let before = try stage.view.memory()
                let pairs = try (0..<500).map { _ in try stage.pair() }
                try stage.view.becomesQuiet()
                if !isSanitized {
                    let each = (try stage.view.memory() - before) / pairs.count
                    let limit = Stage.rightly(
                        supd: 1024, haproxy: 64 << 10, because: "it keeps some kilobytes for every connection")
                    #expect(each < limit, "bytes of memory for each idle connection")
                }
                let (client, server) = try stage.pair()
                try client.send("question")
                #expect(try server.receiveText(8) == "question")
            }
        }

        /// Memory of the balancer that has nothing to do with how many connections there are: its spare buffers, 8 of 32 KB
        /// in each of two loops, and what malloc keeps.
        private static let memoryOfItsOwn = 16 * (32 << 10) + (128 << 10)

        @Test(
            "4,000 connections that have moved 64 KB each way and are idle: at most 600 bytes each, and all is given back",
            .enabled(if: !isSanitized, "the sanitizer's own memory grows with what was touched"))
        func idleAfterTraffic() throws {
            // Two descriptors of each here, and two in the proxy.
            let count = min(4000, (raiseOpenFileLimit().now - 400) / 2)
            if count < 4000 {
                print("skipped: \(count) connections instead of 4,000, for RLIMIT_NOFILE allows no more")
            }
            try Stage.run { stage in
                let before = try stage.view.memory()
                var pairs: [(client: Wire, server: Wire)] = []
                for _ in 0..<count {
                    let (client, server) = try stage.pair()
                    for (writer, reader) in [(client, server), (server, client)] {
                        var (said, heard) = (Pattern(1), Pattern(1))
                        try writer.send(&said, 64 << 10)
                        // Of the wires' own buffers no more than a page is touched.
                        try reader.receive(&heard, 64 << 10, pieces: 4096)
                    }
                    pairs.append((client, server))
                }
                try stage.view.becomesQuiet()
                // Of fewer connections the balancer's own would be too large a part.
                let memory = try stage.view.memory() - before - (count < 4000 ? Self.memoryOfItsOwn : 0)
                let limit = Stage.rightly(
                    supd: 600, haproxy: 8 << 10, because: "it keeps some kilobytes for every connection")
                print("\(memory / count) bytes of memory for each of \(count) idle connections")
                #expect(memory / count <= limit, "bytes of memory for each idle connection")
                pairs = []
                guard stage.kind == .supd else { return }
                try eventually("all connections have ended") { try stage.proxy.counts()?.isEmpty == true ? true : nil }
                try stage.view.becomesQuiet()
                #expect(try stage.view.memory() - before <= Self.memoryOfItsOwn, "memory when they have ended")
            }
        }

        @Test("100 idle connections cost no processor time")
        func idle() throws {
            try Stage.run { stage in
                let pairs = try (0..<100).map { _ in try stage.pair() }
                for (client, server) in pairs {
                    try client.send("ping")
                    try #require(try server.receiveText(4) == "ping")
                }
                let limit = Stage.rightly(supd: 0, haproxy: 100, because: "its threads look at the clock now and then")
                try stage.view.becomesSlow()
                // A proxy that spins or polls, however slowly, never has such a time; one that was only late does, the next.
                var seen: [ProcessView.Activity] = []
                for _ in 0..<3 {
                    let before = try stage.view.activity()
                    usleep(5_000_000)
                    let after = try stage.view.activity()
                    // The sanitizer has a thread of its own that looks around ten times a second.
                    let isStill = isSanitized || after.switches - before.switches <= limit
                    if after.ticks == before.ticks, isStill { return }
                    seen += [before, after]
                }
                Issue.record("no 5 s without processor time: \(seen)")
            }
        }

        @Test(
            "descriptors run out: nothing spins, and all are served when there are some again",
            .enabled(if: getuid() == 0, "needs root, to see the balancer's descriptors and to lower their limit"),
            arguments: [true, false])
        func descriptorsExhausted(fromTheStart: Bool) throws {
            // The limit that the proxy finds when it starts, by which it can plan; or one that is lowered afterwards, so
            // that accept(2) fails. HAProxy needs a few more descriptors for itself.
            let wish = Wish(descriptors: fromTheStart ? 128 : nil)
            try Stage.run(wish) { stage in
                if !fromTheStart {
                    let open = try #require(stage.view.descriptors())
                    try stage.view.limitDescriptors(open.sockets + open.pipes + open.others + 41)
                }
                let port = stage.proxy.port
                let answered = Lock(0)
                let others = Lock<[Wire.Whole]>([])
                let clients = try (0..<300).map { number in
                    try Worker {
                        let client = try Wire.connect(port)
                        try client.send("question \(number % 10)")
                        let whole = try client.receiveToEnd()
                        if whole == Wire.Whole("answer to question \(number % 10)", .orderly) {
                            answered.withLock { $0 += 1 }
                        } else {
                            others.withLock { $0.append(whole) }
                        }
                    }
                }
                try stage.view.becomesSlow()
                var served: [Wire] = []
                while let wire = try stage.servers[0].acceptWaiting() { served.append(wire) }
                #expect(served.count > 3 && served.count < 200, "so many were connected at once")
                let before = try stage.view.activity()
                usleep(500_000)
                let after = try stage.view.activity()
                #expect(after.seconds(since: before) <= 0.05, "processor time in half a second of want")
                #expect(after.switches - before.switches < 100)
                // Now all of them, as places become free.
                try stage.servers[0].serving(by: Backends.answer) {
                    for wire in served { try Backends.answer(wire) }
                    for client in clients { try client.join() }
                }
                let first = served.count
                served = []
                let least = Stage.rightly(
                    supd: clients.count, haproxy: fromTheStart ? clients.count : first,
                    because:
                        "it plans by the limit that it finds at its start; without a socket for the server it ends a client"
                )
                #expect(answered.withLock { $0 } >= least)
                // Whoever was not served knows it, and has not got a part.
                #expect(others.withLock { $0 }.allSatisfy { $0.text.isEmpty })
                try stage.servers[0].serving(by: Backends.answer) { try Backends.exchange(port, 0) }
            }
        }
    }
}
