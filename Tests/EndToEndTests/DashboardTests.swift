import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// `supd.web`: the page, what it may and may not, and what the loss of its role costs.
@Suite("The dashboard", .timeLimit(.minutes(15)))
struct DashboardTests {
    static let token = "correct-horse-battery"

    static func manifest(_ page: UInt16, _ more: String = "", front: UInt16? = nil) -> String {
        let listen = front.map { ", listen: \($0)" } ?? ""
        return """
            { supd: { web: { listen: \(page)\(more) } },
              services: { api: { command: ["@demo@", "--quiet"], replicas: 2, ready: { http: "/healthz" }\(listen) } } }
            """
    }

    static func daemon(_ page: UInt16, mode: UInt32 = 0o600, front: UInt16? = nil) throws -> Daemon {
        let directory = try TemporaryDirectory()
        let path = try directory.write("token", token + "\n")
        chmod(path, mode)
        let daemon = try Daemon(manifest(page, ", actions: 'token'", front: front), in: directory)
        try waitForPage(page)
        return daemon
    }

    static func waitForPage(_ page: UInt16) throws {
        try eventually("the page") { (try? get(page, "/v1/version").status) == 200 ? true : nil }
    }

    /// One request on a connection of its own, with these fields beside Host.
    static func ask(
        _ page: UInt16, _ method: String, _ target: String, host: String = "localhost", _ fields: [String] = [],
        body: String = ""
    ) throws -> (status: Int, text: String) {
        let stream = try BlockingStream.connect(to: "127.0.0.1:\(page)", timeoutSeconds: 30)
        let length = body.isEmpty ? [] : ["Content-Length: \(body.utf8.count)"]
        let lines = ["\(method) \(target) HTTP/1.1", "Host: \(host)", "Connection: close"] + fields + length
        try stream.write(Array((lines.joined(separator: "\r\n") + "\r\n\r\n" + body).utf8))
        let text = String(decoding: try stream.rest(), as: UTF8.self)
        let words = text.prefix(64).split(separator: " ")
        guard words.count > 1, let status = Int(words[1]) else { throw TestFailure("no answer: \(text)") }
        return (status, text)
    }

    static func get(_ page: UInt16, _ target: String) throws -> (status: Int, text: String) {
        try ask(page, "GET", target)
    }

    static let withToken = ["Authorization: Bearer \(token)"]

    @Test("it serves its own files alone, with a policy that lets nothing else in")
    func files() throws {
        let page = try freePort()
        let daemon = try Self.daemon(page.port)
        for (path, type) in [("/", "text/html"), ("/app.js", "text/javascript"), ("/style.css", "text/css")] {
            let answer = try Self.get(page.port, path)
            #expect(answer.status == 200 && answer.text.contains("Content-Type: \(type)"), "\(path)")
            #expect(answer.text.contains("Content-Security-Policy: default-src 'none'; script-src 'self'"))
            #expect(answer.text.contains("X-Content-Type-Options: nosniff"))
            let tag = try #require(answer.text.split(separator: "\r\n").first { $0.hasPrefix("ETag: ") })
            let again = try Self.ask(page.port, "GET", path, ["If-None-Match: \(tag.dropFirst("ETag: ".count))"])
            #expect(again.status == 304)
            #expect(try Self.ask(page.port, "HEAD", path).text.hasSuffix("\r\n\r\n"))
        }
        let head = try Self.ask(page.port, "HEAD", "/v1/events").text
        #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n") && head.hasSuffix("\r\n\r\n"))
        // Each that it lists is there.
        let unknown = try Self.get(page.port, "/v1/nothing")
        #expect(unknown.status == 404)
        for path in ["/", "/metrics", "/v1/status", "/v1/balancer", "/v1/usage", "/v1/logs", "/v1/version"] {
            #expect(unknown.text.contains(" \(path)"), "\(path)")
            #expect(try Self.get(page.port, path).status == 200, "\(path)")
        }
        #expect(unknown.text.contains("/v1/why?name=NAME") && unknown.text.contains("/v1/events"))
        for path in ["/token", "/../supd.json5", "/%2e%2e/token", "//", "/index.html", "/app.js/"] {
            #expect(try Self.get(page.port, path).status == 404, "\(path)")
        }
        let role = try daemon.role("web")
        let entry = try #require(ProcessTable.entry(of: role))
        #expect(entry.name == "supd: web")
        if geteuid() == 0 {
            let uid = try Files.status("/proc/\(role)/fd").user
            #expect(uid == 0, "its /proc is root's, for it is not dumpable")
            let status = String(decoding: try readSmallFile("/proc/\(role)/status", limit: 4096), as: UTF8.self)
            #expect(!status.contains("\nUid:\t0\t") && status.contains("\nNoNewPrivs:\t1"))
        }
    }

