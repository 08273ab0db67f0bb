/// Where in a manifest a key belongs that stands where it is not known: one that is right, but in the wrong section, is no
/// spelling mistake.
struct KeyPlaces: Sendable {
    /// Where a map stands: the service's name is left out, and `defaults` are like a service.
    private struct Place: Sendable, Hashable {
        var isInService: Bool
        var keys: [String]
    }

    /// A map that knows the key.
    private struct Home: Sendable {
        var place: Place
        /// Whether `defaults` may hold it.
        var inDefaults: Bool
    }

    /// The places of the whole field table.
    static let all = KeyPlaces(FieldTable.descriptions)

    private let homes: [String: [Home]]

    init(_ fields: [FieldDescription]) {
        var homes: [String: [Home]] = [:]
        for field in fields {
            guard let name = field.path.last else { continue }
            let isInService = field.path.count > 2 && field.path.starts(with: ["services", "*"])
            let keys = isInService ? field.path.dropFirst(2) : field.path[...]
            homes[name, default: []].append(
                Home(place: Place(isInService: isInService, keys: keys.dropLast()), inDefaults: field.inDefaults))
        }
        self.homes = homes
    }

    /// Where the key that a path ends with belongs: `in "balance" or "listen"`; nil: no other place of the same service, or
    /// of what is no service, knows it. Outside services it is most of all a service's own that has slipped out.
    func besides(_ path: Path) -> String? {
        text(path) { $0.place.isInService == $1 || !$1 && $0.place.keys.isEmpty }
    }

    /// The same across that border: a service's key that stands at the top, or a key of the daemon in a service.
    func beyond(_ path: Path) -> String? {
        text(path) { $0.place.isInService != $1 }
    }

    private func text(_ path: Path, where isMeant: (Home, Bool) -> Bool) -> String? {
        var keys = path.steps.compactMap { step in if case .key(let key) = step { key } else { nil } }
        guard let name = keys.popLast() else { return nil }
        let isInDefaults = keys.first == "defaults"
        let isInService = isInDefaults || keys.first == "services" && keys.count > 1
        let found = (homes[name] ?? []).filter { isMeant($0, isInService) }
        let maps = found.filter { !$0.place.keys.isEmpty }
        let sections = maps.map { quoted($0.place.keys.joined(separator: ".")) }
        var places: [String] = []
        if let direct = found.first(where: \.place.keys.isEmpty) {
            switch (direct.place.isInService, isInService, isInDefaults) {
            case (false, _, _): places.append("at the top of the manifest")
            case (true, false, _): places.append("in a service")
            case (true, true, false): places.append("directly in the service")
            case (true, true, true): places.append(direct.inDefaults ? "directly in \"defaults\"" : "in each service")
            }
        }
        if !sections.isEmpty {
            let ofService = maps.contains { $0.place.isInService } && !isInService ? " of a service" : ""
            places.append("in \(alternatives(sections))\(ofService)")
        }
        return places.isEmpty ? nil : alternatives(places)
    }
}
