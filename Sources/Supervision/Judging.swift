import Manifest

// No version comes into force unjudged.
//
// A rollout says whether the new version of a service works: all of its instances have come up with it, or one has not. A user
// who stops the service meanwhile takes that answer away. So the stop sends the rollout back: the service keeps the settings that
// it had, the apply is sent back and says who has stopped it, and a later start runs what ran before. What was stopped already
// when the manifest was applied is another matter: there is nothing to compare with, and it starts as the manifest says.
//
// A restart meanwhile would replace processes in place, beside a rollout that does the same: it is refused.
extension Application {
    /// Why a command cannot be carried out while a rollout is under way; nil: it can.
    package func rolloutHindrance(to verb: Verb, _ targets: [InstanceID]) -> String? {
        guard verb == .restart, !deployments.isEmpty else { return nil }
        let services = Set(targets.map(\.service))
        let rollouts = deployments.filter { !$0.isRestart }.flatMap(\.rollouts)
        guard let rollout = rollouts.first(where: { services.contains($0.service) }) else { return nil }
        let name = rollout.service
        guard rollout.failure == nil else {
            return "\(name) is going back to what ran before: wait until it has"
        }
        return "a rollout of \(name) is under way: wait for it, or send it back with \"supctl rollback \(name)\""
    }

    /// The services whose rollouts a stop of these instances would send back, in the order of the manifest.
    package func rolloutsSentBack(byStopping targets: [InstanceID]) -> [String] {
        let places = targets.compactMap { layout.places[$0] }
        let stopped = Set(places)
        return unjudgedServices(of: places).sorted().filter { service in
            layout.instances[service].allSatisfy {
                isExtra($0) || instances[$0].goal == .down || stopped.contains($0)
            }
        }.map { manifest.services[$0].name }
    }

    /// Those services of these instances whose rollouts have not shown yet whether the new version works.
    func unjudgedServices(of places: [Int]) -> Set<Int> {
        guard !deployments.isEmpty else { return [] }
        return Set(places.map { layout.services[$0] }).filter { service in
            let name = manifest.services[service].name
            guard !leaving.contains(name), let rollout = rollout(of: name), !rollout.isRestart,
                rollout.failure == nil, rollout.blueGreen?.hasSwitched != true
            else { return false }
            return !rollout.underWay.isEmpty
                || layout.instances[service].contains {
                    !isExtra($0) && (instances[$0].edition != .current || isUntried($0, rollout))
                }
        }
    }

    /// A user has stopped instances: of services without any that is to be up the rollouts go back.
    mutating func recall(_ services: Set<Int>, stoppedBy who: String?, _ turn: inout Turn) {
        for service in services.sorted() {
            let places = layout.instances[service]
            guard places.allSatisfy({ isExtra($0) || instances[$0].goal == .down }) else { continue }
            let name = manifest.services[service].name
            changeRollout(of: name) { rollout in
                rollout.isRecalled = true
                rollout.recalledBy = who
                rollout.recallReason =
                    "\(name) was stopped by \(who ?? "a user") before its new version was judged, and keeps the one before"
            }
            turn.touched.append(contentsOf: places)
        }
    }

    /// Changes what is known of a service's rollout, if there is one.
    mutating func changeRollout(of service: String, _ change: (inout Rollout) -> Void) {
        for index in deployments.indices {
            guard let position = deployments[index].rollouts.firstIndex(where: { $0.service == service }) else {
                continue
            }
            change(&deployments[index].rollouts[position])
        }
    }
}
