package import Platform

/// A TCP port on 127.0.0.1 that was free a moment ago, chosen by the kernel, together with its reservation: as long as
/// the descriptor lives no other call gets the same port, and a server with SO_REUSEADDR can listen on it.
package func freePort() throws -> (port: UInt16, reservation: Descriptor) {
    let (port, reservation) = try testListener(listens: false)
    return (port, reservation)
}
