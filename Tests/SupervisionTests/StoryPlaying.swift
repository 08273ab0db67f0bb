import Manifest
import Testing

@testable import Supervision

extension Story {
    /// A user applies these services.
    mutating func apply(_ number: UInt64 = 1, _ services: Service...) {
        tell(.applied(CommandID(number), Manifest(supd: app.manifest.supd, services: services)))
    }

    /// Everything that is asked for happens at once, until nothing is asked for any more: processes start and are ready,
    /// those that are told to end do, connections end. `broken` do not become ready and end by themselves.
    mutating func play(
        broken: (InstanceID) -> Bool = { _ in false }, afterEachRound look: (Application) -> Void = { _ in }
    ) {
        var collected = effects
        var queue = effects
        var round = 0
        while !queue.isEmpty, round < 200 {
            round += 1
            var next: [Application.Effect] = []
            for effect in queue {
                switch effect {
                case .spawn(let generation, _, _): spawned(generation.number)
                case .beginProbing(let generation, let id, _):
                    if broken(id) { exited(generation.number, .code(7)) } else { ready(generation.number) }
                case .signal(let generation, _): exited(generation.number, .signal(15, coreDumped: false))
                case .publish:
                    effects = []
                    for endpoint in app.routes.flatMap(\.endpoints) where endpoint.state == .draining {
                        tell(.drained(endpoint.generation))
                        next += effects
                        effects = []
                    }
                default: effects = []
                }
                next += effects
                effects = []
            }
            if next.isEmpty, let due = app.nextDeadline, due != .never, !app.deployments.isEmpty {
                now = max(now, due)
                tell(.deadlineReached)
                next = effects
            }
            look(app)
            collected += next
            queue = next
        }
        effects = collected
    }

    /// Plays until an instance is on its way out to be replaced.
    mutating func play(upToReplacing id: InstanceID) {
        for _ in 0..<50 {
            if app.instances.first(where: { $0.id == id })?.edition == .leaving { return }
            for case .spawn(let generation, _, _) in effects {
                spawned(generation.number)
                ready(generation.number)
            }
        }
    }

    /// The generations that run, by instance.
    var running: [InstanceID: UInt64] {
        var all: [InstanceID: UInt64] = [:]
        for view in app.views(at: now).flatMap(\.instances) where view.state == "running" {
            all[view.id] = view.generation?.number
        }
        return all
    }
}

/// A story in which everything is up.
func up(_ services: Service..., ports: PortRange = PortRange(first: 20000, last: 20099)) -> Story {
    var story = Story(services, ports: ports)
    story.play()
    return story
}

/// A service as one of its versions: each has processes of its own.
func version(_ number: Int, of service: Service) -> Service {
    var service = service
    service.environment = [EnvironmentVariable(name: "V", value: Template(literal: "\(number)"))]
    return service
}

/// A service with the next version.
func next(_ service: Service) -> Service { version(2, of: service) }
