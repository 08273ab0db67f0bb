import CMatrixSupport
import Glibc
import Platform
import TestSupport
import Testing

extension BalancerMatrix {
    /// What the kernel sends bulk by: see LoopPacing.swift.
    @Suite(
        "The pace of bulk within the machine",
        .enabled(
            if: ProxyKind.present == .supd && getuid() == 0,
            "looks into the sockets of supd's balancer, for which it needs root"))
    struct Pace {
        private static let little = 1000
        private static let bulk = 32 << 20
        /// What the kernel has beside reno and cubic.
        private static let pacing: String? = {
            let path = "/proc/sys/net/ipv4/tcp_available_congestion_control"
            guard let names = try? String(decoding: Files.read(path, limit: 4096), as: UTF8.self) else { return nil }
            return names.split { $0 == " " || $0 == "\n" }.map(String.init).first { $0 != "reno" && $0 != "cubic" }
        }()

        /// The congestion control of a socket: TCP_CONGESTION of tcp(7).
        private static func control(of socket: Descriptor) throws -> String {
            try withUnsafeTemporaryAllocation(of: CChar.self, capacity: 17) { name in
                name.initialize(repeating: 0)
                var length = socklen_t(16)
                try systemCall("getsockopt") {
                    getsockopt(socket.raw, Int32(IPPROTO_TCP), TCP_CONGESTION, name.baseAddress, &length)
                }
                return name.baseAddress.map { String(cString: $0) } ?? ""
            }
        }

        private static func setControl(of socket: Descriptor, _ name: String) throws {
            try systemCall("setsockopt") {
                setsockopt(socket.raw, Int32(IPPROTO_TCP), TCP_CONGESTION, name, socklen_t(name.utf8.count))
            }
        }

        /// Sends from one end to the other, which reads meanwhile.
        private static func move(_ count: Int, from source: Wire, to sink: Wire) throws {
            try atOnce(
                {
                    var said = Pattern(1)
                    try source.send(&said, count)
                },
                {
                    var heard = Pattern(1)
                    try sink.receive(&heard, count)
                })
        }

        /// What the kernel keeps for a socket's peer, without its own bookkeeping.
        private static func sendBuffer(of socket: Descriptor) throws -> Int {
            var size: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            try systemCall("getsockopt") { getsockopt(socket.raw, SOL_SOCKET, SO_SNDBUF, &size, &length) }
            return Int(size) / 2
        }

        /// The most that one may ask for.
        private static func largestSendBuffer() throws -> Int {
            let text = String(decoding: try Files.read("/proc/sys/net/core/wmem_max", limit: 64), as: UTF8.self)
            return try #require(Int(text.prefix { $0 != "\n" }))
        }

        /// Looks at both of the balancer's sockets before and after bulk either way.
        private static func look(atFirst first: String, afterBulk last: String) throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                for (from, to) in [(server, client), (client, server)] {
                    let socket = try stage.view.socket(connectedTo: try to.name())
                    try setControl(of: socket, first)
                    try move(little, from: from, to: to)
                    try #require(try control(of: socket) == first)
                    try move(bulk, from: from, to: to)
                    try #require(try control(of: socket) == last)
                    if first != last, try largestSendBuffer() >= 1 << 20 {
                        try #require(try sendBuffer(of: socket) == 1 << 20)
                    }
                }
            }
        }

        @Test(
            "one that measures the path is given up, for there is none; what is not bulk keeps it",
            .enabled(if: Pace.pacing != nil, "the kernel has no congestion control beside reno and cubic"))
        func paced() throws {
            try Self.look(atFirst: try #require(Self.pacing), afterBulk: "reno")
        }

        @Test("one that goes by losses stays as it is")
        func byLosses() throws {
            try Self.look(atFirst: "cubic", afterBulk: "cubic")
        }
    }
}
