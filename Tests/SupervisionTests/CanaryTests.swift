import Foundation
import Manifest
import Testing

@testable import Supervision

/// New instances on trial beside the old ones.
@Suite struct CanaryTests {
    // MARK: The comparison

    struct Case: CustomTestStringConvertible, Sendable {
        var new: Canary.Record
        var old: Canary.Record
        var instances = (new: 1, old: 3)
        var fault: String?
        var testDescription: String { "\(new) against \(old): \(fault ?? "fine")" }
    }

    private static func record(
        exits: Int = 0, probes: Int = 0, connects: UInt64 = 0, errors: UInt64 = 0
    ) -> Canary.Record {
        Canary.Record(exits: exits, failedProbes: probes, connects: connects, connectErrors: errors)
    }

    static let cases: [Case] = [
        Case(new: record(), old: record(), fault: nil),
        Case(new: record(connects: 1000), old: record(connects: 3000), fault: nil),
        Case(new: record(), old: record(exits: 3, probes: 3, errors: 3), fault: nil),
        Case(new: record(exits: 1), old: record(), fault: "ended once on trial"),
        Case(new: record(exits: 1), old: record(exits: 3), fault: nil),
        Case(new: record(exits: 1), old: record(exits: 2), fault: "ended once on trial (those before: twice)"),
        Case(new: record(exits: 2), old: record(exits: 1), instances: (2, 1), fault: nil),
        Case(
            new: record(exits: 3), old: record(exits: 1), instances: (2, 1),
            fault: "ended three times on trial (those before: once)"),
        Case(new: record(probes: 1), old: record(), fault: "failed its health probe once on trial"),
        Case(new: record(probes: 4), old: record(probes: 12), fault: nil),
        Case(
            new: record(probes: 4), old: record(probes: 11),
            fault: "failed its health probe four times on trial (those before: 11 times)"),
        Case(
            new: record(connects: 9, errors: 1), old: record(connects: 30),
            fault: "refused 1 of 10 connections on trial"),
        Case(new: record(errors: 1), old: record(), fault: "refused 1 of 1 connections on trial"),
        Case(new: record(connects: 99, errors: 1), old: record(connects: 297, errors: 3), fault: nil),
        Case(
            new: record(connects: 99, errors: 1), old: record(connects: 298, errors: 2),
            fault: "refused 1 of 100 connections on trial (those before: 2 of 300)"),
        Case(
            new: record(connects: .max, errors: 1), old: record(), instances: (0, 0),
            fault: "refused 1 of 0 connections on trial"),
        Case(new: record(exits: .max), old: record(exits: .max), instances: (1, 1), fault: nil),
    ]

