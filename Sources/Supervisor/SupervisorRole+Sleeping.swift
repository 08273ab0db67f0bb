import Dispatch
import Links
import Manifest
import Supervision

/// When services with `idle` have had no connection for long enough. Waking them is the balancer's word.
extension SupervisorRole {
    /// Arms the next look, if any service may go to sleep and none is armed; while none may, nothing is looked at.
    func arrangeIdleLook() {
        guard mayHaveIdle, !isIdleLookArmed, let candidates = application?.sleepCandidates else { return }
        guard !candidates.isEmpty else { return idleWatch.keep([]) }
        let shortest = candidates.map(\.after).min() ?? .seconds(1)
        // An eighth of it is how exact it is; more often than that is of no use to anybody.
        let pause = min(max(shortest / 8, .milliseconds(100)), .seconds(15))
        isIdleLookArmed = true
        idleTimer.schedule(
            deadline: .now() + .nanoseconds(Int(pause.wholeNanoseconds)), leeway: .milliseconds(20))
    }

    /// The balancer says that a connection waits.
    func connectionWaited(for service: String) {
        guard application?.isAsleep(service) == true else { return }
        take(.connectionWaited(service: service))
        keepSnapshotNow()
    }

    /// Asks the balancer for its counters.
    func idleLookIsDue() {
        queryCounters { [weak self] counters in self?.assumeIsolated { $0.lookForIdle(counters) } }
    }

    private func lookForIdle(_ counters: BalancerCounters?) {
        isIdleLookArmed = false
        let candidates = application?.sleepCandidates ?? []
        idleWatch.keep(Set(candidates.map(\.service)))
        if let counters {
            for (service, after) in candidates {
                let fronts = counters.fronts.filter { $0.service == service }
                let open = fronts.reduce(UInt64(0)) { $0 &+ $1.counts.current &+ $1.counts.queued }
                let total = fronts.reduce(UInt64(0)) { $0 &+ $1.counts.total }
                if !fronts.isEmpty, idleWatch.looked(at: service, open: open, total: total, limit: after, now: now) {
                    idleWatch.forget(service)
                    take(.wentIdle(service: service))
                    // Else a supervisor that is lost now would be followed by one that starts it again.
                    keepSnapshotNow()
                }
            }
        }
        arrangeIdleLook()
    }
}
