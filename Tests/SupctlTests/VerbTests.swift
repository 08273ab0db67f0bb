import ControlAPI
import Events
import Platform
import TestSupport
import Testing

@testable import supctl

@Suite("The verbs, against a daemon of the test's", .timeLimit(.minutes(15)))
struct VerbTests: VerbSuite {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test("Status is 0 when all is up, and 3 when something is not", arguments: [("running", 0), ("backoff", 3)])
    func status(state: String, code: Int32) throws {
        let report = Example.report([Example.service("api", state: state)])
        let server = try ScriptedServer(path, [.json(report)])
        let result = run("status")
        #expect(result.code == code)
        #expect(result.output.contains("api"))
        #expect(server.requests().first?.hasPrefix("GET /v1/status HTTP/1.1\r\n") == true)
    }

    @Test("Status of one service asks for the limits, and shows all about it")
    func statusDetail() throws {
        let server = try ScriptedServer(path, [.json(Example.report([Example.service("api")]))])
        let result = run("status", "api")
        #expect(result.output.contains("api (service): running, 3 of 3 ready, to be up\n"))
        #expect(result.output.contains("nofile 1024:4096"))
        #expect(result.output.contains("\n  log        12 lines (3072 bytes) dropped: No space left on device\n"))
        #expect(server.requests().first?.hasPrefix("GET /v1/status?name=api&limits=true HTTP/1.1\r\n") == true)
    }

    @Test("Status in JSON is what the daemon sent, to the byte")
    func statusJSON() throws {
        let body =
            "{\"services\":[],\"daemon\":{\"version\":\"9\",\"manifest\":\"m\",\"roles\":{},\"uptimeSeconds\":1,"
            + "\"logDirectory\":\"/l\",\"news\":true}}"
        let server = try ScriptedServer(path, [.answer(200, body)])
        let result = run("status", "--json")
        #expect(result.output == body + "\n")
        #expect(result.code == 0)
        #expect(server.requests().count == 1)
    }

