import ControlAPI
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// What the page may change, by every request that the control API knows; what it may not cost; and that it says what supctl
/// says. The rest of it is in `DashboardTests`.
@Suite("The dashboard's rights and limits", .timeLimit(.minutes(15)))
struct DashboardRightsTests {
    private typealias Page = DashboardTests

    /// The kinds of requests there are.
    private enum Kind: CaseIterable {
        case version, status, balancer, usage, metrics, history, events, logs
        case verb, signal, limit, scale, apply, rollback, decide, shutdown, upgrade

        /// Who adds a route has to add its kind, or this does not compile; and a request of that kind, or the test fails.
        init(_ route: ControlRoute) {
            switch route {
            case .version: self = .version
            case .status: self = .status
            case .balancer: self = .balancer
            case .usage: self = .usage
            case .metrics: self = .metrics
            case .verb: self = .verb
            case .signal: self = .signal
            case .limit: self = .limit
            case .scale: self = .scale
            case .apply: self = .apply
            case .history: self = .history
            case .events: self = .events
            case .logs: self = .logs
            case .rollback: self = .rollback
            case .decide: self = .decide
            case .shutdown: self = .shutdown
            case .upgrade: self = .upgrade
            }
        }
    }

    private static let requests: [HTTPRequest] = {
        let reading = [
            "/v1/version", "/v1/status?limits=true", "/v1/balancer", "/v1/usage", "/metrics", "/v1/history",
            "/v1/events?follow=false", "/v1/logs",
        ]
        let verbs = ServiceVerb.allCases.map(\.rawValue) + RolloutVerb.allCases.map(\.rawValue)
        let changing =
            verbs.map { "/v1/services/api/\($0)" } + [
                "/v1/services/api/1/restart", "/v1/services/api/stop?wait=true", "/v1/services/api/signal?signal=KILL",
                "/v1/services/api/scale?replicas=1", "/v1/apply", "/v1/apply?dry-run=true", "/v1/rollback",
                "/v1/rollback?to=1", "/v1/shutdown", "/v1/upgrade", "/v1/upgrade?check=true",
            ]
        return reading.map { HTTPRequest(method: "GET", target: $0) }
            + changing.map { HTTPRequest(method: "POST", target: $0) }
            + [
                HTTPRequest(method: "POST", target: "/v1/services/api/limit", body: Array("{\"nofile\":\"100\"}".utf8))
            ]
    }()

    @Test("without web.actions, or without its token, no request changes anything", arguments: [false, true])
    func nothingChanges(allowsActions: Bool) throws {
        let page = try freePort()
        let daemon =
            allowsActions ? try Page.daemon(page.port) : try Daemon(Page.manifest(page.port))
        try Page.waitForPage(page.port)
        let kinds = try Self.requests.map { Kind(try ControlRoute($0)) }
        #expect(Set(kinds) == Set(Kind.allCases), "there is no request of \(Set(Kind.allCases).subtracting(kinds))")

        let stream = try EventStream(page.port)
        try stream.wait(for: "\"actions\":\"\(allowsActions ? "yes" : "no")\"")
        let before = try daemon.pids()
        let limits = try daemon.status("api/1").services.first?.instances.first?.limits
        for request in Self.requests {
            let body = String(decoding: request.body, as: UTF8.self)
            let answer = try Page.ask(page.port, request.method, request.target, body: body)
            guard request.method == "POST" else {
                // What an apply had in it is not for those who only look.
                #expect(answer.status == (request.target == "/v1/history" ? 403 : 200), "\(request.target)")
                continue
            }
            #expect(allowsActions ? [401, 403].contains(answer.status) : answer.status == 403, "\(answer.text)")
            guard !allowsActions else { continue }
            // Nor does some token help, where the manifest names none.
            let other = try Page.ask(page.port, request.method, request.target, Page.withToken, body: body)
            #expect(other.status == 403, "\(other.text)")
        }
        #expect(try daemon.pids() == before && before.count == 2)
        let service = try #require(try daemon.status("api/1").services.first)
        #expect(service.goal == "up" && service.replicas == 2 && service.instances.first?.drained != true)
        #expect(service.instances.first?.limits == limits)
        let events = try daemon.ctl("events").output
        #expect(!events.contains("asked for by the dashboard"), "\(events)")
    }

