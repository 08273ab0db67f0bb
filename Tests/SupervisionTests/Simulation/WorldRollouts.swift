import Manifest

@testable import Supervision

/// What a rollout has shown of the version that it brings.
struct Trial {
    /// What it brings.
    var settings: Service?
    /// Nothing of the service was to run: there was nothing to compare with.
    var isFromNothing: Bool
    /// A process with the new settings was ready.
    var isProved = false
    /// It goes back.
    var goesBack = false
}

/// Which version of a service is in force, and which ones serve.
extension World {
    /// No version comes into force that was not seen to work, unless nothing ran before.
    mutating func followTrials(_ before: Application?) throws(Violation) {
        guard !app.isShuttingDown else { return trials = [:] }
        let rollouts = app.deployments.flatMap(\.rollouts).filter { !$0.isRestart }
        for rollout in rollouts {
            let members = app.instances.filter { $0.id.service == rollout.service }
            if trials[rollout.service] == nil {
                let replicas = app.manifest.services.first { $0.name == rollout.service }?.replicas ?? 0
                // Of those that are to stay.
                let known = (before ?? app).instances.filter {
                    $0.id.service == rollout.service && $0.id.number <= replicas
                }
                trials[rollout.service] = Trial(
                    settings: app.manifest.services.first { $0.name == rollout.service },
                    isFromNothing: before == nil || known.allSatisfy { $0.goal == .down })
            }
            if rollout.failure != nil { trials[rollout.service]?.goesBack = true }
            if members.contains(where: { $0.edition == .current && isUp($0) }) {
                trials[rollout.service]?.isProved = true
            }
        }
        let underWay = Set(rollouts.map(\.service))
        // Of a rollout that its supervisor took along, without a snapshot, nobody knows any more.
        if before == nil { trials = trials.filter { underWay.contains($0.key) } }
        for (service, trial) in trials where !underWay.contains(service) {
            trials[service] = nil
            let members = app.instances.filter { $0.id.service == service }
            // It may have gone back, and been over, in one turn.
            let goesBack = trial.goesBack || trial.settings != app.manifest.services.first { $0.name == service }
            guard goesBack || trial.isFromNothing || trial.isProved || members.contains(where: isUp),
                !members.isEmpty
            else {
                if members.isEmpty { continue }
                throw Violation(
                    text: "\(service) has got another version that nobody has seen at work: "
                        + "\(members.map { "\($0.id) \($0.goal) \($0.state)" })")
            }
        }
    }

    private func isUp(_ instance: Instance) -> Bool {
        if case .running = instance.state { return true }
        return instance.state == .completed
    }

    /// Who stops a service in the middle of a rollout gets the version back that was in force before.
    mutating func checkStopped(_ before: Application) throws(Violation) {
        guard !before.isShuttingDown else { return }
        for rollout in before.deployments.filter({ !$0.isRestart }).flatMap(\.rollouts)
        where rollout.failure == nil && rollout.blueGreen?.hasSwitched != true {
            func members(_ app: Application) -> [Instance] {
                let replicas = before.manifest.services.first { $0.name == rollout.service }?.replicas ?? 0
                return app.instances.filter { $0.id.service == rollout.service && $0.id.number <= replicas }
            }
            let isOpen = !rollout.underWay.isEmpty || members(before).contains { $0.edition != .current }
            guard isOpen, members(before).contains(where: { $0.goal == .up }),
                members(app).allSatisfy({ $0.goal == .down })
            else { continue }
            let now = app.manifest.services.first { $0.name == rollout.service }
            guard now?.environment == rollout.other.environment, now?.port == rollout.other.port,
                now?.replicas == rollout.other.replicas,
                app.rollout(of: rollout.service).map({ $0.failure != nil }) != false
            else { throw Violation(text: "\(rollout.service) was stopped, and keeps a version that was not judged") }
            tally.count(.recall)
        }
    }

    /// A switch finds the new instances ready, and leaves no service without one that serves.
    mutating func checkSwitches(_ before: Application) throws(Violation) {
        for old in before.deployments.flatMap(\.rollouts)
        where old.blueGreen?.hasSwitched == false && old.failure == nil {
            guard let rollout = app.rollout(of: old.service), rollout.blueGreen?.hasSwitched == true,
                rollout.failure == nil
            else { continue }
            tally.count(.switchOver)
            let replicas = app.manifest.services.first { $0.name == old.service }?.replicas ?? 0
            let isNeeded = before.instances.contains {
                $0.id.service == old.service && $0.id.number <= replicas && $0.edition == .former && $0.goal == .up
                    && $0.state != .waiting
            }
            let serving = app.routes.first { $0.service == old.service }?.endpoints.filter { $0.state == .active } ?? []
            let completed = app.instances.count {
                $0.id.service == old.service && $0.id.number > replicas && $0.state == .completed
            }
            guard !isNeeded || serving.count + completed >= rollout.surge else {
                throw Violation(text: "\(old.service) switches to \(serving.count) of \(rollout.surge) new instances")
            }
        }
    }

    /// While one set of instances takes over from another one, only one of them serves.
    func checkVersions(of route: Application.Route) throws(Violation) {
        guard let rollout = app.rollout(of: route.service), rollout.blueGreen != nil else { return }
        let serving = route.endpoints.filter { $0.state == .active }
        let versions = Set(serving.compactMap { children[$0.generation]?.version })
        guard versions.count <= 1 else {
            throw Violation(text: "\(route.service) serves two versions at a time: \(serving)")
        }
    }

    /// A supervisor whose snapshot was a little old takes some processes for what they are not.
    mutating func forgetVersions() {
        for generation in children.keys {
            let place = app.owners[generation]
            let settings = place.map { app.service(of: $0).environment }
            if settings != children[generation]?.version { children[generation]?.version = nil }
        }
        pendingVersions = [:]
    }
}
