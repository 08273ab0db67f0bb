// The fields of a service.

extension FieldTable {
    /// What runs, and in which surroundings.
    static let processFields: [Field<ServiceDraft>] = [
        Field(
            "command", Format.command.located, required: true, inDefaults: false,
            "The program and its arguments, as a list or as one text split like shell words; no shell runs."
        ) { $1.command = $0 },
        Field("directory", Format.directory.located, "The working directory; without it the manifest's own.") {
            $1.directory = $0
        },
        Field(
            "environment", environmentFormat,
            "Variables for the process, above all others; values may be secrets and are never shown."
        ) { variables, draft in
            var all = draft.environment?.value ?? OrderedEnvironment()
            for (name, value) in variables.value { all.set(name, value) }
            draft.environment = Located(value: all, location: variables.location)
        },
        Field(
            "environmentFiles",
            .list(of: Format.path("the path of a file of NAME=value lines").located, "paths", count: 0...64),
            default: [], "Files of NAME=value lines, read anew at every start; later ones win over earlier ones."
        ) { $1.environmentFiles = $0 },
        Field(
            "inheritEnvironment",
            .list(
                of: .text("the name of a variable", pattern: "^[^=\\s]+$", maximum: 256, where: isEnvironmentName),
                "names",
                count: 0...256),
            default: .array(Service.inheritedByDefault.map { .string($0) }),
            "The variables passed on from supd's own environment."
        ) { $1.inheritEnvironment = $0 },
        Field("user", Format.account("user").located, "Whom to run as, by name or number; needs root.") {
            $1.user = $0
        },
        Field(
            "group", Format.account("group").located,
            "The group to run as, by name or number, in place of the user's own; needs root."
        ) { $1.group = $0 },
        Field("umask", .umask, default: "022", "The file mode creation mask, in octal digits.") {
            // Nil is this one in the model: a default written out must not look like a change.
            $1.umask = $0 == 0o022 ? nil : $0
        },
        Field(
            "kind", .word, default: "service", "\"service\" runs until it is stopped, \"task\" runs to completion."
        ) { $1.kind = $0 },
        replicasField,
    ]

    /// Ports and the balancer.
    static let networkFields: [Field<ServiceDraft>] = [
        Field(
            "port", Format.port.located, inDefaults: false,
            "The fixed port of the instance; with replicas the first of consecutive ones. Without it one of portRange."
        ) { $1.port = $0 },
        listenField,
        Field(
            "balance", section: balanceSection, "The balancer's settings for this service; needs listen.",
            found: { $1.balanceSection = $0 }),
    ]