    @Test("it reads without the token, changes with it, and may do nothing else at all")
    func rights() throws {
        let page = try freePort()
        let daemon = try Self.daemon(page.port)
        let before = try daemon.pids()
        #expect(try Self.get(page.port, "/v1/status").text.contains("\"api/2\""))
        #expect(try Self.get(page.port, "/metrics").text.contains("supd_role_up{role=\"web\"} 1"))
        #expect(try Self.ask(page.port, "POST", "/v1/services/api/stop").status == 401)
        #expect(try Self.ask(page.port, "POST", "/v1/services/api/stop", ["Authorization: Bearer wrong"]).status == 401)
        for target in ["/v1/shutdown", "/v1/apply", "/v1/services/api/signal?signal=KILL", "/v1/upgrade"] {
            #expect(try Self.ask(page.port, "POST", target, Self.withToken).status == 403, "\(target)")
        }
        #expect(try Self.get(page.port, "/v1/history").status == 403)
        #expect(try daemon.pids() == before)
        #expect(try Self.ask(page.port, "POST", "/v1/services/api/1/restart", Self.withToken).status == 200)
        try eventually("another process") {
            let now = try daemon.pids()
            return now["api/1"] != nil && now["api/1"] != before["api/1"] ? true : nil
        }
        #expect(try daemon.pids()["api/2"] == before["api/2"])
        #expect(try Self.ask(page.port, "POST", "/v1/services/api/scale?replicas=3", Self.withToken).status == 200)
        try eventually("three") { try daemon.status().services.first?.ready == 3 ? true : nil }
        #expect(try daemon.ctl("events").output.contains("asked for by the dashboard"))
        // Another token takes an apply, though the manifest is the same.
        _ = try daemon.directory.write("token", "another-token-of-enough-letters")
        #expect(try daemon.ctl("apply").output.contains("nothing to change"))
        #expect(try Self.ask(page.port, "POST", "/v1/services/api/1/restart", Self.withToken).status == 401)
        let other = ["Authorization: Bearer another-token-of-enough-letters"]
        #expect(try Self.ask(page.port, "POST", "/v1/services/api/1/restart", other).status == 200)
    }

    @Test("it tells what supctl why tells, and shows the log as it is written")
    func whyAndLogs() throws {
        let page = try freePort()
        let directory = try TemporaryDirectory()
        let daemon = try Daemon(
            """
            { supd: { web: { listen: \(page.port) } }, services: {
                bad: { command: ["/bin/sh", "-c", "echo Address already in use >&2; exit 3"], restart: { limit: { starts: 1, within: "1h" } } },
                loud: { command: ["/bin/sh", "-c", "echo ready; while [ ! -e \(directory.file("go")) ]; do sleep 0.05; done; echo gone on; exec sleep 1000"] },
            } }
            """, in: directory, waitUntilUp: false)
        try Self.waitForPage(page.port)
        try eventually("the end of bad") { try daemon.status("bad").services.first?.state == "failed" ? true : nil }
        try daemon.ctl("why", "bad")
        for name in ["bad", "bad/1", "bad%2F1"] {
            let answer = try Self.get(page.port, "/v1/why?name=\(name)")
            #expect(answer.status == 200)
            for text in ["\"state\":\"failed\"", "its port is taken", "\"log\":[\"Address already in use\"]"] {
                #expect(answer.text.contains(text), "\(name): \(answer.text)")
            }
        }
        #expect(try Self.get(page.port, "/v1/why?name=nobody").status == 404)
        for query in ["", "?name=", "?name=..%2Fx", "?name=a&b=c", "?nam=bad"] {
            #expect(try Self.get(page.port, "/v1/why\(query)").status == 400, "\(query)")
        }
        let log = try EventStream(page.port, target: "/v1/logs?name=loud&follow=true")
        try log.wait(for: "\"message\":\"ready\"")
        _ = try directory.write("go", "")
        try log.wait(for: "\"message\":\"gone on\"")
        #expect(try Self.get(page.port, "/v1/logs?name=bad&lines=1").text.contains("\"stream\":\"stderr\""))
        #expect(try Self.get(page.port, "/v1/logs?name=nobody").status == 404)
    }

