import Manifest
import Testing

@testable import Supervision

@Suite struct DependenciesTests {
    private func order(_ services: [Service]) -> [String] {
        Dependencies(of: services).order.map { services[$0].name }
    }

    @Test func `each comes after what it needs, else in the order of the manifest`() {
        let services = [
            service("web", dependsOn: [Dependency(service: "api")]),
            service("api", dependsOn: [Dependency(service: "db"), Dependency(service: "cache")]), service("db"),
            service("cache"), service("other"),
        ]
        #expect(order(services) == ["db", "cache", "other", "api", "web"])
        let dependencies = Dependencies(of: services)
        #expect(dependencies.dependants == [[], [0], [1], [1], []])
    }

    @Test func `edges of cycles and unknown names are left out`() {
        let services = [
            service("a", dependsOn: [Dependency(service: "b")]), service("b", dependsOn: [Dependency(service: "a")]),
            service("c", dependsOn: [Dependency(service: "c"), Dependency(service: "nowhere")]),
            service("d", dependsOn: [Dependency(service: "a")]),
        ]
        let dependencies = Dependencies(of: services)
        #expect(Set(dependencies.order) == [0, 1, 2, 3])
        #expect(dependencies.needs.map(\.count) == [0, 1, 0, 1])
    }

    @Test func `what would close a circle is found, near and far`() {
        func leading(_ dependencies: [String], _ others: Service...) -> [String] {
            let one = service("one", dependsOn: dependencies.map { Dependency(service: $0) })
            let now = service("one", dependsOn: [Dependency(service: "z")])
            return Dependencies.leading(back: one, among: others + [now])
        }
        #expect(leading(["a"], service("a")) == [])
        #expect(leading(["one"]) == ["one"])
        #expect(leading(["a", "z"], service("a", dependsOn: [Dependency(service: "one")]), service("z")) == ["a"])
        let chain = (0..<2000).map { number in
            service(
                "s\(number)", dependsOn: [Dependency(service: number == 1999 ? "one" : "s\(number + 1)")])
        }
        #expect(
            Dependencies.leading(
                back: service("one", dependsOn: [Dependency(service: "z"), Dependency(service: "s0")]), among: chain)
                == ["s0"])
        // A circle of others is none of its own.
        let circle = [
            service("a", dependsOn: [Dependency(service: "b")]), service("b", dependsOn: [Dependency(service: "a")]),
        ]
        #expect(
            Dependencies.leading(back: service("one", dependsOn: [Dependency(service: "a")]), among: circle) == [])
    }

    @Test func `a cycle does not keep anything from starting`() {
        let story = Story(
            service("a", dependsOn: [Dependency(service: "b", condition: .started)]),
            service("b", dependsOn: [Dependency(service: "a", condition: .started)]))
        #expect(story.spawns.count == 1)
    }

    @Test func `a chain of two thousand comes up and goes down link by link`() throws {
        let count = 2000
        let services = (0..<count).map { index in
            service("s\(index)", dependsOn: index == 0 ? [] : [Dependency(service: "s\(index - 1)")])
        }
        var app = Application(manifest: Manifest(services: services))
        let now = Instant(nanoseconds: 0)
        var effects = app.handle(.started, at: now)
        for generation in 1...UInt64(count) {
            #expect(
                effects.contains(
                    .spawn(Generation(generation), instance("s\(generation - 1)"), port: 19999 + UInt16(generation))))
            effects = app.handle(.spawned(Generation(generation), pid: 1), at: now)
        }
        effects = app.handle(.shutdownRequested, at: now)
        for generation in (1...UInt64(count)).reversed() {
            #expect(effects.contains(.signal(Generation(generation), "TERM")))
            effects = app.handle(.exited(Generation(generation), .code(0), groupEmpty: true), at: now)
        }
        #expect(effects.contains(.allDown))
    }
}
