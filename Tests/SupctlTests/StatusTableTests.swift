import ControlAPI
import Testing

@testable import supctl

@Suite("The table of status")
struct StatusTableTests {
    static let report = Example.report([
        Example.service("api"), Example.service("payment-gateway", state: "backoff", replicas: 1),
    ])

    @Test("With all the room there is, all is shown")
    func wide() {
        #expect(
            StatusTable.text(Self.report, width: 200, allowsColour: false) == """
                NAME             STATE    READY    PID   PORT  UPTIME  RESTARTS   CPU  MEM  DETAIL
                api              running  3/3                                 6  3.8%  36M
                  api/1          running  yes    12345  20001   1h02m         2  1.3%  12M
                  api/2          running  yes    12345  20001   1h02m         2  1.3%  12M
                  api/3          running  yes    12345  20001   1h02m         2  1.3%  12M
                  127.0.0.1:8080: 12 open, 3.4k in all, 1.0M in, 4.7M out, 1 connect error, 2 retries
                payment-gateway  backoff  0/1    12345  20001   1h02m         2  1.3%  12M  next try in 3.2 s: killed by SIGKILL
                  127.0.0.1:8080: 12 open, 3.4k in all, 1.0M in, 4.7M out, 1 connect error, 2 retries

                """)
        #expect(
            StatusTable.text(Self.report, width: nil, allowsColour: false)
                == StatusTable.text(Self.report, width: 200, allowsColour: false))
    }

    @Test("What a user has scaled is shown with the manifest's own number")
    func scaled() {
        var service = Example.service("api", replicas: 3)
        service.scaledFrom = 2
        let table = StatusTable.text(Example.report([service]), width: 200, allowsColour: false)
        #expect(table.contains("\n  scaled to 3, the manifest says 2\n"), "\(table)")
        let detail = StatusDetail.text(service, width: nil, allowsColour: false)
        #expect(detail.contains("\n  scaled     to 3, the manifest says 2\n"), "\(detail)")
    }

    @Test("What keeps a service from scaling itself is shown with its rule")
    func hindered() {
        var service = Example.service("api", replicas: 2)
        service.scaling = "1 to 4, 50 connections each"
        service.scalingHindrance = "no port is left"
        let line = "by itself: 1 to 4, 50 connections each; its load asks for more than it can have: no port is left"
        let table = StatusTable.text(Example.report([service]), width: 200, allowsColour: false)
        #expect(table.contains("\n  scaled \(line)\n"), "\(table)")
    }

    @Test("What stands beside the others is counted beside them, and not as one of them")
    func beside() {
        var service = Example.service("api", replicas: 3)
        service.instances.append(Example.instance("api/4"))
        service.instances.append(Example.instance("api/5", state: "starting"))
        let table = StatusTable.text(Example.report([service]), width: 200, allowsColour: false)
        #expect(table.contains("\napi      running   3/3 +1 "), "\(table)")
        let detail = StatusDetail.text(service, width: nil, allowsColour: false)
        #expect(detail.contains("3 of 3 ready and 1 beside them, to be up"), "\(detail)")
    }

    @Test("A drained instance is told apart, with what is left of its connections")
    func drained() {
        var service = Example.service("api", replicas: 2)
        service.instances[1].drained = true
        let table = StatusTable.text(Example.report([service]), width: 200, allowsColour: false)
        #expect(
            table.hasPrefix(
                """
                NAME     STATE             READY    PID   PORT  UPTIME  RESTARTS   CPU  MEM  DETAIL
                api      running           2/2                                 4  2.5%  24M
                  api/1  running           yes    12345  20001   1h02m         2  1.3%  12M
                  api/2  running, drained  yes    12345  20001   1h02m         2  1.3%  12M  12 connections still open

                """))
        service.instances[1].flow?.connections = 0
        #expect(
            !StatusTable.text(Example.report([service]), width: 200, allowsColour: false).contains("still open"))
        #expect(
            StatusDetail.text(service, width: nil, allowsColour: false).contains("\napi/2: running, ready, drained\n"))
    }

    @Test("An unhealthy instance is marked, and its last failure is shown with what the probe printed")
    func unhealthy() throws {
        var service = Example.service("api", replicas: 2)
        let reason = "unhealthy: GET /healthz answered 500, three times in a row; not restarted since no other is ready"
        service.instances[1].detail = reason
        service.instances[1].health = HealthStatus(
            state: "unhealthy", failures: 3,
            lastFailure: FailedProbe(
                reason: "GET /healthz answered 500", output: "first\n\nthe\u{1b} db\n", at: "2026-01-31T10:20:30Z"))
        service.instances[0].health = HealthStatus(state: "healthy", failures: 0)
        let table = StatusTable.text(Example.report([service]), width: 200, allowsColour: false)
        #expect(table.contains("  api/2  running, unhealthy  yes "))
        #expect(table.contains("  api/1  running             yes "))
        #expect(table.contains(reason))
        let detail = StatusDetail.text(service, width: nil, allowsColour: false)
        #expect(detail.contains("\napi/2: running, ready, unhealthy\n"))
        #expect(
            detail.contains(
                """
                  health     unhealthy, 3 failed in a row
                             last failure 2026-01-31T10:20:30Z: GET /healthz answered 500
                             | first
                             | the? db

                """), "\(detail)")
        #expect(detail.contains("  health     healthy\n"))
    }

    @Test("In 80 columns, port and process id give way to the detail")
    func medium() {
        #expect(
            StatusTable.text(Self.report, width: 80, allowsColour: false) == """
                NAME             STATE    READY  UPTIME  RESTARTS   CPU  MEM  DETAIL
                api              running  3/3                   6  3.8%  36M
                  api/1          running  yes     1h02m         2  1.3%  12M
                  api/2          running  yes     1h02m         2  1.3%  12M
                  api/3          running  yes     1h02m         2  1.3%  12M
                  127.0.0.1:8080: 12 open, 3.4k in all, 1.0M in, 4.7M out, 1 connect error, 2 r…
                payment-gateway  backoff  0/1     1h02m         2  1.3%  12M  next try in 3.2 s…
                  127.0.0.1:8080: 12 open, 3.4k in all, 1.0M in, 4.7M out, 1 connect error, 2 r…

                """)
    }

    @Test("In 40 columns, name and state remain, whole")
    func narrow() {
        #expect(
            StatusTable.text(Self.report, width: 40, allowsColour: false) == """
                NAME             STATE    READY
                api              running  3/3
                  api/1          running  yes
                  api/2          running  yes
                  api/3          running  yes
                  127.0.0.1:8080: 12 open, 3.4k in all,…
                payment-gateway  backoff  0/1
                  127.0.0.1:8080: 12 open, 3.4k in all,…

                """)
    }

    @Test("No line is wider than the terminal, however narrow it is", arguments: Array(24...130))
    func fits(width: Int) {
        for line in StatusTable.text(Self.report, width: width, allowsColour: false).split(separator: "\n") {
            #expect(line.count <= width, "\(line)")
        }
    }

    @Test("Colours change nothing but colours")
    func colours() {
        let coloured = StatusTable.text(Self.report, width: 100, allowsColour: true)
        #expect(coloured.contains("\u{1b}[32mrunning\u{1b}[0m  3/3"))
        #expect(coloured.contains("\u{1b}[33mbackoff\u{1b}[0m  0/1"))
        let bare = coloured.replacing(/\u{1b}\[[0-9]+m/, with: "")
        #expect(bare == StatusTable.text(Self.report, width: 100, allowsColour: false))
    }

    @Test("A column with nothing in it is left out")
    func emptyColumns() {
        var report = Example.report([Example.service("job", replicas: 1)])
        report.services[0].fronts = []
        report.services[0].instances = [InstanceStatus(id: "job/1", state: "running", ready: true, restarts: 0)]
        #expect(
            StatusTable.text(report, width: 80, allowsColour: false) == """
                NAME  STATE    READY  RESTARTS
                job   running  1/1           0

                """)
    }

    @Test("What an instance says of its status, and sockets that it has itself, are shown")
    func ownWords() {
        var service = Example.service("api", replicas: 1)
        service.instances[0].statusText = "recovering\u{1b}[2J"
        service.listen.append("unix:/run/api.sock")
        service.passed = ["unix:/run/api.sock"]
        let detail = StatusDetail.text(service, width: nil, allowsColour: false)
        #expect(detail.contains("\n  says       recovering"))
        #expect(!detail.contains("\u{1b}"))
        #expect(detail.contains("\n  front      unix:/run/api.sock: its instances accept by themselves\n"))
        // Figures that are missing are those of the balancer.
        service.fronts = nil
        #expect(
            StatusTable.frontLines(service) == [
                "127.0.0.1:8080: no figures, since the balancer did not answer",
                "unix:/run/api.sock: its instances accept by themselves",
            ])
    }

    @Test("Without figures from the balancer, that is said")
    func noFigures() {
        var report = Example.report([Example.service("api", replicas: 1)])
        report.services[0].fronts = nil
        #expect(StatusTable.text(report, width: 80, allowsColour: false).contains("8080: no figures, since"))
    }

    @Test("A failed instance shows why it ended when nothing better is known")
    func lastExit() {
        var report = Example.report([Example.service("api", state: "failed", replicas: 1)])
        report.services[0].instances[0].detail = nil
        #expect(StatusTable.text(report, width: nil, allowsColour: false).contains("killed by SIGKILL\n"))
    }

    @Test("Nothing that a service says can drive the terminal")
    func controlCharacters() {
        var report = Example.report([Example.service("api", state: "failed", replicas: 1)])
        report.services[0].instances[0].detail = "\u{1b}]0;owned\u{7}\r\n\u{9b}2J"
        for text in [
            StatusTable.text(report, width: 200, allowsColour: false),
            StatusDetail.text(report.services[0], width: 200, allowsColour: false),
        ] {
            #expect(text.contains("?]0;owned????2J"))
        }
    }

    @Test("Numbers beyond all measure are shown, and do no harm")
    func extremes() {
        var report = Example.report([Example.service("api")])
        for index in 0..<3 {
            report.services[0].instances[index].memoryBytes = .max
            report.services[0].instances[index].restarts = .max
            report.services[0].instances[index].cpuPercent = .infinity
            report.services[0].instances[index].uptimeSeconds = -1
        }
        #expect(StatusTable.text(report, width: 200, allowsColour: false).contains("15E"))
    }

    @Test("No services at all is said in words")
    func none() {
        #expect(StatusTable.text(Example.report([]), width: 80, allowsColour: false) == "no services\n")
    }
}

