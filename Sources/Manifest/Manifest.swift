/// A manifest that was read and found valid: defaults merged, `${env:…}` resolved, all paths absolute.
package struct Manifest: Sendable, Hashable, Codable {
    /// The daemon's own settings.
    package var supd: DaemonSettings
    /// The services in the order of the file; names are unique.
    package var services: [Service]
    /// What is run when something happens; nil: nothing.
    package var hooks: [Hook]?

    /// Creates a manifest from its parts.
    package init(supd: DaemonSettings = DaemonSettings(), services: [Service] = [], hooks: [Hook]? = nil) {
        self.supd = supd
        self.services = services
        self.hooks = hooks
    }
}

/// The `supd` section.
package struct DaemonSettings: Sendable, Hashable, Codable {
    /// Loopback ports for instances.
    package var portRange: PortRange
    /// The balancer's own settings.
    package var balancer: BalancerSettings
    /// The page for browsers; nil: there is none.
    package var web: WebSettings?

    /// Creates settings; the defaults are the manifest's.
    package init(
        portRange: PortRange = PortRange(first: 20000, last: 29999), balancer: BalancerSettings = BalancerSettings(),
        web: WebSettings? = nil
    ) {
        self.portRange = portRange
        self.balancer = balancer
        self.web = web
    }
}

/// An inclusive range of TCP ports, `first <= last`, both from 1.
package struct PortRange: Sendable, Hashable, Codable {
    /// The lowest port.
    package var first: UInt16
    /// The highest port.
    package var last: UInt16

    /// Creates a range.
    package init(first: UInt16, last: UInt16) {
        self.first = first
        self.last = last
    }

    /// Whether the port lies in the range.
    package func contains(_ port: UInt16) -> Bool { first <= port && port <= last }
}

/// The `supd.balancer` section.
package struct BalancerSettings: Sendable, Hashable, Codable {
    /// How many event loops, 1 to 64; nil: one per core, at most four.
    package var loops: Int?
    /// The user to run as when supd is root; nil: `supd` where it exists, else an unused uid.
    package var user: String?

    /// Creates settings.
    package init(loops: Int? = nil, user: String? = nil) {
        self.loops = loops
        self.user = user
    }
}