    @Test("it shows what was written before an end, however much has followed and was rotated, as supctl does")
    func whyBehindRotation() throws {
        let page = try freePort()
        let directory = try TemporaryDirectory()
        let flag = directory.file("second")
        let first = "if [ ! -e \(flag) ]; then touch \(flag); echo first words; echo last words; exit 3; fi"
        let line = "echo what follows, and is long enough for several files $$i"
        let second = "i=0; while [ $$i -lt 5000 ]; do \(line); i=$$((i + 1)); done; exec sleep 1000"
        let daemon = try Daemon(
            """
            { supd: { web: { listen: \(page.port) } }, services: {
                x: { command: ['/bin/sh', '-c', '\(first); \(second)'],
                     restart: { initialDelay: '300ms' }, log: { maxSize: '64K', keep: 50 } },
            } }
            """, in: directory, waitUntilUp: false)
        try Self.waitForPage(page.port)
        try eventually("all that follows") { daemon.logLines("x").contains { $0.hasSuffix(" 4999") } ? true : nil }
        let words = "\"log\":[\"first words\",\"last words\"]"
        #expect(try daemon.ctl("why", "x", "--json").output.contains(words))
        let answer = try Self.get(page.port, "/v1/why?name=x")
        #expect(answer.status == 200 && answer.text.contains(words), "\(answer.text)")
    }

    @Test("a token that others may read is none")
    func openToken() throws {
        let page = try freePort()
        let daemon = try Self.daemon(page.port, mode: 0o644)
        #expect(daemon.keeper.output.contains("may be read by others: chmod 600"))
        #expect(try Self.ask(page.port, "POST", "/v1/services/api/stop", Self.withToken).status == 403)
    }

    @Test("a page of somebody else's cannot ask, whatever name it has led here")
    func strangers() throws {
        let page = try freePort()
        let daemon = try Self.daemon(page.port)
        for host in ["evil.example", "evil.example:\(page.port)", "localhost.evil.example"] {
            #expect(try Self.ask(page.port, "GET", "/v1/status", host: host).status == 421)
            #expect(try Self.ask(page.port, "GET", "/", host: host).status == 421)
        }
        for field in ["Origin: http://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"] {
            #expect(try Self.ask(page.port, "GET", "/v1/events", [field]).status == 403)
            #expect(try Self.ask(page.port, "POST", "/v1/services/api/stop", Self.withToken + [field]).status == 403)
        }
        #expect(try daemon.status().services.first?.ready == 2)
    }

    @Test("events come in order, none twice and none missing, over the loss of the supervisor and of the role itself")
    func events() throws {
        let page = try freePort()
        let daemon = try Self.daemon(page.port)
        let first = try EventStream(page.port)
        try first.wait(for: "\"to\":\"running\"")
        let supervisor = try daemon.role("supervisor")
        kill(supervisor, SIGKILL)
        try daemon.waitForAnother("supervisor", than: supervisor)
        #expect(try daemon.ctl("restart", "api/1").code == 0)
        // On the same connection.
        try first.wait(for: "\"verb\":\"restart\"")
        try first.wait(for: "\nevent: status\n")
        let role = try daemon.role("web")
        kill(role, SIGKILL)
        try daemon.waitForAnother("web", than: role)
        #expect(try daemon.ctl("restart", "api/2").code == 0)
        try Self.waitForPage(page.port)
        let second = try EventStream(page.port, after: first.numbers.last)
        try second.wait(for: "\"role\":\"web\",\"step\":\"started\"")
        try second.wait(for: "\"names\":[\"api/2\"]")
        let all = first.numbers + second.numbers
        #expect(all == Array(1...UInt64(all.count)))
    }

    @Test("SIGKILL of the role touches nothing else, and another one serves soon")
    func roleIsKilled() throws {
        let (page, front) = (try freePort(), try freePort())
        let daemon = try Self.daemon(page.port, front: front.port)
        let before = try daemon.pids()
        let others = try ["supervisor", "balancer"].map(daemon.role)
        let open = try KeptConnection(port: front.port)
        _ = try open.get("/")
        let role = try daemon.role("web")
        kill(role, SIGKILL)
        try daemon.waitForAnother("web", than: role)
        try Self.waitForPage(page.port)
        #expect(try daemon.pids() == before)
        #expect(try ["supervisor", "balancer"].map(daemon.role) == others)
        _ = try open.get("/")
    }

