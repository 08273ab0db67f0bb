import FoundationEssentials
import Platform
import TestSupport
import Testing

/// The program beside the tests' own.
private func demoService() throws -> String {
    let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return tests.split(separator: "/").dropLast().reduce(into: "") { $0 += "/" + $1 } + "/demo-service"
}

/// A running service, on a port of its own.
private struct RunningService {
    let program: Program
    let address: String
    private let reservation: Descriptor

    init(_ arguments: [String] = [], environment: [String: String] = [:]) throws {
        let (port, reservation) = try freePort()
        self.reservation = reservation
        address = "127.0.0.1:\(port)"
        let own = ["SERVICE": "api", "INSTANCE": "2", "PORT": String(port)]
        program = try Program(try demoService(), arguments, environment: own.merging(environment) { $1 })
        try program.waitForOutput("listening on \(address)")
    }

    /// Sends pieces of text one after the other and reads to the end.
    func exchange(_ pieces: [String]) throws -> String {
        let stream = try BlockingStream.connect(to: address)
        for piece in pieces { try stream.write(Array(piece.utf8)) }
        var bytes: [UInt8] = []
        while case let more = try stream.read(upTo: 4096), !more.isEmpty { bytes += more }
        return String(decoding: bytes, as: UTF8.self)
    }

    func get(_ path: String) throws -> String { try exchange(["GET \(path) HTTP/1.0\r\n\r\n"]) }
}

@Suite("The demonstration service")
struct DemoServiceTests {
    @Test("says who it is")
    func identity() throws {
        let service = try RunningService()
        let answer = try service.get("/")
        #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(answer.hasSuffix("\r\n\r\n{\"instance\":2,\"pid\":\(service.program.pid),\"service\":\"api\"}\n"))
    }

    @Test(
        "answers what it does not serve with an error",
        arguments: [
            ("GET /nothing HTTP/1.0\r\n\r\n", "404"),
            ("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", "405"),
            ("GET /work?ms=-1 HTTP/1.0\r\n\r\n", "400"),
            ("GET /call HTTP/1.0\r\n\r\n", "502"),
            ("GET /call?service=gone HTTP/1.0\r\n\r\n", "502"),
            ("garbage\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", "400"),
        ])
    func refusals(request: String, status: String) throws {
        let service = try RunningService()
        #expect(try service.exchange([request]).hasPrefix("HTTP/1.1 \(status) "))
        #expect(try service.get("/healthz").contains(" 200 "))
    }

    @Test("keeps a connection for requests that come in pieces or together")
    func keepAlive() throws {
        let service = try RunningService()
        let close = "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"
        let answer = try service.exchange(["GET /heal", "thz HTTP/1.1\r", "\n\r\nHEAD / HTTP/1.1\r\n\r\n" + close])
        #expect(answer.split(separator: "HTTP/1.1 200 OK").count == 3)
        #expect(answer.hasSuffix("\r\n\r\nok\n"))
    }

    @Test("shows what another service answers at its injected address")
    func call() throws {
        let other = try RunningService(environment: ["SERVICE": "site", "INSTANCE": "1"])
        let service = try RunningService(environment: ["FRONT_SITE_ADDRESS": other.address])
        for path in ["/call", "/call?service=front-site"] {
            let answer = try service.get(path)
            #expect(answer.contains("\"answer\":{\"instance\":1,\"pid\":\(other.program.pid),\"service\":\"site\"}"))
        }
    }

    @Test("finishes a request that it has begun when it is told to stop, and exits with 0")
    func gracefulStop() throws {
        let service = try RunningService()
        let stream = try BlockingStream.connect(to: service.address)
        let idle = try BlockingStream.connect(to: service.address)
        try stream.write(Array("GET /work?ms=500 HTTP/1.1\r\n\r\n".utf8))
        // An answer on the other connection shows that both have been accepted.
        try idle.write(Array("GET /healthz HTTP/1.1\r\n\r\n".utf8))
        #expect(try !idle.read(upTo: 4096).isEmpty)
        service.program.send(15)
        #expect(try String(decoding: stream.read(upTo: 4096), as: UTF8.self).hasPrefix("HTTP/1.1 200 OK"))
        #expect(try service.program.wait().code == 0)
        #expect(throws: SystemError.self) { try BlockingStream.connect(to: service.address) }
    }

    @Test(
        "refuses a command line that it does not understand",
        arguments: [["--what"], ["--exit-after"], ["--exit-after", "soon"], ["--leak", "time"], ["--flood", "-1"]])
    func usage(arguments: [String]) throws {
        let result = try Program.run(try demoService(), arguments)
        #expect(result.code == 2)
        #expect(result.output.contains(arguments[0]))
    }

    @Test("as a task prints its lines, numbered and of the length asked for, and exits with the code asked for")
    func task() throws {
        let result = try Program.run(
            try demoService(), ["--task", "--flood", "2000", "--size", "60", "--exit-code", "7"])
        #expect(result.code == 7)
        let lines = result.output.split(separator: "\n").filter { $0.hasSuffix("x") }
        #expect(lines.count == 2000)
        #expect(lines.allSatisfy { $0.utf8.count == 60 })
        #expect(lines.last?.hasPrefix("000002000 x") == true)
    }

    /// What a shell limits, and how the attempt to use the resource up ends.
    struct Leak: Sendable, CustomTestStringConvertible {
        var resource: String
        var limit: String
        var text: String
        var code: Int32
        var testDescription: String { resource }

        init(_ resource: String, _ limit: String, says text: String, exits code: Int32) {
            (self.resource, self.limit, self.text, self.code) = (resource, limit, text, code)
        }
    }

    @Test(
        "says what a limit refuses",
        arguments: [
            Leak("nofile", "ulimit -n 64", says: "Too many open files", exits: 0),
            Leak("as", "ulimit -v 4000000", says: "Cannot allocate memory", exits: 0),
            Leak("data", "ulimit -d 400000", says: "Cannot allocate memory", exits: 0),
            Leak("stack", "ulimit -c 0; ulimit -s 2048", says: "bytes deep", exits: 128 + 11),
            Leak("fsize", "ulimit -c 0; ulimit -f 256", says: "using it up", exits: 128 + 25),
            Leak("core", "ulimit -c 0", says: "using it up", exits: 128 + 6),
        ])
    func leaks(leak: Leak) throws {
        let command = "\(leak.limit); exec \(try demoService()) --leak \(leak.resource)"
        let result = try Program.run("/bin/sh", ["-c", command])
        #expect(result.code == leak.code)
        #expect(result.output.contains(leak.text))
    }
}
