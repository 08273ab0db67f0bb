import ControlAPI
import TestSupport
import Testing

@testable import supctl

@Suite("The services whose lines are objects", .timeLimit(.minutes(5)))
struct ObjectServicesTests {
    @Test("Where nobody answers, the lines that come next are not kept waiting for another question")
    func silence() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("control.sock")
        var (known, later) = (Example.report([Example.service("api")]), Example.report([Example.service("api")]))
        known.daemon.lastEvent = 7
        later.services[0].logFormat = "json"
        let server = try ScriptedServer(path, [.silence, .json(later)])
        defer { server.end() }
        var services = ObjectServices(ControlClient(socketPath: path), known)
        #expect(services.names == [])
        try eventually("a question") {
            services.refresh()
            return server.requests().isEmpty ? nil : true
        }
        server.end()
        services.refresh()
        #expect(server.requests().count == 1)
        // What has happened meanwhile nobody has told: it asks for all.
        try eventually("another question") {
            services.refresh()
            return services.names == ["api"] ? true : nil
        }
        #expect(server.requests().count == 2 && server.requests().last?.hasPrefix("GET /v1/status") == true)
    }
}