    @Test("with the token it goes back to the manifest before, and the event says so")
    func rollback() throws {
        let page = try freePort()
        let daemon = try Page.daemon(page.port)
        let first = Page.manifest(page.port, ", actions: 'token'")
        func services() throws -> [String] { try daemon.status().services.map(\.name) }
        let none = try Page.ask(page.port, "POST", "/v1/rollback", Page.withToken)
        #expect(none.status == 409 && none.text.contains("there is no other manifest to go back to"), "\(none.text)")
        let second = first.replacingOccurrences(
            of: "@demo@", with: Daemon.demoService
        ).replacingOccurrences(of: "services: {", with: "services: { later: { command: ['sleep', '1000'] },")
        _ = try daemon.directory.write("supd.json5", second)
        #expect(try daemon.ctl("apply").code == 0)
        #expect(try services().sorted() == ["api", "later"])
        let api = try daemon.pids().filter { $0.key != "later/1" }

        #expect(try Page.ask(page.port, "POST", "/v1/rollback").status == 401)
        #expect(try Page.ask(page.port, "POST", "/v1/rollback", ["Authorization: Bearer no"]).status == 401)
        #expect(try Page.ask(page.port, "POST", "/v1/rollback?wait=true", Page.withToken).status == 403)
        #expect(try services().count == 2)
        let stream = try EventStream(page.port)
        let answer = try Page.ask(page.port, "POST", "/v1/rollback", Page.withToken)
        #expect(answer.status == 200, "\(answer.text)")
        try eventually("the manifest before") { try services() == ["api"] ? true : nil }
        // The words of the event come along.
        try stream.wait(for: " begins, asked for by the dashboard\"")
        #expect(try daemon.pids() == api)
    }

    @Test("it says why as supctl does, what was used before it failed included")
    func sameWhy() throws {
        let page = try freePort()
        let directory = try TemporaryDirectory()
        // It is looked at what it uses four times a second.
        let daemon = try Daemon(
            """
            { supd: { web: { listen: \(page.port) } }, services: {
                greedy: { command: ["/bin/sh", "-c", "while [ ! -e \(directory.file("go")) ]; do sleep 0.05; done; echo accept: Too many open files >&2; exit 3"],
                          limits: { nofile: 64 }, restart: { limit: { starts: 1, within: "1h" } } },
                waits: { command: ["sleep", "1000"], dependsOn: { greedy: "ready" } },
                gone: { command: ["/no/such/program"], restart: { policy: "never" } },
                well: { command: ["sleep", "1000"] },
            } }
            """, in: directory, environment: ["PATH": "/usr/bin:/bin", "SUPD_TEST_USAGE_HASTE": "40"],
            waitUntilUp: false)
        try Page.waitForPage(page.port)
        try eventually("a few looks") {
            let result = try daemon.ctl("usage", "--json", "greedy")
            let report = try JSONDecoder().decode(UsageReport.self, from: Data(result.output.utf8))
            return report.instances.first?.hour.steps ?? 0 > 2 ? true : nil
        }
        _ = try directory.write("go", "")
        try eventually("all to be where they stay") {
            let states = try daemon.status().services.map { $0.instances.first?.state }
            return states.prefix(1) == ["failed"] && states.dropFirst(2) == ["failed", "running"] ? true : nil
        }
        func same(_ name: String) throws -> String {
            // Between the two something may still come to the log, or to the events.
            try eventually("the same answer about \(name)") {
                let own = try daemon.ctl("why", "--json", name).output.trimmingCharacters(in: .newlines)
                let answer = try Page.get(page.port, "/v1/why?name=\(name)")
                #expect(answer.status == 200)
                return answer.text.components(separatedBy: "\r\n\r\n").last == own ? own : nil
            }
        }
        let greedy = try same("greedy")
        for text in ["it has reached its limit of open files", "open descriptors in the last hour"] {
            #expect(greedy.contains(text), "\(text) in \(greedy)")
        }
        for name in ["greedy/1", "waits", "gone", "well"] { #expect(try same(name).contains("\"answers\":[{")) }
    }

    /// The status code of an answer that may have no end.
    private func statusOfStream(_ page: UInt16) throws -> Int {
        let stream = try BlockingStream.connect(to: "127.0.0.1:\(page)", timeoutSeconds: 30)
        try stream.write(Array("GET /v1/events HTTP/1.0\r\nHost: localhost\r\n\r\n".utf8))
        let words = String(decoding: try stream.read(upTo: 64), as: UTF8.self).split(separator: " ")
        guard words.count > 1, let status = Int(words[1]) else { throw TestFailure("no answer: \(words)") }
        return status
    }

    @Test("a body that nothing here takes is refused, and so is one page too many; both take no one else's place")
    func limits() throws {
        let page = try freePort()
        let daemon = try Page.daemon(page.port)
        let role = try daemon.role("web")
        let large = String(repeating: "x", count: 5 << 10)
        let refused = try Page.ask(page.port, "POST", "/v1/services/api/stop", Page.withToken, body: large)
        #expect(refused.status == 413, "\(refused.text)")
        #expect(try daemon.status().services.first?.ready == 2)
        var pages: [EventStream] = []
        for _ in 0..<16 {
            let stream = try EventStream(page.port)
            try stream.wait(for: "\nevent: status\n")
            pages.append(stream)
        }
        let tooMany = try Page.get(page.port, "/v1/events")
        #expect(tooMany.status == 503 && tooMany.text.contains("16 pages are open already"), "\(tooMany.text)")
        #expect(try Page.get(page.port, "/v1/status").status == 200)
        // All of them hear of what comes.
        #expect(try daemon.ctl("restart", "api/1").code == 0)
        for stream in pages { try stream.wait(for: "\"verb\":\"restart\"") }
        pages.removeLast()
        try eventually("room for another page") { try statusOfStream(page.port) == 200 ? true : nil }
        #expect(try daemon.role("web") == role)
    }
}