    @Test("A verb says what it waits for, and how it went")
    func restart() throws {
        let server = try ScriptedServer(
            path,
            [
                .lines([
                    ProgressLine(waiting: "api/1 is starting"), ProgressLine(result: "done", message: "restarted 3"),
                ])
            ])
        let result = run("restart", "api", "web/2", "--timeout", "1500ms")
        #expect(result.code == 0)
        #expect(result.errors == "restart: api/1 is starting\n")
        #expect(result.output.hasPrefix("api web/2: restarted 3 in "))
        #expect(
            server.requests().first?.hasPrefix(
                "POST /v1/services/api,web%2F2/restart?wait=true&timeout=1.5 HTTP/1.1\r\n") == true)
    }

    @Test("Events of a supervisor that ends in the middle are read on from its successor, twice at most")
    func eventsGoOn() throws {
        func event(_ number: UInt64) throws -> [UInt8] {
            let record = EventRecord(
                number: number, at: "2026-01-31T10:20:30.000Z", service: "api", instance: "api/1", kind: .gone())
            return HTTPAnswer.chunk(try #require(EventLine.text(record)))
        }
        let head = HTTPAnswer.streamHead(status: 200, chunked: true, closes: true)
        let busy = ScriptedServer.Reply.answer(503, #"{"error": {"code": "not-ready", "message": "it begins"}}"#)
        let server = try ScriptedServer(
            path,
            [
                .bytes(head + (try event(4)) + (try event(5)) + (try event(6)).dropLast(9)), .close, busy,
                .bytes(head + (try event(6)) + HTTPAnswer.lastChunk), .close, .close, .close, busy,
            ])
        let result = run("events", "--json")
        #expect(result.code == 0 && result.errors.isEmpty, "\(result.errors)")
        let numbers = result.output.split(separator: "\n").map { EventLine.number(of: Array($0.utf8)) }
        #expect(numbers == [4, 5, 6])
        let asked = server.requests().map { String($0.prefix { !$0.isNewline }) }
        #expect(asked.map { $0.contains("after=5") } == [false, true, true, true], "\(asked)")
        let lost = run("events", "--json")
        #expect(lost.code != 0 && lost.output.isEmpty && !lost.errors.isEmpty)
        #expect(server.requests().count == 7)
        // Nobody was lost before.
        let refused = run("events", "--json")
        #expect(refused.code != 0 && refused.errors.contains("it begins") && server.requests().count == 8)
    }

    @Test(
        "A verb that fails, or takes too long, is 1",
        arguments: [
            ("failed", "supctl: api: cannot start: because\n"),
            ("timeout", "supctl: api: cannot start in time: because\n"),
        ])
    func failing(outcome: String, message: String) throws {
        let server = try ScriptedServer(path, [.lines([ProgressLine(result: outcome, message: "because")])])
        let result = run("start", "api")
        #expect(result.code == 1)
        #expect(result.errors == message)
        #expect(result.output.isEmpty)
        #expect(server.requests().count == 1)
    }

    @Test("An apply that somebody has rolled back is told as that, and is 1")
    func rolledBack() throws {
        let line = ProgressLine(
            result: "failed", message: "api was rolled back by uid 7 (pid 8)", rolledBackBy: "uid 7 (pid 8)")
        let server = try ScriptedServer(path, [.lines([line])])
        let result = run("apply")
        #expect(result.code == 1)
        #expect(result.errors == "supctl: the manifest: api was rolled back by uid 7 (pid 8)\n")
        #expect(server.requests().count == 1)
    }

    @Test("A rollback of a service waits, unless it is not to")
    func rollbackOfService() throws {
        let lines = [
            ProgressLine(waiting: "api goes back"),
            ProgressLine(result: "done", message: "went back to what ran before"),
        ]
        let server = try ScriptedServer(
            path,
            [
                .lines(lines),
                .json(ProgressLine(result: "accepted", message: "it goes back to what ran before")),
                .lines([ProgressLine(result: "failed", message: "api/1 has failed")]),
            ])
        let waited = run("rollback", "api")
        #expect(waited.code == 0 && waited.output.hasPrefix("api: went back to what ran before in "))
        #expect(waited.errors == "rollback: api goes back\n")
        let accepted = run("rollback", "--no-wait", "api")
        #expect(accepted.code == 0 && accepted.output == "api: rollback accepted; it goes back to what ran before\n")
        let failed = run("rollback", "api", "--timeout", "3s")
        #expect(failed.code == 1 && failed.errors == "supctl: api: cannot rollback: api/1 has failed\n")
        let targets = server.requests().map { String($0.prefix { !$0.isNewline }) }
        #expect(
            targets == [
                "POST /v1/services/api/rollback?wait=true HTTP/1.1", "POST /v1/services/api/rollback HTTP/1.1",
                "POST /v1/services/api/rollback?wait=true&timeout=3 HTTP/1.1",
            ])
        #expect(run("rollback", "api", "--json").code == 2)
    }

    @Test("A plan says how new instances take over, where that is not one after the other")
    func plan() throws {
        func change(_ service: String, _ cost: String, _ manner: String?) -> PlannedChange {
            PlannedChange(
                service: service, cost: cost, instances: 3, fields: [.init(field: "umask", old: "022", new: "077")],
                manner: manner)
        }
        let plan = [change("api", "rolling", "after a canary of 1 for 2 min"), change("b", "rolling", nil)]
        let server = try ScriptedServer(path, [.json(ProgressLine(result: "done", changed: false, plan: plan))])
        let result = run("apply", "--dry-run")
        #expect(
            result.output
                == "api  rolling  3 instances, after a canary of 1 for 2 min\n    umask: 022 → 077\n"
                + "b    rolling  3 instances\n    umask: 022 → 077\n")
        #expect(server.requests().count == 1)
    }

    @Test("A verb that is not to wait does not")
    func noWait() throws {
        let server = try ScriptedServer(path, [.json(ProgressLine(result: "accepted"))])
        let result = run("stop", "--no-wait", "all")
        #expect(result.code == 0)
        #expect(result.output == "all: stop accepted\n")
        #expect(server.requests().first?.hasPrefix("POST /v1/services/all/stop HTTP/1.1\r\n") == true)
    }

    @Test("What needed no doing is a sentence of the daemon's, and no time is told of it", arguments: [true, false])
    func nothingToDo(waits: Bool) throws {
        let line = ProgressLine(result: "done", message: "api has no instances (replicas: 0)", changed: false)
        let server = try ScriptedServer(path, [waits ? .lines([line]) : .json(line)])
        let result = run(["start", "api"] + (waits ? [] : ["--no-wait"]))
        #expect(result.code == 0)
        #expect(result.output == "api has no instances (replicas: 0)\n")
        #expect(result.errors.isEmpty)
        #expect(server.requests().count == 1)
    }

    @Test("Draining says how many connections are left, and undraining is done at once")
    func drain() throws {
        let server = try ScriptedServer(
            path,
            [
                .lines([
                    ProgressLine(waiting: "api/2: 3 connections open"),
                    ProgressLine(result: "done", message: "drained 1 instance"),
                ]), .lines([ProgressLine(result: "done", message: "undrained 1 instance")]),
                .json(ProgressLine(result: "accepted", message: "no instance of api is left")),
            ])
        let result = run("drain", "api/2", "--timeout=30s")
        #expect(result.code == 0)
        #expect(result.errors == "drain: api/2: 3 connections open\n")
        #expect(result.output.hasPrefix("api/2: drained 1 instance in "))
        #expect(run("undrain", "api/2").output.hasPrefix("api/2: undrained 1 instance in "))
        #expect(run("drain", "--no-wait", "api").output == "api: drain accepted; no instance of api is left\n")
        let requests = server.requests()
        #expect(requests.first?.hasPrefix("POST /v1/services/api%2F2/drain?wait=true&timeout=30 HTTP/1.1\r\n") == true)
        #expect(requests.last?.hasPrefix("POST /v1/services/api/drain HTTP/1.1\r\n") == true)
    }

    @Test("The balancer's counters are tables, or what the daemon sent, to the byte")
    func balancer() throws {
        let report = BalancerReport(services: [], acceptPauses: 0)
        let body = "{\"acceptPauses\":0,\"services\":[],\"news\":1}"
        let server = try ScriptedServer(
            path,
            [
                .json(report), .answer(200, body), .answer(200, "[]"),
                .json(ErrorReport(code: "failed", message: "the balancer does not answer"), status: 503),
                .json(ErrorReport(code: "no-such-name", message: "there is no service \"b\""), status: 404),
            ])
        #expect(run("balancer", "api").output == "no fronts\n")
        #expect(run("balancer", "--json").output == body + "\n")
        #expect(run("balancer").errors.contains("is it another version?"))
        let silent = run("balancer")
        #expect(silent.code == 1)
        #expect(silent.errors == "supctl: the balancer does not answer\n")
        // A watch that cannot begin ends like anything else, and leaves the terminal alone.
        let watch = run("balancer", "--watch", "b")
        #expect(watch.code == 4 && watch.output.isEmpty)
        #expect(server.requests().first?.hasPrefix("GET /v1/balancer?name=api HTTP/1.1\r\n") == true)
    }

    @Test("A name that matches nothing is 4")
    func noSuchName() throws {
        let server = try ScriptedServer(
            path, [.json(ErrorReport(code: "no-such-name", message: "there is no service \"apu\""), status: 404)])
        let result = run("stop", "apu")
        #expect(result.code == 4)
        #expect(result.errors == "supctl: there is no service \"apu\"\n")
        #expect(server.requests().count == 1)
    }

    @Test("A signal is named as people name it")
    func signal() throws {
        let server = try ScriptedServer(path, [.json(ProgressLine(result: "done", message: "sent to 2 processes"))])
        let result = run("signal", "sighup", "api")
        #expect(result.output == "api: SIGHUP sent to 2 processes\n")
        #expect(server.requests().first?.hasPrefix("POST /v1/services/api/signal?signal=HUP HTTP/1.1\r\n") == true)
    }

    @Test("Limits are told apart from names by their equals sign")
    func limit() throws {
        let server = try ScriptedServer(path, [.json(ProgressLine(result: "done"))])
        let result = run("limit", "api", "web", "nofile=4096", "core=0:unlimited")
        #expect(result.output == "api web: limits are set\n")
        let request = try #require(server.requests().first)
        #expect(request.hasPrefix("POST /v1/services/api,web/limit HTTP/1.1\r\n"))
        #expect(request.hasSuffix("\r\n\r\n{\"core\":\"0:unlimited\",\"nofile\":\"4096\"}"))
    }

    @Test("Several services are scaled by one request, each to its number")
    func scale() throws {
        let server = try ScriptedServer(path, [.json(ProgressLine(result: "accepted"))])
        let result = run("scale", "api=5", "web=0", "--no-wait")
        #expect(result.output == "api=5 web=0: scale accepted\n")
        #expect(server.requests().first?.hasPrefix("POST /v1/services/api,web/scale?replicas=5,0 HTTP/1.1\r\n") == true)
    }

    @Test("Shutdown is done when the daemon takes its socket along before the last word")
    func shutdown() throws {
        // After its only connection, the server is no more: whoever comes next is refused.
        let server = try ScriptedServer(path, [.close])
        let result = run("shutdown")
        #expect(result.code == 0)
        #expect(result.output.hasPrefix("supd: shut down in "))
        #expect(server.requests().count == 1)
    }

    @Test(
        "Without a daemon, a verb that needs one is 5",
        arguments: [
            ["status"], ["start", "api"], ["stop", "api"], ["restart", "api"], ["signal", "HUP", "api"],
            ["limit", "api", "nofile=1"], ["scale", "api=2"], ["shutdown"], ["upgrade"], ["__names"],
        ])
    func noDaemon(arguments: [String]) {
        let result = run(arguments)
        #expect(result.code == 5)
        #expect(
            result.errors.hasPrefix("supctl: cannot reach supd at \(path): No such file or directory; is it running?"))
        #expect(result.output.isEmpty)
    }

    @Test("Names for completion are services, instances of several replicas, and all")
    func names() throws {
        let report = Example.report([Example.service("api"), Example.service("db", replicas: 1)])
        let server = try ScriptedServer(path, [.json(report)])
        #expect(run("__names").output == "api\ndb\napi/1\napi/2\napi/3\nall\n")
        #expect(server.requests().count == 1)
    }

    @Test("A manifest is checked without a daemon, all errors at once")
    func check() throws {
        let good = try directory.write("good.json5", "{ services: { api: { command: 'true' } } }")
        #expect(run("check", good).code == 0)
        let bad = try directory.write("bad.json5", "{ services: { api: { comand: 'true', replicas: -1 } } }")
        let result = run("check", bad)
        #expect(result.code == 1)
        #expect(result.output.contains("\(bad):1:22: services.api.comand: "))
        #expect(result.output.contains("services.api.replicas: "))
        // What this machine lacks is no error.
        let elsewhere = try directory.write(
            "elsewhere.json5",
            "{ services: { api: { command: './none', user: 'nobody-of-this-name', environmentFiles: ['x.env'] } } }")
        let warned = run("check", elsewhere)
        #expect(warned.code == 0)
        #expect(warned.output.contains("\(elsewhere):1:47: warning: services.api.user: "))
        #expect(
            warned.output.contains("services.api.environmentFiles[0]: the file \"\(directory.path)/x.env\" does not"))
        #expect(warned.output.contains("services.api.command: the program \"\(directory.path)/none\" does not exist"))
        #expect(run("check", directory.file("none")).code == 1)
        #expect(run("check", directory.path).errors.hasSuffix("it is a directory\n"))
        #expect(run("check").code == 2)
    }
}
