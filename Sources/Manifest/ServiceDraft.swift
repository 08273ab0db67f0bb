/// A service while it is read: `defaults` fill a draft first, then each service begins with a copy and puts its own
/// fields over it. So sections and maps merge key by key, and everything else is replaced.
struct ServiceDraft: Sendable {
    var kind = Service.Kind.service
    var command: Located<[Template]>?
    var directory: Located<Template>?
    var environment: Located<OrderedEnvironment>?
    var environmentFiles: [Located<String>] = []
    var inheritEnvironment = Service.inheritedByDefault
    var user: Located<String>?
    var group: Located<String>?
    var umask: UInt16?
    var replicas: Located<Int>?
    var scaling: Located<ScalingRule>?
    var port: Located<UInt16>?
    var listen: [ListenDraft] = []
    /// `listen` is there, and wrong: what it would have been nobody knows.
    var listenIsWrong = false
    var balance = BalanceSettings()
    var balanceSection: Location?
    /// Where each key of `balance` stands that is not wrong.
    var balanceKeys: [String: Location] = [:]
    var ready: ReadyCheck?
    var readyNotify: Location?
    var readyTimeout = Duration.seconds(60)
    var watchdog: Duration?
    var health = HealthDraft()
    var restart = RestartSettings()
    var restartPolicy: Located<RestartSettings.Policy>?
    var restartDelays: Location?
    var stop = StopSettings()
    var dependsOn: [Located<Dependency>] = []
    var limits: [Located<ResourceLimit>] = []
    var log = LogSettings()
    var logJournal: Location?
    var deploy = DeploySettings()
    var deployPlaces = DeployPlaces()
    var idle = IdleDraft()

    /// Sets a limit, in place of an earlier one of the same resource.
    mutating func setLimit(_ limit: Located<ResourceLimit>) {
        if let index = limits.firstIndex(where: { $0.value.resource == limit.value.resource }) {
            limits[index] = limit
        } else {
            limits.append(limit)
        }
    }

    /// The finished service; nil when there is no command, which was reported.
    func service(named name: String, directory ownDirectory: String) -> Service? {
        guard let command else { return nil }
        var restart = restart
        restart.policy = restartPolicy?.value ?? (kind == .task ? .onFailure : .always)
        return Service(
            name: name, kind: kind, command: command.value,
            directory: directory?.value ?? Template(literal: ownDirectory),
            environment: environment?.value.variables ?? [], environmentFiles: environmentFiles.map(\.value),
            inheritEnvironment: inheritEnvironment, user: user?.value, group: group?.value, umask: umask,
            replicas: replicas?.value ?? 1, port: port?.value, listen: listen.compactMap { $0.finished?.value },
            balance: finishedBalance,
            ready: ready,
            readyTimeout: readyTimeout, watchdog: watchdog, restart: restart, stop: stop,
            dependsOn: dependsOn.map(\.value),
            limits: limits.map(\.value), log: log,
            health: health.finished, deploy: finishedDeploy, idleAfter: idle.after,
            scaling: scaling?.value)
    }
}

/// The variables of a service in the order of the file; setting one again keeps its place.
struct OrderedEnvironment: Sendable {
    private(set) var variables: [EnvironmentVariable] = []
    private var indices: [String: Int] = [:]
    /// The bytes of all names and values, with what the kernel adds to each.
    private(set) var size = 0

    mutating func set(_ name: String, _ value: Template) {
        let variable = EnvironmentVariable(name: name, value: value)
        if let index = indices[name], variables.indices.contains(index) {
            size -= variables[index].size
            variables[index] = variable
        } else {
            indices[name] = variables.count
            variables.append(variable)
        }
        size += variable.size
    }
}

extension EnvironmentVariable {
    fileprivate var size: Int { name.utf8.count + value.size + 2 }
}
