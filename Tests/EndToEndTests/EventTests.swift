import ControlAPI
import Events
import Foundation
import Glibc
import Platform
import TestSupport
import Testing

/// `supctl events` and `GET /v1/events`: what happens is told, in order, once, whatever becomes of who tells it.
@Suite("Events", .timeLimit(.minutes(15)))
struct EventTests {
    /// The events that are kept, by `supctl events --json`.
    private func kept(_ daemon: Daemon, _ arguments: String...) throws -> [EventRecord] {
        let result = try Program.run(Daemon.supctl, ["--socket", daemon.socket, "events", "--json"] + arguments)
        guard result.code == 0 else { throw TestFailure("events: exit code \(result.code), \(result.output)") }
        return try parsed(result.output)
    }

    /// The events of an output whose last line may not be there yet.
    private func parsed(_ output: String) throws -> [EventRecord] {
        try output.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map { line in
            guard let event = EventLine.event(Array(line.utf8)) else { throw TestFailure("no event: \(line)") }
            return event
        }
    }

    /// `state starting→running` of one instance; pids and times left out.
    private func words(_ events: [EventRecord], of instance: String) -> [String] {
        events.filter { $0.instance == instance }.map { event in
            switch event.kind {
            case .state(let change): "state \(change.from ?? "")→\(change.to)"
            case .exit(let end): "exit \(end.reason)"
            case .goal(let change): "goal \(change.goal)"
            default: event.kind.name
            }
        }
    }

    private func exits(_ events: [EventRecord], of instance: String) -> [UInt64] {
        events.compactMap { event in
            if case .exit(let end) = event.kind, event.instance == instance { end.generation } else { nil }
        }
    }

