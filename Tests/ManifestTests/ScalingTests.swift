import Testing

@testable import Manifest

@Suite("What users have scaled")
struct ScalingTests {
    private func service(_ name: String, _ replicas: Int, port: UInt16? = nil, front: UInt16? = nil) -> Service {
        Service(
            name: name, command: [Template(literal: "x")], replicas: replicas, port: port,
            listen: front.map { [ListenSettings(.loopback(port: $0))] } ?? [])
    }

    private func override(_ name: String, _ replicas: Int, from manifest: Int) -> ScaleOverride {
        ScaleOverride(service: name, replicas: replicas, manifest: manifest)
    }

    @Test("A scaled service remembers the manifest's own number, and forgets it with that number")
    func remembering() {
        let written = service("a", 2)
        let scaled = written.scaled(to: 5)
        #expect(scaled.replicas == 5 && scaled.scaledFrom == 2)
        #expect(scaled.scaled(to: 7).scaledFrom == 2)
        #expect(scaled.scaled(to: 2) == written)
        #expect(scaled.asWritten == written)
        #expect(Manifest(services: [scaled]).asWritten == Manifest(services: [written]))
        #expect(Manifest(services: [scaled, service("b", 1)]).scaleOverrides == [override("a", 5, from: 2)])
    }

    @Test("A service that scales itself goes on with what it had, within its bounds; a count takes its place silently")
    func byItself() {
        func itself(_ name: String, _ least: Int, _ most: Int) -> Service {
            var service = service(name, least)
            service.scaling = ScalingRule(min: least, max: most, target: .cpu(percent: 70))
            return service
        }
        let manifest = Manifest(services: [
            itself("a", 1, 4), itself("b", 2, 4), itself("c", 1, 4), itself("d", 1, 4), service("e", 1),
        ])
        let overrides = [
            ScaleOverride(service: "a", replicas: 3, manifest: 1, isAutomatic: true),
            ScaleOverride(service: "b", replicas: 9, manifest: 1, isAutomatic: true), override("c", 2, from: 7),
            ScaleOverride(service: "e", replicas: 3, manifest: 1, isAutomatic: true),
        ]
        let (kept, dropped) = manifest.keeping(overrides)
        #expect(kept.services.map(\.replicas) == [3, 4, 2, 1, 1])
        #expect(dropped.isEmpty)
        #expect(kept.scaleOverrides.map(\.isAutomatic) == [true, true, true])
        #expect(kept.asWritten == manifest)
        #expect(
            manifest.keeping(overrides, present: ["a": 2, "d": 9]).manifest.services.map(\.replicas) == [2, 4, 2, 4, 1])
    }

    @Test("An override holds as long as the manifest says what it said then; else a sentence says why not")
    func keeping() {
        let manifest = Manifest(services: [service("a", 2), service("b", 3), service("c", 1, port: 65535)])
        let (kept, dropped) = manifest.keeping([
            override("a", 5, from: 2), override("b", 5, from: 2), override("c", 2, from: 1), override("d", 2, from: 1),
        ])
        #expect(kept.services == [service("a", 2).scaled(to: 5)] + manifest.services.dropFirst())
        #expect(
            dropped == [
                "b was scaled to 5 when the manifest said 2; it says 3 now, and that holds",
                "c cannot stay scaled to 2: its fixed ports begin with 65535, and the last one would be 65536; "
                    + "the manifest's 1 holds",
                "d is not in the manifest: that it was scaled to 2 is forgotten",
            ])
        // A manifest that was scaled itself is taken as it was written.
        #expect(kept.keeping([]).manifest == manifest)
        #expect(kept.keeping(kept.scaleOverrides).manifest == kept)
    }

    @Test("What a manifest with that number could not say is refused")
    func hindrances() {
        var task = service("job", 1)
        task.kind = .task
        let manifest = Manifest(
            supd: DaemonSettings(portRange: PortRange(first: 20000, last: 20009)),
            services: [
                service("a", 2, front: 80), service("b", 1, port: 3000), service("c", 1, port: 3002),
                service("d", 1, port: 4000), service("e", 0, port: 20000), service("f", 0, front: 4003), task,
            ])
        let cases: [(String, Int, String?)] = [
            ("a", 0, nil), ("a", 2, nil), ("b", 2, nil), ("b", 0, nil), ("d", 3, nil), ("e", 1, nil),
            ("a", -1, "a service has 0 to 1000 instances, not -1"),
            ("a", 1001, "a service has 0 to 1000 instances, not 1001"),
            ("job", 2, "a task runs to its end, as often as the manifest says"),
            ("b", 3, "its fixed port 3002 is that of an instance of c"),
            ("d", 4, "its fixed port 4003 is that of a front of f"),
            ("nobody", 4, "there is no such service"),
            ("a", 9, nil),
            (
                "a", 10,
                "supd.portRange (\"20000-20009\") has 10 ports for instances, and 11 would be needed"
            ),
        ]
        for (name, count, text) in cases {
            #expect(manifest.hindrance(toScaling: name, to: count) == text, "\(name)=\(count)")
        }
        // The largest whole set beside the others must find ports, whoever is scaled.
        var blue = service("a", 3, front: 80)
        blue.deploy.strategy = .blueGreen
        let beside = Manifest(
            supd: DaemonSettings(portRange: PortRange(first: 20000, last: 20009)), services: [blue, service("b", 2)])
        let lack = "supd.portRange (\"20000-20009\") has 10 ports for instances, and "
        let set = "of them for a whole new set of a beside the old one (deploy.strategy \"blue-green\")"
        #expect(beside.hindrance(toScaling: "a", to: 4) == nil && beside.hindrance(toScaling: "b", to: 4) == nil)
        #expect(beside.hindrance(toScaling: "a", to: 5) == "\(lack)12 would be needed, 5 \(set)")
        #expect(beside.hindrance(toScaling: "b", to: 5) == "\(lack)11 would be needed, 3 \(set)")
        #expect(beside.hindrance(toScaling: "a", to: 9) == "\(lack)11 would be needed")
        let many = Manifest(services: (0..<4).map { service("s\($0)", 999) })
        #expect(
            many.hindrance(toScaling: "s0", to: 1000) == nil)
        let full = Manifest(services: (0..<5).map { service("s\($0)", 800) })
        #expect(
            full.hindrance(toScaling: "s0", to: 801) == "that were 4001 instances in all, of 4000 at most")
    }
}
