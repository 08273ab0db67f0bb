import Manifest
import Testing

@testable import Supervision

/// A rollout that goes back halfway: as few are missing as on the way forward.
struct GoingBackTests {
    @Test(arguments: [(surge: 1, replaced: 2), (surge: 2, replaced: 1), (surge: 3, replaced: 1)])
    func `those that stand in go only when those on their way are back`(surge: Int, replaced: Int) {
        let api = service("api", replicas: 3, front: 80, ready: .tcp, deploy: DeploySettings(surge: surge))
        var story = up(api)
        #expect(story.running.count == 3)
        story.apply(1, next(api))
        // Those beside the others come up, one after the other.
        for _ in 0..<surge {
            for generation in story.spawns {
                story.spawned(generation)
                story.ready(generation)
            }
        }
        // Some are replaced; others are on their way out then.
        for number in 1...replaced {
            guard let old = story.running[instance("api", number)] ?? story.draining(instance("api", number)) else {
                Issue.record("api/\(number) is not there")
                return
            }
            story.tell(.drained(Generation(old)))
            story.exited(old, .signal(15, coreDumped: false))
            for generation in story.spawns {
                story.spawned(generation)
                story.ready(generation)
            }
        }
        #expect(story.serving >= 3)
        story.tell(.decided(CommandID(2), service: "api", .rollBack))
        var fewest = story.serving
        story.play(afterEachRound: { app in
            fewest = min(fewest, app.routes.first?.endpoints.count { $0.state == .active } ?? 0)
        })
        #expect(fewest == 3)
        #expect(story.app.manifest.services == [api])
        #expect(story.app.deployments.isEmpty && story.running.count == 3 && story.serving == 3)
    }
}

extension Story {
    /// How many take new connections.
    fileprivate var serving: Int { app.routes.first?.endpoints.count { $0.state == .active } ?? 0 }

    /// The process of an instance that drains.
    fileprivate func draining(_ id: InstanceID) -> UInt64? {
        app.routes.flatMap(\.endpoints).first { $0.instance == id && $0.state == .draining }?.generation.number
    }
}
