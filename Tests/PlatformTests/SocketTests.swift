import Glibc
import Platform
import TestSupport
import Testing

@Suite("Listening sockets")
struct SocketTests {
    @Test(
        "the kernel chooses a port when 0 is asked for",
        arguments: [ListenEndpoint.ipv4("127.0.0.1", port: 0), .ipv6("::1", port: 0)])
    func anyPort(endpoint: ListenEndpoint) throws {
        let socket = try listen(on: endpoint)
        #expect(try #require(try SocketAddress.local(of: socket).port) > 0)
    }

    @Test("IPv4 and IPv6 listen on the same port side by side")
    func bothFamilies() throws {
        let four = try listen(on: .ipv4("0.0.0.0", port: 0))
        let port = try #require(try SocketAddress.local(of: four).port)
        let six = try listen(on: .ipv6("::", port: port))
        #expect(try SocketAddress.local(of: six).port == port)
    }

    @Test("a port in use is an error that names the address")
    func portInUse() throws {
        let first = try listen(on: .ipv4("127.0.0.1", port: 0))
        let port = try #require(try SocketAddress.local(of: first).port)
        let error = #expect(throws: SystemError.self) { _ = try listen(on: .ipv4("127.0.0.1", port: port)) }
        #expect(error?.code == EADDRINUSE)
        #expect(error?.description.contains("127.0.0.1:\(port)") == true)
    }

    @Test(
        "what is no address is an error",
        arguments: [
            (ListenEndpoint.ipv4("localhost", port: 1), EINVAL), (.ipv4("1.2.3.256", port: 1), EINVAL),
            (.ipv6("127.0.0.1", port: 1), EINVAL), (.ipv6("[::1]", port: 1), EINVAL), (.unix(""), EINVAL),
            (.unix("/tmp/\0x"), EINVAL), (.unix("/tmp/" + String(repeating: "x", count: 103)), ENAMETOOLONG),
            (.unix("/nonexistent/x.sock"), ENOENT),
        ])
    func badAddress(endpoint: ListenEndpoint, code: Int32) {
        let error = #expect(throws: SystemError.self) { _ = try listen(on: endpoint) }
        #expect(error?.code == code)
    }

    @Test("the mode of a Unix socket is what the umask leaves of 0777, as the reference says")
    func mode() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("front.sock")
        let socket = try listen(on: .unix(path))
        let status = String(decoding: try Files.read("/proc/self/status", limit: 65_536), as: UTF8.self)
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("Umask:") })
        let mask = try #require(UInt32(line.split(separator: "\t").last ?? "", radix: 8))
        let found = try Files.status(path)
        #expect(found.mode & 0o777 == 0o777 & ~mask)
        #expect(found.user == geteuid())
        withExtendedLifetime(socket) {}
    }

    @Test("a path of 107 bytes is not too long")
    func longestPath() throws {
        let directory = try TemporaryDirectory()
        let name = String(repeating: "x", count: 106 - directory.path.utf8.count)
        let socket = try listen(on: .unix(directory.file(name)))
        #expect(try SocketAddress.local(of: socket).family == AF_UNIX)
    }

    @Test("a path that nobody listens on is taken over, one that is in use is not")
    func staleSocket() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("front.sock")
        do {
            let first = try listen(on: .unix(path))
            let error = #expect(throws: SystemError.self) { _ = try listen(on: .unix(path)) }
            #expect(error?.code == EADDRINUSE)
            withExtendedLifetime(first) {}
        }
        // For a moment every program that another test has just forked has a copy of the first.
        try eventually("nobody to listen") { try? listen(on: .unix(path)) }
    }

    @Test("a path that is no socket is left alone")
    func otherFile() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("notes.txt", "precious")
        let error = #expect(throws: SystemError.self) { _ = try listen(on: .unix(path)) }
        #expect(error?.code == EADDRINUSE)
        #expect(access(path, F_OK) == 0)
    }

    @Test(
        "each call that fails leaves nothing open and says which it was",
        arguments: ["socket", "setsockopt", "bind", "listen"])
    func faults(call: String) throws {
        let plan = FaultPlan { name, count in name == call && count == 1 ? ENOBUFS : nil }
        let error = FaultPlan.$current.withValue(plan) {
            #expect(throws: SystemError.self) { _ = try listen(on: .ipv6("::1", port: 0)) }
        }
        #expect(error?.call == call)
        #expect(error?.code == ENOBUFS)
    }
}
