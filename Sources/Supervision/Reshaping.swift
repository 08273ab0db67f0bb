import Manifest

/// How the instances become those of another manifest: places are given anew, and all that follows from them is worked out
/// from nothing.
extension Application {
    /// The place of a service.
    func place(ofService name: String) -> Int? { manifest.services.firstIndex { $0.name == name } }

    /// Whether an instance is left that nobody needs.
    var hasIdleExtras: Bool {
        manifest.services.indices.contains { service in
            let name = manifest.services[service].name
            if leaving.contains(name) { return facts[service].present == 0 && isIdle(layout.instances[service]) }
            guard layout.instances[service].count > manifest.services[service].replicas, rollout(of: name) == nil,
                let last = layout.instances[service].last
            else { return false }
            return instances[last].state == .down
        }
    }

    private func isIdle(_ places: Range<Int>) -> Bool { places.allSatisfy { instances[$0].state == .down } }

    /// Adds and takes away instances, and services that have left, as the manifest, the rollouts and what still runs ask for.
    /// Only at the end of a turn, or at its beginning: places change.
    mutating func reshape(_ turn: inout Turn) {
        needsReshaping = false
        let old = Dictionary(zip(layout.names, instances), uniquingKeysWith: { first, _ in first })
        var highest: [String: Int] = [:]
        for instance in instances where instance.state != .down {
            highest[instance.id.service] = max(highest[instance.id.service] ?? 0, instance.id.number)
        }
        let absent = leaving.filter { highest[$0] == nil }
        if !absent.isEmpty {
            manifest.services.removeAll { absent.contains($0.name) }
            leaving.subtract(absent)
            revision &+= 1
            turn.effects.append(.manifestChanged)
            turn.routesChanged = true
        }
        var counts: [String: Int] = [:]
        for service in manifest.services {
            let wanted = leaving.contains(service.name) ? 0 : service.replicas + (rollout(of: service.name)?.surge ?? 0)
            counts[service.name] = max(wanted, highest[service.name] ?? 0)
        }
        let names = operations.map { operation in
            operation.statuses.keys.reduce(into: [Int: InstanceID]()) { $0[$1] = layout.names[$1] }
        }

        layout = Layout(of: manifest, counts: counts)
        dependencies = Dependencies(of: manifest.services)
        for instance in instances where instance.stoodIn == true && layout.places[instance.id] == nil {
            turn.standInsGone.insert(instance.id)
        }
        instances = layout.names.map { old[$0] ?? Instance(id: $0, goal: .up, state: .down, port: 0) }
        for (service, settings) in manifest.services.enumerated() {
            let places = layout.instances[service]
            let known = places.filter { old[instances[$0].id] != nil && !instances[$0].isSurplus }
            // A service that was stopped stays so, with all that it gets.
            let isStopped = !known.isEmpty && known.allSatisfy { instances[$0].goal == .down }
            let replicas = leaving.contains(settings.name) ? 0 : settings.replicas
            let rollout = rollout(of: settings.name)
            for place in places {
                let number = instances[place].id.number
                let isNew = old[instances[place].id] == nil
                if number > replicas {
                    // Those of a rollout are told by it.
                    if isNew || rollout == nil || number > replicas + (rollout?.surge ?? 0) {
                        instances[place].goal = .down
                    }
                    instances[place].isSurplus = true
                } else if isNew || instances[place].isSurplus {
                    instances[place].goal = isStopped ? .down : .up
                    instances[place].isSurplus = false
                    instances[place].stoodIn = nil
                }
            }
            settleSleep(service, known: known)
        }
        remap(names, &turn)
        assignPorts()
        rebuild()
        turn.forgetPlaces()
        // What a service holds connections for may be an instance that is no more.
        turn.routesChanged = true
        turn.touched.append(contentsOf: operations.filter { !$0.hasBegun }.flatMap(\.open))
        reconsiderAll(&turn)
    }

    /// Commands keep their instances; of those that are gone nothing is waited for.
    private mutating func remap(_ names: [[Int: InstanceID]], _ turn: inout Turn) {
        for (index, names) in names.enumerated() where operations.indices.contains(index) {
            // What is to go is no command's any more, but a stop's.
            let isStop = operations[index].verb == .stop
            func place(_ old: Int) -> Int? {
                names[old].flatMap { layout.places[$0] }.flatMap { place in
                    isExtra(place) && (!isStop || instances[place].state == .down) ? nil : place
                }
            }
            let open = operations[index].open.compactMap(place)
            // Those that were begun may be gone: the next ones are not waited for by anybody else.
            if open.count < operations[index].open.count { operations[index].hasBegun = false }
            operations[index].open = open
            let statuses = operations[index].statuses.compactMap { old, status in place(old).map { ($0, status) } }
            operations[index].statuses = Dictionary(statuses, uniquingKeysWith: { first, _ in first })
        }
        for operation in operations where operation.open.isEmpty {
            let isDone = operation.verb == .stop || operation.verb == .drain
            finish(operation, isDone ? .done : .failed("the manifest has it no longer"), &turn)
        }
        operations.removeAll(where: \.open.isEmpty)
    }
}
