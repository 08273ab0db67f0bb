import Manifest
import Supervision

extension Application {
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
