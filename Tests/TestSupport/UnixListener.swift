import Glibc
package import Platform

/// A non-blocking listening socket at a path, for servers under test.
package func unixListener(at path: String, backlog: Int32 = 128) throws -> Descriptor {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { throw TestFailure("too long: \(path)") }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
    let socket = Descriptor(owning: try systemCall("socket") { Glibc.socket(AF_UNIX, type, 0) })
    try withUnsafePointer(to: &address) { pointer in
        try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
            _ = try systemCall("bind", path) {
                bind(socket.raw, generic, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
    try systemCall("listen", path) { listen(socket.raw, backlog) }
    return socket
}
