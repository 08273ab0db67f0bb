package import Platform

/// What the keeper is told at its start.
package struct KeeperConfiguration: Sendable {
    /// What to execute for a role, tried in order. The image in use is always there, whatever became of its file.
    package var candidates = ["/proc/self/exe"]
    /// The supervisor's argument vector; the first is what `ps` shows.
    package var supervisorArguments: [String]
    /// The balancer's argument vector.
    package var balancerArguments: [String]
    /// The argument vector of the web role.
    package var webArguments = ["supd: web"]
    /// The environment of the supervisor, `NAME=value`, without what systemd meant for the keeper alone.
    package var environment: [String]
    /// What of it the roles without rights get: the balancer, the web role.
    package var balancerEnvironment: [String]
    /// The text that marks this keeper's children in their environment as SUPD_SCOPE.
    package var scope: String
    /// NOTIFY_SOCKET; nil: nobody wants to hear from us.
    package var notifySocket: String?
    /// How often systemd wants to hear from us, in nanoseconds; nil: it does not.
    package var watchdog: Int64?
    /// What the keeper itself was executed with, for the image that takes its place: its arguments, and the whole of its
    /// environment.
    package var ownArguments: [String] = []
    /// `NAME=value`, with what systemd means for the keeper.
    package var ownEnvironment: [String] = []
    /// What the program around the keeper leaves to that image.
    package var program = KeeperProgram(supervisorConfiguration: "", path: "", locks: [])
    /// The locks of `program`; held as long as the keeper runs.
    package var locks: [Descriptor] = []
    /// The arguments of a program that is tried, the first of which is its name.
    package var trialArguments = ["supd", "--trial"]
    /// For tests: do as if the kernel were older than 6.9 and had neither clone3 nor lists of children.
    package var usesOldKernelPaths = false

    /// Creates a configuration out of the environment that the keeper was started with: takes from it what sd_notify(3),
    /// sd_watchdog_enabled(3) and sd_listen_fds(3) mean for one process alone.
    package init(
        supervisorArguments: [String], balancerArguments: [String], environment: [String: String], scope: String,
        processID: Int32
    ) {
        self.supervisorArguments = supervisorArguments
        self.balancerArguments = balancerArguments
        self.scope = scope
        notifySocket = environment["NOTIFY_SOCKET"]
        let isMeantForUs = environment["WATCHDOG_PID"].map { $0 == String(processID) } ?? true
        if isMeantForUs, let microseconds = environment["WATCHDOG_USEC"].flatMap(Int64.init), microseconds > 0 {
            watchdog = min(microseconds, 1 << 40) * 1000
        }
        let taken: Set = [
            "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
        ]
        ownEnvironment = environment.map { "\($0.key)=\($0.value)" }.sorted()
        self.environment = environment.filter { !taken.contains($0.key) }.map { "\($0.key)=\($0.value)" }.sorted()
        balancerEnvironment = environment.filter { Self.isForBalancer($0.key) }.map { "\($0.key)=\($0.value)" }.sorted()
    }

    /// The balancer reads what strangers send: of the environment, which may have secrets for services, it gets what the
    /// program itself reads and what the dynamic linker and the C library do.
    private static func isForBalancer(_ name: String) -> Bool {
        ["PATH", "TZ", "LANG", "JOURNAL_STREAM"].contains(name)
            || ["LD_", "SWIFT_", "MALLOC_", "TSAN_", "ASAN_", "SUPD_"].contains { name.hasPrefix($0) }
    }
}
