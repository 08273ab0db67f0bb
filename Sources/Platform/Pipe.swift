import CPlatform
import Glibc

/// Creates a pipe, close-on-exec at both ends, by pipe2(2). Its write end blocks; its read end too, unless
/// `nonblockingRead`.
package func makePipe(nonblockingRead: Bool = false) throws(SystemError) -> (read: Descriptor, write: Descriptor) {
    var ends: (Int32, Int32) = (-1, -1)
    try systemCall("pipe2") {
        withUnsafeMutableBytes(of: &ends) { bytes in
            supd_pipe(bytes.bindMemory(to: Int32.self).baseAddress)
        }
    }
    let pipe = (read: Descriptor(owning: ends.0), write: Descriptor(owning: ends.1))
    if nonblockingRead { try systemCall("fcntl", "F_SETFL") { fcntl(pipe.read.raw, F_SETFL, O_NONBLOCK) } }
    return pipe
}

/// Gives a file to a user, by fchown(2): who may open a pipe by the name /dev/stdout.
package func changeOwner(of descriptor: Descriptor, user: UInt32, group: UInt32) throws(SystemError) {
    try systemCall("fchown") { fchown(descriptor.raw, user, group) }
}

/// Closes what a parent has left open above 2: a listener among it would keep its port for as long as this process lives.
/// To be called before this process opens anything itself.
package func closeInheritedDescriptors() { supd_close_from(3) }

/// Opens /dev/null as 0, 1 and 2 where the parent left them closed, so that nothing else is ever taken for them.
package func openStandardDescriptors() {
    for number in Int32(0)...2 where fcntl(number, F_GETFD) == -1 {
        // open(2) answers the lowest free number, which is this one.
        _ = open("/dev/null", O_RDWR)
    }
}
