import Manifest
import Supervision

/// What is told of the start: each service once it is up, with its addresses, and when all are. Values in, lines out.
struct StartupProgress {
    private var began: Instant?
    private var told: Set<String> = []

    /// The start begins.
    mutating func begin(at now: Instant) { began = now }

    /// The lines that are new; none once everything was up. `addresses` are those to open, by service.
    mutating func lines(_ views: [Application.ServiceView], addresses: [String: [String]], at now: Instant) -> [String]
    {
        guard let began else { return [] }
        var lines: [String] = []
        for view in views where !told.contains(view.name) && Self.isUp(view) {
            told.insert(view.name)
            let open = view.instances.isEmpty ? [] : addresses[view.name] ?? []
            lines.append("\(view.name): \(Self.words(view))\(Self.places(open))")
        }
        if told.count == views.count {
            let seconds = Double(now.nanoseconds &- began.nanoseconds) / 1e9
            let tenths = (seconds * 10).rounded() / 10
            lines.append("everything is up after \(tenths) s")
            self.began = nil
            told = []
        }
        return lines
    }

    /// What systemd shows as the unit's status.
    func statusLine(_ views: [Application.ServiceView], isShuttingDown: Bool) -> String {
        let up = views.count { Self.isUp($0) }
        if isShuttingDown {
            let left = views.flatMap(\.instances).count { $0.pid != nil }
            return "stopping: \(Amount.text(left, "process", "processes")) left"
        }
        if views.isEmpty { return "no services" }
        let lacking = views.filter { !Self.isUp($0) && $0.goal == .up }.map { "\($0.name) \($0.state)" }
        let shown = lacking.prefix(5).joined(separator: ", ") + (lacking.count > 5 ? ", …" : "")
        return "\(up) of \(Amount.text(views.count, "service")) up" + (lacking.isEmpty ? "" : "; \(shown)")
    }

    private static func isUp(_ view: Application.ServiceView) -> Bool {
        // One with `replicas: 0` is all there that it is to be.
        ["completed", "idle"].contains(view.state) || view.instances.isEmpty
            || view.goal == .up && view.ready == view.instances.count
    }

    private static func words(_ view: Application.ServiceView) -> String {
        if view.instances.isEmpty { return "no instances (replicas: 0)" }
        if view.state == "completed" { return "completed" }
        return view.instances.count == 1 ? "ready" : "\(view.ready) instances ready"
    }

    private static func places(_ addresses: [String]) -> String {
        guard !addresses.isEmpty else { return "" }
        return " at " + addresses.joined(separator: ", ")
    }
}

extension Service {
    /// How people write an address of this service: as a URL if it is known to speak HTTP. Only what probes it says.
    func opened(_ address: String) -> String {
        address.hasPrefix("unix:") || !speaksHTTP ? address : "http://\(address)"
    }

    private var speaksHTTP: Bool {
        if case .http = ready { return true }
        if case .http = health?.check { return true }
        return false
    }
}

/// Numbers of things in words.
enum Amount {
    /// `1 service`, `3 services`.
    static func text(_ count: Int, _ one: String, _ many: String? = nil) -> String {
        "\(count) \(count == 1 ? one : many ?? one + "s")"
    }
}
