import ControlAPI
import Foundation
import Glibc
import TestSupport
import Testing

/// `supctl why` of real services that are not as they should be.
@Suite("Why", .timeLimit(.minutes(15)))
struct WhyTests {
    @Test("Of what crashes, what waits for it, what cannot be started, and what a user has stopped")
    func causes() throws {
        let daemon = try Daemon(
            """
            { services: {
                crashes: { command: ['/bin/sh', '-c', 'echo begins; echo "bind: Address already in use" >&2; exit 3'],
                           restart: { initialDelay: '1h', maxDelay: '1h' } },
                needs: { command: ['sleep', '1000'], dependsOn: { slow: 'ready' } },
                slow: { command: ['sleep', '1000'], ready: { command: ['false'], timeout: '1h' } },
                missing: { command: ['/no/such/program'], restart: { policy: 'never' } },
                ended: { command: ['/bin/sh', '-c', 'echo fatal: licence expired; exit 7'], restart: 'never' },
                mute: { command: ['sleep', '1000'], ready: { http: '/nope', timeout: '1h' } },
                stopped: { command: ['sleep', '1000'] },
                well: { command: ['sleep', '1000'] } } }
            """, waitUntilUp: false)
        try daemon.waitUntilAnswering()
        try eventually("all to be where they stay") {
            let states = try daemon.status().services.flatMap(\.instances).map(\.state)
            return states == [
                "backoff", "waiting", "starting", "failed", "failed", "starting", "running", "running",
            ] ? true : nil
        }
        #expect(try daemon.ctl("stop", "stopped").code == 0)

        // Its lines come by two pipes: they are in the log a moment after its end, the one or the other first.
        let crashes = try eventually("the last lines of what crashes") { () throws -> Program.Result? in
            let result = try daemon.ctl("why", "crashes")
            let lines = ["    | begins\n", "    | bind: Address already in use\n"]
            return lines.allSatisfy { result.output.contains($0) } ? result : nil
        }
        #expect(crashes.code == 3)
        for text in [
            "crashes/1: backoff since ", "; next try in ", "exited with code 3 ", ", probably its port is taken\n",
            "\"supctl start crashes/1\" tries at once",
        ] {
            #expect(crashes.output.contains(text), "\(text) in \(crashes.output)")
        }
        let needs = try daemon.ctl("why", "needs")
        #expect(needs.output.contains("needs/1: waiting since "), "\(needs.output)")
        #expect(needs.output.contains("; slow/1 is starting: waits to be ready"), "\(needs.output)")
        #expect(needs.output.contains("    \"supctl why slow\" tells more\n"), "\(needs.output)")
        let missing = try daemon.ctl("why", "missing")
        #expect(missing.output.contains("could not start: cannot run /no/such/program: No such file or directory"))
        #expect(missing.output.contains("is it installed there?"), "\(missing.output)")
        let first = "; its last line was \"fatal: licence expired\"; its restart policy is never\n"
        _ = try eventually("the last line of what has ended") {
            try daemon.ctl("why", "ended").output.contains(first) ? true : nil
        }
        let mute = try daemon.ctl("why", "mute")
        #expect(mute.output.contains("it has to answer /nope on $PORT as ready in the manifest says"), "\(mute.output)")
        let stopped = try daemon.ctl("why", "stopped")
        #expect(stopped.code == 0)
        #expect(stopped.output.contains("stop stopped, asked for by uid \(getuid())"), "\(stopped.output)")

        // Without a name: all that is not as it should be, and nothing else.
        let all = try daemon.ctl("why")
        #expect(all.code == 3)
        for name in ["crashes", "needs", "slow", "missing", "ended", "mute"] {
            #expect(all.output.contains("\(name)/1: "))
        }
        for name in ["well", "stopped"] { #expect(!all.output.contains("\(name)/1: "), "\(all.output)") }
        let json = try daemon.ctl("why", "--json", "well")
        #expect(json.code == 0)
        #expect(json.output.contains("\"isFine\":true") && json.output.contains("\"waitsFor\":null"), "\(json.output)")
        #expect(try daemon.ctl("why", "nobody").code == 4)
    }

    @Test("Of one that runs and counts as ready, but no longer listens, what the balancer knows")
    func setAside() throws {
        let front = try freePort()
        let page = try freePort()
        // Of its own: on a port of supd's range that is free again another test's service could listen.
        let ports = try BalancerOperationTests.twoPorts()
        let daemon = try Daemon(
            """
            { supd: { web: { listen: \(page.port) } },
              services: { api: { command: ['/bin/sh', '-c', '@demo@ --quiet; exec sleep 1000'], replicas: 2,
                                 port: \(ports.first), listen: \(front.port) } } }
            """)
        #expect(try daemon.ctl("why").output == "all is as it should be\n")
        // One of them ends with its listener; the shell before it goes on.
        _ = try? HTTP.get(port: front.port, "/crash")
        let line = #/(api/[12]): running since .*: the balancer has set it aside: connects to port [0-9]+ fail, /#
        let (id, why) = try eventually("what the balancer knows") { () throws -> (String, Program.Result)? in
            #expect(try HTTP.get(port: front.port, "/").status == 200)
            let why = try daemon.ctl("why")
            return why.output.firstMatch(of: line).map { (String($0.1), why) }
        }
        #expect(why.code == 3)
        #expect(why.output.contains("    \"supctl restart \(id)\" starts it anew; with health in the manifest "))
        let named = try daemon.ctl("why", id)
        #expect(named.code == 3 && named.output.contains(line), "\(named.output)")
        let other = try daemon.ctl("why", id == "api/1" ? "api/2" : "api/1")
        #expect(other.code == 0 && !other.output.contains("aside"), "\(other.output)")
        // The page gets the same.
        let shown = try DashboardTests.get(page.port, "/v1/why?name=\(id)")
        #expect(shown.status == 200 && shown.text.contains("the balancer has set it aside"), "\(shown.text)")
        withExtendedLifetime(ports.reservations) {}
    }

    @Test("A shutdown, and what it waits for")
    func shutdown() throws {
        let daemon = try Daemon(
            """
            { services: { stubborn: { command: ['/bin/sh', '-c', 'trap "" TERM; echo trapped; while :; do sleep 1000; done'],
                                      ready: { log: 'trapped' }, stop: { timeout: '1h' } } } }
            """)
        let shutdown = try Program(Daemon.supctl, ["--socket", daemon.socket, "shutdown"])
        try eventually("it to stop") { try daemon.status().services[0].instances[0].state == "stopping" ? true : nil }
        let why = try daemon.ctl("why")
        #expect(why.output.contains("supd stops everything since "), "\(why.output)")
        #expect(why.output.contains("it waits for stubborn/1 (stopping; waits for "), "\(why.output)")
        #expect(why.output.contains("\"supctl signal KILL stubborn/1\" ends it at once"), "\(why.output)")
        let pid = try #require(daemon.pids()["stubborn/1"])
        kill(pid, SIGKILL)
        #expect(try shutdown.wait().code == 0)
    }
}