    @Test("connections that never say what they want keep nobody out")
    func slowRequests() throws {
        let page = try freePort()
        let daemon = try Self.daemon(page.port)
        let role = try daemon.role("web")
        var slow: [BlockingStream] = []
        for number in 0..<400 {
            let stream = try BlockingStream.connect(to: "127.0.0.1:\(page.port)", timeoutSeconds: 30)
            let beginning = number % 2 == 0 ? "" : "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
            if !beginning.isEmpty { try? stream.write(Array(beginning.utf8)) }
            slow.append(stream)
        }
        // The last of them may be turned away itself; somebody who says what he wants is not, or only for a moment.
        try eventually("an answer beside them") { (try? Self.get(page.port, "/v1/status").status) == 200 ? true : nil }
        let descriptors = try FileIO.names(inDirectory: "/proc/\(role)/fd").count
        #expect(descriptors < 200, "\(descriptors)")
        // Those that were not turned away are told after ten seconds.
        try eventually("the end of all", within: 60) {
            slow.removeAll { (try? $0.rest()) != nil }
            return slow.isEmpty ? true : nil
        }
        #expect(try daemon.role("web") == role)
    }

    @Test("no bytes end the role, seeded", arguments: [1, 2] as [UInt64])
    func garbage(seed: UInt64) throws {
        let page = try freePort()
        let daemon = try Self.daemon(page.port)
        let role = try daemon.role("web")
        var random = SeededRandom(seed: seed)
        let pieces = [
            "GET ", "POST ", "HEAD ", "/", "/v1/", "events", "status", "services/", "api", "/scale?replicas=",
            "?after=", "%",
            "%00", "%zz", " HTTP/1.1", " HTTP/1.0", "\r\n", "\r\n\r\n", "Host: localhost\r\n", "Last-Event-ID: ",
            "99999999999999999999", "-1", "Content-Length: 5\r\n", "Origin: ", "http://localhost",
            "Authorization: Bearer ",
            "\0", "\u{ff}", "Transfer-Encoding: chunked\r\n", String(repeating: "x", count: 9000),
        ]
        for _ in 0..<300 {
            let stream = try BlockingStream.connect(to: "127.0.0.1:\(page.port)", timeoutSeconds: 30)
            var bytes: [UInt8] = []
            if random.below(2) == 0 { bytes += Array("GET /v1/status HTTP/1.1\r\nHost: localhost\r\n".utf8) }
            for _ in 0..<random.below(25) {
                bytes += Array(pieces[random.below(pieces.count)].utf8)
                if random.below(4) == 0 { bytes.append(UInt8(random.below(256))) }
            }
            // It may be cut while it is still being told something.
            try? stream.write(bytes)
        }
        try Self.waitForPage(page.port)
        #expect(try daemon.role("web") == role)
    }

    @Test("an apply opens it, moves it, and takes it away; nothing else is touched")
    func applies() throws {
        let (page, other) = (try freePort(), try freePort())
        let services = "services: { api: { command: [\"\(Daemon.demoService)\", \"--quiet\"] } }"
        let daemon = try Daemon("{ \(services) }")
        let before = try daemon.pids()
        #expect(try daemon.status().daemon.roles["web"] == nil)
        func apply(_ web: String) throws -> Program.Result {
            _ = try daemon.directory.write("supd.json5", "{ \(web)\(services) }")
            return try daemon.ctl("apply")
        }
        #expect(try apply("supd: { web: { listen: \(page.port) } }, ").output.contains("web.listen"))
        try Self.waitForPage(page.port)
        #expect(try apply("supd: { web: { listen: \(other.port) } }, ").code == 0)
        try Self.waitForPage(other.port)
        try eventually("the end of the first address") { (try? Self.get(page.port, "/")) == nil ? true : nil }
        #expect(try apply("").code == 0)
        try eventually("the end of the second") { (try? Self.get(other.port, "/")) == nil ? true : nil }
        try eventually("no role") { try daemon.status().daemon.roles["web"] == nil ? true : nil }
        #expect(try daemon.pids() == before)
        // An address that is taken changes nothing.
        let taken = try freePort()
        let listener = try BlockingListener(host: "127.0.0.1", port: taken.port)
        let refused = try apply("supd: { web: { listen: \(taken.port) } }, ")
        #expect(refused.code == 1 && refused.output.contains("supd.web: cannot listen on"), "\(refused.output)")
        withExtendedLifetime(listener) {}
    }

    @Test("an upgrade of supd starts it anew, and nothing is left of the one before")
    func upgrade() throws {
        let page = try freePort()
        let daemon = try Self.daemon(page.port)
        let before = try daemon.pids()
        let role = try daemon.role("web")
        let result = try daemon.ctl("upgrade")
        #expect(result.code == 0, "\(result.output)")
        try daemon.waitForAnother("web", than: role)
        try Self.waitForPage(page.port)
        #expect(ProcessTable.entry(of: role).map(\.hasEnded) != false)
        #expect(try daemon.pids() == before)
    }
}
