import Foundation
import Glibc
import Platform
import TestSupport
import Testing

@Suite("A socket for notices") struct NoticeSocketTests {
    let directory = try? TemporaryDirectory()

    private func socket(open: Bool = false) throws -> (NoticeSocket, path: String) {
        let path = try #require(directory).file("17")
        return (try NoticeSocket(path: path, owner: nil, isOpen: open), path)
    }

    @Test("tells who has sent what, and keeps it until it is dropped")
    func peeks() throws {
        let (socket, path) = try socket()
        #expect(socket.peek(limit: 100) == nil)
        let sender = try #require(try NotifySocket(path: path))
        try sender.send("READY=1")
        try sender.send("STATUS=x")
        for _ in 0..<2 {
            let datagram = try #require(socket.peek(limit: 100))
            #expect(datagram.bytes == Array("READY=1".utf8))
            #expect(datagram.processID == getpid() && datagram.userID == geteuid())
        }
        socket.drop()
        #expect(socket.peek(limit: 100)?.bytes == Array("STATUS=x".utf8))
        socket.drop()
        #expect(socket.peek(limit: 100) == nil)
        socket.drop()
    }

    @Test("a datagram beyond the limit is there without its bytes; an empty one is one")
    func lengths() throws {
        let (socket, path) = try socket()
        let sender = try #require(try NotifySocket(path: path))
        try sender.send(String(repeating: "x", count: 101))
        try sender.send("")
        try sender.send(String(repeating: "y", count: 100))
        let long = try #require(socket.peek(limit: 100))
        #expect(long.bytes == nil)
        socket.drop()
        #expect(socket.peek(limit: 100)?.bytes == [])
        socket.drop()
        #expect(socket.peek(limit: 100)?.bytes?.count == 100)
    }

    @Test("descriptors beside a datagram are never opened, and are closed as it is dropped: BARRIER=1 waits for that")
    func barrier() throws {
        let (socket, path) = try socket()
        let client = Descriptor(owning: Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(client.raw, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        #expect(connected == 0)
        let reading: Descriptor
        do {
            let pipe = try makePipe(nonblockingRead: true)
            reading = pipe.read
            #expect(try PacketSocket(client).send(Array("BARRIER=1".utf8), descriptors: [pipe.write]) == .sent)
        }
        func end() -> Int {
            withUnsafeTemporaryAllocation(byteCount: 1, alignment: 1) { read(reading.raw, $0.baseAddress, 1) }
        }
        #expect(socket.peek(limit: 100)?.bytes == Array("BARRIER=1".utf8))
        #expect(end() == -1 && errno == EAGAIN)
        socket.drop()
        try waitForHangUp(reading)
        #expect(end() == 0)
        #expect(socket.peek(limit: 100) == nil)
    }

    @Test("nobody but its owner may send to it, unless it is open to all", arguments: [(false, 0o600), (true, 0o666)])
    func modes(isOpen: Bool, mode: mode_t) throws {
        let (socket, path) = try socket(open: isOpen)
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == mode)
        withExtendedLifetime(socket) {}
    }

    @Test("takes the place of what is at its path; a path that is too long is an error")
    func places() throws {
        let path = try #require(directory).write("17", "left behind")
        let before = try NoticeSocket(path: path, owner: nil, isOpen: false)
        let sender = try #require(try NotifySocket(path: path))
        try sender.send("to the first")
        let after = try NoticeSocket(path: path, owner: nil, isOpen: false)
        try sender.send("to the second")
        #expect(after.peek(limit: 100)?.bytes == Array("to the second".utf8))
        #expect(before.peek(limit: 100)?.bytes == Array("to the first".utf8))
        before.drop()
        #expect(before.peek(limit: 100) == nil)
        let long = try #require(directory).file(String(repeating: "x", count: 108))
        #expect(throws: SystemError.self) { _ = try NoticeSocket(path: long, owner: nil, isOpen: false) }
    }

    @Test("its directory may be searched by all, and begins empty")
    func directories() throws {
        let path = try #require(directory).file("notify")
        try NoticeSocket.makeDirectory(path)
        let socket = try NoticeSocket(path: path + "/1", owner: nil, isOpen: false)
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o711)
        try NoticeSocket.makeDirectory(path)
        #expect(try FileManager.default.contentsOfDirectory(atPath: path) == [])
        withExtendedLifetime(socket) {}
    }
}
