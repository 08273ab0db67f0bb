package import Links
package import Manifest
import Platform
package import Supervision

/// Turns an instance of a service into all that the keeper needs to start it. It looks up users and reads environment
/// files, at every start anew; the program itself is first looked at by execve(2).
package struct SpawnPlanner: Sendable {
    /// The variables of supd's making for an instance: PORT, HOST, INSTANCE, SERVICE and the addresses of others.
    package typealias InstanceEnvironment =
        @Sendable (_ manifest: Manifest, _ service: Service, _ instance: Int, _ port: UInt16) -> [(
            name: String, value: String
        )]

    private let scope: String
    private let ownEnvironment: [String: String]
    private let noticeDirectory: String
    /// The names under which the keeper holds the listening sockets that the instances of a service get.
    package var passedSockets: [String: [String]] = [:]
    private let instanceEnvironment: InstanceEnvironment

    /// Creates a planner.
    /// - Parameters:
    ///   - scope: the text of the keeper's welcome.
    ///   - ownEnvironment: supd's own variables, from which `inheritEnvironment` picks.
    ///   - noticeDirectory: where the sockets are on which services say how they are.
    package init(
        scope: String, ownEnvironment: [String: String], noticeDirectory: String = "/nonexistent",
        instanceEnvironment: @escaping InstanceEnvironment
    ) {
        self.scope = scope
        self.ownEnvironment = ownEnvironment
        self.noticeDirectory = noticeDirectory
        self.instanceEnvironment = instanceEnvironment
    }

    /// The plan for a generation of an instance; its id is the generation's number.
    package func plan(
        _ service: Service, instance: Int, port: UInt16, generation: Generation, manifest: Manifest
    ) throws(StartFailure) -> SpawnPlan {
        let id = InstanceID(service: service.name, number: instance)
        return try plan(
            service.command, of: service, Start(id: id, port: port, generation: generation), manifest: manifest,
            child: generation.number, label: ChildLabel(role: .leader, instance: id, generation: generation, port: port)
        )
    }

    /// The plan for one run of the command of `ready: { command }`, as the instance itself runs but for its id and label.
    package func probePlan(
        _ command: [Template], of service: Service, instance: Int, port: UInt16, generation: Generation,
        manifest: Manifest, child: UInt64
    ) throws(StartFailure) -> SpawnPlan {
        let id = InstanceID(service: service.name, number: instance)
        return try plan(
            command, of: service, Start(id: id, port: port, generation: generation), manifest: manifest, child: child,
            label: ChildLabel(role: .probe, instance: id, generation: generation, port: port))
    }

    /// How a command of a hook runs: as a probe would. The number and the port of an instance are empty where there is none: an
    /// event may be about several, or about none.
    package func hookPlan(
        _ command: [Template], of service: Service, instance: Int?, port: UInt16?, manifest: Manifest
    ) throws(StartFailure) -> SpawnPlan {
        let value = templateValues(service: service.name, instance: instance ?? 1, port: port ?? 0)
        let texts = command.map { template in
            template.expanded { variable in
                switch variable {
                case .instance where instance == nil, .port where port == nil: ""
                default: value(variable)
                }
            }
        }
        var plan = try probePlan(
            texts.map { Template(literal: $0) }, of: service, instance: instance ?? 1, port: port ?? 0,
            generation: Generation(0), manifest: manifest, child: 0)
        let unknown =
            (instance == nil ? [Template.Variable.instance] : []) + (port == nil ? [Template.Variable.port] : [])
        for name in unknown.map(\.rawValue) {
            plan.environment = plan.environment.map { $0.hasPrefix("\(name)=") ? "\(name)=" : $0 }
        }
        return plan
    }

    /// One start of one instance.
    private struct Start {
        var id: InstanceID
        var port: UInt16
        var generation: Generation

        func expand(_ template: Template) -> String {
            template.expanded(templateValues(service: id.service, instance: id.number, port: port))
        }
    }

    private func plan(
        _ command: [Template], of service: Service, _ start: Start, manifest: Manifest, child: UInt64, label: ChildLabel
    ) throws(StartFailure) -> SpawnPlan {
        let arguments = command.map(start.expand)
        let directory = start.expand(service.directory)
        guard directory.hasPrefix("/") else {
            throw StartFailure(text: "cannot start in the directory '\(directory)': it is no absolute path")
        }
        let identity = try Identity(user: service.user, group: service.group)
        var environment = try environment(of: service, start, identity, manifest: manifest)
        // A probe's command is not the service: it has nothing to say.
        let own = label.role == .leader ? addSpeech(to: &environment, of: service, start) : []
        guard let program = arguments.first, !program.isEmpty else {
            throw StartFailure(text: "cannot start: the program's name in command[0] is empty")
        }
        let plan = SpawnPlan(
            id: child, label: label.description,
            candidates: programCandidates(program, path: environment["PATH"], directory: directory),
            arguments: arguments, environment: environment.entries, processIDVariables: own, directory: directory,
            credentials: identity.credentials, umask: service.umask ?? 0o022, limits: limits(of: service),
            passed: label.role == .leader ? passed(to: service, start) : [])
        try checkTexts(plan)
        try checkSize(plan)
        return plan
    }

    // MARK: Environment

    /// Inherited names, the account's, supd's own, the files', the manifest's: later ones take the place of earlier ones.
    private func environment(
        of service: Service, _ start: Start, _ identity: Identity, manifest: Manifest
    ) throws(StartFailure) -> Environment {
        var environment = Environment()
        // First, so that whoever looks for it in /proc/PID/environ finds it at once.
        environment[ProcessScope.variable] = processMark(scope: scope, id: start.id, generation: start.generation)
        for name in service.inheritEnvironment where !Self.isPrivate(name) {
            if let value = ownEnvironment[name] { environment[name] = value }
        }
        if let account = identity.account {
            environment["HOME"] = account.home
            environment["USER"] = account.name
            environment["LOGNAME"] = account.name
        }
        for (name, value) in instanceEnvironment(manifest, service, start.id.number, start.port) {
            environment[name] = value
        }
        for path in service.environmentFiles {
            do {
                for (name, value) in try EnvironmentFile.read(path) { environment[name] = value }
            } catch {
                throw StartFailure(text: error.text)
            }
        }
        for variable in service.environment { environment[variable.name] = start.expand(variable.value) }
        environment[ProcessScope.variable] = processMark(scope: scope, id: start.id, generation: start.generation)
        return environment
    }

    /// What a service speaks by, and what it is passed. Returns the names of the variables that the process's own id is the
    /// value of.
    private func addSpeech(to environment: inout Environment, of service: Service, _ start: Start) -> [String] {
        var own: [String] = []
        if service.hasNotifySocket {
            environment["NOTIFY_SOCKET"] = NoticeSockets.path(in: noticeDirectory, start.generation)
        }
        if let watchdog = service.watchdog {
            environment["WATCHDOG_USEC"] = "\(watchdog.wholeNanoseconds / 1000)"
            own.append("WATCHDOG_PID")
        }
        if let sockets = passedSockets[service.name] {
            environment["LISTEN_FDS"] = "\(sockets.count)"
            environment["LISTEN_FDNAMES"] = sockets.map { _ in service.name }.joined(separator: ":")
            own.append("LISTEN_PID")
        }
        for name in own { environment.remove(name) }
        return own
    }

    /// The descriptors that a service gets: listening sockets from 3 on, and the one by which it says that it is ready.
    private func passed(to service: Service, _ start: Start) -> [SpawnPlan.Passed] {
        var passed = (passedSockets[service.name] ?? []).enumerated().map { index, name in
            SpawnPlan.Passed(number: Int32(clamping: 3 + index), held: name)
        }
        if let number = service.ready.notifyDescriptor {
            passed.append(
                SpawnPlan.Passed(number: Int32(clamping: number), held: ReadyPipes.writingName(start.generation)))
        }
        return passed
    }

    /// What systemd says to supd alone, and what other marks supd itself may carry: never passed on, even if named.
    private static func isPrivate(_ name: String) -> Bool {
        ["NOTIFY_SOCKET", "JOURNAL_STREAM", "INVOCATION_ID", "MAINPID", "MANAGERPID", "SYSTEMD_EXEC_PID"].contains(name)
            || ["LISTEN_", "WATCHDOG_", "SUPD_"].contains { name.hasPrefix($0) }
    }

    // MARK: Limits

    /// In the order of the manifest's list of names, but those of time last, so that they count the program and not us.
    private func limits(of service: Service) -> [SpawnPlan.Limit] {
        var limits: [SpawnPlan.Limit] = []
        let late: Set<ResourceLimit.Resource> = [.cpu, .rttime]
        for resource in ResourceLimit.Resource.allCases.filter({ !late.contains($0) }) + [.cpu, .rttime] {
            guard let limit = service.limits.first(where: { $0.resource == resource }),
                let number = ResourceLimits.number(of: resource.rawValue)
            else { continue }
            limits.append(
                SpawnPlan.Limit(
                    resource: number, soft: limit.soft ?? LimitPair.unlimited, hard: limit.hard ?? LimitPair.unlimited))
        }
        return limits
    }

    // MARK: What execve(2) takes

    /// The kernel's texts end at a NUL: one inside would be cut in silence.
    private func checkTexts(_ plan: SpawnPlan) throws(StartFailure) {
        for (index, argument) in plan.arguments.enumerated() where argument.utf8.contains(0) {
            throw StartFailure(text: "cannot start: command[\(index)] holds a NUL character")
        }
        for entry in plan.environment where entry.utf8.contains(0) {
            let name = entry.prefix { $0 != "=" }
            throw StartFailure(text: "cannot start: the environment variable \(name) holds a NUL character")
        }
        guard !plan.directory.utf8.contains(0) else {
            throw StartFailure(text: "cannot start: the directory's name holds a NUL character")
        }
    }

    /// execve(2), "Limits on size of arguments and environment": a text may have 128 KiB, all together a quarter of the
    /// stack's soft limit, at least 128 KiB and at most 6 MiB, pointers included.
    private func checkSize(_ plan: SpawnPlan) throws(StartFailure) {
        let textLimit = 131_072
        for (index, argument) in plan.arguments.enumerated() where argument.utf8.count >= textLimit {
            throw StartFailure(
                text: "cannot start: command[\(index)] has \(argument.utf8.count) bytes; Linux takes 131071 at most")
        }
        for entry in plan.environment where entry.utf8.count >= textLimit {
            let name = entry.prefix { $0 != "=" }
            throw StartFailure(
                text: "cannot start: the environment variable \(name) has \(entry.utf8.count) bytes with its name; "
                    + "Linux takes 131071 at most")
        }
        let stack = ResourceLimits.number(of: "stack") ?? 3
        let soft =
            plan.limits.first { $0.resource == stack }?.soft ?? (try? ResourceLimits.own(stack))?.soft
            ?? LimitPair.unlimited
        let limit = max(131_072, min(soft / 4, 6 << 20))
        let texts = plan.arguments + plan.environment
        let longestPath = plan.candidates.map(\.utf8.count).max() ?? 0
        let size = texts.reduce(longestPath + 16) { $0 + $1.utf8.count + 1 + 8 }
        guard UInt64(size) <= limit else {
            throw StartFailure(
                text: "cannot start: arguments and environment take \(size) bytes, and Linux takes \(limit) at most "
                    + "(a quarter of limits.stack, 6 MiB at most); pass large values by a file")
        }
    }
}

/// Variables in the order in which they were first set.
private struct Environment {
    private var values: [(name: String, value: String)] = []
    private var places: [String: Int] = [:]

    subscript(name: String) -> String? {
        get { places[name].map { values[$0].value } }
        set {
            guard let newValue else { return }
            if let place = places[name] {
                values[place].value = newValue
            } else {
                places[name] = values.count
                values.append((name, newValue))
            }
        }
    }

    /// Takes a variable out.
    mutating func remove(_ name: String) {
        guard let place = places.removeValue(forKey: name) else { return }
        values.remove(at: place)
        for (other, index) in places where index > place { places[other] = index - 1 }
    }

    /// `NAME=value` each.
    var entries: [String] { values.map { "\($0.name)=\($0.value)" } }
}
