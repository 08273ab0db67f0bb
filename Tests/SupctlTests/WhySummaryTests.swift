import ControlAPI
import Events
import Testing

@testable import Why

/// The first line of an answer: it has to name the cause by itself.
@Suite("The first line of why")
struct WhySummaryTests {
    private typealias Entry = (instance: String?, kind: EventKind)

    private static func time(_ second: Int) -> String { "2026-01-31T10:00:\(second < 10 ? "0" : "")\(second).000Z" }

    private static func reasoning(
        _ services: [ServiceStatus], _ entries: [Entry], log: [String]
    ) -> WhyReasoning {
        let events = entries.enumerated().map { index, entry in
            EventRecord(
                number: UInt64(index + 1), at: time(index),
                service: entry.instance.map { String($0.prefix { $0 != "/" }) }, instance: entry.instance,
                kind: entry.kind)
        }
        return WhyReasoning(report: Example.report(services), events: events, anHourAgo: "2026-01-31T09:30:00.000Z") {
            _, _, _ in log
        }
    }

    /// A service of one instance.
    private static func service(
        _ state: String, of name: String = "api", detail: String? = nil, ready: Bool = false, last: String? = nil
    ) -> ServiceStatus {
        var instance = InstanceStatus(id: "\(name)/1", state: state, detail: detail, ready: ready, restarts: 0)
        instance.lastExit = last.map { ExitReport(code: nil, signal: nil, reason: $0, at: time(0)) }
        return ServiceStatus(
            name: name, kind: "service", state: state, goal: "up", ready: ready ? 1 : 0, replicas: 1, listen: [],
            fronts: [], instances: [instance])
    }

    private static func summary(
        _ service: ServiceStatus, _ entries: [Entry] = [], log: [String] = [], others: [ServiceStatus] = []
    ) -> String {
        reasoning([service] + others, entries, log: log).answers(service).first?.summary ?? "no answer"
    }

    private static func state(_ from: String?, _ to: String, _ reason: String? = nil) -> EventKind {
        .state(.init(from: from, to: to, reason: reason))
    }

    private static let began: Entry = ("api/1", .start(.init(generation: 1, pid: 9, restarts: 0)))
    private static let ended: Entry = (
        "api/1", .exit(.init(generation: 1, code: 3, reason: "exited with code 3"))
    )