/// One service or task.
package struct Service: Sendable, Hashable, Codable {
    /// What kind of program it is.
    package enum Kind: String, Sendable, Hashable, Codable, CaseIterable {
        /// Runs until it is stopped.
        case service
        /// Runs to completion.
        case task
    }

    /// The name, `[a-z][a-z0-9-]{0,62}`.
    package var name: String
    /// Service or task.
    package var kind: Kind
    /// The argument vector, at least one element.
    package var command: [Template]
    /// The working directory, absolute once expanded.
    package var directory: Template
    /// Variables set for the process, in the order of the file. Values may be secrets: never print them.
    package var environment: [EnvironmentVariable]
    /// Files of `NAME=value` lines, absolute paths; read anew at every start.
    package var environmentFiles: [String]
    /// Names passed on from supd's own environment.
    package var inheritEnvironment: [String]
    /// The user to run as, a name or a number; nil: supd's own.
    package var user: String?
    /// The group to run as, a name or a number; nil: the user's.
    package var group: String?
    /// The file mode creation mask, 0 to 0o777; nil: 0o022.
    package var umask: UInt16?
    /// How many instances, 0 to 1000.
    package var replicas: Int
    /// How many the manifest says, where a user has scaled it to `replicas`; nil: that many.
    package var scaledFrom: Int?
    /// How it scales itself; nil: it does not. Then `scaledFrom` is the least that there may be, unless it has that many.
    package var scaling: ScalingRule?
    /// The first of `replicas` consecutive fixed ports; nil: from the port range.
    package var port: UInt16?
    /// What the balancer accepts on; empty: no front.
    package var listen: [ListenSettings]
    /// The balancer's settings for this service.
    package var balance: BalanceSettings
    /// What must happen before an instance counts as ready.
    package var ready: ReadyCheck
    /// How long an instance may take to become ready.
    package var readyTimeout: Duration
    /// How long the process may be silent, sd_watchdog_enabled(3); nil: for ever.
    package var watchdog: Duration?
    /// How ready instances are probed for their health; nil: they are not.
    package var health: HealthSettings?
    /// When and how to restart.
    package var restart: RestartSettings
    /// How to stop.
    package var stop: StopSettings
    /// What must be there first; in the order of the file, no service twice.
    package var dependsOn: [Dependency]
    /// Resource limits, each resource at most once.
    package var limits: [ResourceLimit]
    /// Rotation of the log.
    package var log: LogSettings
    /// How its processes are replaced by those of another manifest.
    package var deploy: DeploySettings
    /// After how long without a connection it is stopped, until the next one comes; nil: never.
    package var idleAfter: Duration?

    /// Creates a service with the manifest's defaults for all that is not given.
    package init(
        name: String, kind: Kind = .service, command: [Template], directory: Template = Template(literal: "/"),
        environment: [EnvironmentVariable] = [], environmentFiles: [String] = [],
        inheritEnvironment: [String] = Service.inheritedByDefault, user: String? = nil, group: String? = nil,
        umask: UInt16? = nil, replicas: Int = 1, port: UInt16? = nil, listen: [ListenSettings] = [],
        balance: BalanceSettings = BalanceSettings(), ready: ReadyCheck? = nil, readyTimeout: Duration = .seconds(60),
        watchdog: Duration? = nil, restart: RestartSettings? = nil, stop: StopSettings = StopSettings(),
        dependsOn: [Dependency] = [],
        limits: [ResourceLimit] = [], log: LogSettings = LogSettings(), health: HealthSettings? = nil,
        deploy: DeploySettings = DeploySettings(), idleAfter: Duration? = nil, scaling: ScalingRule? = nil
    ) {
        self.name = name
        self.kind = kind
        self.command = command
        self.directory = directory
        self.environment = environment
        self.environmentFiles = environmentFiles
        self.inheritEnvironment = inheritEnvironment
        self.user = user
        self.group = group
        self.umask = umask
        self.replicas = replicas
        self.port = port
        self.listen = listen
        self.balance = balance
        self.ready = ready ?? (listen.allSatisfy(\.passes) && port == nil ? .started : .tcp)
        self.readyTimeout = readyTimeout
        self.watchdog = watchdog
        self.health = health
        self.restart = restart ?? RestartSettings(policy: kind == .task ? .onFailure : .always)
        self.stop = stop
        self.dependsOn = dependsOn
        self.limits = limits
        self.log = log
        self.deploy = deploy
        self.idleAfter = idleAfter
        self.scaling = scaling
    }

    /// What a process gets of supd's own environment unless the manifest says otherwise.
    package static let inheritedByDefault = ["PATH", "HOME", "USER", "LANG", "TZ"]
}

/// One variable of `environment`.
package struct EnvironmentVariable: Sendable, Hashable, Codable {
    /// The name, without `=` and NUL.
    package var name: String
    /// The value.
    package var value: Template

    /// Creates a variable.
    package init(name: String, value: Template) {
        self.name = name
        self.value = value
    }
}

/// What must happen before an instance counts as ready.
package enum ReadyCheck: Sendable, Hashable, Codable {
    /// The process was started.
    case started
    /// Its port accepts connections, and the listener is its own.
    case tcp
    /// A GET on its port is answered as it should be.
    case http(HTTPCheck)
    /// A command exits with 0; same user, directory and environment as the instance.
    case command([Template])
    /// The service says so itself.
    case notify(NotifyProtocol)
    /// A line of its output contains this; `*` stands for anything.
    case log(pattern: Template)
}

/// How a service says that it is ready.
package enum NotifyProtocol: Sendable, Hashable, Codable {
    /// By READY=1 on the socket that NOTIFY_SOCKET names, sd_notify(3).
    case systemd
    /// By a newline to this descriptor, from 3 to 255, which is its own end of a pipe; as s6 has it.
    case descriptor(Int)
}

