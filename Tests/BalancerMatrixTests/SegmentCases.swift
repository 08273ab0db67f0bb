import CMatrixSupport
import CPlatform
import Glibc
import Links
import Platform
import TestSupport
import Testing

extension BalancerMatrix {
    /// What a short connection costs is what the kernel does for each segment. All is sent so that no chance decides how
    /// many there are: an end in one segment with the bytes before it.
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
                var inOne = 0
                for _ in 0..<Self.rounds {
                    let client = try stage.connect(Wire.Manner(delaysHandshake: true))
                    try Self.sendLast("request", client)
                    let server = try stage.accept()
                    if let version { _ = try Introduction.read(server, version) }
                    try #require(try server.receiveToEnd() == Wire.Whole("request", .orderly))
                    // The SYN and the ACK that ends the handshake are the others.
                    let segments = matrix_segments_received(server.raw)
                    if segments <= 3 { inOne += 1 }
                    // A header goes before if the client's bytes are late.
                    try #require(segments <= (version == nil ? 3 : 4))
                }
                #expect(inOne >= Self.rounds / 2, "of \(Self.rounds)")
            }
        }

        /// What a socket has received.
        private struct Received {
            let segments: Int32
            let withBytes: Int32

            init(_ wire: Wire) {
                segments = matrix_segments_received(wire.raw)
                withBytes = matrix_data_segments_received(wire.raw)
            }
        }

        private static func bytesOut(_ proxy: SupdProxy) throws -> Int {
            try proxy.counters().fronts.reduce(0) { $0 + Int($1.counts.bytesOut) }
        }

        private static func setSendBuffer(_ socket: Descriptor, _ size: Int32) throws {
            var size = size
            let length = socklen_t(MemoryLayout<Int32>.size)
            try systemCall("setsockopt") { setsockopt(socket.raw, SOL_SOCKET, SO_SNDBUF, &size, length) }
        }

        /// Has the proxy keep a server's last bytes, behind which is its end, for a client that reads nothing; then the
        /// client reads what the kernel has of them. Answers how much the server has said, and what the client's socket has
        /// received before the proxy goes on.
        private static func leaveKept(
            _ stage: Stage, _ proxy: SupdProxy, _ client: Wire, _ server: Wire, _ heard: inout Pattern
        ) throws -> (said: Int, before: Received) {
            let socket = try stage.view.socket(connectedTo: try client.name())
            let base = try bytesOut(proxy)
            var said = Pattern(1)
            func isRead() throws -> Bool? { try bytesOut(proxy) == base + said.position ? true : nil }
            // Until the client's window is full, and the kernel has most of a segment of the largest size beside it: its last
            // one takes bytes up to there, whatever room there is. In small pieces: what is bulk is spliced.
            try setSendBuffer(socket, 1 << 20)
            repeat {
                try server.send(&said, 4096)
                try eventually("the proxy has read what a server says") { try isRead() }
            } while matrix_not_sent_bytes(socket.raw) < 48 << 10
            // The kernel takes no more.
            try setSendBuffer(socket, 1)
            // One event tells of the last bytes and the end.
            try stage.whileStopped {
                let last = said.next(32_000)
                try server.send(last, flags: Int32(MSG_MORE))
                said.advance(last.count)
                server.finishWriting()
                try eventually("all is acknowledged") { supd_unsent_bytes(server.raw) == 0 ? true : nil }
            }
            try eventually("the proxy has read the last bytes") { try isRead() }
            var before: Received?
            try stage.whileStopped {
                try setSendBuffer(socket, 1 << 20)
                try eventually("the client has had what the kernel has") { () -> Bool? in
                    let isAll = supd_unsent_bytes(socket.raw) == 0
                    while case .bytes(let bytes) = client.receiveOnce(waits: false) {
                        guard heard.takes(bytes) else { throw TestFailure("wrong bytes before \(heard.position)") }
                    }
                    return isAll ? true : nil
                }
                before = Received(client)
            }
            guard let before, heard.position < said.position else {
                throw TestFailure("the proxy has kept nothing of \(said.position) bytes")
            }
            return (said.position, before)
        }

        @Test(
            "a server's last bytes and its end reach a slow reader in one, also when the proxy had to keep the bytes",
            .enabled(
                if: ProxyKind.present == .supd && getuid() == 0,
                "looks into the sockets of supd's balancer, for which it needs root"))
        func keptBytesWithEnd() throws {
            try Stage.run { stage in
                guard let supd = stage.proxy as? SupdProxy else { return }
                for _ in 0..<Self.rounds {
                    let (client, server) = (try stage.connect(), try stage.accept())
                    var heard = Pattern(1)
                    let (said, before) = try Self.leaveKept(stage, supd, client, server, &heard)
                    try #require(try client.receive(&heard) == .orderly)
                    try #require(heard.position == said)
                    let now = Received(client)
                    // An end by itself has no bytes.
                    try #require(now.segments - before.segments == now.withBytes - before.withBytes)
                }
            }
        }
    }
}
