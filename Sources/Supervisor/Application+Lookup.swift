import Manifest
import Supervision

/// What the shell looks up in the application.
extension Application {
    /// A service of the accepted manifest.
    func service(named name: String) -> Service? { manifest.services.first { $0.name == name } }

    /// All instances, in the order of the manifest.
    var instanceIDs: [InstanceID] {
        manifest.services.flatMap { service in
            service.replicas < 1 ? [] : (1...service.replicas).map { InstanceID(service: service.name, number: $0) }
        }
    }

    /// How long stopping everything may take at most, in microseconds: as long as the slowest chain of services, each
    /// after those that depend on it.
    var longestStop: UInt64 {
        var longest: [String: Duration] = [:]
        let dependants = Dictionary(
            manifest.services.flatMap { service in service.dependsOn.map { ($0.service, [service.name]) } },
            uniquingKeysWith: +)
        let services = Dictionary(manifest.services.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        func stop(_ name: String) -> Duration {
            if let known = longest[name] { return known }
            guard let service = services[name] else { return .zero }
            // A circle, which no valid manifest has, ends here.
            longest[name] = .zero
            let own = service.stop.timeout + .seconds(10)
            let total = own + ((dependants[name] ?? []).map(stop).max() ?? .zero)
            longest[name] = total
            return total
        }
        let seconds = manifest.services.map { stop($0.name) }.max()?.components.seconds ?? 0
        return UInt64(clamping: min(seconds, 7 * 86400)) * 1_000_000
    }
}

extension Application {
    func pid(of generation: Generation) -> Int32? {
        views(at: Instant(nanoseconds: 0)).flatMap(\.instances).first { $0.generation == generation }?.pid
    }
}
