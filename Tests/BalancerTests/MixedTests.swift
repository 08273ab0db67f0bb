import Glibc
import Links
import Platform
import Synchronization
import TestSupport
import Testing

@testable import Balancer

@Suite("Connections of all kinds at the same time")
struct MixedTests {
    /// What one connection does, drawn from a seed.
    private struct Script: Sendable {
        var upBytes: Int
        var downBytes: Int
        var upPiece: Int
        var downPiece: Int
        var pauseEvery: Int
        var receiveBuffer: Int32?
        var serverFirst: Bool
        var seed: UInt64

        init(seed: UInt64) {
            var state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1
            func next(_ limit: Int) -> Int {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Int(state >> 33) % limit
            }
            let sizes = [0, 1, 100, 4096, 32 << 10, (32 << 10) + 1, 300_000, 500_000]
            let pieces = [1 << 16, 1 << 16, 1000, 32 << 10, 77]
            upBytes = sizes[next(sizes.count)]
            downBytes = sizes[next(sizes.count)]
            upPiece = max(pieces[next(pieces.count)], upBytes / 500)
            downPiece = max(pieces[next(pieces.count)], downBytes / 500)
            pauseEvery = [0, 0, 50, 7][next(4)]
            receiveBuffer = [nil, nil, 128 << 10, 512 << 10][next(4)]
            serverFirst = next(2) == 0
            self.seed = seed
        }
    }

    @Test("every byte of 60 scripted connections arrives, and every end", arguments: [(UInt64(1), 1), (2, 2), (3, 2)])
    func mix(seed: UInt64, loops: Int) throws {
        try Rig.run(loops: loops) { configuration in
            configuration.buffersPerLoop = 12
            configuration.pipesPerLoop = 4
        } _: { rig in
            let backend = try Backend()
            try rig.serve([backend])
            let front = rig.port
            let failures = FailureBox()
            // Ten at a time, each with a client that says who it is, so that the server knows its script.
            for round in 0..<6 as Range<UInt64> {
                let threads = try (0..<10 as Range<UInt64>).map { number in
                    let script = Script(seed: seed * 1000 + round * 10 + number)
                    return try TestThread { failures.run { try Self.client(script, front) } }
                }
                let servers = try (0..<10).map { _ in
                    let peer = try backend.accept()
                    return try TestThread { failures.run { try Self.server(peer) } }
                }
                for thread in threads + servers { thread.join() }
                if let failure = failures.first { throw failure }
            }
            _ = try eventually("all are forgotten") { try rig.front.current == 0 ? true : nil }
        }
    }

    private static func client(_ script: Script, _ port: UInt16) throws {
        let peer = try Peer.connect(port: port, receiveBuffer: script.receiveBuffer)
        try peer.send(withUnsafeBytes(of: script.seed) { Array($0) })
        try exchange(
            peer, sending: (script.seed, script.upBytes, script.upPiece),
            receiving: (script.seed + 7, script.downBytes), script.pauseEvery)
    }

    private static func server(_ peer: Peer) throws {
        let seed = try peer.receive(8).withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
        let script = Script(seed: seed)
        try exchange(
            peer, sending: (script.seed + 7, script.downBytes, script.downPiece),
            receiving: (script.seed, script.upBytes), script.serverFirst ? script.pauseEvery : 0)
    }

    /// Sends and receives at the same time, each to its end.
    private static func exchange(
        _ peer: Peer, sending: (seed: UInt64, count: Int, piece: Int), receiving: (seed: UInt64, count: Int),
        _ pauseEvery: Int
    ) throws {
        try concurrently(
            {
                var pattern = Pattern(seed: sending.seed)
                var left = sending.count
                var pieces = 0
                while left > 0 {
                    let size = min(left, sending.piece)
                    try peer.send(pattern.next(size))
                    left -= size
                    pieces += 1
                    if pauseEvery > 0, pieces % pauseEvery == 0 { usleep(500) }
                }
                peer.finishWriting()
            },
            {
                try peer.receivePattern(receiving.seed, count: receiving.count)
                guard try peer.receiveToEnd() == [] else { throw TestFailure("bytes past the end") }
            })
    }
}
