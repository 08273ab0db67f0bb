import Glibc
import Platform
import TestSupport

extension Descriptor {
    /// Binds a socket to a port of 127.0.0.1.
    func bindLoopback(_ port: UInt16) throws {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        _ = try withUnsafePointer(to: &address) { pointer in
            try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                try systemCall("bind") { bind(raw, generic, socklen_t(MemoryLayout<sockaddr_in>.size)) }
            }
        }
    }
}

extension Backend {
    /// A connect that is begun and not waited for: two fill a backlog of 0, and the next one's handshake gets no answer.
    func fill() throws -> Descriptor {
        let raw = try systemCall("socket") {
            socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        withUnsafePointer(to: &address) { pointer in
            _ = pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        return Descriptor(owning: raw)
    }

    /// Ends those that fill the backlog and takes the next connection behind them, whose handshake comes again within
    /// seconds.
    func acceptBehind(_ fillers: inout [Descriptor], _ text: String) throws -> Peer {
        fillers = []
        while true {
            let server = try accept()
            if server.receiveToEndOrText(text) { return server }
        }
    }

    /// Takes the next connection to any of some backends, within 30 s.
    static func acceptAny(_ backends: [Backend]) throws -> (index: Int, server: Peer) {
        var entries = backends.map { pollfd(fd: $0.listener?.raw ?? -1, events: Int16(POLLIN), revents: 0) }
        guard poll(&entries, nfds_t(entries.count), 30_000) > 0,
            let index = entries.firstIndex(where: { $0.revents & Int16(POLLIN) != 0 })
        else { throw TestFailure("nobody connected to any of \(backends.map(\.port))") }
        return (index, try backends[index].accept())
    }
}

/// A client and its server, and which one that is.
struct Session {
    let client: Peer
    let server: Peer
    let index: Int

    /// Connects and waits for the server's end.
    init(_ rig: Rig, _ backends: [Backend], from host: UInt8 = 1) throws {
        client = try Peer.connect(port: rig.port, from: host)
        try client.send("x")
        (index, server) = try Backend.acceptAny(backends)
        guard try server.receiveText(1) == "x" else { throw TestFailure("not the client's byte") }
    }

    /// Of ends that are known.
    init(_ client: Peer, _ server: Peer, _ index: Int) {
        (self.client, self.server, self.index) = (client, server, index)
    }

    /// Ends it in order, on both sides.
    func end() {
        client.close()
        server.close()
    }
}
