import Glibc
import Platform
import TestSupport
import Testing

@Suite("Blocking sockets")
struct BlockingSocketsTests {
    @Test("carry bytes both ways, and the end of each way on its own")
    func conversation() throws {
        let (port, reservation) = try freePort()
        let listener = try BlockingListener(host: "127.0.0.1", port: port)
        #expect(try listener.accept() == nil)
        let client = try BlockingStream.connect(to: "127.0.0.1:\(port)")
        #expect(try waitReadable([listener.descriptor], timeoutMilliseconds: 10_000) == [true])
        let server = try #require(try listener.accept())
        try client.write(Array("question".utf8))
        client.shutdownWriting()
        #expect(try server.read(upTo: 100) == Array("question".utf8))
        #expect(try server.read(upTo: 100).isEmpty)
        try server.write(Array("answer".utf8))
        #expect(try client.read(upTo: 3) == Array("ans".utf8))
        #expect(try client.read(upTo: 100) == Array("wer".utf8))
        _ = reservation
    }

    @Test("end their input on request, after what has arrived")
    func shutdownReading() throws {
        let (port, reservation) = try freePort()
        let listener = try BlockingListener(host: "127.0.0.1", port: port)
        let client = try BlockingStream.connect(to: "127.0.0.1:\(port)")
        _ = try waitReadable([listener.descriptor], timeoutMilliseconds: 10_000)
        let server = try #require(try listener.accept())
        try server.write([1, 2])
        // The first byte shows that both have arrived.
        #expect(try client.read(upTo: 1) == [1])
        client.shutdownReading()
        #expect(try client.read(upTo: 100) == [2])
        #expect(try client.read(upTo: 100).isEmpty)
        _ = reservation
    }

    @Test("wait no longer than told to")
    func limit() throws {
        let (port, reservation) = try freePort()
        let listener = try BlockingListener(host: "127.0.0.1", port: port)
        let client = try BlockingStream.connect(to: "127.0.0.1:\(port)", timeoutSeconds: 1)
        let error = #expect(throws: SystemError.self) { try client.read(upTo: 1) }
        #expect(error?.code == EAGAIN)
        _ = (reservation, listener)
    }

    @Test(
        "name the address that could not be reached",
        arguments: [
            ("127.0.0.1", EINVAL), ("127.0.0.1:x", EINVAL), ("127.0.0.1:70000", EINVAL), ("host:80", EINVAL),
            ("unix:/nonexistent/socket", ENOENT), ("unix:/" + String(repeating: "x", count: 200), ENAMETOOLONG),
        ])
    func unreachable(address: String, code: Int32) throws {
        let error = try #require(throws: SystemError.self) { try BlockingStream.connect(to: address) }
        #expect(error.code == code)
        #expect(address.contains(error.subject.isEmpty ? "?" : error.subject))
    }

    @Test("say which address is taken")
    func taken() throws {
        let (port, reservation) = try freePort()
        let listener = try BlockingListener(host: "127.0.0.1", port: port)
        let error = try #require(throws: SystemError.self) { try BlockingListener(host: "127.0.0.1", port: port) }
        #expect(error.code == EADDRINUSE)
        #expect(error.subject == "127.0.0.1:\(port)")
        _ = (reservation, listener)
    }
}
