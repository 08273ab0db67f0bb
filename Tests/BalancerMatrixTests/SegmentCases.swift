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
    }
}
