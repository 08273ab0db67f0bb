import Manifest

/// Who waits for whom, by the services' places in the manifest. Cycles and unknown names are errors of the manifest;
/// should they come here all the same, their edges are left out, so that everything that follows is finite.
struct Dependencies: Sendable {
    /// One edge.
    struct Edge: Sendable, Hashable {
        /// The service that must be there first.
        var service: Int
        /// What it must have reached.
        var condition: Dependency.Condition
    }

    /// What each service waits for.
    let needs: [[Edge]]
    /// Which services wait for each.
    let dependants: [[Int]]
    /// All services, each after what it depends on; else in the order of the manifest.
    let order: [Int]

    /// Reads `dependsOn` of all services.
    init(of services: [Service]) {
        var places: [String: Int] = [:]
        for (place, service) in services.enumerated() where places[service.name] == nil { places[service.name] = place }
        let wanted = services.map { service in
            service.dependsOn.compactMap { dependency in
                places[dependency.service].map { place in
                    // Of a task that has gone back to the service that it was nothing completes.
                    let isImpossible = dependency.condition == .completed && services[place].kind != .task
                    return Edge(service: place, condition: isImpossible ? .ready : dependency.condition)
                }
            }
        }
        order = Dependencies.sorted(wanted)
        var rank = [Int](repeating: 0, count: services.count)
        for (position, place) in order.enumerated() { rank[place] = position }
        needs = wanted.enumerated().map { place, edges in edges.filter { rank[$0.service] < rank[place] } }
        var dependants = [[Int]](repeating: [], count: services.count)
        for (place, edges) in needs.enumerated() {
            for edge in edges where dependants[edge.service].last != place { dependants[edge.service].append(place) }
        }
        self.dependants = dependants
    }

    /// Which of the services that one depends on depend on it themselves, however indirectly, as the others are now: with these a
    /// circle would be closed. In the order of its `dependsOn`.
    static func leading(back service: Service, among services: [Service]) -> [String] {
        var dependants: [String: [String]] = [:]
        for other in services where other.name != service.name {
            for dependency in other.dependsOn { dependants[dependency.service, default: []].append(other.name) }
        }
        var seen: Set<String> = [service.name]
        var open = [service.name]
        while let name = open.popLast() {
            for dependant in dependants[name] ?? [] where seen.insert(dependant).inserted { open.append(dependant) }
        }
        return service.dependsOn.map(\.service).filter(seen.contains)
    }

    /// Kahn's algorithm; what is part of a cycle, or behind one, comes last.
    private static func sorted(_ wanted: [[Edge]]) -> [Int] {
        var missing = wanted.map(\.count)
        var dependants = [[Int]](repeating: [], count: wanted.count)
        for (place, edges) in wanted.enumerated() {
            for edge in edges { dependants[edge.service].append(place) }
        }
        var order = wanted.indices.filter { missing[$0] == 0 }
        var next = 0
        while next < order.count {
            for dependant in dependants[order[next]] {
                missing[dependant] -= 1
                if missing[dependant] == 0 { order.append(dependant) }
            }
            next += 1
        }
        return order + wanted.indices.filter { missing[$0] > 0 }
    }
}