@Suite("All about one service")
struct StatusDetailTests {
    @Test("Process, use, clients, last exit and limits are shown")
    func everything() {
        #expect(
            StatusDetail.text(Example.service("api", replicas: 1), width: 80, allowsColour: false) == """
                api (service): running, 1 of 1 ready, to be up
                  front      127.0.0.1:8080: 12 open, 3.4k in all, 1.0M in, 4.7M out, 1 connect…

                api/1: running, ready
                  process    pid 12345, up 1h02m, 2 restarts, port 20001
                  use        1.3% CPU, 12M memory
                  clients    12 open, 3.4k in all, 1.0M in, 4.7M out, 1 connect error, 2 retries
                  last exit  killed by SIGKILL, at 2026-01-31T10:20:30Z
                  log        12 lines (3072 bytes) dropped: No space left on device
                  limits     as 1G, core 0:unlimited, nofile 1024:4096

                """)
    }

    @Test("Limits are wrapped, and no line is wider than the terminal", arguments: [24, 40, 60, 80])
    func fits(width: Int) {
        var service = Example.service("api", replicas: 1)
        let limit = LimitStatus(soft: 123_456, hard: nil)
        service.instances[0].limits = Dictionary(uniqueKeysWithValues: (1...16).map { ("limit\($0)", limit) })
        let text = StatusDetail.text(service, width: width, allowsColour: false)
        for line in text.split(separator: "\n").dropFirst() { #expect(line.count <= width, "\(line)") }
        if width >= 40 { #expect((1...16).allSatisfy { text.contains("limit\($0) 123456:unlimited") }) }
    }
}
