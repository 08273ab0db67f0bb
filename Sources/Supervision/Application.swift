package import Events
package import Manifest

/// The whole application as a value: every instance's machine, dependencies, ports, commands in progress. It is given
/// what happened and answers what to do; it never acts itself. Its encoded form is the snapshot that the keeper holds.
///
/// A call of `handle` is a turn: the event goes to the instance it is about, and what that changes for others (a
/// dependency is ready, a dependant is gone, a command may go on) is settled before the turn is over. Instances and
/// services are named by their places in arrays that never change their order.
package struct Application: Sendable {
    /// What is in force: the accepted manifest, the services that have left it and are not down yet, and those that went
    /// back to what they were.
    package internal(set) var manifest: Manifest
    /// How often it has changed.
    package internal(set) var revision: UInt64 = 0
    /// The services that are in it only until they are down.
    package internal(set) var leaving: Set<String> = []

    // What the snapshot keeps.

    /// All instances, service by service in the order of the manifest; of a service those beyond `replicas` are there for a
    /// rollout, or until they are down.
    var instances: [Instance]
    /// The number of the next start.
    var nextGeneration: Generation
    /// Processes that no instance owns and that are being ended.
    var leftovers: [Leftover] = []
    /// Commands in progress; no two that change goals have an instance in common.
    var operations: [Operation] = []
    /// Changes of the manifest, or of processes, that are under way; see Deployments.swift.
    var deployments: [Deployment] = []
    /// Everything is to go down, for good.
    package internal(set) var isShuttingDown = false

    // What follows from it, kept so that an event costs no more than what it changes.

    /// Where each service's instances are.
    var layout: Layout
    /// Who waits for whom.
    var dependencies: Dependencies
    /// Which ports are spoken for.
    var ports: Ports
    /// The place of the instance that owns a generation.
    var owners: [Generation: Int] = [:]
    /// What each service is to others.
    var facts: [ServiceFacts] = []
    /// How many of each service's direct dependants are going down and not there yet, or wait for such ones themselves.
    var blockers: [Int] = []
    /// `allDown` was said.
    var hasAnnouncedDown = false
    /// Instances are to be added or taken away at the end of the turn.
    var needsReshaping = false

    // What the events say, which are kept elsewhere.

    /// What was told so far.
    package internal(set) var told = EventLedger()
}

/// Which instances belong to which service, as places in arrays.
struct Layout: Sendable {
    /// The instances of each service.
    let instances: [Range<Int>]
    /// The service of each instance.
    let services: [Int]
    /// The place of each instance by its name.
    let places: [InstanceID: Int]
    /// All names in order.
    let names: [InstanceID]

    /// The most instances of one service: as many as the manifest allows, and for a rollout as many beside them.
    static let mostReplicas = 2000

    /// A layout with as many instances as the manifest says, or as `counts` says for a service.
    init(of manifest: Manifest, counts: [String: Int] = [:]) {
        var ranges: [Range<Int>] = []
        var services: [Int] = []
        var names: [InstanceID] = []
        for (place, service) in manifest.services.enumerated() {
            let first = names.count
            for number in 0..<min(max(counts[service.name] ?? service.replicas, 0), Layout.mostReplicas) {
                names.append(InstanceID(service: service.name, number: number + 1))
                services.append(place)
            }
            ranges.append(first..<names.count)
        }
        instances = ranges
        self.services = services
        self.names = names
        places = Dictionary(zip(names, names.indices), uniquingKeysWith: { first, _ in first })
    }
}

extension Application {
    /// The application before anything has started. Ports are given out here: fixed ones, the others from the range.
    /// `leaving` are services that are in it only until they are down.
    package init(
        manifest: Manifest, revision: UInt64 = 0, leaving: Set<String> = [],
        firstGeneration: Generation = Generation(1)
    ) {
        let layout = Layout(of: manifest)
        let instances = layout.names.map { id in
            let isSurplus = leaving.contains(id.service)
            return Instance(id: id, goal: isSurplus ? .down : .up, state: .down, isSurplus: isSurplus, port: 0)
        }
        self.init(manifest: manifest, layout: layout, instances: instances, nextGeneration: firstGeneration)
        self.revision = revision
        self.leaving = leaving
        assignPorts()
        rebuild()
    }

    /// The parts of a snapshot; what follows from them is not there yet.
    init(manifest: Manifest, layout: Layout, instances: [Instance], nextGeneration: Generation) {
        self.manifest = manifest
        self.layout = layout
        self.instances = instances
        self.nextGeneration = nextGeneration
        dependencies = Dependencies(of: manifest.services)
        ports = Ports(of: manifest)
    }

