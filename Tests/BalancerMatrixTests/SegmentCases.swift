import CMatrixSupport
import CPlatform
import Glibc
import Links
import Platform
import TestSupport
import Testing

extension BalancerMatrix {
    /// What a short connection costs is what the kernel does for each segment. All is sent so that no chance decides how
    /// many there are: an end in one segment with the bytes before it, and first bytes in one with the handshake's ACK.
    @Suite(
        "A short connection takes few segments",
        .enabled(if: ProxyKind.present == .supd, "HAProxy sends an end in a segment of its own"))
    struct Segments {
        private static let rounds = 20

        /// Sends text and the end behind it in one segment.
        private static func sendLast(_ text: String, _ wire: Wire) throws {
            try Array(text.utf8).withUnsafeBytes { try wire.send($0, flags: Int32(MSG_MORE)) }
            wire.finishWriting()
        }

        @Test("a server's last bytes and its end reach the client in one")
        func answerWithEnd() throws {
            try Stage.run { stage in
                for _ in 0..<Self.rounds {
                    let (client, server) = (try stage.connect(), try stage.accept())
                    try Self.sendLast("answer", server)
                    try #require(try client.receiveToEnd() == Wire.Whole("answer", .orderly))
                    // The answer to its SYN is the other one. It was silent, so there was nothing to acknowledge.
                    try #require(matrix_segments_received(client.raw) == 2)
                }
            }
        }

        @Test("both sides' last bytes and ends at once, each in one")
        func bothEnds() throws {
            try Stage.run { stage in
                for _ in 0..<Self.rounds {
                    let (client, server) = (try stage.connect(), try stage.accept())
                    let wires = [client, server]
                    var before: [Int32] = []
                    // So that it sees all at once: the second end is then passed on by closing.
                    try stage.whileStopped {
                        for wire in wires { try Self.sendLast("last", wire) }
                        // The kernel acknowledges what a stopped process does not read.
                        try eventually("all is acknowledged") {
                            wires.allSatisfy { supd_unsent_bytes($0.raw) == 0 } ? true : nil
                        }
                        before = wires.map { matrix_segments_received($0.raw) }
                    }
                    for wire in wires { try #require(try wire.receiveToEnd() == Wire.Whole("last", .orderly)) }
                    try #require(wires.map { matrix_segments_received($0.raw) } == before.map { $0 + 1 })
                }
            }
        }

        @Test(
            "a client's only bytes and its end reach the server in one, also behind a PROXY header",
            arguments: [nil, .v1, .v2] as [RoutingTable.Pool.ProxyProtocol?])
        func requestWithEnd(_ version: RoutingTable.Pool.ProxyProtocol?) throws {
            try Stage.run { stage in
                guard let supd = stage.proxy as? SupdProxy else { return }
                supd.adjust = { $0.pools[0].proxyProtocol = version }
                try supd.serve(stage.servers)
                var carried = 0
                for _ in 0..<Self.rounds {
                    let client = try stage.connect(Wire.Manner(delaysHandshake: true))
                    try Self.sendLast("request", client)
                    let server = try stage.accept()
                    if let version { _ = try Introduction.read(server, version) }
                    try #require(try server.receiveToEnd() == Wire.Whole("request", .orderly))
                    // The SYN, and an ACK that ends the handshake, may be the others: the kernel keeps that one back for some
                    // 200 ms only. A header may go before, if the client's bytes are late.
                    let segments = matrix_segments_received(server.raw)
                    try #require(segments <= (version == nil ? 3 : 4))
                    if segments == 2 { carried += 1 }
                }
                #expect(carried >= Self.rounds / 2, "ends of handshakes that came with the request")
            }
        }

        @Test(
            "nobody waits for an ACK that the balancer keeps back", .enabled(if: getuid() == 0, "needs root"),
            arguments: Wait.allCases)
        func acknowledged(_ wait: Wait) throws {
            try PrivateNetwork.run {
                try Stage.run { stage in
                    let before = try PrivateNetwork.count("DelayedACKs")
                    for _ in 0..<Self.rounds { try wait.play(stage) }
                    // One is sent late, by the kernel's timer, when somebody did not get the processor for 40 ms.
                    #expect(try PrivateNetwork.count("DelayedACKs") - before < Self.rounds)
                }
            }
        }

        @Test(
            "many connects at once leave no more half open than a small backlog holds",
            .enabled(if: getuid() == 0, "needs root"))
        func halfOpen() throws {
            try PrivateNetwork.run {
                let servers = [try Server(backlog: 8)]
                try Stage.run(Wish(threads: 1), with: servers) { stage in
                    let before = try PrivateNetwork.count("TCPReqQFullDoCookies")
                    guard let supd = stage.proxy as? SupdProxy else { return }
                    // All wait, and are connected at once when there is a server.
                    supd.parked = [servers[0].port]
                    try supd.serve(servers)
                    let clients = try (0..<10).map { _ in try stage.connect() }
                    try eventually("all wait") { try supd.counts()?.waiting == clients.count ? true : nil }
                    supd.parked = []
                    try supd.serve(servers)
                    // A server that speaks first: a connection that its kernel has forgotten would never hear it.
                    for _ in clients {
                        let server = try stage.accept()
                        try server.send("220 ready\r\n")
                        server.finishWriting()
                    }
                    for client in clients {
                        try #require(try client.receiveToEnd() == Wire.Whole("220 ready\r\n", .orderly))
                    }
                    #expect(try PrivateNetwork.count("TCPReqQFullDoCookies") == before)
                }
            }
        }

        /// What would go on only by the kernel's timer if an ACK were kept back.
        enum Wait: CaseIterable {
            /// A server speaks first: to accept a connection, it needs the handshake's ACK.
            case serverFirst
            /// A client has ended without a word.
            case silentEnd
            /// A server's answer is in two pieces, the second of which Nagle's algorithm keeps until the first is acknowledged.
            case twoPieces
            /// The same, for a client that says nothing until the connection is there.
            case twoPiecesLater

            func play(_ stage: Stage) throws {
                let client = try stage.connect(Wire.Manner(delaysHandshake: self == .twoPieces))
                switch self {
                case .serverFirst:
                    let server = try stage.accept()
                    try server.send("220 ready\r\n")
                    try #require(try client.receiveText(11) == "220 ready\r\n")
                case .silentEnd:
                    client.finishWriting()
                    try #require(try stage.accept().receiveToEnd() == Wire.Whole("", .orderly))
                case .twoPieces, .twoPiecesLater:
                    var early: Wire?
                    if self == .twoPiecesLater { early = try stage.accept() }
                    try client.send("request")
                    let server = try early ?? stage.accept()
                    try #require(try server.receiveText(7) == "request")
                    try server.send("head")
                    try server.send("body")
                    try #require(try client.receiveText(8) == "headbody")
                }
            }
        }
    }
}
