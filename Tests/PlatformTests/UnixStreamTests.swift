import Glibc
import Platform
import TestSupport
import Testing

@Suite("Unix sockets")
struct UnixStreamTests {
    @Test("Bytes and the end of input arrive, and the peer is who connected")
    func exchange() throws {
        let (client, server) = try connected()
        #expect(try server.receive() == .wouldBlock)
        #expect(try client.send(Array("hello".utf8)[...]) == 5)
        #expect(try server.receive(limit: 3) == .bytes(Array("hel".utf8)))
        #expect(try server.receive() == .bytes(Array("lo".utf8)))
        #expect(
            try PeerCredentials(of: server)
                == PeerCredentials(processID: getpid(), userID: geteuid(), groupID: getegid()))
        try client.finishSending()
        #expect(try server.receive() == .end)
    }

    @Test("A half-closed peer is told from one that has gone")
    func gone() throws {
        let server: UnixStream
        do {
            let (client, accepted) = try connected()
            server = accepted
            #expect(try !server.isPeerGone())
            try client.finishSending()
            #expect(try server.receive() == .end)
            #expect(try !server.isPeerGone())
        }
        // Another test may fork at this moment: its child has a copy of the socket until it executes.
        _ = try eventually("the peer is gone") { try server.isPeerGone() ? true : nil }
        #expect(performing: { try server.send([1]) }, throws: { ($0 as? SystemError)?.code == EPIPE })
    }

    @Test("A full socket takes no more, and says when it does again")
    func full() throws {
        let (client, server) = try connected()
        let block = [UInt8](repeating: 1, count: 65536)
        while try client.send(block[...]) > 0 {}
        #expect(try !client.wait(for: .writable, until: monotonicNanoseconds()))
        while case .bytes = try server.receive() {}
        #expect(try client.wait(for: .writable, until: nil))
    }

    @Test("The longest path works, and one byte more says so")
    func longestPath() throws {
        let directory = try TemporaryDirectory()
        let room = UnixStream.longestPath - directory.path.utf8.count - 1
        let path = directory.file(String(repeating: "s", count: room))
        let listener = try unixListener(at: path)
        _ = try UnixStream.connect(to: path)
        #expect(
            performing: { try UnixStream.connect(to: path + "s") },
            throws: { ($0 as? SystemError)?.code == ENAMETOOLONG })
        withExtendedLifetime(listener) {}
    }

    @Test("An empty path, or one with a NUL in it, is refused", arguments: ["", "/tmp/a\u{0}b"])
    func badPath(path: String) {
        #expect(performing: { try UnixStream.connect(to: path) }, throws: { ($0 as? SystemError)?.code == EINVAL })
    }

    private func connected() throws -> (UnixStream, UnixStream) {
        let directory = try TemporaryDirectory()
        let listener = try unixListener(at: directory.file("s"))
        #expect(try UnixStream.accept(from: listener) == nil)
        let client = try UnixStream.connect(to: directory.file("s"))
        return (client, try #require(try UnixStream.accept(from: listener)))
    }
}
