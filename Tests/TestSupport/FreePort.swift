import Glibc
package import Platform

/// A TCP port on 127.0.0.1 that was free a moment ago, chosen by the kernel, together with its reservation: as long as
/// the descriptor lives no other call gets the same port, and a server with SO_REUSEADDR can listen on it.
package func freePort() throws -> (port: UInt16, reservation: Descriptor) {
    let socket = Descriptor(owning: try systemCall("socket") { Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) })
    var one: Int32 = 1
    try systemCall("setsockopt") {
        setsockopt(socket.raw, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
    }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    try withUnsafeMutablePointer(to: &address) { pointer in
        try pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
            try systemCall("bind") { bind(socket.raw, generic, length) }
            try systemCall("getsockname") { getsockname(socket.raw, generic, &length) }
        }
    }
    return (UInt16(bigEndian: address.sin_port), socket)
}
