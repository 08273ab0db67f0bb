import ControlAPI
import Events
import Platform
import Testing

@testable import supctl
@testable import Why

@Suite("What probably lies behind an end")
struct LikelyCauseTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var evidence: LikelyCause.Evidence
        var cause: String?
        var help: String?
        var testDescription: String { cause ?? "nothing" }

        init(
            code: Int32? = nil, signal: String? = nil, reason: String = "", stopped: Bool = false, log: [String] = [],
            limit: String? = nil, _ cause: String?, _ help: String? = nil
        ) {
            evidence = .init(code: code, signal: signal, reason: reason, wasStopped: stopped, log: log)
            if let limit { evidence.limits = [limit: "64"] }
            (self.cause, self.help) = (cause, help)
        }
    }

    @Test("SIGKILL is the kernel's only where it has ended something for want of memory")
    func outOfMemory() throws {
        var evidence = LikelyCause.Evidence(signal: "SIGKILL")
        for (count, words) in [
            (nil, "the kernel, for want of memory, or"), (0, "not happened since the start"), (1, "done so once"),
            (5, "5 times"),
        ]
            as [(UInt64?, String)]
        {
            evidence.memoryKills = count
            #expect(LikelyCause.guess(evidence)?.cause?.contains(words) == true, "\(words)")
        }
    }

    @Test(
        "Of how it ended and of what it wrote last",
        arguments: [
            Case(code: 1, nil),
            Case(code: 1, log: ["bind: Address already in use"], "its port is taken", "$PORT"),
            Case(
                code: 1, log: ["Error: listen EADDRINUSE: :::3000", "    at Server.setup (net.js:1)"],
                "its port is taken",
                "$PORT"),
            Case(
                code: 1, log: ["accept: Too many open files"], limit: "nofile", "limit of open files (nofile 64)",
                "limits.nofile"),
            Case(code: 1, log: ["MemoryError"], limit: "as", "limit of memory (as 64)", "limits.as"),
            Case(code: 1, log: ["std::bad_alloc"], "no memory left", "free -m"),
            Case(code: 1, log: ["Cannot allocate memory"], limit: "data", "limit of memory (data 64)", "limits.data"),
            Case(
                code: 1, log: ["mlock: Cannot allocate memory"], limit: "memlock",
                "limit of locked memory (memlock 64)", "limits.memlock"),
            Case(code: 1, log: ["fork: Cannot allocate memory"], limit: "memlock", "no memory left", "free -m"),
            Case(
                code: 1, log: ["fork: Resource temporarily unavailable"], limit: "nproc",
                "processes or threads (nproc 64)", "limits.nproc"),
            Case(
                code: 1, log: ["FATAL:  lock file \"postmaster.pid\" already exists"], "only one may have", "surge: 0"),
            Case(code: 1, log: ["write: No space left on device"], "a disk is full", "df -h"),
            Case(code: 1, log: ["open /etc/shadow: Permission denied"], "may not do or open", "user"),
            Case(code: 1, log: ["connect: Connection refused"], "was not there", "dependsOn"),
            Case(code: 1, log: ["ModuleNotFoundError: No module named 'x'"], "is missing", "directory"),
            // What was written last counts.
            Case(code: 1, log: ["Permission denied", "Address already in use", "bye"], "its port is taken", nil),
            Case(code: 0, "as if its work were done", "task"),
            Case(code: 126, "could not execute", "chmod"), Case(code: 127, "did not find a command", "PATH"),
            Case(code: 137, "killed by SIGKILL"), Case(code: 139, "has crashed (signal 11)"),
            Case(code: 130, "ended by signal 2"),
            Case(signal: "SIGKILL", "not by supd", "journalctl"), Case(signal: "SIGSEGV", "a defect", "core"),
            Case(signal: "SIGABRT", "gave up by itself"), Case(signal: "SIGTERM", "somebody has sent it"),
            Case(signal: "SIGXCPU", limit: "cpu", "CPU time (cpu 64)", "limits.cpu"), Case(signal: "SIGUSR1", nil),
            // The core has said which limit it was.
            Case(signal: "SIGXCPU", reason: "killed by SIGXCPU: cpu limit of 1 s reached", nil, "limits.cpu"),
            Case(signal: "SIGXFSZ", reason: "killed by SIGXFSZ: fsize limit of 1M reached", nil, "limits.fsize"),
            Case(
                signal: "SIGKILL", reason: "killed by SIGKILL, perhaps by the hard end of its cpu limit of 1 s", nil,
                "limits.cpu"),
            Case(
                signal: "SIGSEGV", reason: "killed by SIGSEGV, perhaps by its stack limit of 1M", nil, "limits.stack"),
            // What supd did needs no guess.
            Case(signal: "SIGKILL", stopped: true, nil), Case(signal: "SIGTERM", stopped: true, nil),
            Case(code: 0, stopped: true, log: ["Connection refused"], nil),
            Case(code: 3, stopped: true, log: ["No space left on device"], "a disk is full", nil),
        ])
    func guess(example: Case) {
        let guess = LikelyCause.guess(example.evidence)
        if let cause = example.cause {
            #expect(guess?.cause?.contains(cause) == true, "\(String(describing: guess))")
        } else {
            #expect(guess?.cause == nil, "\(String(describing: guess))")
        }
        if let help = example.help { #expect(guess?.help?.contains(help) == true, "\(String(describing: guess))") }
    }

    @Test(
        "What it wrote last is shown beside a guess that rests on another line or on none, if it says anything",
        arguments: [
            // The line of the guess is the last one, or the rest is its trace.
            ([], "bind: Address already in use", [], true, false),
            (
                [], "Error: listen EADDRINUSE: :::3000", ["    at Server.setup (net.js:1)", "", "Node.js v18.1"], true,
                false
            ),
            (
                [], "panic: listen: address already in use",
                ["goroutine 1 [running]:", "\t/src/main.go:9", "exit status 2"], true, false
            ),
            (
                ["Traceback (most recent call last):", "  File \"a.py\", line 1"], "ModuleNotFoundError: no module", [],
                true, false
            ),
            // What follows it may say more, or be the same in other words.
            ([], "could not bind: Address already in use", ["Failed listening on port 80, aborting"], true, true),
            ([], "connect: Connection refused", ["unknown key foo"], true, true),
            ([], "Permission denied", ["bye"], true, true),
            // A warning is survived by one that ends for another reason.
            (
                [], "WARN redis: connection refused, continuing without a cache", ["FATAL: unknown key foo"], false,
                false
            ),
            ([], "[info] connection refused; retrying", ["Error: bad config", "    at main.js:1"], false, false),
            ([], "warning: connection refused", ["bye"], true, true),
            (["error: disk"], "warning: connection refused", [], true, false),
        ] as [([String], String, [String], Bool, Bool)])
    func lastLine(before: [String], line: String, after: [String], isGuessed: Bool, isShown: Bool) {
        let guess = LikelyCause.guess(.init(code: 1, log: before + [line] + after))
        #expect((guess != nil) == isGuessed, "\(String(describing: guess))")
        #expect(guess?.lastLine == (isShown ? after.first : nil))
    }

    @Test("A shell's last line says what it did not find, an assertion's what did not hold; of a crash it is any line")
    func lastLineOfOthers() {
        func line(code: Int32? = nil, signal: String? = nil) -> String? {
            LikelyCause.guess(.init(code: code, signal: signal, log: ["sh: 1: foo: not found"]))?.lastLine
        }
        #expect(line(code: 127) == "sh: 1: foo: not found")
        #expect(line(signal: "SIGABRT") != nil)
        #expect(line(signal: "SIGSEGV") == nil && line(signal: "SIGKILL") == nil && line(code: 0) == nil)
    }

    @Test(
        "What helps with a start that came to nothing",
        arguments: [
            ("cannot read the environment file /srv/a.env: No such file or directory", "make the file"),
            ("cannot read the environment file /srv/a.env: Permission denied", "supd itself reads it"),
            ("cannot read the environment file /srv: it is not a regular file", "supd itself reads it"),
            ("environment file /srv/a.env:3: a name is missing", "VARIABLE=value"),
            ("cannot run /srv: Permission denied; it is a directory", "command names a directory"),
            ("cannot run /srv/a: Permission denied; it is not executable; use chmod +x", "chmod +x"),
            ("cannot run /srv/a: No such file or directory", "is it installed there"),
            ("cannot find 'a' in PATH (/bin)", "PATH in environment"),
            ("cannot change directory to /srv/a: No such file or directory", "make the directory"),
            ("cannot change directory to /srv/a: Not a directory", "change directory in the manifest"),
            ("cannot change directory to /srv/a: Permission denied; user 5 may not enter /srv", "enter that directory"),
            ("cannot run as user 'a': there is no such user", "useradd"),
            ("cannot run as group 'a': there is no such group", "groupadd"),
            ("port 80 is in use by pid 5 (nginx)", "change port"),
        ])
    func start(reason: String, help: String) {
        #expect(LikelyCause.ofStart(reason)?.help?.contains(help) == true)
        #expect(LikelyCause.ofStart(reason)?.cause == nil)
    }
}