    @Test("Of one that crashes: the end, what lies behind it or what it wrote last, and the next try")
    func backoff() {
        let service = Self.service("backoff", detail: "next try in 3 s", last: "exited with code 3")
        let entries = [Self.began, Self.ended]
        #expect(
            Self.summary(service, entries, log: ["Address already in use"])
                == "exited with code 3 after 1.0s, probably its port is taken; next try in 3 s")
        #expect(
            Self.summary(service, entries, log: ["unknown key foo", ""])
                == "exited with code 3 after 1.0s; its last line was \"unknown key foo\"; next try in 3 s")
        #expect(
            Self.summary(service, entries, log: ["connect: Connection refused", "giving up", "  trace"])
                == "exited with code 3 after 1.0s, probably something that it connects to was not there; its last line was "
                + "\"giving up\"; next try in 3 s")
        #expect(Self.summary(service, entries) == "exited with code 3 after 1.0s; next try in 3 s")
        // Nothing is known but the status.
        #expect(Self.summary(service) == "exited with code 3; next try in 3 s")
        #expect(Self.summary(Self.service("backoff", detail: "next try in 3 s")) == "next try in 3 s")
        // A later trouble is no end.
        let ports = Self.service("backoff", detail: "next try in 3 s", last: "no port of supd.portRange is free")
        #expect(Self.summary(ports, entries) == "no port of supd.portRange is free; next try in 3 s")
    }

    @Test("A line of its log is cut to a length that the first line can bear")
    func longLine() {
        let service = Self.service("backoff", detail: "next try in 3 s", last: "exited with code 3")
        let line = Self.summary(service, [Self.began, Self.ended], log: [String(repeating: "x", count: 1000)])
        #expect(line.hasSuffix("xxx…\"; next try in 3 s") && line.count < 250, "\(line)")
    }

    @Test("Of one that is given up: why, once")
    func failed() {
        let reason = "exited with code 3"
        let service = Self.service("failed", detail: "\(reason), and its restart policy is never", last: reason)
        #expect(
            Self.summary(service, [Self.began, Self.ended], log: ["Too many open files"])
                == "exited with code 3 after 1.0s, probably it has reached its limit of open files; its restart policy is never"
        )
        let limit = Self.service("failed", detail: "\(reason); its limit is 5 starts within 10 s", last: reason)
        #expect(
            Self.summary(limit, [Self.began, Self.ended])
                == "exited with code 3 after 1.0s; its limit is 5 starts within 10 s")
        // As the core says it.
        let ran = Self.service("failed", detail: "\(reason) after 1 s, and its restart policy is never", last: reason)
        #expect(
            Self.summary(ran, [Self.began, Self.ended], log: ["fatal: licence expired"])
                == "exited with code 3 after 1.0s; its last line was \"fatal: licence expired\"; "
                + "its restart policy is never"
        )
        let rule = "its limit is 3 starts within 60 s"
        let often = Self.service("failed", detail: "\(reason) after 1 s; \(rule)", last: reason)
        #expect(
            Self.summary(often, [Self.began, Self.ended])
                == "exited with code 3 after 1.0s; \(rule)")
        let missing = "cannot run /no/such/program: No such file or directory"
        let unstarted = Self.service("failed", detail: "\(missing), and its restart policy is never", last: missing)
        let failure: Entry = ("api/1", .startFailed(.init(generation: 1, reason: missing)))
        #expect(Self.summary(unstarted, [failure]) == "could not start: \(missing); its restart policy is never")
    }

    @Test(
        "Of one that supd has ended by itself: why it did",
        arguments: ["not ready within 2 s (connection refused)", "watchdog: silent for 30 s", "unhealthy: timed out"])
    func ended(reason: String) {
        let service = Self.service("backoff", detail: "next try in 3 s", last: reason)
        let entries: [Entry] = [
            Self.began, ("api/1", Self.state("starting", "stopping", reason)),
            ("api/1", .exit(.init(generation: 1, signal: "SIGTERM", reason: "killed by SIGTERM"))),
            ("api/1", Self.state("stopping", "backoff", reason)),
        ]
        #expect(Self.summary(service, entries) == "\(reason); next try in 3 s")
    }

    @Test("What the probe had printed for which it was restarted is shown, and no older one's")
    func probeOutput() {
        var service = Self.service("starting", detail: "to be ready: connection refused")
        service.instances[0].health = HealthStatus(
            state: "unknown", failures: 0,
            lastFailure: FailedProbe(reason: "GET /healthz answered 500", output: "no database\n", at: Self.time(0)))
        func besides(_ reason: String) -> [String]? {
            let entries: [Entry] = [
                Self.began, ("api/1", Self.state("running", "stopping", reason)),
                ("api/1", .exit(.init(generation: 1, signal: "SIGTERM", reason: "killed by SIGTERM"))),
            ]
            return Self.reasoning([service], entries, log: []).answers(service).first?.besides
        }
        #expect(
            besides("unhealthy: GET /healthz answered 500, three times in a row")
                == ["the last probe that failed: GET /healthz answered 500", "  | no database"])
        #expect(besides("watchdog: silent for 30 s") == [])
    }

    @Test("Of one that starts: what it waits for, and what ended the one before")
    func starting() {
        let service = Self.service("starting", detail: "to be ready: connection refused")
        #expect(Self.summary(service) == "waits to be ready: connection refused")
        #expect(
            Self.summary(service, [Self.began, Self.ended], log: ["Address already in use"])
                == "waits to be ready: connection refused; last time: exited with code 3 after 1.0s, probably its port is taken"
        )
        #expect(Self.summary(Self.service("starting")) == "waits to be ready")
    }

    @Test("Of one that waits: the chain to whom all of it is due, no further than can be read")
    func waiting() {
        let web = Self.service("waiting", of: "web", detail: "api to be ready")
        let api = Self.service("waiting", detail: "db to be ready (db/1 failed to start 3 times: exited with code 3)")
        let db = Self.service("backoff", of: "db", detail: "next try in 3 s", last: "exited with code 3")
        let entries: [Entry] = [
            ("db/1", .start(.init(generation: 1, pid: 9, restarts: 0))),
            ("db/1", .exit(.init(generation: 1, code: 3, reason: "exited with code 3"))),
        ]
        #expect(
            Self.summary(web, entries, log: ["Address already in use"], others: [api, db])
                == "waits for api to be ready; api/1 waits for db to be ready; db/1 is backoff: exited with code 3 after 1.0s, "
                + "probably its port is taken; next try in 3 s")
        // Those that wait for each other, which a manifest does not allow, are followed to a depth.
        let other = Self.service("waiting", detail: "web to be ready")
        #expect(Self.summary(web, others: [other]).count < 200)
        // Of one without instances there is nobody to be named.
        var none = db
        none.instances = []
        #expect(
            Self.summary(Self.service("waiting", detail: "db to be ready (db has no instances)"), others: [none])
                == "waits for db to be ready (db has no instances)")
    }

    @Test("Of one that is being stopped: at whose wish, and what it waits for")
    func stopping() {
        let service = Self.service("stopping", detail: "it to end after SIGTERM, at most 8 s")
        let waits = "waits for it to end after SIGTERM, at most 8 s"
        let stop: Entry = (nil, .command(.init(verb: "stop", names: ["api"], by: "uid 7", userID: 7)))
        let goal: Entry = ("api/1", .goal(.init(goal: "down")))
        let stopping: Entry = ("api/1", Self.state("running", "stopping"))
        #expect(
            Self.summary(service, [Self.began, stop, goal, stopping]) == "stop api, asked for by uid 7; \(waits)")
        // What is asked for when it is on its way out already is not why.
        let apply: Entry = (nil, .apply(.init(step: .began, manifest: "/m", by: "uid 8")))
        #expect(
            Self.summary(service, [Self.began, stop, goal, stopping, apply]) == "stop api, asked for by uid 7; \(waits)"
        )
        #expect(
            Self.summary(service, [Self.began, ("api/1", Self.state("running", "stopping", "unhealthy: timed out"))])
                == "unhealthy: timed out; \(waits)")
        #expect(
            Self.summary(service, [Self.began, (nil, .daemon(.init(step: .stopping))), goal, stopping])
                == "supd stops everything; \(waits)")
        let asleep: Entry = ("api/1", .goal(.init(goal: "down", reason: "asleep after 10 min without connections")))
        #expect(
            Self.summary(service, [Self.began, asleep, stopping])
                == "asleep after 10 min without connections; \(waits)")
    }

    @Test(
        "Of one that is stopped: that first, for it explains the rest; it is not as it should be, whatever was said of it",
        arguments: [
            ("running", nil, "its process is stopped, by SIGSTOP or from a terminal, and does nothing until SIGCONT"),
            (
                "starting", "to be ready: connection refused",
                "its process is stopped, by SIGSTOP or from a terminal, and does nothing until SIGCONT; waits to be ready: "
                    + "connection refused"
            ),
            (
                "stopping", "it to end after SIGTERM, at most 8 s",
                "waits for it to end after SIGTERM, at most 8 s; its process is stopped, by SIGSTOP or from a terminal, and "
                    + "does nothing until SIGCONT"
            ),
        ] as [(String, String?, String)])
    func stoppedProcess(state: String, detail: String?, words: String) {
        var service = Self.service(state, detail: detail, ready: state == "running")
        service.instances[0].pid = 9
        var reasoning = Self.reasoning([service], [], log: [])
        #expect(reasoning.troubles().isEmpty == (state == "running"))
        reasoning.processState = { $0 == 9 ? UInt8(ascii: "T") : nil }
        let answer = reasoning.troubles().first
        #expect(answer?.summary == words && answer?.isFine == false)
        #expect(answer?.help.first == "\"supctl signal CONT api/1\" lets it go on")
        #expect(answer?.help.contains { $0.contains("listen") } == false)
        service.instances[0].health = HealthStatus(
            state: "unhealthy", failures: 2,
            lastFailure: FailedProbe(reason: "no answer", output: nil, at: Self.time(0)))
        if state == "running" {
            service.instances[0].detail = "unhealthy: no answer"
            #expect(reasoning.summary(of: service.instances[0], service, []) == "\(words); unhealthy: no answer")
        }
        for other in ["S", "t"] {
            reasoning.processState = { _ in other.utf8.first }
            #expect(reasoning.answers(service).first?.summary.contains("stopped") == false)
        }
    }

    @Test(
        "Events are asked for of those that are asked about, and of those of which something is to be said by the way")
    func interest() {
        var drained = Self.service("running", of: "drained", ready: true)
        drained.instances[0].drained = true
        var failing = Self.service("running", of: "failing", ready: true)
        failing.instances[0].health = HealthStatus(state: "healthy", failures: 1, lastFailure: nil)
        var stopped = Self.service("running", of: "stopped", ready: true)
        stopped.instances[0].pid = 9
        var fine = Self.service("running", of: "fine", ready: true)
        fine.instances[0].pid = 8
        let all = [
            fine, drained, failing, stopped, Self.service("backoff", of: "crashed"), Self.service("down", of: "down"),
            Self.service("completed", of: "done"), Self.service("running", of: "told", detail: "what", ready: true),
        ]
        func instances(
            _ asked: [ServiceStatus]?, _ all: [ServiceStatus], _ balancer: BalancerReport? = nil
        ) -> [String]? {
            WhyInterest.instances(asked: asked.map(Example.report), among: Example.report(all), balancer: balancer) {
                UInt8(ascii: $0 == 9 ? "T" : "S")
            }
        }
        let troubled = ["drained/1", "failing/1", "stopped/1", "crashed/1", "down/1", "told/1"]
        #expect(instances(nil, all) == troubled)
        #expect(instances([fine], all) == ["fine/1"] + troubled)
        #expect(instances([fine], [fine]) == ["fine/1"] && instances(nil, [fine]) == [])
        #expect(instances(nil, [fine], WhyConnectsTests.balancer("fine/1", aside: 1)) == ["fine/1"])
        #expect(instances(nil, [fine], WhyConnectsTests.balancer("fine/1", failed: 1)) == ["fine/1"])
        #expect(instances(nil, [fine], WhyConnectsTests.balancer("fine/1")) == [])
        // One that has just come.
        #expect(instances([Self.service("running", of: "new", ready: true)], [fine]) == ["new/1"])
        let many = (0..<500).map { Self.service("down", of: "service-\($0)") }
        #expect(instances(nil, many) == nil && instances(nil, Array(many.prefix(200)))?.count == 200)
    }

    @Test("One that does not end because it ignores the signal is said to do so, in the line of a shutdown, too")
    func ignored() {
        var service = Self.service("stopping", detail: "it to end after SIGTERM, at most 8 s")
        service.instances[0].pid = 9
        var reasoning = Self.reasoning([service], [(nil, .daemon(.init(step: .stopping)))], log: [])
        reasoning.ignores = { pid, signal in pid == 9 && signal == "SIGTERM" }
        let waits = "waits for it to end after SIGTERM, at most 8 s; it ignores SIGTERM"
        #expect(reasoning.answers(service).first?.summary == waits)
        #expect(reasoning.answers(service).first?.help.first?.contains("should end at SIGTERM") == true)
        #expect(reasoning.supdAnswers().first?.hasSuffix("; it waits for api/1 (stopping; \(waits))") == true)
        service.instances[0].detail = "its leftover processes to end after SIGTERM, at most 8 s"
        #expect(reasoning.answers(service).first?.summary.contains("ignores") == false)
    }

    @Test("Of one that runs: what is wrong with it, and what was")
    func running() {
        let well = Self.service("running", ready: true)
        #expect(Self.summary(well) == "nothing is wrong with it")
        #expect(
            Self.summary(well, [Self.began, Self.ended])
                == "it is up again; last time: exited with code 3 after 1.0s")
        var task = Self.service("running")
        task.kind = "task"
        #expect(Self.summary(task) == "it is at work: a task has completed when it ends")
        // What a user has ended is no trouble.
        let restart: Entry = (nil, .command(.init(verb: "restart", names: ["api"], by: "uid 7", userID: 7)))
        #expect(
            Self.summary(
                well, [Self.began, restart, ("api/1", Self.state("running", "stopping", "to be replaced")), Self.ended])
                == "nothing is wrong with it")
        var sick = well
        sick.instances[0].health = HealthStatus(
            state: "healthy", failures: 1,
            lastFailure: FailedProbe(reason: "GET /healthz: no answer within 1 s", at: Self.time(0)))
        #expect(Self.summary(sick) == "the last health probe has failed: GET /healthz: no answer within 1 s")
        let unhealthy = "unhealthy: GET /healthz: no answer within 1 s, three times in a row"
        #expect(Self.summary(Self.service("running", detail: unhealthy, ready: true)) == unhealthy)
        var drained = well
        drained.instances[0].drained = true
        let drain: Entry = (nil, .command(.init(verb: "drain", names: ["api/1"], by: "uid 7", userID: 7)))
        #expect(
            Self.summary(drained, [drain, ("api/1", .drain(.init(drained: true)))])
                == "takes no new connections; drain api/1, asked for by uid 7")
    }

    @Test("A signal that a user has sent is no guess, and one that has not ended it is none of its causes")
    func signal() {
        let service = Self.service("backoff", detail: "next try in 3 s", last: "killed by SIGKILL")
        let end: Entry = ("api/1", .exit(.init(generation: 1, signal: "SIGKILL", reason: "killed by SIGKILL")))
        func summary(_ verb: String) -> String {
            let sent: Entry = (nil, .command(.init(verb: verb, names: ["api/1"], by: "uid 7", userID: 7)))
            return Self.summary(service, [Self.began, sent, end])
        }
        #expect(
            summary("signal KILL")
                == "killed by SIGKILL after 2.0s; signal KILL api/1, asked for by uid 7; next try in 3 s")
        #expect(summary("signal HUP").hasPrefix("killed by SIGKILL after 2.0s, probably not by supd"))
    }

    @Test("A limit is the manifest's, or what it was changed to while the process lived")
    func limits() {
        var service = Self.service("backoff", detail: "next try in 3 s", last: "exited with code 3")
        service.limits = ["as": LimitStatus(soft: 1 << 30, hard: nil)]
        let changed: Entry = ("api/1", .limit(.init(limit: "as", old: "1", new: "536870912:1073741824", by: "uid 7")))
        func summary(_ entries: [Entry]) -> String { Self.summary(service, entries, log: ["Cannot allocate memory"]) }
        #expect(summary([Self.began, Self.ended]).contains("limit of memory (as 1G)"))
        #expect(summary([Self.began, changed, Self.ended]).contains("limit of memory (as 512M)"))
        #expect(summary([changed, Self.began, Self.ended]).contains("limit of memory (as 1G)"))
    }

    @Test("Of a service without instances: who has scaled it, and what starts some")
    func withoutInstances() {
        var service = Self.service("down")
        (service.replicas, service.instances) = (0, [])
        func answer(_ entries: [Entry] = []) -> WhyAnswer? {
            Self.reasoning([service], entries, log: []).answers(service).first
        }
        #expect(answer()?.summary == "no instances: the manifest says replicas: 0")
        #expect(answer()?.help.first?.hasPrefix("\"supctl scale api=1\" starts one") == true)
        service.scaledFrom = 2
        let scale: Entry = (nil, .command(.init(verb: "scale", names: ["web=0", "a*=0"], by: "uid 7", userID: 7)))
        #expect(answer([scale])?.summary == "no instances: scale web=0 a*=0, asked for by uid 7; the manifest says 2")
        #expect(answer([scale])?.since == Self.time(0))
        #expect(answer()?.summary == "no instances: \"supctl scale\" has set it to 0; the manifest says 2")
        #expect(answer()?.help == ["\"supctl scale api=2\" starts them again, as the manifest says"])
        #expect(answer()?.isFine == true)
    }

    @Test("An apply names what it waits for: what it replaces, what is new, what goes; and nobody else")
    func apply() {
        let began: Entry = (nil, .apply(.init(step: .began, manifest: "m.json5", by: "uid 7")))
        let rollout = EventRecord(
            number: 2, at: Self.time(1), service: "api", instance: nil, kind: .rollout(.init(step: .began)))
        let api = Self.service("starting", detail: "to be ready: connection refused")
        let other = Self.service("backoff", of: "other", detail: "next try in 3 s")
        let fresh = Self.service("waiting", of: "fresh", detail: "api to be ready")
        let events = [
            EventRecord(number: 1, at: Self.time(0), service: nil, instance: nil, kind: began.kind), rollout,
            EventRecord(
                number: 3, at: Self.time(2), service: "fresh", instance: "fresh/1", kind: Self.state(nil, "waiting")),
        ]
        let reasoning = WhyReasoning(
            report: Example.report([api, other, fresh]), events: events, anHourAgo: "2026"
        ) { _, _, _ in [] }
        #expect(
            reasoning.supdAnswers() == [
                "an apply of m.json5 is under way since \(Self.time(0)), asked for by uid 7; it replaces api; it waits for "
                    + "api/1 (starting; waits to be ready: connection refused), fresh/1 (waiting; waits for api to be ready)"
            ])
        #expect(
            reasoning.answers(api).first?.besides == [
                "a rollout of api is under way since \(Self.time(1)); it waits for api/1 (starting; waits to be ready: "
                    + "connection refused)"
            ])
    }
}