    /// Takes what happened; answers what to do, in order. `jitter`, between -1 and 1, is drawn anew for every call.
    package mutating func handle(_ event: Event, at now: Instant, jitter: Double = 0) -> [Effect] {
        var turn = Turn(now: now, jitter: jitter, nextGeneration: nextGeneration)
        switch event {
        case .started:
            turn.routesChanged = true
            reconsiderAll(&turn)
        case .deadlineReached: deadlineReached(&turn)
        case .spawned(let generation, let pid): pass(.spawned(pid: pid), of: generation, &turn)
        case .spawnFailed(let generation, let failure): pass(.spawnFailed(failure), of: generation, &turn)
        case .portTaken(let generation, let holder): portTaken(generation, holder: holder, &turn)
        case .exited(let generation, let status, let groupEmpty, let heir):
            exited(generation, status, groupEmpty: groupEmpty, heir: heir, &turn)
        case .groupChecked(let generation, let empty): pass(.groupChecked(empty: empty), of: generation, &turn)
        case .probed(let generation, let passed, let detail, let nobodyListens):
            pass(.probed(passed: passed, detail: detail, nobodyListens: nobodyListens), of: generation, &turn)
        case .notified(let generation, let notice): pass(.notified(notice), of: generation, &turn)
        case .healthProbed(let generation, let outcome): pass(.healthProbed(outcome), of: generation, &turn)
        case .drained(let generation): pass(.drained, of: generation, &turn)
        case .wentIdle(let service): wentIdle(service, &turn)
        case .connectionWaited(let service): connectionWaited(service, &turn)
        case .commanded(let id, let verb, let targets, let who): begin(id, verb, targets, by: who, &turn)
        case .applied(let id, let manifest): beginApplying(manifest, id, &turn)
        case .scaled(let id, let counts): beginScaling(counts, id, &turn)
        case .scaledItself(let service, let step): beginScalingItself(service, step, &turn)
        case .scalingSettled(let service): scalingSettled(service, &turn)
        case .decided(let id, let service, let decision, let who): decide(decision, on: service, by: who, id, &turn)
        case .connectsCounted(let counts): connectsCounted(counts, &turn)
        case .commandForgotten(let id): forget(id)
        case .shutdownRequested: shutDown(&turn)
        }
        return finish(&turn)
    }

    /// When `deadlineReached` is due; nil: never.
    package var nextDeadline: Instant? {
        var earliest: Instant?
        for place in instances.indices {
            if let deadline = instances[place].deadline, deadline < earliest ?? .never { earliest = deadline }
        }
        for leftover in leftovers where leftover.check.at < earliest ?? .never { earliest = leftover.check.at }
        if let proof = nextProof, proof < earliest ?? .never { earliest = proof }
        if let proof = nextRolloutProof, proof < earliest ?? .never { earliest = proof }
        if let end = nextCanaryEnd, end < earliest ?? .never { earliest = end }
        return earliest
    }

    /// The service and port of a generation that is still known.
    package func instance(of generation: Generation) -> (id: InstanceID, port: UInt16)? {
        if let place = owners[generation], let process = instances[place].process {
            return (instances[place].id, process.port)
        }
        return leftovers.first { $0.generation == generation }.map { ($0.instance, $0.port) }
    }
}

extension Application {
    /// Gives an event to the instance that owns the generation; nobody's is stale, and dropped.
    private mutating func pass(_ event: Instance.Event, of generation: Generation, _ turn: inout Turn) {
        if let place = owners[generation] {
            apply(event, to: place, &turn)
        } else if !leftovers.isEmpty {
            passToLeftover(event, of: generation, &turn)
        }
    }

    /// An exit, and the heir of the process that has ended: it is the instance's next process if there is to be one now,
    /// else it is ended like everything that nobody owns.
    private mutating func exited(
        _ generation: Generation, _ status: ExitStatus, groupEmpty: Bool, heir: Generation?, _ turn: inout Turn
    ) {
        let (instance, port) = instance(of: generation) ?? (InstanceID(service: "", number: 0), 0)
        turn.heir = heir.map { Heir(generation: $0, instance: instance, port: port) }
        noteExit(generation, status, of: instance, &turn)
        pass(.exited(status, groupEmpty: groupEmpty), of: generation, &turn)
        turn.heir = nil
        guard let heir, owners[heir] == nil else { return }
        let leftover = Leftover(
            generation: heir, instance: instance, port: port, check: Instance.Check(at: .never))
        leftovers.append(end(leftover, &turn))
    }

    private mutating func deadlineReached(_ turn: inout Turn) {
        for place in instances.indices where instances[place].deadline.map({ $0 <= turn.now }) ?? false {
            apply(.deadlineReached, to: place, &turn)
            settle(&turn)
        }
        leftoverDeadlinesReached(&turn)
        proofsDue(&turn)
        rolloutProofsDue(&turn)
        canariesDue(&turn)
    }

    private mutating func portTaken(_ generation: Generation, holder: String, _ turn: inout Turn) {
        guard let place = owners[generation] else {
            return pass(.portTaken(holder: holder, next: nil), of: generation, &turn)
        }
        let mayTryOn = fixedPort(of: place) == nil && instances[place].portTries + 1 < ports.count
        let next = mayTryOn ? ports.free(after: instances[place].port) : nil
        apply(.portTaken(holder: Wording.bounded(holder), next: next), to: place, &turn)
    }

    /// The goal of every instance becomes down, in one stroke, so that the order of stopping is known before anything
    /// stops.
    private mutating func shutDown(_ turn: inout Turn) {
        isShuttingDown = true
        for operation in operations { finish(operation, .failed("supd is shutting down"), &turn) }
        operations = []
        endDeployments("supd is shutting down", &turn)
        setGoal(.down, of: Array(instances.indices), &turn)
    }
}
