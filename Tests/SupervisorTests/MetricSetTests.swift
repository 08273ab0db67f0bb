import Links
import Logs
import Manifest
import Metrics
import Platform
import Testing

@testable import Supervision
@testable import Supervisor

@Suite("Metrics of what is known")
struct MetricSetTests {
    /// Another number in every field, from `first` on.
    private static func counts(from first: UInt64) -> BalancerCounters.Counts {
        var counts = BalancerCounters.Counts()
        let fields: [WritableKeyPath<BalancerCounters.Counts, UInt64>] = [
            \.current, \.maximum, \.total, \.rate, \.maximumRate, \.queued, \.maximumQueued, \.bytesIn, \.bytesOut,
            \.connectErrors, \.retries, \.redispatches, \.setAside, \.denied, \.limited, \.connects,
        ]
        for (number, field) in fields.enumerated() { counts[keyPath: field] = first + UInt64(number) }
        counts.turnedAway = counts.denied + counts.limited + 5
        counts.connectTime = 2_500_000_000
        counts.maximumConnectTime = 500_000_000
        counts.ends = ["CD": first + 20, "--": first + 21]
        return counts
    }

    private static func use() -> Consumption {
        var use = Consumption()
        use.processes = 2
        use.threads = 7
        use.cpuSeconds = 1.25
        use.residentBytes = 4096
        use.virtualBytes = 8192
        use.openDescriptors = 11
        use.limits = [
            "nofile": LimitPair(soft: 256, hard: 512), "as": LimitPair(soft: 1 << 30, hard: LimitPair.unlimited),
            "cpu": LimitPair(soft: 60, hard: 61), "rttime": LimitPair(soft: 1_500_000, hard: 2_000_000),
            "data": LimitPair(soft: LimitPair.unlimited, hard: LimitPair.unlimited),
            "nice": LimitPair(soft: 0, hard: 0), "nproc": LimitPair(soft: 100, hard: 100),
        ]
        use.usage = ["nofile": 0.5]
        return use
    }

    private static func facts() -> MetricFacts {
        var instance = Application.InstanceView(
            id: InstanceID(service: "api", number: 2), state: "running", port: 1, isReady: true, isDrained: true,
            restarts: 3)
        instance.startedAt = Instant(nanoseconds: 7_000_000_000)
        instance.health = Application.HealthView(state: "unhealthy", failures: 4)
        let idle = Application.InstanceView(
            id: InstanceID(service: "job", number: 1), state: "asleep", port: 2, isReady: false, isDrained: false,
            restarts: 0)
        var tally = ProbeTally()
        tally.count(false, of: "api")
        let processes = ProcessTable.entry(of: ownProcessID()).map { RoleUse(of: $0) }
        return MetricFacts(
            version: "1.2\"3", bootOffset: 1_000_000_000_500_000_000, began: 5_000_000_000, upgrades: 1,
            hasFronts: true,
            roleUse: ["keeper": processes, "supervisor": nil, "web": processes],
            roleStarts: RoleStarts(supervisor: 4, balancer: 2, web: 3),
            ownLimits: [
                "nofile": LimitPair(soft: 256, hard: 512), "nice": LimitPair(soft: 0, hard: 0),
                "nproc": LimitPair(soft: 200, hard: 200),
            ],
            services: [
                .init(
                    view: .init(name: "api", state: "degraded", goal: .up, ready: 1, instances: [instance]),
                    replicas: 3, sendsToJournal: true,
                    instances: [
                        .init(
                            view: instance, restarts: [.exited: 2, .requested: 1], use: use(),
                            output: LogAmount(lines: 30, bytes: 400),
                            dropped: LogLoss(lines: 5, bytes: 60, code: 28))
                    ]),
                .init(
                    view: .init(name: "job", state: "down", goal: .down, ready: 0, instances: [idle]), replicas: 1,
                    instances: [.init(view: idle, restarts: [:])]),
            ], readiness: ProbeTally(), health: tally,
            counters: BalancerCounters(
                fronts: [.init(service: "api", address: "unix:/a \"b\"\\c", counts: counts(from: 100))],
                endpoints: [
                    .init(instance: "api/2", counts: counts(from: 200)),
                    .init(instance: "gone/1", counts: counts(from: 300)),
                ], acceptPauses: 9))
    }

