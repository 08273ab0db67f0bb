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
        if let trial = deployment.rollouts.first(where: \.isOnTrial) {
            return "\"supctl promote \(trial.service)\" or \"supctl rollback \(trial.service)\" ends its trial"
        }
        let tasks = deployment.rollouts.map(\.service).filter { name in
            manifest.services.contains { $0.name == name && $0.kind == .task }
        }
        if let task = tasks.first { return "\"supctl stop \(task)\" ends it" }
        let open = deployment.rollouts.filter { $0.failure == nil }
        if let rollout = open.first(where: { !$0.isWaiting }) ?? open.first {
            return "\"supctl rollback \(rollout.service)\" sends it back"
        }
        guard deployment.rollouts.isEmpty, let fresh = deployment.fresh.first else { return nil }
        return "\"supctl stop \(fresh)\" ends the wait for it"
    }
}
