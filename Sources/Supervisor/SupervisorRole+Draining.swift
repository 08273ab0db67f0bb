import ControlAPI
import Dispatch
import Links
import Manifest
import Platform
import Supervision

/// Instances that users take out of the balancer, and how far their connections are.
extension SupervisorRole {
    /// Drains instances, or takes that back. Those of services without a front have nothing to drain.
    func drain(
        _ verb: ServiceVerb, _ targets: [InstanceID], _ application: Application, _ options: ControlRoute.WaitOptions,
        _ responder: ControlResponder
    ) {
        let served = targets.filter { application.service(named: $0.service)?.isBalanced == true }
        guard !served.isEmpty else {
            return responder.fail(
                409, code: "failed", "nothing to \(verb.rawValue): no service named has a front (\"listen\")")
        }
        // A drain waits for all that are named; put back are those alone that were out.
        let done = verb == .drain ? served.count : served.count(where: application.isParked)
        if done == 0 {
            return responder.finish(
                json: ProgressLine(
                    result: "done", message: "there is nothing to undrain: none of the instances named is drained",
                    changed: false))
        }
        let without = verb == .drain ? application.servicesLeftWithout(served) : []
        var note: String?
        if !without.isEmpty {
            let names = without.prefix(3).joined(separator: ", ") + (without.count > 3 ? ", …" : "")
            note = "no instance of \(names) is left: new connections wait for one, for at most queueTimeout"
            log.write(.warning, "drain: \(note ?? "")")
        }
        let command = commands.begin()
        let summary = "\(verb.pastTense) \(Amount.text(done, "instance"))"
        drainNotes[command] = note
        carryOut(
            command, options, responder, summary: note.map { "\(summary) (\($0))" } ?? summary, accepted: note
        ) {
            take(.commanded(command, verb == .drain ? .drain : .undrain, targets: served))
            if !commands.isAwaited(command) { take(.commandForgotten(command)) }
        }
        countConnections()
    }

    /// While somebody waits for a drain, looks every second how many connections are left, and says so.
    func countConnections() {
        drainNotes = drainNotes.filter { commands.isAwaited($0.key) }
        guard !isCountingConnections, drainsAwaited() else { return }
        isCountingConnections = true
        queryCounters { [weak self] counters in self?.assumeIsolated { $0.connectionsCounted(counters) } }
    }

    private func drainsAwaited() -> Bool {
        application?.drainsUnderWay.contains { commands.isAwaited($0.command) } ?? false
    }

    private func connectionsCounted(_ counters: BalancerCounters?) {
        queue.asyncAfter(deadline: .now() + .seconds(1)) { [weak self] in
            self?.assumeIsolated {
                $0.isCountingConnections = false
                $0.countConnections()
            }
        }
        guard let application, let counters else { return }
        let open = Dictionary(
            counters.endpoints.map { ($0.instance, $0.counts.current) }, uniquingKeysWith: { first, _ in first })
        // The balancer says once that an endpoint is empty, and a supervisor before this one may have been told: what its
        // counters say of a table that is in force is as good.
        let isInForce = !balancer.routesAreStale && balancer.applied >= balancer.revision
        var empty: Set<Generation> = []
        for (command, waiting) in application.drainsUnderWay where commands.isAwaited(command) {
            var texts: [String] = []
            for (generation, instance) in waiting {
                let count = open[instance.description] ?? 0
                if count > 0 {
                    texts.append("\(instance): \(Amount.text(Int(clamping: count), "connection")) open")
                } else if isInForce {
                    empty.insert(generation)
                }
            }
            guard !texts.isEmpty else { continue }
            let more = texts.count > 3 ? "; \(texts.count - 3) more" : ""
            let note = drainNotes[command].map { " (\($0))" } ?? ""
            commands.progress(command, texts.prefix(3).joined(separator: "; ") + more + note)
        }
        for generation in empty { take(.drained(generation)) }
    }
}
