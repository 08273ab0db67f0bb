import CMatrixSupport
import Glibc
import Platform
import TestSupport
import Testing

extension BalancerMatrix {
    @Suite("Bytes go through unchanged")
    struct Streams {
        @Test("64 MB both ways at once")
        func bulkBothWays() throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                let size = 64 << 20
                try atOnce(
                    {
                        var up = Pattern(1)
                        try client.send(&up, size)
                        client.finishWriting()
                    },
                    {
                        var down = Pattern(2)
                        try server.send(&down, size)
                        server.finishWriting()
                    },
                    { try Self.expectAll(server, 1, size) },
                    { try Self.expectAll(client, 2, size) })
            }
        }

        /// Receives a whole stream, and its orderly end.
        static func expectAll(_ wire: Wire, _ seed: UInt64, _ size: Int, pieces: Int = Pattern.window) throws {
            var pattern = Pattern(seed)
            let end = try wire.receive(&pattern, pieces: pieces)
            guard end == .orderly, pattern.position == size else {
                throw TestFailure("\(pattern.position) of \(size) bytes and \(String(describing: end))")
            }
        }

        @Test(
            "a reader that stops for 5 s while 200 MB are pushed: bounded memory, and every byte",
            arguments: [true, false])
        func stoppedReader(isClient: Bool) throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair(Wire.Manner(receiveBuffer: isClient ? 64 << 10 : nil))
                let (reader, writer) = isClient ? (client, server) : (server, client)
                let size = 200 << 20
                let before = try stage.view.memory()
                let pushed = Lock(0)
                let pusher = try Worker {
                    var pattern = Pattern(3)
                    while pattern.position < size {
                        try writer.send(&pattern, 256 << 10)
                        let position = pattern.position
                        pushed.withLock { $0 = position }
                    }
                    writer.finishWriting()
                }
                // From when nothing moves any more.
                let pause: Int64 = 5_000_000_000
                var (last, since) = (0, monotonicNanoseconds())
                var (most, activity) = (before, try stage.view.activity())
                while monotonicNanoseconds() - since < pause {
                    usleep(50_000)
                    most = max(most, try stage.view.memory())
                    let now = pushed.withLock { $0 }
                    if now != last {
                        (last, since, activity) = (now, monotonicNanoseconds(), try stage.view.activity())
                    }
                }
                #expect(last < size / 2, "the writer was held back")
                #expect(try stage.view.activity().seconds(since: activity) < 0.2, "processor time while nothing moves")
                if !isSanitized { #expect(most - before < 2 << 20, "memory of the proxy while a reader stands still") }
                try Self.expectAll(reader, 3, size)
                try pusher.join()
            }
        }

        @Test("one byte at a time, each answered")
        func byteByByte() throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                var (up, down) = (Pattern(4), Pattern(5))
                var (upSeen, downSeen) = (Pattern(4), Pattern(5))
                for _ in 0..<1000 {
                    try client.send(&up, 1)
                    try server.receive(&upSeen, 1)
                    try server.send(&down, 1)
                    try client.receive(&downSeen, 1)
                }
            }
        }

        @Test("one byte at a time, in a stream that is not waited for, both ways")
        func manyBytes() throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                let size = 20_000
                try atOnce(
                    {
                        var up = Pattern(6)
                        try client.send(&up, size, pieces: 1)
                        client.finishWriting()
                    },
                    {
                        var down = Pattern(7)
                        try server.send(&down, size, pieces: 1)
                        server.finishWriting()
                    },
                    { try Self.expectAll(server, 6, size, pieces: 1) },
                    { try Self.expectAll(client, 7, size, pieces: 3) })
            }
        }

        @Test("a server that speaks first is heard before the client has said anything")
        func serverFirst() throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                try server.send("220 ready\r\n")
                #expect(try client.receiveText(11) == "220 ready\r\n")
                try client.send("QUIT\r\n")
                #expect(try server.receiveText(6) == "QUIT\r\n")
                try server.send("221 bye\r\n")
                server.close()
                #expect(try client.receiveToEnd() == Wire.Whole("221 bye\r\n", .orderly))
            }
        }

        @Test("a client that speaks first, with its request and its end in one piece")
        func clientFirst() throws {
            try Stage.run { stage in
                for _ in 0..<50 {
                    let client = try stage.connect()
                    try client.send("request")
                    client.finishWriting()
                    let server = try stage.accept()
                    try #require(try server.receiveToEnd() == Wire.Whole("request", .orderly))
                    try server.send("answer")
                    server.close()
                    try #require(try client.receiveToEnd() == Wire.Whole("answer", .orderly))
                }
            }
        }

        @Test("first bytes that travel with the ACK of the SYN's answer")
        func dataWithHandshake() throws {
            try Stage.run { stage in
                var carried = 0
                for _ in 0..<200 where carried < 20 {
                    let client = try stage.connect(Wire.Manner(delaysHandshake: true))
                    try client.send("first")
                    // The SYN, and one segment that was both the ACK and the first bytes. The kernel keeps an ACK back for
                    // some 200 ms only: a sender that was not given the processor in time sends three.
                    let segments = matrix_segments_sent(client.raw)
                    let server = try stage.accept()
                    try #require(try server.receiveText(5) == "first")
                    try server.send("answer")
                    try #require(try client.receiveText(6) == "answer")
                    if segments == 2 { carried += 1 }
                }
                #expect(carried == 20, "first bytes in the segment that ends the handshake")
            }
        }

        @Test(
            "first bytes that travel with the SYN itself",
            .enabled(if: getuid() == 0, "needs root, for a network namespace that allows TCP Fast Open"))
        func dataWithSYN() throws {
            try PrivateNetwork.run {
                // Both sides, and without the cookie that a first connection would have to fetch.
                try PrivateNetwork.set("net/ipv4/tcp_fastopen", "1543")
                try Stage.run { stage in
                    for _ in 0..<20 {
                        let client = try Wire.unconnected()
                        let sent = "first".withCString { matrix_send_with_syn(client.raw, stage.proxy.port, $0, 5) }
                        guard sent == 5 else { throw SystemError(call: "sendto", code: errno) }
                        let server = try stage.accept()
                        try #require(try server.receiveText(5) == "first")
                        try #require(matrix_syn_carried_data(client.raw) != 0)
                        try server.send("answer")
                        try #require(try client.receiveText(6) == "answer")
                    }
                }
            }
        }

        @Test("urgent data stays in the stream, in its place")
        func urgentData() throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                try client.send("before")
                #expect(try server.receiveText(6) == "before")
                try client.sendUrgent("!")
                try client.send("after")
                client.finishWriting()
                let expected = Stage.rightly(
                    supd: "!after", haproxy: "after",
                    because: "it reads without SO_OOBINLINE, so that the kernel keeps the urgent byte out of the stream"
                )
                #expect(try server.receiveToEnd() == Wire.Whole(expected, .orderly))
            }
        }

        @Test("urgent data in the middle of a bulk transfer holds nothing up", arguments: [true, false])
        func urgentDataInBulk(fromClient: Bool) throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                let (writer, reader) = fromClient ? (client, server) : (server, client)
                let (rounds, piece) = (24, 1 << 20)
                let pusher = try Worker {
                    var pattern = Pattern(8)
                    for _ in 0..<rounds {
                        try writer.send(&pattern, piece - 1)
                        try writer.send(pattern.next(1), flags: Int32(MSG_OOB))
                        pattern.advance(1)
                    }
                    writer.finishWriting()
                }
                let keepsUrgent = Stage.rightly(
                    supd: true, haproxy: false,
                    because: "it loses urgent bytes; that the stream goes on is all that counts")
                if keepsUrgent {
                    try Self.expectAll(reader, 8, rounds * piece)
                } else {
                    var count = 0
                    while case .bytes(let bytes) = reader.receiveOnce() { count += bytes.count }
                    #expect(count >= rounds * (piece - 1))
                }
                try pusher.join()
            }
        }

        @Test("urgent bytes while the proxy is stopped and goes on again and again", arguments: [true, false])
        func urgentDataWhileSignalled(fromClient: Bool) throws {
            // recv(2) says EAGAIN in front of an urgent byte when the process has a signal waiting.
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                let (writer, reader) = fromClient ? (client, server) : (server, client)
                let isDone = Lock(false)
                let pid = stage.proxy.pid
                let signaller = try Worker {
                    while !isDone.withLock({ $0 }) {
                        kill(pid, SIGSTOP)
                        kill(pid, SIGCONT)
                        // One signal a call at most.
                        usleep(500)
                    }
                }
                let whole = Result {
                    for round in 0..<2000 {
                        try writer.sendUrgent("!")
                        guard stage.kind == .supd else { continue }
                        guard try reader.receiveText(1) == "!" else { throw TestFailure("round \(round)") }
                    }
                    writer.finishWriting()
                    let keepsUrgent = Stage.rightly(supd: true, haproxy: false, because: "it loses urgent bytes")
                    guard try reader.receiveToEnd().end == .orderly || !keepsUrgent else {
                        throw TestFailure("a reset")
                    }
                }
                isDone.withLock { $0 = true }
                try signaller.join()
                try whole.get()
            }
        }
    }
}