    @Test(arguments: cases)
    func `the new ones are worse if they fail more often, by instance or by connect`(_ example: Case) {
        #expect(
            Canary.fault(
                new: example.new, of: example.instances.new, old: example.old, of: example.instances.old)
                == example.fault)
    }

    @Test func `the balancer's counters count from the beginning of the trial, and over a new balancer`() {
        var canary = Canary(CanarySettings(hold: .seconds(1)), of: service("api"))
        func count(_ number: Int, _ connects: UInt64, _ errors: UInt64) -> Application.ConnectCount {
            Application.ConnectCount(instance: instance("api", number), connects: connects, errors: errors)
        }
        canary.count(count(1, 500, 7), isNew: false)
        canary.count(count(2, 100, 5), isNew: true)
        canary.until = Instant(nanoseconds: 5)
        canary.count(count(1, 510, 8), isNew: false)
        canary.count(count(2, 103, 5), isNew: true)
        #expect(canary.old == Self.record(connects: 10, errors: 1))
        #expect(canary.new == Self.record(connects: 3))
        canary.count(count(1, 4, 1), isNew: false)
        #expect(canary.old == Self.record(connects: 14, errors: 2))
        canary.count(count(3, 900, 90), isNew: false)
        #expect(canary.old == Self.record(connects: 14, errors: 2), "its past is nobody's business")
    }

    // MARK: The trial

    private let api = service(
        "api", replicas: 3, front: 80, ready: .tcp, health: HealthSettings(check: .tcp),
        deploy: DeploySettings(canary: CanarySettings(hold: .seconds(120))))

    /// All run, and another version of the service is applied: the first new instance is on trial, generation 4.
    private func onTrial(_ service: Service? = nil) -> Story {
        var story = Story()
        story.app = Application(
            manifest: Manifest(
                supd: DaemonSettings(portRange: PortRange(first: 20000, last: 20099)), services: [service ?? api]))
        story.tell(.started)
        story.play()
        story.apply(1, next(service ?? api))
        #expect(story.spawns == [4])
        story.spawned(4)
        story.ready(4)
        return story
    }

    private var before: [InstanceID: UInt64] { [instance("api"): 1, instance("api", 2): 2, instance("api", 3): 3] }

    private func back(_ story: Story, _ text: String) {
        guard case .rolledBack(text, let culprits)? = story.outcome(1), culprits.map(\.instance) == [instance("api", 4)]
        else {
            Issue.record("\(String(describing: story.outcome(1)))")
            return
        }
        #expect(story.running == before)
        #expect(story.app.manifest.services == [api])
        #expect(story.app.deployments.isEmpty)
    }

    @Test func `silence promotes it: the others follow after the hold time, and not before`() throws {
        var story = onTrial()
        #expect(story.progress == ["api: api/4 is on trial for 2 min"])
        #expect(story.app.routes.first?.endpoints.count { $0.state == .active } == 4)
        #expect(story.app.servicesOnTrial == ["api"])
        #expect(story.app.nextDeadline == story.now + .seconds(120))
        story.pass(.seconds(60))
        #expect(try story.view(instance("api", 4)).detail == "on trial for another 60 s")
        story.pass(.milliseconds(59_999))
        #expect(story.acts == [] && story.running.count == 4)
        story.pass(.milliseconds(1))
        #expect(story.reports == ["api/4: has passed its trial: the others follow"])
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(story.running.keys.map(\.number).sorted() == [1, 2, 3])
        #expect(before.allSatisfy { story.running[$0.key] != $0.value })
        #expect(story.app.nextDeadline == nil && story.app.servicesOnTrial.isEmpty)
    }

    @Test func `an exit sends it back`() {
        var story = onTrial()
        story.exited(4, .code(9))
        story.play()
        back(story, "api/4 ended once on trial: exited with code 9")
    }

    @Test func `an exit does not, if those before end as often`() {
        var story = onTrial()
        for generation in 1...3 as ClosedRange<UInt64> { story.exited(generation) }
        story.exited(4)
        #expect(story.outcome(1) == nil)
        #expect(story.app.deployments.first?.rollouts.first?.failure == nil)
    }

    @Test func `its time may pass while it is down: it has to be up again to pass`() {
        var story = onTrial()
        for generation in 1...3 as ClosedRange<UInt64> { story.exited(generation) }
        story.exited(4)
        story.pass(.seconds(300))
        #expect(story.outcome(1) == nil && story.reports.allSatisfy { !$0.contains("passed") })
    }

    @Test func `a failed health probe sends it back`() {
        var story = onTrial()
        story.probed(2, nil)
        story.probed(4, "connection refused")
        story.play()
        back(story, "api/4 failed its health probe once on trial")
    }

    @Test func `connect errors beyond those of the others send it back`() {
        var story = onTrial()
        func count(_ connects: UInt64, _ errors: UInt64) {
            story.tell(
                .connectsCounted(
                    (1...4).map {
                        Application.ConnectCount(
                            instance: instance("api", $0), connects: connects, errors: $0 == 4 ? errors : 0)
                    }))
        }
        count(0, 0)
        count(10, 0)
        #expect(story.acts == [])
        count(20, 2)
        story.play()
        back(story, "api/4 refused 2 of 22 connections on trial")
    }

    @Test func `one that does not come up sends it back as without a trial`() {
        var story = Story()
        story.app = Application(manifest: Manifest(services: [api]))
        story.tell(.started)
        story.play()
        story.apply(1, next(api))
        story.play(broken: { $0.number == 4 })
        back(story, "api/4 has failed 3 times: exited with code 7")
    }

    @Test func `several are on trial when all of them are ready`() {
        var service = api
        service.deploy.canary?.replicas = 2
        var story = onTrial(service)
        #expect(story.spawns == [] || story.spawns == [5])
        #expect(story.app.deployments.first?.rollouts.first?.canary?.until == nil)
        story.spawned(5)
        story.ready(5)
        #expect(story.progress == ["api: api/4 and api/5 are on trial for 2 min"])
    }

    // MARK: Users

    @Test func `a user promotes it`() {
        var story = onTrial()
        story.tell(.decided(CommandID(2), service: "api", .promote))
        #expect(story.outcome(2) == .done)
        story.play()
        #expect(story.outcome(1) == .done)
        #expect(before.allSatisfy { story.running[$0.key] != $0.value })
    }

    @Test func `a user sends it back`() {
        var story = onTrial()
        story.tell(.decided(CommandID(2), service: "api", .rollBack, by: "uid 7"))
        // It has not gone back yet: the one on trial is there.
        #expect(story.outcome(2) == nil)
        story.play()
        #expect(story.outcome(2) == .done)
        #expect(story.outcome(1) == .sentBack("api was rolled back by uid 7", by: "uid 7"))
        #expect(story.running == before && story.app.manifest.services == [api])
    }

    @Test func `a rollout without a trial is sent back, too`() {
        var plain = api
        plain.deploy.canary = nil
        var story = Story()
        story.app = Application(manifest: Manifest(services: [plain]))
        story.tell(.started)
        story.play()
        story.apply(1, next(plain))
        story.tell(.decided(CommandID(2), service: "api", .promote))
        #expect(story.outcome(2) == .failed("no instance of api is on trial"))
        story.tell(.decided(CommandID(3), service: "api", .rollBack))
        #expect(story.outcome(3) == nil)
        #expect(story.app.manifest.services == [plain])
        story.tell(.decided(CommandID(4), service: "api", .rollBack))
        #expect(story.outcome(4) == .failed("api goes back to what ran before already"))
    }

    @Test func `there is nothing to decide without a rollout, nor before the new ones are ready`() {
        var story = onTrial()
        story.exited(4)
        story = Story(api)
        story.tell(.decided(CommandID(2), service: "api", .promote))
        #expect(story.outcome(2) == .failed("no rollout of api is under way"))
        story.play()
        story.apply(3, next(api))
        story.tell(.decided(CommandID(4), service: "api", .promote))
        #expect(story.outcome(4) == .failed("the new instances of api are not ready yet"))
        // So another apply is not told to do that.
        #expect(story.app.applyHindrance?.hasSuffix("; \"supctl rollback api\" sends it back") == true)
    }

    @Test func `another apply is refused, with what ends the trial`() {
        let story = onTrial()
        #expect(
            story.app.applyHindrance
                == "an earlier apply is under way: it replaces api (api: api/4 is on trial for 2 min); "
                + "\"supctl promote api\" or \"supctl rollback api\" "
                + "ends its trial")
    }

    @Test func `it lasts over a lost supervisor`() throws {
        let story = onTrial()
        let data = try JSONEncoder().encode(story.app.snapshot)
        let restored = try Application(
            manifest: story.app.manifest, revision: story.app.revision,
            snapshot: JSONDecoder().decode(Snapshot.self, from: data))
        let children = story.app.instances.compactMap { instance in
            instance.process.map {
                Application.SurvivingChild(
                    generation: $0.generation, instance: instance.id, port: $0.port, pid: $0.pid)
            }
        }
        var next = Story(resuming: restored, children: children, highest: 4)
        #expect(next.app.nextDeadline == story.now + .seconds(120))
        next.pass(.seconds(120))
        next.play()
        #expect(before.allSatisfy { next.running[$0.key] != $0.value })
        #expect(next.app.deployments.isEmpty)
    }
}
