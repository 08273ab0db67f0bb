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
                places[dependency.service].map { Edge(service: $0, condition: dependency.condition) }
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
