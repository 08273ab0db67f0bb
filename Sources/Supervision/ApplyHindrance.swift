import Manifest

/// What an apply that is under way says to the next one.
extension Application {
    /// Why another manifest cannot be applied now: what the earlier apply waits for, and how that is ended; nil: it can.
    package var applyHindrance: String? {
        if isShuttingDown { return "supd is shutting down" }
        guard let deployment = deployments.first(where: \.isApply) else { return nil }
        let rollouts = deployment.rollouts
        let awaited = deployment.fresh + deployment.parting
        let (what, doing): (String, [String]) =
            rollouts.isEmpty
            ? (
                "waits for \(Wording.list(awaited.map(\.description)))",
                awaited.compactMap { layout.places[$0] }.prefix(Self.activitiesTold).map { activity($0) }
            )
            : (
                "replaces \(Wording.list(rollouts.map(\.service)))",
                rollouts.filter { !$0.isWaiting }.prefix(Self.activitiesTold).map { text(of: $0) }
            )
        let why = doing.isEmpty ? "" : " (\(doing.joined(separator: "; ")))"
        return "an earlier apply is under way: it \(what)\(why)\(wayOut(of: deployment).map { "; \($0)" } ?? "")"
    }

    /// Of so many services or instances it is told what they are doing.
    private static let activitiesTold = 3

    /// How a user ends what an apply waits for; nil: it ends by itself.
    private func wayOut(of deployment: Deployment) -> String? {
        let open = deployment.rollouts.filter { $0.failure == nil }
        if let name = open.first(where: { hindrance(of: .promote, on: $0.service) == nil })?.service {
            return "\"supctl promote \(name)\" or \"supctl rollback \(name)\" ends its trial"
        }
        // One that is under way, if any is: what waits for its turn is not what the apply waits for.
        if let rollout = open.first(where: { !$0.isWaiting }) ?? open.first {
            let name = rollout.service
            let isAtWork = !rollout.isWaiting && manifest.services.contains { $0.name == name && $0.kind == .task }
            return isAtWork ? "\"supctl stop \(name)\" ends it" : "\"supctl rollback \(name)\" sends it back"
        }
        guard deployment.rollouts.isEmpty, let fresh = deployment.fresh.first else { return nil }
        return "\"supctl stop \(fresh)\" ends the wait for it"
    }
}