@Suite("Why")
struct WhyReasoningTests {
    /// Events of api/1 a second apart, from 10:00:00 on.
    private static func events(_ kinds: [(instance: String?, kind: EventKind)]) -> [EventRecord] {
        kinds.enumerated().map { index, entry in
            EventRecord(
                number: UInt64(index + 1), at: time(index),
                service: entry.instance.map { String($0.prefix { $0 != "/" }) },
                instance: entry.instance, kind: entry.kind)
        }
    }

    private static func time(_ second: Int) -> String { "2026-01-31T10:00:\(second < 10 ? "0" : "")\(second).000Z" }

    private static func reasoning(
        _ report: StatusReport, _ kinds: [(instance: String?, kind: EventKind)], log: [String] = [],
        anHourAgo: String = "2026-01-31T09:30:00.000Z"
    ) -> WhyReasoning {
        WhyReasoning(report: report, events: events(kinds), anHourAgo: anHourAgo) { _, _, _ in log }
    }

    private static func service(_ state: String, detail: String? = nil, ready: Bool = false, goal: String = "up")
        -> ServiceStatus
    {
        var service = Example.service("api", state: state, replicas: 1)
        service.goal = goal
        service.instances[0].state = state
        service.instances[0].detail = detail
        service.instances[0].ready = ready
        service.instances[0].droppedOutput = nil
        service.instances[0].limits = nil
        if state == "down" || state == "backoff" || state == "failed" { service.instances[0].pid = nil }
        return service
    }