    private static let lines = MetricSet(facts()).text.split(separator: "\n").map(String.init)

    @Test(
        "Each fact is where it belongs",
        arguments: [
            #"supd_build_info{version="1.2\"3"} 1"#, "supd_start_time_seconds 1000000005.5", "supd_upgrades_total 1",
            #"supd_role_up{role="keeper"} 1"#, #"supd_role_up{role="supervisor"} 0"#,
            #"supd_role_up{role="balancer"} 0"#, #"supd_role_up{role="web"} 1"#,
            #"supd_role_starts_total{role="keeper"} 1"#, #"supd_role_starts_total{role="supervisor"} 4"#,
            #"supd_role_starts_total{role="balancer"} 2"#, #"supd_role_starts_total{role="web"} 3"#,
            #"supd_service_state{service="api",state="degraded"} 1"#,
            #"supd_service_state{service="api",state="running"} 0"#,
            #"supd_service_wanted{service="api"} 1"#, #"supd_service_wanted{service="job"} 0"#,
            #"supd_service_replicas{service="api"} 3"#, #"supd_service_ready_replicas{service="api"} 1"#,
            #"supd_instance_state{service="api",replica="2",state="running"} 1"#,
            #"supd_instance_state{service="job",replica="1",state="running"} 0"#,
            #"supd_instance_ready{service="api",replica="2"} 1"#,
            #"supd_instance_drained{service="api",replica="2"} 1"#,
            #"supd_instance_healthy{service="api",replica="2"} 0"#,
            #"supd_instance_health_failures{service="api",replica="2"} 4"#,
            #"supd_instance_restarts_total{service="api",replica="2",reason="exited"} 2"#,
            #"supd_instance_restarts_total{service="api",replica="2",reason="requested"} 1"#,
            #"supd_instance_restarts_total{service="api",replica="2",reason="killed"} 0"#,
            #"supd_instance_start_time_seconds{service="api",replica="2"} 1000000007.5"#,
            #"supd_instance_processes{service="api",replica="2"} 2"#,
            #"supd_instance_threads{service="api",replica="2"} 7"#,
            #"supd_instance_cpu_seconds_total{service="api",replica="2"} 1.25"#,
            #"supd_instance_resident_memory_bytes{service="api",replica="2"} 4096"#,
            #"supd_instance_virtual_memory_bytes{service="api",replica="2"} 8192"#,
            #"supd_instance_open_descriptors{service="api",replica="2"} 11"#,
            #"supd_instance_limit{service="api",replica="2",limit="nofile"} 256"#,
            #"supd_instance_limit{service="api",replica="2",limit="nproc"} 100"#,
            #"supd_instance_limit_bytes{service="api",replica="2",limit="as"} 1073741824"#,
            #"supd_instance_limit_seconds{service="api",replica="2",limit="cpu"} 60"#,
            #"supd_instance_limit_seconds{service="api",replica="2",limit="rttime"} 1.5"#,
            #"supd_instance_limit_usage_ratio{service="api",replica="2",limit="nofile"} 0.5"#,
            #"supd_probes_total{service="api",kind="health",result="failed"} 1"#,
            #"supd_probes_total{service="api",kind="health",result="passed"} 0"#,
            #"supd_log_lines_total{service="api",replica="2"} 30"#,
            #"supd_log_bytes_total{service="api",replica="2"} 400"#,
            #"supd_log_dropped_lines_total{service="api",replica="2"} 5"#,
            #"supd_log_dropped_bytes_total{service="api",replica="2"} 60"#,
            #"supd_log_journal_dropped_lines_total{service="api",replica="2"} 0"#,
            #"supd_log_lines_total{service="job",replica="1"} 0"#,
            "supd_balancer_accept_pauses_total 9",
            #"supd_endpoint_set_aside{service="api",replica="2"} 0"#,
            #"supd_endpoint_times_set_aside_total{service="api",replica="2"} 212"#,
            // A state that the list does not have is shown all the same.
            #"supd_instance_state{service="job",replica="1",state="asleep"} 1"#,
        ])
    func facts(line: String) {
        #expect(Self.lines.contains(line))
    }