/// The `restart` section.
package struct RestartSettings: Sendable, Hashable, Codable {
    /// When to start again after an exit.
    package enum Policy: String, Sendable, Hashable, Codable, CaseIterable {
        /// After every exit.
        case always
        /// After an exit that is no success.
        case onFailure = "on-failure"
        /// Never.
        case never
    }

    /// How many starts are allowed in how long a time.
    package struct Limit: Sendable, Hashable, Codable {
        /// The number of starts, from 1.
        package var starts: Int
        /// The time in which they count.
        package var within: Duration

        /// Creates a limit.
        package init(starts: Int, within: Duration) {
            self.starts = starts
            self.within = within
        }
    }

    /// The policy.
    package var policy: Policy
    /// Exit codes that count as success, 0 to 255.
    package var successExitCodes: [Int]
    /// The first delay after a failed start.
    package var initialDelay: Duration
    /// The longest delay.
    package var maxDelay: Duration
    /// What the delay is multiplied with each time, at least 1.
    package var factor: Double
    /// The share by which a delay varies at random, 0 to 1.
    package var jitter: Double
    /// A run at least this long is healthy: the next restart is at once, the delay back at its start.
    package var resetAfter: Duration
    /// Give up beyond this; nil: never.
    package var limit: Limit?

    /// Creates settings; the defaults are the manifest's.
    package init(
        policy: Policy = .always, successExitCodes: [Int] = [0], initialDelay: Duration = .milliseconds(500),
        maxDelay: Duration = .seconds(30), factor: Double = 2, jitter: Double = 0.1,
        resetAfter: Duration = .seconds(10),
        limit: Limit? = nil
    ) {
        self.policy = policy
        self.successExitCodes = successExitCodes
        self.initialDelay = initialDelay
        self.maxDelay = maxDelay
        self.factor = factor
        self.jitter = jitter
        self.resetAfter = resetAfter
        self.limit = limit
    }
}

/// The `stop` section.
package struct StopSettings: Sendable, Hashable, Codable {
    /// The signal's name without SIG, upper case: `TERM`, `INT`, `RTMIN+3`.
    package var signal: String
    /// How long to wait after it before SIGKILL.
    package var timeout: Duration

    /// Creates settings; the defaults are the manifest's.
    package init(signal: String = "TERM", timeout: Duration = .seconds(10)) {
        self.signal = signal
        self.timeout = timeout
    }
}

/// One entry of `dependsOn`.
package struct Dependency: Sendable, Hashable, Codable {
    /// What the other service must have reached.
    package enum Condition: String, Sendable, Hashable, Codable, CaseIterable {
        /// At least one instance is ready.
        case ready
        /// At least one instance was started.
        case started
        /// All instances have completed with success.
        case completed
    }

    /// The other service's name.
    package var service: String
    /// What it must have reached.
    package var condition: Condition

    /// Creates a dependency.
    package init(service: String, condition: Condition = .ready) {
        self.service = service
        self.condition = condition
    }
}

/// One resource limit of `limits`, as setrlimit(2) takes it.
package struct ResourceLimit: Sendable, Hashable, Codable {
    /// The resources by their manifest names, which are RLIMIT_… in lower case.
    package enum Resource: String, Sendable, Hashable, Codable, CaseIterable {
        case `as`, core, cpu, data, fsize, locks, memlock, msgqueue, nice, nofile, nproc, rss, rtprio, rttime
        case sigpending, stack
    }

    /// Which resource.
    package var resource: Resource
    /// The soft limit in the resource's own unit (bytes, seconds, count); nil: unlimited.
    package var soft: UInt64?
    /// The hard limit; nil: unlimited. Never below the soft one.
    package var hard: UInt64?

    /// Creates a limit.
    package init(resource: Resource, soft: UInt64?, hard: UInt64?) {
        self.resource = resource
        self.soft = soft
        self.hard = hard
    }
}

/// The `log` section.
package struct LogSettings: Sendable, Hashable, Codable {
    /// The size in bytes at which a file is rotated, from 4096.
    package var maxSize: UInt64
    /// How many rotated files are kept beside the current one, 0 to 1000.
    package var keep: Int
    /// What the lines are, for whoever shows them.
    package var format: Format
    /// How many lines a second of each of stdout and stderr are kept, 1 to 1,000,000; nil: all.
    package var rate: UInt32?
    /// Whether systemd's journal gets the lines, too.
    package var journal: Bool

    /// What a service writes.
    package enum Format: String, Sendable, Hashable, Codable, CaseIterable {
        /// Lines of any kind.
        case text
        /// JSON objects, one a line.
        case json
    }

    /// Creates settings; the defaults are the manifest's.
    package init(
        maxSize: UInt64 = 10 << 20, keep: Int = 5, format: Format = .text, rate: UInt32? = nil, journal: Bool = false
    ) {
        self.maxSize = maxSize
        self.keep = keep
        self.format = format
        self.rate = rate
        self.journal = journal
    }

    /// Reads settings, those of an older version, too, which knew fewer.
    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        maxSize = try container.decode(UInt64.self, forKey: .maxSize)
        keep = try container.decode(Int.self, forKey: .keep)
        format = try container.decodeIfPresent(Format.self, forKey: .format) ?? .text
        rate = try container.decodeIfPresent(UInt32.self, forKey: .rate)
        journal = try container.decodeIfPresent(Bool.self, forKey: .journal) ?? false
    }
}
