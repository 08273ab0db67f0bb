import Manifest
import Testing

@testable import Supervision

/// A service with a program that does not matter.
func service(
    _ name: String, kind: Service.Kind = .service, replicas: Int = 1, port: UInt16? = nil, front: UInt16? = nil,
    balance: BalanceSettings = BalanceSettings(), ready: ReadyCheck = .started, readyTimeout: Duration = .seconds(60),
    watchdog: Duration? = nil, restart: RestartSettings? = nil, stop: StopSettings = StopSettings(),
    dependsOn: [Dependency] = [],
    limits: [ResourceLimit] = [], health: HealthSettings? = nil
) -> Service {
    Service(
        name: name, kind: kind, command: [Template(literal: "x")], replicas: replicas, port: port,
        listen: front.map { [ListenSettings(.loopback(port: $0))] } ?? [], balance: balance, ready: ready,
        readyTimeout: readyTimeout, watchdog: watchdog,
        restart: restart, stop: stop, dependsOn: dependsOn, limits: limits, health: health)
}

/// What a service says of itself.
func notice(_ text: String) -> ServiceNotice { ServiceNotice(datagram: Array(text.utf8)) }

/// `api/2`.
func instance(_ service: String, _ number: Int = 1) -> InstanceID { InstanceID(service: service, number: number) }

/// The core with a clock that only moves when told, for tests that tell one story.
struct Story {
    var app: Application
    var now = Instant(nanoseconds: 1_000_000_000_000)
    /// The effects of the last event.
    var effects: [Application.Effect] = []

    init(_ services: Service..., ports: PortRange = PortRange(first: 20000, last: 20099)) {
        self.init(services, ports: ports)
    }

    init(_ services: [Service], ports: PortRange = PortRange(first: 20000, last: 20099)) {
        app = Application(manifest: Manifest(supd: DaemonSettings(portRange: ports), services: services))
        tell(.started)
    }

    init(resuming app: Application, children: [Application.SurvivingChild], highest: UInt64 = 0) {
        self.app = app
        effects = self.app.resume(children: children, highestGeneration: Generation(highest), at: now)
    }

    /// Something happens now.
    mutating func tell(_ event: Application.Event) { effects = app.handle(event, at: now) }

    /// Time passes; all deadlines on the way are kept. The effects are those of the last of them.
    mutating func pass(_ duration: Duration) {
        let end = now + duration
        effects = []
        while let due = app.nextDeadline, due <= end {
            now = max(now, due)
            tell(.deadlineReached)
        }
        now = end
    }

    mutating func spawned(_ generation: UInt64) {
        tell(.spawned(Generation(generation), pid: Int32(1000 + generation)))
    }
    mutating func ready(_ generation: UInt64) { tell(.probed(Generation(generation), passed: true, detail: "")) }
    mutating func says(_ generation: UInt64, _ text: String) {
        tell(.notified(Generation(generation), notice(text)))
    }
    mutating func probed(_ generation: UInt64, _ reason: String?, output: String = "") {
        let outcome = Application.ProbeOutcome(passed: reason == nil, reason: reason ?? "fine", output: output)
        tell(.healthProbed(Generation(generation), outcome))
    }
    mutating func exited(_ generation: UInt64, _ status: Supervision.ExitStatus = .code(1), groupEmpty: Bool = true) {
        tell(.exited(Generation(generation), status, groupEmpty: groupEmpty))
    }
    mutating func command(_ number: UInt64, _ verb: Verb, _ targets: InstanceID...) {
        tell(.commanded(CommandID(number), verb, targets: targets))
    }

    /// What `status` shows of an instance.
    func view(_ id: InstanceID) throws -> Application.InstanceView {
        try #require(app.views(at: now).flatMap(\.instances).first { $0.id == id })
    }

    /// The effects that are not for people.
    var acts: [Application.Effect] {
        effects.filter { effect in
            switch effect {
            case .report, .progress: false
            default: true
            }
        }
    }

    /// The lines for people.
    var reports: [String] {
        effects.compactMap { if case .report(let report) = $0 { "\(report.instance): \(report.text)" } else { nil } }
    }

    /// What commands say they wait for.
    var progress: [String] { effects.compactMap { if case .progress(_, let text) = $0 { text } else { nil } } }

    /// Generations that are to be started.
    var spawns: [UInt64] {
        effects.compactMap { if case .spawn(let generation, _, _) = $0 { generation.number } else { nil } }
    }

    /// How a command ended, if it did so now.
    func outcome(_ number: UInt64) -> Application.CommandOutcome? {
        effects.lazy.compactMap { effect in
            if case .finished(CommandID(number), let outcome) = effect { outcome } else { nil }
        }.first
    }
}