    @Test(
        "The balancer's counters each have a name of their own, at fronts and endpoints",
        arguments: [
            ("connections", 0), ("connections_max", 1), ("connections_total", 2), ("new_connections_per_second", 3),
            ("new_connections_per_second_max", 4), ("received_bytes_total", 7), ("sent_bytes_total", 8),
            ("connect_errors_total", 9), ("retries_total", 10), ("redispatches_total", 11),
            ("connect_duration_seconds_count", 15),
        ])
    func counters(name: String, offset: Int) {
        #expect(Self.lines.contains(#"supd_front_\#(name){service="api",address="unix:/a \"b\"\\c"} \#(100 + offset)"#))
        #expect(Self.lines.contains(#"supd_endpoint_\#(name){service="api",replica="2"} \#(200 + offset)"#))
    }

    @Test(
        "And what fronts alone have, what has a further label, and times in seconds",
        arguments: [
            ("queued_connections", "", "105"), ("queued_connections_max", "", "106"),
            ("turned_away_total", #",reason="denied""#, "113"), ("turned_away_total", #",reason="limited""#, "114"),
            ("turned_away_total", #",reason="other""#, "5"), ("connect_duration_seconds_sum", "", "2.5"),
            ("connect_duration_seconds_max", "", "0.5"), ("sessions_ended_total", #",end="--""#, "121"),
            ("sessions_ended_total", #",end="CD""#, "120"),
        ])
    func frontCounters(name: String, label: String, value: String) {
        #expect(
            Self.lines.contains(#"supd_front_\#(name){service="api",address="unix:/a \"b\"\\c"\#(label)} \#(value)"#))
    }

    @Test("Every family of the table has samples, and every sample the labels of its family")
    func complete() throws {
        let samples = Self.lines.filter { !$0.hasPrefix("#") }
        for family in MetricFamily.all {
            for name in family.sampleNames {
                let own = samples.filter { $0.hasPrefix(name + (family.labels.isEmpty ? " " : "{")) }
                #expect(!own.isEmpty, "\(name) has no sample")
                for line in own {
                    let labels = line.matches(of: #/[{,]([a-z]+)="/#).map { String($0.1) }
                    #expect(labels == family.labels, "\(line)")
                }
            }
        }
        #expect(Set(samples).count == samples.count)
        #expect(!samples.contains { $0.contains("gone") })
    }

    @Test(
        "What is not known is absent: limits that are none, the health of who has none, the balancer's without an answer"
    )
    func absent() {
        func has(_ start: String, in lines: [String] = Self.lines) -> Bool { lines.contains { $0.hasPrefix(start) } }
        #expect(!has(#"supd_instance_limit_bytes{service="api",replica="2",limit="data"}"#))
        // supd's own, of which nobody knows how much is used.
        #expect(!has(#"supd_instance_limit{service="api",replica="2",limit="nice"}"#))
        #expect(!has(#"supd_log_journal_dropped_lines_total{service="job""#))
        #expect(!has(#"supd_instance_healthy{service="job""#))
        #expect(!has(#"supd_instance_threads{service="job""#))
        #expect(!has(#"supd_role_threads{role="supervisor""#))
        #expect(!has(#"supd_probes_total{service="job""#))
        var facts = Self.facts()
        facts.counters = nil
        facts.hasFronts = false
        facts.roleStarts.balancer = nil
        facts.roleStarts.web = nil
        let lines = MetricSet(facts).text.split(separator: "\n").map(String.init)
        for start in ["supd_front", "supd_endpoint", "supd_balancer", #"supd_role_up{role="balancer"#] {
            #expect(!has(start, in: lines))
        }
        for family in ["up", "starts_total"] { #expect(!has(#"supd_role_\#(family){role="web"#, in: lines)) }
    }

    @Test(
        "The use of each limit that the kernel tells it of; of the others none",
        arguments: [
            ("nofile", 0.125), ("as", 0.25), ("data", 0.5), ("stack", 0.375), ("memlock", 0.0625), ("sigpending", 0.75),
            ("cpu", 0.5), ("nproc", nil), ("fsize", nil), ("core", nil), ("rss", nil), ("msgqueue", nil),
            ("locks", nil),
            ("nice", nil), ("rtprio", nil), ("rttime", nil),
        ] as [(String, Double?)])
    func limitUse(limit: String, expected: Double?) throws {
        let ticks = Int(ProcessTable.ticksPerSecond)
        let process = try #require(
            ProcessEntry(
                statText: Array(
                    "1 (x) S 1 1 1 0 -1 0 0 0 0 0 \(ticks) \(ticks) 0 0 20 0 3 0 9 4096 1 18446744073709551615".utf8)))
        var used = ProcessUse(
            statusText: Array("VmData: 2 kB\nVmStk: 3 kB\nVmLck: 4 kB\nSigQ:\t12/999\n".utf8))
        used.openDescriptors = 8
        let soft: [String: UInt64] = [
            "nofile": 64, "as": 16384, "data": 4096, "stack": 8192, "memlock": 65536, "sigpending": 16, "cpu": 4,
        ]
        var use = Consumption()
        use.add(process, used, [limit: LimitPair(soft: soft[limit] ?? 1, hard: LimitPair.unlimited)])
        #expect(use.usage == (expected.map { [limit: $0] } ?? [:]))
    }

    @Test("Of the processes of an instance that one counts which is nearest to a limit, and all are added up")
    func consumption() throws {
        let entries = ["1", "2"].compactMap { pid in
            ProcessEntry(
                statText: Array(
                    "\(pid) (x) S 1 1 1 0 -1 0 0 0 0 0 100 100 50 50 20 0 3 0 9 1000 1 18446744073709551615".utf8))
        }
        #expect(entries.count == 2)
        var first = ProcessUse(statusText: Array("VmData: 1 kB\nVmStk: 2 kB\n".utf8))
        first.openDescriptors = 10
        var second = ProcessUse(statusText: Array("VmLck: 4 kB\n".utf8))
        second.openDescriptors = 20
        let limits = [
            "nofile": LimitPair(soft: 40, hard: 40), "as": LimitPair(soft: 4000, hard: 4000),
            "data": LimitPair(soft: 2048, hard: 2048), "stack": LimitPair(soft: 0, hard: 0),
            "memlock": LimitPair(soft: LimitPair.unlimited, hard: LimitPair.unlimited),
            "cpu": LimitPair(soft: 4, hard: 5),
        ]
        var use = Consumption()
        use.add(entries[0], first, limits)
        use.add(entries[1], second, ["nofile": LimitPair(soft: 80, hard: 80)])
        #expect((use.processes, use.threads, use.virtualBytes, use.openDescriptors) == (2, 6, 2000, 30))
        #expect(use.cpuSeconds == 600 / ProcessTable.ticksPerSecond)
        #expect(
            use.usage == ["nofile": 0.25, "as": 0.25, "data": 0.5, "cpu": 200 / ProcessTable.ticksPerSecond / 4])
        // Of one that has ended there is only its CPU time.
        var ended = entries[1]
        ended.state = UInt8(ascii: "Z")
        let before = use
        use.add(ended, ProcessUse(statusText: []), [:])
        #expect(use.cpuSeconds == 900 / ProcessTable.ticksPerSecond)
        use.cpuSeconds = before.cpuSeconds
        #expect(use == before)
        // One that may not be looked at makes the sum unknown, not smaller.
        use.add(entries[0], ProcessUse(statusText: []), [:])
        #expect(use.openDescriptors == nil)
    }

    @Test(
        "CPU time never falls within a generation, also over a supervisor, counts nothing twice, and begins anew with the next",
        arguments: [
            // What is missing for a moment, or for two, comes back.
            ([2, 2.5, 1, 2.5, 1, 1.25, 2.75], [2, 2.5, 2.5, 2.5, 2.5, 2.5, 2.75]),
            // 1.5 s of a process that has left for good; what is left goes on.
            ([2, 2.5, 1, 1, 1.25, 1.5, 2.75], [2, 2.5, 2.5, 2.5, 2.5, 2.75, 4]),
        ])
    func processorTime(found: [Double], expected: [Double]) throws {
        let id = InstanceID(service: "a", number: 1)
        for crash in 0...found.count {
            var counts = try KeptCounts(keeping: "counts")
            var told: [Double] = []
            for (look, seconds) in found.enumerated() {
                if look == crash { counts = try KeptCounts(resuming: #require(counts.descriptor)) }
                told.append(counts.processorTime(seconds, of: id, Generation(7)))
            }
            #expect(told == expected, "with another supervisor before look \(crash)")
            #expect(counts.processorTime(0.5, of: id, Generation(8)) == 0.5)
            #expect(counts.processorTime(0.75, of: id, Generation(8)) == 0.75)
        }
    }
}
