import CMatrixSupport
import Glibc
import Links
import Platform
import TestSupport
import Testing

extension BalancerMatrix {
    /// The congestion control that bulk is sent by: see LoopPacing.swift.
    @Suite(
        "The pace of bulk",
        .enabled(
            if: ProxyKind.present == .supd && getuid() == 0,
            "looks into the sockets of supd's balancer, for which it needs root"))
    struct Pace {
        private static let little = 1000
        private static let bulk = 32 << 20

        /// Whether root may choose BBR, with the module that is loaded for it.
        private static let hasBBR: Bool = {
            guard let wire = try? Wire.unconnected() else { return false }
            return setsockopt(wire.raw, Int32(IPPROTO_TCP), TCP_CONGESTION, "bbr", 3) == 0
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

        /// How much may wait to be sent: TCP_NOTSENT_LOWAT; 0 is no limit of the socket's own.
        private static func unsentLimit(of socket: Descriptor) throws -> Int32 {
            var (size, length) = (Int32(-1), socklen_t(MemoryLayout<Int32>.size))
            try systemCall("getsockopt") {
                getsockopt(socket.raw, Int32(IPPROTO_TCP), TCP_NOTSENT_LOWAT, &size, &length)
            }
            return size
        }

        /// What the balancer's socket to a peer has before and after bulk.
        private static func look(
            _ stage: Stage, from source: Wire, to sink: Wire, atFirst first: String, afterBulk last: String,
            limit: Int32 = 0
        ) throws {
            let socket = try stage.view.socket(connectedTo: try sink.name())
            try setControl(of: socket, first)
            try move(little, from: source, to: sink)
            try #require(try control(of: socket) == first)
            try #require(try unsentLimit(of: socket) == 0)
            try move(bulk, from: source, to: sink)
            try #require(try control(of: socket) == last)
            try #require(try unsentLimit(of: socket) == limit)
        }

        @Test(
            "within the machine BBR is given up, by bulk alone",
            .enabled(if: Pace.hasBBR, "the kernel has no BBR"))
        func withinTheMachine() throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                try Self.look(stage, from: server, to: client, atFirst: "bbr", afterBulk: "reno", limit: 256 << 10)
                try Self.look(stage, from: client, to: server, atFirst: "bbr", afterBulk: "reno")
            }
        }

        @Test("what is not BBR stays as it is")
        func byLosses() throws {
            try Stage.run { stage in
                let (client, server) = try stage.pair()
                try Self.look(stage, from: server, to: client, atFirst: "cubic", afterBulk: "cubic")
                try Self.look(stage, from: client, to: server, atFirst: "cubic", afterBulk: "cubic")
            }
        }

        @Test(
            "a client elsewhere keeps what its operator has chosen; its server's socket does not",
            .enabled(if: Pace.hasBBR, "the kernel has no BBR"))
        func elsewhere() throws {
            try PrivateNetwork.run {
                let (own, other) = ("192.0.2.1", "192.0.2.2")
                for (number, address) in [own, other].enumerated() {
                    try systemCall("ioctl") { matrix_add_address(Int32(number), address) }
                }
                try Stage.run { stage in
                    guard let supd = stage.proxy as? SupdProxy else { return }
                    let port = try supd.open("far", on: .ipv4(own, port: 0))
                    supd.adjust = {
                        $0.pools[0].fronts.append(RoutingTable.Front(address: "\(own):\(port)", listeners: ["far"]))
                    }
                    try supd.serve(stage.servers)
                    let client = try Wire.unconnected()
                    try systemCall("connect") { matrix_connect_between(client.raw, other, own, port) }
                    let server = try stage.accept()
                    try Self.look(stage, from: server, to: client, atFirst: "bbr", afterBulk: "bbr")
                    try Self.look(stage, from: client, to: server, atFirst: "bbr", afterBulk: "reno")
                    // The balancer closes the front again.
                    supd.adjust = { _ in }
                    try supd.serve(stage.servers)
                }
            }
        }
    }
}