    /// From the first start to the last stop.
    static let lifeFields: [Field<ServiceDraft>] = [
        Field(
            "ready",
            section: Section(
                [
                    Field("tcp", .yes, "Ready when the instance's port accepts connections.") { $1.ready = .tcp },
                    Field(
                        "http", httpCheckFormat,
                        "Ready when a GET of this path on the instance's port is answered with a status of 200 to 399, or "
                            + "as a map says."
                    ) { $1.ready = .http($0) },
                    Field("command", .command, "Ready when this command exits with 0; it runs like the instance.") {
                        $1.ready = .command($0)
                    },
                    Field(
                        "notify", notifyFormat.located, children: notifySection.descriptions,
                        "Ready when the service says so itself: by READY=1 to the socket in NOTIFY_SOCKET (\"systemd\"), or by "
                            + "a newline to a descriptor ({ fd: 3 })."
                    ) {
                        $1.ready = .notify($0.value)
                        $1.readyNotify = $0.location
                    },
                    Field(
                        "log", .linePattern,
                        "Ready when a line of the service's output contains this; * stands for anything in it."
                    ) { $1.ready = .log(pattern: $0) },
                    Field("timeout", .duration(), default: "60s", "How long an instance may take to become ready.") {
                        $1.readyTimeout = $0
                    },
                ], exclusive: ["tcp", "http", "command", "notify", "log"]),
            word: startedFormat,
            "When an instance counts as ready; without it tcp for a service with listen or port, else started."),
        healthField,
        Field(
            "watchdog", .durationOrFalse(from: .milliseconds(100)),
            "How long the service may be silent on the socket in NOTIFY_SOCKET (WATCHDOG=1) before it is restarted; without "
                + "it for ever."
        ) { $1.watchdog = $0 },
        Field(
            "restart", section: restartSection,
            word: Format<RestartSettings.Policy>.word.located.map { policy, _, _ in { $0.restartPolicy = policy } },
            "When and how to start again; a word is the policy alone."),
        Field(
            "stop",
            section: Section([
                Field("signal", .signal, default: "TERM", "The signal that asks the process group to end.") {
                    $1.stop.signal = $0
                },
                Field("timeout", .duration(from: .zero), default: "10s", "How long to wait after it before SIGKILL.") {
                    $1.stop.timeout = $0
                },
            ]), "How to stop."),
        Field(
            "dependsOn", .dependencies, default: [], inDefaults: false,
            "What must be there first: a list of services (ready), or a map of services with ready, started or completed."
        ) { $1.dependsOn = $0 },
        Field(
            "log",
            section: Section([
                Field("maxSize", .size(4096...(1 << 40)), default: "10M", "The size at which a log file is rotated.") {
                    $1.log.maxSize = $0
                },
                Field("keep", .integer(0...1000, "a count"), default: 5, "How many rotated files are kept.") {
                    $1.log.keep = $0
                },
                Field(
                    "format", .word, default: "text",
                    "What the lines are: \"json\" for objects, one a line, to which \"supctl logs --json\" adds time, service, "
                        + "instance and stream in place of wrapping each as a message. The files hold what the service wrote."
                ) { $1.log.format = $0 },
                Field(
                    "rate", .integer(1...1_000_000, "a number of lines a second"),
                    "How many lines a second of each of stdout and stderr are kept; of more the log says how many were dropped. "
                        + "Without it all: a line that is missing is mostly the one that is looked for."
                ) { $1.log.rate = UInt32(clamping: $0) },
                Field(
                    "journal", Format.flag.located, default: false,
                    "Send the lines to systemd's journal as well, with SUPD_SERVICE and SUPD_INSTANCE. Off, because they are in "
                        + "the files, and journald is slower than a service that writes much."
                ) {
                    $1.log.journal = $0.value
                    $1.logJournal = $0.location
                },
            ]), "The instance's log: its rotation, what its lines are, how many, and where else they go."),
        Field(
            "deploy",
            section: Section([
                strategyField,
                Field(
                    "surge", Format.integer(0...100, "a count").located, default: 1,
                    "How many new instances may run beside the old ones while they are replaced. One: no client notices, at the "
                        + "price of one more process. A service without listen, or on a fixed port, has none: one after the "
                        + "other is replaced in place. 0 for a service that must never run twice on the same data."
                ) {
                    $1.deploy.surge = $0.value
                    $1.deployPlaces.surge = $0.location
                },
                Field(
                    "maxUnavailable", Format.integer(0...1000, "a count").located, default: 0,
                    "By how many instances the service may be short meanwhile; more makes it faster. Without surge one is "
                        + "replaced at a time all the same."
                ) {
                    $1.deploy.maxUnavailable = $0.value
                    $1.deployPlaces.maxUnavailable = $0.location
                },
                Field(
                    "failures", .integer(1...100, "a count"), default: 3,
                    "How often a new instance may die or fail to start before the service goes back to the manifest before; "
                        + "one that is not ready in time is enough."
                ) { $1.deploy.failures = $0 },
                canaryField,
            ]), "How its processes are replaced (supctl apply and restart)."),
        FieldTable.idleField,
    ]

    private static let startedFormat = Format<@Sendable (inout ServiceDraft) -> Void>(
        expected: "\"started\"", schema: .members(["const": "started"])
    ) { value, reader in
        guard value.content == .string("started") else {
            reader.report(
                value,
                expected:
                    "\"started\", { tcp: true }, { http: \"/path\" }, { command: […] }, { notify: \"systemd\" } or "
                    + "{ log: \"a text\" }"
            )
            return nil
        }
        return { $0.ready = .started }
    }

    /// What stands at `notify` as a map.
    private static let notifySection = Section<Int?>([
        Field(
            "fd", .integer(3...255, "a descriptor"), required: true,
            "The service gets the write end of a pipe as this descriptor, and is ready when it has written a newline to it."
        ) { $1 = $0 }
    ])

    private static let notifyFormat: Format<NotifyProtocol> = {
        let expected = "\"systemd\", or a map like { fd: 3 }"
        return Format(
            expected: expected,
            schema: .members(["anyOf": [.members(["const": "systemd"]), notifySection.schema]])
        ) { value, reader in
            if case .object = value.content {
                var number: Int?
                notifySection.read(value, into: &number, &reader)
                return number.map { .descriptor($0) }
            }
            guard value.content == .string("systemd") else {
                reader.report(value, expected: expected)
                return nil
            }
            return .systemd
        }
    }()