    @Test("A life is told: starts, states, exits, commands with who asked, and supd's own end")
    func life() throws {
        let daemon = try Daemon(
            """
            { services: { a: { command: ["/bin/sleep", "1000"], stop: { signal: "TERM" } },
                          bad: { command: ["/nonexistent"], restart: { limit: { starts: 1, within: "1m" } } } } }
            """, waitUntilUp: false)
        try eventually("a to run and bad to be given up") {
            let services = try? daemon.status().services
            return services?.map(\.state) == ["running", "failed"] ? true : nil
        }
        #expect(try daemon.ctl("restart", "a").code == 0)
        #expect(try daemon.ctl("limit", "a", "nofile=100").code == 0)
        #expect(try daemon.ctl("stop", "a").code == 0)
        let events = try kept(daemon)
        #expect(events.map(\.number) == Array(1...UInt64(events.count)))
        guard case .daemon(let daemonStep) = events[0].kind else { throw TestFailure("\(events[0])") }
        #expect(daemonStep.step == .started && daemonStep.version == version)
        #expect(
            words(events, of: "a/1") == [
                "state →starting", "start", "state starting→running", "state running→stopping",
                "exit killed by SIGTERM", "state stopping→starting", "start", "state starting→running", "limit",
                "goal down", "state running→stopping", "exit killed by SIGTERM", "state stopping→down",
            ])
        #expect(words(events, of: "bad/1") == ["state →starting", "startFailed", "state starting→failed"])
        let commands = events.compactMap { if case .command(let command) = $0.kind { command } else { nil } }
        #expect(commands.map(\.verb) == ["restart", "stop"])
        #expect(commands.allSatisfy { $0.names == ["a"] && $0.userID == getuid() })
        let limit = try #require(
            events.compactMap { if case .limit(let change) = $0.kind { change } else { nil } }.first)
        #expect(limit.limit == "nofile" && limit.new == "100" && limit.by.contains("uid \(getuid())"))

        // For people, of one service alone.
        let text = try daemon.ctl("events", "a")
        #expect(text.output.contains("a/1  limit nofile changed from") && !text.output.contains("bad/1"))
        #expect(text.output.split(separator: "\n").count == 13)
        #expect(try daemon.ctl("events", "--since", "1h", "bad/*").output.split(separator: "\n").count == 3)
        let unknown = try daemon.ctl("events", "aa")
        #expect(unknown.code == 4 && unknown.output.contains("aa"))

        daemon.keeper.send(SIGTERM)
        #expect(try daemon.keeper.wait().code == 0)
        // The next supd goes on with the numbers, and begins with nothing.
        let last = try #require(
            try parsed(String(contentsOfFile: daemon.directory.file("state/events"), encoding: .utf8)).last)
        #expect(last.kind == .daemon(.init(step: .stopped)))
        try daemon.startAgain()
        let next = try eventually("more events") {
            let events = try? kept(daemon)
            return events?.contains { $0.number > last.number && $0.kind.name == "startFailed" } == true ? events : nil
        }
        #expect(next.map(\.number) == Array(1...UInt64(next.count)))
        #expect(next[Int(last.number)].kind == .daemon(.init(step: .started, version: version)))
    }

    @Test("--since leaves out all that was before: nothing in the future's case, and with names only theirs")
    func since() throws {
        let daemon = try Daemon(
            "{ services: { a: { command: ['/bin/sleep', '1000'] }, b: { command: ['/bin/sleep', '1000'] } } }")
        for name in ["a", "b"] { #expect(try daemon.ctl("stop", name).code == 0) }
        for name in ["b", "a"] { #expect(try daemon.ctl("start", name).code == 0) }
        let all = try kept(daemon)
        // From each event's own time on: that one, those of the same nanosecond, and all later ones.
        let middle = try #require(
            all.firstIndex { if case .command(let command) = $0.kind { command.verb == "start" } else { false } })
        #expect(middle > 10 && middle < all.count - 5)
        for index in [0, middle, all.count - 1] {
            let expected = all.filter { $0.at >= all[index].at }
            #expect(try kept(daemon, "--since", all[index].at) == expected, "\(all[index])")
            #expect(
                try kept(daemon, "--since", all[index].at, "b")
                    == expected.filter { ["b/1", "b"].contains($0.instance ?? $0.service) })
        }
        #expect(try kept(daemon, "--since", all[middle].at).count < all.count)
        // Nothing is in the future, and that is no mistake.
        let future = WallClock.text(nanoseconds: wallClockNanoseconds() + 3_600_000_000_000)
        #expect(try kept(daemon, "--since", future).isEmpty)
        let none = try daemon.ctl("events", "--since", future, "a")
        #expect(none.code == 0 && none.output.isEmpty, "\(none.output)")
        // A follower begins with the same, and goes on with what comes.
        let follower = try Program(
            Daemon.supctl, ["--socket", daemon.socket, "events", "-f", "--json", "--since", all[middle].at])
        #expect(try daemon.ctl("stop", "a").code == 0)
        let last = try #require(try kept(daemon).last)
        let followed = try eventually("the last event") {
            let events = try parsed(follower.output)
            return events.last?.number ?? 0 >= last.number ? events : nil
        }
        #expect(followed == (try kept(daemon)).filter { $0.at >= all[middle].at })
        let wrong = try daemon.ctl("events", "--since", "soon")
        #expect(wrong.code == 2 && wrong.output.contains("--since takes a time"), "\(wrong.output)")
    }

    @Test("events -f misses nothing and repeats nothing while supervisors are killed under load")
    func followAcrossCrashes() throws {
        let daemon = try Daemon(
            """
            { defaults: { restart: { initialDelay: "20ms", maxDelay: "50ms", resetAfter: "50ms" } },
              services: {
                busy: { command: ["/bin/sh", "-c", "sleep 0.2; exit 3"], replicas: 2 },
                steady: { command: ["/bin/sleep", "1000"] },
            } }
            """, waitUntilUp: false)
        try eventually("steady to run") {
            let services = try? daemon.status("steady").services
            return services?.first?.state == "running" ? true : nil
        }
        let steady = try daemon.pids()["steady/1"]
        let follower = try Program(
            Daemon.supctl, ["--socket", daemon.socket, "events", "-f", "--json", "--since", "1h"])
        // Only once it has shown what is kept, it goes on with the next supervisor.
        try eventually("what is kept") { follower.output.isEmpty ? nil : true }
        for _ in 0..<4 {
            let supervisor = try daemon.role("supervisor")
            kill(supervisor, SIGKILL)
            try daemon.waitForAnother("supervisor", than: supervisor)
            // It is at work again.
            let seen = follower.output.count
            try eventually("more events") { follower.output.count > seen + 3000 ? true : nil }
        }
        #expect(try daemon.ctl("stop", "all").code == 0)
        let names = ["busy/1", "busy/2", "steady/1"]
        func isOver() throws -> Bool? {
            let events = try parsed(follower.output)
            return names.allSatisfy { words(events, of: $0).last?.hasSuffix("→down") == true } ? true : nil
        }
        do {
            try eventually("the stops of all", isOver)
        } catch {
            let seen = try parsed(follower.output), there = try kept(daemon)
            let last = names.map { "\($0): \(words(seen, of: $0).suffix(4)), kept \(words(there, of: $0).suffix(4))" }
            throw TestFailure(
                "\(error): \(last); \(seen.last?.number ?? 0) of \(there.last?.number ?? 0); \(follower.output.suffix(300))"
            )
        }
        let events = try parsed(follower.output)
        #expect(events.map(\.number) == Array(1...UInt64(events.count)))
        #expect(try Array(kept(daemon).prefix(events.count)) == events)
        let supervisors = events.filter {
            if case .role(let step) = $0.kind { step.role == "supervisor" } else { false }
        }
        #expect(supervisors.count == 4)
        for number in 1...2 {
            let name = "busy/\(number)"
            // Each process has one start and one end.
            let ended = exits(events, of: name)
            #expect(ended.count > 4 && Set(ended).count == ended.count, "\(name)")
            let started = events.compactMap { event in
                if case .start(let start) = event.kind, event.instance == name { start.generation } else { nil }
            }
            #expect(Set(started).count == started.count && Set(started).isSubset(of: ended), "\(name)")
        }
        // Of what no crash has touched nothing is told anew.
        #expect(
            words(events, of: "steady/1") == [
                "state →starting", "start", "state starting→running", "goal down", "state running→stopping",
                "exit killed by SIGTERM", "state stopping→down",
            ])
        #expect(steady != nil)
    }

    @Test("An exit while no supervisor can see it is told once by the next one")
    func exitUnseen() throws {
        let daemon = try Daemon("{ services: { a: { command: ['/bin/sleep', '1000'] } } }")
        let supervisor = try daemon.role("supervisor")
        let pid = try #require(daemon.pids()["a/1"])
        kill(supervisor, SIGSTOP)
        kill(pid, SIGKILL)
        kill(supervisor, SIGKILL)
        try daemon.waitForAnother("supervisor", than: supervisor)
        let events = try eventually("the exit") {
            let events = try kept(daemon, "a")
            return words(events, of: "a/1").last == "state starting→running" && exits(events, of: "a/1").count > 0
                ? events : nil
        }
        #expect(exits(events, of: "a/1").count == 1)
        #expect(words(events, of: "a/1").contains("exit killed by SIGKILL"))
    }

    @Test("The balancer's end and its next beginning are told; a rollout and its apply, too, with who asked")
    func rolesAndRollouts() throws {
        let front = try freePort()
        func manifest(_ command: String) -> String {
            "{ services: { api: { command: [\(command)], replicas: 2, listen: \(front.port), ready: { http: '/healthz' } } } }"
        }
        let daemon = try Daemon(manifest("'@demo@', '--quiet'"))
        let balancer = try daemon.role("balancer")
        kill(balancer, SIGKILL)
        try daemon.waitForAnother("balancer", than: balancer)
        let text = manifest("'\(Daemon.demoService)', '--quiet', '--status', 'next'")
        _ = try daemon.directory.write("supd.json5", text)
        let applied = try daemon.ctl("apply")
        #expect(applied.code == 0, "\(applied.output)")
        let events = try kept(daemon)
        let roles = events.compactMap { event in
            if case .role(let step) = event.kind { "\(step.role) \(step.step) \(step.reason ?? "")" } else { nil }
        }
        #expect(roles == ["balancer started ", "balancer ended killed by SIGKILL", "balancer started "])
        let steps = events.compactMap { event in
            if case .rollout(let step) = event.kind {
                (event.instance.map { "\($0) " } ?? "") + step.step.rawValue
            } else {
                nil
            }
        }
        #expect(steps.first == "began" && steps.last == "done")
        for step in ["api/1 replacing", "api/1 replaced", "api/2 replacing", "api/2 replaced"] {
            #expect(steps.count(where: { $0 == step }) == 1, "\(step) in \(steps)")
        }
        let applies = events.compactMap { if case .apply(let step) = $0.kind { step } else { nil } }
        #expect(applies.map(\.step) == [.began, .done])
        #expect(applies.first?.userID == getuid())
        #expect(words(events, of: "api/3").last == "gone")
    }

    @Test("curl gets lines as they come, and a client that asks for too old ones gets those that there are")
    func stream() throws {
        let daemon = try Daemon("{ services: { a: { command: ['/bin/sleep', '1000'] } } }")
        var stream = try ControlStream(.events(after: nil, follow: true), of: ControlClient(socketPath: daemon.socket))
        let first = try #require(try stream.next())
        #expect(EventLine.number(of: first) == 1)
        #expect(try daemon.ctl("stop", "a").code == 0)
        var last = first
        while EventLine.event(last)?.kind != .state(.init(from: "stopping", to: "down")) {
            last = try #require(try stream.next())
        }
        let number = try #require(EventLine.number(of: last))
        // After the last there is none; after one that never was, all.
        var rest = try ControlStream(
            .events(after: number, follow: false), of: ControlClient(socketPath: daemon.socket))
        #expect(try rest.next() == nil)
        var all = try ControlStream(
            .events(after: 1 << 40, follow: false), of: ControlClient(socketPath: daemon.socket))
        #expect(try all.next() == first)
    }

    @Test("A state directory that cannot be written is told loudly; everything goes on, events from memory")
    func unwritable() throws {
        let directory = try TemporaryDirectory()
        try FileManager.default.createDirectory(
            atPath: directory.file("state/events"), withIntermediateDirectories: true)
        let daemon = try Daemon("{ services: { a: { command: ['/bin/sleep', '1000'] } } }", in: directory)
        #expect(daemon.keeper.output.components(separatedBy: "EVENTS ARE NOT KEPT").count == 2)
        #expect(try daemon.ctl("restart", "a").code == 0)
        #expect(try exits(kept(daemon), of: "a/1").count == 1)
        #expect(daemon.keeper.output.components(separatedBy: "EVENTS ARE NOT KEPT").count == 2)
    }
}