    private static func answer(
        _ service: ServiceStatus, _ kinds: [(instance: String?, kind: EventKind)], log: [String] = [],
        others: [ServiceStatus] = [], anHourAgo: String = "2026-01-31T09:30:00.000Z"
    ) -> WhyAnswer {
        reasoning(Example.report([service] + others), kinds, log: log, anHourAgo: anHourAgo)
            .answer(service.instances[0], of: service)
    }

    private static func start(_ generation: UInt64, restarts: Int) -> EventKind {
        .start(.init(generation: generation, pid: 100, restarts: restarts))
    }

    private static func state(_ from: String?, _ to: String, _ reason: String? = nil) -> EventKind {
        .state(.init(from: from, to: to, reason: reason))
    }

    @Test("One that crashes again and again: since when, the next try, each end with its cause and its last lines")
    func backoff() {
        let answer = Self.answer(
            Self.service("backoff", detail: "next try in 3.2 s"),
            [
                ("api/1", Self.start(1, restarts: 0)), ("api/1", Self.state(nil, "running")),
                ("api/1", .exit(.init(generation: 1, code: 1, reason: "exited with code 1"))),
                ("web/1", .exit(.init(generation: 9, code: 2, reason: "another one's"))),
                ("api/1", Self.start(2, restarts: 1)),
                ("api/1", .exit(.init(generation: 2, signal: "SIGSEGV", reason: "killed by SIGSEGV"))),
                ("api/1", Self.state("running", "backoff", "killed by SIGSEGV")),
            ], log: ["bind: Address already in use"])
        #expect(answer.since == Self.time(6))
        #expect(answer.waitsFor == "next try in 3.2 s")
        #expect(!answer.isFine)
        #expect(answer.exits.map(\.reason) == ["killed by SIGSEGV", "exited with code 1"])
        #expect(answer.exits.map(\.ranSeconds) == [1, 2])
        #expect(answer.exits.map(\.cause) == ["its port is taken", "its port is taken"])
        #expect(answer.exits.first?.log == ["bind: Address already in use"])
        #expect(answer.restartsInLastHour == 1)
        #expect(answer.help.contains { $0.contains("supctl start api/1") && $0.contains("tries at once") })
        #expect(answer.help.first?.contains("$PORT") == true)
    }

