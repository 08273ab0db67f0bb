import CPlatform
import Glibc
import Links
import Platform
import TestSupport
import Testing

@testable import Balancer

@Suite("Every session ends in a state that says why")
struct EndStateTests {
    @Test("every state has letters of its own")
    func letters() {
        let all = (0..<EndState.count).compactMap { EndState(index: $0) }
        #expect(all.count == EndState.count)
        #expect(all.count == EndState.Cause.allCases.count * EndState.Stage.allCases.count)
        #expect(Set(all.map(\.text)).count == EndState.count)
        for (index, end) in all.enumerated() { #expect(end.index == index) }
        #expect(EndState(index: EndState.count) == nil)
        #expect(EndState(index: -1) == nil)
        #expect(EndState.complete.text == "--")
    }

    /// A way in which a session ends, and the states for the front and for the endpoint.
    enum Way: String, CaseIterable, Sendable {
        case bothEnd, clientResets, endpointResets, endpointRefuses, nobodyComes
        case clientLeavesQueue, serviceIsStopped, drained, clientResetsAfterTheAnswer, earlyReply, bytesAfterTheAnswer
        case backlogFull, drainedAfterTheAnswer, requestUnreadAfterTheAnswer, watchFails, watchFailsInGreeting
        case connectsLackDescriptors

        var states: (front: String, endpoint: String?) {
            switch self {
            case .bothEnd: ("--", "--")
            case .clientResets: ("CD", "CD")
            case .endpointResets: ("SD", "SD")
            case .endpointRefuses: ("sQ", "SC")
            case .nobodyComes: ("sQ", nil)
            case .clientLeavesQueue: ("CQ", nil)
            case .serviceIsStopped: ("PQ", nil)
            case .drained: ("DD", "DD")
            case .clientResetsAfterTheAnswer: ("CL", "CL")
            case .earlyReply: ("SD", "SD")
            case .bytesAfterTheAnswer: ("--", "--")
            case .backlogFull: ("sQ", "sC")
            case .drainedAfterTheAnswer: ("DL", "DL")
            case .requestUnreadAfterTheAnswer: ("sL", "sL")
            case .watchFails, .connectsLackDescriptors: ("RQ", nil)
            case .watchFailsInGreeting: ("RG", nil)
            }
        }
    }

    @Test("the state is that of what has happened, at the front and at the endpoint", arguments: Way.allCases)
    func ends(way: Way) throws {
        try Rig.run { rig in
            let backend = try Backend(backlog: way == .backlogFull ? 0 : 4096)
            let fillers = try (0..<(way == .backlogFull ? 2 : 0)).map { _ in try backend.fill() }
            var active = Rig.pool([backend.endpoint(1)], queueTimeout: 0.3, drainTimeout: 0.1)
            switch way {
            case .backlogFull:
                active.connectTimeout = 100_000_000
                try rig.apply([active])
            case .requestUnreadAfterTheAnswer:
                active.finTimeout = 400_000_000
                try rig.apply([active])
            case .watchFails, .watchFailsInGreeting:
                active.endpoints = []
                active.fronts[0].acceptsProxyProtocol = way == .watchFailsInGreeting
                try rig.apply([active])
                rig.engine.failWatches(loop: 0, count: 1)
                // Behind it in the loop's mailbox.
                try rig.apply([active])
            case .connectsLackDescriptors:
                try rig.apply([active])
                rig.engine.failConnects(loop: 0, count: .max)
                // Behind it in the loop's mailbox.
                try rig.apply([active])
            case .nobodyComes, .clientLeavesQueue, .serviceIsStopped:
                try rig.apply([Rig.pool([], queueTimeout: way == .nobodyComes ? 0.3 : 30)])
            case .endpointRefuses:
                backend.close()
                try rig.apply([active])
            default: try rig.apply([active])
            }
            let client = try rig.connect()
            var server: Peer?
            if way.states.endpoint != nil, way != .endpointRefuses, way != .backlogFull {
                server = try backend.accept()
                try client.send("request")
                #expect(try server?.receiveText(7) == "request")
            }
            switch way {
            case .bothEnd:
                client.finishWriting()
                #expect(try server?.receiveToEnd() == [])
                server?.close()
                #expect(client.receiveToEndOrError().code == 0)
            case .clientResets:
                client.reset()
                #expect(server?.receiveToEndOrError().code == ECONNRESET)
            case .endpointResets:
                server?.reset()
                #expect(client.receiveToEndOrError().code == ECONNRESET)
            case .endpointRefuses, .nobodyComes, .backlogFull, .watchFails, .watchFailsInGreeting,
                .connectsLackDescriptors:
                #expect(client.receiveToEndOrError().code == ECONNRESET)
            case .clientLeavesQueue:
                _ = try eventually("it waits") { try rig.front.queued == 1 ? true : nil }
                client.reset()
            case .serviceIsStopped:
                _ = try eventually("it waits") { try rig.front.queued == 1 ? true : nil }
                try rig.apply([Rig.pool([], emptiness: .refuse)])
            case .drained:
                try rig.apply([Rig.pool([backend.endpoint(1, .draining)], drainTimeout: 0.1)])
                #expect(client.receiveToEndOrError().code == ECONNRESET)
            case .clientResetsAfterTheAnswer:
                server?.finishWriting()
                #expect(try client.receiveToEnd() == [])
                client.reset()
                #expect(server?.receiveToEndOrError().code == ECONNRESET)
            case .earlyReply:
                try client.send([UInt8](repeating: 1, count: 100_000))
                try server?.send("no")
                #expect(server?.isReadable(within: 30_000) == true)
                server?.close()
                while (try? client.send([UInt8](repeating: 1, count: 10_000))) != nil {}
                #expect(client.receiveToEndOrError().bytes == Array("no".utf8))
            case .bytesAfterTheAnswer:
                server?.close()
                #expect(try client.receiveToEnd() == [])
                try client.send([UInt8](repeating: 1, count: 100_000))
                client.finishWriting()
            case .drainedAfterTheAnswer:
                server?.finishWriting()
                #expect(try client.receiveToEnd() == [])
                try rig.apply([Rig.pool([backend.endpoint(1, .draining)], drainTimeout: 0.1)])
                #expect(server?.receiveToEndOrError().code == ECONNRESET)
            case .requestUnreadAfterTheAnswer:
                server?.finishWriting()
                #expect(try client.receiveToEnd() == [])
                // Until nothing goes any more: the server does not read, and is the one that is waited for.
                while (try? client.send([UInt8](repeating: 1, count: 1 << 20))) != nil {}
            }
            withExtendedLifetime(fillers) {}
            let counts = try AdmissionTests.settled(rig, ended: 1)
            #expect(counts.ends == [way.states.front: 1])
            if let expected = way.states.endpoint {
                let instance = try rig.instance("api/1")
                #expect(Set(instance.ends.keys) == [expected])
                #expect(instance.ends.values.reduce(0, +) == instance.total)
            }
        }
    }

    @Test("ends, and those that are open, are all that ever came", arguments: [1, 2])
    func sums(loops: Int) throws {
        try Rig.run(loops: loops) { rig in
            let dead = try Backend()
            let backends = try (0..<2).map { _ in try Backend() }
            dead.close()
            try rig.apply([Rig.pool([dead.endpoint(1), backends[0].endpoint(2), backends[1].endpoint(3)])])
            var open: [Peer] = []
            for number in 0..<60 {
                let client = try rig.connect()
                try client.send("x")
                let server = try eventually("it is served") {
                    for backend in backends where backend.waits() { return try backend.accept() }
                    return nil
                }
                #expect(try server.receiveText(1) == "x")
                switch number % 3 {
                case 0: open += [client, server]
                case 1: client.reset()
                default: server.reset()
                }
            }
            let counters = try eventually("40 have ended") {
                let counters = try rig.counters
                return counters.fronts.first?.counts.current == 20 ? counters : nil
            }
            let all = counters.fronts.map(\.counts) + counters.endpoints.map(\.counts)
            for counts in all {
                #expect(counts.ends.values.reduce(0, +) + counts.current == counts.total)
                #expect(counts.maximum >= counts.current)
            }
            #expect(try rig.front.ends == ["CD": 20, "SD": 20])
            withExtendedLifetime(open) {}
        }
    }

    // MARK: Maxima and rates

    @Test("the most that were open and waiting are kept")
    func maxima() throws {
        try Rig.run { rig in
            try rig.apply([Rig.pool([])])
            let clients = try (0..<7).map { _ in try rig.connect() }
            _ = try eventually("all wait") { try rig.front.queued == 7 ? true : nil }
            for client in clients { client.reset() }
            let counts = try AdmissionTests.settled(rig, ended: 7)
            #expect(counts.maximum == 7)
            #expect(counts.maximumQueued == 7)
            let one = try rig.connect()
            _ = try eventually("it waits") { try rig.front.queued == 1 ? true : nil }
            #expect(try rig.front.maximum == 7)
            withExtendedLifetime(one) {}
        }
    }

    @Test("a rate is that of the last whole second")
    func rate() {
        let set = CounterSet(loops: 2, label: "x")
        let second: Int64 = 1_000_000_000
        let start = 1000 * second
        func arrive(_ count: Int, loop: Int, at now: Int64) {
            for _ in 0..<count { set.block(loop: loop).pointee.countArrived(at: now) }
        }
        #expect(set.sum(at: start).rate == 0)
        arrive(5, loop: 0, at: start + 1)
        arrive(3, loop: 1, at: start + second - 1)
        #expect(set.sum(at: start + second - 1).rate == 0)
        #expect(set.sum(at: start + second - 1).maximumRate == 8)
        #expect(set.sum(at: start + second).rate == 8)
        arrive(2, loop: 0, at: start + second + 5)
        #expect(set.sum(at: start + second + 6).rate == 8)
        #expect(set.sum(at: start + 2 * second).rate == 2)
        #expect(set.sum(at: start + 3 * second).rate == 0)
        // After a pause the second before is an empty one.
        arrive(1, loop: 0, at: start + 10 * second + 1)
        #expect(set.sum(at: start + 10 * second + 2).rate == 0)
        #expect(set.sum(at: start + 11 * second).rate == 1)
        #expect(set.sum(at: start + 11 * second).maximumRate == 8)
        #expect(set.sum(at: start + 11 * second).total == 11)
    }

    @Test("the rate of a front is counted")
    func frontRate() throws {
        try Rig.run { rig in
            let backend = try Backend()
            try rig.serve([backend])
            for _ in 0..<5 { _ = try rig.pair(backend) }
            #expect(try rig.front.maximumRate >= 1)
            // The rate is that of the second before this one: somebody comes in every one.
            _ = try eventually("the second is over") {
                _ = try rig.pair(backend)
                return try rig.front.rate > 0 ? true : nil
            }
            #expect(try rig.instance("api/1").maximumRate >= 1)
        }
    }

    // MARK: Options of the front's sockets

    @Test("a front's options are those of its socket and of what it accepts from then on")
    func options() throws {
        func option(_ socket: Int32, _ level: Int32, _ name: Int32) -> Int32 {
            var value: Int32 = -1
            var length = socklen_t(4)
            getsockopt(socket, level, name, &value, &length)
            return value
        }
        try Rig.run { rig in
            let tcp = Int32(IPPROTO_TCP)
            // The rig's descriptor is the balancer's own.
            let front = rig.frontSocket.raw
            try rig.apply([Rig.pool([])])
            #expect(option(front, SOL_SOCKET, SO_KEEPALIVE) == 1)
            #expect(option(front, tcp, TCP_KEEPIDLE) == 60)
            #expect(option(front, tcp, TCP_KEEPINTVL) == 15)
            #expect(option(front, tcp, TCP_KEEPCNT) == 4)
            #expect(option(front, tcp, 18) == 0)
            #expect(option(front, tcp, TCP_DEFER_ACCEPT) == 0)
            var pool = Rig.pool([])
            pool.fronts[0].options.keepAliveSeconds = 3
            pool.fronts[0].options.userTimeoutMilliseconds = 7000
            pool.fronts[0].options.deferAcceptSeconds = 5
            pool.fronts[0].options.backlog = 17
            try rig.apply([pool])
            #expect(option(front, tcp, TCP_KEEPIDLE) == 3)
            #expect(option(front, tcp, TCP_KEEPINTVL) == 1)
            #expect(option(front, tcp, 18) == 7000)
            #expect(option(front, tcp, TCP_DEFER_ACCEPT) >= 5)
            // Of a listening socket: the limit of its queue.
            #expect(try backlog(front) == 17)
            // With deferred accept a client that is silent is not there yet.
            let silent = try rig.connect()
            let client = try rig.connect()
            try client.send("x")
            _ = try eventually("the one that speaks is accepted") { try rig.front.queued == 1 ? true : nil }
            pool.fronts[0].options = RoutingTable.SocketOptions()
            pool.fronts[0].options.keepAliveSeconds = nil
            pool.fronts[0].options.userTimeoutMilliseconds = .max
            pool.fronts[0].options.backlog = .max
            try rig.apply([pool])
            #expect(option(front, SOL_SOCKET, SO_KEEPALIVE) == 0)
            #expect(option(front, tcp, TCP_DEFER_ACCEPT) == 0)
            #expect(rig.received.allSatisfy { if case .log = $0 { false } else { true } })
            withExtendedLifetime((silent, client)) {}
        }
    }

    /// The backlog of a listening TCP socket: tcpi_sacked of TCP_INFO, tcpi_unacked is what waits.
    private func backlog(_ socket: Int32) throws -> UInt32 {
        var words = [UInt32](repeating: 0, count: 26)
        var length = socklen_t(104)
        _ = try systemCall("getsockopt") { getsockopt(socket, Int32(IPPROTO_TCP), TCP_INFO, &words, &length) }
        // Eight bytes of small fields, then rto, ato, snd_mss, rcv_mss, unacked, sacked.
        return words[7]
    }

    @Test("accepted sockets inherit the options")
    func inherited() throws {
        let front = try listen(on: .ipv4("127.0.0.1", port: 0))
        let port = try #require(try SocketAddress.local(of: front).port)
        var options = supd_listener_options(keep_alive: 40, user_timeout: 9000, defer_accept: 0, backlog: 10)
        #expect(supd_set_listener_options(front.raw, &options) == 0)
        let client = try Peer.connect(port: port)
        let accepted = try acceptConnection(from: front)
        for (level, name, expected) in [
            (SOL_SOCKET, SO_KEEPALIVE, 1), (Int32(IPPROTO_TCP), TCP_KEEPIDLE, 40),
            (Int32(IPPROTO_TCP), TCP_KEEPINTVL, 10), (Int32(IPPROTO_TCP), 18, 9000),
        ] as [(Int32, Int32, Int32)] {
            var value: Int32 = -1
            var length = socklen_t(4)
            getsockopt(accepted.raw, level, name, &value, &length)
            #expect(value == expected)
        }
        withExtendedLifetime(client) {}
    }
}