    private static let restartSection = Section<ServiceDraft>([
        Field(
            "policy", Format<RestartSettings.Policy>.word.located,
            "\"always\" (a service's default), \"on-failure\" (a task's default) or \"never\"."
        ) { $1.restartPolicy = $0 },
        Field(
            "successExitCodes", .list(of: .integer(0...255, "an exit code"), "exit codes", count: 0...256),
            default: [0],
            "The exit codes that count as success."
        ) { $1.restart.successExitCodes = $0 },
        Field("initialDelay", Format.duration().located, default: "500ms", "The first delay after a failed start.") {
            $1.restart.initialDelay = $0.value
            $1.restartDelays = $0.location
        },
        Field("maxDelay", Format.duration().located, default: "30s", "The longest delay.") {
            $1.restart.maxDelay = $0.value
            $1.restartDelays = $0.location
        },
        Field("factor", .decimal(1...100), default: 2, "What the delay is multiplied with each time.") {
            $1.restart.factor = $0
        },
        Field("jitter", .decimal(0...1), default: 0.1, "The share by which a delay varies at random.") {
            $1.restart.jitter = $0
        },
        Field(
            "resetAfter", .duration(), default: "10s",
            "A run this long was healthy: the next restart is at once, and the delay back at its start."
        ) { $1.restart.resetAfter = $0 },
        Field("limit", restartLimitFormat, "Give up beyond this many starts in this time; without it never.") {
            $1.restart.limit = $0
        },
    ])

    private static let restartLimitFormat: Format<RestartSettings.Limit> = {
        let section = Section<RestartSettings.Limit>([
            Field("starts", .integer(1...1000, "a count"), required: true, "How many starts.") { $1.starts = $0 },
            Field("within", .duration(), required: true, "In how long a time.") { $1.within = $0 },
        ])
        return Format(expected: "a map like { starts: 5, within: \"10s\" }", schema: section.schema) { value, reader in
            let before = reader.problems.count
            var limit = RestartSettings.Limit(starts: 1, within: .seconds(1))
            section.read(value, into: &limit, &reader)
            return reader.problems.count == before ? limit : nil
        }
    }()

    private static let environmentFormat: Format<Located<[(key: String, value: Template)]>> = {
        let map = Format<[(key: String, value: Template)]>.map(
            "texts", keyPattern: "^[^=\\s]+$",
            key: { isEnvironmentName($0) ? nil : "one without \"=\" and white space, of at most 256 bytes" },
            value: .template("a text in quotes"))
        return Format(expected: map.expected, schema: map.schema, allowsVariables: true) { value, reader in
            let wasSecret = reader.isSecret
            reader.isSecret = true
            defer { reader.isSecret = wasSecret }
            return map.located.read(value, &reader)
        }
    }()

    /// Resource limits, by setrlimit(2).
    static let limitFields: [Field<ServiceDraft>] = [
        Field(
            "limits",
            section: Section<ServiceDraft>(
                limitTable.map { resource, summary in
                    Field(resource.rawValue, Format.limit(resource.unit).located, summary) { pair, draft in
                        draft.setLimit(
                            Located(
                                value: ResourceLimit(resource: resource, soft: pair.value.soft, hard: pair.value.hard),
                                location: pair.location))
                    }
                }),
            "Resource limits, soft and hard, by the names of setrlimit(2).")
    ]

    private static let limitTable: [(ResourceLimit.Resource, String)] = [
        (.as, "Address space; programs that reserve much of it (Node, Go, Java) fail under a low limit."),
        (.core, "The size of a core dump; 0 for none."),
        (
            .cpu,
            "Processor time in all, not per second; a plain value sends SIGXCPU and a second later SIGKILL."
        ),
        (.data, "Data segment, heap and private writable mappings."),
        (.fsize, "The size of a file that is written; beyond it SIGXFSZ."),
        (.locks, "File locks; without effect since Linux 2.4."),
        (.memlock, "Memory locked into RAM; root is exempt."),
        (.msgqueue, "Bytes in POSIX message queues of the user."),
        (.nice, "20 minus the lowest nice value that may be set: 40 allows -20."),
        (.nofile, "Open descriptors."),
        (.nproc, "Processes and threads of the user, all services of that user together; root is exempt."),
        (.rss, "Resident memory; without effect on Linux."),
        (.rtprio, "The highest real-time priority that may be set."),
        (.rttime, "Processor time in microseconds between blocking calls under real-time scheduling."),
        (.sigpending, "Signals queued for the user."),
        (.stack, "The stack of the main thread; a quarter of it bounds arguments and environment."),
    ]
}