    @Test("A try again that comes to nothing is a restart, too")
    func failedTries() {
        let kinds = (0..<4).map { number -> (instance: String?, kind: EventKind) in
            let restarts = number == 0 ? nil : number
            return ("api/1", .startFailed(.init(generation: UInt64(number), reason: "no", restarts: restarts)))
        }
        #expect(Self.answer(Self.service("backoff"), kinds).restartsInLastHour == 3)
    }

    @Test(
        "What it has to do to be ready is said as the manifest has it",
        arguments: [
            ("tcp", "listen on $PORT"), (nil, "listen on $PORT"), ("http /healthz", "answer /healthz on $PORT"),
            ("command", "exits with code 0"), ("notify", "READY=1"), ("descriptor 4", "descriptor 4"),
            ("log", "write a line"),
        ] as [(String?, String)])
    func readiness(_ kind: String?, words: String) {
        var service = Self.service("starting", detail: "to be ready")
        service.readiness = kind
        #expect(Self.answer(service, []).help.first?.contains(words) == true)
        service.readiness = "started"
        #expect(Self.answer(service, []).help == [])
    }

    @Test("Only restarts of the last hour count")
    func lastHour() {
        let kinds = (0..<10).map { ("api/1" as String?, Self.start(UInt64($0 + 1), restarts: $0)) }
        #expect(
            Self.answer(Self.service("running", ready: true), kinds, anHourAgo: Self.time(7)).restartsInLastHour == 3)
    }

    @Test("One that runs well is fine, whatever was before")
    func fine() {
        let answer = Self.answer(
            Self.service("running", ready: true),
            [
                ("api/1", .exit(.init(generation: 1, signal: "SIGKILL", reason: "killed by SIGKILL"))),
                ("api/1", Self.start(2, restarts: 1)), ("api/1", Self.state("starting", "running")),
            ])
        #expect(answer.isFine && answer.help.isEmpty && answer.since == Self.time(2))
        #expect(answer.exits.first?.cause?.hasPrefix("not by supd") == true)
    }

    @Test("One that a user has stopped: by whom")
    func stopped() {
        let answer = Self.answer(
            Self.service("down", goal: "down"),
            [
                ("api/1", Self.start(1, restarts: 0)),
                (nil, .command(.init(verb: "stop", names: ["web"], by: "uid 5", userID: 5))),
                (nil, .command(.init(verb: "stop", names: ["api"], by: "uid 7", userID: 7))),
                ("api/1", .goal(.init(goal: "down"))), ("api/1", Self.state("running", "stopping")),
                ("api/1", .exit(.init(generation: 1, signal: "SIGTERM", reason: "killed by SIGTERM"))),
                ("api/1", Self.state("stopping", "down")),
            ])
        #expect(answer.isFine)
        #expect(answer.occasion == "\(Self.time(2)): stop api, asked for by uid 7")
        #expect(answer.exits.first?.cause == "supd ended it: stop api, asked for by uid 7")
        #expect(answer.exits.first?.isGuess == false)
        #expect(answer.help == ["\"supctl start api/1\" starts it"])
    }

    @Test("Only what was asked for while a process lived has ended it: not what was asked of one before")
    func others() {
        let exit = EventKind.exit(.init(generation: 2, code: 0, reason: "exited with code 0"))
        func answer(_ kinds: [(instance: String?, kind: EventKind)]) -> String? {
            Self.answer(Self.service("down"), kinds).exits.first?.cause
        }
        let restart = EventKind.command(.init(verb: "restart", names: ["api"], by: "uid 7", userID: 7))
        let stopping = ("api/1" as String?, Self.state("running", "stopping"))
        let begun = ("api/1" as String?, Self.start(2, restarts: 1))
        #expect(answer([(nil, restart), begun, stopping, ("api/1", exit)]) == "supd ended it")
        #expect(
            answer([begun, (nil, restart), stopping, ("api/1", exit)])
                == "supd ended it: restart api, asked for by uid 7")
        let down = EventKind.daemon(.init(step: .stopping))
        #expect(
            answer([(nil, restart), begun, (nil, down), stopping, ("api/1", exit)])
                == "supd ended it: supd stops everything")
        let signal = EventKind.command(.init(verb: "signal", names: ["TERM", "api"], by: "uid 7", userID: 7))
        #expect(answer([begun, (nil, signal), ("api/1", exit)]) == "signal TERM api, asked for by uid 7")
        #expect(answer([(nil, signal), begun, stopping, ("api/1", exit)]) == "supd ended it")
    }

    @Test("Nothing lies behind the end of a task whose work is done")
    func task() {
        var task = Self.service("completed", ready: true)
        task.kind = "task"
        let kinds: [(instance: String?, kind: EventKind)] = [
            ("api/1", .exit(.init(generation: 1, code: 0, reason: "exited with code 0")))
        ]
        #expect(Self.answer(task, kinds).exits.first?.cause == nil)
        #expect(Self.answer(Self.service("backoff"), kinds).exits.first?.cause?.contains("work were done") == true)
    }

    @Test("One that sleeps is as it should be")
    func asleep() { #expect(Self.answer(Self.service("idle"), []).isFine) }

    @Test("One that supd has ended for its health")
    func unhealthy() {
        let answer = Self.answer(
            Self.service("starting", detail: "to be ready: connection refused"),
            [
                ("api/1", Self.start(1, restarts: 0)),
                ("api/1", Self.state("running", "stopping", "unhealthy: timed out")),
                ("api/1", .exit(.init(generation: 1, signal: "SIGKILL", reason: "killed by SIGKILL"))),
                ("api/1", Self.state("stopping", "starting")),
            ])
        #expect(answer.exits.first?.cause == "supd ended it: unhealthy: timed out")
        #expect(answer.help.contains { $0.contains("$PORT") })
    }

    @Test("A start that came to nothing")
    func startFailed() {
        let answer = Self.answer(
            Self.service("failed", detail: "could not start"),
            [("api/1", .startFailed(.init(generation: 1, reason: "exec: ./api: No such file or directory")))])
        #expect(answer.exits.map(\.reason) == ["could not start: exec: ./api: No such file or directory"])
        #expect(answer.help.first?.contains("directory in the manifest") == true)
        #expect(answer.help.dropFirst().first?.contains("once the cause is gone") == true)
    }

    @Test("One that waits: what those are doing that it waits for")
    func waiting() {
        var db = Example.service("db", state: "backoff", replicas: 1)
        db.instances[0].detail = "next try in 5 s"
        let answer = Self.answer(
            Self.service("waiting", detail: "db to be ready"), [], others: [db, Example.service("web")])
        #expect(answer.summary == "waits for db to be ready; db/1 is backoff: killed by SIGKILL; next try in 5 s")
        #expect(answer.help == ["\"supctl why db\" tells more"])
        #expect(answer.since == nil && answer.exits.isEmpty)
    }

    @Test("One that is drained, and one that is unhealthy, are not fine")
    func marks() {
        var drained = Self.service("running", ready: true)
        drained.instances[0].drained = true
        let answer = Self.answer(
            drained,
            [
                (nil, .command(.init(verb: "drain", names: ["api/1"], by: "uid 7", userID: 7))),
                ("api/1", .drain(.init(drained: true))),
            ])
        #expect(!answer.isFine && answer.occasion?.contains("drain api/1, asked for by uid 7") == true)
        #expect(answer.help == ["\"supctl undrain api/1\" puts it back into the balancer"])
    }

    @Test("What waits in the balancer, and what is not logged, stands beside")
    func besides() {
        var service = Self.service("starting")
        service.fronts?[0].queued = 12
        service.instances[0].droppedOutput = DroppedOutput(lines: 3, bytes: 9, reason: "No space left on device")
        #expect(
            Self.answer(service, []).besides == [
                "12 connections to 127.0.0.1:8080 wait for an instance",
                "3 lines of its output are in no log: No space left on device",
            ])
    }

    @Test("A shutdown, and what it waits for; an apply that is under way, and one that is not")
    func supd() {
        let report = Example.report([Self.service("stopping", detail: "it to end after SIGTERM, at most 8 s")])
        let began = EventKind.apply(.init(step: .began, manifest: "/etc/supd/supd.json5", by: "uid 7"))
        #expect(
            Self.reasoning(report, [(nil, .daemon(.init(step: .stopping)))]).supdAnswers() == [
                "supd stops everything since \(Self.time(0)); it waits for api/1 (stopping; waits for it to end after SIGTERM, at most 8 s)"
            ])
        // Those for which others wait, and who has asked for it.
        let two = Example.report(
            report.services + [Self.service("running", detail: "what depends on it to stop first", ready: true)])
        let shutdown = EventKind.command(.init(verb: "shutdown", names: [], by: "uid 7", userID: 7))
        #expect(
            Self.reasoning(two, [(nil, shutdown), (nil, .daemon(.init(step: .stopping)))]).supdAnswers() == [
                "supd stops everything since \(Self.time(1)), asked for by uid 7; it waits for api/1 (stopping; waits for "
                    + "it to end after SIGTERM, at most 8 s); 1 more stops after that"
            ])
        let open = Self.reasoning(report, [(nil, began), ("api/1", .rollout(.init(step: .replacing)))])
        #expect(
            open.supdAnswers() == [
                "an apply of /etc/supd/supd.json5 is under way since \(Self.time(0)), asked for by uid 7; it waits for "
                    + "api/1 (stopping; waits for it to end after SIGTERM, at most 8 s)"
            ])
        for end in [EventKind.ApplyStep.Step.done, .failed] {
            #expect(Self.reasoning(report, [(nil, began), (nil, .apply(.init(step: end)))]).supdAnswers() == [])
        }
        // One that an earlier supd was in the midst of is over with it.
        let restarted = EventKind.daemon(.init(step: .started))
        #expect(Self.reasoning(report, [(nil, began), (nil, restarted)]).supdAnswers() == [])
        let refused = EventKind.apply(.init(step: .refused))
        #expect(Self.reasoning(report, [(nil, began), (nil, refused)]).supdAnswers().count == 1)
        #expect(
            Self.reasoning(report, [(nil, .daemon(.init(step: .stopping))), (nil, .daemon(.init(step: .started)))])
                .supdAnswers() == [])
    }

    @Test("In words")
    func text() {
        let answer = WhyAnswer(
            name: "api/1", state: "backoff", isFine: false, since: Self.time(0),
            summary: "exited with code 1; next try in 3 s", waitsFor: "next try in 3 s", occasion: nil,
            besides: ["beside"],
            exits: [
                .init(
                    at: Self.time(0), reason: "exited with code 1", ranSeconds: 2.5, cause: "its port is taken",
                    log: ["a\u{1b}[31m"])
            ],
            restartsInLastHour: 3, help: ["this"])
        let now = TimeArgument.read(Self.time(12), now: 0) ?? 0
        #expect(
            WhyText.text(WhyReport(supd: ["supd …"], answers: [answer]), now: now, allowsColour: false) == """
                supd …

                api/1: backoff since 2026-01-31T10:00:00.000Z (12s): exited with code 1; next try in 3 s
                  beside
                  restarted by itself 3 times in the last hour
                  2026-01-31T10:00:00.000Z  exited with code 1 after 2.5s, probably its port is taken
                    | a?[31m
                  what helps:
                    this

                """)
    }
}
