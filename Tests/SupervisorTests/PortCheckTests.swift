import Glibc
import Platform
import TestSupport
import Testing

@testable import Supervisor

@Suite struct PortCheckTests {
    @Test("a free port has no holder")
    func free() throws {
        let (port, reservation) = try freePort()
        #expect(PortCheck.holder(of: port) == nil)
        withExtendedLifetime(reservation) {}
    }

    @Test("the process that listens on a port is named, on whichever local address", arguments: TestAddress.allCases)
    func holder(address: TestAddress) throws {
        var listener: (port: UInt16, socket: Descriptor)? = try testListener(address)
        let port = try #require(listener).port
        let child = try TestChild(["/bin/sleep", "60"], descriptors: [try #require(listener).socket])
        listener = nil
        // For a moment every program that another test has just forked has a copy of it.
        try eventually("the child to be named") {
            PortCheck.holder(of: port) == "pid \(child.pid) (sleep)" ? true : nil
        }
    }

    @Test("a port whose holder has ended is free again")
    func ended() throws {
        var listener: (port: UInt16, socket: Descriptor)? = try testListener()
        let port = try #require(listener).port
        let child = try TestChild(["/bin/sleep", "60"], descriptors: [try #require(listener).socket])
        listener = nil
        child.signal(SIGKILL)
        try child.waitForEnd()
        _ = try eventually("the port to be free") { PortCheck.holder(of: port) == nil ? true : nil }
    }

    @Test("a port bound without listening, by a socket that shares it with nobody, is taken")
    func bound() throws {
        let (port, socket) = try testListener(listens: false)
        var zero: Int32 = 0
        try systemCall("setsockopt") {
            setsockopt(socket.raw, SOL_SOCKET, SO_REUSEADDR, &zero, socklen_t(MemoryLayout<Int32>.size))
        }
        #expect(PortCheck.holder(of: port) == "a process that has bound it without listening")
    }
}
